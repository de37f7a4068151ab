//! The JSON schema of scenario files, from their types.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::file::ScenarioFile;

/// The schema of a scenario file, JSON Schema draft 2020-12. Descriptions are the types' doc comments, units in brackets.
pub fn schema() -> Value {
    schema_of::<ScenarioFile>("tokentide scenario")
}

/// The same of another TOML file.
pub fn schema_of<F: JsonSchema>(title: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<F>().to_value();
    drop_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), Value::from(title));
    }
    schema
}

/// An absent key is no `null` in TOML, which has none: takes that alternative out.
fn drop_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                let had = choices.len();
                choices.retain(|choice| choice.get("type").is_none_or(|t| t != "null"));
                if let (true, [Value::Object(only)]) = (choices.len() < had, choices.as_slice()) {
                    let only = only.clone();
                    map.remove("anyOf");
                    for (key, value) in only {
                        map.entry(key).or_insert(value);
                    }
                }
            }
            map.values_mut().for_each(drop_null);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        _ => {}
    }
}
