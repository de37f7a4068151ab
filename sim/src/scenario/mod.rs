//! What to simulate. [`Scenario`] is the resolved form: every default filled in, every number checked.
//!
//! `scenario.toml` -> file form (as typed) -> [`Scenario`] (as meant).

pub mod at;
pub mod duration;
mod dynamics;
pub mod error;
pub mod file;
mod load;
mod overrides;
mod prompt;
mod read;
mod resolve;
mod scheduler;
mod schema;
mod serves;
mod slo;
#[cfg(test)]
mod tests;
pub mod transform;

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokentide_models::cost::{CostInfo, CostModel};
use tokentide_models::deployment::Deployment;
use tokentide_models::units::{Duration, Time};

use crate::cluster::{Cluster, Ingress};
use crate::engine::Layout;

pub use dynamics::{Dynamics, Failing, Failure, Interrupted, Phase, Scheduled, When};
pub use error::{ScenarioError, ScenarioErrors, did_you_mean};
pub use load::{Loaded, load, load_with, parse, read_toml};
pub use prompt::{Assumed, PromptPart};
pub use scheduler::{Batchwise, Scheduler, SchedulerName};
pub use schema::{schema, schema_of};
pub use serves::Serves;
pub use slo::tightest;
use tokentide_traces::ReadOptions;
pub use tokentide_traces::{Source, TraceFormat};

/// A resolved scenario: all that a run depends on, besides nothing.
#[derive(Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Identity of what was typed, overrides included and the seed left out: FNV-1a of 64 bits, 16 hex digits.
    pub hash: String,
    /// Seed of every random stream.
    pub seed: u64,
    /// When arrivals stop. The run goes on until all that arrived has ended.
    pub horizon: Horizon,
    /// Arrivals before this time warm the system up: they are simulated but left out of every figure.
    pub warmup: Time,
    /// Model, GPU and layout of one replica.
    pub deployment: Deployment,
    /// Version of the model, a label of the request records.
    pub model_version: Option<String>,
    /// KV blocks an engine core of a replica can use (`num_gpu_blocks - 1`: block 0 is the null block).
    pub kv_blocks: u32,
    /// Duration of iterations, host time included.
    pub cost: Arc<dyn CostModel>,
    /// Where those come from.
    pub cost_info: CostInfo,
    /// The engine's settings, the same on every replica.
    pub engine: EngineConfig,
    /// Replicas and router.
    pub cluster: ClusterConfig,
    /// Workload classes. With a trace they give labels and SLOs to its rows.
    pub classes: Vec<Class>,
    /// Which of their requests this cluster serves.
    pub serves: Serves,
    /// A trace to replay instead of generated arrivals.
    pub trace: Option<TraceConfig>,
    /// Upper bounds of the input-token buckets, ascending [tokens].
    pub input_buckets: Vec<u32>,
    /// Upper bounds of the output-token buckets, ascending [tokens].
    pub output_buckets: Vec<u32>,
    /// Share of `max_model_len` from which a prompt counts as near the context limit.
    pub near_context_limit: f64,
    /// Identity of the tokenizer that counted the prompt files, if there are any.
    pub tokenizer: Option<String>,
    /// What the resolution has to tell the user: assumptions made, values clamped, approximations.
    pub notes: Vec<String>,
}

impl Scenario {
    /// GPU and layout of one replica, such as `h100-sxm tp4`.
    pub fn deployment_name(&self) -> String {
        format!("{} {}", self.deployment.gpu.name, self.deployment.layout())
    }

    /// Host time from a request's arrival until the engine can see it.
    pub fn ingress(&self) -> Ingress {
        let host = &self.cost_info.host;
        Ingress {
            request: Duration::from_micros_f64(host.request_us),
            prompt_token: Duration::from_micros_f64(host.prompt_token_us),
        }
    }

    /// Host time from a step's end until the client has its tokens.
    pub fn egress(&self) -> Duration {
        Duration::from_micros_f64(self.cost_info.host.token_us)
    }

    /// The cluster to run, with `seed` in place of the scenario's own (replications differ in it only).
    pub fn cluster(&self, seed: u64) -> Cluster<'_> {
        Cluster {
            config: &self.cluster,
            engine: &self.engine,
            kv_blocks: self.kv_blocks,
            cost: self.cost.as_ref(),
            ingress: self.ingress(),
            egress: self.egress(),
            layout: Layout {
                ranks: self.deployment.data_parallel,
                lockstep: self.deployment.lockstep(),
                stages: self.deployment.pipeline_parallel,
            },
            seed,
        }
    }
}

/// When arrivals stop: at whichever limit is reached first; at least one is given, or a trace or finite sessions end them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Horizon {
    /// No arrival at or after this time.
    pub duration: Option<Time>,
    /// At most this many requests.
    pub requests: Option<u64>,
}

