//! Cost profiles: times fitted to, or tabulated from, measurements of one GPU, model, number format and tensor-parallel size.
//!
//! A profile is one TOML file, and the only interface between calibration and simulation. Times are milliseconds, sizes are tokens,
//! and the keys say so.

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::cost::host::HostOverrides;
use crate::cost::{CostError, Ranges};
use crate::deployment::Deployment;

mod check;
mod layers;

pub(super) use check::{Check, head};
pub use layers::{
    AllReduceTable, AttentionBlock, ExpertRow, ExpertTable, Gating, LayerTables, Link, SequenceTable, SkewAlphas, SkewTable,
    TokenTable,
};

/// Version of the profile format.
pub const PROFILE_SCHEMA: u32 = 1;

/// How a profile's attention times are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileKind {
    /// Coefficients, for [`super::Calibrated`].
    Calibrated,
    /// Grids, for [`super::Table`].
    Table,
    /// Kernels of single layers, for [`super::Layers`].
    Layers,
}

/// A cost profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Format version: [`PROFILE_SCHEMA`].
    pub schema: u32,
    /// Its name; see [`profile_name`].
    pub name: String,
    /// Coefficients, grids or layers.
    pub kind: ProfileKind,
    /// Catalogue name of the GPU.
    pub gpu: String,
    /// Catalogue name of the model.
    pub model: String,
    /// Number format of weights, such as `bf16`.
    pub weights: String,
    /// Number format of the KV cache.
    pub kv: String,
    /// Tensor-parallel ranks.
    pub tensor_parallel: u32,
    /// Whether the ranks hold whole experts instead of slices of all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expert_parallel: bool,
    /// Serving engine measured.
    pub engine: String,
    /// Its version.
    pub engine_version: String,
    /// When the profile was made, `YYYY-MM-DD`.
    pub date: String,
    /// What the numbers were measured with or derived from.
    pub source: String,
    /// Licence of that source.
    pub licence: String,
    /// The line that the licence asks for.
    pub attribution: String,
    /// Ranges measured.
    pub ranges: Ranges,
    /// Errors against the profile's own data.
    pub errors: Errors,
    /// All of a step but attention, and but the LM head where that is given apart, by the tokens in it; empty in a profile of
    /// layers.
    #[serde(default, skip_serializing_if = "Knots::is_empty")]
    pub nonattention: Knots,
    /// The LM head of a calibrated profile, which computes one row per sequence; in `nonattention` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lm_head: Option<SequenceKnots>,
    /// Decode attention of a calibrated profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_attention: Option<DecodeAttention>,
    /// Prefill attention of a calibrated profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_attention: Option<PrefillAttention>,
    /// Decode attention of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_grid: Option<DecodeGrid>,
    /// Prefill attention of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_grid: Option<PrefillGrid>,
    /// Host terms measured with it; what is absent keeps the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostOverrides>,
    /// Times of single layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<LayerTables>,
}

/// Stated errors, by kind of step. They are of points that the fit did not see, unless the profile's source says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// Steps of decodes only.
    pub decode: StatedError,
    /// Steps of prefill chunks only.
    pub prefill: StatedError,
    /// Steps of both; absent if none was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixed: Option<StatedError>,
}

/// Absolute relative errors of a step's time [%].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedError {
    /// Points compared.
    pub points: u32,
    /// Mean.
    pub mean_percent: f64,
    /// 95th percentile.
    pub p95_percent: f64,
    /// Largest.
    pub worst_percent: f64,
}

/// Piecewise linear time over tokens: constant below the first knot, the last segment's line beyond the last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knots {
    /// Tokens in the step, strictly increasing, the first at least 1.
    pub tokens: Vec<u32>,
    /// Time, not decreasing [ms].
    pub ms: Vec<f64>,
}

impl Knots {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.ms.is_empty()
    }
}

/// Piecewise linear time over sequences: constant below the first knot, the last segment's line beyond the last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceKnots {
    /// Sequences in the step, strictly increasing, the first at least 1.
    pub sequences: Vec<u32>,
    /// Time, not decreasing [ms].
    pub ms: Vec<f64>,
}

/// Decode attention: `fixed(n) + slope(n) * total context`. Between knots `fixed` is linear in the number of decodes, and so is
/// `n * slope(n)`, the cost of one more token in every context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeAttention {
    /// Sequences decoding, strictly increasing, the first at least 1.
    pub sequences: Vec<u32>,
    /// Time at no context, not decreasing [ms].
    pub fixed_ms: Vec<f64>,
    /// Time per token of the contexts' sum [ms/token]; `sequences * this` does not decrease.
    pub ms_per_context_token: Vec<f64>,
}

/// Prefill attention: the sum of these over a step's chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefillAttention {
    /// Once per step with any chunk [ms].
    pub ms_per_step: f64,
    /// Per token of the chunks [ms/token].
    pub ms_per_token: f64,
    /// Per causal query-key pair, `k c + k (k+1) / 2` for `k` tokens after `c` [ms/pair].
    pub ms_per_pair: f64,
    /// Per token computed before the chunks [ms/token].
    pub ms_per_history_token: f64,
}

/// Decode attention on a grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeGrid {
    /// Sequences decoding, strictly increasing, the first at least 1.
    pub sequences: Vec<u32>,
    /// Mean context of them, strictly increasing, the first at least 1 [tokens].
    pub context_tokens: Vec<u32>,
    /// Time by sequences, then context; not decreasing in either [ms].
    pub ms: Vec<Vec<f64>>,
}

