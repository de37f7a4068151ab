//! The metrics of a vLLM server that a simulation can know: names, labels, buckets and meaning as of vLLM 0.33.
//!
//! Bounds of latencies are those that the simulated autoscaler's scrapes have. Its names stand in a list of their own
//! (`tokentide_autoscale::exposition`): that one is of what may be asked of a pod, cAdvisor's and the gateway's metrics and older
//! names included, and a test holds vLLM's part of it to this one.

use tokentide_autoscale::pods::{REQUEST_S, TPOT_S, TTFT_S};

/// A number that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Tokens of prompts whose first token was given, cached ones included.
    PromptTokens,
    /// Of those, computed.
    ComputedTokens,
    /// Of those, found in the prefix cache.
    CachedTokens,
    /// Of those, looked up in it.
    QueriedTokens,
    /// Tokens given.
    GenerationTokens,
    /// Preemptions.
    Preemptions,
    /// Requests that the model ended.
    Stopped,
    /// Requests that a limit ended.
    CutOff,
    /// Requests that the client gave up.
    Aborted,
}

/// How many [`Count`]s there are.
pub const COUNTS: usize = Count::Aborted as usize + 1;

/// A distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Arrival to first token.
    Ttft,
    /// Between tokens.
    Itl,
    /// Mean of a request's.
    Tpot,
    /// Arrival to last token.
    EndToEnd,
    /// In the waiting queue.
    Queue,
    /// First scheduled to first token.
    Prefill,
    /// First to last token.
    Decode,
    /// First scheduled to last token.
    Inference,
    /// Prompts.
    PromptLength,
    /// Of those, computed.
    ComputedLength,
    /// Answers.
    GenerationLength,
    /// Limits of answers.
    MaxTokens,
    /// Preemptions of a request.
    Preempted,
    /// Tokens of a step.
    StepTokens,
}

/// How many [`Spread`]s there are.
pub const SPREADS: usize = Spread::StepTokens as usize + 1;

/// A level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Requests running.
    Running,
    /// Requests waiting.
    Waiting,
    /// Share of the KV blocks in use.
    KvUse,
}

