//! The result of a run: what `--format json` prints, field by field. Times in milliseconds unless named otherwise.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tokentide_models::cost::CostInfo;

use crate::metrics::Histogram;

/// Result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this format.
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Over all requests.
    pub summary: Summary,
    /// Per class, in the scenario's order.
    pub classes: Vec<Group>,
    /// Per input-token bucket, ascending.
    pub buckets: Vec<Group>,
    /// Per output-token bucket, ascending.
    pub output_buckets: Vec<Group>,
    /// Per replica.
    pub replicas: Vec<ReplicaSummary>,
    /// Over time.
    pub timeline: Timeline,
    /// What became of the replicas; only where they change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
    /// Where the times come from.
    pub model: ModelInfo,
    /// Half-widths of 95 % confidence intervals (Student t over replications), by path such as `summary.ttft_ms.p95`; only with
    /// several replications, whose means the figures then are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<BTreeMap<String, f64>>,
    /// What makes two results comparable.
    pub fingerprint: Fingerprint,
    /// Assumptions, approximations and warnings that the reader must know.
    pub notes: Vec<String>,
    /// How latencies are distributed, in the first of several replications. For charts: not printed.
    #[serde(skip)]
    pub distributions: Vec<Distribution>,
}

/// About so many points of a distribution are drawn, and as many of its tail.
const CURVE_POINTS: u32 = 100;

impl Report {
    /// As JSON, with `distributions` beside what is printed: for charts. Points are pairs of a latency [ms] and the share of
    /// requests up to it.
    ///
    /// # Errors
    /// Never in practice: every field has its JSON.
    pub fn to_be_drawn(&self) -> serde_json::Result<serde_json::Value> {
        let points = |of: &Distribution| {
            let points: Vec<[f64; 2]> =
                of.histogram.curve(CURVE_POINTS).into_iter().map(|(ps, share)| [ps * 1e-9, share]).collect();
            serde_json::json!({ "kind": of.kind, "group": of.group, "figure": of.figure, "points": points })
        };
        let mut report = serde_json::to_value(self)?;
        report["distributions"] = self.distributions.iter().map(points).collect();
        Ok(report)
    }
}

/// How a latency is distributed over the requests of a group.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// What the group is: `all`, `class` or `input tokens`.
    pub kind: &'static str,
    /// Its name.
    pub group: String,
    /// Such as `ttft_ms`.
    pub figure: &'static str,
    /// Times [ps].
    pub histogram: Histogram,
}

/// Quantiles of one metric. All `None` where nothing was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Observations.
    pub count: u64,
    /// Arithmetic mean (exact).
    pub mean: Option<f64>,
    /// Median; as all quantiles, to a relative error of at most 0.8 %.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Largest (exact).
    pub max: Option<f64>,
}

/// Figures over all requests.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Arrival to first token [ms].
    pub ttft_ms: Quantiles,
    /// Per request (e2e - ttft) / (output - 1); requests of one token are left out [ms].
    pub tpot_ms: Quantiles,
    /// Single gaps between consecutive tokens [ms].
    pub itl_ms: Quantiles,
    /// Arrival to last token [ms].
    pub e2e_ms: Quantiles,
    /// Arrival to first scheduling [ms].
    pub queue_ms: Quantiles,
    /// By finish reason, and their total.
    pub requests: RequestCounts,
    /// Prompt lengths [tokens].
    pub input_length: Quantiles,
    /// Answer lengths of completed requests [tokens].
    pub output_length: Quantiles,
    /// Sum over all requests that arrived [tokens].
    pub input_tokens: u64,
    /// Given to clients [tokens].
    pub output_tokens: u64,
    /// Of the input tokens of requests that ran, found in the prefix cache [tokens].
    pub cached_tokens: u64,
    /// Input tokens by source; empty where unknown.
    pub input_tokens_by_source: BTreeMap<String, u64>,
    /// First arrival counted to the last end [s].
    pub duration_s: f64,
    /// Output tokens over the duration.
    pub output_tokens_per_s: f64,
    /// Input tokens over the duration.
    pub input_tokens_per_s: f64,
    /// Completed requests over the duration.
    pub requests_per_s: f64,
    /// Engine steps, all replicas and ranks; dummy steps of idle ranks are not counted.
    pub iterations: u64,
    /// Recompute preemptions, all replicas.
    pub preemptions: u64,
    /// KV blocks of one replica, of all its data-parallel ranks together.
    pub kv_blocks: u32,
    /// Highest share of the KV blocks in use on any replica, or rank of one, 0 to 1.
    pub kv_use_peak: f64,
    /// Mean share of the KV blocks in use over time and replicas, 0 to 1.
    pub kv_use_mean: f64,
    /// Most requests waiting at once on any one replica, or rank of one.
    pub waiting_requests_peak: u64,
    /// Most tokens waiting to be prefilled at once on any one replica, or rank of one.
    pub waiting_tokens_peak: u64,
    /// Share of time in which an engine step runs, over all replicas, 0 to 1.
    pub utilisation: f64,
    /// Load against what the replicas can carry at most.
    pub capacity: Capacity,
    /// Service levels; over all classes that have targets.
    pub slo: SloSummary,
    /// Share of prompts near the context limit, 0 to 1.
    pub near_context_limit: f64,
    /// Share of completed requests that ended at `max_tokens`, 0 to 1.
    pub output_cap_hit: f64,
    /// Money.
    pub cost: Cost,
}