/// vLLM's scheduler and cache settings, under its own names.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// Most sequences running at once.
    pub max_num_seqs: u32,
    /// Token budget of a step.
    pub max_num_batched_tokens: u32,
    /// Longest sequence, prompt and output [tokens].
    pub max_model_len: u32,
    /// Tokens per KV block.
    pub block_size: u32,
    /// Reuse blocks of equal prefixes.
    pub enable_prefix_caching: bool,
    /// Split prompts over steps.
    pub enable_chunked_prefill: bool,
    /// Order of the waiting queue, and who is preempted.
    pub policy: Policy,
    /// Schedule step n+1 while step n runs: effects come one step later.
    pub async_scheduling: bool,
    /// Cap on the tokens of one request's chunk; 0 is off.
    pub long_prefill_token_threshold: u32,
    /// The cap is ignored while only one request is alive (since about 0.30).
    pub lone_prefill_uncapped: bool,
    /// Admit a request only if blocks for all its tokens are free (`scheduler_reserve_full_isl`).
    pub reserve_full_isl: bool,
    /// Share of the blocks kept free when admitting while something runs.
    pub watermark: f64,
    /// Freed blocks without a hash go to the head of the free list (since 0.26), not to its tail.
    pub free_unhashed_first: bool,
    /// Requests that may wait on one replica; beyond it they are rejected.
    pub max_num_queued_reqs: Option<u32>,
    /// Which scheduler; the fields from `policy` to `free_unhashed_first` are vLLM v1's alone, but for `watermark`.
    pub scheduler: Scheduler,
}

/// Order of the waiting queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// First come, first served.
    Fcfs,
    /// Lowest (priority, arrival, id) first; the highest is preempted.
    Priority,
}

/// Replicas behind a router.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterConfig {
    /// How many replicas; of those that change, at the start.
    pub replicas: u32,
    /// Who gets a request.
    pub router: Router,
    /// What changes them; `None`: nothing.
    pub dynamics: Option<Box<Dynamics>>,
}

impl ClusterConfig {
    /// Replicas that are there from the start to the end.
    pub const fn fixed(replicas: u32, router: Router) -> ClusterConfig {
        ClusterConfig { replicas, router, dynamics: None }
    }
}

/// Who gets a request. Ties go to the lowest replica index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Router {
    /// In turn.
    RoundRobin,
    /// Uniformly at random.
    Random,
    /// Of two distinct random replicas, the one with fewer requests (the first drawn on a tie).
    PowerOfTwo,
    /// Fewest requests, waiting and running.
    LeastRequests,
    /// Fewest tokens, waiting and running.
    LeastTokens,
    /// Hash of the shared prefix, with bounded load; least requests where there is no shared prefix.
    PrefixAffinity,
    /// Hash of the session; least requests where there is no session.
    SessionAffinity,
}

/// One kind of traffic.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its name, unique.
    pub name: String,
    /// Tenant label.
    pub tenant: Option<String>,
    /// Route or feature label.
    pub route: Option<String>,
    /// Priority: lower is served first under the priority policy.
    pub priority: i32,
    /// When requests come; with sessions, when sessions start. `None` only with a trace.
    pub arrivals: Option<Arrivals>,
    /// What the prompt is made of, in prompt order.
    pub prompt: Vec<PromptPart>,
    /// What the model answers.
    pub output: Output,
    /// Rank correlation of input and output lengths (Gaussian copula), -1 to 1.
    pub correlation: f64,
    /// Multi-turn conversations.
    pub session: Option<Session>,
    /// The client gives up this long after sending.
    pub timeout: Option<Duration>,
    /// Targets.
    pub slo: Slo,
}

/// When requests come.
#[derive(Clone, Debug)]
pub enum Arrivals {
    /// Open loop: a renewal process in operational time, mapped through the rate curve.
    Open {
        /// Gaps at unit mean.
        gaps: Gaps,
        /// Rate over time.
        rate: Rate,
    },
    /// Closed loop: each of `concurrency` clients sends its next request `think` after the last one ended.
    Closed {
        /// Clients.
        concurrency: u32,
        /// Time between an answer and the client's next request [s].
        think: Distribution,
    },
}

/// Gaps of a renewal process, at unit mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gaps {
    /// All equal.
    Constant,
    /// Exponential.
    Poisson,
    /// Gamma of this coefficient of variation.
    Gamma {
        /// Standard deviation over mean.
        cv: f64,
    },
    /// Weibull of this coefficient of variation.
    Weibull {
        /// Standard deviation over mean.
        cv: f64,
    },
}