/// Upper bounds of a distribution.
#[derive(Clone, Copy, Debug)]
pub enum Bounds {
    /// Times [s].
    Seconds(&'static [f64]),
    /// Numbers.
    Numbers(&'static [u64]),
    /// 1, 2, 5, 10 and so on, up to `max_model_len`.
    OneTwoFive,
}

/// How a family's samples come from what was counted.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A gauge.
    Gauge(Level),
    /// A gauge of 1, whose labels say how large the KV cache is.
    CacheConfig,
    /// A counter.
    Counter(Count),
    /// A counter by the values of a label; `None`: always 0.
    Labelled(&'static str, &'static [(&'static str, Option<Count>)]),
    /// A histogram.
    Histogram(Spread, Bounds),
}

/// A metric family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Name, of a counter without `_total`.
    pub name: &'static str,
    /// What it means here.
    pub help: &'static str,
    /// Where its samples come from.
    pub kind: Kind,
}

impl Family {
    /// Its unit; empty where there is none.
    pub fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Histogram(_, Bounds::Seconds(_)) => "seconds",
            _ => "",
        }
    }
}

const fn family(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family { name, help, kind }
}

const fn seconds(name: &'static str, spread: Spread, bounds: &'static [f64], help: &'static str) -> Family {
    family(name, Kind::Histogram(spread, Bounds::Seconds(bounds)), help)
}

const fn tokens(name: &'static str, spread: Spread, help: &'static str) -> Family {
    family(name, Kind::Histogram(spread, Bounds::OneTwoFive), help)
}

const SOURCES: &[(&str, Option<Count>)] = &[
    ("local_compute", Some(Count::ComputedTokens)),
    ("local_cache_hit", Some(Count::CachedTokens)),
    ("external_kv_transfer", None),
];
const REASONS: &[(&str, Option<Count>)] = &[
    ("stop", Some(Count::Stopped)),
    ("length", Some(Count::CutOff)),
    ("abort", Some(Count::Aborted)),
    ("error", None),
    ("repetition", None),
];
const STEP_TOKENS: &[u64] = &[1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];
const PREEMPTED: &[u64] = &[1, 2, 3, 4, 5, 10, 20];

/// All of them, in the order of the page.
pub const FAMILIES: [Family; 27] = [
    family("vllm:num_requests_running", Kind::Gauge(Level::Running), "Requests in the running batch."),
    family("vllm:num_requests_waiting", Kind::Gauge(Level::Waiting), "Requests delivered and not running."),
    family("vllm:kv_cache_usage_perc", Kind::Gauge(Level::KvUse), "Share of the KV blocks in use, 0 to 1."),
    family("vllm:cache_config_info", Kind::CacheConfig, "Size of the KV cache, in its labels."),
    family("vllm:prefix_cache_queries", Kind::Counter(Count::QueriedTokens), "Prompt tokens looked up in the prefix cache."),
    family("vllm:prefix_cache_hits", Kind::Counter(Count::CachedTokens), "Prompt tokens found in the prefix cache."),
    family("vllm:num_preemptions", Kind::Counter(Count::Preemptions), "Preemptions."),
    family("vllm:prompt_tokens", Kind::Counter(Count::PromptTokens), "Prompt tokens, cached ones included, at the first token."),
    family("vllm:prompt_tokens_by_source", Kind::Labelled("source", SOURCES), "The same by where their KV cache came from."),
    family("vllm:prompt_tokens_cached", Kind::Counter(Count::CachedTokens), "Of those, found in a cache."),
    family("vllm:generation_tokens", Kind::Counter(Count::GenerationTokens), "Tokens given."),
    family("vllm:request_success", Kind::Labelled("finished_reason", REASONS), "Requests that ended, by why."),
    seconds("vllm:time_to_first_token_seconds", Spread::Ttft, &TTFT_S, "Arrival to first token."),
    seconds("vllm:inter_token_latency_seconds", Spread::Itl, &TPOT_S, "Between the tokens of a request."),
    seconds(
        "vllm:request_time_per_output_token_seconds",
        Spread::Tpot,
        &TPOT_S,
        "Mean time between a finished request's tokens; 0 for an answer of one.",
    ),
    seconds("vllm:e2e_request_latency_seconds", Spread::EndToEnd, &REQUEST_S, "Arrival to last token of finished requests."),
    seconds(
        "vllm:request_queue_time_seconds",
        Spread::Queue,
        &REQUEST_S,
        "From the waiting queue to the first schedule, of finished requests.",
    ),
    seconds(
        "vllm:request_prefill_time_seconds",
        Spread::Prefill,
        &REQUEST_S,
        "First scheduled to first token, of finished requests.",
    ),
    seconds("vllm:request_decode_time_seconds", Spread::Decode, &REQUEST_S, "First to last token, of finished requests."),
    seconds(
        "vllm:request_inference_time_seconds",
        Spread::Inference,
        &REQUEST_S,
        "First scheduled to last token, of finished requests.",
    ),
    tokens("vllm:request_prompt_tokens", Spread::PromptLength, "Prompt lengths of finished requests."),
    tokens("vllm:request_prefill_kv_computed_tokens", Spread::ComputedLength, "Of those, what no cache had."),
    tokens("vllm:request_generation_tokens", Spread::GenerationLength, "Answer lengths of finished requests."),
    tokens("vllm:request_max_num_generation_tokens", Spread::GenerationLength, "The same: one answer is asked for."),
    tokens("vllm:request_params_max_tokens", Spread::MaxTokens, "Most tokens that finished requests could get."),
    family(
        "vllm:request_num_preemptions",
        Kind::Histogram(Spread::Preempted, Bounds::Numbers(PREEMPTED)),
        "Preemptions of finished requests.",
    ),
    family(
        "vllm:iteration_tokens_total",
        Kind::Histogram(Spread::StepTokens, Bounds::Numbers(STEP_TOKENS)),
        "Tokens of a step that gave any: those given, and computed prompts with their first token.",
    ),
];

/// Upper bounds of each [`Spread`], in picoseconds or tokens, under this `max_model_len`.
pub fn bounds(max_model_len: u32) -> Vec<Vec<u64>> {
    let mut all = vec![Vec::new(); SPREADS];
    for family in FAMILIES {
        if let Kind::Histogram(spread, bounds) = family.kind {
            all[spread as usize] = match bounds {
                // All are whole milliseconds.
                Bounds::Seconds(bounds) => bounds.iter().map(|s| (s * 1e3).round() as u64 * 1_000_000_000).collect(),
                Bounds::Numbers(bounds) => bounds.to_vec(),
                Bounds::OneTwoFive => one_two_five(max_model_len.into()),
            };
        }
    }
    all
}

fn one_two_five(most: u64) -> Vec<u64> {
    let decades = std::iter::successors(Some(1u64), |decade| decade.checked_mul(10));
    decades.flat_map(|decade| [1, 2, 5].map(|m| m * decade)).take_while(|&bound| bound <= most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_integers_and_ascend() {
        let all = bounds(32_768);
        assert!(all.iter().all(|bounds| !bounds.is_empty() && bounds.is_sorted_by(|a, b| a < b)));
        assert_eq!(all[Spread::Ttft as usize][..3], [1_000_000_000, 5_000_000_000, 10_000_000_000]);
        assert_eq!(all[Spread::Itl as usize].last(), Some(&80_000_000_000_000));
        assert_eq!(all[Spread::PromptLength as usize].last(), Some(&20_000));
        assert_eq!((one_two_five(1), one_two_five(10), one_two_five(49)), (vec![1], vec![1, 2, 5, 10], vec![1, 2, 5, 10, 20]));
        for family in FAMILIES {
            if let Kind::Histogram(spread, Bounds::Seconds(seconds)) = family.kind {
                let back = all[spread as usize].iter().map(|&ps| ps as f64 / 1e12);
                assert!(back.eq(seconds.iter().copied()), "{}", family.name);
            }
        }
    }

    /// What the simulated autoscaler sees of vLLM is part of what a page says, under the same names.
    #[test]
    fn the_autoscaler_sees_the_same_names() {
        // Its older name; the simulated Prometheus has both.
        let alias = "vllm:gpu_cache_usage_perc";
        for name in tokentide_autoscale::exposition::names().iter().filter(|name| name.starts_with("vllm:") && *name != alias) {
            let known = FAMILIES.iter().any(|family| match family.kind {
                Kind::Counter(_) | Kind::Labelled(..) => *name == format!("{}_total", family.name),
                Kind::Histogram(..) => ["_bucket", "_sum", "_count"].iter().any(|end| *name == format!("{}{end}", family.name)),
                _ => name == family.name,
            });
            assert!(known, "{name}");
        }
    }

    #[test]
    fn help_needs_no_escapes() {
        assert!(FAMILIES.iter().all(|family| !family.help.is_empty() && !family.help.contains(['\\', '\n', '"'])));
    }
}
