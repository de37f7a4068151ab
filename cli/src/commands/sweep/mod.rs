//! `tokentide sweep`

pub mod merge;
mod plan;
pub mod results;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::{ArgGroup, Args};
use tokentide_sim::scenario::Scenario;
use tokentide_sweep::axis::Axis;
use tokentide_sweep::drive::{Standing, drive};
use tokentide_sweep::point::{Params, Seeds};
use tokentide_sweep::shard::Shard;
use tokentide_sweep::sweep::{Rows, Surroundings, Sweep, SweepError};
use tokentide_tables::{SweepStore, SweepTableError, TableFormat, TraceCache};

use super::simulate::assignment;
use crate::args::{Format, Global};
use crate::engine;
use crate::exit::{Failure, Verdict};
use crate::interrupt::interruptible;
use crate::output::Output;
use crate::progress::Progress;
use crate::text::sweep as text;

/// What to vary.
#[derive(Args)]
#[command(group(ArgGroup::new("drawn").args(["lhs", "random"])))]
#[command(
    after_help = "Values: PATH=4,8,12, PATH=1..8 (whole), PATH=0.5..2:0.5 (a step), for samples PATH=1.0..64.0:log (anything \
                  between).\nPaths are those of --set. -o writes a row per point and replication, .parquet or .csv; an interrupted \
                  sweep goes on where it was."
)]
pub struct SweepArgs {
    /// Sweep file (scenario, grid, list, sample), or the scenario to vary; without it the built-in scenario
    file: Option<PathBuf>,
    /// Vary a setting over these values, in every combination with the others (repeatable)
    #[arg(long, value_name = "PATH=VALUES", value_parser = Axis::parse)]
    grid: Vec<Axis>,
    /// A point typed out, such as cluster.replicas=2,gpu.name=h200-sxm (repeatable)
    #[arg(long, value_name = "PATH=VALUE,...", value_parser = plan::point)]
    point: Vec<Params>,
    /// Draw a setting from this range or list (repeatable); with --lhs or --random
    #[arg(long, value_name = "PATH=VALUES", value_parser = Axis::parse, requires = "drawn")]
    over: Vec<Axis>,
    /// Draw so many points, spread evenly along each setting (a Latin hypercube)
    #[arg(long, value_name = "POINTS", requires = "over")]
    lhs: Option<u32>,
    /// Draw so many points, independently
    #[arg(long, value_name = "POINTS", requires = "over")]
    random: Option<u32>,
    /// Seed of the draws, not of the runs
    #[arg(long, value_name = "N", requires = "drawn")]
    sample_seed: Option<u64>,
    /// Change a value of the scenario for all points (repeatable)
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Runs of each point, a row each [default: 1, or what the sweep file says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    replications: Option<u32>,
    /// Seeds of the runs: derived from each point, or common to all [default: derived, or what the sweep file says]
    #[arg(long, value_name = "WHICH", value_parser = plan::seeds)]
    seeds: Option<Seeds>,
    /// Only every Nth point from the Ith, such as 3/64; auto: as Kubernetes, Slurm or GitLab say. {shard} in -o is its number
    #[arg(long, value_name = "I/N|auto", value_parser = plan::shard)]
    shard: Option<Shard>,
    /// Run failed points again
    #[arg(long)]
    retry_failed: bool,
    /// Start anew, whatever the output holds
    #[arg(long)]
    fresh: bool,
}

/// Traces from tables, and typed paths.
struct Typed {
    /// What the values of settings that name a file are relative to.
    folder: PathBuf,
    traces: TraceCache,
}

impl Surroundings for Typed {
    fn rows(&self, scenario: &Scenario) -> Result<Option<Rows>, String> {
        self.traces.rows(scenario).map_err(|error| error.to_string())
    }

    fn toml(&self, path: &str, value: &toml::Value) -> Result<String, String> {
        Ok(engine::typed_value(path, value, &self.folder))
    }
}

/// Sweeps and reports.
pub fn run(args: &SweepArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let asked = plan::understand(args, global)?;
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let path = global.output.as_deref().map(|path| plan::named(path, shard, args.shard.is_some())).transpose()?;
    if args.shard.is_some() && path.is_none() {
        return Err(Failure::with_help("--shard needs a file to write", "such as -o part-{shard}.parquet"));
    }
    if let Some(path) = &path {
        TableFormat::of(path).map_err(|error| Failure::message(error.to_string()))?;
    }
    let typed = Box::new(Typed { folder: asked.folder.clone(), traces: TraceCache::default() });
    let sweep = Sweep::new(asked.base, asked.design, asked.replications, asked.seeds, typed).map_err(failure)?;
    if sweep.design().coincident() > 0 {
        output.note(&format!("{} of the points drawn are equal to another one and run once", sweep.design().coincident()));
    }
    let mut store = SweepStore::open(path.as_deref(), &sweep, args.fresh, args.retry_failed).map_err(unusable)?;
    let stop = interruptible()?;
    let standing = all(&sweep, shard, &mut store, &stop, global)?;
    if stop.load(Ordering::Relaxed) {
        let there = standing.before + standing.run;
        let points = standing.points;
        return Err(match path {
            Some(_) => Failure::Interrupted(format!("{there} of {points} points are kept: the same command goes on from there")),
            None => Failure::Interrupted(format!("{there} of {points} points were run; with -o FILE they would be kept")),
        });
    }
    let summary = results::summary(&mut store, &sweep, shard, standing).map_err(|error| Failure::message(error.to_string()))?;
    store.finish(&sweep, shard).map_err(|error| Failure::message(error.to_string()))?;
    let report = output.beside_file();
    match output.format {
        Format::Json => report.json(&summary)?,
        _ => report.text(&text::summary(&summary, output.width()))?,
    }
    // Of a shard, which a scheduler would begin again, the others may be fine.
    match summary.failed == summary.points && shard == Shard::WHOLE {
        true => Err(Failure::message("every point failed")),
        false => Ok(Verdict::Pass),
    }
}

/// Runs what is to be run.
fn all(sweep: &Sweep, shard: Shard, store: &mut SweepStore, stop: &AtomicBool, global: &Global) -> Result<Standing, Failure> {
    let mut bar = Progress::new("sweeping", global.no_progress || global.quiet);
    let begun = Instant::now();
    let mut show = |standing: Standing| {
        let Standing { points, before, run, failed } = standing;
        let rate = run as f64 / begun.elapsed().as_secs_f64().max(1e-9);
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        bar.set_label(&format!("{} of {points}, {rate:.1}/s{failed}", before + run));
        // What was there before took no time: left out, the time left is that of the rest.
        bar.set(run as f64 / (points - before).max(1) as f64);
    };
    drive(sweep, shard, store, stop, &mut show).map_err(|error| Failure::message(error.to_string()))
}

fn unusable(error: SweepTableError) -> Failure {
    match error.is_of_another() {
        true => Failure::with_help(error.to_string(), "write to another file, or start anew with --fresh"),
        false => Failure::message(error.to_string()),
    }
}

fn failure(error: SweepError) -> Failure {
    match error {
        SweepError::Base(errors) => engine::diagnostics(errors),
        SweepError::Setting { errors, .. } => engine::diagnostics(errors),
        SweepError::Value(message) => Failure::message(message),
    }
}
