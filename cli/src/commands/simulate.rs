//! `tokentide simulate`

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use tokentide_sim::report::Report;
use tokentide_sim::run::RunOptions;
use tokentide_tables::{Labels, RecordWriter};

use crate::args::{Format, Global};
use crate::engine::{self, Input, Loaded};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::progress::Progress;
use crate::text::{self, Layout};
use crate::views::{ViewArgs, Views};

/// What to simulate.
#[derive(Args)]
pub struct SimulateArgs {
    /// Scenario file (TOML); without it a built-in one
    scenario: Option<PathBuf>,
    /// Replay the requests of a trace: CSV, JSONL (plain or gzip) or Parquet
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write one row per request, .parquet or .csv (of the first replication); `explain records` lists the columns
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Independent runs, whose means are reported with 95 % confidence intervals
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    replications: u32,
    /// Change a value of the scenario, such as class.chat.prompt.retrieved.top_k=12 (repeatable)
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    views: ViewArgs,
    /// Exit with 1 if a service level of the scenario is missed
    #[arg(long)]
    require_slo: bool,
}

/// `a.b.c=value`
pub fn assignment(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("expected PATH=VALUE, such as cluster.replicas=4")?;
    let path = path.trim();
    if path.is_empty() || path.split('.').any(|key| key.trim().is_empty()) {
        return Err("the path before `=` is empty or has an empty key".to_owned());
    }
    Ok((path.to_owned(), value.trim().to_owned()))
}

/// Simulates and reports.
pub fn run(args: &SimulateArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let input = Input { scenario: args.scenario.clone(), trace: args.trace.clone(), set: args.set.clone(), seed: global.seed };
    let loaded = engine::load(&input)?;
    if args.scenario.is_none() {
        let what = if args.trace.is_some() { "deployment" } else { "scenario" };
        output.note(&format!("no scenario given: this is the built-in {what}; `tokentide init DIR` writes scenarios to change"));
    }
    if args.require_slo && loaded.scenario.classes.iter().all(|c| c.slo.targets.is_empty()) {
        return Err(Failure::with_help(
            "--require-slo has nothing to check: no class of the scenario has a target",
            "give a class one, such as slo = { ttft_p95 = \"800ms\" }",
        ));
    }
    let report = simulate(args, global, output, &loaded)?;
    match output.format {
        Format::Json => output.json(&report)?,
        _ => output.text(&text::report(&report, Layout::new(output.width(), output.verbose)))?,
    }
    let missed = args.require_slo && report.summary.slo.met != Some(true);
    Ok(if missed { Verdict::CheckFailed } else { Verdict::Pass })
}

fn simulate(args: &SimulateArgs, global: &Global, output: &Output, loaded: &Loaded) -> Result<Report, Failure> {
    let table = |error: tokentide_tables::TableError| Failure::message(error.to_string());
    let labels = Labels::of(&loaded.scenario);
    // Opened before the run: a path that cannot be written is found now and not after it.
    let mut records = args.records.as_ref().map(|path| RecordWriter::create(path, labels)).transpose().map_err(table)?;
    let mut views = Views::open(&args.views, &loaded.scenario)?;
    let progress = Progress::new("simulating", global.no_progress || global.quiet);
    let options = RunOptions { replications: args.replications, threads: global.threads.map(NonZeroUsize::get) };
    let report = engine::simulate(loaded, options, progress, records.as_mut(), views.meter())?;
    if let Some(timeline) = views.timeline() {
        let progress = Progress::new("drawing", global.no_progress || global.quiet);
        engine::simulate(loaded, RunOptions { replications: 1, ..options }, progress, None, Some(timeline))?;
    }
    if let (Some(writer), Some(path)) = (records, &args.records) {
        let rows = writer.finish().map_err(table)?;
        output.note(&format!("{rows} rows in {}", path.display()));
    }
    views.finish(args.replications, output)?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::assignment;

    #[test]
    fn assignments_are_split_at_the_first_equals_sign() {
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(assignment("cluster.replicas=4"), pair("cluster.replicas", "4"));
        assert_eq!(assignment("class.chat.slo = { ttft_p95 = \"1s\" }"), pair("class.chat.slo", "{ ttft_p95 = \"1s\" }"));
        for wrong in ["cluster.replicas", "=4", "a..b=4", ".a=1"] {
            assert!(assignment(wrong).is_err(), "{wrong}");
        }
    }
}
