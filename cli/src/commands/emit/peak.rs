//! The most that one replica can carry with every service level met, and what it looks like there.

use tokentide_sim::report::{Report, SloResult};

use super::Job;
use super::steady::steady;
use crate::engine::Loaded;
use crate::exit::Failure;

/// The found load is less than this share below one that misses a target.
const RESOLUTION: f64 = 0.01;
/// How often the load is doubled in search of one that misses a target.
const DOUBLINGS: u32 = 5;
/// Share of the knee below which no load is tried.
const LEAST: f64 = 0.005;

/// A level over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Mean.
    pub mean: f64,
    /// 95th percentile over the bins of the timeline.
    pub p95: f64,
}

/// One replica at the highest load that meets every target.
#[derive(Clone, Debug)]
pub struct Peak {
    /// Requests that arrive [1/s].
    pub requests_per_s: f64,
    /// Requests that are completed [1/s].
    pub completed_per_s: f64,
    /// Requests running and waiting.
    pub in_flight: Level,
    /// Requests waiting, mean.
    pub waiting: f64,
    /// Prompt tokens not yet computed, mean [tokens].
    pub waiting_tokens: f64,
    /// Mean prompt [tokens].
    pub input_length: f64,
    /// Prompt tokens it computes with nothing else to do (V_P) [tokens/s].
    pub prefill_tokens_per_s: f64,
    /// Each target.
    pub targets: Vec<SloResult>,
    /// The target that the next load tried misses most clearly; `None` if no load missed any.
    pub missed: Option<SloResult>,
    /// That load [requests/s].
    pub missed_at: f64,
    /// The run at the peak.
    pub report: Report,
}

/// Finds it, by bisection of the load.
///
/// # Errors
/// If the scenario has no targets, or no load meets them.
pub fn find(job: &Job) -> Result<Peak, Failure> {
    let scenario = &job.loaded.scenario;
    if scenario.classes.iter().all(|class| class.slo.targets.is_empty()) {
        return Err(Failure::with_help(
            "how much a replica can carry is not defined: no class of the scenario has a target",
            "give a class one, such as slo = { ttft_p95 = \"800ms\" }",
        ));
    }
    let mut probe = Loaded { scenario: scenario.clone(), rows: job.loaded.rows.clone(), text: String::new(), checks: Vec::new() };
    let mut at = |factor: f64| {
        probe.scenario = steady(scenario, factor)?;
        let report = job.simulate(&probe, "raising the load of one replica")?;
        let met = report.summary.slo.met == Some(true);
        Ok::<_, Failure>((report, met))
    };
    let share = 1.0 / f64::from(scenario.cluster.replicas.max(1));
    let (first, first_met) = at(share)?;
    let load = first.summary.capacity.load;
    if load <= 0.0 {
        return Err(Failure::message("the scenario has no load: there is nothing to raise"));
    }
    let (mut low, mut high) = if first_met { (Some((share, first)), None) } else { (None, Some((share, first))) };
    // The knee is a bound of the load that can be carried at all.
    let mut next = 1.1 * share / load;
    for _ in 0..DOUBLINGS {
        if high.is_some() {
            break;
        }
        let (report, met) = at(next)?;
        if met {
            low = Some((next, report))
        } else {
            high = Some((next, report))
        }
        next *= 2.0;
    }
    while let Some((above, _)) = &high {
        let below = low.as_ref().map_or(0.0, |(factor, _)| *factor);
        if above - below <= RESOLUTION * above || *above < LEAST * share / load {
            break;
        }
        let middle = (below + above) / 2.0;
        let (report, met) = at(middle)?;
        if met { low = Some((middle, report)) } else { high = Some((middle, report)) }
    }
    match low {
        Some((_, report)) => Ok(peak(report, high.map(|(_, report)| report))),
        None => Err(no_load(high.as_ref().map(|(_, report)| report))),
    }
}

fn no_load(report: Option<&Report>) -> Failure {
    let missed = report.and_then(worst).map(|result| super::head::target(&result)).unwrap_or_default();
    let message = format!("a replica misses its targets however little it has to do: {missed}");
    Failure::with_help(message, "relax the target, or change the deployment")
}

/// The target whose share of requests is furthest below what it asks for.
fn worst(report: &Report) -> Option<SloResult> {
    let missed = report.summary.slo.targets.iter().filter(|result| !result.met);
    missed.min_by(|a, b| (a.attainment - a.quantile).total_cmp(&(b.attainment - b.quantile))).cloned()
}

fn peak(report: Report, above: Option<Report>) -> Peak {
    let timeline = &report.timeline;
    // Bins in which counted requests arrived: neither the warm-up, nor the bin that it ends in, nor the emptying at the end.
    let first = timeline.arrivals.iter().position(|arrivals| *arrivals > 0).map_or(0, |first| first + 1);
    let end = timeline.arrivals.iter().rposition(|arrivals| *arrivals > 0).map_or(0, |last| last + 1);
    let of = |levels: &[f64]| level(levels.get(first.min(end)..end).unwrap_or_default());
    let in_flight: Vec<f64> = timeline.running.iter().zip(&timeline.waiting_requests).map(|(a, b)| a + b).collect();
    Peak {
        requests_per_s: report.summary.capacity.offered_requests_per_s,
        completed_per_s: report.summary.requests_per_s,
        in_flight: of(&in_flight),
        waiting: of(&timeline.waiting_requests).mean,
        waiting_tokens: of(&timeline.waiting_tokens).mean,
        input_length: report.summary.input_length.mean.unwrap_or(0.0),
        prefill_tokens_per_s: report.summary.capacity.prefill_tokens_per_s,
        targets: report.summary.slo.targets.clone(),
        missed: above.as_ref().and_then(worst),
        missed_at: above.map_or(0.0, |report| report.summary.capacity.offered_requests_per_s),
        report,
    }
}

fn level(levels: &[f64]) -> Level {
    let mut sorted = levels.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (0.95 * sorted.len() as f64).ceil() as usize;
    let p95 = sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0);
    Level { mean: levels.iter().sum::<f64>() / levels.len().max(1) as f64, p95 }
}

#[cfg(test)]
mod tests {
    use super::{Level, level};

    #[test]
    fn a_level_is_told_by_mean_and_95th_percentile() {
        let levels: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(level(&levels), Level { mean: 50.5, p95: 95.0 });
        assert_eq!(level(&[]), Level { mean: 0.0, p95: 0.0 });
    }
}
