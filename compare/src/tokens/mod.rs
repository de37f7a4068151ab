//! Token accounting: how many tokens, and where they come from. Exact over the requests drawn, and no simulation.
//!
//! Both sides of a change draw the same random numbers, so a change of one part shows as that change and nothing else.

mod counts;
mod play;
mod reuse;

use std::cell::Cell;

use rayon::prelude::*;
use tokentide_models::units::Time;
use tokentide_sim::engine::Outcome;
use tokentide_sim::run::{RunError, replicate};
use tokentide_sim::scenario::{Scenario, Source};
use tokentide_sim::workload::Request;
use tokentide_sim::workload::trace::TraceRow;

pub use counts::Counts;
pub use play::{is_known, play};

use crate::bound::Work;
use crate::metric::{Metric, Stat};
use crate::selection::Filter;
use reuse::Reuse;

/// Steps of a share of 1 in which output budgets are counted.
const SHARE_STEPS: f64 = 10_000.0;

/// The requests of one selection, counted.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    requests: u64,
    input: Counts,
    output: Counts,
    total: Counts,
    prefill: Counts,
    max_tokens: Counts,
    budget_used: Counts,
    sources: [Counts; 8],
    near_limit: u64,
    cap_hit: u64,
}

impl Tokens {
    fn add(&mut self, request: &Request, answer: Option<u32>, prefill: u32, near_limit: bool) {
        self.requests += 1;
        self.input.add(request.input_tokens);
        self.prefill.add(prefill);
        self.near_limit += u64::from(near_limit);
        for (counts, &tokens) in self.sources.iter_mut().zip(&request.sources) {
            counts.add(tokens);
        }
        let limited = request.max_tokens != u32::MAX;
        if limited {
            self.max_tokens.add(request.max_tokens);
        }
        self.total.add(request.input_tokens.saturating_add(answer.unwrap_or(0)));
        let Some(answer) = answer else { return };
        self.output.add(answer);
        if limited {
            self.budget_used.add((f64::from(answer) / f64::from(request.max_tokens.max(1)) * SHARE_STEPS).round() as u32);
            self.cap_hit += u64::from(answer == request.max_tokens);
        }
    }

    fn merge(&mut self, other: &Tokens) {
        self.requests += other.requests;
        self.near_limit += other.near_limit;
        self.cap_hit += other.cap_hit;
        for (mine, theirs) in [
            (&mut self.input, &other.input),
            (&mut self.output, &other.output),
            (&mut self.total, &other.total),
            (&mut self.prefill, &other.prefill),
            (&mut self.max_tokens, &other.max_tokens),
            (&mut self.budget_used, &other.budget_used),
        ] {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.sources.iter_mut().zip(&other.sources) {
            mine.merge(theirs);
        }
    }

    /// Requests, all runs together.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Prompt tokens of `source`, all runs together.
    pub fn of_source(&self, source: Source) -> &Counts {
        &self.sources[source as usize]
    }

    /// Prompt lengths, all runs together.
    pub fn input(&self) -> &Counts {
        &self.input
    }

    /// A statistic of an exact metric, of `runs` runs; `None` where there is nothing to take it of, or the metric is none of these.
    pub fn value(&self, metric: Metric, stat: Stat, runs: u32) -> Option<f64> {
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let counts = match metric {
            Metric::Requests => return Some(self.requests as f64 / f64::from(runs)),
            Metric::NearContextLimit => return share(self.near_limit, self.requests),
            Metric::OutputCapHit => return share(self.cap_hit, self.output.count()),
            Metric::Input => &self.input,
            Metric::Output => &self.output,
            Metric::Total => &self.total,
            Metric::Prefill => &self.prefill,
            Metric::MaxTokens => &self.max_tokens,
            Metric::OutputBudgetUsed => &self.budget_used,
            Metric::OfSource(source) => self.of_source(source),
            _ => return None,
        };
        let scale = if metric == Metric::OutputBudgetUsed { SHARE_STEPS } else { 1.0 };
        let value = match (stat, stat.quantile()) {
            (_, Some(q)) => counts.quantile(q).map(f64::from),
            (Stat::Mean, _) => counts.mean(),
            (Stat::Max, _) => counts.max().map(f64::from),
            (Stat::Sum, _) => Some(counts.sum() as f64 / f64::from(runs)),
            _ => None,
        };
        value.map(|v| v / scale)
    }
}

/// The requests of all runs of a side, counted.
#[derive(Clone, Debug)]
pub struct Accounting {
    /// By selection.
    pub selections: Vec<Tokens>,
    /// Runs, one per seed.
    pub runs: u32,
    /// What the engine has to do, run by run.
    pub work: Vec<Work>,
    /// Hash of the trace, if one is replayed.
    pub trace: Option<String>,
    /// Whether no simulation was needed.
    pub exact: bool,
}

/// Counts the requests of `scenario` by `seeds`, for each of `filters`.
///
/// # Errors
/// If the trace cannot be read.
pub fn account(scenario: &Scenario, rows: Option<&[TraceRow]>, seeds: &[u64], filters: &[Filter]) -> Result<Accounting, RunError> {
    // A trace is the same for every seed, unless it is jittered, which changes no token.
    let seeds = if scenario.trace.is_some() { &seeds[..1] } else { seeds };
    // One tally per thread: counts take some memory, and sums have no order.
    let share = seeds.len().div_ceil(rayon::current_num_threads()).max(1);
    let count = |seeds: &[u64]| -> Result<Tally<'_>, RunError> {
        let mut tally = Tally::new(scenario, filters);
        seeds.iter().try_for_each(|&seed| tally.run(rows, seed))?;
        Ok(tally)
    };
    let tallies: Vec<Tally<'_>> = seeds.par_chunks(share).map(count).collect::<Result<_, _>>()?;
    let mut tallies = tallies.into_iter();
    let mut all = tallies.next().unwrap_or_else(|| Tally::new(scenario, filters));
    for tally in tallies {
        for (mine, theirs) in all.selections.iter_mut().zip(&tally.selections) {
            mine.merge(theirs);
        }
        all.work.extend(tally.work);
    }
    let Tally { selections, work, trace, .. } = all;
    Ok(Accounting { selections, runs: seeds.len() as u32, work, trace, exact: is_known(scenario) })
}

