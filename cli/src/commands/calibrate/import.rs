//! `tokentide calibrate import`: one source of measurements per file, and what all of them share.

use std::path::Path;

use clap::{Args, Subcommand};
use tokentide_calibrate::CalibrateError;
use tokentide_models::cost::{CostError, Profile, StatedError};

use super::{op_tables, perf_tables, vidur, vllm_layers};
use crate::args::Format;
use crate::diagnostics::Diagnostic;
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::suggest::closest;

/// From what.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct ImportArgs {
    #[command(subcommand)]
    source: Source,
}

/// What the tables are of: all kinds of them are asked for it.
#[derive(Args)]
pub struct Combination {
    /// GPU, by its name in `tokentide gpus`
    #[arg(long)]
    pub gpu: String,
    /// Model, by its name in `tokentide models`
    #[arg(long)]
    pub model: String,
    /// Tensor-parallel GPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub tp: u32,
}

#[derive(Subcommand)]
enum Source {
    /// Composed step times of NVIDIA AIConfigurator: a profile of fitted coefficients
    OpTables(op_tables::OpTablesArgs),
    /// Operator times in AIConfigurator's own layout, composed here: a profile of fitted coefficients
    PerfTables(perf_tables::PerfTablesArgs),
    /// Layer times by vLLM's profiler, as LLMServingSim measures them: a profile of tables
    VllmLayers(vllm_layers::VllmLayersArgs),
    /// Prediction tables of the simulator Vidur, looked up by its rules
    Vidur(vidur::VidurArgs),
}

/// Writes a profile, and says how well it fits.
///
/// # Errors
/// What is wrong with the tables, or with what was asked of them.
pub fn run(args: &ImportArgs, output: &Output) -> Result<Verdict, Failure> {
    if output.format == Format::Json {
        return Err(Failure::with_help("a profile is TOML, not JSON", "name the file .toml: -o profile.toml"));
    }
    match &args.source {
        Source::OpTables(args) => op_tables::run(args, output),
        Source::PerfTables(args) => perf_tables::run(args, output),
        Source::VllmLayers(args) => vllm_layers::run(args, output),
        Source::Vidur(args) => vidur::run(args, output),
    }
}

/// Writes a fitted profile, its stated errors, and what to do next.
///
/// # Errors
/// If the profile is no valid one, or cannot be written.
pub fn write(profile: &Profile, output: &Output) -> Result<Verdict, Failure> {
    write_text(profile.to_toml(), &fit(profile), output)
}

/// Writes a profile's text, what is to be said of it, and what to do next.
///
/// # Errors
/// If there is no text, or if it cannot be written.
pub fn write_text(text: Result<String, CostError>, note: &str, output: &Output) -> Result<Verdict, Failure> {
    output.text(&text.map_err(|e| Failure::message(e.to_string()))?)?;
    output.note(note);
    if let Some(path) = output.path() {
        output.note(&format!("next: tokentide simulate SCENARIO --set cost.profile={}", path.display()));
    }
    Ok(Verdict::Pass)
}

/// The stated errors, one kind of step per line.
fn fit(profile: &Profile) -> String {
    let line = |what: &str, error: &StatedError| {
        let StatedError { points, mean_percent, p95_percent, worst_percent } = error;
        format!("\n  {what:<8} mean {mean_percent:.1} %, p95 {p95_percent:.1} %, worst {worst_percent:.1} % ({points} points)")
    };
    let errors = &profile.errors;
    let mixed = errors.mixed.as_ref().map_or("\n  mixed    not measured".to_owned(), |e| line("mixed", e));
    format!(
        "{}: errors of step times, at points left out of the fit{}{}{mixed}",
        profile.name,
        line("decode", &errors.decode),
        line("prefill", &errors.prefill)
    )
}

/// What to tell of an error. `folder`, `asked` and `help` say where nothing was found, of what, and what to try instead.
pub fn failure(error: &CalibrateError, folder: &Path, asked: &str, help: &str) -> Failure {
    let in_file = |path: &str, message: String| Failure::Input(vec![Diagnostic::file(path.as_ref(), message)]);
    match error {
        CalibrateError::Open { path, source } => in_file(path, format!("cannot read the table: {source}")),
        CalibrateError::Row { path, source } => in_file(path, format!("cannot read the table: {source}")),
        CalibrateError::Value { path, message } => in_file(path, format!("wrong value in the table: {message}")),
        CalibrateError::Unknown { what, asked, known } => {
            let close = closest(asked, known.split(", ")).map(|name| format!("did you mean `{name}`? "));
            let help = format!("{}known are {known}", close.unwrap_or_default());
            Failure::with_help(format!("the tables have no {what} `{asked}`"), help)
        }
        CalibrateError::TooFew { what, found: 0, .. } => Failure::Input(vec![Diagnostic {
            help: Some(help.to_owned()),
            ..Diagnostic::file(folder, format!("the tables have no {what} times of {asked}"))
        }]),
        CalibrateError::TooFew { .. } => Failure::Input(vec![Diagnostic::file(folder, error.to_string())]),
        CalibrateError::Refused { .. } | CalibrateError::Catalogue(_) => Failure::message(error.to_string()),
        CalibrateError::Profile(_) => Failure::message(format!("the fit gives no valid profile: {error}")),
    }
}

/// That there is no such folder of tables.
pub fn no_folder(folder: &Path) -> Failure {
    Failure::Input(vec![Diagnostic::file(folder, "there is no such folder of tables")])
}
