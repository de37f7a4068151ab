//! Tests of the roofline, against the composed tables among others.

use super::*;
use crate::architecture::{Attention, Moe};
use crate::cost::testing::*;
use crate::deployment::WeightDtype;

fn ms(deployment: &Deployment, batch: &BatchShape) -> f64 {
    Roofline::new(deployment).unwrap().iteration(batch).as_millis_f64()
}

/// Composed times of AIConfigurator 0.12.0 (Apache-2.0), vLLM 0.24.0 (A100 0.14.0), bf16 [ms]: prefill of 1,024 and 8,192 tokens,
/// decode at context 2,048 with batch 1, 16, 64 and 256. A roofline is allowed a fifth, the short prefill two fifths.
#[test]
fn is_near_the_composed_tables() {
    let a100 = Gpu { int8_ops: Some(624e12), link_bandwidth: 300e9, ..gpu("a100-80gb", 2.039e12, 312e12, None) };
    let h200 = gpu("h200-sxm", 4.8e12, 989e12, Some(1978e12));
    let b200 = Gpu { link_bandwidth: 900e9, ..gpu("b200", 7.7e12, 2250e12, Some(4500e12)) };
    let l40s = gpu("l40s", 0.864e12, 362.05e12, Some(733e12));
    let cases = [
        (on(h100(), llama_8b(), 1), [22.1, 200.0, 6.2, 8.2, 12.6, 30.7]),
        (on(h200, llama_8b(), 1), [21.2, 199.0, 4.9, 6.3, 9.5, 23.6]),
        (on(b200, llama_8b(), 1), [11.6, 97.5, 3.5, 4.2, 6.1, 14.1]),
        (on(a100, llama_8b(), 1), [64.7, 557.0, 12.0, 15.0, 23.1, 63.0]),
        (on(l40s, llama_8b(), 1), [70.3, 700.0, 22.0, 29.4, 51.3, 126.0]),
        (on(h100(), qwen3_32b(), 1), [93.7, 865.0, 24.4, 29.4, 38.6, 76.0]),
        (on(h100(), llama_70b(), 4), [67.4, 577.0, 15.0, 16.6, 20.7, 37.2]),
    ];
    let mut total = 0.0;
    for (deployment, expected) in &cases {
        let deployment = Deployment { cuda_graphs: true, ..deployment.clone() };
        let batches =
            [prefill(1, 0, 1024), prefill(1, 0, 8192), decodes(1, 2048), decodes(16, 2048), decodes(64, 2048), decodes(256, 2048)];
        for (i, (batch, expected)) in batches.iter().zip(expected).enumerate() {
            let found = ms(&deployment, batch);
            let error = found / expected - 1.0;
            let name = (&deployment.gpu.name, &deployment.model.name);
            println!("{name:?} case {i}: {found:.2} for {expected:.2} ms, {:+.1} %", error * 100.0);
            assert!(error.abs() < if i == 0 { 0.4 } else { 0.2 }, "{name:?} case {i}: {found:.2} for {expected:.2}");
            total += error.abs();
        }
    }
    assert!(total / 42.0 < 0.06, "mean error {total}");
}

#[test]
fn pieces_agree_and_costs_are_monotone() {
    let mut sliding = llama_8b();
    sliding.attention = Attention::Sliding { window: 1024, local_layers: 24 };
    let mut latent = llama_8b();
    latent.heads = 128;
    latent.attention = Attention::Latent { kv_rank: 512, rope_dim: 64, q_rank: 1536, nope_dim: 128, v_dim: 128 };
    let mut mixture = llama_8b();
    mixture.moe = Some(Moe { experts: 128, top_k: 8, intermediate: 768, shared_intermediate: 512, dense_layers: 1 });
    for (i, model) in [llama_8b(), llama_70b(), sliding, latent, mixture].into_iter().enumerate() {
        for tensor_parallel in [1, 8] {
            for weights in [WeightDtype::Bf16, WeightDtype::Fp8, WeightDtype::Int4, WeightDtype::Mxfp4, WeightDtype::Int8] {
                let deployment = Deployment {
                    weights,
                    expert_parallel: tensor_parallel == 8,
                    cuda_graphs: tensor_parallel == 1,
                    ..on(h100(), model.clone(), tensor_parallel)
                };
                let roofline = Roofline::new(&deployment).unwrap();
                pieces_agree(&roofline, 100 + i as u64);
                monotone(&roofline, 200 + i as u64, 0.0);
            }
        }
    }
}

