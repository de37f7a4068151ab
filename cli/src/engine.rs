//! The only door to the crates behind the command line: turns what was typed into their arguments, and their errors into
//! diagnostics.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tokentide_models::units::Time;
use tokentide_sim::engine::{Observer, Outcome};
use tokentide_sim::report::Report;
use tokentide_sim::run::{self, RunError, RunOptions};
use tokentide_sim::scenario::file::check::CheckFile;
use tokentide_sim::scenario::{self, Scenario, ScenarioErrors};
use tokentide_sim::workload::trace::{TraceError, TraceRow, line_text};
use tokentide_tables::{RecordWriter, trace_rows};

use crate::diagnostics::Diagnostic;
use crate::exit::Failure;
use crate::progress::Progress;

/// The scenario that is simulated when none is given.
pub const DEFAULT_SCENARIO: &str = include_str!("../../scenarios/support-rag.toml");
/// The deployment that a trace is replayed on when no scenario is given.
pub const DEFAULT_DEPLOYMENT: &str = include_str!("../assets/deployment.toml");

/// Which scenario, with what changed.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// A file; else what is built in.
    pub scenario: Option<PathBuf>,
    /// A trace to replay, relative to the working directory.
    pub trace: Option<PathBuf>,
    /// `--set`, in order: path and value.
    pub set: Vec<(String, String)>,
    /// Wins over the scenario's.
    pub seed: Option<u64>,
}

/// A scenario that can run.
pub struct Loaded {
    /// As meant.
    pub scenario: Scenario,
    /// Rows of a Parquet trace.
    pub rows: Option<Vec<TraceRow>>,
    /// The text it was read from.
    pub text: String,
    /// Its budgets, as typed.
    pub checks: Vec<CheckFile>,
}

/// Reads and checks a scenario.
///
/// # Errors
/// All that is wrong with it.
pub fn load(input: &Input) -> Result<Loaded, Failure> {
    load_if_it_fits(input)?.map_err(diagnostics)
}

/// The same, but that a model does not go on its GPUs is no failure.
///
/// # Errors
/// All that is wrong with it, if anything else is.
pub fn load_if_it_fits(input: &Input) -> Result<Result<Loaded, ScenarioErrors>, Failure> {
    let (name, text, folder) = source(input)?;
    understand(&name, text, &folder, input)
}

/// The same of a text that was read elsewhere: `name` is for messages, the scenario's paths are relative to `folder`.
///
/// # Errors
/// All that is wrong with it.
pub fn load_text(name: &str, text: String, folder: &Path, input: &Input) -> Result<Loaded, Failure> {
    understand(name, text, folder, input)?.map_err(diagnostics)
}

fn understand(name: &str, text: String, folder: &Path, input: &Input) -> Result<Result<Loaded, ScenarioErrors>, Failure> {
    let (mut scenario, checks) = match scenario::parse(&text, name, folder, &overrides(input)?) {
        Ok(loaded) => (loaded.scenario, loaded.file.check),
        Err(errors) if errors.0.iter().all(|error| error.unfit) => return Ok(Err(errors)),
        Err(errors) => return Err(diagnostics(errors)),
    };
    if input.trace.is_some() {
        replay_whole(&mut scenario, &input.set);
    }
    let rows = trace_rows(&scenario).map_err(|e| Failure::message(e.to_string()))?;
    Ok(Ok(Loaded { scenario, rows, text, checks }))
}

/// A trace given beside a scenario takes the place of its arrivals, so their horizon and warm-up go with them, unless typed anew.
fn replay_whole(scenario: &mut Scenario, set: &[(String, String)]) {
    let typed = |key: &str| set.iter().any(|(path, _)| path == key);
    let mut dropped = Vec::new();
    if scenario.horizon.duration.is_some() && !typed("duration") {
        scenario.horizon.duration = None;
        dropped.push("`duration`");
    }
    if scenario.horizon.requests.is_some() && !typed("requests") {
        scenario.horizon.requests = None;
        dropped.push("`requests`");
    }
    if scenario.warmup > Time::ZERO && !typed("warmup") {
        scenario.warmup = Time::ZERO;
        dropped.push("`warmup`");
    }
    if !dropped.is_empty() {
        let what = dropped.join(" and ");
        scenario
            .notes
            .push(format!("the whole trace is replayed: {what} of the scenario belong to its own arrivals (see trace.window)"));
    }
}

