//! Whole runs: a scenario in, a report out.

use std::cell::Cell;

use rayon::prelude::*;
use tokentide_models::units::Time;

use crate::engine::{Beside, Observer, Outcome};
use crate::metrics::{Collector, average};
use crate::report::{Fingerprint, ModelInfo, Report};
use crate::scenario::{Horizon, Router, Scenario};
use crate::workload::generator::Generator;
use crate::workload::served::Served;
use crate::workload::trace::{TraceError, TraceRow, TraceSource};
use crate::workload::{Request, RequestSource};

/// Version of the report's format.
pub const SCHEMA_VERSION: u32 = 1;
/// More threads than this are not started, however many are asked for: no machine runs them, and results do not depend on them.
pub const THREADS_MAX: usize = 512;
/// Requests between two reports of progress.
const PROGRESS_EVERY: u64 = 4096;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Runs with the seeds `seed, seed + 1, ...`; figures are their means, with confidence intervals.
    pub replications: u32,
    /// Worker threads; `None`: one per core. Results do not depend on it.
    pub threads: Option<usize>,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions { replications: 1, threads: None }
    }
}

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The worker threads cannot be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why not.
        reason: String,
    },
}

/// Receives each outcome with the names that its tenant and route index.
pub type Records<'a> = &'a mut dyn FnMut(&Outcome, &[String]);

/// Runs `scenario`. `rows` are those of a trace that was read elsewhere (Parquet). `progress` receives the share done, 0 to 1, now
/// and then. `records` receives every outcome of the first replication, in order of the requests' ends on each replica.
///
/// # Errors
/// If the trace cannot be read, or changed while it was replayed.
pub fn simulate(
    scenario: &Scenario,
    rows: Option<&[TraceRow]>,
    options: RunOptions,
    progress: &(dyn Fn(f64) + Sync),
    records: Option<Records<'_>>,
) -> Result<Report, RunError> {
    observe(scenario, rows, options, progress, records, None)
}

/// As [`simulate`]; `observer` is told all that happens in the first replication. Nothing happens otherwise for that, but if it
/// asks for every step, levels over time are those of steps, and differ a little from those within leaps, which are taken to
/// grow steadily.
///
/// # Errors
/// See [`simulate`].
pub fn observe(
    scenario: &Scenario,
    rows: Option<&[TraceRow]>,
    options: RunOptions,
    progress: &(dyn Fn(f64) + Sync),
    records: Option<Records<'_>>,
    observer: Option<&mut dyn Observer>,
) -> Result<Report, RunError> {
    let runs = u64::from(options.replications.max(1));
    let seeds: Vec<u64> = (0..runs).map(|i| scenario.seed.wrapping_add(i)).collect();
    let share_of_all = |share: f64| progress(share / runs as f64);
    let first = run_seed(scenario, rows, seeds[0], (&Cell::new(false), &share_of_all), Told { records, observer })?;
    if runs == 1 {
        return Ok(first);
    }
    let threads = options.threads.unwrap_or(0).min(THREADS_MAX);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| RunError::Threads { threads, reason: e.to_string() })?;
    let done = std::sync::atomic::AtomicU64::new(1);
    let run = |&seed: &u64| {
        let report = replicate(scenario, rows, seed, &Cell::new(false), &|_| {}, None);
        // Of thousands of runs they would fill the memory, and only the first one's are told.
        let report = report.map(|report| Report { distributions: Vec::new(), ..report });
        let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        progress(done as f64 / runs as f64);
        report
    };
    let rest: Result<Vec<Report>, RunError> = pool.install(|| seeds[1..].par_iter().map(run).collect());
    let mut report = average(std::iter::once(first).chain(rest?).collect());
    report.fingerprint.seeds = seeds;
    Ok(report)
}

/// One run with one seed, as by [`simulate`]. Nothing arrives any more once `stop` is set, which `records` may do: what is under
/// way then still ends.
///
/// # Errors
/// See [`simulate`].
pub fn replicate(
    scenario: &Scenario,
    rows: Option<&[TraceRow]>,
    seed: u64,
    stop: &Cell<bool>,
    progress: &dyn Fn(f64),
    records: Option<Records<'_>>,
) -> Result<Report, RunError> {
    run_seed(scenario, rows, seed, (stop, progress), Told { records, observer: None })
}

/// Who is told what happens, beside the report.
struct Told<'r, 'o> {
    records: Option<Records<'r>>,
    observer: Option<&'o mut dyn Observer>,
}

