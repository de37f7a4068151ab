//! `tokentide calibrate fit`

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::read::MultiGzDecoder;
use tokentide_calibrate::kernels::StepKernels;
use tokentide_calibrate::live::fit::About;
use tokentide_calibrate::live::{LiveFit, Sample, fit_live, sample};
use tokentide_calibrate::observation::{Observations, PointKind, PointRecord, RequestRecord, ServerRecord};
use tokentide_models::deployment::Deployment;
use tokentide_sim::scenario::Scenario;
use tokentide_sim::validate::measured::{MeasuredRequest, Run};
use tokentide_sim::validate::read::read_runs;

use super::date::today;
use super::import::{failure, write_text};
use super::live_report::{self, FitReport};
use super::server::server;
use crate::commands::simulate::assignment;
use crate::engine::trace_failure;
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// From what, for which server.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct FitArgs {
    /// Logs of `calibrate probe` (.jsonl, .jsonl.gz), or benchmarks with the times of each token (vllm bench serve
    /// --save-detailed, AIPerf, inference-perf)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The server that was measured: a scenario, of which model, gpu and engine are used
    #[arg(long, value_name = "FILE")]
    scenario: PathBuf,
    /// Change a value of the server (repeatable)
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Steps of the same server's kernels (`calibrate kernels -o`): host and GPU time are then fitted apart
    #[arg(long, value_name = "FILE.parquet")]
    kernels: Option<PathBuf>,
    /// Write coefficients, points and errors as JSON
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

/// Writes a profile fitted to what was measured, and says what it is worth.
///
/// # Errors
/// What is wrong with the files, or what they do not say.
pub fn run(args: &FitArgs, output: &Output) -> Result<Verdict, Failure> {
    let scenario = server(&args.scenario, &args.set)?;
    let logs = args.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let kernels = args.kernels.as_deref().map(kernels).transpose()?;
    let fitted = fit(&logs, kernels.as_ref(), &scenario)?;
    if let Some(path) = &args.report {
        live_report::write(path, &fitted.report)?;
    }
    output.note(&live_report::text(&fitted.report, output.verbose));
    write_text(fitted.fit.profile.to_toml(), &format!("{}: fitted", fitted.fit.profile.name), output)
}

/// A fit, and what is said of it.
pub struct Fitted {
    /// The fit.
    pub fit: LiveFit,
    /// What is said of it.
    pub report: FitReport,
}

/// Fits a profile of a server to logs of it.
///
/// # Errors
/// If they do not suffice, or cannot be of this server.
pub fn fit(logs: &[(PathBuf, Observations)], kernels: Option<&StepKernels>, scenario: &Scenario) -> Result<Fitted, Failure> {
    one_engine(scenario)?;
    let mut deployment = scenario.deployment.clone();
    let mut notes = Vec::new();
    let mut samples: Vec<Sample> = Vec::new();
    for (path, log) in logs {
        agree(log, &mut deployment, &mut notes);
        samples.extend(sample::samples(log, deployment.max_num_batched_tokens));
        notes.extend(live_report::marks(path, log));
    }
    let engine = |f: &dyn Fn(&ServerRecord) -> Option<String>| logs.iter().find_map(|(_, log)| f(&log.server));
    let version = deployment.engine_version;
    let about = About {
        engine: engine(&|s| s.engine.clone()).unwrap_or_else(|| "vllm".to_owned()),
        engine_version: engine(&|s| s.engine_version.clone()).unwrap_or_else(|| format!("{}.{}", version.major, version.minor)),
        date: today(),
        source: format!(
            "fitted to {} steps and prompts of a live server as its client saw them; {}; errors are of points left out of the fit",
            samples.len(),
            if kernels.is_some() { "host time told by its kernels" } else { "host time is within the times of steps" }
        ),
    };
    let first = logs.first().map_or(Path::new("."), |(path, _)| path);
    let asked = format!("{} on {}", deployment.model.name, deployment.gpu.name);
    let help = "probe with a larger --budget, or give more files";
    let fit = fit_live(&samples, kernels, &deployment, &about).map_err(|error| failure(&error, first, &asked, help))?;
    let report = FitReport::of(&fit, samples.len(), notes);
    Ok(Fitted { fit, report })
}

/// Steps of kernels.
///
/// # Errors
/// If the file is no such table.
pub fn kernels(path: &Path) -> Result<StepKernels, Failure> {
    StepKernels::read(path).map_err(|error| failure(&error, path, "", ""))
}

