//! Deployments that do not start, and what would make them start.

use thiserror::Error;

use super::fit;
use crate::deployment::{Deployment, KvDtype, WeightDtype};

/// Why a deployment cannot be planned. Sizes are per GPU.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MemoryError {
    /// A setting, or a split over GPUs, that the engine refuses.
    #[error("`{field}` = {value}: {reason}")]
    Layout {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights and reserve do not fit what the engine may take.
    #[error(
        "{model} does not fit {gpu}: {:.2} GiB of weights and {:.2} GiB of reserve per GPU, {:.2} GiB more than the {:.2} GiB \
         allowed{}",
        gib(.weights), gib(.reserve), gib(&(.weights + .reserve - .requested)), gib(.requested), advice(.remedies)
    )]
    Weights {
        /// The model.
        model: String,
        /// The GPU.
        gpu: String,
        /// Weights [bytes per GPU].
        weights: u64,
        /// Neither weights nor KV cache [bytes per GPU].
        reserve: u64,
        /// What the engine may take [bytes per GPU].
        requested: u64,
        /// Single changes that would make the deployment start.
        remedies: Vec<String>,
    },
    /// One sequence of `max_model_len` does not fit the KV cache.
    #[error(
        "a sequence of max_model_len = {max_model_len} of {model} needs {:.2} GiB of KV cache per GPU, and there are {:.2} GiB, \
         enough for {largest} tokens{}{}",
        gib(.kv_bytes), gib(.room), if *.conservative { CONSERVATIVE } else { "" }, advice(.remedies)
    )]
    Context {
        /// The model.
        model: String,
        /// What was asked for [tokens].
        max_model_len: u32,
        /// KV cache of such a sequence [bytes per GPU].
        kv_bytes: u64,
        /// KV cache there is [bytes per GPU].
        room: u64,
        /// The largest `max_model_len` that fits [tokens].
        largest: u64,
        /// Whether local layers were counted as full ones, so that a real engine may fit more.
        conservative: bool,
        /// Single changes that would make the deployment start.
        remedies: Vec<String>,
    },
}

const CONSERVATIVE: &str = " (layers with a window are counted as keeping everything: a real engine may fit more)";

fn gib(bytes: &u64) -> f64 {
    *bytes as f64 / (1u64 << 30) as f64
}

fn advice(remedies: &[String]) -> String {
    match remedies {
        [] => "; no single change of layout or number format is enough".to_owned(),
        remedies => format!("; what would help: {}", remedies.join(", or ")),
    }
}

/// Adds to a deployment that does not fit what would make it fit, each tried out alone.
pub(super) fn with_remedies(mut error: MemoryError, deployment: &Deployment) -> MemoryError {
    let found = match &error {
        MemoryError::Layout { .. } => return error,
        MemoryError::Weights { .. } => remedies(deployment, None),
        MemoryError::Context { largest, .. } => remedies(deployment, Some(*largest)),
    };
    if let MemoryError::Weights { remedies, .. } | MemoryError::Context { remedies, .. } = &mut error {
        *remedies = found;
    }
    error
}

/// The changes of one setting after which the deployment starts; `largest` is the longest context it has room for, if any.
fn remedies(deployment: &Deployment, largest: Option<u64>) -> Vec<String> {
    let shorter = largest.filter(|largest| *largest > 0).map(|largest| format!("max_model_len = {largest}"));
    if deployment.num_gpu_blocks.is_some() {
        // The blocks of the server as it is say nothing about a changed one.
        return shorter.into_iter().collect();
    }
    let starts = |change: &dyn Fn(&mut Deployment)| {
        let mut changed = deployment.clone();
        change(&mut changed);
        fit(&changed).is_ok()
    };
    let mut found = Vec::new();
    let ranks = (2..=64).map(|times| deployment.tensor_parallel.saturating_mul(times)).take_while(|tp| *tp <= 64);
    if let Some(tp) = ranks.into_iter().find(|tp| starts(&|changed| changed.tensor_parallel = *tp)) {
        found.push(format!("tensor_parallel = {tp}"));
    }
    let smaller: &[WeightDtype] = match deployment.weights {
        WeightDtype::Bf16 => &[WeightDtype::Fp8, WeightDtype::Int4],
        WeightDtype::Fp8 | WeightDtype::Int8 => &[WeightDtype::Int4],
        WeightDtype::Int4 | WeightDtype::Mxfp4 | WeightDtype::Nvfp4 => &[],
    };
    if let Some(dtype) = smaller.iter().find(|dtype| starts(&|changed| changed.weights = **dtype)) {
        found.push(format!("{dtype} weights"));
    }
    if largest.is_some() && deployment.kv == KvDtype::Bf16 && starts(&|changed| changed.kv = KvDtype::Fp8) {
        found.push("an fp8 KV cache".to_owned());
    }
    let higher = [0.90, 0.92, 0.95].into_iter().filter(|share| *share > deployment.gpu_memory_utilization);
    if let Some(share) = higher.into_iter().find(|share| starts(&|changed| changed.gpu_memory_utilization = *share)) {
        found.push(format!("gpu_memory_utilization = {share:.2}"));
    }
    found.extend(shorter);
    found
}