/// How requests ended.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RequestCounts {
    /// All that arrived.
    pub total: u64,
    /// Those that got their whole answer.
    pub completed: u64,
    /// By finish reason, each one present.
    pub by_finish: BTreeMap<String, u64>,
}

/// How close to the knee.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Capacity {
    /// Offered load [requests/s], all replicas; of a closed loop, what is served.
    pub offered_requests_per_s: f64,
    /// Analytic bound on the rate that this mix of lengths can be served at: the best steady batch within KV memory and limits
    /// [requests/s].
    pub knee_requests_per_s: f64,
    /// The same in output tokens [tokens/s].
    pub knee_output_tokens_per_s: f64,
    /// Offered over knee.
    pub load: f64,
    /// 1 - load; negative when overloaded.
    pub headroom: f64,
    /// Prompt tokens/s one replica prefills with nothing else to do (V_P).
    pub prefill_tokens_per_s: f64,
    /// `stable`, `near the knee`, `overloaded`, `saturated by design` (clients of a closed loop use all there is) or `idle`.
    pub state: String,
}

/// Service levels.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SloSummary {
    /// Requests of classes with targets.
    pub requests: u64,
    /// Of those, completed within every limit.
    pub good: u64,
    /// good / requests; `None` without targets.
    pub attainment: Option<f64>,
    /// Good requests over the duration [1/s].
    pub goodput_requests_per_s: Option<f64>,
    /// Whether every target of every class is met; `None` without targets.
    pub met: Option<bool>,
    /// Each target.
    pub targets: Vec<SloResult>,
}

/// One target of one class.
#[derive(Clone, Debug, Serialize)]
pub struct SloResult {
    /// Class.
    pub class: String,
    /// Such as `ttft_p95`.
    pub target: String,
    /// Share of requests that must be within the limit, 0 to 1.
    pub quantile: f64,
    /// Limit [ms].
    pub limit_ms: f64,
    /// Observed at that percentile; requests that never got a token count as infinite: `None` if the percentile lies there [ms].
    pub value_ms: Option<f64>,
    /// Share of the class's requests within the limit, 0 to 1.
    pub attainment: f64,
    /// Whether the share reaches the percentile.
    pub met: bool,
}

/// Money.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cost {
    /// GPUs of all replicas; where these change, of as many as there were at most.
    pub gpus: u32,
    /// Price of one GPU [USD/h], and where it comes from.
    pub usd_per_gpu_hour: f64,
    /// See `usd_per_gpu_hour`.
    pub price_source: String,
    /// All GPUs [USD/h]; where replicas change, the mean over the run.
    pub usd_per_hour: f64,
    /// Per million output tokens at this load; `None` if there were none.
    pub usd_per_million_output_tokens: Option<f64>,
    /// Per million tokens, input and output.
    pub usd_per_million_tokens: Option<f64>,
    /// Per thousand completed requests.
    pub usd_per_thousand_requests: Option<f64>,
}

/// Figures of a class or bucket.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Group {
    /// Class name, or bucket such as `513-2048`.
    pub name: String,
    /// Requests that arrived.
    pub requests: u64,
    /// Of those, completed.
    pub completed: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: u64,
    /// By source; empty where unknown.
    pub input_tokens_by_source: BTreeMap<String, u64>,
    /// Prompt lengths.
    pub input_length: Quantiles,
    /// Answer lengths.
    pub output_length: Quantiles,
    /// See [`Summary`].
    pub ttft_ms: Quantiles,
    /// See [`Summary`].
    pub tpot_ms: Quantiles,
    /// Only for classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_ms: Option<Quantiles>,
    /// See [`Summary`].
    pub e2e_ms: Quantiles,
    /// See [`Summary`].
    pub queue_ms: Quantiles,
}