/// Request rate over time.
#[derive(Clone, Debug, PartialEq)]
pub enum Rate {
    /// The same all the time [1/s].
    Constant(f64),
    /// Linear between (time, rate) points, constant after the last; repeats after `period` if given.
    Piecewise {
        /// Ascending in time, the first at zero [1/s].
        points: Vec<(Time, f64)>,
        /// The curve repeats.
        period: Option<Time>,
    },
    /// `base * (1 + amplitude * sin(2 pi (t / period + phase)))` [1/s].
    Diurnal {
        /// Mean rate [1/s].
        base: f64,
        /// 0 to 1.
        amplitude: f64,
        /// Period.
        period: Time,
        /// Of a period, 0 to 1.
        phase: f64,
    },
    /// `base`, raised to `peak` for `length` every `every` (the first burst starts at `every`).
    Bursts {
        /// Rate between bursts [1/s].
        base: f64,
        /// Rate within a burst [1/s].
        peak: f64,
        /// From burst start to burst start.
        every: Time,
        /// Length of a burst.
        length: Time,
    },
}

/// A distribution of a non-negative quantity: tokens, or seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always this.
    Fixed(f64),
    /// Uniform, both ends included for tokens.
    Uniform {
        /// Lowest.
        min: f64,
        /// Highest.
        max: f64,
    },
    /// Log-normal by median and 95th percentile: mu = ln median, sigma = ln(p95/median) / 1.6449.
    LogNormal {
        /// 50th percentile.
        median: f64,
        /// 95th percentile, at least the median.
        p95: f64,
        /// Draws below are raised to this.
        min: f64,
        /// Draws above are lowered to this.
        max: f64,
    },
    /// Exponential of this mean.
    Exponential {
        /// Mean.
        mean: f64,
    },
    /// Inverse CDF, log-linear between (probability, value) points (linear where a value is 0); the first at 0, the last at 1.
    Quantiles(Vec<(f64, f64)>),
    /// Values with weights (normalised).
    Pmf(Vec<(f64, f64)>),
}

/// What the model answers.
#[derive(Clone, Debug)]
pub struct Output {
    /// Requested maximum (`max_tokens`); `None`: the client sets none.
    pub max_tokens: Option<u32>,
    /// Tokens the model would give without the maximum, at least 1.
    pub tokens: Distribution,
}

/// Multi-turn conversations: each turn's prompt is what the class composes, with the conversation so far as its history.
#[derive(Clone, Debug)]
pub struct Session {
    /// Turns of a session, at least 1.
    pub turns: Distribution,
    /// From an answer's end to the next turn's arrival [s].
    pub think: Distribution,
    /// What the user brings to the first turn, in place of all private parts of source [`Source::User`] [tokens]; `None`: as in
    /// all turns.
    pub first_user: Option<Distribution>,
    /// History beyond this is dropped, oldest first, which changes the prefix; `None`: up to the context limit.
    pub history_max: Option<u32>,
}

/// Targets of a class; each is met by a request whose figure is at most the limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slo {
    /// Which figure, at which percentile, at most what.
    pub targets: Vec<SloTarget>,
}

/// One target, such as `ttft_p95 = "800ms"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SloTarget {
    /// The figure.
    pub metric: SloMetric,
    /// Share of requests that must meet it, 0 to 1 (0.95 for p95).
    pub quantile: f64,
    /// The limit.
    pub limit: Duration,
}

/// A figure that a target can be set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SloMetric {
    /// Time to first token.
    Ttft,
    /// Time per output token.
    Tpot,
    /// End to end.
    E2e,
    /// Arrival to first scheduling.
    Queue,
}

/// A trace to replay.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// The file: CSV or JSONL, plain or gzip (Parquet is turned into rows by the `tables` crate before).
    pub path: PathBuf,
    /// Format, or detected from its content.
    pub format: TraceFormat,
    /// Column map `ours -> theirs` of a mapped CSV or JSONL, with an optional unit after a colon.
    pub columns: Vec<(String, String)>,
    /// Arrivals come this many times faster.
    pub rate_scale: f64,
    /// Only rows with `start <= arrival < end` [s after the first row]; re-based to the window's start.
    pub window: Option<(f64, f64)>,
    /// Spread ticks of this length uniformly: arrivals on a stamp get a random offset below it.
    pub jitter: Option<Duration>,
    /// Tokens per prefix hash, where the file does not say it.
    pub block_tokens: Option<u32>,
    /// Count and leave out unusable rows instead of refusing the file.
    pub skip_bad_rows: bool,
}

impl TraceConfig {
    /// How its file is read.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            format: self.format,
            columns: self.columns.clone(),
            block_tokens: self.block_tokens,
            hashed: true,
            ..ReadOptions::default()
        }
    }
}
