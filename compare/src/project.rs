//! `tokentide.toml`: which scenarios a project has, and its budgets.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokentide_sim::scenario::at::At;
use tokentide_sim::scenario::file::check::CheckFile;
use tokentide_sim::scenario::{ScenarioError, ScenarioErrors, read_toml};

use crate::Replications;
use crate::budget::{Budget, budgets};
use crate::report::Comparison;

/// Name of the file.
pub const FILE: &str = "tokentide.toml";
/// Paired runs where nothing is said.
const REPLICATIONS: u32 = 8;
/// Confidence where nothing is said. At 0.99 a value that lies exactly on its limit is called a failure in 0.5 % of all cases.
const CONFIDENCE: f64 = 0.99;
/// Error assumed of a step's time where nothing is said [share].
const MODEL_ERROR: f64 = 0.15;

/// A project of tokentide: its scenarios and the budgets that `tokentide check` holds them to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectFile {
    /// What belongs to it.
    pub project: Option<At<ProjectSection>>,
    /// How `tokentide check` and `tokentide diff` compare.
    pub ci: Option<At<CiSection>>,
    /// Budgets, on every scenario that they are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<CheckFile>,
}

/// What belongs to a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectSection {
    /// Scenario files, by path or pattern, relative to this file; ["scenarios/*.toml"] by default.
    pub scenarios: Option<At<Vec<String>>>,
}

/// How sides are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CiSection {
    /// Paired runs of each side, or "auto"; 8 by default.
    pub replications: Option<At<ReplicationsFile>>,
    /// Confidence of the intervals that decide, 0 to 1; 0.99 by default.
    #[schemars(range(min = 0.5, max = 0.999))]
    pub confidence: Option<At<f64>>,
    /// Error assumed of a step's time, as a share, unless the profile states a larger one; 0.15 by default.
    #[schemars(range(min = 0, max = 0.9))]
    pub model_error: Option<At<f64>>,
}

/// How many paired runs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ReplicationsFile {
    /// So many.
    Fixed(u32),
    /// "auto": twice as many until each interval is shorter than a third of its margin.
    Word(String),
}

impl<'de> Deserialize<'de> for ReplicationsFile {
    /// By hand, so that the message says what is expected.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(word) => Ok(ReplicationsFile::Word(word)),
            // What is out of range is told with the range.
            toml::Value::Integer(n) => Ok(ReplicationsFile::Fixed(u32::try_from(n).unwrap_or(0))),
            _ => Err(D::Error::custom("`replications` must be 2 to 1000, or \"auto\"")),
        }
    }
}

/// A project, understood.
#[derive(Clone, Debug)]
pub struct Project {
    /// Patterns of its scenario files, relative to its file.
    pub scenarios: Vec<String>,
    /// Whether they were typed.
    pub scenarios_typed: bool,
    /// Paired runs.
    pub replications: Replications,
    /// Confidence of the intervals that decide.
    pub confidence: f64,
    /// Error assumed of a step's time [share].
    pub model_error: f64,
    /// Its budgets.
    pub budgets: Vec<Budget>,
}

impl Default for Project {
    fn default() -> Project {
        Project {
            scenarios: vec!["scenarios/*.toml".to_owned()],
            scenarios_typed: false,
            replications: Replications::Fixed(REPLICATIONS),
            confidence: CONFIDENCE,
            model_error: MODEL_ERROR,
            budgets: Vec::new(),
        }
    }
}

impl Project {
    /// Understands the text of a `tokentide.toml`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &str, filename: &str) -> Result<Project, ScenarioErrors> {
        let file: ProjectFile = read_toml(text, filename)?;
        let mut wrong = Vec::new();
        let mut at = |span: std::ops::Range<usize>, message: &str, help: Option<String>| {
            wrong.push(error(text, filename, Some(span), message, help));
        };
        let mut project = Project::default();
        if let Some(scenarios) = file.project.as_ref().and_then(|section| section.scenarios.as_ref()) {
            if scenarios.is_empty() {
                at(scenarios.span(), "a project without scenarios has nothing to check", None);
            }
            (project.scenarios, project.scenarios_typed) = (scenarios.to_vec(), true);
        }
        if let Some(ci) = &file.ci {
            match ci.replications.as_ref().map(|r| (r.get(), r.span())) {
                None => {}
                Some((ReplicationsFile::Fixed(n), _)) if (2..=1000).contains(n) => project.replications = Replications::Fixed(*n),
                Some((ReplicationsFile::Word(word), _)) if word == "auto" => project.replications = Replications::Auto,
                Some((_, span)) => {
                    at(span, "`replications` must be 2 to 1000, or \"auto\"", Some("one run tells nothing of chance".to_owned()));
                }
            }
            if let Some(confidence) = &ci.confidence {
                project.confidence = **confidence;
                if !(0.5..=0.999).contains(&project.confidence) {
                    at(confidence.span(), "`confidence` must be 0.5 to 0.999, such as 0.99", None);
                }
            }
            if let Some(model_error) = &ci.model_error {
                project.model_error = **model_error;
                if !(0.0..=0.9).contains(&project.model_error) {
                    at(model_error.span(), "`model_error` is a share of a step's time, 0 to 0.9, such as 0.15", None);
                }
            }
        }
        match read_budgets(&file.check, filename, text) {
            Ok(budgets) => project.budgets = budgets,
            Err(errors) => wrong.extend(errors.0),
        }
        if wrong.is_empty() { Ok(project) } else { Err(ScenarioErrors(wrong)) }
    }
}

