//! `tokentide calibrate run`: probe, fit and validate in one go.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tokentide_calibrate::kernels::{LiveOptions, StepKernels};
use tokentide_calibrate::live::Fitted;
use tokentide_calibrate::live::report::FitReport;
use tokentide_calibrate::live::sample::slowness;
use tokentide_calibrate::observation::{Observations, PointKind, ServerRecord};
use tokentide_models::cost::Profile;
use tokentide_models::deployment::Deployment;
use tokentide_sim::validate::compare;
use tokentide_sim::validate::evaluate::{Places, evaluate};
use tokentide_sim::validate::measured::read_runs;
use tokentide_sim::validate::report::SetReport;

use super::fit::{fit, read};
use super::live_report;
use super::probe::{LOG, ProbeArgs, measure, options};
use super::server::{priced, server};
use super::{kernels, validate};
use crate::args::Global;
use crate::commands::simulate::assignment;
use crate::diagnostics::Diagnostic;
use crate::engine::trace_failure;
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::validation::text;

/// Which server, what it is, and where everything goes.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct RunArgs {
    #[command(flatten)]
    probe: ProbeArgs,
    /// The server: a scenario, of which model, gpu and engine are used
    #[arg(long, value_name = "FILE")]
    scenario: PathBuf,
    /// Change a value of the server (repeatable)
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// The probe's log
    #[arg(long, value_name = "FILE.jsonl", default_value = LOG)]
    log: PathBuf,
    /// Profile the server's kernels as well, which fits host and GPU time apart: the folder that it writes traces to
    #[arg(long, value_name = "FOLDER")]
    trace_dir: Option<PathBuf>,
    /// Write the fit, and the comparison with the run held out of it, as JSON
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

/// All of it, as JSON.
#[derive(Serialize)]
struct RunReport {
    /// The server as it said of itself.
    server: ServerRecord,
    /// The fit.
    fit: FitReport,
    /// The open-loop runs, which the fit has not seen, against what the profile predicts.
    validation: Option<SetReport>,
    /// The same, corrected for the server's speed in that time.
    corrected: Option<Corrected>,
}

/// Errors of medians if the server had been as fast in the open-loop run as when it was probed.
#[derive(Serialize)]
struct Corrected {
    /// Time of the steps that the run shows, over that by the profile.
    slowness: f64,
    /// Signed errors of the medians of TTFT, TPOT and e2e [%].
    median_errors_percent: [Option<f64>; 3],
}

/// Measures a server, writes the profile fitted to it, and compares what that predicts with a run that the fit has not seen.
///
/// # Errors
/// What is wrong with the server, its scenario, or what was measured; the log is kept.
pub fn run(args: &RunArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let Some(profile) = output.path() else {
        return Err(Failure::with_help("there is no place for the profile", "name it: -o profile.toml"));
    };
    // Before minutes are spent on measuring a server that is described wrongly.
    let scenario = server(&args.scenario, &args.set)?;
    let traced = args.trace_dir.as_ref().map(|folder| traced(args, folder, global, output)).transpose()?;
    let summary = measure(&args.probe, args.log.clone(), global, output)?;
    let log = read(&summary.log)?;
    let settings = settings(&log.1.server, &scenario.deployment, &args.set);
    let Fitted { fit, report } = fit(std::slice::from_ref(&log), traced.as_ref(), &scenario)?;
    let toml = fit.profile.to_toml().map_err(|e| Failure::message(e.to_string()))?;
    output.text(&toml)?;
    output.note(&live_report::text(&report, output.verbose));
    let set = validation_settings(args, &settings, profile);
    let validation = validated(&log.1, args, &set)?;
    let corrected = corrected(&log.1, &fit.profile, args, &set)?;
    match &validation {
        Some(set) => {
            output.beside_file().text(&text::report(set, output.verbose))?;
            output.beside_file().text(&corrected.as_ref().map(Corrected::line).unwrap_or_default())?;
        }
        None => output.note("nothing is held against the profile: the budget left no time for an open-loop run"),
    }
    if let Some(path) = &args.report {
        live_report::write(path, &RunReport { server: log.1.server.clone(), fit: report, validation, corrected })?;
    }
    if !settings.is_empty() {
        let lines: Vec<String> = settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        output.note(&format!("settings of the server that its scenario should have: {}", lines.join(", ")));
    }
    let next = format!("next: tokentide simulate SCENARIO --set cost.profile={}", profile.display());
    output.note(&next);
    Ok(Verdict::Pass)
}

