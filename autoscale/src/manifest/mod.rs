//! Kubernetes manifests in and out: `HorizontalPodAutoscaler` (`autoscaling/v2`) and KEDA's `ScaledObject` (`keda.sh/v1alpha1`).
//!
//! Reading fills in the API's defaults, so that what is simulated is what the cluster would do. Fields that a simulation cannot
//! feel (labels, status, addresses, credentials) are accepted; everything else that is not simulated is an error that names it.
//! Sources: `k8s.io/api/autoscaling/v2` with its defaults and validation, and KEDA 2's `apis/keda/v1alpha1` and prometheus scaler.

mod behavior;
mod cpu;
mod hpa;
mod node;
mod quantity;
mod query;
mod reader;
mod scaled_object;
mod trigger;
mod write;

use std::collections::BTreeMap;

use hpa::Around;
use node::{Node, Value};
pub use reader::ManifestError;
use reader::{Item, Reader};
pub use write::{About, WriteError, write_hpa, write_scaled_object};

use crate::config::{Autoscaler, Flags, Prometheus};

/// What is wrong with an older API version.
const OLDER: &str = "is not read: autoscaling/v2 is (`kubectl get hpa.v2.autoscaling NAME -o yaml` converts)";

/// Which of the two a document is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Hpa,
    ScaledObject,
}

/// Reads the one HPA or ScaledObject of a file of any number of documents.
///
/// `queries`: PromQL by metric name, for an HPA whose metrics are more than vLLM's gauges; those of the file's own annotation
/// `tokentide/queries` come after them.
///
/// # Errors
/// Everything that is wrong with the file, in its order: each with the field's path, its value, the reason and the line.
pub fn read(text: &str, file_name: &str, queries: &BTreeMap<String, String>) -> Result<Autoscaler, Vec<ManifestError>> {
    let reader = Reader::new(file_name);
    let documents = match node::documents(text) {
        Ok(documents) => documents,
        Err((message, at)) => {
            reader.error(&at, "", message, None);
            return Err(reader.end().expect_err("an error has just been told"));
        }
    };
    let items: Vec<Item> = documents.iter().flat_map(|node| objects(&reader, node)).collect();
    let found = choose(&reader, &items);
    let around = Around { queries, documents: &items };
    let read = match found {
        Some((Kind::Hpa, item)) => hpa::read(&item, &around).map(|hpa| (hpa, None)),
        Some((Kind::ScaledObject, item)) => scaled_object::read(&item, &around).map(|(hpa, keda)| (hpa, Some(keda))),
        None => None,
    };
    drop(items);
    let notes = reader.end()?;
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name).to_owned();
    let (hpa, keda) = read.expect("what could not be read has been told as an error");
    Ok(Autoscaler { name, hpa, flags: Flags::default(), keda, prometheus: Prometheus::default(), notes })
}

/// A document, or the members of a `List` as `kubectl get -o yaml` prints it.
fn objects<'a>(reader: &'a Reader, node: &'a Node) -> Vec<Item<'a>> {
    let root = Item::root(reader, node);
    match (word(&root, "kind"), root.fields()) {
        (Some("List"), Some(fields)) => fields.optional("items").map(|items| items.elements()).unwrap_or_default(),
        (_, Some(_)) => vec![root],
        (_, None) => Vec::new(),
    }
}

/// The text of a field at the root.
fn word<'a>(item: &Item<'a>, name: &str) -> Option<&'a str> {
    let Value::Map(entries) = item.value() else { return None };
    entries.iter().find(|(key, _)| key.text == name).and_then(|(_, node)| match &node.value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The one object that scales; the others are noted.
fn choose<'a>(reader: &Reader, items: &[Item<'a>]) -> Option<(Kind, Item<'a>)> {
    let mut found: Option<(Kind, Item)> = None;
    let mut refused = false;
    for item in items {
        let (version, kind) = (word(item, "apiVersion").unwrap_or_default(), word(item, "kind").unwrap_or_default());
        let kind = match (kind, version) {
            ("HorizontalPodAutoscaler", "autoscaling/v2") => Kind::Hpa,
            ("ScaledObject", "keda.sh/v1alpha1") => Kind::ScaledObject,
            ("HorizontalPodAutoscaler" | "ScaledObject", _) => {
                let expected = if kind == "ScaledObject" { "is not read: keda.sh/v1alpha1 is" } else { OLDER };
                item.fault(&format!("apiVersion `{version}` {expected}"), None);
                refused = true;
                continue;
            }
            _ => {
                let name = if kind.is_empty() { "a document without kind" } else { kind };
                reader.note(format!("{name} is passed over: an HPA or a ScaledObject is read"));
                continue;
            }
        };
        if found.is_some() {
            let help = "leave one: two of them on one workload fight over its replicas";
            item.fault("is a second object that scales, of HPA and ScaledObject", Some(help.to_owned()));
        } else {
            found = Some((kind, item.clone()));
        }
    }
    if found.is_none() && !refused && !reader.has_errors() {
        let message = "holds no HorizontalPodAutoscaler and no ScaledObject".to_owned();
        reader.error(&node::Place::default(), "", message, None);
    }
    found
}
