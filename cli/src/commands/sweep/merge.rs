//! `tokentide merge`

use std::path::PathBuf;

use clap::Args;
use tokentide_tables::merge_sweeps;

use crate::args::Global;
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::text::units::exact;

/// What to put together.
#[derive(Args)]
pub struct MergeArgs {
    /// Tables that the shards of one sweep wrote, .parquet or .csv
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
    let merged = merge_sweeps(&args.files, path, args.partial).map_err(|error| match error {
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
