//! What a validation says: what `--format json` prints, field by field. Times in milliseconds, errors in percent, signed:
//! (predicted / measured - 1) * 100.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measured::LeftOut;
use super::stats::{ErrorSummary, Stats};

/// Version of the report's format.
pub const SCHEMA_VERSION: u32 = 1;

/// A validation set, evaluated.
#[derive(Clone, Debug, Serialize)]
pub struct SetReport {
    /// Version of this format.
    pub schema_version: u32,
    /// Version of the program.
    pub version: String,
    /// Name of the set.
    pub name: String,
    /// In a line.
    pub title: String,
    /// Single benchmarks, request by request.
    pub runs: Vec<RunReport>,
    /// Benchmark points.
    pub points: Vec<PointsReport>,
    /// KV blocks.
    pub kv_blocks: Vec<KvReport>,
}

/// Where data come from and what they may be used to claim.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// In a line.
    pub title: String,
    /// What of our model was fitted to these data.
    #[serde(default)]
    pub fitted: String,
    /// What was not.
    #[serde(default)]
    pub held_out: String,
    /// Who measured, when, where it was published.
    #[serde(default)]
    pub provenance: String,
    /// Licence of the data.
    #[serde(default)]
    pub licence: String,
    /// What the reader must know about the data.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// What the errors are made of, as far as it is known.
    #[serde(default)]
    pub residuals: Vec<String>,
    /// What others reached on the same data.
    #[serde(default, rename = "peer")]
    pub peers: Vec<Peer>,
}

/// Published errors of another program on the same data.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Program and version.
    pub name: String,
    /// The group of points that the figures are of; all where it is absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Measurements behind the figures.
    #[serde(default)]
    pub count: Option<usize>,
    /// By name, such as `ttft_mape`, `ttft_signed` (median), `ttft_mean`, `ttft_p99` (signed errors of a run) [%].
    pub errors: BTreeMap<String, f64>,
    /// Where they are from.
    pub source: String,
}

/// Where a simulated server's times come from.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Such as `llama-3.1-70b fp8 on h100-sxm tp4`.
    pub name: String,
    /// Whether its times were fitted to measurements of this GPU and model.
    pub calibrated: bool,
    /// The cost profile, or `roofline`.
    pub profile: String,
    /// KV blocks of a replica.
    pub kv_blocks: u32,
}

/// One benchmark, request by request.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// Name of the entry.
    pub name: String,
    /// Where the data come from.
    pub about: About,
    /// Format of the file.
    pub format: String,
    /// What was simulated.
    pub server: Server,
    /// Requests measured.
    pub requests: usize,
    /// Errors by metric: `ttft`, `ttft_light`, `ttft_queued`, `tpot`, `itl`, `e2e`.
    pub metrics: Vec<MetricReport>,
    /// Output tokens over the time from the first submission to the last token [tokens/s], where end-to-end times were measured.
    pub throughput: Option<Pair>,
    /// First submission to last token [s].
    pub makespan_s: Option<Pair>,
    /// `stable`, `near the knee`, `overloaded`, ...: see `tokentide explain state`.
    pub state: String,
    /// 1 - load / load at the knee, of the simulation.
    pub headroom: f64,
    /// Requests that the simulation did not serve whole.
    pub unserved: usize,
    /// What left the profile's measured ranges.
    pub out_of_range: Vec<String>,
    /// Rows left out, and why.
    pub left_out: Vec<LeftOut>,
    /// (measured, predicted) of each request's TTFT and TPOT [ms], for plots.
    #[serde(skip)]
    pub pairs: [Vec<(f64, f64)>; 2],
}

/// One metric of a run.
#[derive(Clone, Debug, Serialize)]
pub struct MetricReport {
    /// Its name.
    pub metric: &'static str,
    /// Measured [ms].
    pub measured: Stats,
    /// Predicted [ms].
    pub predicted: Stats,
    /// Signed errors of mean, p50, p90 and p99 [%]; `None` where zero was measured.
    pub errors: [Option<f64>; 4],
    /// Mean of the absolute errors of single requests [%]; `None` for gaps, which cannot be paired.
    pub mape: Option<f64>,
}

/// A measured and a predicted figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pair {
    /// Measured.
    pub measured: f64,
    /// Predicted.
    pub predicted: f64,
    /// Signed error [%].
    pub error: Option<f64>,
}

/// Benchmark points of one file.
#[derive(Clone, Debug, Serialize)]
pub struct PointsReport {
    /// Name of the entry.
    pub name: String,
    /// Where the data come from.
    pub about: About,
    /// Each point that was compared, in order of the file.
    pub points: Vec<PointReport>,
    /// By GPU, model and engine; then all.
    pub groups: Vec<GroupReport>,
    /// By number of clients.
    pub bands: Vec<GroupReport>,
    /// At light load, queueing, and with a full KV cache.
    pub by_load: Vec<GroupReport>,
    /// Calibrated servers, and those on the formula.
    pub by_cost: Vec<GroupReport>,
    /// Points that leave their profile's measured ranges, by what they exceed: there times are extrapolated.
    pub beyond: Vec<LeftOut>,
    /// Rows left out, and why.
    pub left_out: Vec<LeftOut>,
}

/// One benchmark point.
#[derive(Clone, Debug, Serialize)]
pub struct PointReport {
    /// Its name in the file.
    pub id: String,
    /// GPU, model and engine.
    pub group: String,
    /// What was simulated.
    pub server: Server,
    /// Nominal lengths [tokens] and clients.
    pub isl: u32,
    /// See `isl`.
    pub osl: u32,
    /// See `isl`.
    pub concurrency: u32,
    /// Mean TTFT [ms].
    pub ttft: Pair,
    /// Mean TPOT [ms].
    pub tpot: Pair,
    /// Output tokens per second, where it was measured.
    pub throughput: Option<Pair>,
    /// Share of the predicted TTFT that is waiting for the first scheduling, 0 to 1.
    pub queue_share: f64,
    /// Highest share of the KV blocks in use in the simulation, 0 to 1.
    pub kv_use_peak: f64,
    /// Requests that the simulation did not serve whole.
    pub unserved: usize,
    /// What left the profile's measured ranges.
    pub out_of_range: Vec<String>,
}

/// Errors of a group of points.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    /// Its name.
    pub name: String,
    /// Distinct measurements.
    pub count: usize,
    /// Mean TTFT.
    pub ttft: ErrorSummary,
    /// Mean TPOT.
    pub tpot: ErrorSummary,
    /// Throughput, where it was measured.
    pub throughput: Option<ErrorSummary>,
}

/// KV blocks of real servers against the memory formula.
#[derive(Clone, Debug, Serialize)]
pub struct KvReport {
    /// Name of the entry.
    pub name: String,
    /// Where the data come from.
    pub about: About,
    /// One per server.
    pub servers: Vec<KvServer>,
}

/// KV blocks of one server.
#[derive(Clone, Debug, Serialize)]
pub struct KvServer {
    /// Its name in the manifest: peers' errors are by it.
    pub id: String,
    /// Such as `llama-3.1-70b bf16 on h100-sxm tp4`.
    pub name: String,
    /// Token budget of a step [tokens].
    pub max_num_batched_tokens: u32,
    /// Blocks as the engine logged and as the formula gives them; `None` where the formula refuses.
    pub blocks: Pair,
}
