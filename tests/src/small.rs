//! Requests and engines small enough for examples that are worked out by hand.

use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::{Cluster, Ingress};
use tokentide_sim::engine::{EngineTotals, Layout};
use tokentide_sim::scenario::{ClusterConfig, EngineConfig, Policy, Router, Scheduler};
use tokentide_sim::workload::{Listed, Prefix, Request};

use crate::engine::{Engine, Fast, Reference};
use crate::recorder::{Recorder, Step};

/// A step takes 10 ps, whatever is in it.
pub struct Ten;

impl CostModel for Ten {
    fn iteration(&self, _: &BatchShape) -> Duration {
        Duration(10)
    }

    fn decode_piece(&self, _: &BatchShape) -> DecodePiece {
        DecodePiece { first: Duration(10), growth_ps: 0, steps: u64::MAX }
    }
}

/// A request that comes at the start, shares no prefix, and gives all of its `output_tokens` [tokens].
pub fn request(id: u64, input_tokens: u32, output_tokens: u32) -> Request {
    Request {
        id,
        arrival: Time::ZERO,
        class: 0,
        tenant: u16::MAX,
        route: u16::MAX,
        priority: 0,
        input_tokens,
        output_tokens,
        max_tokens: output_tokens,
        deadline: Time::NEVER,
        session: None,
        prefix: Prefix::None,
        // Apart from the small numbers that tests take as contents of prefixes.
        private: 1000 + id,
        private_reused: false,
        sources: [0; 8],
    }
}

/// vLLM v1, synchronous: 8 sequences and 16 tokens a step, 12 tokens of context, blocks of 2 that are not cached, admission by the
/// next chunk.
pub fn engine() -> EngineConfig {
    EngineConfig {
        scheduler: Scheduler::Vllm,
        max_num_seqs: 8,
        max_num_batched_tokens: 16,
        max_model_len: 12,
        block_size: 2,
        enable_prefix_caching: false,
        enable_chunked_prefill: true,
        policy: Policy::Fcfs,
        async_scheduling: false,
        long_prefill_token_threshold: 0,
        lone_prefill_uncapped: false,
        reserve_full_isl: false,
        watermark: 0.0,
        free_unhashed_first: true,
        max_num_queued_reqs: None,
    }
}

/// One replica without host time: its requests are visible at once, and so are their tokens.
pub fn replica<'a>(engine: &'a EngineConfig, layout: Layout, kv_blocks: u32, cost: &'a dyn CostModel) -> Cluster<'a> {
    static CONFIG: ClusterConfig = ClusterConfig::fixed(1, Router::RoundRobin);
    Cluster { config: &CONFIG, engine, layout, kv_blocks, cost, ingress: Ingress::default(), egress: Duration::ZERO, seed: 0 }
}

/// Totals per engine core, steps and outcomes of `requests` on both engines, which must agree in all of them and in the gaps.
pub fn on_both(cluster: &Cluster<'_>, requests: &[Request]) -> (Vec<EngineTotals>, Recorder) {
    let fast = recorded(&Fast, cluster, requests);
    let slow = recorded(&Reference, cluster, requests);
    assert_eq!((&fast.0, &fast.1.steps, fast.1.gaps()), (&slow.0, &slow.1.steps, slow.1.gaps()));
    fast
}

/// Totals per engine core, steps and outcomes of `requests` on one engine.
pub fn recorded(engine: &impl Engine, cluster: &Cluster<'_>, requests: &[Request]) -> (Vec<EngineTotals>, Recorder) {
    let mut recorder = Recorder::steps();
    let totals = engine.run(cluster, &mut Listed::new(requests.to_vec()), &mut recorder);
    (totals, recorder.sorted())
}

/// `scheduled-end batch` of a step, the batch as `id:computed:tokens`.
pub fn line(step: &Step) -> String {
    let batch: Vec<String> = step.batch.iter().map(|(id, computed, tokens)| format!("{id}:{computed}:{tokens}")).collect();
    format!("{}-{} {}", step.scheduled.0, step.end.0, batch.join(" "))
}
