//! `tokentide trace fit` of metrics pages.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tokentide_sim::run::{RunOptions, observe};
use tokentide_sim::scenario::duration::parse_duration;
use tokentide_sim::scenario::{self, Scenario};
use tokentide_traces::fit::{ScrapeFitOptions, fit_load};
use tokentide_traces::scrape::{Histogram, Load, LoadFigures, ScrapeOptions};
use tokentide_views::{DEFAULT_START_MS, Format as PageFormat, Meter, Sampling, write_metrics};

use super::fit::{base, parsed, requests, show};
use super::source::{names, positive};
use crate::args::Format;
use crate::engine::{run_failure, trace_failure};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::text::{fit as fit_text, page as text};

/// Requests that the lengths of the scenario are counted over, in so many draws at most.
const REQUESTS: usize = 50_000;
const DRAWS_MAX: u64 = 64;

/// What metrics pages leave open.
#[derive(Args)]
#[command(next_help_heading = "Metrics pages")]
pub struct PageArgs {
    /// Time between two pages, such as 5m; of a single page, since its server began to count
    #[arg(long, value_name = "TIME", value_parser = interval)]
    interval: Option<f64>,
    /// Requests that arrive [1/s], where the pages do not tell or it is not to be that
    #[arg(long, value_name = "RATE", value_parser = positive)]
    rate: Option<f64>,
    /// Of pages that serve several models, the one that counts
    #[arg(long, value_name = "NAME")]
    served_model: Option<String>,
}

impl PageArgs {
    /// Whether any of it is.
    pub fn is_given(&self) -> bool {
        self.interval.is_some() || self.rate.is_some() || self.served_model.is_some()
    }
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = parse_duration(text)?.as_secs_f64();
    if seconds > 0.0 { Ok(seconds) } else { Err("expected some time, such as 5m".to_owned()) }
}

/// How well a fitted scenario stands for the pages.
#[derive(Debug, Serialize)]
pub struct PageGoodness {
    /// The pages.
    pub page: LoadFigures,
    /// Mean prompt and mean answer of the scenario [tokens].
    pub fitted_means: [f64; 2],
    /// Largest difference of the shares of requests up to a bound, of prompts and of answers.
    pub share_errors: [f64; 2],
    /// Each latency of the page against the scenario's, if it was simulated.
    pub latencies: Vec<LatencyRow>,
    /// Share of the prompt tokens that the simulated cache found.
    pub simulated_hit_share: Option<f64>,
    /// Why it was not simulated.
    pub not_simulated: Option<String>,
}

/// A latency as the server has counted it, and as it is simulated. Percentiles within a wide bucket say little: shares are
/// compared.
#[derive(Debug, Serialize)]
pub struct LatencyRow {
    /// `ttft`, `itl`, `e2e` or `queue`.
    pub name: &'static str,
    /// Mean of the page [ms].
    pub page_mean_ms: f64,
    /// Mean of the simulation [ms].
    pub simulated_mean_ms: f64,
    /// Bound of a bucket at which the shares differ most [ms]; absent where no bound is in both.
    pub bound_ms: Option<f64>,
    /// Share up to it: of the page, of the simulation.
    pub shares: [f64; 2],
}

/// Fits a scenario and says how well it stands for the pages.
///
/// # Errors
/// If they cannot be used, do not tell a rate, or the scenario cannot be written.
pub fn run(files: &[PathBuf], on: Option<&Path>, args: &PageArgs, no_check: bool, output: &Output) -> Result<Verdict, Failure> {
    let options = ScrapeOptions { interval_s: args.interval, model: args.served_model.clone() };
    let load = Load::read(files, &options).map_err(|e| trace_failure(&e))?;
    let fit_options = ScrapeFitOptions { rate: args.rate, context: on.and_then(context) };
    let Some(fitted) = fit_load(&load, &fit_options) else {
        let help = match load.scrapes {
            1 => {
                "a page has counts and no time: give a second page and the --interval between them, --interval alone for the time \
                 since the server began to count, or --rate"
            }
            _ => "these pages have no time stamps: --interval is the time between them",
        };
        return Err(Failure::with_help("how often requests came cannot be told", help));
    };
    let toml = fit_text::scenario(&fitted, &base(on)?, &text::made_of(&names(files), &load));
    let scenario = parsed(&toml, on)?;
    let goodness = goodness(&load, &scenario, on.is_some() && !no_check)?;
    match output.format {
        Format::Json => output.json(&serde_json::json!({ "scenario": toml, "goodness": goodness, "notes": fitted.notes }))?,
        _ => show(&toml, &text::goodness(&load, &goodness, &fitted.notes), output)?,
    }
    Ok(Verdict::Pass)
}

