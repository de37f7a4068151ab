//! How much of the capacity is used.

use super::{Metric, metric};

pub(super) const METRICS: &[Metric] = &[
    metric("state", "", "`stable`, `near the knee`, `overloaded`, `saturated by design`, or `idle` if no request ran.", &["state"])
        .caveat(
            "Overloaded means that more work arrives than can be done: every latency then grows with the length of the \
            run and says nothing. Saturated by design means that all requests come from a closed loop whose clients use at \
            least 95 % of the knee: they wait for answers, so no queue grows.",
        ),
    metric("load", "share", "Offered load over the load at the knee.", &["load"])
        .formula("offered requests/s / knee requests/s")
        .caveat("The knee is an analytic bound for this mix of lengths; another mix has another knee."),
    metric("headroom", "share", "How much of the load at the knee is left; negative when overloaded.", &["headroom"])
        .formula("1 - load")
        .caveat("Read it before any latency: near the knee, latency cannot be predicted and headroom can."),
    metric(
        "knee_requests_per_s",
        "requests/s",
        "Rate at which this mix of lengths can be served at most: the best steady \
        batch within KV memory and limits, all replicas.",
        &["knee_requests_per_s"],
    )
    .aliases(&["knee"]),
    metric("knee_output_tokens_per_s", "tokens/s", "The knee in output tokens.", &["knee_output_tokens_per_s"]),
    metric(
        "offered_requests_per_s",
        "requests/s",
        "Requests that arrive, all replicas, served or not; of a closed loop, what is served.",
        &["offered_requests_per_s"],
    )
    .aliases(&["offered"]),
    metric(
        "prefill_tokens_per_s",
        "tokens/s",
        "Prompt tokens per second that one replica prefills with nothing else to do \
        (V_P).",
        &["prefill_tokens_per_s"],
    )
    .caveat("The hardware constant of token-aware autoscaling: waiting tokens / V_P are the seconds of prefill queued.")
    .aliases(&["V_P"]),
    metric("capacity", "", "Load against what the replicas can carry at most.", &["capacity"]),
    metric(
        "utilisation",
        "share",
        "Share of time in which an engine step runs, over all replicas, 0 to 1; `busy` in the text report.",
        &["utilisation"],
    )
    .formula("busy time / time")
    .caveat(
        "A step runs whenever there is a request, and one step serves one request or a batch of hundreds in nearly the \
            same time: a replica with a single request is busy all the time. So 99 % busy at 68 % load is no contradiction; \
            load / knee is the measure of capacity.",
    )
    .aliases(&["utilization", "busy"]),
    metric(
        "kv_use",
        "share",
        "KV blocks in use over KV blocks: highest on any replica (peak, max), and mean over time and \
        replicas.",
        &["kv_use_peak", "kv_use_mean", "kv_use", "kv_use_max"],
    )
    .formula("blocks in use / KV blocks of a replica")
    .caveat(
        "Blocks that only the prefix cache holds are free. A low share does not exclude overload: prefill can be the \
            limit.",
    )
    .aliases(&["kv cache", "kv"]),
    metric("kv_blocks", "blocks", "KV blocks that one replica can use.", &["kv_blocks"]),
    metric(
        "preemptions",
        "",
        "Times that a running request lost its KV blocks to others, because memory ran out, and had to \
        be computed again.",
        &["preemptions"],
    )
    .caveat(
        "Each one repeats prefill work and is a long gap for its client: a sign of too little KV memory, not of too \
            little arithmetic.",
    ),
    metric(
        "waiting_requests",
        "requests",
        "Requests that wait to be scheduled, on all replicas together.",
        &["waiting_requests_peak", "waiting_requests"],
    )
    .caveat("Twenty short requests and twenty long ones are different queues: look at waiting tokens."),
    metric(
        "waiting_tokens",
        "tokens",
        "Uncached prompt tokens not yet prefilled, on all replicas together.",
        &["waiting_tokens_peak", "waiting_tokens"],
    )
    .formula("sum over requests of prompt tokens not yet computed; divided by V_P x replicas: seconds of prefill queued"),
    metric("running", "requests", "Requests running, all replicas, mean over each bin of the timeline.", &["running"]),
    metric("replicas", "", "Copies of the model behind the router, and the figures of each.", &["replicas"]),
    metric("iterations", "steps", "Engine steps, all replicas.", &["iterations"]).aliases(&["steps"]),
];
