//! A validation set as typed: a TOML file that lists data with what was fitted on them and what others reached there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::points::{Benchmark, Point, Selection};
use super::report::About;

/// A validation set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// In a line.
    pub title: String,
    /// Single benchmarks with all their requests.
    #[serde(default, rename = "run")]
    pub runs: Vec<RunEntry>,
    /// Files of benchmark points.
    #[serde(default)]
    pub points: Vec<PointsEntry>,
    /// KV blocks of real servers.
    #[serde(default)]
    pub kv_blocks: Vec<KvEntry>,
}

/// A benchmark with all its requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunEntry {
    /// Its name.
    pub name: String,
    /// The requests, relative to the data folder.
    pub data: PathBuf,
    /// Identities of their prompts' blocks, relative to the data folder.
    #[serde(default)]
    pub blocks: Option<PathBuf>,
    /// The server: a scenario, relative to the manifest. Its workload is not used.
    pub scenario: PathBuf,
    /// Settings on top of the scenario.
    #[serde(default)]
    pub set: Settings,
    /// Clients of a closed loop, where the file has no times and does not say it.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Where the data come from.
    pub about: About,
}

/// Benchmark points.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointsEntry {
    /// Its name.
    pub name: String,
    /// The points, relative to the data folder.
    pub data: PathBuf,
    /// Which rows: by column, the values taken.
    #[serde(default, rename = "where")]
    pub selection: Selection,
    /// What the benchmark did.
    #[serde(default)]
    pub benchmark: Benchmark,
    /// Settings of the servers that no column says.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// Points that are no measurement of what the simulation computes.
    #[serde(default)]
    pub leave_out: Vec<Exclusion>,
    /// Where the data come from.
    pub about: About,
}

/// Settings of the servers of some points.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which: by column, the values (an empty text: rows without a value); all where it is absent.
    #[serde(default, rename = "where")]
    pub selection: Selection,
    /// Paths and values of scenarios; later rules win. A text such as `"{isl + 1500}"` is a sum of columns and numbers.
    #[serde(default)]
    pub set: Settings,
    /// What the benchmark did there, instead of the entry's.
    #[serde(default)]
    pub benchmark: Option<Benchmark>,
    /// How it is known.
    pub why: String,
}

/// Points left out of the comparison.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// Which: by column, the values.
    #[serde(rename = "where")]
    pub selection: Selection,
    /// Why, as it is printed.
    pub why: String,
}

/// Paths and values of a scenario.
pub type Settings = BTreeMap<String, toml::Value>;

/// KV blocks of real servers, written here since each is one number.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvEntry {
    /// Its name.
    pub name: String,
    /// The servers.
    #[serde(rename = "server")]
    pub servers: Vec<KvRow>,
    /// Where the data come from.
    pub about: About,
}

/// One server's KV blocks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvRow {
    /// Short name: peers' errors are by it.
    pub id: String,
    /// `num_gpu_blocks` as the engine logged it.
    pub blocks: u32,
    /// The server: paths and values of a scenario.
    pub set: Settings,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// In words, with the place, if it cannot be read or is wrong.
    pub fn read(path: &Path) -> Result<Manifest, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read the validation set: {error}"))?;
        let manifest: Manifest = toml::from_str(&text).map_err(|error| error.to_string())?;
        for entry in &manifest.points {
            let of_rules = entry.rules.iter().filter_map(|rule| rule.benchmark.as_ref());
            for benchmark in std::iter::once(&entry.benchmark).chain(of_rules) {
                benchmark.check().map_err(|reason| format!("points `{}`, benchmark: {reason}", entry.name))?;
            }
        }
        Ok(manifest)
    }
}

impl PointsEntry {
    /// The conditions of all its rules.
    pub fn conditions(&self) -> impl Iterator<Item = &Selection> {
        self.rules.iter().map(|rule| &rule.selection).chain(self.leave_out.iter().map(|rule| &rule.selection))
    }
}

/// Settings as a scenario takes them.
pub fn overrides(settings: &Settings) -> Vec<(String, String)> {
    settings.iter().map(|(path, value)| (path.clone(), value.to_string())).collect()
}

/// The settings that `rules` give to `point`, in their order, and what the benchmark did there.
pub fn rules_for(entry: &PointsEntry, point: &Point) -> (Vec<(String, String)>, Benchmark) {
    let (mut settings, mut benchmark) = (Vec::new(), entry.benchmark.clone());
    for rule in entry.rules.iter().filter(|rule| point.is_one_of(&rule.selection)) {
        let value = |value: &toml::Value| match value.as_str().and_then(|t| t.strip_prefix('{')?.strip_suffix('}')) {
            Some(sum) => sum_of(sum, point),
            None => with_columns(&value.to_string(), point),
        };
        settings.extend(rule.set.iter().map(|(path, v)| (path.clone(), value(v))));
        benchmark = rule.benchmark.clone().unwrap_or(benchmark);
    }
    (settings, benchmark)
}

/// The text with the point's value in place of every `{column}`.
fn with_columns(text: &str, point: &Point) -> String {
    point.columns.iter().fold(text.to_owned(), |text, (column, value)| text.replace(&format!("{{{column}}}"), value))
}

/// The value of a column of `point`, or a sum of columns and whole numbers; the terms as they are where one is no whole number,
/// which no scenario takes for a number.
fn sum_of(sum: &str, point: &Point) -> String {
    let terms = sum.split('+').map(str::trim);
    let values: Vec<&str> = terms.map(|term| point.columns.get(term).map_or(term, String::as_str)).collect();
    match values.iter().map(|value| value.parse::<u64>()).sum::<Result<u64, _>>() {
        Ok(sum) => sum.to_string(),
        Err(_) => values.join(" + "),
    }
}

/// Why `point` is left out, if it is.
pub fn exclusion<'a>(entry: &'a PointsEntry, point: &Point) -> Option<&'a str> {
    entry.leave_out.iter().find(|rule| point.is_one_of(&rule.selection)).map(|rule| rule.why.as_str())
}
