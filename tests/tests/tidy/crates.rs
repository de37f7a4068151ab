//! Who may import whom, from `cargo metadata`.

use std::process::Command;

use serde_json::Value;

/// Each crate and those of ours that it may import, development dependencies included.
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("tokentide-models", &[]),
    ("tokentide-autoscale", &["tokentide-models"]),
    ("tokentide-prompts", &[]),
    ("tokentide-traces", &["tokentide-models"]),
    ("tokentide-sim", &["tokentide-models", "tokentide-autoscale", "tokentide-prompts", "tokentide-traces"]),
    ("tokentide-compare", &["tokentide-models", "tokentide-sim"]),
    ("tokentide-views", &["tokentide-models", "tokentide-autoscale", "tokentide-sim"]),
    ("tokentide-sweep", &["tokentide-models", "tokentide-sim"]),
    ("tokentide-charts", &[]),
    ("tokentide-calibrate", &["tokentide-models", "tokentide-traces"]),
    ("tokentide-tables", &["tokentide-models", "tokentide-traces", "tokentide-sim", "tokentide-sweep"]),
    (
        "tokentide",
        &[
            "tokentide-models",
            "tokentide-autoscale",
            "tokentide-traces",
            "tokentide-sim",
            "tokentide-compare",
            "tokentide-sweep",
            "tokentide-charts",
            "tokentide-calibrate",
            "tokentide-tables",
            "tokentide-views",
            "tokentide-tests",
        ],
    ),
    (
        "tokentide-py",
        &[
            "tokentide-models",
            "tokentide-sim",
            "tokentide-compare",
            "tokentide-charts",
            "tokentide-sweep",
            "tokentide-calibrate",
            "tokentide-tables",
        ],
    ),
    (
        "tokentide-tests",
        &[
            "tokentide-models",
            "tokentide-autoscale",
            "tokentide-sim",
            "tokentide-compare",
            "tokentide-sweep",
            "tokentide-calibrate",
            "tokentide-views",
        ],
    ),
];

/// Libraries that belong to the edge, and the crates that may use them.
const EDGE: [(&str, &[&str]); 8] = [
    ("polars", &["tokentide-tables", "tokentide-calibrate", "tokentide-py"]),
    ("polars-arrow", &["tokentide-py"]),
    ("pyo3", &["tokentide-py"]),
    ("clap", &["tokentide"]),
    ("indicatif", &["tokentide"]),
    ("comfy-table", &["tokentide"]),
    ("anstream", &["tokentide"]),
    ("annotate-snippets", &["tokentide"]),
];

/// A crate of the workspace and what it depends on, ours or not.
pub struct Package {
    name: String,
    dependencies: Vec<String>,
}

/// The crates of the workspace.
pub fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let run = Command::new(cargo).args(arguments).current_dir(super::tree::root()).output().expect("cargo runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let metadata: Value = serde_json::from_slice(&run.stdout).expect("cargo metadata is JSON");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_string();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let package = |of: &Value| Package { name: name(of), dependencies: list(&of["dependencies"]).iter().map(name).collect() };
    list(&metadata["packages"]).iter().map(package).collect()
}

/// What is wrong with them.
pub fn findings(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for Package { name, dependencies } in packages {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| known == name) else {
            found.push(format!("{name} is not in the table of who may import whom"));
            continue;
        };
        for dependency in dependencies {
            let ours = MAY_IMPORT.iter().any(|(known, _)| known == dependency);
            let edge = EDGE.iter().find(|(library, _)| library == dependency);
            if ours && !allowed.contains(&dependency.as_str()) || edge.is_some_and(|(_, users)| !users.contains(&name.as_str())) {
                found.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    found
}

#[test]
fn imports_upward_are_seen() {
    let package = |name: &str, of: &[&str]| Package { name: name.into(), dependencies: of.iter().map(|d| d.to_string()).collect() };
    let good = [package("tokentide-sim", &["tokentide-models", "serde"]), package("tokentide-tables", &["polars"])];
    assert!(findings(&good).is_empty());
    let bad = [package("tokentide-models", &["tokentide-sim"]), package("tokentide-sim", &["polars"]), package("x", &[])];
    assert_eq!(findings(&bad).len(), 3);
}
