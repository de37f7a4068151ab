//! Reading one of a ScaledObject's `triggers`.

use super::reader::{Fields, INT32_MAX, Item};
use super::{cpu, quantity};
use crate::config::{Metric, MetricSource, Target};

/// A trigger.
pub struct Trigger {
    /// The HPA's metric that KEDA makes of it.
    pub metric: Metric,
    /// `activationThreshold`: active above it.
    pub activation: f64,
    /// `useCachedMetrics`.
    pub cached: bool,
}

/// Metadata of the prometheus scaler that say where and how the server is reached.
const CONNECTION: [&str; 16] = [
    "namespace",
    "metricName",
    "authModes",
    "unsafeSsl",
    "customHeaders",
    "queryParameters",
    "cortexOrgID",
    "timeout",
    "awsRegion",
    "awsCredentials",
    "credentialsFromEnv",
    "bearerToken",
    "username",
    "password",
    "identityOwner",
    "vertexAITargetUtilization",
];

/// Reads it; `None` after a fault.
pub fn read(item: &Item, index: usize, request: &dyn Fn() -> Option<i64>) -> Option<Trigger> {
    let fields = item.fields()?;
    fields.accept(&["authenticationRef"]);
    let kind = fields.required("type");
    let name = fields.optional("name").and_then(|item| item.text());
    let metric_type = fields.optional("metricType");
    let cached = fields.optional("useCachedMetrics").map_or(Some(false), |item| item.boolean());
    let metadata = fields.required("metadata").and_then(|item| item.fields());
    fields.end();
    let (kind, metadata, cached) = (kind?, metadata?, cached?);
    match kind.text()? {
        "prometheus" => {
            let name = name.map_or_else(|| default_name(index), str::to_owned);
            prometheus(&metadata, metric_type).map(|(source, target, activation)| {
                let metric = Metric { name, source, target };
                Trigger { metric, activation, cached }
            })
        }
        "cpu" => {
            if cached {
                item.fault("useCachedMetrics is not for cpu triggers", None);
            }
            let (source, target) = resource(&metadata, metric_type, request)?;
            Some(Trigger { metric: Metric { name: name.unwrap_or("cpu").to_owned(), source, target }, activation: 0.0, cached })
        }
        _ => {
            kind.wrong("is not simulated: triggers of type prometheus and cpu are");
            None
        }
    }
}

/// The name that KEDA gives the metric of a prometheus trigger.
pub fn default_name(index: usize) -> String {
    format!("s{index}-prometheus")
}

/// What is measured, what it is held to, and the activation threshold.
fn prometheus(metadata: &Fields, metric_type: Option<Item>) -> Option<(MetricSource, Target, f64)> {
    metadata.accept(&CONNECTION);
    metadata.required("serverAddress").and_then(|item| item.text());
    let query = metadata.required("query").and_then(|item| {
        let text = item.text()?;
        if text.trim().is_empty() {
            item.fault("is empty", None);
        }
        Some(text.to_owned())
    });
    let threshold = metadata.required("threshold").and_then(|item| {
        let value = number(&item)?;
        let thousandths = quantity::of_threshold(value);
        if thousandths <= 0 || thousandths == i64::MAX {
            item.wrong("must be a number from 0.001 up");
            return None;
        }
        Some(thousandths)
    });
    let activation = metadata.optional("activationThreshold").map_or(Some(0.0), |item| number(&item));
    let ignores_null = metadata.optional("ignoreNullValues").map(|item| (item.text(), item));
    if let Some((Some(text), item)) = ignores_null
        && text != "true"
    {
        item.wrong("is not simulated: an empty result counts as 0, KEDA's default");
    }
    metadata_end(metadata);
    let average = [("AverageValue", true), ("Value", false)];
    let average = metric_type.map_or(Some(true), |item| item.one_of(&average));
    let threshold = threshold?;
    let target = if average? { Target::AverageValue(threshold) } else { Target::Value(threshold) };
    Some((MetricSource::External { query: query? }, target, activation?))
}

/// CPU, and what it is held to.
fn resource(metadata: &Fields, metric_type: Option<Item>, request: &dyn Fn() -> Option<i64>) -> Option<(MetricSource, Target)> {
    // An older place of metricType.
    let kind = metadata.optional("type").or(metric_type);
    metadata.refuse("containerName", "metrics of single containers are not simulated: a pod is one container here");
    let value = metadata.required("value");
    metadata_end(metadata);
    let kinds = [("Utilization", true), ("AverageValue", false)];
    let utilization = match kind {
        Some(item) => item.one_of(&kinds)?,
        None => {
            metadata.item.fault("a cpu trigger needs metricType: Utilization or AverageValue beside it", None);
            return None;
        }
    };
    let value = value?;
    value.text()?;
    let request = request();
    if !utilization {
        return Some((MetricSource::Cpu { request: request.unwrap_or(0) }, Target::AverageValue(value.positive_quantity()?)));
    }
    let percent = value.text()?.parse().ok().filter(|percent| (1..=INT32_MAX).contains(percent));
    if percent.is_none() {
        value.wrong("is no percentage: an integer from 1");
    }
    if request.is_none() {
        cpu::missing(&metadata.item);
    }
    Some((MetricSource::Cpu { request: request? }, Target::Utilization(percent?)))
}

/// A number in the text that KEDA's metadata are.
fn number(item: &Item) -> Option<f64> {
    let value = item.text()?.parse().ok().filter(|value: &f64| value.is_finite());
    if value.is_none() {
        item.wrong("is no number");
    }
    value
}

/// KEDA itself passes over metadata that it does not know, so that a slip of the pen goes unnoticed there.
fn metadata_end(metadata: &Fields) {
    metadata.unknown("is not known to this trigger, and KEDA would pass over it");
}