/// The steps of the server's kernels.
fn traced(args: &RunArgs, folder: &Path, global: &Global, output: &Output) -> Result<StepKernels, Failure> {
    if !folder.is_dir() {
        let help = "name the server's torch_profiler_dir, as it is reached from here";
        return Err(Failure::Input(vec![Diagnostic {
            help: Some(help.to_owned()),
            ..Diagnostic::file(folder, "there is no such folder")
        }]));
    }
    let live = LiveOptions {
        server: options(&args.probe, global, PathBuf::new()),
        trace_dir: folder.to_owned(),
        batches: vec![1, 8, 32],
        context: 512,
        steps: 16,
        prompts: vec![128, 512],
        repeats: 2,
    };
    kernels::of_server(&live, global, output)
}

/// What the server has that its scenario does not say: limits and memory decide as much as times do.
fn settings(said: &ServerRecord, scenario: &Deployment, typed: &[(String, String)]) -> Vec<(String, String)> {
    let all = [
        ("engine.max_num_batched_tokens", said.max_num_batched_tokens, Some(scenario.max_num_batched_tokens)),
        ("engine.max_num_seqs", said.max_num_seqs, Some(scenario.max_num_seqs)),
        ("engine.block_size", said.block_size, Some(scenario.block_size)),
        ("engine.num_gpu_blocks_override", said.num_gpu_blocks, scenario.num_gpu_blocks),
    ];
    let differs = |(key, said, has): (&str, Option<u32>, Option<u32>)| {
        let said = said.filter(|_| said != has && !typed.iter().any(|(path, _)| path == key))?;
        Some((key.to_owned(), said.to_string()))
    };
    all.into_iter().filter_map(differs).collect()
}

/// The open-loop runs of the log against the profile; none if there are none.
fn validated(log: &Observations, args: &RunArgs, set: &[(String, String)]) -> Result<Option<SetReport>, Failure> {
    if !log.points.iter().any(|(point, _)| point.kind == PointKind::Open) {
        return Ok(None);
    }
    let places = Places { data: PathBuf::new(), base: PathBuf::new(), set: set.to_vec() };
    evaluate(&validate::of_run(&args.log, &args.scenario), &places).map(Some).map_err(validate::failure)
}

/// The server of the validation: as found, with the new profile.
fn validation_settings(args: &RunArgs, settings: &[(String, String)], profile: &Path) -> Vec<(String, String)> {
    let priced = ("cost.profile".to_owned(), toml::Value::String(absolute(profile)).to_string());
    settings.iter().chain(&args.set).cloned().chain([priced]).collect()
}

/// The first open-loop run once more, in units in which the server was as fast as when it was probed.
fn corrected(
    log: &Observations,
    profile: &Profile,
    args: &RunArgs,
    set: &[(String, String)],
) -> Result<Option<Corrected>, Failure> {
    let scenario = priced(&args.scenario, set)?;
    let Some(slowness) = slowness(log, profile, scenario.deployment.max_num_batched_tokens) else { return Ok(None) };
    let runs = read_runs(&args.log, None).map_err(|error| trace_failure(&error))?;
    let Some(run) = runs.first() else { return Ok(None) };
    let report = compare::run("corrected", &Default::default(), &run.in_units_of(slowness), &scenario);
    let median = |name: &str| report.metrics.iter().find(|m| m.metric == name).and_then(|m| m.errors[1]);
    Ok(Some(Corrected { slowness, median_errors_percent: ["ttft", "tpot", "e2e"].map(median) }))
}

impl Corrected {
    fn line(&self) -> String {
        let [ttft, tpot, e2e] = self.median_errors_percent.map(text::signed);
        format!(
            "  in that run the server's steps took {:.3} times what the profile says; corrected for it, medians are off by {ttft} \
             (TTFT), {tpot} (TPOT), {e2e} (e2e)\n",
            self.slowness
        )
    }
}

/// A path that means the same from the scenario's folder.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
