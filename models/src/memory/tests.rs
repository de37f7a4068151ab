//! Tests of the memory plan, against real servers among others.

use super::*;
use crate::architecture::Architecture;
use crate::deployment::KvDtype;
use crate::engine_defaults::EngineVersion;
use crate::gpu::Gpu;

fn deployment(model: &str, gpu: &str, tensor_parallel: u32) -> Deployment {
    Deployment {
        max_model_len: 4096,
        max_num_batched_tokens: 2048,
        max_num_seqs: 128,
        ..Deployment::plain(Architecture::find(model).unwrap(), Gpu::find(gpu).unwrap(), tensor_parallel)
    }
}

/// Block counts that real servers logged: vLLM 0.15.1 on H100, 0.19.0 on RTX 4090; block 16, utilization 0.90.
#[test]
fn block_counts_are_within_3_percent_of_real_servers() {
    let rows = [
        ("llama-2-7b", "h100-sxm", 1, 2048, 128, 7_463),
        ("qwen2.5-7b", "h100-sxm", 1, 2048, 128, 65_352),
        ("qwen2.5-7b", "h100-sxm", 1, 1024, 128, 65_368),
        ("mistral-nemo-12b", "h100-sxm", 1, 2048, 128, 19_251),
        ("mistral-nemo-12b", "h100-sxm", 2, 1024, 128, 48_009),
        ("yi-34b", "h100-sxm", 2, 2048, 128, 20_793),
        ("llama-3.1-70b", "h100-sxm", 4, 2048, 128, 30_425),
        ("llama-3.1-70b", "h100-sxm", 4, 8192, 128, 30_251),
        ("llama-3.1-8b", "rtx-4090", 1, 2048, 256, 2_588),
    ];
    for (model, gpu, tp, max_num_batched_tokens, max_num_seqs, real) in rows {
        let plan = plan(&Deployment { max_num_batched_tokens, max_num_seqs, ..deployment(model, gpu, tp) }).unwrap();
        let error = f64::from(plan.num_gpu_blocks) / f64::from(real) - 1.0;
        println!(
            "{model:18} {gpu} tp{tp} {max_num_batched_tokens:5}: {real} real, {} planned, {:+.2} %",
            plan.num_gpu_blocks,
            error * 100.0
        );
        assert!(error.abs() < 0.03, "{model} {gpu} tp {tp}: {} for {real}", plan.num_gpu_blocks);
        assert_eq!(plan.notes, Vec::<String>::new());
        assert_eq!(plan.kv_tokens, 16 * u64::from(plan.num_gpu_blocks));
    }
}

#[test]
fn bytes_per_block_are_those_of_the_reference() {
    let mib = |model, tp| plan(&deployment(model, "h100-sxm", tp)).unwrap().bytes_per_block as f64 / f64::from(1 << 20);
    assert_eq!([mib("llama-2-7b", 1), mib("qwen2.5-7b", 1), mib("mistral-nemo-12b", 1)], [8.0, 0.875, 2.5]);
    assert_eq!([mib("mistral-nemo-12b", 2), mib("yi-34b", 2), mib("llama-3.1-70b", 4)], [1.25, 1.875, 1.25]);
    // Eight key-value heads on sixteen ranks: one each, replicated.
    let per_token = |tp| kv_bytes_per_token(&deployment("llama-3.1-70b", "h100-sxm", tp), 80);
    assert_eq!((per_token(8), per_token(16), per_token(1)), (80 * 2 * 128 * 2, 80 * 2 * 128 * 2, 80 * 2 * 8 * 128 * 2));
    // Latent attention is not divided.
    let latent = |tp| kv_bytes_per_token(&deployment("deepseek-v3", "h200-sxm", tp), 61);
    assert_eq!((latent(1), latent(8)), (61 * 576 * 2, 61 * 576 * 2));
}

/// The whole catalogue in all formats and splits: a plan that adds up, or an error, never a panic.
#[test]
fn plans_add_up_over_the_whole_catalogue() {
    let mut planned = 0;
    for model in Architecture::all() {
        for gpu in Gpu::all() {
            for weights in WeightDtype::ALL {
                for kv in KvDtype::ALL {
                    for (tp, pp) in [(1, 1), (2, 1), (3, 1), (4, 2), (8, 1), (8, 4), (16, 1)] {
                        let deployment = Deployment {
                            gpu: gpu.clone(),
                            weights,
                            kv,
                            pipeline_parallel: pp,
                            ..deployment(&model.name, "h100", tp)
                        };
                        planned += u32::from(check_one(&deployment));
                    }
                }
            }
        }
    }
    assert!(planned > 3000, "{planned}");
}

