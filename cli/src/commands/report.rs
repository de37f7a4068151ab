//! `tokentide report`

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use tokentide_charts::Kind;
use tokentide_sim::run::RunOptions;
use tokentide_tables::sweep_columns;

use crate::args::{Format, Global};
use crate::engine::{self, Input};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::progress::Progress;

/// What is expected of an input.
const EXPECTED: &str = "expected what `simulate`, `plan`, `diff` or `check` wrote with -o FILE.json, a sweep's table (.parquet, \
                        .csv), or a scenario (.toml)";

/// What to report on.
#[derive(Args)]
pub struct ReportArgs {
    /// Result of simulate, plan, diff or check in JSON, a sweep's table (.parquet, .csv), or a scenario (.toml), which is then
    /// simulated
    input: PathBuf,
}

/// Writes the page.
pub fn run(args: &ReportArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    if output.format == Format::Json {
        return Err(Failure::with_help("`report` writes HTML, not JSON", "name the page: --output report.html"));
    }
    let result = read(&args.input, global)?;
    let kind = Kind::of(&result).ok_or_else(|| refused(&args.input, "it is no result that can be drawn"))?;
    let page = tokentide_charts::page(kind, &result).map_err(|error| Failure::message(format!("cannot make the page: {error}")))?;
    output.text(&page)?;
    Ok(Verdict::Pass)
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::with_help(format!("cannot report on `{}`: {why}", path.display()), EXPECTED)
}

/// The result as JSON.
fn read(path: &Path, global: &Global) -> Result<Value, Failure> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "toml" => {
            let loaded = engine::load(&Input { scenario: Some(path.to_owned()), seed: global.seed, ..Input::default() })?;
            let progress = Progress::new("simulating", global.no_progress || global.quiet);
            let options = RunOptions { replications: 1, threads: global.threads.map(std::num::NonZeroUsize::get) };
            let report = engine::simulate(&loaded, options, progress, None, None)?;
            report.to_be_drawn().map_err(|error| Failure::message(format!("cannot write JSON: {error}")))
        }
        "parquet" | "pq" | "csv" => sweep_columns(path).map_err(|error| refused(path, &error.to_string())),
        _ => {
            let text = fs::read_to_string(path).map_err(|error| refused(path, &error.to_string()))?;
            serde_json::from_str(&text).map_err(|error| refused(path, &format!("it is not JSON ({error})")))
        }
    }
}
