//! Promises and money.

use super::{Metric, metric};

pub(super) const METRICS: &[Metric] = &[
    metric("slo", "", "Service levels: the targets of all classes.", &["slo"]).aliases(&["service level"]),
    metric(
        "targets",
        "",
        "Each target: its class, its limit, what was observed at that percentile.",
        &["targets", "target", "class", "quantile", "limit_ms", "value_ms"],
    )
    .caveat("Requests that never got a token count as infinitely late: rejecting work does not improve a percentile."),
    metric(
        "attainment",
        "share",
        "Share of requests within the limit of a target; over all targets, share of the requests of classes with targets that \
            meet all of theirs.",
        &["attainment"],
    ),
    metric(
        "met",
        "",
        "Whether the share within the limit reaches the target's percentile; over all, whether every target is met.",
        &["met"],
    ),
    metric("goodput", "requests/s", "Requests per second that meet all their targets.", &["goodput_requests_per_s", "good"])
        .formula("requests that completed within every limit / duration"),
    metric("cost", "", "Money, and in a model's part of the report where its times come from.", &["cost"]),
    metric("gpus", "", "GPUs of all replicas.", &["gpus"]),
    metric("usd_per_gpu_hour", "USD/h", "Price of one GPU, and where it comes from.", &["usd_per_gpu_hour", "price_source"]),
    metric("usd_per_hour", "USD/h", "All GPUs, busy or not.", &["usd_per_hour"]).formula("gpus x usd_per_gpu_hour"),
    metric(
        "usd_per_million_output_tokens",
        "USD",
        "Cost of the fleet over the run, per million output tokens.",
        &["usd_per_million_output_tokens"],
    )
    .caveat("At this load: an idle fleet makes every token dear. Input tokens are paid for in it."),
    metric("usd_per_million_tokens", "USD", "The same per million tokens, input and output.", &["usd_per_million_tokens"]),
    metric("usd_per_thousand_requests", "USD", "The same per thousand completed requests.", &["usd_per_thousand_requests"]),
];
