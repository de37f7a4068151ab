//! The combinations whose profiles come with the program.

use std::path::PathBuf;

use crate::op_tables::Selection;

/// When the shipped profiles were made.
pub const DATE: &str = "2026-11-22";

const fn of(gpu: &'static str, model: &'static str, quant: &'static str, tensor_parallel: u32) -> Selection<'static> {
    Selection { gpu, model, quant, tensor_parallel }
}

/// All of them. `cargo run -p tokentide-calibrate --example shipped_profiles` writes their files.
pub const SHIPPED: &[Selection<'static>] = &[
    of("a100-80gb", "llama-3.1-8b", "bf16", 1),
    of("b200", "llama-3.1-8b", "bf16", 1),
    of("h100-sxm", "llama-3.1-8b", "bf16", 1),
    of("h200-sxm", "llama-3.1-8b", "bf16", 1),
    of("l40s", "llama-3.1-8b", "bf16", 1),
    of("h100-sxm", "llama-3.1-8b", "fp8", 1),
    of("h200-sxm", "llama-3.1-8b", "fp8", 1),
    of("a100-80gb", "llama-3.1-70b", "bf16", 4),
    of("a100-80gb", "llama-3.1-70b", "bf16", 8),
    of("h100-sxm", "llama-3.1-70b", "bf16", 4),
    of("h100-sxm", "llama-3.1-70b", "bf16", 8),
    of("h100-sxm", "llama-3.1-70b", "fp8", 2),
    of("h100-sxm", "llama-3.1-70b", "fp8", 4),
    of("h100-sxm", "llama-3.1-70b", "fp8", 8),
    of("h200-sxm", "llama-3.1-70b", "bf16", 4),
    of("h200-sxm", "llama-3.1-70b", "bf16", 8),
    of("h200-sxm", "llama-3.1-70b", "fp8", 2),
    of("h200-sxm", "llama-3.1-70b", "fp8", 4),
    of("h200-sxm", "llama-3.1-70b", "fp8", 8),
    of("h100-sxm", "qwen3-32b", "bf16", 2),
    of("h100-sxm", "qwen3-32b", "fp8", 1),
    of("h200-sxm", "qwen3-32b", "bf16", 1),
    of("h200-sxm", "qwen3-32b", "bf16", 2),
    of("h200-sxm", "qwen3-32b", "fp8", 1),
    of("h100-sxm", "qwen3-8b", "bf16", 1),
    of("h200-sxm", "qwen3-8b", "bf16", 1),
];

/// The folder with the source tables: `profiles/op-tables` under `$TOKENTIDE_SHARED`, or under `shared` beside the workspace. None if neither is
/// there.
pub fn tables_folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let roots = [std::env::var_os("TOKENTIDE_SHARED").map(PathBuf::from), Some(PathBuf::from(beside))];
    roots.into_iter().flatten().map(|root| root.join("data/profiles/op-tables")).find(|folder| folder.is_dir())
}

/// The folder of the shipped profiles.
pub fn profiles_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/data/profiles"))
}
