//! Samples, schemas and random configurations.

pub mod random;
pub mod samples;

use std::path::Path;

use jsonschema::Validator;

/// One of the restated schemas of `tests/data/kubernetes`.
pub fn schema(name: &str) -> Validator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/kubernetes");
    let text = std::fs::read_to_string(folder.join(format!("{name}.schema.json"))).expect("the schema is part of the repository");
    jsonschema::validator_for(&serde_json::from_str(&text).expect("JSON")).expect("a schema")
}

/// YAML as JSON, by the parser alone.
pub fn json(yaml: &str) -> serde_json::Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}
