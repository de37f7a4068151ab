//! `tokentide calibrate import vllm-layers`

use std::path::PathBuf;

use clap::Args;
use tokentide_calibrate::probe::clock::today;
use tokentide_calibrate::{LayerSelection, import_vllm_layers};

use super::import::{Combination, failure, no_folder, write};
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Odd rows told without --verbose.
const FLAGS_TOLD: usize = 6;

/// Which tables, and which part of them.
#[derive(Args)]
pub struct VllmLayersArgs {
    /// Folder with bundles.json and its tables, or with dense, per_sequence and attention (.parquet, .csv, .csv.gz) of one
    /// combination
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    #[command(flatten)]
    of: Combination,
    /// Number format of weights and KV cache
    #[arg(long, default_value = "bf16")]
    dtype: String,
    /// Table of all-reduce times of AIConfigurator (gpu, backend, backend_version, mode, num_gpus, message_bytes, latency_ms);
    /// needed with --tp 2 or more
    #[arg(long, value_name = "FILE")]
    collectives: Option<PathBuf>,
    /// Use the tables as LLMServingSim 2 does, to reproduce its results: all-reduces by its formula, balanced experts, its own
    /// correction for unequal contexts
    #[arg(long, conflicts_with = "collectives")]
    as_llmservingsim: bool,
}

/// Writes a profile of the tables, and tells what is odd in them.
///
/// # Errors
/// What is wrong with them, or with what was asked of them.
pub fn run(args: &VllmLayersArgs, output: &Output) -> Result<Verdict, Failure> {
    if !args.dir.is_dir() {
        return Err(no_folder(&args.dir));
    }
    let selection = LayerSelection {
        gpu: &args.of.gpu,
        model: &args.of.model,
        dtype: &args.dtype,
        tensor_parallel: args.of.tp,
        collectives: args.collectives.clone(),
        as_llmservingsim: args.as_llmservingsim,
    };
    let asked = format!("{} {} {} tp {}", args.of.gpu, args.of.model, args.dtype, args.of.tp);
    let help = "give --collectives FILE, or --as-llmservingsim for its formula";
    let import = import_vllm_layers(&args.dir, &selection, &today()).map_err(|error| failure(&error, &args.dir, &asked, help))?;
    let told = if output.verbose { import.flags.len() } else { FLAGS_TOLD };
    import.flags.iter().take(told).for_each(|flag| output.note(&format!("odd: {flag}")));
    if import.flags.len() > told {
        output.note(&format!("odd: {} more of the kind (--verbose lists all)", import.flags.len() - told));
    }
    write(&import.profile, output)
}
