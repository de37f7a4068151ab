//! Nanoseconds of one `iteration` and one `decode_piece`, by cost model, on a stream of varied batches.
//!
//! `cargo run --release -p tokentide-models --example cost_speed`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use tokentide_models::architecture::Architecture;
use tokentide_models::cost::{
    BatchShape, CostChoice, CostModel, DecodeGrid, HostOverrides, PrefillGrid, Profile, ProfileKind, Table,
};
use tokentide_models::cost::{build, shipped_text};
use tokentide_models::deployment::Deployment;
use tokentide_models::gpu::Gpu;

const BATCHES: usize = 4096;
const ROUNDS: usize = 2000;
const PROFILE: &str = "h100-sxm_llama-3.1-8b_bf16_tp1";

fn main() {
    let deployment = llama_8b_on_h100();
    let batches: Vec<BatchShape> = (0..BATCHES as u64).map(batch).collect();
    for choice in [CostChoice::Auto, CostChoice::Roofline] {
        let (model, info) = build(&deployment, &choice, &HostOverrides::default(), true).expect("a shipped profile");
        measure(info.kind, &model, &batches);
    }
    let table: Arc<dyn CostModel> = Arc::new(Table::new(&table(), &deployment).expect("a sound table"));
    measure("table", &table, &batches);
}

/// A batch of 1 to 256 decodes, and every fourth time a chunk.
fn batch(i: u64) -> BatchShape {
    let n = 1 + (i * 37) % 256;
    let context = n * (200 + (i * 911) % 4000);
    let mut batch = BatchShape { decodes: n as u32, decode_context: context, sampled: n as u32, ..BatchShape::default() };
    if i.is_multiple_of(4) {
        batch.add_chunk((i * 17) % 3000, 1 + (i * 101) % 2000, false);
    }
    batch
}

fn measure(name: &str, model: &Arc<dyn CostModel>, batches: &[BatchShape]) {
    // The fastest of many rounds: other processes only ever add.
    let time = |call: &dyn Fn(&BatchShape) -> u64| {
        let round = |_| {
            let start = Instant::now();
            black_box(batches.iter().fold(0, |sum: u64, b| sum.wrapping_add(call(black_box(b)))));
            start.elapsed().as_secs_f64() * 1e9 / batches.len() as f64
        };
        (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
    };
    let iteration = time(&|b| model.iteration(b).0);
    let piece = time(&|b| model.decode_piece(b).growth_ps);
    println!("{name:11} iteration {iteration:5.1} ns, decode_piece {piece:5.1} ns");
}

/// The shipped profile as grids.
fn table() -> Profile {
    let text = shipped_text(PROFILE).expect("shipped");
    let fitted = Profile::parse(PROFILE, text).expect("valid");
    let (decode, prefill) = (fitted.decode_attention.clone().expect("calibrated"), fitted.prefill_attention.expect("calibrated"));
    let contexts = [128_u32, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768];
    let chunks = [1_u32, 128, 512, 1024, 2048, 4096, 8192];
    let histories = [0_u32, 1024, 4096, 16_384, 32_768];
    let row = |n: u32, fixed: f64, slope: f64| contexts.iter().map(|&c| fixed + slope * f64::from(n) * f64::from(c)).collect();
    let chunk = |k: u32, h: u32| {
        let (k, h) = (f64::from(k), f64::from(h));
        prefill.ms_per_step
            + prefill.ms_per_token * k
            + prefill.ms_per_pair * (k * h + k * (k + 1.0) / 2.0)
            + prefill.ms_per_history_token * h
    };
    let parts = decode.sequences.iter().zip(decode.fixed_ms.iter().zip(&decode.ms_per_context_token));
    Profile {
        kind: ProfileKind::Table,
        decode_grid: Some(DecodeGrid {
            sequences: decode.sequences.clone(),
            context_tokens: contexts.into(),
            ms: parts.map(|(&n, (&fixed, &slope))| row(n, fixed, slope)).collect(),
        }),
        prefill_grid: Some(PrefillGrid {
            chunk_tokens: chunks.into(),
            history_tokens: histories.into(),
            ms: chunks.iter().map(|&k| histories.iter().map(|&h| chunk(k, h)).collect()).collect(),
        }),
        decode_attention: None,
        prefill_attention: None,
        ..fitted
    }
}

fn llama_8b_on_h100() -> Deployment {
    let (model, gpu) = (Architecture::find("llama-3.1-8b"), Gpu::find("h100-sxm"));
    Deployment { max_num_seqs: 256, ..Deployment::plain(model.expect("in the catalogue"), gpu.expect("in the catalogue"), 1) }
}