fn check_one(deployment: &Deployment) -> bool {
    let what = format!("{deployment:?}");
    match fit(deployment) {
        Ok(plan) => {
            let used = plan.weights + plan.reserve + plan.kv;
            assert!(used <= plan.requested && plan.requested - used < plan.bytes_per_block, "{what}");
            assert_eq!(plan.kv, u64::from(plan.num_gpu_blocks) * plan.bytes_per_block, "{what}");
            assert_eq!(plan.bytes_per_block, 16 * plan.kv_bytes_per_token, "{what}");
            assert!(plan.kv_tokens >= u64::from(deployment.max_model_len), "{what}");
            assert!(plan.usable_blocks() + 1 == plan.num_gpu_blocks, "{what}");
            // More memory, more blocks; fewer bytes a token, more blocks.
            let more = Deployment { gpu_memory_utilization: 0.95, ..deployment.clone() };
            assert!(fit(&more).unwrap().num_gpu_blocks > plan.num_gpu_blocks, "{what}");
            let fp8 = fit(&Deployment { kv: KvDtype::Fp8, ..deployment.clone() }).unwrap();
            assert!(fp8.num_gpu_blocks >= plan.num_gpu_blocks, "{what}");
            true
        }
        Err(MemoryError::Weights { weights, reserve, requested, .. }) => {
            assert!(weights + reserve > requested, "{what}");
            false
        }
        Err(MemoryError::Context { largest, .. }) => {
            assert!(largest < u64::from(deployment.max_model_len), "{what}");
            false
        }
        Err(MemoryError::Layout { field, .. }) => {
            assert!(["tensor_parallel", "weights"].contains(&field), "{what}");
            false
        }
    }
}

#[test]
fn stages_share_layers_as_the_engine_does() {
    let lengths = |layers, stages| stage_layers(layers, stages).iter().map(|range| range.end - range.start).collect::<Vec<_>>();
    assert_eq!(lengths(32, 4), [8, 8, 8, 8]);
    assert_eq!(lengths(30, 4), [7, 8, 8, 7]);
    assert_eq!(lengths(61, 8), [7, 7, 8, 8, 8, 8, 8, 7]);
    for layers in 1..100 {
        for stages in 1..=layers {
            let ranges = stage_layers(layers, stages);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end, ranges.len() as u32), (0, layers, stages));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start && !pair[0].is_empty()));
        }
    }
}

#[test]
fn the_stage_with_the_least_room_decides() {
    let two = Deployment { pipeline_parallel: 2, ..deployment("llama-3.1-70b", "h100-sxm", 2) };
    let plan = plan(&two).unwrap();
    // The last stage has the LM head and the final norm beside its forty layers.
    assert_eq!(plan.weights, stage_weights(&two, 40..80));
    assert!(plan.weights > stage_weights(&two, 0..40));
    assert_eq!(plan.kv_bytes_per_token, 40 * 2 * 4 * 128 * 2);
}

/// Qwen3-30B-A3B on two data-parallel ranks: each holds attention, embeddings and router whole and half of the 128 experts,
/// sliced or dealt out; its cache is its own.
#[test]
fn data_parallel_ranks_share_the_experts_only() {
    let one = deployment("qwen3-30b-a3b", "rtx-pro-6000", 1);
    let two = Deployment { data_parallel: 2, expert_parallel: true, ..one.clone() };
    let experts = 48 * 128 * 3 * 2048 * 768 * 2u64;
    assert_eq!(plan(&one).unwrap().weights - plan(&two).unwrap().weights, experts / 2);
    assert_eq!(plan(&one).unwrap().bytes_per_block, plan(&two).unwrap().bytes_per_block);
    assert_eq!(plan(&two).unwrap(), plan(&Deployment { expert_parallel: false, ..two.clone() }).unwrap());
    let dense = deployment("llama-3.1-8b", "h100", 1);
    assert_eq!(plan(&dense).unwrap(), plan(&Deployment { data_parallel: 4, ..dense.clone() }).unwrap());
    for (layout, expected) in [
        (Deployment { data_parallel: 0, ..dense }, "`data_parallel` = 0: must be at least 1"),
        (
            Deployment { data_parallel: 129, ..two.clone() },
            "`data_parallel` = 129: 129 ranks are more than the 128 experts of qwen3-30b-a3b",
        ),
        (
            Deployment { data_parallel: 5, expert_parallel: false, ..two },
            "`data_parallel` = 5: 5 ranks do not divide the 768 of qwen3-30b-a3b's expert width; expert_parallel keeps experts \
             whole",
        ),
    ] {
        assert_eq!(plan(&layout).unwrap_err().to_string(), expected);
    }
}

