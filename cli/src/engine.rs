//! The only door to the crates behind the command line: turns what was typed into their arguments, and their errors into diagnostics.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokentide_models::architecture::Architecture;
use tokentide_models::gpu::Gpu;
use tokentide_sim::report::Report;
use tokentide_sim::scenario::Scenario;
use tokentide_tables::{RecordWriter, TraceRow, read_trace};

use crate::diagnostics::Diagnostic;
use crate::exit::Failure;
use crate::progress::Progress;

/// The scenario that is simulated when none is given.
pub const DEFAULT_SCENARIO: &str = include_str!("../assets/default.toml");
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
}

/// Reads and checks a scenario.
///
/// # Errors
/// All that is wrong with it.
pub fn load(input: &Input) -> Result<Loaded, Failure> {
    let (name, text, folder) = source(input)?;
    let scenario = parse(&text, &name, &folder, &overrides(input)?).map_err(Failure::Input)?;
    let rows = match &scenario.trace {
        Some(trace) if trace.path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) => {
            Some(read_trace(&trace.path, &trace.columns).map_err(|e| Failure::message(e.to_string()))?)
        }
        _ => None,
    };
    Ok(Loaded { scenario, rows, text })
}

/// Name, text and folder of the scenario.
fn source(input: &Input) -> Result<(String, String, PathBuf), Failure> {
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
fn overrides(input: &Input) -> Result<Vec<(String, String)>, Failure> {
    let mut all = input.set.clone();
    if let Some(trace) = &input.trace {
        // The scenario's paths are relative to its file; this one is relative to where the command was typed.
        let absolute =
            std::path::absolute(trace).map_err(|e| Failure::message(format!("cannot find `{}`: {e}", trace.display())))?;
        all.push(("trace.path".to_owned(), toml::Value::String(absolute.display().to_string()).to_string()));
    }
    if let Some(seed) = input.seed {
        all.push(("seed".to_owned(), seed.to_string()));
    }
    Ok(all)
}

// ------------------------------------------------------------------------------------------------------------------------------
// TEMPORARY stand-ins, until the crates behind are merged. Each says what takes its place; nothing else in this crate changes.
// ------------------------------------------------------------------------------------------------------------------------------

const NOT_LINKED: &str =
    "this build was made before the simulator was merged: it can read arguments and print reports, not simulate";

/// PLUG IN: `tokentide_sim::scenario::parse(text, name, folder, overrides)`; `.map(|l| l.scenario)`, and each `ScenarioError` becomes
/// `Diagnostic { file: Some(e.file.into()), source_text: e.text.to_string(), span: e.span, message: e.message, help: e.help }`.
fn parse(text: &str, name: &str, _folder: &Path, _overrides: &[(String, String)]) -> Result<Scenario, Vec<Diagnostic>> {
    let broken = |error: toml::de::Error| Diagnostic {
        file: Some(name.into()),
        source_text: text.to_owned(),
        span: error.span(),
        message: format!("not valid TOML: {}", error.message()),
        help: None,
    };
    text.parse::<toml::Table>().map_err(|error| vec![broken(error)])?;
    Err(vec![Diagnostic::message(NOT_LINKED)])
}

/// PLUG IN: `tokentide_sim::run::simulate(&loaded.scenario, &RunOptions { replications, .. }, &mut progress, records)`, the rows of a Parquet
/// trace turned into the workload's, `Progress::set(share)` called with the share done, each outcome given to `RecordWriter::push`
/// (labels through `RecordWriter::labels_mut`), and `RunError` turned into diagnostics (`Diagnostic::line` for rows of a trace).
pub fn simulate(
    _loaded: &Loaded,
    _replications: u32,
    progress: &mut Progress,
    _records: Option<&mut RecordWriter>,
) -> Result<Report, Failure> {
    progress.set(0.0);
    Err(Failure::message(NOT_LINKED))
}

/// PLUG IN: `Gpu::all()`.
pub fn gpus() -> &'static [Gpu] {
    &[]
}

/// PLUG IN: `Architecture::all()`.
pub fn models() -> &'static [Architecture] {
    &[]
}

/// PLUG IN: `model.source()`.
pub fn model_source(_model: &Architecture) -> Option<&'static str> {
    None
}

/// PLUG IN: `model.parameters().total()`, as a count.
pub fn model_parameters(_model: &Architecture) -> Option<f64> {
    None
}

/// A cost profile as it is listed.
pub struct ProfileRow {
    /// Name for `[cost] profile`.
    pub name: String,
    /// What was measured.
    pub model: String,
    /// On which GPU.
    pub gpu: String,
    /// What a run says about its times.
    pub info: tokentide_models::cost::CostInfo,
}

/// PLUG IN: `tokentide_models::cost::profiles()`.
pub fn profiles() -> Vec<ProfileRow> {
    Vec::new()
}

/// PLUG IN: `Ok(serde_json::to_value(tokentide_sim::scenario::schema()))`.
pub fn schema() -> Result<Value, Failure> {
    Err(Failure::message(NOT_LINKED))
}
