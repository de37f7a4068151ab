//! How many replicas, of which GPU, at what cost, and how sure is that.
//!
//! [`plan`] sizes each option: `size` finds the least number of replicas that meets every target, `room` how much more load it
//! bears, `band` what the answer is on a faster and a slower server, `failure` what it takes to lose a replica or a zone. `pools`
//! splits the workload over two pools, `day` goes through a rate curve window by window.
//!
//! Everything compares runs of the same requests (common random numbers): one seed brackets the answer, more seeds prove it. A
//! count *meets* the targets if for each of them the confidence interval of (attainment - percentile), Student's t over seeds, lies
//! above 0, and it *misses* them if one lies below, or if more work arrives than can be done. What is in between when the seeds are
//! used up is *uncertain*, and is never given as an answer.

mod arrivals;
mod band;
mod day;
mod failure;
mod judge;
mod lone;
mod option;
pub mod options;
mod pareto;
mod pools;
mod report;
mod room;
mod size;
mod trial;

use rayon::prelude::*;

pub use arrivals::ArrivalCounts;
pub use band::{Band, band, stated_error};
pub use day::{Day, Window};
pub use failure::{Failures, Zones};
pub use judge::{Judged, Judgement, TargetMargin};
pub use option::{OptionRow, Settings, Verdict};
pub use pools::{Pool, Split, SplitRow};
pub use report::{Plan, Provenance};
pub use size::{Bench, Sizing};
pub use trial::targets;

use crate::run::RunError;
use crate::scenario::Scenario;
use crate::workload::trace::TraceRow;
use tokentide_models::units::Time;

/// One option: what was changed of the scenario, and what came of it.
#[derive(Clone)]
pub struct Candidate {
    /// What makes it differ from the others, such as `h100-sxm tp2`.
    pub name: String,
    /// The scenario, or why this option cannot run at all.
    pub scenario: Result<Scenario, String>,
}

/// What else is asked for.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    /// Ways to split the workload over two pools.
    pub splits: Vec<Split>,
    /// Length of the windows of a day, if the rate curve is to be gone through.
    pub window: Option<Time>,
}

/// Plans `candidates`, of the same workload. `rows` are those of a trace that was read elsewhere. `progress` receives the share
/// done, 0 to 1. Runs on the current rayon pool; its size changes no result.
///
/// # Errors
/// If a trace cannot be read, or no candidate has a target.
pub fn plan(
    candidates: &[Candidate],
    rows: Option<&[TraceRow]>,
    settings: &Settings,
    questions: &Questions,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Plan, RunError> {
    let counts = ArrivalCounts::default();
    let pools = pools::candidates(candidates, &questions.splits);
    let jobs = candidates.len() + pools.len();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let row = |candidate: &Candidate| {
        let row = option::row(candidate, rows, settings, &counts);
        let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        progress(done as f64 / jobs as f64);
        row
    };
    let all: Vec<&Candidate> = candidates.iter().chain(pools.iter().map(|pool| &pool.candidate)).collect();
    let mut rows_found: Vec<OptionRow> = all.par_iter().map(|candidate| row(candidate)).collect::<Result<_, _>>()?;
    let of_pools = rows_found.split_off(candidates.len());
    let splits = pools::cheapest(&questions.splits, &pools, of_pools);
    let order = pareto::order(&mut rows_found);
    let best = order.first().copied().filter(|&i| rows_found[i].replicas.is_some());
    let day = match (questions.window, best.map(|i| &candidates[i].scenario)) {
        (Some(window), Some(Ok(scenario))) => Some(day::day(scenario, rows, settings, &counts, window)?),
        _ => None,
    };
    Ok(report::assemble(candidates, rows_found, &order, splits, day, settings))
}
