//! The server that was measured, from its scenario.

use std::path::Path;

use tokentide_sim::scenario::Scenario;
use tokentide_sim::validate::deploy::{scenario_with, unpriced};

use crate::diagnostics::Diagnostic;
use crate::engine::diagnostics;
use crate::exit::Failure;

/// The server in a scenario file, with `set` on top. Its workload is not used, and neither is its cost profile, which may not be
/// there yet.
///
/// # Errors
/// If the file cannot be read, and all that is wrong with it.
pub fn server(path: &Path, set: &[(String, String)]) -> Result<Scenario, Failure> {
    priced(path, &unpriced(set))
}

/// The same with its cost profile.
///
/// # Errors
/// As [`server`], and what is wrong with the profile.
pub fn priced(path: &Path, set: &[(String, String)]) -> Result<Scenario, Failure> {
    let cannot = |error| Failure::Input(vec![Diagnostic::file(path, format!("cannot read it: {error}"))]);
    let text = std::fs::read_to_string(path).map_err(cannot)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    scenario_with(&text, &path.display().to_string(), folder, set).map_err(diagnostics)
}
