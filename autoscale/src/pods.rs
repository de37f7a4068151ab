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