/// Two buffers of the padded rows of the largest step, of all data-parallel ranks.
#[test]
fn padded_experts_keep_buffers() {
    let of = |minor, data_parallel| {
        let engine_version = EngineVersion::new(0, minor);
        let plain = deployment("qwen3-235b-a22b", "h200-sxm", 2);
        plan(&Deployment { weights: WeightDtype::Fp8, engine_version, data_parallel, ..plain }).unwrap().reserve
    };
    assert_eq!(of(15, 1), RESERVE_BYTES);
    assert_eq!(of(14, 1), RESERVE_BYTES + 2 * (2048 * 8 + 128 * 127) * 4096 * 2);
    assert_eq!(of(14, 2), RESERVE_BYTES + 2 * (2 * 2048 * 8 + 128 * 127) * 4096 * 2);
}

#[test]
fn experts_are_dealt_out_whole() {
    let base = deployment("mixtral-8x7b", "h200", 8);
    let spread = Deployment { expert_parallel: true, ..base.clone() };
    assert_eq!(plan(&base).unwrap().num_gpu_blocks, plan(&spread).unwrap().num_gpu_blocks);
    assert!(plan(&spread).unwrap().notes.iter().any(|note| note.contains("dense")));
    // 128 experts on 3 ranks would be 43 on the fullest; the heads do not divide, which comes first.
    assert!(matches!(plan(&Deployment { tensor_parallel: 3, ..spread }), Err(MemoryError::Layout { .. })));
    let dense = Deployment { expert_parallel: true, ..deployment("llama-3.1-8b", "h100", 2) };
    assert_eq!(plan(&dense).unwrap_err().to_string(), "`expert_parallel` = true: llama-3.1-8b has no experts");
}

#[test]
fn the_servers_own_count_wins() {
    let own = Deployment { num_gpu_blocks: Some(2_588), ..deployment("llama-3.1-8b", "rtx-4090", 1) };
    let plan_own = plan(&own).unwrap();
    assert_eq!((plan_own.num_gpu_blocks, plan_own.usable_blocks(), plan_own.overridden), (2_588, 2_587, true));
    assert_eq!((plan_own.kv, plan_own.kv_tokens), (2_588 * 2 * 1024 * 1024, 41_408));
    assert_eq!(plan_own.notes, ["num_gpu_blocks = 2588 as given; the formula gives 2563"]);
    // Also where the formula sees no room at all.
    let no_room = Deployment { num_gpu_blocks: Some(1_000), ..deployment("llama-3.1-70b", "l4", 1) };
    assert_eq!(plan(&no_room).unwrap().num_gpu_blocks, 1_000);
    let hybrid = Deployment { num_gpu_blocks: Some(50_000), ..deployment("gpt-oss-20b", "h100", 1) };
    assert!(plan(&hybrid).unwrap().notes.iter().any(|note| note.contains("2 groups")));
    let short = Deployment { num_gpu_blocks: Some(100), ..deployment("llama-3.1-8b", "h100", 1) };
    let error = plan(&short).unwrap_err().to_string();
    assert!(error.contains("enough for 1600 tokens; what would help: max_model_len = 1600"), "{error}");
}

#[test]
fn weights_that_do_not_fit_say_by_how_much_and_what_helps() {
    let too_large = deployment("llama-3.1-70b", "h100-sxm", 1);
    let Err(MemoryError::Weights { weights, reserve, requested, remedies, .. }) = plan(&too_large) else { panic!("it fits") };
    assert_eq!((weights, reserve), (2 * 70_553_706_496, RESERVE_BYTES));
    assert!(weights + reserve > requested);
    assert_eq!(remedies, ["tensor_parallel = 2", "fp8 weights"].map(str::to_owned));
    let error = plan(&too_large).unwrap_err().to_string();
    assert_eq!(
        error,
        "llama-3.1-70b does not fit h100-sxm: 131.42 GiB of weights and 1.20 GiB of reserve per GPU, 61.43 GiB more than the \
         71.19 GiB allowed; what would help: tensor_parallel = 2, or fp8 weights"
    );
    let hopeless = Deployment { weights: WeightDtype::Int4, ..deployment("deepseek-v3", "l4", 1) };
    assert!(plan(&hopeless).unwrap_err().to_string().contains("tensor_parallel = 32"), "{}", plan(&hopeless).unwrap_err());
}

