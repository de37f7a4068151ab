//! Writing a `ScaledObject`.

use serde::Serialize;
use serde_saphyr::Commented;

use super::behavior::{Behavior, behavior};
use super::hpa::{Metadata, TargetRef, cpu_request};
use super::{About, WriteError, document, seconds};
use crate::config::{Autoscaler, Keda, MetricSource, Target};
use crate::manifest::{quantity, trigger};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    scale_target_ref: TargetRef,
    polling_interval: Commented<u32>,
    cooldown_period: Commented<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_cooldown_period: Option<Commented<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_replica_count: Option<Commented<u32>>,
    min_replica_count: Commented<u32>,
    max_replica_count: Commented<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advanced: Option<Advanced>,
    triggers: Vec<Trigger>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fallback {
    failure_threshold: Commented<u32>,
    replicas: Commented<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Advanced {
    horizontal_pod_autoscaler_config: HpaConfig,
}

#[derive(Serialize)]
struct HpaConfig {
    behavior: Behavior,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trigger {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    metric_type: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    use_cached_metrics: bool,
    metadata: TriggerMetadata,
}

/// Of a prometheus trigger the first four, of a cpu trigger the last.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TriggerMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    server_address: Option<Commented<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Commented<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<Commented<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_threshold: Option<Commented<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Commented<String>>,
}

/// Writes a configuration with KEDA as YAML.
///
/// # Errors
/// If a ScaledObject cannot say it: no KEDA, metrics for each pod (`Pods`), a target that its trigger cannot have, a least number
/// of replicas that is not KEDA's, a duration that is no whole number of seconds, different CPU requests.
pub fn write_scaled_object(autoscaler: &Autoscaler, about: &About) -> Result<String, WriteError> {
    let hpa = &autoscaler.hpa;
    let keda = autoscaler.keda.as_ref().ok_or_else(|| WriteError("a ScaledObject needs KEDA's settings".to_owned()))?;
    if hpa.min_replicas != keda.min_replicas.max(1) {
        let why = format!("minReplicaCount {} and the HPA's minReplicas {} contradict", keda.min_replicas, hpa.min_replicas);
        return Err(WriteError(why));
    }
    let path = "spec.advanced.horizontalPodAutoscalerConfig.behavior";
    let advanced =
        |b| behavior(about, path, b).map(|behavior| Advanced { horizontal_pod_autoscaler_config: HpaConfig { behavior } });
    let time = |field: &str, duration| Ok(about.at(&format!("spec.{field}"), seconds(duration, &format!("spec.{field}"))?));
    let initial = Some(keda.initial_cooldown).filter(|duration| duration.0 > 0);
    let object = Object {
        api_version: "keda.sh/v1alpha1",
        kind: "ScaledObject",
        metadata: Metadata { name: about.name.clone(), annotations: cpu_request(autoscaler)? },
        spec: Spec {
            scale_target_ref: TargetRef::deployment(&about.target),
            polling_interval: time("pollingInterval", keda.polling)?,
            cooldown_period: time("cooldownPeriod", keda.cooldown)?,
            initial_cooldown_period: initial.map(|duration| time("initialCooldownPeriod", duration)).transpose()?,
            idle_replica_count: keda.idle.map(|idle| about.at("spec.idleReplicaCount", idle)),
            min_replica_count: about.at("spec.minReplicaCount", keda.min_replicas),
            max_replica_count: about.at("spec.maxReplicaCount", hpa.max_replicas),
            fallback: keda.fallback.map(|fallback| Fallback {
                failure_threshold: about.at("spec.fallback.failureThreshold", fallback.failures),
                replicas: about.at("spec.fallback.replicas", fallback.replicas),
            }),
            advanced: hpa.behavior.as_ref().map(advanced).transpose()?,
            triggers: triggers(autoscaler, keda, about)?,
        },
    };
    document(about, &object)
}

fn triggers(autoscaler: &Autoscaler, keda: &Keda, about: &About) -> Result<Vec<Trigger>, WriteError> {
    let metrics = &autoscaler.hpa.metrics;
    if keda.activation.len() != metrics.len() || keda.cached.len() != metrics.len() {
        return Err(WriteError("KEDA's settings are not one for each metric".to_owned()));
    }
    let one = |i: usize| {
        let metric = &metrics[i];
        let path = format!("spec.triggers[{i}].metadata");
        let cannot = |what: &str| WriteError(format!("metric `{}`: {what}", metric.name));
        let mut metadata = TriggerMetadata::default();
        let put = |key: &str, value: String| Some(about.at(&format!("{path}.{key}"), value));
        let (kind, metric_type, default_name) = match (&metric.source, metric.target) {
            (MetricSource::External { query }, Target::AverageValue(threshold) | Target::Value(threshold)) => {
                metadata.server_address = put("serverAddress", about.prometheus.clone());
                metadata.query = put("query", query.clone());
                metadata.threshold = put("threshold", quantity::threshold(threshold));
                if keda.activation[i] != 0.0 {
                    metadata.activation_threshold = put("activationThreshold", keda.activation[i].to_string());
                }
                let average = matches!(metric.target, Target::AverageValue(_));
                ("prometheus", if average { "AverageValue" } else { "Value" }, trigger::default_name(i))
            }
            (MetricSource::Cpu { .. }, Target::Utilization(percent)) => {
                metadata.value = put("value", percent.to_string());
                ("cpu", "Utilization", "cpu".to_owned())
            }
            (MetricSource::Cpu { .. }, Target::AverageValue(value)) => {
                metadata.value = put("value", quantity::text(value));
                ("cpu", "AverageValue", "cpu".to_owned())
            }
            (MetricSource::Pods { .. }, _) => return Err(cannot("KEDA has no metrics for each pod")),
            _ => return Err(cannot("its trigger cannot have this type of target")),
        };
        let name = Some(metric.name.clone()).filter(|name| *name != default_name);
        Ok(Trigger { kind, name, metric_type, use_cached_metrics: keda.cached[i], metadata })
    };
    (0..metrics.len()).map(one).collect()
}