/// Longest sequence of a scenario's engine, if it is a whole one.
fn context(path: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let loaded = scenario::parse(&text, &path.display().to_string(), folder, &[]).ok()?;
    Some(loaded.scenario.engine.max_model_len)
}

fn goodness(load: &Load, scenario: &Scenario, simulated: bool) -> Result<PageGoodness, Failure> {
    let empty = |of: &Histogram| Histogram { counts: vec![0.0; of.bounds.len()], bounds: of.bounds.clone(), sum: 0.0 };
    let mut drawn = [empty(&load.prompt), empty(&load.generation)];
    let mut count = 0;
    for k in 0..DRAWS_MAX {
        for row in requests(&Scenario { seed: scenario.seed.wrapping_add(k), ..scenario.clone() }, None)? {
            drawn[0].add(row.input_tokens.into());
            drawn[1].add(row.output_tokens.into());
            count += 1;
        }
        if count >= REQUESTS {
            break;
        }
    }
    let mut goodness = PageGoodness {
        page: load.figures(),
        fitted_means: [drawn[0].mean(), drawn[1].mean()],
        share_errors: [0.0; 2],
        latencies: Vec::new(),
        simulated_hit_share: None,
        not_simulated: None,
    };
    for (error, (page, drawn)) in goodness.share_errors.iter_mut().zip([&load.prompt, &load.generation].into_iter().zip(&drawn)) {
        *error = apart(page, drawn).map_or(0.0, |(_, [page, drawn])| (page - drawn).abs());
    }
    if !simulated {
        goodness.not_simulated = Some("--on a scenario of the server that was scraped compares its latencies".to_owned());
        return Ok(goodness);
    }
    let page = page(scenario)?;
    goodness.simulated_hit_share = page.hit_share;
    for (name, measured) in &load.latencies {
        let Some((_, ours)) = page.latencies.iter().find(|(other, _)| other == name) else { continue };
        let apart = apart(measured, ours);
        goodness.latencies.push(LatencyRow {
            name,
            page_mean_ms: measured.mean() * 1e3,
            simulated_mean_ms: ours.mean() * 1e3,
            bound_ms: apart.map(|(bound, _)| bound * 1e3),
            shares: apart.map_or([0.0; 2], |(_, shares)| shares),
        });
    }
    Ok(goodness)
}

/// The bound of both histograms at which their shares differ most, and the shares.
fn apart(a: &Histogram, b: &Histogram) -> Option<(f64, [f64; 2])> {
    let both = a.bounds.iter().filter(|bound| bound.is_finite());
    let shares = both.filter_map(|bound| Some((*bound, [a.upto(*bound)?, b.upto(*bound)?])));
    shares.max_by(|(_, a), (_, b)| (a[0] - a[1]).abs().total_cmp(&(b[0] - b[1]).abs()))
}

/// What the metrics of the simulated server say.
fn page(scenario: &Scenario) -> Result<Load, Failure> {
    let mut meter = Meter::new(scenario, Sampling::End);
    observe(scenario, None, RunOptions::default(), &|_| {}, None, Some(&mut meter)).map_err(run_failure)?;
    let mut bytes = Vec::new();
    let name = Path::new("simulated.prom");
    write_metrics(meter, PageFormat::Prometheus, DEFAULT_START_MS, name, &mut bytes)
        .map_err(|e| Failure::message(e.to_string()))?;
    Load::of_text(&String::from_utf8_lossy(&bytes), &ScrapeOptions::default()).map_err(|e| trace_failure(&e))
}
