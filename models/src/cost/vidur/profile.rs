//! Vidur's tables as a profile: one TOML file.
//!
//! The attention tables of a forest of decision trees are level over long runs of chunk lengths, so runs are what is written:
//! 266,240 predictions become some 15,000, and the file stays text.

use serde::{Deserialize, Serialize};

use crate::cost::host::HostOverrides;
use crate::cost::profile::same;
use crate::cost::{CostError, Ranges};
use crate::deployment::Deployment;

/// Token operators are looked up in steps of this many tokens.
pub const VIDUR_TOKEN_STEP: u64 = 8;
/// Contexts are looked up in steps of this many tokens: [`crate::cost::BatchShape::prefill_history_64`].
pub const VIDUR_CONTEXT_STEP: u64 = 64;

/// What marks the profile as one of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VidurKind {
    /// The only one.
    Vidur,
}

/// Vidur's prediction tables of one GPU, model and tensor-parallel size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VidurProfile {
    /// Format version: [`crate::cost::PROFILE_SCHEMA`].
    pub schema: u32,
    /// Its name.
    pub name: String,
    /// Always `vidur`.
    pub kind: VidurKind,
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
    /// When the profile was made, `YYYY-MM-DD`.
    pub date: String,
    /// What made the tables.
    pub source: String,
    /// Licence of that source.
    pub licence: String,
    /// The line that the licence asks for.
    pub attribution: String,
    /// All operators that depend on tokens alone, all-reduces included and the KV cache's left out, at 8, 16, 24, ... tokens [ms
    /// per layer].
    pub token_operators_ms: Vec<f64>,
    /// Send and receive between pipeline stages, at 8, 16, 24, ... tokens [ms]; absent if there is no table of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_recv_ms: Option<Vec<f64>>,
    /// Writing keys and values, by tokens from 1 on [ms per layer].
    pub kv_cache_save: VidurRuns,
    /// Attention of decodes.
    pub decode: VidurDecode,
    /// Attention of prefill chunks.
    pub prefill: VidurPrefill,
    /// Host terms measured with it; what is absent keeps the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostOverrides>,
}

/// A function of 1, 2, 3, ... as runs of equal values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VidurRuns {
    /// Last argument of each run, strictly increasing.
    pub until: Vec<u32>,
    /// Value of each run [ms per layer].
    pub ms: Vec<f64>,
}

/// Decode attention.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VidurDecode {
    /// By decodes from 1 on, then by mean context 0, 64, 128, ... [ms per layer].
    pub ms: Vec<Vec<f64>>,
}

/// Prefill attention.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VidurPrefill {
    /// By history 0, 64, 128, ...; each row by chunk length.
    pub rows: Vec<VidurRuns>,
}

impl VidurRuns {
    /// The runs of values at 1, 2, 3, ...
    pub fn of(values: &[f64]) -> VidurRuns {
        let mut runs = VidurRuns::default();
        for (i, &value) in values.iter().enumerate() {
            if runs.ms.last().is_none_or(|last| last.to_bits() != value.to_bits()) {
                runs.ms.push(value);
                runs.until.push(0);
            }
            *runs.until.last_mut().expect("just pushed") = i as u32 + 1;
        }
        runs
    }

    /// The values at 1, 2, 3, ...
    pub fn values(&self) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.until.last().map_or(0, |&last| last as usize));
        self.until.iter().zip(&self.ms).for_each(|(&until, &ms)| values.resize(until as usize, ms));
        values
    }
}

impl VidurProfile {
    /// Whether the text is a profile of this kind: its keys before the first table say so.
    pub fn is(text: &str) -> bool {
        let head = text.lines().take_while(|line| !line.starts_with('['));
        let mut kinds = head.filter_map(|line| line.strip_prefix("kind")).filter_map(|rest| rest.trim_start().strip_prefix('='));
        kinds.any(|value| value.trim_start().starts_with("\"vidur\""))
    }

    /// Reads and checks a profile. `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`CostError::Invalid`] with the line or the key and the value: syntax, unknown or missing keys, negative times or NaN, rows
    /// of different length.
    pub fn parse(name: &str, text: &str) -> Result<VidurProfile, CostError> {
        let invalid = |message: String| CostError::Invalid { name: name.into(), message };
        let profile: VidurProfile = toml::from_str(text).map_err(|e| invalid(e.to_string()))?;
        profile.check().map_err(invalid)?;
        Ok(profile)
    }

    /// The profile as TOML.
    ///
    /// # Errors
    ///
    /// [`CostError::Invalid`] if the profile would not pass [`VidurProfile::parse`].
    pub fn to_toml(&self) -> Result<String, CostError> {
        let invalid = |message: String| CostError::Invalid { name: self.name.clone(), message };
        self.check().map_err(invalid)?;
        toml::to_string(self).map_err(|e| invalid(e.to_string()))
    }

    /// Whether the profile is for this deployment, of any number of pipeline stages.
    ///
    /// # Errors
    ///
    /// [`CostError::Mismatch`] names the first field that differs.
    pub fn matches(&self, deployment: &Deployment) -> Result<(), CostError> {
        let fields = [
            ("gpu", self.gpu.as_str(), deployment.gpu.name.as_str()),
            ("model", &self.model, &deployment.model.name),
            ("weights", &self.weights, deployment.weights.name()),
            ("kv", &self.kv, deployment.kv.name()),
            ("tensor_parallel", &self.tensor_parallel.to_string(), &deployment.tensor_parallel.to_string()),
        ];
        same(&self.name, fields)
    }

    /// Where the tables end.
    pub fn ranges(&self) -> Ranges {
        let contexts = self.decode.ms.first().map_or(0, Vec::len).saturating_sub(1) as u64 * VIDUR_CONTEXT_STEP;
        let chunk = self.prefill.rows.first().and_then(|row| row.until.last().copied()).unwrap_or(0);
        let tokens = self.token_operators_ms.len() as u64 * VIDUR_TOKEN_STEP;
        Ranges {
            decodes_max: self.decode.ms.len() as u32,
            context_max: contexts as u32,
            prefill_tokens_max: chunk.min(u32::try_from(tokens).unwrap_or(u32::MAX)),
        }
    }
}
