//! Autoscalers side by side.

use super::bars::sparkline;
use super::style::{self, paint};
use super::table::{clip, table, wrap};
use super::units::{NONE, digits, exact, percent, percent_reached, time, usd};
use crate::commands::plan::autoscalers::{Comparison, Row};

/// Characters of a line of replicas over time.
const CELLS: usize = 24;
/// Longest name shown whole.
const NAME: usize = 28;

/// The comparison, styled, at most `width` characters wide but for its table; ends with a line feed.
pub fn comparison(comparison: &Comparison, width: usize) -> String {
    let mut lines =
        vec![paint(style::HEADING, &format!("{}: the same requests under each autoscaler", comparison.scenario)), String::new()];
    let top = comparison.rows.iter().flat_map(|row| &row.fleet.ready).copied().fold(0.0, f64::max);
    let rows: Vec<Vec<String>> = comparison.rows.iter().map(|row| cells(row, top)).collect();
    let header = [
        "autoscaler",
        "replicas over time",
        "mean",
        "most",
        "GPU-h",
        "cost",
        "up/down",
        "flaps",
        "missed for",
        "within SLO",
        "TTFT p95",
        "failed",
    ];
    for (i, line) in table(&header, &rows, 2).into_iter().enumerate() {
        lines.push(if i == 0 { paint(style::DIM, &line) } else { line });
    }
    lines.push(String::new());
    let missed = "missed for: time in which fewer requests met all their limits than the lowest target's percentile asks for";
    let unstable = "unstable: more work arrived than could be done, so that latency grows with the length of the run";
    let shown = [Some(missed), comparison.rows.iter().any(|row| row.unstable).then_some(unstable)];
    lines
        .extend(shown.into_iter().flatten().flat_map(|text| wrap(text, width.clamp(80, 100))).map(|line| paint(style::DIM, &line)));
    if !comparison.notes.is_empty() {
        lines.extend([String::new(), paint(style::HEADING, "Notes")]);
    }
    for note in &comparison.notes {
        for (i, line) in wrap(note, width.clamp(80, 100) - 4).into_iter().enumerate() {
            let mark = if i == 0 { paint(style::DIM, "-") } else { " ".to_owned() };
            lines.push(format!("  {mark} {line}"));
        }
    }
    lines.join("\n") + "\n"
}

fn cells(row: &Row, top: f64) -> Vec<String> {
    let fleet = &row.fleet;
    let ttft = match row.unstable {
        true => "unstable".to_owned(),
        false => row.ttft_p95_ms.map_or(NONE.to_owned(), time),
    };
    vec![
        clip(&row.autoscaler, NAME),
        sparkline(&fleet.ready, top, CELLS),
        digits(fleet.ready_mean),
        exact(fleet.ready_max),
        digits(fleet.gpu_hours),
        usd(fleet.usd),
        format!("{}/{}", fleet.scale_ups, fleet.scale_downs),
        exact(fleet.flaps),
        fleet.slo_missed_s.map_or(NONE.to_owned(), |s| if s == 0.0 { "never".to_owned() } else { time(s * 1e3) }),
        row.attainment.map_or(NONE.to_owned(), percent_reached),
        ttft,
        percent(row.failed as f64 / row.requests.max(1) as f64),
    ]
}
