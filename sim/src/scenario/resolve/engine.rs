//! The engine's settings: vLLM's defaults by release and GPU, and the checks that vLLM makes when it starts.

use super::Context;
use super::check::{at_least_one, number};
use super::models::{EngineDefaults, EngineVersion};
use super::scheduler;
use crate::scenario::at::At;
use crate::scenario::file::engine::EngineFile;
use crate::scenario::{EngineConfig, Policy};

/// Resolves the settings; what is not given is in `defaults`. `context_max` is the longest context of the model [tokens].
pub(super) fn engine(file: &EngineFile, defaults: &EngineDefaults, context_max: u32, context: &mut Context<'_>) -> EngineConfig {
    let name = scheduler::name(file);
    let defaults = &scheduler::defaults(name, defaults);
    let (chunked_default, caching_default, watermark_default) = scheduler::habits(name);
    let on = |flag: &Option<At<bool>>, default: bool| flag.as_ref().map_or(default, |flag| **flag);
    let chunked = on(&file.enable_chunked_prefill, chunked_default);
    let max_model_len = model_len(file, context_max, context);
    let max_num_seqs = at_least_one("max_num_seqs", file.max_num_seqs.as_ref(), context);
    let budget = at_least_one("max_num_batched_tokens", file.max_num_batched_tokens.as_ref(), context);
    // As vLLM: a default budget without chunked prefill is raised to hold the longest prompt.
    let default_budget = if chunked { defaults.max_num_batched_tokens } else { defaults.max_num_batched_tokens.max(max_model_len) };
    let max_num_batched_tokens = budget.unwrap_or(default_budget.max(max_num_seqs.unwrap_or(0)));
    let config = EngineConfig {
        max_num_seqs: max_num_seqs.unwrap_or(defaults.max_num_seqs.min(max_num_batched_tokens)),
        max_num_batched_tokens,
        max_model_len,
        block_size: at_least_one("block_size", file.block_size.as_ref(), context).unwrap_or(defaults.block_size),
        enable_prefix_caching: on(&file.enable_prefix_caching, caching_default),
        enable_chunked_prefill: chunked,
        policy: file.scheduling_policy.as_ref().map_or(Policy::Fcfs, |policy| **policy),
        async_scheduling: on(&file.async_scheduling, defaults.async_scheduling),
        long_prefill_token_threshold: file.long_prefill_token_threshold.as_ref().map_or(0, |t| **t),
        lone_prefill_uncapped: defaults.lone_prefill_uncapped,
        reserve_full_isl: on(&file.scheduler_reserve_full_isl, defaults.reserve_full_isl),
        watermark: number("watermark", file.watermark.as_ref(), context, "at least 0 and below 1", |x| (0.0..1.0).contains(&x))
            .unwrap_or(watermark_default),
        free_unhashed_first: defaults.free_unhashed_first,
        max_num_queued_reqs: at_least_one("max_num_queued_reqs", file.max_num_queued_reqs.as_ref(), context),
        scheduler: name.scheduler(),
    };
    check_budget(file, &config, context);
    config
}

/// The release to simulate.
pub(super) fn version(file: &EngineFile) -> EngineVersion {
    file.version.as_ref().map_or(EngineVersion::DEFAULT, |v| EngineVersion::new(v.0, v.1))
}

/// `max_model_len`, at most the model's context, which is its default.
fn model_len(file: &EngineFile, context_max: u32, context: &mut Context<'_>) -> u32 {
    let Some(given) = &file.max_model_len else { return context_max };
    if **given < 2 {
        context.problems.at(given.span(), format!("`max_model_len` must be at least 2, a prompt and an answer, not {}", **given));
    } else if **given > context_max {
        let message = format!("`max_model_len` must be at most the model's context, {context_max}, not {}", **given);
        context.problems.at(given.span(), message);
    }
    **given
}

/// The token budget against the other limits, where a typed number is what conflicts.
fn check_budget(file: &EngineFile, config: &EngineConfig, context: &mut Context<'_>) {
    let Some(budget) = &file.max_num_batched_tokens else { return };
    if !context.problems.unreadable.is_empty() || **budget == 0 {
        return;
    }
    if let Some(seqs) = file.max_num_seqs.as_ref().filter(|seqs| ***seqs > **budget) {
        let message = format!("`max_num_seqs` must be at most `max_num_batched_tokens`, {}, not {}", **budget, **seqs);
        let help = Some("every running sequence needs a token of the budget in each step".to_owned());
        context.problems.add(Some(seqs.span()), message, help);
    }
    // Without a model its context is not known, and with it the default of `max_model_len`.
    let known = config.max_model_len < u32::MAX;
    if !config.enable_chunked_prefill && known && **budget < config.max_model_len {
        let message = format!(
            "without chunked prefill, `max_num_batched_tokens` must be at least `max_model_len`, {}, not {}",
            config.max_model_len, **budget
        );
        context.problems.at(budget.span(), message);
    }
}