#[test]
fn a_context_that_does_not_fit_names_the_longest_that_does() {
    let long = Deployment { max_model_len: 131_072, ..deployment("llama-3.1-8b", "rtx-4090", 1) };
    let Err(MemoryError::Context { largest, .. }) = plan(&long) else { panic!("it fits") };
    assert_eq!(largest, 16 * 2_563);
    let error = plan(&long).unwrap_err().to_string();
    for part in ["131072", "16.00 GiB", "enough for 41008 tokens", "tensor_parallel = 2", "max_model_len = 41008"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    assert!(plan(&Deployment { max_model_len: 41_008, ..long.clone() }).is_ok());
    assert!(plan(&Deployment { max_model_len: 41_009, ..long }).is_err());
    let hybrid = Deployment { max_model_len: 131_072, ..deployment("gemma-3-27b", "h100", 1) };
    assert!(plan(&hybrid).unwrap_err().to_string().contains("a real engine may fit more"));
}

/// What the advice names, done, starts.
#[test]
fn every_remedy_is_one() {
    for model in Architecture::all() {
        for gpu in Gpu::all() {
            let base = Deployment { gpu: gpu.clone(), max_model_len: model.max_context, ..deployment(&model.name, "h100", 1) };
            let Err(MemoryError::Weights { remedies, .. } | MemoryError::Context { remedies, .. }) = plan(&base) else { continue };
            for remedy in remedies {
                let mut changed = base.clone();
                match remedy.split_once(" = ") {
                    Some(("tensor_parallel", tp)) => changed.tensor_parallel = tp.parse().unwrap(),
                    Some(("gpu_memory_utilization", share)) => changed.gpu_memory_utilization = share.parse().unwrap(),
                    Some(("max_model_len", length)) => changed.max_model_len = length.parse().unwrap(),
                    _ if remedy == "an fp8 KV cache" => changed.kv = KvDtype::Fp8,
                    _ => changed.weights = remedy.strip_suffix(" weights").unwrap().parse().unwrap(),
                }
                assert!(plan(&changed).is_ok(), "{} on {}: {remedy}", model.name, gpu.name);
            }
        }
    }
}

#[test]
fn settings_that_no_engine_takes_are_refused() {
    let base = || deployment("llama-3.1-8b", "h100", 1);
    let cases: [(Deployment, &str); 13] = [
        (Deployment { tensor_parallel: 0, ..base() }, "`tensor_parallel` = 0: must be at least 1"),
        (Deployment { pipeline_parallel: 0, ..base() }, "`pipeline_parallel` = 0"),
        (Deployment { block_size: 0, ..base() }, "`block_size` = 0"),
        (Deployment { max_model_len: 0, ..base() }, "`max_model_len` = 0"),
        (Deployment { max_num_seqs: 0, ..base() }, "`max_num_seqs` = 0"),
        (Deployment { num_gpu_blocks: Some(0), ..base() }, "`num_gpu_blocks` = 0"),
        (
            Deployment { tensor_parallel: 3, ..base() },
            "`tensor_parallel` = 3: does not divide the 32 of llama-3.1-8b's attention heads",
        ),
        (Deployment { tensor_parallel: 64, ..base() }, "`tensor_parallel` = 64: does not divide the 32"),
        (Deployment { pipeline_parallel: 33, ..base() }, "`pipeline_parallel` = 33: llama-3.1-8b has 32 layers only"),
        (Deployment { gpu_memory_utilization: 0.0, ..base() }, "`gpu_memory_utilization` = 0"),
        (Deployment { gpu_memory_utilization: 1.01, ..base() }, "`gpu_memory_utilization` = 1.01: must be above 0 and at most 1"),
        (Deployment { gpu_memory_utilization: f64::NAN, ..base() }, "`gpu_memory_utilization` = NaN"),
        (Deployment { weights: WeightDtype::Mxfp4, ..base() }, "`weights` = mxfp4: quantises routed experts only"),
    ];
    for (deployment, expected) in cases {
        let error = plan(&deployment).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    // Huge values are settings like others.
    let huge = Deployment { block_size: u32::MAX, max_model_len: u32::MAX, tensor_parallel: 1, ..base() };
    assert!(matches!(plan(&huge), Err(MemoryError::Context { .. })));
    assert!(plan(&Deployment { tensor_parallel: u32::MAX, ..base() }).is_err());
}
