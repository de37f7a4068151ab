//! Reading a `ScaledObject` of `keda.sh/v1alpha1`: KEDA, and the HPA that it makes.

use super::behavior::{self, seconds};
use super::cpu;
use super::hpa::Around;
use super::reader::{Fields, INT32_MAX, Item};
use super::trigger::{self, Trigger};
use crate::config::{Fallback, Hpa, Keda, MetricSource};

/// Defaults of `pollingInterval` [s], `cooldownPeriod` [s] and `maxReplicaCount`.
const POLLING: u32 = 30;
const COOLDOWN: u32 = 300;
const MAX_REPLICAS: u32 = 100;

/// Annotations that stop KEDA.
const PAUSED: [&str; 4] = [
    "autoscaling.keda.sh/paused",
    "autoscaling.keda.sh/paused-replicas",
    "autoscaling.keda.sh/paused-scale-in",
    "autoscaling.keda.sh/paused-scale-out",
];

/// Reads it.
pub fn read(item: &Item, around: &Around) -> Option<(Hpa, Keda)> {
    let fields = item.fields()?;
    fields.accept(&["apiVersion", "kind", "status"]);
    let metadata = fields.optional("metadata").and_then(|item| item.fields());
    let annotations = metadata.and_then(|metadata| metadata.optional("annotations")).and_then(|item| item.fields());
    for (key, item) in annotations.iter().flat_map(Fields::all).filter(|(key, _)| PAUSED.contains(key)) {
        item.fault(&format!("`{key}` pauses the scaling, which is not simulated"), Some("remove the annotation".to_owned()));
    }
    let spec = fields.required("spec").and_then(|item| item.fields());
    fields.end();
    let spec = spec?;
    let target = spec.required("scaleTargetRef").and_then(|item| target_name(&item));
    let whole = |name, default, least| spec.optional(name).map_or(Some(default), |item| item.integer(least..=INT32_MAX));
    let polling = whole("pollingInterval", POLLING, 1);
    let cooldown = whole("cooldownPeriod", COOLDOWN, 0);
    let initial_cooldown = whole("initialCooldownPeriod", 0, 0);
    let min = whole("minReplicaCount", 0, 0);
    let max = whole("maxReplicaCount", MAX_REPLICAS, 1);
    let idle = spec.optional("idleReplicaCount").map(|item| item.integer(0..=INT32_MAX));
    check_counts(&spec, min, max, idle.flatten());
    let fallback = spec.optional("fallback").map(|item| fallback(&item));
    let behavior = spec.optional("advanced").map_or(Some(None), |item| advanced(&item));
    let request = || cpu::request(annotations.as_ref(), target, around.documents);
    let triggers = triggers(&spec, min, &request);
    spec.end();
    let mut metrics = Vec::new();
    let (mut activation, mut cached) = (Vec::new(), Vec::new());
    for trigger in triggers {
        metrics.push(trigger.metric);
        activation.push(trigger.activation);
        cached.push(trigger.cached);
    }
    let keda = Keda {
        polling: seconds(polling?),
        cooldown: seconds(cooldown?),
        initial_cooldown: seconds(initial_cooldown?),
        min_replicas: min?,
        idle: idle.map_or(Some(None), |idle| idle.map(Some))?,
        activation,
        cached,
        fallback: fallback.map_or(Some(None), |fallback| fallback.map(Some))?,
    };
    // An HPA has at least one replica; what is below is KEDA's.
    Some((Hpa { min_replicas: min?.max(1), max_replicas: max?, metrics, behavior: behavior? }, keda))
}

/// `scaleTargetRef`: only its name is looked at, to find the CPU request.
fn target_name<'a>(item: &Item<'a>) -> Option<&'a str> {
    let fields = item.fields()?;
    fields.accept(&["apiVersion", "kind", "envSourceContainerName"]);
    let name = fields.required("name").and_then(|item| item.text());
    fields.end();
    name
}

fn check_counts(spec: &Fields, min: Option<u32>, max: Option<u32>, idle: Option<u32>) {
    if let (Some(min), Some(max)) = (min, max)
        && min > max
        && let Some(item) = spec.optional("minReplicaCount")
    {
        item.wrong(&format!("is above maxReplicaCount, {max}"));
    }
    if let (Some(min), Some(idle)) = (min, idle)
        && idle >= min
        && let Some(item) = spec.optional("idleReplicaCount")
    {
        item.wrong(&format!("must be below minReplicaCount, {min}"));
    }
}

fn fallback(item: &Item) -> Option<Fallback> {
    let fields = item.fields()?;
    let failures = fields.required("failureThreshold").and_then(|item| item.integer(0..=INT32_MAX));
    let replicas = fields.required("replicas").and_then(|item| item.integer(0..=INT32_MAX));
    if let Some(item) = fields.optional("behavior")
        && item.text().is_some_and(|text| text != "static")
    {
        item.wrong("is not simulated: only `static` is");
    }
    fields.end();
    Some(Fallback { failures: failures?, replicas: replicas? })
}

/// `advanced`: the HPA's behaviour, if it is given.
fn advanced(item: &Item) -> Option<Option<crate::config::Behavior>> {
    let fields = item.fields()?;
    fields.accept(&["restoreToOriginalReplicaCount"]);
    fields.refuse("scalingModifiers", "formulas over several triggers are not simulated");
    let mut behavior = Some(None);
    if let Some(config) = fields.optional("horizontalPodAutoscalerConfig").and_then(|item| item.fields()) {
        config.accept(&["name"]);
        behavior = config.optional("behavior").map_or(Some(None), |item| behavior::read(&item).map(Some));
        config.end();
    }
    fields.end();
    behavior
}

fn triggers(spec: &Fields, min: Option<u32>, request: &dyn Fn() -> Option<i64>) -> Vec<Trigger> {
    let Some(list) = spec.required("triggers") else { return Vec::new() };
    let elements = list.elements();
    if elements.is_empty() {
        list.fault("needs at least one trigger", None);
    }
    let mut found: Vec<Trigger> = Vec::new();
    for (i, item) in elements.iter().enumerate() {
        let Some(trigger) = trigger::read(item, i, request) else { continue };
        if found.iter().any(|other| other.metric.name == trigger.metric.name) {
            item.fault(&format!("has the name of another trigger, `{}`", trigger.metric.name), None);
        }
        found.push(trigger);
    }
    let only_cpu = found.iter().all(|trigger| matches!(trigger.metric.source, MetricSource::Cpu { .. }));
    if only_cpu && found.len() == elements.len() && !found.is_empty() && min == Some(0) {
        let help = "set minReplicaCount to 1 or more, or add another trigger";
        list.fault("a cpu trigger alone cannot scale from zero: no pod, no CPU", Some(help.to_owned()));
    }
    found
}
