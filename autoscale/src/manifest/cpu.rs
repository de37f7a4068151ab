//! The containers' CPU request, which an HPA takes from the pods and not from its own manifest.

use super::node::Value;
use super::quantity;
use super::reader::{Fields, Item};

/// Annotation that gives it where the pods' manifest is not at hand.
pub const ANNOTATION: &str = "tokentide/cpu-request";

/// Kinds whose `spec.template` has the pods.
const WORKLOADS: [&str; 3] = ["Deployment", "StatefulSet", "ReplicaSet"];

/// The request [millicores]: of the annotation, else of the workload of the same file that is scaled.
pub fn request(annotations: Option<&Fields>, target: Option<&str>, documents: &[Item]) -> Option<i64> {
    if let Some((_, item)) = annotations.into_iter().flat_map(Fields::all).find(|(key, _)| *key == ANNOTATION) {
        return item.positive_quantity();
    }
    documents.iter().find_map(|document| of_workload(document.value(), target?))
}

/// Says that it is missing.
pub fn missing(item: &Item) {
    let help = format!("put the Deployment into the same file, or give it as the annotation {ANNOTATION}: \"4\"");
    item.fault("utilization is a share of the containers' CPU request, which is not known", Some(help));
}

/// The sum over the containers, if this is the workload of that name and all of them have one.
fn of_workload(document: &Value, name: &str) -> Option<i64> {
    let kind = text(get(document, "kind")?)?;
    if !WORKLOADS.contains(&kind) || text(get(get(document, "metadata")?, "name")?)? != name {
        return None;
    }
    let pod = get(get(get(document, "spec")?, "template")?, "spec")?;
    let Value::List(containers) = get(pod, "containers")? else { return None };
    let each = containers.iter().map(|container| {
        let resources = get(&container.value, "resources")?;
        // Kubernetes takes the limit where no request is given.
        let cpu = ["requests", "limits"].iter().find_map(|which| get(get(resources, which)?, "cpu"))?;
        match cpu {
            Value::Int(value) => quantity::thousandths(&value.to_string()).ok(),
            Value::Float(value) => quantity::thousandths(&value.to_string()).ok(),
            other => quantity::thousandths(text(other)?).ok(),
        }
    });
    each.sum::<Option<i64>>().filter(|sum| *sum > 0)
}

fn get<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Map(entries) => entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| &node.value),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
