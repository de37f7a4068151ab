//! LLMServingSim 2's own simulated results, reproduced: the same layer times, the same composition, the same scheduler.
//!
//! Per request it comes to within 0.06 % in TTFT, 0.02 % in TPOT and 0.04 % in e2e (mean absolute), and the goal is 0.5 %. What is
//! deliberately different:
//!
//! * It rounds each kernel to nanoseconds, in places downwards; here a step is added up in picoseconds, with times rounded to four
//!   digits.
//! * Attention of decodes alone is made non-decreasing in the context, which moves a few measured points by up to some percent.
//! * It counts a request with exactly one scheduled token as a decode, even if that token is the last of its prompt.
//! * Its alphas for mixed steps are looked up by the exact number of chunk tokens, so that all but a few steps get its default;
//!   here all of them do.
//! * Its KV cache, 36,578 blocks, is never full in this run, so that how blocks are freed and evicted plays no part.

use tokentide_calibrate::{LayerSelection, import_vllm_layers};
use tokentide_models::architecture::Architecture;
use tokentide_models::cost::Layers;
use tokentide_models::deployment::Deployment;
use tokentide_models::gpu::Gpu;
use tokentide_sim::engine::Layout;
use tokentide_sim::scenario::EngineConfig;
use tokentide_sim::workload::Listed;
use tokentide_tests::engine::{Engine, Fast, Reference};
use tokentide_tests::real_run::{FIGURES, Latency, per_request, requests, rows};
use tokentide_tests::recorder::Recorder;
use tokentide_tests::shared::shared;
use tokentide_tests::small;

/// Its KV blocks.
const BLOCKS: u32 = 36_578;

/// Its own settings of the run: synchronous, no CUDA graphs.
fn settings() -> (Deployment, EngineConfig) {
    let deployment = Deployment {
        max_num_batched_tokens: 2048,
        max_num_seqs: 128,
        cuda_graphs: false,
        num_gpu_blocks: Some(BLOCKS),
        ..Deployment::plain(Architecture::find("llama-3.1-8b").unwrap(), Gpu::find("rtx-pro-6000").unwrap(), 1)
    };
    let engine = EngineConfig {
        max_num_seqs: 128,
        max_num_batched_tokens: 2048,
        max_model_len: 131_072,
        block_size: 16,
        enable_prefix_caching: true,
        reserve_full_isl: true,
        free_unhashed_first: false,
        ..small::engine()
    };
    (deployment, engine)
}

fn reproduces(engine: &impl Engine) {
    let Some(shared) = shared() else { return };
    let runs = shared.join("data/real_runs");
    let file = |kind: &str| rows(&runs.join(format!("rtxpro6000_llama-3.1-8b_tp1_bf16.{kind}")));
    let (deployment, config) = settings();
    let selection = LayerSelection {
        gpu: "rtx-pro-6000",
        model: "llama-3.1-8b",
        dtype: "bf16",
        tensor_parallel: 1,
        collectives: None,
        as_llmservingsim: true,
    };
    let import = import_vllm_layers(&shared.join("data/profiles/vllm-layers"), &selection, "2026-01-01").unwrap();
    let layers = Layers::new(&import.profile, &deployment).unwrap();
    let cluster = small::replica(&config, Layout::ONE, BLOCKS - 1, &layers);
    let mut recorder = Recorder::outcomes();
    let list = requests(&file("requests.csv"), &file("blocks16.csv.gz"), "arrival_dataset_s");
    engine.run(&cluster, &mut Listed::new(list), &mut recorder);
    let outcomes = recorder.sorted().outcomes;
    let theirs = file("llmservingsim.csv");
    assert_eq!(outcomes.len(), theirs.len());
    let pairs: Vec<_> =
        outcomes.iter().zip(&theirs).map(|(mine, row)| (Latency::simulated(mine), Latency::measured(row))).collect();
    for (name, figure) in FIGURES {
        let error = per_request(&pairs, figure);
        println!("{name}: mean absolute error per request {error:.3} %");
        assert!(error < 0.2, "{name}: {error:.3} %");
    }
}

#[test]
fn fast_engine_reproduces_its_results() {
    reproduces(&Fast);
}

#[test]
fn reference_reproduces_its_results() {
    reproduces(&Reference);
}
