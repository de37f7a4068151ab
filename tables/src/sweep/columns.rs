//! What the columns of a sweep's table are, beside settings and figures.

use crate::columns::{ColumnInfo, column};

/// Stands for the columns of the settings, each by its path.
pub(super) const SETTINGS: &str = "(settings)";
/// Stands for the figures.
pub(super) const FIGURES: &str = "(figures)";

/// The columns of a sweep's table, in order.
pub const SWEEP_COLUMNS: &[ColumnInfo] = &[
    column("point", "", "identity of the point: hash of its settings, whatever else the sweep has"),
    column("index", "", "place of the point in the design, from 0"),
    column("replication", "", "number of the run, from 0"),
    column("seed", "", "seed of the run: simulate --seed with it and the point's settings gives the same figures"),
    column(SETTINGS, "", "a column per setting that is varied, by its path; null where a listed point does not have it"),
    column("error", "", "why the run failed; null if it did not"),
    column(
        "capacity_state",
        "",
        "idle, stable, near the knee, saturated by design, or overloaded: then latencies grow with the run's length",
    ),
    column("calibrated", "", "whether the step times come from measurements; false: estimates of the roofline"),
    column("out_of_range", "", "what left the ranges that the profile was measured in; null if nothing did"),
    column("slo_met", "", "whether every target is met; null without targets"),
    column(
        FIGURES,
        "",
        "the figures of simulate --format json, by their paths joined with _ and without summary: ttft_ms_p95, \
         class_chat_ttft_ms_p95, fleet_replicas_mean; null where nothing was observed",
    ),
    column("scenario", "", "hash of the point's scenario, seed left out"),
    column("profile", "", "hash of its cost profile"),
    column("trace", "", "hash of the trace replayed; null without one"),
    column("version", "", "version of the program"),
    column("base", "", "hash of the scenario that is varied"),
    column("base_profile", "", "hash of its cost profile"),
    column("seeds", "", "where seeds come from, such as derived from 42"),
    column("design", "", "hash of all points and the number of runs of each: shards of one sweep have it in common"),
    column("points", "", "points of the whole sweep"),
];