#[test]
fn decode_batches_run_at_the_captured_size() {
    let graphs = on(h100(), llama_70b(), 4);
    let eager = Deployment { cuda_graphs: false, ..graphs.clone() };
    // Same context in total, so the difference is the linear layers'.
    let with = |d: &Deployment, n| ms(d, &BatchShape { decode_context: 100_000, ..decodes(n, 1) });
    assert!((with(&graphs, 257) - with(&graphs, 272)).abs() < 0.02, "both run at 272 tokens");
    assert!(with(&eager, 257) < with(&eager, 272) - 0.02);
}

#[test]
fn a_window_bounds_the_local_layers_reading() {
    let mut model = llama_8b();
    model.attention = Attention::Sliding { window: 1000, local_layers: 24 };
    let roofline = Roofline::new(&on(h100(), model, 1)).unwrap();
    let piece = roofline.decode_piece(&decodes(4, 500));
    assert_eq!(piece.steps, 500);
    let beyond = roofline.decode_piece(&decodes(4, 2000));
    assert!(beyond.steps > 1 << 60 && (3.9..4.1).contains(&(piece.growth_ps as f64 / beyond.growth_ps as f64)));
}

#[test]
fn pipeline_stages_add_transfers_only() {
    let one = on(h100(), llama_70b(), 4);
    let two = Deployment { pipeline_parallel: 2, ..one.clone() };
    let (a, b) = (ms(&one, &decodes(8, 1000)), ms(&two, &decodes(8, 1000)));
    assert!(b > a && b < a + 0.02, "{a} {b}");
}

/// A mixture's decode step grows with the experts woken: the linear form in batch misses that.
#[test]
fn experts_saturate() {
    let mut model = llama_8b();
    model.moe = Some(Moe { experts: 128, top_k: 8, intermediate: 768, shared_intermediate: 0, dense_layers: 0 });
    let deployment = on(h100(), model, 1);
    let times = [1, 8, 64, 128].map(|n| ms(&deployment, &decodes(n, 1)));
    assert!(times[1] > 2.0 * times[0] && times[3] < 1.2 * times[2], "{times:?}");
}

/// A GPU by analogy: RTX PRO 6000 with the constants of an H200, against times composed of its own layer profiles (vLLM 0.19, bf16
/// Llama-3.1-8B, decode at context 1,024) [ms].
#[test]
fn an_analogy_is_within_a_tenth() {
    let pro = Gpu { fp4_flops: Some(1871e12), link_bandwidth: 64e9, ..gpu("rtx-pro-6000", 1.792e12, 467.8e12, Some(935.6e12)) };
    let deployment = on(pro, llama_8b(), 1);
    let roofline = Roofline::new(&deployment).unwrap();
    assert!(!roofline.measured());
    let decode = [(1, 11.35), (8, 11.88), (32, 15.1), (64, 18.8), (128, 25.3), (256, 39.0)];
    let prompts = [(128, 12.6), (512, 23.7), (1024, 42.4), (2048, 82.9)];
    let decode = decode.map(|(n, expected)| (decodes(n, 1024), expected));
    for (batch, expected) in decode.into_iter().chain(prompts.map(|(n, expected)| (prefill(1, 0, n), expected))) {
        let found = roofline.iteration(&batch).as_millis_f64();
        println!("{found:.1} for {expected} ms, {:+.0} %", (found / expected - 1.0) * 100.0);
        assert!((found / expected - 1.0).abs() < 0.11, "{batch:?}: {found:.1} for {expected}");
    }
}
