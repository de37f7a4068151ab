//! Writing a `HorizontalPodAutoscaler`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_saphyr::{Commented, LitString};

use super::behavior::{Behavior, behavior};
use super::{About, WriteError, document};
use crate::config::{Autoscaler, MetricSource, Target};
use crate::manifest::{cpu, quantity, query};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

/// `metadata`.
#[derive(Serialize)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// What tokentide reads back and Kubernetes passes over.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<&'static str, Annotation>,
}

/// The text of an annotation.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Annotation {
    /// One line.
    Line(String),
    /// Several.
    Block(LitString),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    scale_target_ref: TargetRef,
    min_replicas: Commented<u32>,
    max_replicas: Commented<u32>,
    metrics: Vec<Metric>,
    #[serde(skip_serializing_if = "Option::is_none")]
    behavior: Option<Behavior>,
}

/// `scaleTargetRef` of a Deployment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    api_version: &'static str,
    kind: &'static str,
    name: String,
}

impl TargetRef {
    /// A Deployment of this name.
    pub fn deployment(name: &str) -> TargetRef {
        TargetRef { api_version: "apps/v1", kind: "Deployment", name: name.to_owned() }
    }
}

#[derive(Serialize)]
struct Metric {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Resource>,
}

#[derive(Serialize)]
struct Named {
    metric: Identifier,
    target: TargetSpec,
}

#[derive(Serialize)]
struct Identifier {
    name: Commented<String>,
}

#[derive(Serialize)]
struct Resource {
    name: &'static str,
    target: TargetSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetSpec {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    average_value: Option<Commented<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Commented<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average_utilization: Option<Commented<u32>>,
}

/// Writes the HPA of a configuration as YAML. An external metric's query is in the annotation `tokentide/queries`, since an HPA
/// knows only its name; KEDA is left out.
///
/// # Errors
/// If an HPA cannot say it: two metrics of one name with different queries, a target that its metric cannot have, a duration that
/// is no whole number of seconds, different CPU requests.
pub fn write_hpa(autoscaler: &Autoscaler, about: &About) -> Result<String, WriteError> {
    let hpa = &autoscaler.hpa;
    if hpa.metrics.is_empty() {
        return Err(WriteError("an HPA without metrics would scale on CPU".to_owned()));
    }
    let metrics = hpa.metrics.iter().enumerate().map(|(i, m)| metric(about, &format!("spec.metrics[{i}]"), m));
    let object = Object {
        api_version: "autoscaling/v2",
        kind: "HorizontalPodAutoscaler",
        metadata: Metadata { name: about.name.clone(), annotations: annotations(autoscaler)? },
        spec: Spec {
            scale_target_ref: TargetRef::deployment(&about.target),
            min_replicas: about.at("spec.minReplicas", hpa.min_replicas),
            max_replicas: about.at("spec.maxReplicas", hpa.max_replicas),
            metrics: metrics.collect::<Result<_, _>>()?,
            behavior: hpa.behavior.as_ref().map(|b| behavior(about, "spec.behavior", b)).transpose()?,
        },
    };
    document(about, &object)
}

fn metric(about: &About, path: &str, metric: &crate::config::Metric) -> Result<Metric, WriteError> {
    let mut written = Metric { kind: "External", external: None, pods: None, resource: None };
    let named = |field: &str| {
        Ok(Named {
            metric: Identifier { name: about.at(&format!("{path}.{field}.metric.name"), metric.name.clone()) },
            target: target(about, &format!("{path}.{field}.target"), metric.target),
        })
    };
    let cannot = || WriteError(format!("metric `{}` cannot have this type of target in an HPA", metric.name));
    match (&metric.source, metric.target) {
        (MetricSource::External { .. }, Target::AverageValue(_) | Target::Value(_)) => written.external = Some(named("external")?),
        (MetricSource::Pods { .. }, Target::AverageValue(_)) => {
            written.kind = "Pods";
            written.pods = Some(named("pods")?);
        }
        (MetricSource::Cpu { .. }, Target::AverageValue(_) | Target::Utilization(_)) => {
            written.kind = "Resource";
            let target = target(about, &format!("{path}.resource.target"), metric.target);
            written.resource = Some(Resource { name: "cpu", target });
        }
        _ => return Err(cannot()),
    }
    Ok(written)
}

fn target(about: &About, path: &str, target: Target) -> TargetSpec {
    let mut written = TargetSpec { kind: "AverageValue", average_value: None, value: None, average_utilization: None };
    match target {
        Target::AverageValue(value) => {
            written.average_value = Some(about.at(&format!("{path}.averageValue"), quantity::text(value)));
        }
        Target::Value(value) => {
            written.kind = "Value";
            written.value = Some(about.at(&format!("{path}.value"), quantity::text(value)));
        }
        Target::Utilization(percent) => {
            written.kind = "Utilization";
            written.average_utilization = Some(about.at(&format!("{path}.averageUtilization"), percent));
        }
    }
    written
}

/// What an HPA cannot say itself: the queries behind its names, and the CPU request.
fn annotations(autoscaler: &Autoscaler) -> Result<BTreeMap<&'static str, Annotation>, WriteError> {
    let mut queries: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
    for metric in &autoscaler.hpa.metrics {
        let (query, per_pod) = match &metric.source {
            MetricSource::External { query } => (query, false),
            MetricSource::Pods { query } => (query, true),
            MetricSource::Cpu { .. } => continue,
        };
        match queries.insert(&metric.name, (query, per_pod)) {
            Some((other, _)) if other != query => {
                return Err(WriteError(format!("two metrics have the name `{}` and different queries", metric.name)));
            }
            _ => {}
        }
    }
    queries.retain(|name, (query, per_pod)| query::implied(name, "", *per_pod).as_deref() != Some(*query));
    let mut annotations = cpu_request(autoscaler)?;
    if !queries.is_empty() {
        let queries: BTreeMap<_, _> = queries.into_iter().map(|(name, (query, _))| (name, query)).collect();
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let text = serde_saphyr::to_string_with_options(&queries, options).map_err(|error| WriteError(error.to_string()))?;
        annotations.insert(query::ANNOTATION, Annotation::Block(LitString(text)));
    }
    Ok(annotations)
}

/// The annotation of the CPU request, if a metric needs it.
pub fn cpu_request(autoscaler: &Autoscaler) -> Result<BTreeMap<&'static str, Annotation>, WriteError> {
    let mut found = None;
    for metric in &autoscaler.hpa.metrics {
        let MetricSource::Cpu { request } = metric.source else { continue };
        if found.is_some_and(|other| other != request) {
            return Err(WriteError("two metrics are of different CPU requests".to_owned()));
        }
        found = Some(request);
    }
    // 0: not known, and not needed.
    let known = found.filter(|request| *request > 0);
    Ok(known.map(|request| (cpu::ANNOTATION, Annotation::Line(quantity::text(request)))).into_iter().collect())
}
