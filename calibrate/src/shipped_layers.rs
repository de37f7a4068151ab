//! The combinations whose layer profiles come with the program.

use std::path::{Path, PathBuf};

use crate::CalibrateError;
use crate::shipped::tables_folder;
use crate::vllm_layers::{LayerImport, LayerSelection, import_vllm_layers};

/// When the shipped layer profiles were made.
pub const LAYERS_DATE: &str = "2026-11-25";

/// GPU, model and tensor-parallel size of each. `cargo run -p tokentide-calibrate --example shipped_profiles` writes their files.
pub const SHIPPED_LAYERS: [(&str, &str, u32); 7] = [
    ("rtx-4090", "llama-3.1-8b", 1),
    ("rtx-pro-6000", "llama-3.1-8b", 1),
    ("rtx-pro-6000", "llama-3.1-8b", 2),
    ("rtx-pro-6000", "qwen3-30b-a3b", 1),
    ("rtx-pro-6000", "qwen3-30b-a3b", 2),
    ("rtx-pro-6000", "qwen3-32b", 1),
    ("rtx-pro-6000", "qwen3-32b", 2),
];

/// The folder with the layer tables, and the table of collectives beside it; none if the source tables are not there.
pub fn layers_folder() -> Option<(PathBuf, PathBuf)> {
    let op_tables = tables_folder()?;
    let folder = op_tables.with_file_name("vllm-layers");
    folder.is_dir().then(|| (folder, op_tables.join("ops_collectives_all.parquet")))
}

/// Makes one of them anew.
///
/// # Errors
///
/// As [`import_vllm_layers`].
pub fn ship(
    (gpu, model, tensor_parallel): (&str, &str, u32),
    folder: &Path,
    collectives: &Path,
) -> Result<LayerImport, CalibrateError> {
    let collectives = Some(collectives.to_owned());
    let selection = LayerSelection { gpu, model, dtype: "bf16", tensor_parallel, collectives, as_llmservingsim: false };
    import_vllm_layers(folder, &selection, LAYERS_DATE)
}
