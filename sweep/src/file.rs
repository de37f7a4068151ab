//! `sweep.toml`: a scenario and what of it is varied.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Value;

use tokentide_sim::scenario::at::At;
use tokentide_sim::scenario::{ScenarioError, ScenarioErrors, read_toml};

use crate::axis::{Axis, Range, Values};
use crate::design::Design;
use crate::point::{Params, Seeds};
use crate::sample::{Method, Sample};

/// A sweep of tokentide: a scenario, and what of it is varied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepFile {
    /// The scenario's file, relative to this one.
    pub scenario: Option<At<String>>,
    /// Runs of each point, 1 by default.
    #[schemars(range(min = 1, max = 10_000))]
    pub replications: Option<At<u32>>,
    /// Where the seeds of a point come from: its own identity, or the same for every point; "derived" by default.
    pub seeds: Option<At<SeedsFile>>,
    /// Changes that every point has: setting to value.
    pub set: Option<Settings>,
    /// Every combination of these: setting to a list of values or a range.
    pub grid: Option<Settings>,
    /// Points typed out: setting to value. Combined with the grid, if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<Settings>,
    /// Points drawn at random. Combined with the grid, if there is one.
    pub sample: Option<At<SampleFile>>,
}

/// Where the seeds of a point come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeedsFile {
    /// The point's identity: each draws requests of its own.
    Derived,
    /// The scenario's seed: all see the same requests.
    Common,
}

/// Points drawn at random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleFile {
    /// "lhs", a Latin hypercube, by default; or "random".
    pub method: Option<MethodFile>,
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub points: u32,
    /// Seed of the draws; 1 by default.
    pub seed: Option<u64>,
    /// Setting to a range, such as { from = 1, to = 64, scale = "log" }, or a list to choose from.
    pub over: Settings,
}

/// How points are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MethodFile {
    /// A Latin hypercube.
    Lhs,
    /// Independently.
    Random,
}

/// Settings by their paths, in the order typed. A path is one key, such as "cluster.replicas", or several tables deep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(pub Vec<(String, At<Value>)>);

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Settings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of settings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
                let mut entries: Vec<(String, At<Value>)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                // The reader sorts keys by name; which axis changes fastest is the order typed.
                entries.sort_by_key(|(_, value)| value.span().start);
                Ok(Settings(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(path, value)| (path, value)))
    }
}

impl JsonSchema for Settings {
    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "description": "Settings by their paths, such as \"class.rag.prompt.retrieved.top_k\"." })
    }
}

/// The JSON Schema of sweep files.
pub fn schema() -> serde_json::Value {
    tokentide_sim::scenario::schema_of::<SweepFile>("tokentide sweep")
}

/// A sweep file, understood.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The scenario's file, relative to the sweep's.
    pub scenario: Option<String>,
    /// Runs of each point.
    pub replications: u32,
    /// Where seeds come from.
    pub seeds: Seeds,
    /// Changes that every point has.
    pub set: Params,
    /// Axes of the grid.
    pub grid: Vec<Axis>,
    /// Points typed out.
    pub list: Vec<Params>,
    /// Points drawn.
    pub sample: Option<Sample>,
}

impl Parsed {
    /// The points of the file alone.
    ///
    /// # Errors
    /// What is wrong with them together.
    pub fn design(&self) -> Result<Design, String> {
        Design::new(&self.grid, self.list.clone(), self.sample.as_ref())
    }
}

/// Whether a text is a sweep file, and not a scenario: those have no such sections.
pub fn is_sweep(text: &str) -> bool {
    let table = text.parse::<toml::Table>().unwrap_or_default();
    ["scenario", "grid", "list", "sample"].iter().any(|key| table.contains_key(*key))
}

/// Reads the text of a sweep file.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn parse(text: &str, filename: &str) -> Result<Parsed, ScenarioErrors> {
    let file: SweepFile = read_toml(text, filename)?;
    let mut wrong = Vec::new();
    let mut note = |at: Option<&At<Value>>, message: String| {
        let span = at.map(At::span);
        wrong.push(ScenarioError { file: filename.to_owned(), text: text.into(), span, message, help: None, unfit: false });
    };
    let mut axes = |settings: Option<&Settings>, grid: bool| {
        let mut axes = Vec::new();
        for (path, value) in settings.iter().flat_map(|settings| &settings.0) {
            match axes_of(path, value, grid) {
                Ok(found) => axes.extend(found),
                Err(why) => note(Some(value), why),
            }
        }
        axes
    };
    let grid = axes(file.grid.as_ref(), true);
    let sample = file.sample.as_ref().map(|sample| Sample {
        method: if sample.method == Some(MethodFile::Random) { Method::Random } else { Method::LatinHypercube },
        points: sample.points,
        seed: sample.seed.unwrap_or(1),
        over: axes(Some(&sample.over), false),
    });
    let replications = file.replications.as_ref().map_or(1, |n| **n);
    if !(1..=10_000).contains(&replications) {
        note(None, "`replications` must be 1 to 10000".to_owned());
    }
    if !wrong.is_empty() {
        return Err(ScenarioErrors(wrong));
    }
    let params = |settings: &Settings| settings.0.iter().map(|(path, value)| (path.clone(), value.get().clone())).collect();
    Ok(Parsed {
        scenario: file.scenario.as_ref().map(|path| path.get().clone()),
        replications,
        seeds: if file.seeds.as_deref() == Some(&SeedsFile::Common) { Seeds::Common } else { Seeds::Derived },
        set: file.set.as_ref().map(params).unwrap_or_default(),
        grid,
        list: file.list.iter().map(params).collect(),
        sample,
    })
}

