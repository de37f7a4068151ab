//! Tokens and requests.

use super::{Metric, metric};

pub(super) const METRICS: &[Metric] = &[
    metric(
        "input_tokens",
        "tokens",
        "Tokens of the final assembled prompts, not of the user's messages, of all requests that \
        arrived.",
        &["input_tokens"],
    )
    .caveat("Input tokens decide how heavy it is to start an answer, output tokens how long the model stays busy."),
    metric("output_tokens", "tokens", "Tokens given to clients.", &["output_tokens"]),
    metric("input_length", "tokens", "Prompt lengths, over requests.", &["input_length"]),
    metric("output_length", "tokens", "Answer lengths, over completed requests.", &["output_length"]),
    metric(
        "input_tokens_by_source",
        "tokens",
        "Where the input tokens come from: system, developer, history, retrieved, \
        tools, user, metadata, formatting.",
        &["input_tokens_by_source"],
    )
    .aliases(&["sources"]),
    metric(
        "cached_tokens",
        "tokens",
        "Of the input tokens of requests that ran, those found in the prefix cache and not \
        computed again.",
        &["cached_tokens"],
    )
    .caveat(
        "Only whole blocks of a shared leading text are found, and never the last token of a prompt. A long static \
            system prompt is nearly free once cached; retrieved text is not.",
    ),
    metric("output_tokens_per_s", "tokens/s", "Output tokens over the duration, all replicas.", &["output_tokens_per_s"])
        .aliases(&["throughput"]),
    metric("input_tokens_per_s", "tokens/s", "Input tokens over the duration, all replicas.", &["input_tokens_per_s"]),
    metric("requests_per_s", "requests/s", "Completed requests over the duration.", &["requests_per_s"]).aliases(&["rps"]),
    metric("tokens_per_s_per_gpu", "tokens/s", "Output tokens per second and GPU; output unless the input is named.", &[])
        .formula("output_tokens_per_s / gpus")
        .caveat("Not printed by itself. Some tools count input tokens too, which makes the figure many times larger.")
        .aliases(&["tokens/s/gpu"]),
    metric("requests", "requests", "Requests that arrived.", &["requests", "total"]),
    metric("completed", "requests", "Requests that got their whole answer: finished by stop, length or truncated.", &["completed"]),
    metric(
        "by_finish",
        "requests",
        "How requests ended: stop (the model ended), length (max_tokens), truncated \
        (max_model_len), rejected_context (prompt too long), rejected_queue (queue limit), timed_out (the client gave up).",
        &["by_finish"],
    )
    .aliases(&["finish_reason"]),
    metric(
        "near_context_limit",
        "share",
        "Share of prompts at or above 90 % (configurable) of max_model_len.",
        &["near_context_limit"],
    )
    .caveat("A context window is a limit, not a goal."),
    metric("output_cap_hit", "share", "Share of completed requests that ended at max_tokens.", &["output_cap_hit"]),
    metric("arrivals", "requests", "Requests that arrived, per bin of the timeline.", &["arrivals"]),
    metric("classes", "", "The figures of each workload class.", &["classes"]),
    metric(
        "buckets",
        "",
        "The figures by input tokens and by output tokens: averages over unlike sizes hide who waits.",
        &["buckets", "output_buckets"],
    ),
];
