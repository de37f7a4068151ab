//! Random flags of the engine, and random clusters.

use tokentide_sim::engine::Layout;
use tokentide_sim::scenario::{ClusterConfig, EngineConfig, Policy, Router, Scheduler};

use super::draw::Draw;

/// All routers.
pub const ROUTERS: [Router; 7] = [
    Router::RoundRobin,
    Router::Random,
    Router::PowerOfTwo,
    Router::LeastRequests,
    Router::LeastTokens,
    Router::PrefixAffinity,
    Router::SessionAffinity,
];

/// Flags, and the KV blocks of a replica. `heavy`: room for many requests at once.
pub fn engine(draw: &mut Draw, heavy: bool) -> (EngineConfig, u32) {
    let block_size = if draw.chance(50) { draw.pick(&[1, 2, 3, 4, 8, 16, 32]) } else { draw.between(1, 32) };
    let max_model_len = match draw.below(3) {
        _ if heavy => draw.between(100, 600),
        0 => draw.between(2, 24),
        1 => draw.between(24, 200),
        _ => draw.between(200, 1200),
    };
    let one_sequence = max_model_len.div_ceil(block_size);
    let kv_blocks = match draw.below(4) {
        _ if heavy => one_sequence * draw.between(4, 24),
        0 => one_sequence,
        1 => one_sequence + draw.between(0, 8),
        2 => one_sequence + draw.between(0, 2 * one_sequence),
        _ => one_sequence + (one_sequence * draw.between(4, 24)).min(3000),
    };
    let max_num_seqs = match draw.below(3) {
        _ if heavy => draw.between(24, 64),
        0 => draw.between(1, 8),
        1 => draw.between(1, 64),
        _ => draw.between(24, 64),
    };
    let mut budget = max_num_seqs
        + match draw.below(4) {
            0 => 0,
            1 => draw.between(0, 8),
            2 => draw.between(0, 128),
            _ => draw.between(0, 2048),
        };
    let enable_chunked_prefill = draw.chance(85);
    if !enable_chunked_prefill {
        // vLLM refuses to start otherwise: a longer prompt could never run.
        budget = budget.max(max_model_len);
    }
    let engine = EngineConfig {
        max_num_seqs,
        max_num_batched_tokens: budget,
        max_model_len,
        block_size,
        enable_prefix_caching: draw.chance(65),
        enable_chunked_prefill,
        policy: if draw.chance(40) { Policy::Priority } else { Policy::Fcfs },
        async_scheduling: draw.chance(50),
        long_prefill_token_threshold: if draw.chance(35) { draw.between(1, 64) } else { 0 },
        lone_prefill_uncapped: draw.chance(50),
        reserve_full_isl: draw.chance(55),
        watermark: if draw.chance(25) { draw.between(0, 40) as f64 / 100.0 } else { 0.0 },
        free_unhashed_first: draw.chance(60),
        max_num_queued_reqs: draw.chance(25).then(|| draw.between(0, 20)),
        scheduler: Scheduler::Vllm,
    };
    (engine, kv_blocks)
}

/// Replicas and a router.
pub fn cluster(draw: &mut Draw, heavy: bool) -> ClusterConfig {
    let replicas = if heavy || draw.chance(30) { 1 } else { draw.between(2, 6) };
    ClusterConfig::fixed(replicas, draw.pick(&ROUTERS))
}

/// Data-parallel ranks and pipeline stages; the latter go with neither ranks in lockstep nor asynchronous scheduling.
pub fn layout(draw: &mut Draw, engine: &mut EngineConfig) -> Layout {
    let ranks = if draw.chance(70) { 1 } else { draw.between(2, 4) };
    let lockstep = ranks > 1 && draw.chance(65);
    let stages = if lockstep || draw.chance(70) { 1 } else { draw.between(2, 4) };
    engine.async_scheduling &= stages == 1;
    Layout { ranks, lockstep, stages }
}
