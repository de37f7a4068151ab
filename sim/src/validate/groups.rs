//! Errors of benchmark points, in groups.

use super::report::{GroupReport, PointReport};
use super::stats::ErrorSummary;

/// A point is at light load if it waits for less than this share of its TTFT to be scheduled first.
pub const LIGHT_QUEUE_SHARE: f64 = 0.5;
/// A KV cache in use by this share or more is full: the next prompt has to wait.
const FULL_KV: f64 = 0.99;
/// Upper bounds of the bands of concurrency; the last band is open.
const BANDS: [u32; 3] = [8, 32, 128];

/// By GPU, model and engine in order of name, then all of them.
pub fn by_group(points: &[PointReport]) -> Vec<GroupReport> {
    let mut names: Vec<&str> = points.iter().map(|p| p.group.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let one = names.iter().filter_map(|name| group(name, points.iter().filter(|p| p.group == *name)));
    one.chain(group("all", points.iter())).collect()
}

/// By number of clients.
pub fn by_concurrency(points: &[PointReport]) -> Vec<GroupReport> {
    let band = |concurrency: u32| BANDS.iter().position(|most| concurrency <= *most).unwrap_or(BANDS.len());
    let name = |i: usize| {
        let from = if i == 0 { 1 } else { BANDS[i - 1] + 1 };
        BANDS.get(i).map_or(format!("{from} clients or more"), |to| format!("{from} to {to} clients"))
    };
    (0..=BANDS.len()).filter_map(|i| group(&name(i), points.iter().filter(|p| band(p.concurrency) == i))).collect()
}

/// Light load, where TTFT is prefill and host time; queueing, where it is the order of batching; and a full KV cache, where the
/// server is saturated and a few percent of speed or memory are a factor in waiting time.
pub fn by_load(points: &[PointReport]) -> Vec<GroupReport> {
    let full = |p: &&PointReport| p.kv_use_peak >= FULL_KV;
    let light = |p: &&PointReport| !full(p) && p.queue_share < LIGHT_QUEUE_SHARE;
    let parts = [
        group("light load", points.iter().filter(light)),
        group("queueing", points.iter().filter(|p| !light(p) && !full(p))),
        group("KV cache full", points.iter().filter(full)),
    ];
    parts.into_iter().flatten().collect()
}

/// What was fitted to measurements of GPU and model, and what comes from the formula.
pub fn by_cost(points: &[PointReport]) -> Vec<GroupReport> {
    let parts = [
        group("calibrated", points.iter().filter(|p| p.server.calibrated)),
        group("uncalibrated (roofline)", points.iter().filter(|p| !p.server.calibrated)),
    ];
    parts.into_iter().flatten().collect()
}

fn group<'a>(name: &str, points: impl Iterator<Item = &'a PointReport> + Clone) -> Option<GroupReport> {
    let errors = |of: &dyn Fn(&PointReport) -> Option<f64>| ErrorSummary::of(&points.clone().filter_map(of).collect::<Vec<_>>());
    Some(GroupReport {
        name: name.to_owned(),
        count: points.clone().count(),
        ttft: errors(&|p| p.ttft.error)?,
        tpot: errors(&|p| p.tpot.error)?,
        throughput: errors(&|p| p.throughput.and_then(|t| t.error)),
    })
}
