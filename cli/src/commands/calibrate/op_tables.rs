//! `tokentide calibrate import op-tables`

use std::path::PathBuf;

use clap::Args;
use tokentide_calibrate::probe::clock::today;
use tokentide_calibrate::{Selection, import_op_tables};

use super::import::{Combination, failure, no_folder, write};
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Which tables, and which part of them.
#[derive(Args)]
pub struct OpTablesArgs {
    /// Folder with decode_vllm, prefill_vllm, prefill_batched_vllm and mixed_step_vllm (.csv.gz)
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    #[command(flatten)]
    of: Combination,
    /// Number formats: bf16, fp8 (KV cache in bf16), fp8_kvfp8 or bf16_mxfp4moe
    #[arg(long, default_value = "bf16")]
    quant: String,
}

/// Writes a profile fitted to the tables.
///
/// # Errors
/// What is wrong with them, or with what was asked of them.
pub fn run(args: &OpTablesArgs, output: &Output) -> Result<Verdict, Failure> {
    let selection = Selection { gpu: &args.of.gpu, model: &args.of.model, quant: &args.quant, tensor_parallel: args.of.tp };
    // Wrong names are told first: of tables that lack them, only their absence would be known.
    let named = selection.check();
    let help = "name another --tp or --quant; `cost.profile = \"roofline\"` needs no measurements";
    let profile = named
        .and_then(|()| args.dir.is_dir().then(|| import_op_tables(&args.dir, &selection, &today())).transpose())
        .map_err(|error| failure(&error, &args.dir, &selection.describe(), help))?
        .ok_or_else(|| no_folder(&args.dir))?;
    write(&profile, output)
}
