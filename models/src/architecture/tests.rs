//! Tests of model shapes.

use super::parameters::{Group, Parameters, Shard};
use super::work::Phase;
use super::*;
use crate::deployment::KvDtype;

fn find(name: &str) -> Architecture {
    Architecture::find(name).unwrap()
}

fn near(value: f64, expected: f64, tolerance: f64) {
    assert!((value / expected - 1.0).abs() <= tolerance, "{value:e} is not within {tolerance} of {expected:e}");
}

#[test]
fn every_total_is_the_published_one() {
    assert_eq!(Architecture::all().len(), 19);
    for model in Architecture::all() {
        near(model.parameters().total() as f64, model.published_parameters().unwrap(), 0.003);
        assert!(model.source().unwrap().contains("config.json"));
    }
    // To the last parameter, biases and per-head norms aside: the tensors of the checkpoints.
    assert_eq!(find("llama-3.1-8b").parameters().total(), 8_030_261_248);
    assert_eq!(find("llama-3.1-70b").parameters().total(), 70_553_706_496);
    assert_eq!(find("llama-2-7b").parameters().total(), 6_738_415_616);
    assert_eq!(find("mixtral-8x7b").parameters().total(), 46_702_792_704);
    assert_eq!(find("mistral-nemo-12b").parameters().total(), 12_247_782_400);
    assert_eq!(find("yi-34b").parameters().total(), 34_388_917_248);
}

/// Model cards: Mixtral, Qwen and DeepSeek count embedding and LM head as active, gpt-oss leaves the embedding out.
#[test]
fn active_parameters_are_the_published_ones() {
    near(find("qwen3-30b-a3b").parameters().active() as f64, 3.3e9, 0.02);
    near(find("mixtral-8x7b").parameters().active() as f64, 12.9e9, 0.01);
    near(find("deepseek-v3").parameters().active() as f64, 37e9, 0.02);
    for (name, active) in [("gpt-oss-20b", 3.61e9), ("gpt-oss-120b", 5.13e9)] {
        let parameters = find(name).parameters();
        near((parameters.active() - parameters.embedding) as f64, active, 0.01);
    }
    for model in Architecture::all().iter().filter(|model| model.moe.is_none()) {
        assert_eq!(model.parameters().active(), model.parameters().total());
    }
}

#[test]
fn groups_of_llama_are_as_its_matrices() {
    let expected = Parameters {
        embedding: 128_256 * 4096,
        attention: 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024),
        dense_ffn: 32 * 3 * 4096 * 14336,
        lm_head: 128_256 * 4096,
        norms: 65 * 4096,
        ..Parameters::default()
    };
    assert_eq!(find("llama-3.1-8b").parameters(), expected);
    let gemma = find("gemma-3-27b").parameters();
    assert_eq!((gemma.embedding, gemma.lm_head), (262_208 * 5376, 0));
    let deepseek = find("deepseek-v3").parameters();
    assert_eq!(deepseek.dense_ffn, 3 * 3 * 7168 * 18432);
    assert_eq!(deepseek.experts, 58 * 256 * 3 * 7168 * 2048);
    assert_eq!(deepseek.router, 58 * 256 * 7168);
    // Per layer: q_a, q_b, kv_a with the rotary key, kv_b, o.
    let layer = 7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168;
    assert_eq!(deepseek.attention, 61 * layer);
}

#[test]
fn weights_take_the_bytes_of_their_format() {
    let llama = find("llama-3.1-8b");
    assert_eq!(llama.weight_bytes(WeightDtype::Bf16), 2 * 8_030_261_248);
    // Embedding, LM head and norms stay at two bytes: 8.46 GiB, not 7.48.
    let linear = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336);
    assert_eq!(llama.weight_bytes(WeightDtype::Fp8), linear + 2 * (8_030_261_248 - linear));
    assert_eq!(llama.weight_bytes(WeightDtype::Int8), llama.weight_bytes(WeightDtype::Fp8));
    assert_eq!(WeightDtype::Int4.bytes_of(Group::DenseFfn, 128), 64 + 2 + 1);
    assert_eq!(WeightDtype::Mxfp4.bytes_of(Group::Experts, 32), 17);
    assert_eq!(WeightDtype::Nvfp4.bytes_of(Group::Experts, 32), 18);
    // Published sizes of the checkpoints: 13.76 GB and 65.25 GB, biases included.
    near(find("gpt-oss-20b").weight_bytes(WeightDtype::Mxfp4) as f64, 13.76e9, 0.01);
    near(find("gpt-oss-120b").weight_bytes(WeightDtype::Mxfp4) as f64, 65.25e9, 0.01);
    for model in Architecture::all() {
        let bytes = WeightDtype::ALL.map(|dtype| model.weight_bytes(dtype));
        let [bf16, fp8, int8, int4, mxfp4, nvfp4] = bytes;
        assert!(bf16 > fp8 && fp8 == int8 && int8 > nvfp4 && nvfp4 > int4 && mxfp4 <= bf16, "{}", model.name);
        assert_eq!(mxfp4 < bf16, model.moe.is_some(), "{}", model.name);
    }
}

#[test]
fn native_formats_are_those_of_the_checkpoints() {
    assert_eq!(find("gpt-oss-20b").native_weights(), WeightDtype::Mxfp4);
    assert_eq!(find("deepseek-v3").native_weights(), WeightDtype::Fp8);
    assert_eq!(find("llama-3.1-8b").native_weights(), WeightDtype::Bf16);
    for Entry { weights, .. } in &catalogue().entries {
        assert!(weights.as_deref().is_none_or(|name| name.parse::<WeightDtype>().is_ok()));
    }
}

