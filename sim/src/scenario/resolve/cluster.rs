//! Replicas, and what changes them.

use tokentide_models::units::{Duration, Time};

use super::Context;
use super::check::at_least_one;
use super::distribution::distribution;
use crate::scenario::at::At;
use crate::scenario::duration::TimeSpan;
use crate::scenario::file::cluster::{ClusterFile, FailingFile, FailureFile, PhaseFile, ScheduleFile};
use crate::scenario::{
    Class, ClusterConfig, Distribution, Dynamics, Failing, Failure, Interrupted, Phase, Router, Scheduled, When,
};

/// Each takes memory of its own.
const REPLICAS_MAX: u32 = 100_000;
/// Zones at most: no cloud has more in a region.
const ZONES_MAX: u32 = 100;
/// Kubernetes' `terminationGracePeriodSeconds` [s].
const GRACE_S: f64 = 30.0;
/// The cluster autoscaler's `--scale-down-unneeded-time` [s].
const NODE_KEEP_S: f64 = 600.0;
/// Patience of a gateway with an empty pool [s]: an assumption.
const HOLD_S: f64 = 30.0;
/// Ratio of the 95th percentile to the median of the default phases: an assumption.
const STARTUP_SPREAD: f64 = 1.5;

/// Phases of a start where none are given: name, when, median [s]. In all 120 s on a node that is there and 480 s on one that is
/// made: the middle of what is documented for vLLM on Kubernetes (34 s to 277 s for the engine, 966 s in all for an A100 node of a
/// cloud).
const STARTUP: [(&str, When, f64); 5] = [
    ("node", When::Node, 260.0),
    ("image", When::Node, 100.0),
    ("container", When::Pod, 10.0),
    ("weights", When::Container, 40.0),
    ("compile and warm-up", When::Container, 70.0),
];

/// Replicas and router, and what changes the replicas, but for the autoscaler: whether there is one decides what has an effect.
pub(super) fn cluster(file: Option<&ClusterFile>, autoscaled: bool, classes: &[Class], context: &mut Context<'_>) -> ClusterConfig {
    let default = ClusterFile::default();
    let file = file.unwrap_or(&default);
    if let Some(replicas) = file.replicas.as_ref().filter(|replicas| ***replicas > REPLICAS_MAX) {
        context.problems.at(replicas.span(), format!("`replicas` must be at most {REPLICAS_MAX}, not {}", **replicas));
    }
    let replicas = at_least_one("replicas", file.replicas.as_ref(), context).unwrap_or(1);
    let dynamics = dynamics(file, autoscaled, classes, context);
    let changes = autoscaled || dynamics.changes();
    if !changes {
        unused(file, context);
    }
    ClusterConfig {
        replicas,
        router: file.router.as_ref().map_or(Router::RoundRobin, |router| **router),
        dynamics: changes.then(|| Box::new(dynamics)),
    }
}

/// Says what has no effect since nothing changes the replicas.
fn unused(file: &ClusterFile, context: &mut Context<'_>) {
    let given = [
        ("zones", file.zones.is_some()),
        ("warm_nodes", file.warm_nodes.is_some()),
        ("node_keep", file.node_keep.is_some()),
        ("termination_grace", file.termination_grace.is_some()),
        ("hold", file.hold.is_some()),
        ("interrupted", file.interrupted.is_some()),
        ("startup", file.startup.is_some()),
    ];
    let keys: Vec<String> = given.iter().filter(|(_, given)| *given).map(|(key, _)| format!("`{key}`")).collect();
    if !keys.is_empty() {
        let has = if keys.len() == 1 { "has" } else { "have" };
        let keys = keys.join(", ");
        context.notes.push(format!(
            "{keys} of [cluster] {has} no effect: no [autoscaler], [[cluster.failure]] or [[cluster.schedule]] changes the replicas"
        ));
    }
}

fn dynamics(file: &ClusterFile, autoscaled: bool, classes: &[Class], context: &mut Context<'_>) -> Dynamics {
    let time = |given: &Option<At<TimeSpan>>, default_s: f64| match given {
        Some(given) => Duration(given.time().0),
        None => Duration::from_secs_f64(default_s),
    };
    let zones = at_least_one("zones", file.zones.as_ref(), context).unwrap_or(1);
    if let Some(given) = file.zones.as_ref().filter(|_| zones > ZONES_MAX) {
        context.problems.at(given.span(), format!("`zones` must be at most {ZONES_MAX}, not {zones}"));
    }
    let startup = startup(file.startup.as_deref(), context);
    let failures: Vec<Failure> = file.failure.iter().filter_map(|given| failure(given, zones, context)).collect();
    let config = Dynamics {
        startup,
        warm_nodes: file.warm_nodes.as_ref().map_or(0, |nodes| **nodes),
        node_keep: time(&file.node_keep, NODE_KEEP_S),
        termination_grace: time(&file.termination_grace, GRACE_S),
        zones,
        interrupted: file.interrupted.as_ref().map_or(Interrupted::Lost, |what| **what),
        hold: time(&file.hold, HOLD_S),
        failures,
        schedule: schedule(&file.schedule, autoscaled, context),
        autoscaler: None,
        slos: classes.iter().map(|class| class.slo.clone()).collect(),
    };
    if file.startup.is_none() && (autoscaled || config.changes()) {
        context.notes.push(format!(
            "a replica is assumed to start in {}: set cluster.startup to what yours take",
            described(&config.startup)
        ));
    }
    config
}

