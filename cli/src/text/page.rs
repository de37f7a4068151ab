//! How well a scenario stands for metrics pages.

use tokentide_traces::scrape::Load;

use super::style::{self, paint};
use super::table::quiet_table;
use super::units::{digits, exact, percent, time};
use crate::commands::trace::page::{LatencyRow, PageGoodness};

/// Latencies of the page and of the simulation that are further apart are another server's.
const APART: f64 = 0.25;

/// What a scenario was made of.
pub fn made_of(names: &str, load: &Load) -> String {
    let over = load.span_s.map_or(String::new(), |span| format!(" over {}", time(span * 1e3)));
    format!("{names}: {} requests{over}", exact(load.finished.round() as u64))
}

/// How well it does.
pub fn goodness(load: &Load, goodness: &PageGoodness, notes: &[String]) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let model = load.model.as_ref().map_or(String::new(), |model| format!(" serving {model}"));
    let span = load.span_s.map_or(String::new(), |span| format!(" over {}", time(span * 1e3)));
    let rate = goodness.page.rate.map_or(String::new(), |rate| format!(", {} arrive per second", digits(rate)));
    let hits =
        goodness.page.hit_share.map_or(String::new(), |share| format!(", {} of them found in the prefix cache", percent(share)));
    let mut lines = vec![
        format!("{}{model}: {}, {}", load.engine, count(load.servers, "engine"), count(load.scrapes, "scrape")),
        format!("{} requests finished{span}{rate}", exact(load.finished.round() as u64)),
        format!("{} prompt tokens{hits}, {} generated", exact(load.prompt.sum as u64), exact(load.generation.sum as u64)),
        String::new(),
    ];
    let rows: Vec<Vec<String>> = ["prompts", "answers"]
        .into_iter()
        .zip([goodness.page.prompt_mean, goodness.page.generation_mean].into_iter().zip(goodness.fitted_means))
        .zip(goodness.share_errors)
        .map(|((what, (page, fitted)), error)| vec![what.to_owned(), digits(page), digits(fitted), percent(error)])
        .collect();
    lines.extend(quiet_table(&["mean tokens", "page", "scenario", "shares by bucket within"], &rows, 1));
    lines.push(String::new());
    match &goodness.not_simulated {
        Some(why) => lines.push(format!("not simulated: {why}")),
        None => latencies(load, goodness, &mut lines),
    }
    lines.extend(notes.iter().cloned());
    lines.join("\n") + "\n"
}

fn latencies(load: &Load, goodness: &PageGoodness, lines: &mut Vec<String>) {
    let at = |row: &LatencyRow| match row.bound_ms {
        Some(bound) => format!("{} and {} up to {}", percent(row.shares[0]), percent(row.shares[1]), time(bound)),
        None => "no bucket in common".to_owned(),
    };
    let rows: Vec<Vec<String>> = goodness
        .latencies
        .iter()
        .map(|row| vec![row.name.to_owned(), time(row.page_mean_ms), time(row.simulated_mean_ms), at(row)])
        .collect();
    lines.extend(quiet_table(&["mean", "page", "simulated", "where shares are furthest apart"], &rows, 1));
    if let Some((page, ours)) = load.hit_share.zip(goodness.simulated_hit_share) {
        lines.push(format!(
            "the server found {} of its prompt tokens in its cache, the simulated one {}",
            percent(page),
            percent(ours)
        ));
    }
    if goodness.latencies.iter().any(|row| (row.shares[0] - row.shares[1]).abs() > APART) {
        lines.push(paint(
            style::WARN,
            "shares more than 25 points apart: is the scenario given by --on that of the server that was scraped, and are its \
             requests like these all the time?",
        ));
    }
}
