//! Results of `simulate --format json` as sides of a comparison.

use std::path::{Path, PathBuf};

use tokentide_compare::report::Comparison;
use tokentide_compare::{Stored, compare_stored};
use tokentide_sim::run::RunOptions;

use crate::args::Global;
use crate::diagnostics::Diagnostic;
use crate::engine::{self, Input};
use crate::exit::Failure;
use crate::progress::Progress;

/// Base and head, one of which at least is a stored result.
pub struct Paths {
    base: PathBuf,
    head: PathBuf,
}

/// The two sides, if one of them is a stored result.
pub fn sides(typed: &[PathBuf], base: Option<&str>, head: Option<&Path>) -> Option<Paths> {
    let (base, head) = match (typed, base, head) {
        ([base, head], None, None) => (base.clone(), head.clone()),
        ([head], Some(base), None) => (PathBuf::from(base), head.clone()),
        ([], Some(base), Some(head)) => (PathBuf::from(base), head.to_owned()),
        _ => return None,
    };
    (is_result(&base) || is_result(&head)).then_some(Paths { base, head })
}

fn is_result(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"))
}

/// Compares them; a scenario is simulated by the seeds of the result that it is compared with.
///
/// # Errors
/// If one cannot be read, or they cannot be compared.
pub fn compare(paths: &Paths, global: &Global) -> Result<Comparison, Failure> {
    let read = |path: &Path| is_result(path).then(|| stored(path)).transpose();
    let (base, head) = (read(&paths.base)?, read(&paths.head)?);
    let seeds = |of: &Stored| -> Vec<u64> {
        let list = of.report["fingerprint"]["seeds"].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(serde_json::Value::as_u64).collect()
    };
    let (base, head) = match (base, head) {
        (Some(base), Some(head)) => (base, head),
        (Some(base), None) => {
            let head = simulated(&paths.head, &seeds(&base), global)?;
            (base, head)
        }
        (None, Some(head)) => (simulated(&paths.base, &seeds(&head), global)?, head),
        (None, None) => unreachable!("one of them is a result"),
    };
    compare_stored(&base, &head).map_err(|error| {
        Failure::with_help(error.to_string(), "compare the scenarios instead: the same program then simulates both sides")
    })
}

fn stored(path: &Path) -> Result<Stored, Failure> {
    let wrong = |message: String| Failure::Input(vec![Diagnostic::file(path, message)]);
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot read the result: {e}")))?;
    let report = serde_json::from_str(&text).map_err(|e| wrong(format!("this is no JSON: {e}")))?;
    Ok(Stored { name: path.display().to_string(), report })
}

fn simulated(path: &Path, seeds: &[u64], global: &Global) -> Result<Stored, Failure> {
    let seed = seeds.first().copied().or(global.seed);
    let loaded = engine::load(&Input { scenario: Some(path.to_owned()), seed, ..Input::default() })?;
    let options = RunOptions { replications: seeds.len().max(1) as u32, threads: global.threads.map(Into::into) };
    let progress = Progress::new("simulating", global.no_progress || global.quiet);
    let report = engine::simulate(&loaded, options, progress, None, None)?;
    let report = serde_json::to_value(&report).map_err(|e| Failure::message(e.to_string()))?;
    Ok(Stored { name: path.display().to_string(), report })
}
