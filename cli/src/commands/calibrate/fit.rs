//! `tokentide calibrate fit`

use std::path::{Path, PathBuf};

use clap::Args;
use tokentide_calibrate::kernels::StepKernels;
use tokentide_calibrate::live::{BenchmarkRequest, Fitted, fit_logs, log_of};
use tokentide_calibrate::observation::Observations;
use tokentide_calibrate::probe::clock::today;
use tokentide_sim::scenario::Scenario;
use tokentide_sim::validate::measured::MeasuredRequest;
use tokentide_sim::validate::measured::read_runs;

use super::import::{failure, write_text};
use super::live_report;
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

/// Fits a profile of a server to logs of it.
///
/// # Errors
/// If they do not suffice, or cannot be of this server.
pub fn fit(logs: &[(PathBuf, Observations)], kernels: Option<&StepKernels>, scenario: &Scenario) -> Result<Fitted, Failure> {
    let first = logs.first().map_or(Path::new("."), |(path, _)| path);
    let asked = format!("{} on {}", scenario.deployment.model.name, scenario.deployment.gpu.name);
    let help = "probe with a larger --budget, or give more files";
    fit_logs(logs, kernels, scenario.deployment.clone(), today()).map_err(|error| failure(&error, first, &asked, help))
}

/// Steps of kernels.
///
/// # Errors
/// If the file is no such table.
pub fn kernels(path: &Path) -> Result<StepKernels, Failure> {
    StepKernels::read(path).map_err(|error| failure(&error, path, "", ""))
}

/// A probe's log, or benchmarks as one.
///
/// # Errors
/// If the file is neither, or has no times of single tokens.
pub fn read(path: &Path) -> Result<(PathBuf, Observations), Failure> {
    if Observations::is_log(path) {
        let log = Observations::read(path).map_err(|error| failure(&error, path, "", ""))?;
        return Ok((path.to_owned(), log));
    }
    let runs = read_runs(path, None).map_err(|error| trace_failure(&error))?;
    let runs: Vec<Vec<BenchmarkRequest>> = runs.into_iter().map(|run| run.requests.into_iter().map(request).collect()).collect();
    let log = log_of(&runs).ok_or_else(|| {
        Failure::with_help(
            format!("{} has no times of single tokens: engine steps cannot be told from it", path.display()),
            "vllm bench serve writes them with --save-detailed, AIPerf in profile_export.jsonl, inference-perf per request; \
             `tokentide calibrate probe` measures them itself",
        )
    })?;
    Ok((path.to_owned(), log))
}

fn request(r: MeasuredRequest) -> BenchmarkRequest {
    let MeasuredRequest { arrival_s, input_tokens, output_tokens, ttft_ms, itl_ms, .. } = r;
    BenchmarkRequest { arrival_s, input: input_tokens, output: output_tokens, ttft_ms, itl_ms }
}
