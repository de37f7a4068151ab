//! `tokentide calibrate`

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use tokentide_calibrate::{CalibrateError, Selection, import_op_tables};
use tokentide_models::cost::{Profile, StatedError};

use super::calibrate_perf::{self, PerfTablesArgs};
use crate::args::Format;
use crate::diagnostics::Diagnostic;
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::suggest::closest;

/// From what.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct CalibrateArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Subcommand)]
enum From {
    /// Fit a profile to composed step times of NVIDIA AIConfigurator; -o FILE.toml is what cost.profile takes
    ImportOpTables(OpTablesArgs),
    /// Fit a profile to measured operator times in AIConfigurator's layout, composed here
    ImportPerfTables(PerfTablesArgs),
}

/// Which tables, and which part of them.
#[derive(Args)]
struct OpTablesArgs {
    /// Folder with decode_vllm, prefill_vllm, prefill_batched_vllm and mixed_step_vllm (.csv.gz)
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// GPU, by its name in `tokentide gpus`
    #[arg(long)]
    gpu: String,
    /// Model, by its name in `tokentide models`
    #[arg(long)]
    model: String,
    /// Number formats: bf16, fp8 (KV cache in bf16), fp8_kvfp8 or bf16_mxfp4moe
    #[arg(long, default_value = "bf16")]
    quant: String,
    /// Tensor-parallel GPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    tp: u32,
}

/// Writes a profile, and says how well it fits.
pub fn run(args: &CalibrateArgs, output: &Output) -> Result<Verdict, Failure> {
    if output.format == Format::Json {
        return Err(Failure::with_help("a profile is TOML, not JSON", "name the file .toml: -o profile.toml"));
    }
    match &args.from {
        From::ImportOpTables(args) => op_tables(args, output),
        From::ImportPerfTables(args) => calibrate_perf::run(args, output),
    }
}

fn op_tables(args: &OpTablesArgs, output: &Output) -> Result<Verdict, Failure> {
    let selection = Selection { gpu: &args.gpu, model: &args.model, quant: &args.quant, tensor_parallel: args.tp };
    // Wrong names are told first: of tables that lack them, only their absence would be known.
    let named = selection.check();
    let help = "name another --tp or --quant; `cost.profile = \"roofline\"` needs no measurements";
    let profile = named
        .and_then(|()| args.dir.is_dir().then(|| import_op_tables(&args.dir, &selection, &today())).transpose())
        .map_err(|error| failure(&error, &args.dir, &selection.describe(), help))?
        .ok_or_else(|| no_folder(&args.dir))?;
    write(&profile, output)
}

/// Writes the profile, its stated errors, and what to do next.
pub(super) fn write(profile: &Profile, output: &Output) -> Result<Verdict, Failure> {
    let text = profile.to_toml().map_err(|e| Failure::message(e.to_string()))?;
    output.text(&text)?;
    output.note(&fit(profile));
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
pub(super) fn failure(error: &CalibrateError, folder: &Path, asked: &str, help: &str) -> Failure {
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
pub(super) fn no_folder(folder: &Path) -> Failure {
    Failure::Input(vec![Diagnostic::file(folder, "there is no such folder of tables")])
}

/// The day in UTC, as `YYYY-MM-DD`.
pub(super) fn today() -> String {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    date(seconds / 86_400)
}

/// `YYYY-MM-DD` of a day since 1970-01-01, in the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days: u64) -> String {
    let shifted = days + 719_468; // since 0000-03-01: the leap day is the last of its year
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{of_month:02}", year + era * 400 + next)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_are_dates() {
        for (days, expected) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (11_017, "2000-03-01"), (20_453, "2025-12-31")]
        {
            assert_eq!(date(days), expected);
        }
        assert_eq!(date(20_454), "2026-01-01");
    }
}
