//! The committed JSON schemas are the ones that the types give. Editors read them from the repository, so they must not lag behind.
//!
//! `TOKENTIDE_BLESS=1 cargo test --release -p tokentide-tests --test schema` writes them anew.

use std::path::Path;

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schema");

fn committed_is(name: &str, generated: &Value) {
    let generated = serde_json::to_string_pretty(generated).expect("a schema is JSON") + "\n";
    let path = Path::new(FOLDER).join(name);
    if std::env::var_os("TOKENTIDE_BLESS").is_some() {
        std::fs::create_dir_all(FOLDER).expect("a folder for the schema");
        std::fs::write(&path, &generated).expect("the schema can be written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| committed.lines().count().min(generated.lines().count())) + 1;
    assert!(
        committed == generated,
        "schema/{name} differs from the types at line {line}; TOKENTIDE_BLESS=1 with this test writes it anew"
    );
}

#[test]
fn committed_schema_is_the_generated_one() {
    committed_is("tokentide.schema.json", &tokentide_sim::scenario::schema());
}

#[test]
fn the_schema_of_sweeps_is_the_generated_one() {
    committed_is("sweep.schema.json", &tokentide_sweep::file::schema());
}

#[test]
fn the_schema_of_projects_is_the_generated_one() {
    committed_is("project.schema.json", &tokentide_compare::project::project_schema());
}

#[test]
fn the_schema_of_comparisons_is_the_generated_one() {
    committed_is("comparison.schema.json", &tokentide_compare::project::comparison_schema());
}