fn run_seed(
    scenario: &Scenario,
    rows: Option<&[TraceRow]>,
    seed: u64,
    (stop, progress): (&Cell<bool>, &dyn Fn(f64)),
    told: Told<'_, '_>,
) -> Result<Report, RunError> {
    let seeded = Scenario { seed, ..scenario.clone() };
    match &scenario.trace {
        None => {
            let mut source = Generator::new(&seeded);
            let labels = source.labels().to_vec();
            let expected = Expected::of(scenario.horizon);
            let (mut report, _) = run(&seeded, &mut source, expected, (stop, progress), told, &labels);
            match source.clamped() {
                0 => {}
                1 => report.notes.push("1 drawn token count was cut to its bounds".to_owned()),
                n => report.notes.push(format!("{n} drawn token counts were cut to their bounds")),
            }
            Ok(report)
        }
        Some(config) => {
            let mut source = match rows {
                Some(rows) => TraceSource::from_rows(rows.iter().cloned(), config, &seeded)?,
                None => TraceSource::open(config, &seeded)?,
            };
            let labels = source.labels().to_vec();
            let summary = source.summary().clone();
            let expected = Expected { requests: summary.rows_in_window, until: Time::NEVER };
            let (mut report, arrivals) = run(&seeded, &mut source, expected, (stop, progress), told, &labels);
            if let Some(failure) = source.failure() {
                return Err(failure.clone().into());
            }
            report.fingerprint.trace = Some(format!("{:016x}", summary.content_hash));
            report.notes.push(format!(
                "trace: {} format, times in {}, {} rows read, {} in the window, span {:.1} s",
                summary.format, summary.unit, summary.rows_read, summary.rows_in_window, summary.span_s
            ));
            if arrivals < summary.rows_in_window {
                let rows = summary.rows_in_window;
                let why = match summary.rows_waiting {
                    0 => "`duration` or `requests` of the scenario ended it",
                    _ => "`duration` or `requests` of the scenario ended it, or sessions ended at a turn that was not answered",
                };
                report.notes.push(format!("only {arrivals} of the trace's {rows} rows were replayed: {why}"));
            }
            report.notes.extend(summary.warnings(config.jitter.is_some()));
            let caching = scenario.engine.enable_prefix_caching;
            if caching && summary.rows_with_prefix == 0 {
                report.notes.push(
                    "the trace has no prefix hashes: the prefix cache finds nothing, which says nothing about production".into(),
                );
            }
            Ok(report)
        }
    }
}

/// How much is to come, for the progress bar.
#[derive(Clone, Copy)]
struct Expected {
    requests: u64,
    until: Time,
}

impl Expected {
    fn of(horizon: Horizon) -> Expected {
        Expected { requests: horizon.requests.unwrap_or(u64::MAX), until: horizon.duration.unwrap_or(Time::NEVER) }
    }

    fn share(self, count: u64, now: Time) -> f64 {
        let by_count = count as f64 / self.requests as f64;
        by_count.max(now.0 as f64 / self.until.0 as f64).min(1.0)
    }
}

/// Reports progress as requests pass.
struct Watched<'a, S> {
    source: &'a mut S,
    expected: Expected,
    progress: &'a dyn Fn(f64),
    count: u64,
}

impl<S: RequestSource> RequestSource for Watched<'_, S> {
    fn peek(&mut self) -> Option<Time> {
        self.source.peek()
    }

    fn next(&mut self) -> Option<Request> {
        let request = self.source.next()?;
        self.count += 1;
        if self.count.is_multiple_of(PROGRESS_EVERY) {
            (self.progress)(self.expected.share(self.count, request.arrival));
        }
        Some(request)
    }

    fn feedback(&self) -> bool {
        self.source.feedback()
    }

    fn ended(&mut self, outcome: &Outcome, known: Time) {
        self.source.ended(outcome, known);
    }
}

/// The report of one run, and the number of requests that arrived, warm-up included.
fn run<S: RequestSource>(
    scenario: &Scenario,
    source: &mut S,
    expected: Expected,
    (stop, progress): (&Cell<bool>, &dyn Fn(f64)),
    mut told: Told<'_, '_>,
    labels: &[String],
) -> (Report, u64) {
    let mut collector = Collector::new(scenario, |outcome: &Outcome| {
        if let Some(records) = told.records.as_mut() {
            records(outcome, labels);
        }
    });
    let mut observer = Beside { main: &mut collector, other: told.observer };
    observer.labels(labels);
    let mut watched = Watched { source, expected, progress, count: 0 };
    let mut source = Served::new(&mut watched, &scenario.serves, stop);
    let (totals, history) = scenario.cluster(scenario.seed).run(&mut source, &mut observer);
    let (figures, arrivals) = (collector.finish(&totals, history.as_ref()), watched.count);
    let report = Report {
        schema_version: SCHEMA_VERSION,
        scenario: scenario.name.clone(),
        summary: figures.summary,
        classes: figures.classes,
        buckets: figures.buckets,
        output_buckets: figures.output_buckets,
        replicas: figures.replicas,
        timeline: figures.timeline,
        fleet: figures.fleet,
        model: ModelInfo {
            name: scenario.deployment.model.name.clone(),
            gpu: scenario.deployment.gpu.name.clone(),
            layout: scenario.deployment.layout(),
            replicas: scenario.cluster.replicas,
            router: router_name(scenario.cluster.router),
            cost: scenario.cost_info.clone(),
            out_of_range: figures.out_of_range,
        },
        ci95: None,
        fingerprint: Fingerprint {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.hash.clone(),
            profile: scenario.cost_info.hash.clone(),
            trace: None,
            tokenizer: scenario.tokenizer.clone(),
            seeds: vec![scenario.seed],
        },
        notes: scenario.notes.clone(),
        distributions: figures.distributions,
    };
    (report, arrivals)
}

/// The router's name in scenarios.
fn router_name(router: Router) -> String {
    serde_json::to_value(router).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
