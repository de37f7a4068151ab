//! What the scaling loop sees of a workload.

use tokentide_models::units::Time;

/// What is scaled.
pub trait Workload {
    /// All pods that exist, in order of their creation.
    fn pods(&self) -> Vec<Pod>;

    /// Metrics of a running pod at `now`, which does not go back from call to call.
    fn pod_metrics(&mut self, pod: u32, now: Time) -> PodMetrics;

    /// Metrics of the gateway in front of them at `now`.
    fn gateway_metrics(&mut self, now: Time) -> GatewayMetrics;
}

/// A pod as Kubernetes sees it. A replica is one pod, however many GPUs it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Number, unique over the whole run.
    pub id: u32,
    /// When it was created.
    pub created: Time,
    /// When its container started to run; `None` while the node, the image or the volume is awaited (phase `Pending`).
    pub running: Option<Time>,
    /// When it became ready; `None` if it has not.
    pub ready: Option<Time>,
    /// Whether it is being deleted: it drains.
    pub terminating: bool,
}

/// What vLLM's `/metrics` says of one pod: counters since its start, and levels. Times in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodMetrics {
    /// Requests running.
    pub running: u32,
    /// Requests waiting.
    pub waiting: u32,
    /// Share of the KV blocks in use, 0 to 1.
    pub kv_use: f64,
    /// Prompt tokens of waiting requests that are still to be computed, those of partly computed prompts included; not vLLM's own.
    pub waiting_tokens: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Prompt tokens of requests that got their first token.
    pub prompt_tokens: u64,
    /// Tokens given.
    pub generation_tokens: u64,
    /// Prompt tokens looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Of those, found.
    pub prefix_hits: u64,
    /// Requests ended by the model (`stop`).
    pub finished_stop: u64,
    /// Requests ended by a length limit (`length`).
    pub finished_length: u64,
    /// Requests whose client went away (`abort`).
    pub finished_abort: u64,
    /// Arrival to first token [s].
    pub ttft: Histogram,
    /// Mean gap of a finished request [s].
    pub tpot: Histogram,
    /// Arrival to last token of finished requests [s].
    pub e2e: Histogram,
    /// Arrival to first scheduling [s].
    pub queue: Histogram,
    /// Prompt lengths of finished requests [tokens].
    pub prompt_lengths: Histogram,
    /// Answer lengths of finished requests [tokens].
    pub generation_lengths: Histogram,
    /// CPU time used by the container [s].
    pub cpu_s: f64,
}

impl PodMetrics {
    /// Those of a pod that has done nothing.
    pub fn new() -> PodMetrics {
        let (ttft, tpot) = (Histogram::new(&TTFT_S), Histogram::new(&TPOT_S));
        let request = || Histogram::new(&REQUEST_S);
        let lengths = || Histogram::new(&LENGTHS);
        PodMetrics {
            ttft,
            tpot,
            e2e: request(),
            queue: request(),
            prompt_lengths: lengths(),
            generation_lengths: lengths(),
            ..PodMetrics::default()
        }
    }
}

/// Bounds of vLLM's `time_to_first_token_seconds` [s].
pub const TTFT_S: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0,
    2560.0,
];
/// Bounds of vLLM's `inter_token_latency_seconds` and `request_time_per_output_token_seconds` [s].
pub const TPOT_S: [f64; 19] =
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
/// Bounds of vLLM's `e2e_request_latency_seconds` and of its times of a request's phases [s].
pub const REQUEST_S: [f64; 21] =
    [0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0];
/// Bounds of vLLM's lengths of prompts and answers, which end at the model's context there [tokens].
const LENGTHS: [f64; 19] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6];

/// What a gateway with an endpoint picker says of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GatewayMetrics {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests held because no pod is ready.
    pub queued: u32,
    /// Requests sent to a pod and not ended.
    pub in_flight: u32,
    /// Prompt tokens of those that are neither cached nor computed yet, those of held requests included.
    pub in_flight_tokens: u64,
    /// Requests that met all targets of their class, of those that ended.
    pub within_slo: u64,
    /// Requests of classes with targets that ended.
    pub judged: u64,
}

/// Counts by upper bound, as Prometheus has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds, ascending, without +Inf; empty: nothing was observed.
    pub bounds: &'static [f64],
    /// Observations in each bucket (not cumulative), the one above all bounds last.
    pub counts: Vec<u64>,
    /// Sum of the observations.
    pub sum: f64,
}

impl Histogram {
    /// An empty one of these bounds.
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// One more.
    pub fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }
}
