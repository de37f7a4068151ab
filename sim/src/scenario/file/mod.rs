//! The scenario as typed: one file per section. Nothing is required and nothing is checked here but types and key names, so that
//! one reading can find every problem; what a section means is decided in `resolve`.
//!
//! Doc comments of these types are the descriptions of the JSON schema.

pub mod arrivals;
pub mod autoscaler;
pub mod buckets;
pub mod check;
pub mod class;
pub mod cluster;
pub mod cost;
pub mod distribution;
pub mod engine;
pub mod gpu;
pub mod host;
pub mod model;
pub mod output;
pub mod prompt;
pub mod session;
pub mod slo;
pub mod tokenizer;
pub mod trace;
mod union;
pub mod variable;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::at::At;
use super::duration::TimeSpan;

/// A scenario of tokentide: who sends what to which model on which GPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Name of the scenario; by default that of its file.
    pub name: Option<At<String>>,
    /// What it is for, in a sentence.
    pub description: Option<At<String>>,
    /// Seed of every random stream; 42 by default.
    pub seed: Option<At<u64>>,
    /// Requests arrive for this long, such as "10m"; the run goes on until all have ended. Ends together with `requests`
    /// at whichever is reached first.
    pub duration: Option<At<TimeSpan>>,
    /// At most this many requests arrive.
    pub requests: Option<At<u64>>,
    /// Requests that arrive before this time, such as "30s", are simulated but left out of every figure; "0s" by default.
    pub warmup: Option<At<TimeSpan>>,
    /// The model.
    #[schemars(required)]
    pub model: Option<At<model::ModelFile>>,
    /// The GPU and the layout of one replica on it.
    #[schemars(required)]
    pub gpu: Option<At<gpu::GpuFile>>,
    /// The engine's settings, by vLLM's own flag names.
    pub engine: Option<At<engine::EngineFile>>,
    /// Where the time of an engine step comes from.
    pub cost: Option<At<cost::CostFile>>,
    /// Host time added to steps and requests; what is not given comes from the cost profile.
    pub host: Option<At<host::HostFile>>,
    /// Replicas and router.
    pub cluster: Option<At<cluster::ClusterFile>>,
    /// Who decides how many replicas there are.
    pub autoscaler: Option<At<autoscaler::AutoscalerFile>>,
    /// Workload classes: who sends what, and what is promised to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class: Vec<At<class::ClassFile>>,
    /// How the tokens of prompt files are counted; 4 characters per token by default, an approximation.
    pub tokenizer: Option<At<tokenizer::TokenizerFile>>,
    /// A trace to replay instead of generated arrivals.
    pub trace: Option<At<trace::TraceFile>>,
    /// Token buckets of the report.
    pub buckets: Option<At<buckets::BucketsFile>>,
    /// Share of `max_model_len` from which a prompt counts as near the context limit; 0.9 by default.
    #[schemars(range(min = 0, max = 1))]
    pub near_context_limit: Option<At<f64>>,
    /// Budgets, for `tokentide check`; they change nothing of a run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<check::CheckFile>,
}
