//! Which scheduler a replica runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which scheduler a replica runs, resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// vLLM v1: [`crate::engine`].
    #[default]
    Vllm,
    /// One that walks its requests in every batch: [`crate::engine::batchwise`].
    Batchwise {
        /// Which of them.
        scheduler: Batchwise,
        /// Pipeline stages, each with a batch of its own; at least 1.
        stages: u32,
    },
}

/// A scheduler that walks its requests in every batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batchwise {
    /// Sarathi-Serve: decodes first, prompts in chunks beside them.
    Sarathi,
    /// vLLM of 2023: batches of whole prompts first, decodes when no prompt can be admitted.
    Vllm2023,
}

/// A scheduler's name in scenarios.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SchedulerName {
    /// vLLM v1, of the release that `version` names.
    #[default]
    Vllm,
    /// Sarathi-Serve (OSDI 2024), as the simulator Vidur has it: `max_num_batched_tokens` is its chunk size.
    Sarathi,
    /// vLLM of 2023, as the simulator Vidur has it: batches of whole prompts before decodes; `max_num_batched_tokens` is the limit
    /// of a batch of prompts, padded to its longest.
    #[serde(rename = "vllm-2023")]
    Vllm2023,
}

impl SchedulerName {
    /// The scheduler with this many pipeline stages; vLLM v1's do not overlap here.
    pub fn with_stages(self, stages: u32) -> Scheduler {
        let batchwise = |scheduler| Scheduler::Batchwise { scheduler, stages };
        match self {
            SchedulerName::Vllm => Scheduler::Vllm,
            SchedulerName::Sarathi => batchwise(Batchwise::Sarathi),
            SchedulerName::Vllm2023 => batchwise(Batchwise::Vllm2023),
        }
    }
}

impl Scheduler {
    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Scheduler::Vllm => "vllm",
            Scheduler::Batchwise { scheduler: Batchwise::Sarathi, .. } => "sarathi",
            Scheduler::Batchwise { scheduler: Batchwise::Vllm2023, .. } => "vllm-2023",
        }
    }
}
