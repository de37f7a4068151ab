//! What was simulated, and how far it can be trusted.

use super::{Metric, metric};

pub(super) const METRICS: &[Metric] = &[
    metric(
        "calibrated",
        "",
        "Whether the step times come from measurements of this GPU and model, and how: `calibrated` (fitted coefficients), \
            `layers` (kernels of single layers, put together), `table` (interpolated); not so `vidur` (tables of \
            that simulator, of unknown error) and `roofline` (a formula).",
        &["calibrated", "kind"],
    )
    .caveat("Uncalibrated times are estimates from data sheets: good for comparing, not for promising."),
    metric(
        "profile",
        "",
        "The cost profile that step times come from, the engine and release it was measured in, its source, its error against its \
            own data, and the ranges that were measured.",
        &["profile", "engine", "source", "error", "ranges", "decodes_max", "context_max", "prefill_tokens_max"],
    ),
    metric("out_of_range", "", "What left the profile's measured ranges: times there are extrapolated.", &["out_of_range"]),
    metric(
        "host",
        "us",
        "Host time: per step, per layer of a step that runs as no CUDA graph (the launches of its kernels), per step of \
            data-parallel ranks that have to agree, scheduling per step and per sequence, per request and per token of its prompt \
            before the engine sees it, per request within the step that completes its prompt, and per token on its way to the \
            client.",
        &[
            "host",
            "step_us",
            "layer_us",
            "sync_us",
            "schedule_us",
            "schedule_sequence_us",
            "request_us",
            "arrival_us",
            "prompt_token_us",
            "token_us",
        ],
    ),
    metric(
        "model",
        "",
        "What was simulated: model, GPU, layout of a replica (tensor-parallel ranks `tp`, pipeline stages `pp`, data-parallel \
            ranks `dp`, whole experts `ep`), router.",
        &["model", "name", "gpu", "layout", "router"],
    )
    .aliases(&["tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel"]),
    metric("summary", "", "The figures over all requests.", &["summary"]),
    metric("duration_s", "s", "First counted arrival to the last end.", &["duration_s"]).aliases(&["duration"]),
    metric("timeline", "", "Levels and counts over time, in equal bins; levels are means over their bin.", &["timeline", "bin_s"]),
    metric(
        "ci95",
        "as the metric",
        "Half-width of the 95 % confidence interval of a figure (Student t over replications), by its path.",
        &["ci95"],
    )
    .caveat("It covers the randomness of arrivals and lengths, not the error of the step times."),
    metric(
        "fingerprint",
        "",
        "What makes two results comparable: version, scenario, profile and trace by hash, the tokenizer, and the seeds.",
        &["fingerprint", "version", "scenario", "trace", "seeds"],
    ),
    metric(
        "tokenizer",
        "",
        "What counted the prompts that the scenario takes from files: `tokenizer.json:` with the hash of its content, the name \
            of a tiktoken encoding, or so many characters per token.",
        &["tokenizer"],
    )
    .caveat(
        "Text is counted as it is, without the tokens that a chat template adds. Characters per token are an approximation; \
            English prose has about 4, code and other languages fewer.",
    ),
    metric("hash", "", "Hash of the cost profile's text or of the formula's inputs.", &["hash"]),
    metric("notes", "", "Assumptions, approximations and warnings of this run.", &["notes"]),
    metric("schema_version", "", "Version of the JSON report's format.", &["schema_version"]),
];
