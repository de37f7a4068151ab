//! Which settings differ, by the paths that `--set` takes.

use toml::{Table, Value};

use crate::report::SettingChange;

/// Keys that change nothing of what is compared: words, budgets, and the seed, of which both sides have the head's.
const WORDS: [&str; 4] = ["name", "description", "check", "seed"];

/// Every setting of a scenario's text, `set` applied as typed, by path. Classes are addressed by name.
pub fn settings(text: &str, set: &[(String, String)]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (key, value) in text.parse::<Table>().unwrap_or_default() {
        if !WORDS.contains(&key.as_str()) {
            flatten(key, &value, &mut all);
        }
    }
    for (path, value) in set.iter().filter(|(path, _)| !WORDS.contains(&path.as_str())) {
        let below = format!("{path}.");
        all.retain(|(known, _)| known != path && !known.starts_with(&below));
        match format!("v = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("v")) {
            Some(value) => flatten(path.clone(), &value, &mut all),
            None => all.push((path.clone(), value.clone())),
        }
    }
    all
}

fn flatten(path: String, value: &Value, all: &mut Vec<(String, String)>) {
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| flatten(format!("{path}.{key}"), value, all)),
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (i, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str).map_or_else(|| i.to_string(), str::to_owned);
                let Value::Table(table) = item else { continue };
                table.iter().filter(|(key, _)| *key != "name").for_each(|(key, value)| {
                    flatten(format!("{path}.{name}.{key}"), value, all);
                });
            }
        }
        Value::String(text) => all.push((path, text.clone())),
        other => all.push((path, other.to_string())),
    }
}

/// What differs, by path; what only the base has last.
pub fn changes(base: &[(String, String)], head: &[(String, String)]) -> Vec<SettingChange> {
    let find = |all: &[(String, String)], path: &str| all.iter().find(|(p, _)| p == path).map(|(_, value)| value.clone());
    let mut found: Vec<SettingChange> = Vec::new();
    for (path, value) in head {
        let before = find(base, path);
        if before.as_ref() != Some(value) {
            found.push(SettingChange { path: path.clone(), base: before, head: Some(value.clone()) });
        }
    }
    for (path, value) in base.iter().filter(|(path, _)| find(head, path).is_none()) {
        found.push(SettingChange { path: path.clone(), base: Some(value.clone()), head: None });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
name = "a"
duration = "5m"
[cluster]
replicas = 2
[[class]]
name = "rag"
arrivals = { rate = 4.0 }
prompt = { system = 700, retrieved = { top_k = 4, chunk = 500 } }
slo = { ttft_p95 = "500ms" }
"#;

    #[test]
    fn what_differs_is_named_by_its_path() {
        let head = BASE
            .replace("top_k = 4", "top_k = 12")
            .replace("name = \"a\"", "name = \"b\"")
            .replace("replicas = 2", "router = \"random\"");
        let found = changes(&settings(BASE, &[]), &settings(&head, &[]));
        let text = |change: &SettingChange| format!("{} {:?} {:?}", change.path, change.base.as_deref(), change.head.as_deref());
        assert_eq!(
            found.iter().map(text).collect::<Vec<_>>(),
            [
                "class.rag.prompt.retrieved.top_k Some(\"4\") Some(\"12\")",
                "cluster.router None Some(\"random\")",
                "cluster.replicas Some(\"2\") None",
            ]
        );
        assert!(changes(&settings(BASE, &[]), &settings(BASE, &[])).is_empty());
    }

    #[test]
    fn overrides_replace_what_lies_below_them() {
        let set = |path: &str, value: &str| [(path.to_owned(), value.to_owned())];
        let plain = settings(BASE, &[]);
        let one = changes(&plain, &settings(BASE, &set("class.rag.prompt.retrieved.top_k", "12")));
        assert_eq!((one.len(), one[0].head.as_deref()), (1, Some("12")));
        let whole = changes(&plain, &settings(BASE, &set("class.rag.prompt.retrieved", "{ top_k = 4, chunk = 250 }")));
        assert_eq!(
            (whole.len(), whole[0].path.as_str(), whole[0].head.as_deref()),
            (1, "class.rag.prompt.retrieved.chunk", Some("250"))
        );
    }
}