/// Name, text and folder of the scenario.
pub fn source(input: &Input) -> Result<(String, String, PathBuf), Failure> {
    let Some(path) = &input.scenario else {
        let text = if input.trace.is_some() { DEFAULT_DEPLOYMENT } else { DEFAULT_SCENARIO };
        return Ok(("built-in.toml".to_owned(), text.to_owned(), PathBuf::from(".")));
    };
    let cannot = |error: std::io::Error| {
        let help = (error.kind() == std::io::ErrorKind::NotFound)
            .then(|| "`tokentide init DIR` writes scenarios to start from; `tokentide simulate` alone needs no file".to_owned());
        Failure::Input(vec![Diagnostic { help, ..Diagnostic::file(path, format!("cannot read the scenario: {error}")) }])
    };
    let text = std::fs::read_to_string(path).map_err(cannot)?;
    Ok((path.display().to_string(), text, path.parent().unwrap_or(Path::new(".")).to_owned()))
}

/// Everything that options change, as paths and TOML values: `--set` first, so that the named options win.
///
/// # Errors
/// If a path that was typed cannot be made absolute.
pub fn overrides(input: &Input) -> Result<Vec<(String, String)>, Failure> {
    let mut all = Vec::with_capacity(input.set.len() + 2);
    for (path, value) in &input.set {
        let value = if names_a_file(path) { typed_path(path, value)? } else { value.clone() };
        all.push((path.clone(), value));
    }
    if let Some(trace) = &input.trace {
        all.push(("trace.path".to_owned(), absolute(trace)?));
    }
    if let Some(seed) = input.seed {
        all.push(("seed".to_owned(), seed.to_string()));
    }
    Ok(all)
}

/// The setting that makes a policy the scenario's autoscaler, `target` its default if it is `None`, between so many replicas.
pub fn autoscaler(policy: &str, target: Option<f64>, (min, max): (u32, u32)) -> (String, String) {
    let target = target.map(|target| format!(", target = {target:?}")).unwrap_or_default();
    let policy = toml::Value::String(policy.to_owned());
    ("autoscaler".to_owned(), format!("{{ policy = {policy}{target}, min_replicas = {min}, max_replicas = {max} }}"))
}

/// Settings that name a file. A scenario's paths are relative to its file; typed ones are relative to where they were typed.
const PATHS: [&str; 5] = ["autoscaler.file", "cost.profile", "model.config", "tokenizer.file", "trace.path"];

/// Whether a setting is one of them, or the file of a prompt: `class.chat.prompt.system.file`.
fn names_a_file(setting: &str) -> bool {
    let of_a_prompt = || setting.starts_with("class.") && setting.contains(".prompt.") && setting.ends_with(".file");
    PATHS.contains(&setting) || of_a_prompt()
}

/// A value of a setting as TOML; one that names a file is relative to `folder`.
pub fn typed_value(setting: &str, value: &toml::Value, folder: &Path) -> String {
    let is_path = |text: &&str| !text.is_empty() && (setting != "cost.profile" || text.contains('/') || text.ends_with(".toml"));
    match value.as_str().filter(|_| names_a_file(setting)).filter(is_path) {
        Some(text) => {
            let path = folder.join(text);
            let path = std::path::absolute(&path).unwrap_or(path);
            toml::Value::String(path.display().to_string()).to_string()
        }
        None => value.to_string(),
    }
}

/// The value of such a setting. A profile's may also be a name, which stays as it is.
fn typed_path(setting: &str, value: &str) -> Result<String, Failure> {
    let toml = format!("v = {value}").parse::<toml::Table>().ok();
    let text = toml.as_ref().map_or(Some(value), |table| table.get("v").and_then(toml::Value::as_str));
    let is_path = |text: &&str| setting != "cost.profile" || text.contains('/') || text.ends_with(".toml");
    match text.filter(is_path).filter(|text| !text.is_empty()) {
        Some(text) => absolute(Path::new(text)),
        None => Ok(value.to_owned()),
    }
}

fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|e| Failure::message(format!("cannot find `{}`: {e}", path.display())))?;
    Ok(toml::Value::String(absolute.display().to_string()).to_string())
}

/// Everything wrong with a scenario, where it is.
pub fn diagnostics(errors: ScenarioErrors) -> Failure {
    let diagnostic = |error: scenario::ScenarioError| Diagnostic {
        file: Some(error.file.into()),
        source_text: error.text.to_string(),
        span: error.span,
        first_line: 1,
        message: error.message,
        help: error.help,
    };
    Failure::Input(errors.0.into_iter().map(diagnostic).collect())
}

/// Runs a scenario; `observer` is told all that happens in its first run.
///
/// # Errors
/// If its trace cannot be read, or the records cannot be written.
pub fn simulate(
    loaded: &Loaded,
    options: RunOptions,
    progress: Progress,
    mut records: Option<&mut RecordWriter>,
    observer: Option<&mut dyn Observer>,
) -> Result<Report, Failure> {
    let progress = Mutex::new(progress);
    let show = |share: f64| {
        // Another thread is showing its share now: this one is not worth waiting for.
        if let Ok(mut progress) = progress.try_lock() {
            progress.set(share);
        }
    };
    let mut unwritten = None;
    let mut keep = |outcome: &Outcome, names: &[String]| {
        let Some(writer) = records.as_deref_mut().filter(|_| unwritten.is_none()) else { return };
        let strings = &mut writer.labels_mut().strings;
        if strings.len() < names.len() {
            strings.extend_from_slice(&names[strings.len()..]);
        }
        unwritten = writer.push(outcome).err();
    };
    let report = run::observe(&loaded.scenario, loaded.rows.as_deref(), options, &show, Some(&mut keep), observer);
    let report = report.map_err(run_failure)?;
    match unwritten {
        Some(error) => Err(Failure::message(error.to_string())),
        None => Ok(report),
    }
}