/// Understands the budgets of a file, a project's or a scenario's.
///
/// # Errors
/// All that is wrong with them.
pub fn read_budgets(files: &[CheckFile], filename: &str, text: &str) -> Result<Vec<Budget>, ScenarioErrors> {
    let place = |e: crate::budget::BudgetError| error(text, filename, e.span, &e.message, e.help);
    budgets(files, filename, text).map_err(|errors| ScenarioErrors(errors.into_iter().map(place).collect()))
}

fn error(text: &str, file: &str, span: Option<std::ops::Range<usize>>, message: &str, help: Option<String>) -> ScenarioError {
    ScenarioError { file: file.to_owned(), text: text.into(), span, message: message.to_owned(), help, unfit: false }
}

/// The JSON Schema of `tokentide.toml`, draft 2020-12.
pub fn project_schema() -> Value {
    tokentide_sim::scenario::schema_of::<ProjectFile>("tokentide project")
}

/// The JSON Schema of what `diff` and `check` write as JSON, draft 2020-12.
pub fn comparison_schema() -> Value {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Comparison>();
    let mut schema = schema.to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), Value::from("tokentide comparison"));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        Project::parse(text, "tokentide.toml").map(|_| ()).expect_err(text).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_project_is_understood() {
        let text = r#"
[project]
scenarios = ["a.toml", "more/*.toml"]
[ci]
replications = "auto"
confidence = 0.95
[[check]]
id = "chat"
assert = "ttft.p95 <= 800ms"
where = { class = "chat", tenant = "acme" }
[[check]]
assert = "input_tokens.p95 <= +10%"
level = "warn"
[[check]]
id = "later"
assert = "kv_use.max <= 90%"
level = "off"
"#;
        let project = Project::parse(text, "tokentide.toml").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((project.scenarios.len(), project.replications, project.confidence), (2, Replications::Auto, 0.95));
        assert_eq!(project.model_error, 0.15);
        let ids: Vec<(&str, usize)> = project.budgets.iter().map(|b| (b.id.as_str(), b.place.line)).collect();
        assert_eq!(ids, [("chat", 9), ("input_tokens.p95 <= +10%", 12)], "what is off is not made");
        assert_eq!(project.budgets[0].selection.label(), "class chat, tenant acme");
        let empty = Project::parse("", "tokentide.toml").expect("nothing is required");
        assert_eq!((empty.scenarios, empty.replications), (vec!["scenarios/*.toml".to_owned()], Replications::Fixed(8)));
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        let text = "\
[ci]
replications = 1
confidence = 95
[[check]]
assert = \"tftt.p95 <= 800ms\"
[[check]]
id = \"a\"
[[check]]
assert = \"kv_use.max <= 90%\"
where = { class = \"chat\" }
[[check]]
assert = \"itl.p95 <= 90ms\"
where = { input_bucket = \"0-512\" }
[[check]]
assert = \"load <= 90%\"
[[check]]
assert = \"load <= 90%\"
";
        let found = wrong(text);
        let expected = [
            "tokentide.toml:2:16: `replications` must be 2 to 1000, or \"auto\" (one run tells nothing of chance)",
            "tokentide.toml:3:14: `confidence` must be 0.5 to 0.999, such as 0.99",
            "tokentide.toml:5:11: there is no metric `tftt` (did you mean `ttft`?)",
            "tokentide.toml:7:6: a check has no `assert` (such as assert = \"ttft.p95 <= 800ms\")",
            "tokentide.toml:10:9: `kv_use` is one of the whole system (leave `where` out, or name a scenario in it)",
            "tokentide.toml:13:9: `itl` is known by class only (narrow it by `class` alone)",
            "tokentide.toml:17:10: there are two checks `load <= 90%` (give it an `id` of its own)",
        ];
        assert_eq!(found, expected);
        assert_eq!(
            wrong("[[check]]\nassert = \"load <= 90%\"\nwhere = { clas = \"a\" }\n")[0].split(": ").nth(1),
            Some("unknown key `clas` (did you mean `class`?)")
        );
        assert!(wrong("[ci]\nreplications = -3\n")[0].contains("must be 2 to 1000"));
        assert!(wrong("[ci]\nreplications = 1.5\n")[0].contains("must be 2 to 1000"));
        assert!(wrong("[project]\nscenarios = []\n")[0].contains("nothing to check"));
        assert!(wrong("[ci]\nreplication = 8\n")[0].contains("did you mean `replications`?"));
    }
}
