//! Replicas that come and go: how many there were, what it took, and what it did to requests and targets.

use tokentide_sim::report::Fleet;

use super::bars::sparkline;
use super::level::LABEL;
use super::table::clip;
use super::units::{count, digits, exact, percent, time, usd};
use super::{Page, style};

/// Room for the figures beside a reason.
const FIGURES: usize = 28;
/// Changes of the wanted number shown without being asked for.
const CHANGES_SHOWN: usize = 12;

pub(super) fn write(page: &mut Page) {
    let Some(fleet) = &page.report.fleet else { return };
    let who = fleet.autoscaler.as_ref().map(|name| style::paint(style::DIM, &format!("scaled by {name}")));
    page.heading("Replicas", &who.unwrap_or_default());
    let cells = if page.layout.wide() { 40 } else { 28 };
    let top = [&fleet.wanted, &fleet.ready, &fleet.starting, &fleet.draining].into_iter().flatten().copied().fold(0.0, f64::max);
    let mut level = |label: &str, values: &[f64], text: &str| {
        let line = sparkline(values, top, cells);
        let gap = cells.saturating_sub(line.chars().count()) + 2;
        page.line(format!("  {label:<LABEL$}{line}{}{text}", " ".repeat(gap)));
    };
    let range = |low: u64, high: u64| if low == high { exact(low) } else { format!("{} to {}", exact(low), exact(high)) };
    level("ready", &fleet.ready, &format!("{}, mean {}", range(fleet.ready_min, fleet.ready_max), digits(fleet.ready_mean)));
    for (label, values) in [("starting", &fleet.starting), ("draining", &fleet.draining), ("wanted", &fleet.wanted)] {
        let peak = values.iter().copied().fold(0.0, f64::max);
        if peak > 0.0 {
            level(label, values, &format!("peak {}", count(peak)));
        }
    }
    hits(page, cells);
    page.item("changes", &changes(fleet));
    if let (Some(mean), Some(longest)) = (fleet.start_mean_s, fleet.start_max_s) {
        page.item("start to ready", &format!("{} on average, {} at most", time(mean * 1e3), time(longest * 1e3)));
    }
    page.item("GPU time", &format!("{} GPU-hours, {}", digits(fleet.gpu_hours), usd(fleet.usd)));
    if let Some(text) = interrupted(fleet) {
        page.item("interrupted", &text);
    }
    if fleet.unrouted > 0 {
        let times = if fleet.unrouted == 1 { "once" } else { &format!("{} times", exact(fleet.unrouted)) };
        page.item("no replica ready", &format!("{times} a request found none, and was held"));
    }
    if let Some(missed) = fleet.slo_missed_s {
        let text = match missed {
            0.0 => "at no time".to_owned(),
            missed => format!("for {} in all, by the time of arrival", time(missed * 1e3)),
        };
        page.item("targets missed", &text);
    }
    scalings(page, fleet);
}

/// Share of the input found in the prefix cache, by the time of arrival: new replicas have found nothing yet.
fn hits(page: &mut Page, cells: usize) {
    let timeline = &page.report.timeline;
    let shares = shares(&timeline.cached_tokens, &timeline.input_tokens, cells);
    let (low, high) = shares.iter().flatten().fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(*v), high.max(*v)));
    if high > 0.0 {
        let values: Vec<f64> = shares.iter().map(|share| share.unwrap_or(0.0)).collect();
        let line = sparkline(&values, 1.0, cells);
        let gap = cells.saturating_sub(line.chars().count()) + 2;
        let text = format!("{} to {} of the input", percent(low), percent(high));
        page.line(format!("  {:<LABEL$}{line}{}{text}", "cache hits", " ".repeat(gap)));
    }
}

/// Sums of `part` over those of `whole`, in at most `cells` spans of time; `None` where nothing came.
fn shares(part: &[u64], whole: &[u64], cells: usize) -> Vec<Option<f64>> {
    let cells = cells.min(whole.len());
    let share = |i: usize| {
        let span = i * whole.len() / cells..(i + 1) * whole.len() / cells;
        let (part, whole): (u64, u64) = (part[span.clone()].iter().sum(), whole[span].iter().sum());
        (whole > 0).then(|| part as f64 / whole as f64)
    };
    (0..cells).map(share).collect()
}

fn changes(fleet: &Fleet) -> String {
    match (fleet.scale_ups, fleet.scale_downs) {
        (0, 0) => "the wanted number stays the same".to_owned(),
        (ups, downs) => {
            let flaps = match fleet.flaps {
                0 => "none takes back another within 10 min".to_owned(),
                1 => "1 takes back the one before it within 10 min".to_owned(),
                n => format!("{} take back the one before them within 10 min: it flaps", exact(n)),
            };
            format!("{} up, {} down, {flaps}", exact(ups), exact(downs))
        }
    }
}

fn interrupted(fleet: &Fleet) -> Option<String> {
    let causes = [(fleet.interrupted_by_failure, "by failures"), (fleet.interrupted_by_scaling, "at the end of a replica's grace")];
    let causes: Vec<String> = causes.iter().filter(|(n, _)| *n > 0).map(|(n, cause)| format!("{} {cause}", exact(*n))).collect();
    let again = match fleet.retried {
        0 => "lost".to_owned(),
        n if n == fleet.interrupted_by_failure + fleet.interrupted_by_scaling => "all sent again".to_owned(),
        n => format!("{} sent again", exact(n)),
    };
    (!causes.is_empty()).then(|| format!("requests: {}; {again}", causes.join(", ")))
}

/// Each change with its reason.
fn scalings(page: &mut Page, fleet: &Fleet) {
    let shown = if page.layout.verbose { fleet.scalings.len() } else { CHANGES_SHOWN.min(fleet.scalings.len()) };
    if shown == 0 {
        return;
    }
    page.line("");
    let row = |s: &tokentide_sim::report::Scaling| {
        vec![clip(&s.why, page.layout.width - FIGURES), time(s.at_s * 1e3), exact(u64::from(s.from)), exact(u64::from(s.to))]
    };
    let rows: Vec<Vec<String>> = fleet.scalings[..shown].iter().map(row).collect();
    page.table(&["why", "at", "from", "to"], &rows, 1);
    if shown < fleet.scalings.len() {
        let rest = fleet.scalings.len() - shown;
        page.line(format!("  and {} more (--verbose)", exact(rest as u64)));
    }
}