#[test]
fn kv_bytes_follow_heads_or_latent_rank() {
    assert_eq!(find("llama-3.1-8b").kv_bytes_per_token(KvDtype::Bf16), 32 * 2 * 8 * 128 * 2);
    assert_eq!(find("llama-3.1-8b").kv_bytes_per_token(KvDtype::Fp8), 32 * 2 * 8 * 128);
    assert_eq!(find("deepseek-v3").kv_bytes_per_token(KvDtype::Bf16), 61 * 576 * 2);
}

#[test]
fn flops_are_two_per_active_weight() {
    for model in Architecture::all() {
        let Parameters { embedding, lm_head, norms, .. } = model.parameters();
        let inner = model.parameters().active() - embedding - lm_head - norms;
        assert_eq!(model.flops_per_token(), 2.0 * inner as f64);
        assert_eq!(model.lm_head_flops(), 2.0 * f64::from(model.vocab) * f64::from(model.hidden));
    }
    // 2 h d n^2 of causal FLOPs for n tokens is 4 h d per pair, of which there are n^2 / 2.
    assert_eq!(find("llama-3.1-8b").attention_flops_per_pair_layer(Phase::Prefill), 4.0 * 32.0 * 128.0);
    let deepseek = find("deepseek-v3");
    assert_eq!(deepseek.attention_flops_per_pair_layer(Phase::Prefill), 2.0 * 128.0 * (192.0 + 128.0));
    assert_eq!(deepseek.attention_flops_per_pair_layer(Phase::Decode), 2.0 * 128.0 * (576.0 + 512.0));
}

#[test]
fn experts_fill_up_with_the_batch() {
    for model in Architecture::all() {
        let Some(moe) = &model.moe else {
            assert_eq!(model.activated_experts(100), 0.0);
            continue;
        };
        assert_eq!(model.activated_experts(0), 0.0);
        assert!((model.activated_experts(1) - f64::from(moe.top_k)).abs() < 1e-9, "{}", model.name);
        let counts: Vec<f64> = (0..12).map(|power| model.activated_experts(1 << power)).collect();
        assert!(counts.windows(2).all(|pair| pair[0] <= pair[1]) && counts[11] <= f64::from(moe.experts), "{}", model.name);
        near(model.activated_experts(1 << 20), f64::from(moe.experts), 1e-9);
    }
    // Two tokens, 2 of 8 each: 8 (1 - (6/8)^2).
    assert!((find("mixtral-8x7b").activated_experts(2) - 3.5).abs() < 1e-12);
}

#[test]
fn local_layers_and_window_of_hybrid_models() {
    let gemma = find("gemma-3-27b");
    assert_eq!((gemma.full_layers(), gemma.local_layers(), gemma.window()), (10, 52, Some(1024)));
    let gpt = find("gpt-oss-120b");
    assert_eq!((gpt.full_layers(), gpt.local_layers(), gpt.window()), (18, 18, Some(128)));
    let llama = find("llama-3.1-8b");
    assert_eq!((llama.full_layers(), llama.local_layers(), llama.window()), (32, 0, None));
    for model in Architecture::all() {
        let hybrid = matches!(model.attention, Attention::Sliding { .. });
        assert_eq!(model.approximate.is_some(), hybrid || model.name == "kimi-k2.5", "{}", model.name);
    }
}

#[test]
fn ranks_and_stages_hold_the_model_together() {
    for model in Architecture::all() {
        let whole = model.parameters();
        for tensor_parallel in [1, 2, 4, 8] {
            let shard = Shard { tensor_parallel, data_parallel: 1, expert_parallel: false };
            let rank = model.parameters_of(0..model.layers, shard);
            let ranks = u64::from(tensor_parallel);
            // Never less than a share, and only attention, router and norms more than that by replication.
            assert!(rank.total() * ranks >= whole.total(), "{} tp {tensor_parallel}", model.name);
            for (part, all) in [
                (rank.experts, whole.experts),
                (rank.dense_ffn, whole.dense_ffn),
                (rank.embedding, whole.embedding),
                (rank.shared_experts, whole.shared_experts),
            ] {
                assert_eq!(part, all.div_ceil(ranks), "{} tp {tensor_parallel}", model.name);
            }
            assert_eq!((rank.router, rank.norms), (whole.router, whole.norms));
            let spread = model.parameters_of(0..model.layers, Shard { expert_parallel: true, ..shard });
            assert_eq!(spread.experts, rank.experts, "{} tp {tensor_parallel}", model.name);
        }
        for cut in [1, model.layers / 3, model.layers - 1] {
            let first = model.parameters_of(0..cut, Shard::WHOLE);
            let last = model.parameters_of(cut..model.layers, Shard::WHOLE);
            let twice = if model.tied_embeddings { whole.embedding } else { 0 };
            assert_eq!(first.total() + last.total(), whole.total() + twice, "{} cut at {cut}", model.name);
        }
    }
}

#[test]
fn names_and_aliases_are_found() {
    for Entry { name, aliases, .. } in &catalogue().entries {
        assert_eq!(&find(name).name, name);
        for alias in aliases {
            assert_eq!(&find(alias).name, name);
        }
    }
    assert_eq!(find("meta-llama/Llama-3.1-8B-Instruct").name, "llama-3.1-8b");
    assert_eq!(find("openai/GPT-OSS-120b").name, "gpt-oss-120b");
    let error = Architecture::find("lama-3.1-8b").unwrap_err().to_string();
    assert!(error.contains("unknown model `lama-3.1-8b`, did you mean `llama-3.1-8b`?; known: llama-3.1-8b,"), "{error}");
    assert!(!Architecture::find("claude").unwrap_err().to_string().contains("mean"));
}
