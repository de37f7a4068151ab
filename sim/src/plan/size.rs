//! The least number of replicas that meets every target.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::arrivals::ArrivalCounts;
use super::judge::{Judged, Judgement, judge};
use super::lone::{self, Lone};
use super::option::Settings;
use super::trial::{self, ClassTarget, Limit, Trial, targets};
use crate::run::RunError;
use crate::scenario::Scenario;
use crate::workload::trace::TraceRow;

/// Misses end a run that is to prove something only when there are this many times more than the target bears: then the attainment
/// that is known of it lies clearly below.
const PROOF: u64 = 4;
/// The load at the knee that most targets leave: where the search begins.
const USUAL_LOAD: f64 = 0.75;

/// Runs of one scenario, each made once.
pub struct Bench<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) rows: Option<&'a [TraceRow]>,
    pub(super) settings: &'a Settings,
    pub(super) targets: Vec<ClassTarget>,
    counts: &'a ArrivalCounts,
    screened: BTreeMap<u32, Trial>,
    judged: BTreeMap<u32, Judged>,
}

/// The answer, and what it rests on.
#[derive(Clone, Debug)]
pub struct Sizing {
    /// The least number that is known to meet every target; `None`: not even the most that may be tried.
    pub replicas: Option<u32>,
    /// One replica fewer is known to miss one, or there is none.
    pub sure: bool,
    /// What is known of `replicas`; without an answer, of the most tried.
    pub at: Judged,
    /// What is known of one replica fewer; `None` where there is none.
    pub below: Option<Judged>,
    /// Without an answer: which target no count can meet, its attainment by requests that are alone.
    pub out_of_reach: Option<(ClassTarget, f64)>,
    /// What one replica can carry at most [requests/s].
    pub knee_requests_per_s: f64,
    /// Hash of the trace, if one is replayed.
    pub trace: Option<String>,
}

