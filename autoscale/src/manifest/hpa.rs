//! Reading a `HorizontalPodAutoscaler` of `autoscaling/v2`.

use super::query::{self, Queries};
use super::reader::{Fields, INT32_MAX, Item};
use super::{behavior, cpu};
use crate::config::{Hpa, Metric, MetricSource, Target};

/// The API's default metric: CPU, held to 80 % of the request.
const DEFAULT_UTILIZATION: u32 = 80;

/// What surrounds the object, for what it does not say itself.
pub struct Around<'a> {
    /// PromQL by metric name, given beside the file.
    pub queries: &'a Queries,
    /// All documents of the file.
    pub documents: &'a [Item<'a>],
}

/// Reads it.
pub fn read(item: &Item, around: &Around) -> Option<Hpa> {
    let fields = item.fields()?;
    fields.accept(&["apiVersion", "kind", "status"]);
    let metadata = fields.optional("metadata").and_then(|item| item.fields());
    let annotations = metadata.and_then(|metadata| metadata.optional("annotations")).and_then(|item| item.fields());
    let queries = query::with_annotation(annotations.as_ref(), around.queries);
    let spec = fields.required("spec").and_then(|item| item.fields());
    fields.end();
    let spec = spec?;
    let target = spec.required("scaleTargetRef").and_then(|item| target_name(&item));
    let min = spec.optional("minReplicas").map_or(Some(1), |item| least(&item));
    let max_item = spec.required("maxReplicas");
    let max = max_item.as_ref().and_then(|item| item.integer(1..=INT32_MAX));
    if let (Some(min), Some(max), Some(item)) = (min, max, &max_item)
        && min > max
    {
        item.wrong(&format!("is below minReplicas, {min}"));
    }
    let request = || cpu::request(annotations.as_ref(), target, around.documents);
    let mut metrics = Vec::new();
    for item in spec.optional("metrics").iter().flat_map(Item::elements) {
        metrics.extend(metric(&item, &queries, &request));
    }
    if spec.optional("metrics").is_none_or(|item| item.elements().is_empty()) {
        let item = &spec.item;
        item.reader().note(format!("{}.metrics is empty: the API's default is CPU at {DEFAULT_UTILIZATION} %", item.path));
        let Some(request) = request() else {
            cpu::missing(item);
            return None;
        };
        let target = Target::Utilization(DEFAULT_UTILIZATION);
        metrics.push(Metric { name: "cpu".to_owned(), source: MetricSource::Cpu { request }, target });
    }
    let behavior = spec.optional("behavior").map(|item| behavior::read(&item));
    spec.end();
    Some(Hpa { min_replicas: min?, max_replicas: max?, metrics, behavior: behavior.map_or(Some(None), |b| b.map(Some))? })
}

/// `scaleTargetRef`: only its name is looked at, to find the CPU request.
fn target_name<'a>(item: &Item<'a>) -> Option<&'a str> {
    let fields = item.fields()?;
    fields.accept(&["apiVersion"]);
    fields.required("kind").and_then(|item| item.text());
    let name = fields.required("name").and_then(|item| item.text());
    fields.end();
    name
}

fn least(item: &Item) -> Option<u32> {
    let min = item.integer(0..=INT32_MAX)?;
    if min == 0 {
        item.wrong_with_help("needs the alpha feature HPAScaleToZero, which is not simulated", "a ScaledObject scales to zero");
    }
    Some(min).filter(|min| *min > 0)
}

/// One of `metrics`; `None` after a fault.
fn metric(item: &Item, queries: &Queries, request: &dyn Fn() -> Option<i64>) -> Option<Metric> {
    let fields = item.fields()?;
    let kinds = [
        ("External", "external"),
        ("Object", "object"),
        ("Pods", "pods"),
        ("Resource", "resource"),
        ("ContainerResource", "containerResource"),
    ];
    let kind = fields.required("type").and_then(|item| item.one_of(&kinds));
    if kind == Some("containerResource") {
        item.fault(
            "ContainerResource metrics are not simulated: a pod is one container here",
            Some("use type: Resource".to_owned()),
        );
        return None;
    }
    let source = fields.required(kind?);
    fields.end();
    let source = source?;
    let fields = source.fields()?;
    let found = match kind? {
        "resource" => resource(&fields, request),
        kind => {
            if kind == "object" {
                fields.required("describedObject");
            }
            let named = fields.required("metric").and_then(|item| query::read(&item, kind == "pods", queries));
            let values: &[_] = if kind == "pods" { &[AVERAGE_VALUE] } else { &[AVERAGE_VALUE, VALUE] };
            let target = fields.required("target").and_then(|item| self::target(&item, values));
            named.zip(target).map(|((name, query), target)| {
                let source = if kind == "pods" { MetricSource::Pods { query } } else { MetricSource::External { query } };
                Metric { name, source, target }
            })
        }
    };
    fields.end();
    found
}

fn resource(fields: &Fields, request: &dyn Fn() -> Option<i64>) -> Option<Metric> {
    let name = fields.required("name");
    let target = fields.required("target").and_then(|item| self::target(&item, &[UTILIZATION, AVERAGE_VALUE]));
    let name = name?;
    if name.text()? != "cpu" {
        name.wrong("is not simulated: the only resource here is cpu");
        return None;
    }
    let request = request();
    if request.is_none() && matches!(target, Some(Target::Utilization(_))) {
        cpu::missing(&fields.item);
        return None;
    }
    // A target in millicores needs no request.
    let source = MetricSource::Cpu { request: request.unwrap_or(0) };
    Some(Metric { name: "cpu".to_owned(), source, target: target? })
}

/// `type` of a target, and the field that has its value.
type TargetKind = (&'static str, &'static str);
const AVERAGE_VALUE: TargetKind = ("AverageValue", "averageValue");
const VALUE: TargetKind = ("Value", "value");
const UTILIZATION: TargetKind = ("Utilization", "averageUtilization");

/// A `target` of one of some types.
fn target(item: &Item, allowed: &[TargetKind]) -> Option<Target> {
    let fields = item.fields()?;
    let kind = fields.required("type").and_then(|item| item.one_of(allowed));
    for (name, field) in [AVERAGE_VALUE, VALUE, UTILIZATION].iter().filter(|(_, field)| Some(*field) != kind) {
        if let Some(item) = fields.optional(field).filter(|_| kind.is_some()) {
            item.fault(&format!("belongs to a target of type {name}"), None);
        }
    }
    let value = kind.and_then(|field| fields.required(field));
    let target = value.and_then(|item| match kind? {
        "averageUtilization" => item.integer(1..=INT32_MAX).map(Target::Utilization),
        "value" => item.positive_quantity().map(Target::Value),
        _ => item.positive_quantity().map(Target::AverageValue),
    });
    fields.end();
    target
}