/// Streams tell the steps of one engine core; those of several, or of stages that overlap, run at once.
fn one_engine(scenario: &Scenario) -> Result<(), Failure> {
    let d = &scenario.deployment;
    if d.data_parallel == 1 && d.pipeline_parallel == 1 {
        return Ok(());
    }
    Err(Failure::with_help(
        format!(
            "a server of {} data-parallel ranks and {} pipeline stages runs steps at once, which cannot be told apart from \
                 outside",
            d.data_parallel, d.pipeline_parallel
        ),
        "measure a server of one rank and one stage: ranks of a dense model run as that does",
    ))
}

/// What the server said of its limits wins over the scenario, which is told.
fn agree(log: &Observations, deployment: &mut Deployment, notes: &mut Vec<String>) {
    let limits = [
        ("max_num_batched_tokens", log.server.max_num_batched_tokens, &mut deployment.max_num_batched_tokens),
        ("max_num_seqs", log.server.max_num_seqs, &mut deployment.max_num_seqs),
    ];
    for (name, said, used) in limits {
        let Some(said) = said.filter(|said| said != used) else { continue };
        notes
            .push(format!("the server has {name} = {said}, the scenario {used}: taken is the server's, so set it in the scenario"));
        *used = said;
    }
}

/// A probe's log, or benchmarks as one.
///
/// # Errors
/// If the file is neither, or has no times of single tokens.
pub fn read(path: &Path) -> Result<(PathBuf, Observations), Failure> {
    if is_log(path) {
        let log = Observations::read(path).map_err(|error| failure(&error, path, "", ""))?;
        return Ok((path.to_owned(), log));
    }
    let runs = read_runs(path, None).map_err(|error| trace_failure(&error))?;
    let points: Vec<_> = runs.iter().enumerate().map(|(i, run)| load(i, run)).collect();
    if points.iter().all(|(_, requests)| requests.iter().all(|r| r.chunks.len() < 3)) {
        return Err(Failure::with_help(
            format!("{} has no times of single tokens: engine steps cannot be told from it", path.display()),
            "vllm bench serve writes them with --save-detailed, AIPerf in profile_export.jsonl, inference-perf per request; \
             `tokentide calibrate probe` measures them itself",
        ));
    }
    Ok((path.to_owned(), Observations { server: ServerRecord::default(), points, incomplete: 0 }))
}

/// Whether the first line is one of a probe's log.
fn is_log(path: &Path) -> bool {
    let Ok(file) = std::fs::File::open(path) else { return false };
    let mut reader = BufReader::new(file);
    let gzipped = reader.fill_buf().is_ok_and(|start| start.starts_with(&[0x1f, 0x8b]));
    let mut start = Vec::new();
    let head: Box<dyn Read> = if gzipped { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    head.take(64).read_to_end(&mut start).is_ok() && String::from_utf8_lossy(&start).trim_start().starts_with("{\"record\"")
}

/// A benchmark as a point: its requests with the times of their tokens.
fn load(index: usize, run: &Run) -> (PointRecord, Vec<RequestRecord>) {
    let point = format!("benchmark/{index}");
    let ns = |ms: f64| (ms * 1e6).round().max(0.0) as u64;
    let first = run.requests.iter().filter_map(|r| r.arrival_s).fold(f64::INFINITY, f64::min);
    let record = |(index, r): (usize, &MeasuredRequest)| {
        let sent = (r.arrival_s? - first) * 1e3;
        let times = r.itl_ms.iter().scan(sent + r.ttft_ms?, |at, gap| {
            *at += gap;
            Some(*at)
        });
        let chunks = std::iter::once(sent + r.ttft_ms?).chain(times).map(ns).zip(1..).collect();
        Some(RequestRecord {
            point: point.clone(),
            rep: 0,
            index: index as u32,
            planned_ns: None,
            sent_ns: ns(sent),
            input: r.input_tokens,
            output: r.output_tokens,
            cached: None,
            chunks,
            counted: false,
            error: None,
        })
    };
    let requests: Vec<RequestRecord> = run.requests.iter().enumerate().filter_map(record).collect();
    let record = PointRecord {
        point: point.clone(),
        rep: 0,
        kind: PointKind::Burst,
        batch: 0,
        context: 0,
        rate: None,
        start_ns: 0,
        end_ns: requests.iter().filter_map(|r| r.chunks.last()).map(|chunk| chunk.0).max().unwrap_or(0),
        counters: Default::default(),
        marks: Vec::new(),
    };
    (record, requests)
}
