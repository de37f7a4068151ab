//! `tokentide calibrate`

mod vidur;

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use tokentide_calibrate::{CalibrateError, Selection, import_op_tables};
use tokentide_models::cost::{Profile, StatedError};

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
    /// Prediction tables of the simulator Vidur, looked up by its rules; -o FILE.toml is what cost.profile takes
    ImportVidur(vidur::VidurArgs),
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
    let args = match &args.from {
        From::ImportOpTables(args) => args,
        From::ImportVidur(args) => return vidur::run(args, output),
    };
    if output.format == Format::Json {
        return Err(Failure::with_help("a profile is TOML, not JSON", "name the file .toml: -o profile.toml"));
    }
    let selection = Selection { gpu: &args.gpu, model: &args.model, quant: &args.quant, tensor_parallel: args.tp };
    // Wrong names are told first: of tables that lack them, only their absence would be known.
    let named = selection.gpu_label().and(selection.layers()).and(selection.formats());
    let profile = named
        .and_then(|_| match args.dir.is_dir() {
            true => import_op_tables(&args.dir, &selection, &today()).map(Some),
            false => Ok(None),
        })
        .map_err(|error| failure(error, args, &selection))?
        .ok_or_else(|| Failure::Input(vec![Diagnostic::file(&args.dir, "there is no such folder of tables")]))?;
    let text = profile.to_toml().map_err(|e| Failure::message(e.to_string()))?;
    output.text(&text)?;
    output.note(&fit(&profile));
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

fn failure(error: CalibrateError, args: &OpTablesArgs, selection: &Selection<'_>) -> Failure {
    let in_file = |path: &str, message: String| Failure::Input(vec![Diagnostic::file(path.as_ref(), message)]);
    match &error {
        CalibrateError::Open { path, source } => in_file(path, format!("cannot read the table: {source}")),
        CalibrateError::Row { path, source } => in_file(path, format!("cannot read the table: {source}")),
        CalibrateError::Value { path, message } => in_file(path, format!("wrong value in the table: {message}")),
        CalibrateError::Unknown { what, asked, known } => {
            let close = closest(asked, known.split(", ")).map(|name| format!("did you mean `{name}`? "));
            let help = format!("{}known are {known}", close.unwrap_or_default());
            Failure::with_help(format!("the tables have no {what} `{asked}`"), help)
        }
        CalibrateError::TooFew { what, found: 0, .. } => Failure::Input(vec![Diagnostic {
            help: Some("name another --tp or --quant; `cost.profile = \"roofline\"` needs no measurements".to_owned()),
            ..Diagnostic::file(&args.dir, format!("the tables have no {what} times of {}", selection.describe()))
        }]),
        CalibrateError::TooFew { .. } => Failure::Input(vec![Diagnostic::file(&args.dir, error.to_string())]),
        CalibrateError::Profile(_) => Failure::message(format!("the fit gives no valid profile: {error}")),
    }
}

/// The day in UTC, as `YYYY-MM-DD`.
fn today() -> String {
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
