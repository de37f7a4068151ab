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
    Batchwise(Batchwise),
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
    /// The scheduler of this name.
    pub fn scheduler(self) -> Scheduler {
        match self {
            SchedulerName::Vllm => Scheduler::Vllm,
            SchedulerName::Sarathi => Scheduler::Batchwise(Batchwise::Sarathi),
            SchedulerName::Vllm2023 => Scheduler::Batchwise(Batchwise::Vllm2023),
        }
    }
}

impl Scheduler {
    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Scheduler::Vllm => "vllm",
            Scheduler::Batchwise(Batchwise::Sarathi) => "sarathi",
            Scheduler::Batchwise(Batchwise::Vllm2023) => "vllm-2023",
        }
    }
}
