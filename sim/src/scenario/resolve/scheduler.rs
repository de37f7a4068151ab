//! The schedulers beside vLLM v1's: their defaults, and the settings that they do not have.

use super::Context;
use super::models::EngineDefaults;
use crate::scenario::at::At;
use crate::scenario::file::ScenarioFile;
use crate::scenario::file::engine::EngineFile;
use crate::scenario::{Policy, SchedulerName};

/// Of Vidur's configurations of both schedulers: most requests at once.
const MAX_NUM_SEQS: u32 = 128;
/// The same: chunk size of sarathi [tokens].
const CHUNK: u32 = 512;
/// The same: limit of a padded batch of vllm-2023 [tokens].
const PADDED: u32 = 4096;
/// The same: share of the blocks kept free at admission.
const WATERMARK: f64 = 0.01;

/// The scheduler asked for.
pub(super) fn name(file: &EngineFile) -> SchedulerName {
    file.scheduler.as_ref().map_or(SchedulerName::Vllm, |name| **name)
}

/// The defaults of a scheduler, where they are not vLLM v1's.
pub(super) fn defaults(name: SchedulerName, vllm: &EngineDefaults) -> EngineDefaults {
    let max_num_batched_tokens = match name {
        SchedulerName::Vllm => return vllm.clone(),
        SchedulerName::Sarathi => CHUNK,
        SchedulerName::Vllm2023 => PADDED,
    };
    EngineDefaults { max_num_seqs: MAX_NUM_SEQS, max_num_batched_tokens, async_scheduling: false, ..vllm.clone() }
}

/// Whether prompts are cut into chunks, and cached, and the share of blocks kept free, unless the scenario says otherwise.
pub(super) fn habits(name: SchedulerName) -> (bool, bool, f64) {
    match name {
        SchedulerName::Vllm => (true, true, 0.0),
        SchedulerName::Sarathi => (true, false, WATERMARK),
        SchedulerName::Vllm2023 => (false, false, WATERMARK),
    }
}

/// Errors for what the scheduler does not have; a note on what it lacks in any case.
pub(super) fn check(file: &ScenarioFile, context: &mut Context<'_>) {
    let Some(engine) = file.engine.as_deref() else { return };
    let scheduler = name(engine);
    let named = match scheduler {
        SchedulerName::Vllm => return,
        SchedulerName::Sarathi => "sarathi",
        SchedulerName::Vllm2023 => "vllm-2023",
    };
    let whole = scheduler == SchedulerName::Vllm2023;
    let flag = |given: &Option<At<bool>>, wrong: bool| given.as_ref().filter(|flag| ***flag == wrong).map(At::span);
    let threshold = engine.long_prefill_token_threshold.as_ref().filter(|threshold| ***threshold > 0);
    let chunked = flag(&engine.enable_chunked_prefill, whole);
    let chunking = if whole { "never cuts prompts: leave `enable_chunked_prefill` out" } else { "always cuts prompts into chunks" };
    let ranks = file.gpu.as_deref().and_then(|gpu| gpu.data_parallel.as_ref()).filter(|ranks| ***ranks > 1);
    let refused = [
        (engine.version.as_ref().map(At::span), "is no release of vLLM v1: leave `version` out"),
        (flag(&engine.enable_prefix_caching, true), "has no prefix cache"),
        (chunked, chunking),
        (engine.scheduling_policy.as_ref().filter(|p| ***p == Policy::Priority).map(At::span), "knows no priorities"),
        (flag(&engine.async_scheduling, true), "does not schedule ahead"),
        (threshold.map(At::span), "does not cap the chunks of one request"),
        (flag(&engine.scheduler_reserve_full_isl, false), "always reserves the blocks of the whole prompt"),
        (ranks.map(At::span), "knows no data-parallel ranks"),
    ];
    for (span, lacks) in refused.into_iter().filter_map(|(span, lacks)| Some((span?, lacks))) {
        context.problems.at(span, format!("scheduler \"{named}\" {lacks}"));
    }
    for timeout in file.class.iter().filter_map(|class| class.timeout.as_ref()) {
        context.problems.at(timeout.span(), format!("scheduler \"{named}\" is simulated without clients that give up"));
    }
    context.notes.push(format!("scheduler \"{named}\" has no prefix cache: every prompt is computed from its start"));
}