/// Attention of one prefill chunk on a grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefillGrid {
    /// Tokens of the chunk, strictly increasing, the first at least 1.
    pub chunk_tokens: Vec<u32>,
    /// Tokens computed before the chunk, strictly increasing, the first 0.
    pub history_tokens: Vec<u32>,
    /// Time by chunk, then history; not decreasing in either [ms].
    pub ms: Vec<Vec<f64>>,
}

/// What the name of a profile ends with whose ranks hold whole experts.
pub const WHOLE_EXPERTS: &str = "-ep";
/// What the name of a profile ends with whose experts are [`PaddedExperts`](crate::padded_experts::PaddedExperts).
pub const PADDED_EXPERTS: &str = "-deepgemm";
/// What comes before the release in the name of a profile by the kernels of an older one: `-vllm0.19`.
pub const OLDER_RELEASE: &str = "-vllm";

/// Name of the profile of a combination: `h100-sxm_llama-3.1-8b_bf16_tp1`, with `_kv-fp8` before the last part where the cache is
/// fp8. [`WHOLE_EXPERTS`] comes after it, then what tells the kernels apart: [`PADDED_EXPERTS`], [`OLDER_RELEASE`], or a name
/// that is asked for.
pub fn profile_name(gpu: &str, model: &str, weights: &str, kv: &str, tensor_parallel: u32) -> String {
    let cache = if kv == "bf16" { String::new() } else { format!("_kv-{kv}") };
    format!("{gpu}_{model}_{weights}{cache}_tp{tensor_parallel}")
}

/// Holds what the profile `name` is for against the scenario's deployment: (field, profile's, scenario's).
///
/// # Errors
///
/// [`CostError::Mismatch`] names the first field that differs.
pub(super) fn same<const N: usize>(name: &str, fields: [(&'static str, &str, &str); N]) -> Result<(), CostError> {
    match fields.into_iter().find(|(_, profile, scenario)| profile != scenario) {
        None => Ok(()),
        Some((field, profile, scenario)) => {
            Err(CostError::Mismatch { name: name.into(), field, profile: profile.into(), scenario: scenario.into() })
        }
    }
}

impl Profile {
    /// Reads and checks a profile. `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`CostError::Invalid`] with the line and key for text that is no profile: syntax, unknown or missing keys, negative or NaN
    /// coefficients, tables that decrease.
    pub fn parse(name: &str, text: &str) -> Result<Profile, CostError> {
        let invalid = |message: String| CostError::Invalid { name: name.into(), message };
        let profile: Profile = toml::from_str(text).map_err(|e| invalid(e.to_string()))?;
        profile.check().map_err(invalid)?;
        Ok(profile)
    }

    /// The profile as TOML.
    ///
    /// # Errors
    ///
    /// [`CostError::Invalid`] if the profile would not pass [`Profile::parse`].
    pub fn to_toml(&self) -> Result<String, CostError> {
        let invalid = |message: String| CostError::Invalid { name: self.name.clone(), message };
        self.check().map_err(invalid)?;
        // Attention blocks come last, laid out by hand: one row a line, and no `.0` behind a whole number.
        let mut head = self.clone();
        let blocks = head.layers.as_mut().map(|layers| std::mem::take(&mut layers.attention)).unwrap_or_default();
        let text = toml::to_string(&head).map_err(|e| invalid(e.to_string()))?;
        Ok(text + &blocks.iter().map(AttentionBlock::text).collect::<String>())
    }

    /// Whether the profile is for this deployment. A model of another name but the same shape takes the same time.
    ///
    /// # Errors
    ///
    /// [`CostError::Mismatch`] names the first field that differs.
    pub fn matches(&self, deployment: &Deployment) -> Result<(), CostError> {
        let ranks = deployment.tensor_parallel.to_string();
        let stages = deployment.pipeline_parallel.to_string();
        // The ranks of a dense model know nothing of each other: each runs as the profile was measured. Of a mixture only layers
        // can be put together anew.
        let apart = !deployment.lockstep() || self.kind == ProfileKind::Layers;
        let group = if apart { 1 } else { deployment.data_parallel }.to_string();
        let whole_experts = deployment.whole_experts().to_string();
        // Times of layers are by tokens and woken experts of a rank, however these were dealt out.
        let experts = if self.layers.is_some() { whole_experts.clone() } else { self.expert_parallel.to_string() };
        let fields = [
            ("gpu", self.gpu.as_str(), deployment.gpu.name.as_str()),
            ("model", if self.is_of_shape(deployment) { &deployment.model.name } else { &self.model }, &deployment.model.name),
            ("weights", &self.weights, deployment.weights.name()),
            ("kv", &self.kv, deployment.kv.name()),
            ("tensor_parallel", &self.tensor_parallel.to_string(), &ranks),
            ("expert_parallel", &experts, &whole_experts),
            ("pipeline_parallel", "1", &stages),
            ("data_parallel", "1", &group),
        ];
        same(&self.name, fields)
    }

    fn is_of_shape(&self, deployment: &Deployment) -> bool {
        Architecture::find(&self.model).is_ok_and(|model| model.same_shape(&deployment.model))
    }

    /// The stated errors in one line.
    pub fn error_line(&self) -> String {
        let one = |what: &str, e: &StatedError| format!("{what} {:.1} % mean, {:.1} % worst", e.mean_percent, e.worst_percent);
        let mut line = format!("{}; {}", one("decode", &self.errors.decode), one("prefill", &self.errors.prefill));
        if let Some(mixed) = &self.errors.mixed {
            line += "; ";
            line += &one("mixed", mixed);
        }
        line
    }
}

#[cfg(test)]
pub(crate) mod tests;
