//! Replicas that come and go.

use super::{Metric, metric};

pub(super) const METRICS: &[Metric] = &[
    metric(
        "fleet",
        "",
        "What became of the replicas; only where an autoscaler, failures or a schedule change them.",
        &["fleet", "autoscaler"],
    )
    .aliases(&["scaling", "autoscaling"]),
    metric(
        "ready",
        "replicas",
        "Replicas that get requests, in bins of the timeline; the fewest, the most and the mean of the run.",
        &["ready", "ready_min", "ready_max", "ready_mean"],
    ),
    metric("starting", "replicas", "Created and not ready: on a node that is made, or loading.", &["starting"])
        .caveat("An HPA's AverageValue counts them as if they served: it hides a slow start."),
    metric("draining", "replicas", "Getting no requests any more, and finishing those that they have.", &["draining"]),
    metric("wanted", "replicas", "What the autoscaler or the schedule asks for.", &["wanted"]),
    metric(
        "scalings",
        "",
        "Each change of the wanted number: when, from how many to how many, and why.",
        &["scalings", "at_s", "from", "to", "why"],
    ),
    metric("scale_ups", "", "Times that the wanted number was raised, and lowered.", &["scale_ups", "scale_downs"]),
    metric("flaps", "", "Changes that take back the one before them within 10 minutes.", &["flaps"]).aliases(&["flapping"]),
    metric(
        "gpu_hours",
        "h",
        "Time of all GPUs that are paid for, and what it costs: a node counts from its making until it is given back.",
        &["gpu_hours", "usd"],
    ),
    metric("start", "s", "From the creation of a replica until it is ready, mean and longest.", &["start_mean_s", "start_max_s"])
        .aliases(&["cold start", "startup"]),
    metric(
        "interrupted",
        "requests",
        "Requests whose replica went away under them: it failed, or was scaled down and not done by the end of its grace.",
        &["interrupted_by_failure", "interrupted_by_scaling"],
    )
    .caveat("Lost unless cluster.interrupted = \"retried\": then their latency counts from their first arrival."),
    metric("retried", "requests", "Interrupted requests that their clients sent again.", &["retried"]),
    metric("unrouted", "requests", "Times that a request found no replica ready, and was held at the gateway.", &["unrouted"]),
    metric(
        "slo_missed_s",
        "s",
        "Time in which fewer requests met all their limits than the lowest of the targets' percentiles asks for, by arrival.",
        &["slo_missed_s", "slo_requests", "slo_good"],
    )
    .aliases(&["missed for"]),
];
