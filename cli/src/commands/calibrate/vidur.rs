//! `tokentide calibrate import vidur`

use std::path::PathBuf;

use clap::Args;
use tokentide_calibrate::probe::clock::today;
use tokentide_calibrate::{VidurSelection, import_vidur};

use super::import::{Combination, failure, write_text};
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Which tables, and what they are of.
#[derive(Args)]
pub struct VidurArgs {
    /// Folder with attn_prefill, attn_decode, attn_kv_cache_save and the token operators (.csv.gz); with --tp 2 or more all_reduce
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    #[command(flatten)]
    of: Combination,
}

/// Writes a profile of the tables.
///
/// # Errors
/// What is wrong with them, or with what was asked of them.
pub fn run(args: &VidurArgs, output: &Output) -> Result<Verdict, Failure> {
    let selection = VidurSelection { gpu: &args.of.gpu, model: &args.of.model, tensor_parallel: args.of.tp };
    let profile = import_vidur(&args.dir, &selection, &today()).map_err(|error| {
        failure(&error, &args.dir, &format!("{} {} tp{}", args.of.gpu, args.of.model, args.of.tp), "name another folder: --dir")
    })?;
    let ranges = profile.ranges();
    let note = format!(
        "{}: up to {} decodes, {} tokens of mean context, {} tokens in a step; nothing is fitted",
        profile.name, ranges.decodes_max, ranges.context_max, ranges.prefill_tokens_max
    );
    write_text(profile.to_toml(), &note, output)
}