impl<'a> Bench<'a> {
    /// Nothing is run yet.
    pub fn new(
        scenario: &'a Scenario,
        rows: Option<&'a [TraceRow]>,
        settings: &'a Settings,
        counts: &'a ArrivalCounts,
    ) -> Bench<'a> {
        Bench { scenario, rows, settings, targets: targets(scenario), counts, screened: BTreeMap::new(), judged: BTreeMap::new() }
    }

    /// One run of `scenario`, a variant of the bench's own, by `seed`, which ends as soon as `times` as many requests have missed a
    /// target as it bears.
    pub(super) fn trial(&self, scenario: &Scenario, seed: u64, times: u64) -> Result<Trial, RunError> {
        let arrivals = self.counts.of(scenario, self.rows, seed)?;
        let limit = arrivals.as_deref().map(|arrivals| Limit { arrivals, times });
        trial::run(scenario, self.rows, seed, &targets(scenario), limit)
    }

    /// Whether the scenario's own seed meets every target on `n` replicas.
    ///
    /// # Errors
    /// If the trace cannot be read.
    pub fn screen(&mut self, n: u32) -> Result<bool, RunError> {
        Ok(self.first(n)?.met(&self.targets))
    }

    /// The run of `n` replicas by the scenario's own seed.
    ///
    /// # Errors
    /// If the trace cannot be read.
    pub(super) fn first(&mut self, n: u32) -> Result<Trial, RunError> {
        if !self.screened.contains_key(&n) {
            let trial = self.trial(&self.scenario.with_replicas(n), self.scenario.seed, 1)?;
            self.screened.insert(n, trial);
        }
        Ok(self.screened[&n].clone())
    }

    /// Judges `n` replicas, by as many seeds as it takes and the settings allow.
    ///
    /// # Errors
    /// If a trace cannot be read.
    pub fn judge(&mut self, n: u32) -> Result<&Judged, RunError> {
        if !self.judged.contains_key(&n) {
            let judged = self.prove(n)?;
            self.judged.insert(n, judged);
        }
        Ok(&self.judged[&n])
    }

    fn prove(&mut self, n: u32) -> Result<Judged, RunError> {
        let scenario = self.scenario.with_replicas(n);
        let mut trials: Vec<Trial> = self.screened.get(&n).filter(|trial| !trial.stopped).cloned().into_iter().collect();
        let mut wanted = self.settings.seeds_min.max(2);
        loop {
            let seeds: Vec<u64> = (trials.len() as u64..u64::from(wanted)).map(|i| self.scenario.seed.wrapping_add(i)).collect();
            let run = |seed: &u64| self.trial(&scenario, *seed, PROOF);
            trials.extend(seeds.par_iter().map(run).collect::<Result<Vec<Trial>, _>>()?);
            let judged = judge(&self.targets, &trials, self.settings.confidence);
            if judged.judgement != Judgement::Uncertain || wanted >= self.settings.seeds_max {
                return Ok(judged);
            }
            wanted = (wanted * 2).min(self.settings.seeds_max);
        }
    }

    /// What is known of each number of replicas that was run to its end by the scenario's own seed: how far the weakest target's
    /// attainment lies above its percentile, ascending by replicas.
    pub fn curve(&self) -> Vec<(u32, f64)> {
        let margin = |trial: &Trial| {
            let i = trial.weakest(&self.targets)?;
            Some(trial.attainment[i]? - self.targets[i].target.quantile)
        };
        self.screened.iter().filter_map(|(n, trial)| Some((*n, margin(trial)?))).collect()
    }

    /// Finds the answer.
    ///
    /// # Errors
    /// If a trace cannot be read.
    pub fn size(&mut self) -> Result<Sizing, RunError> {
        let Lone { summary, out_of_reach, trace } = lone::run(self.scenario, self.rows, &self.targets)?;
        let knee = summary.capacity.knee_requests_per_s;
        let most = self.settings.replicas_max;
        if out_of_reach.is_some() {
            let at = self.judge(most)?.clone();
            return Ok(Sizing { replicas: None, sure: true, at, below: None, out_of_reach, knee_requests_per_s: knee, trace });
        }
        let start = self.start(knee)?;
        let found = least(start, most, |n| self.screen(n))?;
        let none = |at: Judged| Sizing {
            sure: at.judgement == Judgement::Misses,
            replicas: None,
            at,
            below: None,
            out_of_reach: None,
            knee_requests_per_s: knee,
            trace: trace.clone(),
        };
        let Some(mut n) = found else { return Ok(none(self.judge(most)?.clone())) };
        while self.judge(n)?.judgement != Judgement::Meets {
            if n == most {
                return Ok(none(self.judge(most)?.clone()));
            }
            n = (n + (n / 32).max(1)).min(most);
        }
        while n > 1 && self.judge(n - 1)?.judgement == Judgement::Meets {
            n -= 1;
        }
        let below = if n > 1 { Some(self.judge(n - 1)?.clone()) } else { None };
        Ok(Sizing {
            replicas: Some(n),
            sure: below.as_ref().is_none_or(|below| below.judgement == Judgement::Misses),
            at: self.judge(n)?.clone(),
            below,
            out_of_reach: None,
            knee_requests_per_s: knee,
            trace,
        })
    }

    /// Where the search begins: what the knee says of the requests that come.
    fn start(&self, knee: f64) -> Result<u32, RunError> {
        let counts = self.counts.of(self.scenario, self.rows, self.scenario.seed)?;
        let span = self.scenario.horizon.duration.map(|end| end.since(self.scenario.warmup).as_secs_f64());
        let (Some(counts), Some(span)) = (counts, span.filter(|span| *span > 0.0 && knee > 0.0)) else { return Ok(1) };
        let offered = counts.iter().sum::<u64>() as f64 / span;
        Ok((offered / knee / USUAL_LOAD).ceil().clamp(1.0, f64::from(self.settings.replicas_max)) as u32)
    }
}

/// The least `n` from 1 to `most` that `met` holds for, which holds for all above; searched from `start` on in growing steps, then
/// by halving.
///
/// # Errors
/// Those of `met`.
pub fn least<E>(start: u32, most: u32, mut met: impl FnMut(u32) -> Result<bool, E>) -> Result<Option<u32>, E> {
    let (mut low, mut high, mut step) = (0, None, 1);
    let mut n = start.clamp(1, most);
    loop {
        if met(n)? {
            high = Some(n);
        } else {
            low = n;
        }
        n = match high {
            Some(high) if high - low == 1 => return Ok(Some(high)),
            Some(high) if low == 0 => high.saturating_sub(step).max(1),
            Some(high) => low + (high - low) / 2,
            None if low == most => return Ok(None),
            None => low.saturating_add(step).min(most),
        };
        step = step.saturating_mul(2);
    }
}
