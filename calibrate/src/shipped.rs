//! The combinations whose profiles come with the program, and why others do not.

use std::path::PathBuf;

use tokentide_models::memory;

use crate::CalibrateError;
use crate::op_tables::{GPUS, MODELS, QUANTS, Selection};

/// When the shipped profiles were made.
pub const DATE: &str = "2026-11-25";

/// Tensor-parallel sizes of the tables.
const RANKS: [u32; 4] = [1, 2, 4, 8];

/// Why a combination of the tables has no profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// Weights and reserve exceed the memory, or leave none for 4,096 tokens: the tables' times are of compute only.
    DoesNotFit,
    /// A100 has no fp8 arithmetic, and neither mxfp4 experts nor slices of 96 were measured on it: the tables have no such rows.
    NotMeasured,
    /// Several L40S talk over PCIe: their all-reduce was measured in another release (0.22) and is 30 to 250 times NVLink's, and no
    /// real run is at hand to hold it against.
    OverPcie,
    /// Per-tensor fp8 experts of vLLM 0.24.0 take 2 to 4 times as long as bf16 ones: a bad kernel, which no user should plan with.
    Fp8Experts,
}

impl LeftOut {
    /// The reason in a few words.
    pub fn reason(self) -> &'static str {
        match self {
            LeftOut::DoesNotFit => "does not fit the memory",
            LeftOut::NotMeasured => "not in the tables",
            LeftOut::OverPcie => "L40S over PCIe: suspect",
            LeftOut::Fp8Experts => "fp8 experts of vLLM 0.24.0: a bad kernel",
        }
    }
}

/// All combinations of the tables' GPUs, models, number formats and ranks, with the reason for those that are left out. The block
/// formats (`fp8_block`) are not among the composed tables at all: their collection waited for the host.
///
/// # Errors
///
/// [`CalibrateError::Catalogue`] never happens: the tables' GPUs and models are in the catalogue.
pub fn combinations() -> Result<Vec<(Selection<'static>, Option<LeftOut>)>, CalibrateError> {
    let mut all = Vec::new();
    for (gpu, _) in GPUS {
        for model in MODELS {
            for (quant, ..) in QUANTS {
                for tensor_parallel in RANKS {
                    let selection = Selection { gpu, model, quant, tensor_parallel };
                    // gpt-oss is published with its experts in mxfp4 only, all others without.
                    if (quant == "bf16_mxfp4moe") == model.starts_with("gpt-oss") {
                        all.push((selection, left_out(&selection)?));
                    }
                }
            }
        }
    }
    Ok(all)
}

/// The combinations that have a profile.
///
/// # Errors
///
/// As [`combinations`].
pub fn shipped() -> Result<Vec<Selection<'static>>, CalibrateError> {
    Ok(combinations()?.into_iter().filter(|(_, left_out)| left_out.is_none()).map(|(selection, _)| selection).collect())
}

fn left_out(selection: &Selection<'_>) -> Result<Option<LeftOut>, CalibrateError> {
    let deployment = selection.perf()?.deployment()?;
    let absent = selection.model == "qwen3-30b-a3b" && selection.tensor_parallel == 8;
    if selection.gpu == "a100-80gb" && (selection.quant != "bf16" || absent) {
        return Ok(Some(LeftOut::NotMeasured));
    }
    if deployment.model.moe.is_some() && selection.quant.starts_with("fp8") {
        return Ok(Some(LeftOut::Fp8Experts));
    }
    if selection.gpu == "l40s" && selection.tensor_parallel > 1 {
        return Ok(Some(LeftOut::OverPcie));
    }
    Ok(memory::plan(&deployment).is_err().then_some(LeftOut::DoesNotFit))
}

/// A folder of the data that profiles are made of and predictions are held against, which is not part of the repository: `path`
/// under `$TOKENTIDE_SHARED`, or under `shared` beside the workspace. None if neither is there.
pub fn shared_folder(path: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let roots = [std::env::var_os("TOKENTIDE_SHARED").map(PathBuf::from), Some(PathBuf::from(beside))];
    roots.into_iter().flatten().map(|root| root.join(path)).find(|folder| folder.is_dir())
}

/// The folder with the source tables, if it is there.
pub fn tables_folder() -> Option<PathBuf> {
    shared_folder("data/profiles/op-tables")
}

/// The folder of the shipped profiles.
pub fn profiles_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/data/profiles"))
}
