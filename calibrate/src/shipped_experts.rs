//! The mixtures whose profiles come with the program, composed of AIConfigurator's own tables: these are no part of the recorded
//! data, but of the package `aiconfigurator-core` 0.12.0, whose folder `systems/data` an environment variable names.

use std::path::{Path, PathBuf};

use tokentide_models::cost::{PADDED_EXPERTS, Profile};
use tokentide_models::deployment::{KvDtype, WeightDtype};
use tokentide_models::memory;

use crate::CalibrateError;
use crate::perf_tables::{ExpertsTable, PADDED_KERNEL, PerfSelection, Routing, import_perf_tables};

/// When these profiles were made.
pub const EXPERTS_DATE: &str = "2026-11-27";
/// The variable that names the folder with the tables.
pub const TABLES_VARIABLE: &str = "TOKENTIDE_AICONFIGURATOR";

const AS_WEIGHTS: ExpertsTable<'static> = ExpertsTable { kernel: None, format: None, version: None };
/// The published fp8 checkpoints of these mixtures are quantised in blocks of 128 x 128.
const BLOCKS: ExpertsTable<'static> = ExpertsTable { format: Some("fp8_block"), ..AS_WEIGHTS };
const BLOCKS_0_19: ExpertsTable<'static> = ExpertsTable { version: Some("0.19.0"), ..BLOCKS };
const PADDED: ExpertsTable<'static> = ExpertsTable { kernel: Some(PADDED_KERNEL), ..BLOCKS };
/// `VLLM_MXFP4_USE_MARLIN=1`.
const MARLIN: ExpertsTable<'static> = ExpertsTable { kernel: Some("marlin"), ..AS_WEIGHTS };
/// `VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8=1`.
const MXFP8: ExpertsTable<'static> = ExpertsTable { kernel: Some("mxfp4_mxfp8"), format: Some("w4a8_mxfp4_mxfp8"), version: None };

/// A rule of what is shipped.
struct Rule {
    gpus: &'static [&'static str],
    model: &'static str,
    weights: WeightDtype,
    kv: KvDtype,
    /// Ranks that each hold a slice of every expert.
    sliced: &'static [u32],
    /// Ranks that each hold some experts whole.
    whole: &'static [u32],
    experts: ExpertsTable<'static>,
    /// What tells the profile from the one by the kernels of the newest release that the engine picks by itself.
    suffix: &'static str,
}

const MEASURED: &[&str] = &["h100-sxm", "h200-sxm", "b200"];
const HOPPER: &[&str] = &["h100-sxm", "h200-sxm"];

impl Rule {
    /// Blocks are 128 wide, so slices of an expert are a multiple of it.
    const fn fp8(model: &'static str, sliced: &'static [u32]) -> Rule {
        let (weights, kv) = (WeightDtype::Fp8, KvDtype::Bf16);
        Rule { gpus: MEASURED, model, weights, kv, sliced, whole: &[2, 4, 8], experts: BLOCKS, suffix: "" }
    }

    /// Kernels of the release before those of 0.24, which are others where experts are whole.
    const fn older(model: &'static str) -> Rule {
        Rule { gpus: &["h200-sxm"], experts: BLOCKS_0_19, suffix: "-vllm0.19", ..Rule::fp8(model, &[]) }
    }

    /// The kernel that vLLM 0.12 to 0.14 picks by itself.
    const fn padded(model: &'static str, sliced: &'static [u32]) -> Rule {
        Rule { gpus: HOPPER, experts: PADDED, suffix: PADDED_EXPERTS, ..Rule::fp8(model, sliced) }
    }

    const fn gpt_oss(gpus: &'static [&'static str], kv: KvDtype, experts: ExpertsTable<'static>, suffix: &'static str) -> Rule {
        let weights = WeightDtype::Mxfp4;
        Rule { gpus, model: "gpt-oss-120b", weights, kv, sliced: &[1, 2, 4, 8], whole: &[], experts, suffix }
    }

    const fn bf16(gpus: &'static [&'static str], model: &'static str, sliced: &'static [u32], whole: &'static [u32]) -> Rule {
        let (weights, kv) = (WeightDtype::Bf16, KvDtype::Bf16);
        Rule { gpus, model, weights, kv, sliced, whole, experts: AS_WEIGHTS, suffix: "" }
    }
}

