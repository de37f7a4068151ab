//! The scenarios that are shipped, and how tests run them.

use std::path::{Path, PathBuf};

use tokentide_sim::report::Report;
use tokentide_sim::run::{RunOptions, simulate};
use tokentide_sim::scenario::{Scenario, load_with, parse};

/// The folder `scenarios` of the workspace.
pub fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios")).to_owned()
}

/// Names of the shipped scenarios, sorted.
pub fn names() -> Vec<String> {
    stems(&folder(), "toml")
}

/// Names, without ending, of the files in `folder` that end in `extension`, sorted.
pub fn stems(folder: &Path, extension: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut names: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

/// The shipped scenario `name` with overrides as of `--set`.
///
/// # Panics
/// If it cannot be read.
pub fn shipped(name: &str, overrides: &[(&str, &str)]) -> Scenario {
    let path = folder().join(format!("{name}.toml"));
    match load_with(&path, &owned(overrides)) {
        Ok(loaded) => loaded.scenario,
        Err(errors) => panic!("{name}: {errors}"),
    }
}

/// A scenario written in a test.
///
/// # Panics
/// If it is wrong.
pub fn inline(text: &str, overrides: &[(&str, &str)]) -> Scenario {
    match parse(text, "inline.toml", Path::new("."), &owned(overrides)) {
        Ok(loaded) => loaded.scenario,
        Err(errors) => panic!("{errors}"),
    }
}

/// The report of one run.
///
/// # Panics
/// If its trace cannot be read.
pub fn report(scenario: &Scenario) -> Report {
    match simulate(scenario, None, RunOptions::default(), &|_| {}, None) {
        Ok(report) => report,
        Err(error) => panic!("{}: {error}", scenario.name),
    }
}

fn owned(overrides: &[(&str, &str)]) -> Vec<(String, String)> {
    overrides.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect()
}
