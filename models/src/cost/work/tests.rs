//! Tests of the work of a pass.

use super::*;
use crate::architecture::Moe;
use crate::cost::testing::{h100, llama_8b, on};

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs()
}

/// Llama-3.1-8B has 8.03 billion parameters, of which the input embedding (128,256 x 4,096) is not read in a pass.
#[test]
fn dense_weights_are_the_published_parameter_count() {
    let work = Work::new(&on(h100(), llama_8b(), 1)).unwrap();
    let norms = 65.0 * 4096.0;
    let parameters = work.weights_read(1.0) / 2.0 + 128_256.0 * 4096.0 + norms;
    assert_eq!(parameters, 8_030_261_248.0);
    assert_eq!(work.kv_bytes, 131_072.0);
    assert_eq!(work.pair_flops, 4.0 * 32.0 * 128.0 * 32.0);
}

#[test]
fn tensor_parallelism_splits_heads_and_replicates_scarce_kv_heads() {
    let whole = Work::new(&on(h100(), llama_8b(), 1)).unwrap();
    let split = Work::new(&on(h100(), llama_8b(), 4)).unwrap();
    assert!(close(whole.weights_read(1.0), 4.0 * split.weights_read(1.0)));
    assert!(close(whole.kv_bytes, 4.0 * split.kv_bytes));
    let mut scarce = llama_8b();
    scarce.kv_heads = 2;
    let split = Work::new(&on(h100(), scarce.clone(), 8)).unwrap();
    let whole = Work::new(&on(h100(), scarce, 1)).unwrap();
    assert!(close(whole.kv_bytes, 2.0 * split.kv_bytes), "each of 8 ranks keeps one of 2 heads");
}

/// Mixtral 8x7B: one token wakes 2 of 8 experts, many wake all.
fn mixtral() -> Architecture {
    Architecture {
        intermediate: 0,
        vocab: 32_000,
        moe: Some(Moe { experts: 8, top_k: 2, intermediate: 14_336, shared_intermediate: 0, dense_layers: 0 }),
        ..llama_8b()
    }
}

#[test]
fn a_mixture_reads_the_experts_it_wakes() {
    let work = Work::new(&on(h100(), mixtral(), 1)).unwrap();
    let experts = work.experts.as_ref().unwrap();
    assert!(close(experts.active(1.0), 2.0));
    assert!(close(experts.active(2.0), 3.5));
    assert!(experts.active(1e4) > 7.999);
    assert!(close(experts.rows(1.0), 1.0));
    let expert = 3.0 * 4096.0 * 14_336.0 * 2.0 * 32.0;
    let difference = work.weights_read(2.0) - work.weights_read(1.0);
    assert!((difference - 1.5 * expert).abs() < 1e-6 * expert);
    // 46.70 billion parameters: all experts, attention, router, both embeddings, norms.
    let parameters = work.weights_read(1e9) / 2.0 + 32_000.0 * 4096.0 + 65.0 * 4096.0;
    assert_eq!(parameters, 46_702_792_704.0);
}

#[test]
fn expert_parallel_ranks_hold_whole_experts() {
    let mut deployment = on(h100(), mixtral(), 4);
    let sliced = Work::new(&deployment).unwrap();
    deployment.expert_parallel = true;
    let whole = Work::new(&deployment).unwrap();
    assert!(close(sliced.weights_read(1e9), whole.weights_read(1e9)));
    assert!(close(sliced.linear_seconds_at_peak(64.0, &deployment.gpu), whole.linear_seconds_at_peak(64.0, &deployment.gpu)));
    assert!(close(whole.experts.unwrap().count, 2.0));
}

/// DeepSeek-V3's attention: 512 + 64 values a token and layer, whole on every rank.
#[test]
fn latent_attention_keeps_one_vector_per_token() {
    let mut model = llama_8b();
    model.heads = 128;
    model.attention = Attention::Latent { kv_rank: 512, rope_dim: 64, q_rank: 1536, nope_dim: 128, v_dim: 128 };
    let work = Work::new(&on(h100(), model, 8)).unwrap();
    assert_eq!(work.kv_bytes, 32.0 * 576.0 * 2.0);
    assert_eq!(work.decode_flops, 32.0 * 2.0 * 16.0 * 1088.0);
    assert_eq!(work.pair_flops, 32.0 * 2.0 * 16.0 * 320.0);
}

#[test]
fn sliding_layers_are_counted_apart() {
    let mut model = llama_8b();
    model.attention = Attention::Sliding { window: 1024, local_layers: 24 };
    let work = Work::new(&on(h100(), model, 1)).unwrap();
    assert_eq!(work.local_kv_bytes, 3.0 * work.kv_bytes);
    assert_eq!(work.window, 1024);
}

#[test]
fn impossible_splits_are_errors() {
    for ranks in [0, 5] {
        let mut deployment = on(h100(), llama_8b(), 1);
        deployment.tensor_parallel = ranks;
        assert!(Work::new(&deployment).is_err());
    }
}