/// The composed tables beside the recorded data have `qwen3-30b-a3b` and `mixtral-8x7b` in bf16 and `gpt-oss-120b`, in slices.
const RULES: &[Rule] = &[
    Rule::fp8("qwen3-30b-a3b", &[1, 2]),
    Rule::fp8("qwen3-235b-a22b", &[2, 4]),
    Rule::fp8("minimax-m2.5", &[2, 4]),
    Rule::older("qwen3-30b-a3b"),
    Rule::older("qwen3-235b-a22b"),
    Rule::older("minimax-m2.5"),
    Rule::padded("qwen3-30b-a3b", &[1, 2]),
    Rule::padded("qwen3-235b-a22b", &[2, 4]),
    Rule::padded("minimax-m2.5", &[2, 4]),
    Rule::bf16(MEASURED, "qwen3-30b-a3b", &[], &[2, 4, 8]),
    Rule::bf16(MEASURED, "mixtral-8x7b", &[], &[2, 4, 8]),
    Rule::bf16(HOPPER, "qwen3-235b-a22b", &[4, 8], &[4, 8]),
    Rule::bf16(&["b200"], "qwen3-235b-a22b", &[4], &[4, 8]),
    Rule::gpt_oss(HOPPER, KvDtype::Bf16, MARLIN, "-marlin"),
    Rule::gpt_oss(&["b200"], KvDtype::Fp8, AS_WEIGHTS, ""),
    Rule::gpt_oss(&["b200"], KvDtype::Fp8, MXFP8, "-mxfp8"),
];

/// A mixture that has a profile.
#[derive(Clone, Copy, Debug)]
pub struct ShippedExperts {
    /// What is composed.
    pub selection: PerfSelection<'static>,
    /// What its name ends with.
    pub suffix: &'static str,
}

/// All of them: those of the rules that fit the memory.
///
/// # Errors
///
/// [`CalibrateError::Catalogue`] never happens: GPUs and models of the rules are in the catalogue.
pub fn shipped_experts() -> Result<Vec<ShippedExperts>, CalibrateError> {
    let mut all = Vec::new();
    for rule in RULES {
        let layouts = rule.sliced.iter().map(|&ranks| (ranks, false)).chain(rule.whole.iter().map(|&ranks| (ranks, true)));
        for (tensor_parallel, expert_parallel) in layouts {
            for gpu in rule.gpus {
                let selection = PerfSelection {
                    gpu,
                    model: rule.model,
                    weights: rule.weights,
                    kv: rule.kv,
                    tensor_parallel,
                    expert_parallel,
                    routing: Routing::default(),
                    engine_version: None,
                    experts: rule.experts,
                };
                if memory::plan(&selection.deployment()?).is_ok() {
                    all.push(ShippedExperts { selection, suffix: rule.suffix });
                }
            }
        }
    }
    Ok(all)
}

/// The folder with the tables of all GPUs; none if the variable names none.
pub fn experts_folder() -> Option<PathBuf> {
    std::env::var_os(TABLES_VARIABLE).map(PathBuf::from).filter(|folder| folder.is_dir())
}

/// Makes one of them anew from the folder with the tables of all GPUs.
///
/// # Errors
///
/// As [`import_perf_tables`].
pub fn ship_experts(shipped: &ShippedExperts, folder: &Path) -> Result<Profile, CalibrateError> {
    let ShippedExperts { selection, suffix } = shipped;
    let mut profile = import_perf_tables(&folder.join(selection.gpu_label()), selection, EXPERTS_DATE)?.profile;
    let ExpertsTable { kernel, format, version } = selection.experts;
    let of = [("kernel", kernel), ("format", format), ("vLLM", version)];
    let of: Vec<String> = of.into_iter().filter_map(|(what, value)| Some(format!("{what} {}", value?))).collect();
    if !of.is_empty() {
        profile.source += &format!("; experts: {}", of.join(", "));
    }
    profile.name += suffix;
    profile.licence = "Apache-2.0".into();
    profile.attribution = "Data derived from NVIDIA AIConfigurator 0.12.0 (Apache-2.0)".into();
    Ok(profile)
}
