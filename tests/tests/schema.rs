//! The committed JSON schema is the one that the types give. Editors read it from the repository, so it must not lag behind.
//!
//! `TOKENTIDE_BLESS=1 cargo test --release -p tokentide-tests --test schema` writes it anew.

use std::path::Path;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schema/tokentide.schema.json");

#[test]
fn committed_schema_is_the_generated_one() {
    let generated = serde_json::to_string_pretty(&tokentide_sim::scenario::schema()).expect("a schema is JSON") + "\n";
    let path = Path::new(COMMITTED);
    if std::env::var_os("TOKENTIDE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the schema");
        std::fs::write(path, &generated).expect("the schema can be written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| committed.lines().count().min(generated.lines().count())) + 1;
    assert!(
        committed == generated,
        "schema/tokentide.schema.json differs from the types at line {line}; TOKENTIDE_BLESS=1 with this test writes it anew"
    );
}
