//! `tokentide merge`

use std::path::{Path, PathBuf};

use clap::Args;
use tokentide_tables::merge_sweeps;

use crate::args::Global;
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::text::units::exact;

/// What to put together.
#[derive(Args)]
pub struct MergeArgs {
    /// Tables that the shards of one sweep wrote, .parquet or .csv; or patterns such as 'part-*.parquet'
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Write what there is, though points are missing
    #[arg(long)]
    partial: bool,
}

/// Puts tables together.
pub fn run(args: &MergeArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let Some(path) = &global.output else {
        return Err(Failure::with_help("where to write the whole?", "such as -o all.parquet"));
    };
    let files = args.files.iter().map(|file| matching(file)).collect::<Result<Vec<_>, _>>()?.concat();
    let merged = merge_sweeps(&files, path, args.partial).map_err(|error| match error {
        tokentide_tables::SweepTableError::Incomplete { .. } => {
            Failure::with_help(error.to_string(), "run the rest, or write what there is with --partial")
        }
        other => Failure::message(other.to_string()),
    })?;
    let missing = if merged.missing > 0 { format!(", {} points missing", exact(merged.missing)) } else { String::new() };
    let repeated = if merged.repeated > 0 { format!(", {} rows were there twice", exact(merged.repeated)) } else { String::new() };
    let (rows, points) = (exact(merged.rows), exact(merged.points));
    output.beside_file().text(&format!("{rows} rows of {points} points in {}{missing}{repeated}\n", path.display()))?;
    Ok(Verdict::Pass)
}

/// The files of a pattern, where no shell has expanded it; a name that is one stands for itself.
fn matching(file: &Path) -> Result<Vec<PathBuf>, Failure> {
    let text = file.to_string_lossy();
    if file.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![file.to_owned()]);
    }
    let paths = glob::glob(&text).map_err(|error| Failure::message(format!("`{text}`: {error}")))?;
    let found: Vec<PathBuf> = paths.filter_map(Result::ok).collect();
    if found.is_empty() { Err(Failure::message(format!("no file matches `{text}`"))) } else { Ok(found) }
}
