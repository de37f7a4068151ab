//! From a file to a [`Scenario`].

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_spanned::Spanned;
use toml::de::DeTable;

use super::Scenario;
use super::error::{Problems, ScenarioError, ScenarioErrors, Sources};
use super::file::ScenarioFile;
use super::overrides::Override;
use super::read::read_sections;
use super::resolve::resolve;

/// A scenario, and what it was read from.
#[derive(Clone)]
pub struct Loaded {
    /// What to simulate.
    pub scenario: Scenario,
    /// As typed, overrides included.
    pub file: ScenarioFile,
    /// The text, for messages that point into it.
    pub text: Arc<str>,
}

/// Reads and resolves a scenario file.
///
/// # Errors
/// Everything that is wrong with it; one error without a place if the file cannot be read.
pub fn load(path: &Path) -> Result<Loaded, ScenarioErrors> {
    load_with(path, &[])
}

/// As [`load`], with overrides as of [`parse`].
///
/// # Errors
/// See [`load`].
pub fn load_with(path: &Path, overrides: &[(String, String)]) -> Result<Loaded, ScenarioErrors> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        ScenarioErrors(vec![ScenarioError {
            file: name.clone(),
            text: "".into(),
            span: None,
            message: format!("cannot read the scenario: {error}"),
            help: None,
            unfit: false,
        }])
    })?;
    parse(&text, &name, path.parent().unwrap_or(Path::new(".")), overrides)
}

/// Resolves a scenario's text. `filename` is for messages and the default name, paths in the scenario are relative to `base_dir`,
/// `overrides` are (path, value) such as (`class.chat.prompt.retrieved.top_k`, `12`): classes are addressed by name, the value is
/// TOML or else a text.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, filename: &str, base_dir: &Path, overrides: &[(String, String)]) -> Result<Loaded, ScenarioErrors> {
    let mut sources = Sources::new(filename, text);
    let overrides: Vec<Override> = overrides.iter().map(|(path, value)| Override::new(path, value, &mut sources)).collect();
    let mut problems = Problems::new(sources);
    let file: ScenarioFile = read(text, &overrides, &mut problems);
    let resolved = resolve(&file, filename, base_dir, &mut problems);
    match resolved {
        Some(scenario) if problems.is_empty() => Ok(Loaded { scenario, file, text: text.into() }),
        _ => Err(problems.into_errors()),
    }
}

/// Reads another TOML file the way scenarios are read: every wrong key and type is found, each with its place.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_toml<F: DeserializeOwned + Default>(text: &str, filename: &str) -> Result<F, ScenarioErrors> {
    let mut problems = Problems::new(Sources::new(filename, text));
    let file = read(text, &[], &mut problems);
    if problems.is_empty() { Ok(file) } else { Err(problems.into_errors()) }
}

/// Text and overrides to sections.
fn read<F: DeserializeOwned + Default>(text: &str, overrides: &[Override], problems: &mut Problems) -> F {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            problems.add(error.span(), format!("not valid TOML: {}", error.message()), None);
        }
        // What is left of a broken text would only bring errors that follow from the first.
        problems.broken = true;
        return F::default();
    }
    let (span, mut table) = (table.span(), table.into_inner());
    for change in overrides {
        change.apply(&mut table, problems);
    }
    read_sections(Spanned::new(span, table), problems)
}
