//! `tokentide calibrate import perf-tables`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokentide_calibrate::probe::clock::today;
use tokentide_calibrate::{ExpertsTable, PerfSelection, Routing, import_perf_tables};
use tokentide_models::deployment::{KvDtype, WeightDtype};

use super::import::{Combination, failure, no_folder, write};
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Which tables, and what to compose of them.
#[derive(Args)]
pub struct PerfTablesArgs {
    /// Folder of one GPU with gemm/vllm/VERSION/gemm_perf.parquet and so on, or with ops_*.parquet
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    #[command(flatten)]
    of: Combination,
    /// Number format of weights: bf16, fp8 or mxfp4
    #[arg(long, default_value = "bf16")]
    dtype: WeightDtype,
    /// Number format of the KV cache: auto or fp8
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    kv_cache_dtype: KvDtype,
    /// Spread the experts over the GPUs whole
    #[arg(long)]
    expert_parallel: bool,
    /// How tokens chose experts in the measurement
    #[arg(long, value_enum, default_value_t = RoutingArg::PowerLaw12)]
    routing: RoutingArg,
    /// Version of vLLM; the newest measured if not given
    #[arg(long, value_name = "VERSION")]
    engine_version: Option<String>,
    /// Kernel of the routed experts: a part of its name in the tables, such as marlin, or deepgemm, which is derived; by default
    /// the fastest measured
    #[arg(long, value_name = "KERNEL")]
    experts_kernel: Option<String>,
    /// Number format of the routed experts in the tables, such as fp8_block, where it is not that of the weights
    #[arg(long, value_name = "FORMAT")]
    experts_format: Option<String>,
    /// Version of vLLM in which the routed experts were measured, where it is not that of the products
    #[arg(long, value_name = "VERSION")]
    experts_version: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoutingArg {
    Balanced,
    #[value(name = "power-law-1.01")]
    PowerLaw101,
    #[value(name = "power-law-1.2")]
    PowerLaw12,
}

/// Writes a profile fitted to the composed tables, and says what was odd in them.
///
/// # Errors
/// What is wrong with them, or with what was asked of them.
pub fn run(args: &PerfTablesArgs, output: &Output) -> Result<Verdict, Failure> {
    if !args.dir.is_dir() {
        return Err(no_folder(&args.dir));
    }
    let selection = PerfSelection {
        gpu: &args.of.gpu,
        model: &args.of.model,
        weights: args.dtype,
        kv: args.kv_cache_dtype,
        tensor_parallel: args.of.tp,
        expert_parallel: args.expert_parallel,
        routing: match args.routing {
            RoutingArg::Balanced => Routing::Balanced,
            RoutingArg::PowerLaw101 => Routing::PowerLaw101,
            RoutingArg::PowerLaw12 => Routing::PowerLaw12,
        },
        engine_version: args.engine_version.as_deref(),
        experts: ExpertsTable {
            kernel: args.experts_kernel.as_deref(),
            format: args.experts_format.as_deref(),
            version: args.experts_version.as_deref(),
        },
    };
    let help = "name another --tp, --dtype or --kv-cache-dtype; `cost.profile = \"roofline\"` needs no measurements";
    let imported = import_perf_tables(&args.dir, &selection, &today())
        .map_err(|error| failure(&error, &args.dir, &selection.describe(), help))?;
    imported.flags.iter().for_each(|flag| output.note(flag));
    write(&imported.profile, output)
}
