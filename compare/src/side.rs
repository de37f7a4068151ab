//! One side of a change: its requests counted, its load bounded, its runs made, its replicas sized.

use rayon::prelude::*;
use tokentide_sim::plan::{self, ArrivalCounts, Bench};
use tokentide_sim::report::Fingerprint;
use tokentide_sim::run::RunError;
use tokentide_sim::scenario::Scenario;
use tokentide_sim::workload::trace::TraceRow;

use crate::metric::{Figure, Metric, Stage, Stat};
use crate::observed::Observed;
use crate::selection::{Filter, Selection};
use crate::tokens::{Accounting, account};

/// Hours of a month, 365.25 / 12 days to whole ones: what cloud providers bill by.
pub const HOURS_PER_MONTH: f64 = 730.0;

/// What is compared: a scenario, ready to run.
#[derive(Clone)]
pub struct Subject {
    /// The scenario.
    pub scenario: Scenario,
    /// Rows of a trace that was read elsewhere.
    pub rows: Option<Vec<TraceRow>>,
    /// Settings as typed, by path, for saying what was changed.
    pub typed: Vec<(String, String)>,
}

impl Subject {
    /// Whether runs by the same seeds must come out the same. Of a trace that cannot be told without reading it.
    pub fn is_same_as(&self, other: &Subject) -> bool {
        let of = |subject: &Subject| {
            let scenario = &subject.scenario;
            (scenario.hash.clone(), scenario.cost_info.hash.clone(), scenario.tokenizer.clone(), scenario.trace.is_none())
        };
        of(self) == of(other) && self.scenario.trace.is_none()
    }
}

/// How fast the simulated server is, against what the cost model says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// As the model says.
    Nominal,
    /// Every step takes less time by the model's error.
    Faster,
    /// Every step takes more time by the model's error.
    Slower,
}

impl Speed {
    /// All of them, in the order of their number.
    pub const ALL: [Speed; 3] = [Speed::Nominal, Speed::Faster, Speed::Slower];

    /// How many times as long a step takes.
    pub fn factor(self, model_error: f64) -> f64 {
        match self {
            Speed::Nominal => 1.0,
            Speed::Faster => 1.0 - model_error,
            Speed::Slower => 1.0 + model_error,
        }
    }
}

/// What is known of the least number of replicas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replicas {
    /// The answer; infinite if no number meets the targets.
    pub value: f64,
    /// It may be as few as this.
    pub low: f64,
}

/// How many replicas the targets need.
#[derive(Clone, Debug)]
pub struct Sized {
    /// By speed.
    pub replicas: [Replicas; 3],
    /// Attainment of the target that is worst, less its percentile, by number of replicas tried, ascending.
    pub curve: Vec<(u32, f64)>,
}

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Depth {
    /// Simulate.
    pub runs: bool,
    /// Size the replicas.
    pub sizing: bool,
    /// Make the runs at the three speeds of the model's error.
    pub band: bool,
    /// Size at all three.
    pub size_band: bool,
}

/// How certain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Confidence of the intervals that decide, 0 to 1.
    pub confidence: f64,
    /// Error that is assumed of a step's time, unless the profile states a larger one [share].
    pub model_error: f64,
    /// No more replicas are tried.
    pub replicas_max: u32,
}

/// One side.
#[derive(Clone)]
pub struct Side<'a> {
    /// What it is.
    pub subject: &'a Subject,
    /// Whose requests figures can be asked for, all of them first.
    pub selections: Vec<(Selection, Filter)>,
    /// Its requests.
    pub tokens: Accounting,
    /// Runs by speed and seed.
    runs: [Vec<Observed>; 3],
    /// Replicas that the targets need, if that was asked for and there are targets.
    pub sized: Option<Sized>,
    /// Error assumed of a step's time [share].
    pub model_error: f64,
    seeds: Vec<u64>,
}

