//! Tests of the roofline, against the composed tables among others.

use super::*;
use crate::architecture::{Architecture, Attention, Moe};
use crate::cost::testing::*;
use crate::deployment::WeightDtype;
use crate::engine_defaults::EngineVersion;

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

/// Stages are a pass cut by layers, 80 of them in 3 stages as 27, 27 and 26; the last one has the LM head.
#[test]
fn stages_are_the_pass_cut_by_layers() {
    let deployment = Deployment { pipeline_parallel: 3, ..on(h100(), llama_70b(), 4) };
    let roofline = Roofline::new(&deployment).unwrap();
    let mut draws = Draws(9);
    for batch in (0..100).map(|_| draw(&mut draws)).filter(|batch| batch.tokens() > 0) {
        let mut times = [Duration::ZERO; 3];
        roofline.stages(&batch, &mut times);
        assert_eq!(times[0].0 + times[1].0 + times[2].0, roofline.iteration(&batch).0);
        let (layer, head) = (times[0].0 as f64 / 27.0, roofline.form.head(&batch) as f64);
        assert!((times[1].0 as f64 / 27.0 / layer - 1.0).abs() < 1e-6);
        assert!(((times[2].0 as f64 - head) / 26.0 / layer - 1.0).abs() < 1e-6 && head > 0.0, "{times:?} {head}");
    }
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
/// Where experts are padded, a step takes as long with one client as with many, whatever the layout that slices them.
#[test]
fn padded_experts_do_not_grow() {
    let (model, gpu) = (Architecture::find("qwen3-235b-a22b").unwrap(), Gpu::find("h200-sxm").unwrap());
    let release = |minor, data_parallel| {
        let plain = Deployment::plain(model.clone(), gpu.clone(), 4 / data_parallel);
        let engine_version = EngineVersion::new(0, minor);
        Deployment { engine_version, weights: WeightDtype::Fp8, max_model_len: 4096, data_parallel, ..plain }
    };
    for data_parallel in [1, 2] {
        let growth = |minor| {
            let deployment = release(minor, data_parallel);
            ms(&deployment, &decodes(32, 64)) - ms(&deployment, &decodes(1, 64))
        };
        assert!(growth(14) < 0.2 * growth(15), "{} {}", growth(14), growth(15));
    }
    let experts = 94.0 * 1e3 * PaddedExperts::of(&release(14, 1)).unwrap().seconds(1.0);
    let (padded, rest) = (ms(&release(14, 1), &decodes(1, 64)), ms(&release(15, 1), &decodes(1, 64)));
    assert!(padded > experts && padded < experts + rest, "{padded} {experts} {rest}");
}

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

/// Qwen3-30B-A3B's experts on Llama's attention: the ranks of a mixture.
fn ranks_in_lockstep(data_parallel: u32) -> Deployment {
    let mut model = llama_8b();
    model.moe = Some(Moe { experts: 128, top_k: 8, intermediate: 768, shared_intermediate: 0, dense_layers: 0 });
    Deployment { data_parallel, expert_parallel: true, ..on(h100(), model, 1) }
}

/// Equal ranks take what one batch on each takes, with a graph and without; the parts are rounded apart.
#[test]
fn equal_ranks_are_one_iteration() {
    for data_parallel in [2, 4] {
        for cuda_graphs in [true, false] {
            let roofline = Roofline::new(&Deployment { cuda_graphs, ..ranks_in_lockstep(data_parallel) }).unwrap();
            for batch in [decodes(1, 100), decodes(64, 1000), decodes(512, 300), prefill(2, 100, 900), prefill(1, 0, 8192)] {
                let (one, all) = (roofline.iteration(&batch).0, roofline.lockstep(&vec![batch; data_parallel as usize]).0);
                assert!(one.abs_diff(all) <= 2, "{batch:?}: {one} {all}");
            }
        }
    }
}

/// An unequal group waits for its slowest rank, an idle rank takes part, and experts are paid for the tokens of all ranks.
#[test]
fn the_slowest_rank_decides() {
    let deployment = ranks_in_lockstep(2);
    let roofline = Roofline::new(&deployment).unwrap();
    let both = |a: BatchShape, b: BatchShape| roofline.lockstep(&[a, b]).as_millis_f64();
    let (small, large, idle) = (decodes(8, 500), decodes(64, 500), BatchShape::default());
    assert_eq!(both(small, large), both(large, small));
    assert_eq!(
        both(large, small),
        both(large, large),
        "a graph pads the smaller rank, and the larger one's attention is waited for"
    );
    assert_eq!(both(large, idle), both(large, large));
    // The longest attention may be on the rank with fewer tokens.
    assert!(both(decodes(8, 30_000), large) > both(large, large));
    let chunk = prefill(1, 0, 4096);
    let times = [both(chunk, idle), both(chunk, prefill(1, 0, 2048)), both(chunk, chunk)];
    assert!(times[0] < times[1] && times[1] < times[2], "without a graph nothing is padded: {times:?}");
    // Half the batch on each of two ranks: less than the whole on one, more than half of it.
    let alone = ms(&Deployment { data_parallel: 1, ..deployment.clone() }, &prefill(2, 0, 4096));
    let shared = both(chunk, chunk);
    assert!(shared < alone && shared > alone / 2.0, "{shared} {alone}");
}

/// The exchange of 2 x 8,192 tokens over PCIe is most of what two GPUs lose there: two collectives a layer.
#[test]
fn the_exchange_is_priced_by_size() {
    let slow = Gpu { link_bandwidth: 64e9, ..gpu("rtx-pro-6000", 1.792e12, 467.8e12, Some(935.6e12)) };
    let at = |gpu: Gpu| {
        let deployment = Deployment { gpu, ..ranks_in_lockstep(2) };
        let work = Work::new(&deployment).unwrap();
        let (efficiency, _) = Efficiency::of(&deployment.gpu);
        efficiency.exchange_seconds(2, 16_384.0 * 2.0 * work.hidden) * 2.0 * work.layers
    };
    // 128 MiB a layer and way: half of it over 28 GB/s of PCIe, 184 GB/s of NVLink.
    assert!((at(slow) / (64.0 * (6.2e-6 + 67_108_864.0 / 28e9)) - 1.0).abs() < 1e-6);
    assert!((at(h100()) / (64.0 * (6.0e-6 + 67_108_864.0 / 184e9)) - 1.0).abs() < 1e-6);
}

/// Random groups: never faster than the floor (asserted inside), never faster for more work on a rank.
#[test]
fn groups_are_above_the_floor_and_grow() {
    let mut draws = Draws(5);
    for data_parallel in [2, 3, 8] {
        for (tensor_parallel, expert_parallel) in [(1, true), (2, true), (1, false)] {
            let base = ranks_in_lockstep(data_parallel);
            let roofline = Roofline::new(&Deployment { tensor_parallel, expert_parallel, ..base }).unwrap();
            for _ in 0..200 {
                let mut ranks: Vec<BatchShape> = (0..data_parallel).map(|_| draw(&mut draws)).collect();
                let before = roofline.lockstep(&ranks);
                ranks[0].add_decode(1 + draws.below(4000));
                assert!(roofline.lockstep(&ranks) >= before, "{ranks:?}");
            }
        }
    }
}

fn draw(draws: &mut Draws) -> BatchShape {
    let mut batch = BatchShape::default();
    (0..draws.below(200)).for_each(|_| batch.add_decode(1 + draws.below(3000)));
    (0..draws.below(3)).for_each(|_| batch.add_chunk(draws.below(2000), 1 + draws.below(2000), true));
    batch
}