/// The requests of some runs, one after the other.
struct Tally<'a> {
    scenario: &'a Scenario,
    filters: &'a [Filter],
    selections: Vec<Tokens>,
    /// Of each run; the last one is being counted.
    work: Vec<Work>,
    reuse: Reuse,
    trace: Option<String>,
    near_limit_from: u32,
}

impl<'a> Tally<'a> {
    fn new(scenario: &'a Scenario, filters: &'a [Filter]) -> Tally<'a> {
        Tally {
            scenario,
            filters,
            selections: vec![Tokens::default(); filters.len()],
            work: Vec::new(),
            reuse: Reuse::new(scenario.engine.block_size, scenario.engine.enable_prefix_caching),
            trace: None,
            near_limit_from: (f64::from(scenario.engine.max_model_len) * scenario.near_context_limit).ceil() as u32,
        }
    }

    /// Counts the requests of one run.
    fn run(&mut self, rows: Option<&[TraceRow]>, seed: u64) -> Result<(), RunError> {
        self.reuse = Reuse::new(self.scenario.engine.block_size, self.scenario.engine.enable_prefix_caching);
        self.work.push(Work::default());
        let scenario = Scenario { seed, ..self.scenario.clone() };
        if is_known(&scenario) {
            self.trace = play::play(&scenario, rows, |request, labels, answer| self.count(request, labels, answer))?;
            return Ok(());
        }
        let mut served: Vec<(Request, Option<u32>)> = Vec::new();
        let mut names = Vec::new();
        let mut keep = |outcome: &Outcome, labels: &[String]| {
            if outcome.request.arrival >= scenario.warmup && outcome.request.arrival < Time::NEVER {
                served.push((outcome.request.clone(), play::answer(&scenario, &outcome.request)));
                names = labels.to_vec();
            }
        };
        let report = replicate(&scenario, rows, seed, &Cell::new(false), &|_| {}, Some(&mut keep))?;
        // Outcomes come in order of their ends.
        served.sort_by_key(|(request, _)| request.id);
        served.iter().for_each(|(request, answer)| self.count(request, &names, *answer));
        self.trace = report.fingerprint.trace;
        Ok(())
    }

    fn count(&mut self, request: &Request, labels: &[String], answer: Option<u32>) {
        let prefill = request.input_tokens - self.reuse.found(request, answer.unwrap_or(0));
        let near_limit = request.input_tokens >= self.near_limit_from;
        for (filter, tokens) in self.filters.iter().zip(&mut self.selections) {
            if filter.admits(request, labels) {
                tokens.add(request, answer, prefill, near_limit);
            }
        }
        if let Some(work) = self.work.last_mut() {
            work.add(request, answer, prefill, self.scenario.engine.block_size);
        }
    }
}
