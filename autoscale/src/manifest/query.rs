//! From a metric's name to PromQL. A plain HPA names a metric; which query is behind the name is the metrics adapter's business.

use std::collections::BTreeMap;

use super::node::{Value, documents};
use super::reader::{Fields, Item};

/// Gauges of vLLM that need no explanation.
const GAUGES: [&str; 4] =
    ["vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"];

/// Annotation of an HPA that holds the query of each metric, as a YAML mapping.
pub const ANNOTATION: &str = "tokentide/queries";

/// PromQL by metric name.
pub type Queries = BTreeMap<String, String>;

/// The query that a name alone stands for, with label matchers (`a="b",c=~"d"`): a gauge, whose `:` an adapter may have made `_`.
pub fn implied(name: &str, matchers: &str, per_pod: bool) -> Option<String> {
    let gauge = GAUGES.iter().find(|gauge| **gauge == name || gauge.replace(':', "_") == name)?;
    let selector = if matchers.is_empty() { (*gauge).to_owned() } else { format!("{gauge}{{{matchers}}}") };
    Some(if per_pod { selector } else { format!("sum({selector})") })
}

/// Reads a `metric`: its name and its query.
pub fn read(item: &Item, per_pod: bool, queries: &Queries) -> Option<(String, String)> {
    let fields = item.fields()?;
    let name = fields.required("name");
    let matchers = fields.optional("selector").map(|selector| (matchers(&selector), selector));
    fields.end();
    let name = name?;
    let text = name.text().filter(|text| {
        if text.is_empty() {
            name.fault("is empty", None);
        }
        !text.is_empty()
    })?;
    if let Some(query) = queries.get(text) {
        if let Some((_, selector)) = matchers {
            let reader = selector.reader();
            reader.note(format!("{} is not applied: the query given for `{text}` is taken as it is", selector.path));
        }
        return Some((text.to_owned(), query.clone()));
    }
    let matchers = matchers.map_or(Some(String::new()), |(matchers, _)| matchers)?;
    let query = implied(text, &matchers, per_pod);
    if query.is_none() {
        let help = format!("give its query, as a line `{text}: QUERY` in the annotation {ANNOTATION}, or write a ScaledObject");
        name.wrong_with_help("is only a name, and none of vLLM's gauges: what it measures is not known", &help);
    }
    Some((text.to_owned(), query?))
}

/// The queries of the annotation; those given beside the file win.
pub fn with_annotation(annotations: Option<&Fields>, given: &Queries) -> Queries {
    let mut queries = Queries::new();
    if let Some((_, item)) = annotations.into_iter().flat_map(Fields::all).find(|(key, _)| *key == ANNOTATION)
        && let Some(text) = item.text()
    {
        match documents(text).map(|mut documents| documents.pop().map(|node| node.value)) {
            Ok(Some(Value::Map(entries))) => {
                for (key, node) in entries {
                    match node.value {
                        Value::Text(query) => drop(queries.insert(key.text, query)),
                        other => item.fault(&format!("{other} is no query (of `{}`)", key.text), None),
                    }
                }
            }
            _ => item.fault("must hold lines of the form `METRIC: QUERY`", None),
        }
    }
    queries.extend(given.iter().map(|(name, query)| (name.clone(), query.clone())));
    queries
}

/// A label selector as matchers, in the order of the labels.
fn matchers(item: &Item) -> Option<String> {
    let fields = item.fields()?;
    let mut all = Vec::new();
    for (label, value) in fields.optional("matchLabels").and_then(|item| item.fields()).iter().flat_map(Fields::all) {
        all.push((label.to_owned(), format!("=\"{}\"", quoted(value.text()?))));
    }
    for item in fields.optional("matchExpressions").iter().flat_map(Item::elements) {
        all.push(expression(&item)?);
    }
    fields.end();
    if let Some((label, _)) = all.iter().find(|(label, _)| !is_label(label)) {
        item.fault(&format!("`{label}` is no label name of Prometheus"), None);
        return None;
    }
    all.sort();
    Some(all.iter().map(|(label, matcher)| format!("{label}{matcher}")).collect::<Vec<_>>().join(","))
}

/// One of `matchExpressions`.
fn expression(item: &Item) -> Option<(String, String)> {
    let fields = item.fields()?;
    let key = fields.required("key").and_then(|item| item.text());
    let operators = [("In", Some("=~")), ("NotIn", Some("!~")), ("Exists", None), ("DoesNotExist", None)];
    let operator = fields.required("operator");
    let meaning = operator.as_ref().and_then(|item| item.one_of(&operators));
    let values = fields.optional("values").map(|item| item.elements()).unwrap_or_default();
    fields.end();
    let (key, meaning) = (key?.to_owned(), meaning?);
    let texts: Option<Vec<_>> = values.iter().map(Item::text).collect();
    let texts = texts?;
    if texts.is_empty() == meaning.is_some() {
        item.fault(if meaning.is_some() { "needs `values`" } else { "must have no `values`" }, None);
        return None;
    }
    let alternatives = || texts.iter().map(|text| quoted(&literal(text))).collect::<Vec<_>>().join("|");
    let exists = operator?.text() == Some("Exists");
    Some((
        key,
        match meaning {
            Some(sign) => format!("{sign}\"{}\"", alternatives()),
            None => (if exists { "!=\"\"" } else { "=\"\"" }).to_owned(),
        },
    ))
}

fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Text between PromQL's double quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A regular expression that matches just this text.
fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