impl<'a> Side<'a> {
    /// Counts the requests of `subject` by `seeds`. What it does not have of `selections` has no requests there.
    ///
    /// # Errors
    /// If its trace cannot be read.
    pub fn new(subject: &'a Subject, seeds: &[u64], selections: &[Selection], settings: &Settings) -> Result<Side<'a>, RunError> {
        let resolve = |s: &Selection| (s.clone(), s.resolve(&subject.scenario).unwrap_or_else(|_| Filter::nothing()));
        let selections: Vec<(Selection, Filter)> = selections.iter().map(resolve).collect();
        let filters: Vec<Filter> = selections.iter().map(|(_, filter)| filter.clone()).collect();
        let tokens = account(&subject.scenario, subject.rows.as_deref(), seeds, &filters)?;
        let stated = plan::stated_error(&subject.scenario.cost_info.error.clone().unwrap_or_default()).unwrap_or(0.0);
        Ok(Side {
            subject,
            selections,
            tokens,
            runs: [const { Vec::new() }; 3],
            sized: None,
            model_error: settings.model_error.max(stated),
            seeds: seeds.to_vec(),
        })
    }

    /// The same results for `subject`, which is the same in all that they depend on.
    pub fn twin(&self, subject: &'a Subject) -> Side<'a> {
        Side { subject, ..self.clone() }
    }

    /// The seeds of its runs.
    pub fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// The runs at the nominal speed, by seed.
    pub fn runs(&self) -> &[Observed] {
        &self.runs[Speed::Nominal as usize]
    }

    /// Whether most of the runs had more work than could be done.
    pub fn overloaded(&self) -> bool {
        2 * self.runs().iter().filter(|run| run.overloaded()).count() > self.runs().len()
    }

    /// Index of a selection.
    pub fn index(&self, selection: &Selection) -> Option<usize> {
        self.selections.iter().position(|(s, _)| s == selection)
    }

    /// One value per seed, in the metric's unit, at a speed; a single one if it is exact. Those of replicas are in [`Side::sized`].
    pub fn values(&self, figure: &Figure, selection: usize, speed: Speed) -> Vec<Option<f64>> {
        let (metric, stat) = (figure.of.metric, figure.stat);
        match figure.stage() {
            Stage::Tokens => vec![self.tokens.selections[selection].value(metric, stat, self.tokens.runs)],
            Stage::Bound => {
                let factor = speed.factor(self.model_error);
                let bounds = self.tokens.work.iter().map(|work| work.bound(&self.subject.scenario));
                let value = |bound: crate::bound::Bound| match metric {
                    Metric::Load => bound.load * factor,
                    Metric::Headroom => 1.0 - bound.load * factor,
                    _ => bound.knee / factor,
                };
                let values: Vec<Option<f64>> = bounds.map(|bound| bound.map(value)).collect();
                // A trace is counted once: it is the same for every seed.
                if values.len() == 1 { vec![values[0]; self.seeds.len()] } else { values }
            }
            Stage::Simulated => self.runs[speed as usize].iter().map(|run| run.value(figure, selection)).collect(),
            Stage::Sized => Vec::new(),
        }
    }

    /// Replicas, GPUs or dollars that the targets need at a speed, and what they may be at least.
    pub fn sized_value(&self, figure: &Figure, speed: Speed) -> Option<(f64, f64)> {
        let Replicas { value, low } = self.sized.as_ref()?.replicas[speed as usize];
        let deployment = &self.subject.scenario.deployment;
        let gpus = f64::from(deployment.gpus());
        let each = match (figure.of.metric, figure.stat) {
            (Metric::Replicas, _) => 1.0,
            (Metric::Gpus, _) => gpus,
            (Metric::Cost, Stat::Month) => gpus * deployment.gpu.price_per_hour * HOURS_PER_MONTH,
            _ => return None,
        };
        Some((value * each, low * each))
    }

    /// Whether any class has a target, without which nothing can be sized.
    pub fn has_targets(&self) -> bool {
        self.subject.scenario.classes.iter().any(|class| !class.slo.targets.is_empty())
    }

    /// What makes its results comparable with others.
    pub fn fingerprint(&self) -> Fingerprint {
        let scenario = &self.subject.scenario;
        Fingerprint {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.hash.clone(),
            profile: scenario.cost_info.hash.clone(),
            trace: self.tokens.trace.clone(),
            seeds: self.seeds.clone(),
            tokenizer: scenario.tokenizer.clone(),
        }
    }

    fn size(&self, band: bool, settings: &Settings) -> Result<Option<Sized>, RunError> {
        if !self.has_targets() {
            return Ok(None);
        }
        let (scenario, _) = &self.subject.scenario.with_replicas_that_stay();
        let plan = plan::Settings {
            confidence: settings.confidence.max(plan::Settings::default().confidence),
            replicas_max: settings.replicas_max,
            ..plan::Settings::default()
        };
        let counts = ArrivalCounts::default();
        let mut bench = Bench::new(scenario, self.subject.rows.as_deref(), &plan, &counts);
        let found = bench.size()?;
        let known = |n: Option<u32>| n.map_or(f64::INFINITY, f64::from);
        let value = known(found.replicas);
        let nominal = match found.replicas {
            _ if found.sure => Replicas { value, low: value },
            // It is not known whether fewer, or the most that may be tried, would do.
            _ => Replicas { value, low: 1.0 },
        };
        let mut replicas = [nominal; 3];
        if band {
            let around = plan::band(&bench, found.replicas.unwrap_or(plan.replicas_max), self.model_error)?;
            for (speed, n) in [(Speed::Faster, around.faster), (Speed::Slower, around.slower)] {
                replicas[speed as usize] = Replicas { value: known(n), low: known(n) };
            }
        }
        Ok(Some(Sized { replicas, curve: bench.curve() }))
    }
}

/// Makes the runs that `depth` asks for and that are not there yet, of all sides at once. `progress` receives the share done.
///
/// # Errors
/// If a trace cannot be read.
pub fn look(sides: &mut [Side<'_>], depth: Depth, settings: &Settings, progress: &(dyn Fn(f64) + Sync)) -> Result<(), RunError> {
    let speeds: &[Speed] = if depth.band { &Speed::ALL } else { &[Speed::Nominal] };
    let mut jobs: Vec<(usize, Option<(Speed, u64)>)> = Vec::new();
    for (i, side) in sides.iter().enumerate() {
        if depth.sizing && side.sized.is_none() {
            jobs.push((i, None));
        }
        for &speed in speeds.iter().filter(|_| depth.runs) {
            let there = side.runs[speed as usize].len();
            jobs.extend(side.seeds[there..].iter().map(|&seed| (i, Some((speed, seed)))));
        }
    }
    let done = std::sync::atomic::AtomicUsize::new(0);
    let shared = &*sides;
    let all = jobs.len();
    let work = |(i, job): (usize, Option<(Speed, u64)>)| {
        let side = &shared[i];
        let result = match job {
            None => Done::Sized(side.size(depth.size_band, settings)?),
            Some((speed, seed)) => {
                let (scenario, rows) = (&side.subject.scenario, side.subject.rows.as_deref());
                Done::Ran(speed, Observed::run(scenario, rows, seed, speed.factor(side.model_error), &side.selections)?.into())
            }
        };
        let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        progress(done as f64 / all as f64);
        Ok((i, result))
    };
    let results: Vec<(usize, Done)> = jobs.into_par_iter().map(work).collect::<Result<_, RunError>>()?;
    for (i, result) in results {
        match result {
            Done::Sized(sized) => sides[i].sized = sized,
            Done::Ran(speed, run) => sides[i].runs[speed as usize].push(*run),
        }
    }
    Ok(())
}

enum Done {
    Sized(Option<Sized>),
    Ran(Speed, Box<Observed>),
}