/// The phases in words.
fn described(startup: &[Phase]) -> String {
    let sum = |first: When| startup.iter().filter(|phase| phase.when >= first).map(median).sum::<f64>();
    let names: Vec<String> = startup.iter().map(|phase| format!("{} {:.0} s", phase.name, median(phase))).collect();
    format!("{:.0} s, {:.0} s where a node has to be made (medians: {})", sum(When::Pod), sum(When::Node), names.join(", "))
}

fn median(phase: &Phase) -> f64 {
    match phase.time {
        Distribution::LogNormal { median, .. } => median,
        _ => 0.0,
    }
}

fn startup(file: Option<&Vec<At<PhaseFile>>>, context: &mut Context<'_>) -> Vec<Phase> {
    let Some(file) = file else {
        let lognormal =
            |median: f64| Distribution::LogNormal { median, p95: STARTUP_SPREAD * median, min: 0.0, max: f64::INFINITY };
        let phase = |(name, when, median): (&str, When, f64)| Phase { name: name.to_owned(), when, time: lognormal(median) };
        return STARTUP.into_iter().map(phase).collect();
    };
    let mut phases: Vec<Phase> = Vec::with_capacity(file.len());
    for given in file {
        let name = needed("phase", &given.phase, given, context);
        let (when, time) = (needed("when", &given.when, given, context), needed("time", &given.time, given, context));
        let (Some(name), Some(when), Some(time)) = (name, when, time) else { continue };
        if phases.last().is_some_and(|before| **when < before.when) {
            let message = "phases are in the order of a start: first those of the node, then of the pod, then of the container";
            context.problems.at(when.span(), message);
        }
        let time = distribution("time", time, 0.0, context);
        phases.push(Phase { name: name.to_string(), when: **when, time });
    }
    phases
}

/// Notes a key that an entry needs and does not have.
fn needed<'a, T, E>(key: &str, value: &'a Option<At<T>>, entry: &At<E>, context: &mut Context<'_>) -> Option<&'a At<T>> {
    if value.is_none() {
        context.problems.missing(Some(entry.span()), key, format!("this entry needs `{key}`"), None);
    }
    value.as_ref()
}

fn schedule(file: &[At<ScheduleFile>], autoscaled: bool, context: &mut Context<'_>) -> Vec<Scheduled> {
    if let Some(first) = file.first().filter(|_| autoscaled) {
        context.problems.at(first.span(), "a schedule does not go with an [autoscaler], which would undo it");
    }
    let mut entries: Vec<Scheduled> = Vec::with_capacity(file.len());
    for given in file {
        let (at, replicas) = (needed("at", &given.at, given, context), needed("replicas", &given.replicas, given, context));
        let (Some(at), Some(replicas)) = (at, replicas) else { continue };
        if entries.last().is_some_and(|before| at.time() <= before.at) {
            context.problems.at(at.span(), "a schedule must ascend in time");
        }
        if **replicas > REPLICAS_MAX {
            context.problems.at(replicas.span(), format!("`replicas` must be at most {REPLICAS_MAX}, not {}", **replicas));
        }
        entries.push(Scheduled { at: at.time(), replicas: **replicas });
    }
    entries
}

fn failure(file: &At<FailureFile>, zones: u32, context: &mut Context<'_>) -> Option<Failure> {
    let index = file.index.as_ref().map_or(0, |index| **index);
    let (at, what) = (needed("at", &file.at, file, context), needed("what", &file.what, file, context));
    let (at, what): (Time, FailingFile) = (at?.time(), **what?);
    let zone = what == FailingFile::Zone;
    if let (Some(back), false) = (&file.back, zone) {
        context.problems.at(back.span(), "`back` goes with what = \"zone\" only: replicas start again by themselves");
    }
    if let Some(back) = file.back.as_ref().filter(|back| zone && back.time() <= at) {
        context.problems.at(back.span(), "`back` must be later than `at`");
    }
    if let Some(given) = file.index.as_ref().filter(|_| zone && index >= zones) {
        let there = if zones == 1 { "there is 1 zone".to_owned() } else { format!("there are {zones} zones") };
        context.problems.at(given.span(), format!("no zone has the index {index}: {there} (cluster.zones)"));
    }
    let back = file.back.as_ref().map(|back| back.time());
    let what = match what {
        FailingFile::Container => Failing::Container(index),
        FailingFile::Node => Failing::Node(index),
        FailingFile::Replica => Failing::Replica(index),
        FailingFile::Zone => Failing::Zone { zone: index, back },
    };
    Some(Failure { at, what })
}
