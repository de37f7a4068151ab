//! `tokentide calibrate kernels`

mod text;

use std::path::PathBuf;

use clap::Args;
use tokentide_calibrate::CalibrateError;
use tokentide_calibrate::kernels::{KernelReport, Rules, StepKernels, analyse};

use crate::args::Format;
use crate::diagnostics::Diagnostic;
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Which traces, and how kernels are told apart.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct KernelsArgs {
    /// Traces of the PyTorch profiler (.json or .json.gz), one per rank of a run
    #[arg(value_name = "TRACE", required = true)]
    traces: Vec<PathBuf>,
    /// Rules (TOML) that give kernels their classes by their names, ahead of the shipped ones
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// Reads traces, and says what the steps cost.
///
/// # Errors
/// What is wrong with the traces or the rules.
pub fn run(args: &KernelsArgs, output: &Output) -> Result<Verdict, Failure> {
    let rules = Rules::new(args.rules.as_deref()).map_err(failure)?;
    let report = analyse(&args.traces, &rules).map_err(failure)?;
    tell(&report, output)
}

/// Writes the steps, if a table is asked for, and what is to be said of them.
fn tell(report: &KernelReport, output: &Output) -> Result<Verdict, Failure> {
    let table = output.path().filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")));
    let shown = match table {
        Some(path) => {
            StepKernels::of(report).write(path).map_err(failure)?;
            &output.beside_file()
        }
        None => output,
    };
    match output.format {
        Format::Json => shown.json(report)?,
        Format::Text => shown.text(&text::report(report, output.verbose))?,
    }
    for rank in &report.ranks {
        let file = if report.ranks.len() > 1 { format!("{}: ", rank.file.display()) } else { String::new() };
        rank.warnings.iter().for_each(|warning| output.note(&format!("{file}{warning}")));
    }
    report.notes.iter().for_each(|note| output.note(note));
    output.note(report.caution);
    if let Some(path) = table {
        output.note(&format!("{}: one row per step", path.display()));
    }
    Ok(Verdict::Pass)
}

/// What to tell of an error, with its file.
fn failure(error: CalibrateError) -> Failure {
    match error {
        CalibrateError::Open { path, source } => {
            Failure::Input(vec![Diagnostic::file(path.as_ref(), format!("cannot read it: {source}"))])
        }
        CalibrateError::Value { path, message } => Failure::Input(vec![Diagnostic::file(path.as_ref(), message)]),
        other => Failure::message(other.to_string()),
    }
}
