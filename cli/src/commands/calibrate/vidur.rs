//! `tokentide calibrate import vidur`

use std::path::PathBuf;

use clap::Args;
use tokentide_calibrate::{VidurSelection, import_vidur};

use super::date::today;
use super::import::failure;
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Which tables, and what they are of.
#[derive(Args)]
pub struct VidurArgs {
    /// Folder with attn_prefill, attn_decode, attn_kv_cache_save and the token operators (.csv.gz); with --tp 2 or more all_reduce
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// GPU, by its name in `tokentide gpus`
    #[arg(long)]
    gpu: String,
    /// Model, by its name in `tokentide models`
    #[arg(long)]
    model: String,
    /// Tensor-parallel GPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    tp: u32,
}

/// Writes a profile of the tables.
///
/// # Errors
/// What is wrong with them, or with what was asked of them.
pub fn run(args: &VidurArgs, output: &Output) -> Result<Verdict, Failure> {
    let selection = VidurSelection { gpu: &args.gpu, model: &args.model, tensor_parallel: args.tp };
    let profile = import_vidur(&args.dir, &selection, &today()).map_err(|error| {
        failure(&error, &args.dir, &format!("{} {} tp{}", args.gpu, args.model, args.tp), "name another folder: --dir")
    })?;
    let text = profile.to_toml().map_err(|e| Failure::message(e.to_string()))?;
    output.text(&text)?;
    let ranges = profile.ranges();
    output.note(&format!(
        "{}: up to {} decodes, {} tokens of mean context, {} tokens in a step; nothing is fitted",
        profile.name, ranges.decodes_max, ranges.context_max, ranges.prefill_tokens_max
    ));
    if let Some(path) = output.path() {
        output.note(&format!("next: tokentide simulate SCENARIO --set cost.profile={}", path.display()));
    }
    Ok(Verdict::Pass)
}