/// Why a run could not be made.
pub fn run_failure(error: RunError) -> Failure {
    match error {
        RunError::Trace(error) => trace_failure(&error),
        other => Failure::message(other.to_string()),
    }
}

/// What is wrong with a file of requests, with its line.
pub fn trace_failure(error: &TraceError) -> Failure {
    let fault = &error.fault;
    let column = fault.column.as_ref().map(|c| format!("column `{c}`: ")).unwrap_or_default();
    let message = format!("{column}{}", fault.kind.reason());
    let shown = error.line.and_then(|line| shown_line(&error.file, line, fault.text.as_deref()));
    let place = match shown {
        Some(shown) => Diagnostic { message, ..shown },
        None => unseen_place(error, message),
    };
    let help = Some(fault.expected.clone()).filter(|e| !e.is_empty());
    Failure::Input(vec![Diagnostic { help, ..place }])
}

/// Where an error is, if its line cannot be shown: rows that came from a table, long lines, damaged files.
fn unseen_place(error: &TraceError, message: String) -> Diagnostic {
    match (error.line, &error.fault.text) {
        (Some(row), _) if error.file.as_os_str().is_empty() => Diagnostic::message(format!("row {row} of the trace: {message}")),
        (None, _) if error.file.as_os_str().is_empty() => Diagnostic::message(format!("trace: {message}")),
        (Some(line), Some(text)) => Diagnostic::line(&error.file, usize::try_from(line).unwrap_or(usize::MAX), text, message),
        (Some(line), None) => Diagnostic::file(&error.file, format!("line {line}: {message}")),
        (None, Some(text)) => Diagnostic::file(&error.file, format!("{message}: `{text}`")),
        (None, None) => Diagnostic::file(&error.file, message),
    }
}

/// Lines longer than this are not shown whole.
const SHOWN_LINE_MAX: usize = 1000;

/// The line of a trace that an error is about, with the cell `text` marked if it is found there, and else the whole line.
fn shown_line(file: &Path, line: u64, text: Option<&str>) -> Option<Diagnostic> {
    let shown = line_text(file, line).filter(|shown| shown.len() <= SHOWN_LINE_MAX)?;
    let apart = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_')));
    let cell = text.filter(|text| !text.is_empty()).and_then(|text| {
        let mut places = shown.match_indices(text).map(|(at, _)| at..at + text.len());
        places.find(|p| apart(shown[..p.start].chars().next_back()) && apart(shown[p.end..].chars().next()))
    });
    let span = cell.unwrap_or(0..shown.len());
    let first_line = usize::try_from(line).ok()?;
    Some(Diagnostic { span: Some(span), source_text: shown, first_line, ..Diagnostic::file(file, "") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_can_run() {
        assert!(load(&Input::default()).is_ok_and(|l| l.scenario.classes.len() == 2));
        let trace = Input { trace: Some("requests.csv".into()), seed: Some(7), ..Input::default() };
        let loaded = load(&trace).unwrap_or_else(|e| panic!("{e:?}"));
        assert!(loaded.scenario.trace.is_some_and(|t| t.path.is_absolute() && t.path.ends_with("requests.csv")));
        assert_eq!(loaded.scenario.seed, 7);
    }

    #[test]
    fn typed_paths_are_relative_to_where_they_were_typed() {
        for path in ["tokenizer.file", "model.config", "class.a.prompt.system.file", "class.\"b.c\".prompt.user.file"] {
            let input = Input { set: vec![(path.to_owned(), "\"x/y.md\"".to_owned())], ..Input::default() };
            let all = overrides(&input).unwrap_or_else(|error| panic!("{error:?}"));
            let value: toml::Table = format!("v = {}", all[0].1).parse().unwrap();
            let value = Path::new(value["v"].as_str().unwrap());
            assert!(value.is_absolute() && value.ends_with("x/y.md"), "{path}");
        }
        assert!(!names_a_file("class.a.prompt.system.template") && !names_a_file("class.a.file"));
    }

    #[test]
    fn named_options_win_over_set() {
        let input = Input { set: vec![("seed".to_owned(), "1".to_owned())], seed: Some(2), ..Input::default() };
        assert!(load(&input).is_ok_and(|l| l.scenario.seed == 2));
    }
}