/// The axis of a setting, or those of the settings below it.
fn axes_of(path: &str, value: &Value, grid: bool) -> Result<Vec<Axis>, String> {
    let values = match value {
        Value::Array(list) => Values::List(list.clone()),
        Value::Table(table) if table.contains_key("from") || table.contains_key("to") => Values::Range(range(path, table)?),
        Value::Table(table) => {
            let below = table.iter().map(|(key, value)| axes_of(&format!("{path}.{}", quoted(key)), value, grid));
            return below.collect::<Result<Vec<_>, _>>().map(|axes| axes.concat());
        }
        Value::String(text) if text.contains("..") => return Axis::parse(&format!("{path}={text}")).map(|axis| vec![axis]),
        _ => return Err(format!("`{path}`: expected a list of values, or a range such as {{ from = 1, to = 8 }}")),
    };
    let axis = Axis { path: path.to_owned(), values };
    axis.check()?;
    if grid {
        axis.listed()?;
    }
    Ok(vec![axis])
}

/// A key as it stands in a path.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { key.to_owned() } else { Value::String(key.to_owned()).to_string() }
}

fn range(path: &str, table: &toml::Table) -> Result<Range, String> {
    let known = ["from", "to", "step", "scale"];
    if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("`{path}`: a range has the keys from, to, step and scale, not `{key}`"));
    }
    let number = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(Value::Integer(n)) => Ok(Some((*n as f64, true))),
        Some(Value::Float(x)) => Ok(Some((*x, false))),
        Some(_) => Err(format!("`{path}`: `{key}` is a number")),
    };
    let end = |key: &str| number(key)?.ok_or_else(|| format!("`{path}`: the range has no `{key}`"));
    let ((from, from_whole), (to, to_whole), step) = (end("from")?, end("to")?, number("step")?);
    let log = match table.get("scale").map(|scale| scale.as_str()) {
        None | Some(Some("linear")) => false,
        Some(Some("log")) => true,
        Some(_) => return Err(format!("`{path}`: `scale` is \"linear\" or \"log\"")),
    };
    let whole = from_whole && to_whole && step.is_none_or(|(_, whole)| whole);
    Ok(Range { from, to, step: step.map(|(step, _)| step), log, whole })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::canonical_json;

    const FILE: &str = r#"
scenario = "support-rag.toml"
replications = 4
seeds = "common"

[set]
"cluster.router" = "least-tokens"

[grid]
"class.rag.prompt.retrieved.top_k" = [4, 8]
"cluster.replicas" = { from = 1, to = 3 }

[sample]
method = "lhs"
points = 5

[sample.over]
class.rag.arrivals.rate = { from = 2.0, to = 20.0, scale = "log" }
"#;

    fn wrong(text: &str) -> String {
        let error = parse(text, "sweep.toml").and_then(|parsed| {
            parsed.design().map_err(|why| {
                ScenarioErrors(vec![ScenarioError {
                    file: String::new(),
                    text: "".into(),
                    span: None,
                    message: why,
                    help: None,
                    unfit: false,
                }])
            })
        });
        error.expect_err(text).to_string()
    }

    #[test]
    fn a_file_says_what_is_varied() {
        assert!(is_sweep(FILE) && !is_sweep("[model]\nname = \"x\""));
        let parsed = parse(FILE, "sweep.toml").unwrap();
        assert_eq!((parsed.replications, parsed.seeds, parsed.scenario.as_deref()), (4, Seeds::Common, Some("support-rag.toml")));
        assert_eq!(canonical_json(&parsed.set), r#"{"cluster.router":"least-tokens"}"#);
        let design = parsed.design().unwrap();
        assert_eq!(design.points(), 2 * 3 * 5);
        let paths: Vec<&str> = design.paths().iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            ["class.rag.prompt.retrieved.top_k", "cluster.replicas", "class.rag.arrivals.rate"],
            "in the order typed"
        );
    }

    #[test]
    fn paths_may_be_tables() {
        let parsed = parse("[grid]\ncluster.replicas = [1, 2]\nclass.\"a.b\".tenant = [\"x\"]\n", "sweep.toml").unwrap();
        let paths: Vec<&str> = parsed.grid.iter().map(|axis| axis.path.as_str()).collect();
        assert_eq!(paths, ["cluster.replicas", "class.\"a.b\".tenant"]);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        assert!(wrong("[grid]\n\"a.b\" = 4\n").starts_with("sweep.toml:2:9: `a.b`: expected a list"));
        assert!(wrong("[grid]\na = { from = 1 }\n").contains("has no `to`"));
        assert!(wrong("[grid]\na = { from = 1, to = 2, by = 3 }\n").contains("not `by`"));
        assert!(wrong("[grid]\na = { from = 1.0, to = 2.0 }\n").contains("needs a step"));
        assert!(wrong("[grid]\na = []\n").contains("no values"));
        assert!(wrong("[gird]\na = [1]\n").contains("did you mean `grid`?"));
        assert!(wrong("seeds = \"same\"\n[grid]\na = [1]\n").contains("unknown value"));
        assert!(wrong("replications = 0\n[grid]\na = [1]\n").contains("1 to 10000"));
        assert!(
            wrong("[sample]\npoints = 3\n[sample.over]\na = { from = 0, to = 1, scale = \"log\" }\n").contains("begins above 0")
        );
        assert!(wrong("scenario = \"x.toml\"\n").contains("nothing is varied"));
    }
}