/// Figures of a replica.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReplicaSummary {
    /// Requests routed to it.
    pub requests: u64,
    /// Steps.
    pub iterations: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Busy share, 0 to 1.
    pub utilisation: f64,
    /// Peak KV use, 0 to 1.
    pub kv_use_peak: f64,
    /// Offered work over the knee.
    pub load: f64,
}

/// Over time: equal bins, one entry each; levels are means over the bin.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// Width of a bin [s].
    pub bin_s: f64,
    /// Requests that arrived.
    pub arrivals: Vec<u64>,
    /// Prompt tokens that arrived.
    pub input_tokens: Vec<u64>,
    /// Of those, found in the prefix cache when their request was first scheduled.
    pub cached_tokens: Vec<u64>,
    /// Tokens given.
    pub output_tokens: Vec<u64>,
    /// Requests running, all replicas.
    pub running: Vec<f64>,
    /// Requests waiting, all replicas.
    pub waiting_requests: Vec<f64>,
    /// Prompt tokens waiting, all replicas.
    pub waiting_tokens: Vec<f64>,
    /// Share of KV blocks in use, mean over replicas, 0 to 1.
    pub kv_use: Vec<f64>,
    /// Highest share on any replica, 0 to 1.
    pub kv_use_max: Vec<f64>,
    /// Requests that arrived of classes with targets.
    pub slo_requests: Vec<u64>,
    /// Of those, completed within every limit.
    pub slo_good: Vec<u64>,
}

/// Replicas that come and go.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fleet {
    /// Who decides how many there are; `None`: nobody.
    pub autoscaler: Option<String>,
    /// Fewest ready at once.
    pub ready_min: u64,
    /// Most ready at once.
    pub ready_max: u64,
    /// Mean number ready.
    pub ready_mean: f64,
    /// Time of all GPUs that were paid for: those of a node from its making until it is given back [h].
    pub gpu_hours: f64,
    /// What they cost [USD].
    pub usd: f64,
    /// Times that the wanted number was raised.
    pub scale_ups: u64,
    /// Times that it was lowered.
    pub scale_downs: u64,
    /// Of both, those that took back the change before them within 10 minutes.
    pub flaps: u64,
    /// From the creation of a replica until it was ready, mean [s]; `None` if none became it.
    pub start_mean_s: Option<f64>,
    /// The longest [s].
    pub start_max_s: Option<f64>,
    /// Requests whose replica failed under them.
    pub interrupted_by_failure: u64,
    /// Requests of a replica that was scaled down and not done by the end of its grace.
    pub interrupted_by_scaling: u64,
    /// Of both, those that their clients sent again.
    pub retried: u64,
    /// Requests that found no replica ready.
    pub unrouted: u64,
    /// Time in which fewer requests met all their limits than the lowest of the targets' percentiles asks for, in bins of the
    /// timeline [s]; `None` without targets.
    pub slo_missed_s: Option<f64>,
    /// Mean number wanted, in bins of the timeline.
    pub wanted: Vec<f64>,
    /// Ready.
    pub ready: Vec<f64>,
    /// Created and not ready.
    pub starting: Vec<f64>,
    /// Getting no requests any more, and not gone.
    pub draining: Vec<f64>,
    /// Each change of the wanted number.
    pub scalings: Vec<Scaling>,
}

/// A change of the wanted number of replicas.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scaling {
    /// When [s].
    pub at_s: f64,
    /// From how many.
    pub from: u32,
    /// To how many.
    pub to: u32,
    /// The metric that decided, with its value, and what limited the change.
    pub why: String,
}

/// What was simulated.
#[derive(Clone, Debug, Serialize)]
pub struct ModelInfo {
    /// Model.
    pub name: String,
    /// GPU.
    pub gpu: String,
    /// GPUs per replica and layout, such as `tp4`.
    pub layout: String,
    /// Replicas; where these change, at the start.
    pub replicas: u32,
    /// Router.
    pub router: String,
    /// Where the iteration times come from: `calibrated` or not, profile, error, ranges, host terms.
    #[serde(flatten)]
    pub cost: CostInfo,
    /// What left the profile's measured ranges, if anything did.
    pub out_of_range: Vec<String>,
}

/// What makes two results comparable.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Fingerprint {
    /// Version of the program.
    pub version: String,
    /// Hash of the resolved scenario.
    pub scenario: String,
    /// Hash of the profile or of the cost model's inputs.
    pub profile: String,
    /// Hash of the trace's content, if one was replayed.
    pub trace: Option<String>,
    /// Identity of the tokenizer, if prompt files were counted: `tokenizer.json:` and the hash of its content, the name of an
    /// encoding, or so many `characters per token`.
    pub tokenizer: Option<String>,
    /// Seeds.
    pub seeds: Vec<u64>,
}
