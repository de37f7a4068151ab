//! Times that a client sees.

use super::{Metric, metric};

pub(super) const METRICS: &[Metric] = &[
    metric(
        "ttft",
        "ms",
        "Time to first token: arrival to first output token. Includes the wait in the queue and the \
        prefill.",
        &["ttft_ms"],
    )
    .formula("first token - arrival")
    .caveat(
        "Streaming does not remove the work: it only shows the first token earlier. A wait after a preemption counts here \
                if no token \
             was given before it.",
    )
    .aliases(&["time to first token"]),
    metric("tpot", "ms", "Time per output token after the first, one value per request.", &["tpot_ms"])
        .formula("(e2e - ttft) / (output tokens - 1)")
        .caveat(
            "Undefined for answers of one token, which are left out, never counted as 0. The p95 over requests is not the p95 \
                of ITL, which \
             is over gaps. Other tools divide by all output tokens or count the first one.",
        )
        .aliases(&["time per output token"]),
    metric("itl", "ms", "Inter-token latency: the distribution of single gaps between consecutive output tokens.", &["itl_ms"])
        .caveat(
            "A wait after a preemption is one long gap. Tools that measure gaps between network chunks see fewer and \
            longer ones.",
        )
        .aliases(&["inter-token latency"]),
    metric("e2e", "ms", "End to end: arrival to last token, of completed requests.", &["e2e_ms"])
        .formula("last token - arrival = ttft + (output tokens - 1) x tpot")
        .aliases(&["latency", "end to end"]),
    metric("queue", "ms", "Arrival to first scheduling.", &["queue_ms"])
        .formula("first schedule() - arrival")
        .caveat("A wait after a preemption is not in it: that counts in TTFT before the first token and in ITL after it.")
        .aliases(&["queue time"]),
    metric(
        "quantiles",
        "as the metric",
        "The value that this share of observations does not exceed, with their number, mean and maximum.",
        &["count", "mean", "p50", "p90", "p95", "p99", "max"],
    )
    .caveat(
        "Mean and maximum are exact; quantiles have a relative error of at most 0.8 %. A mean alone hides the tail: read it \
            beside p95 and p99. \
         With several replications each figure is the mean over them.",
    )
    .aliases(&["percentile", "percentiles", "median"]),
];
