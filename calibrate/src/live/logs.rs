//! A fit of a server to logs of it.

use std::path::PathBuf;

use tokentide_models::deployment::Deployment;

use super::fit::About;
use super::report::{FitReport, marks};
use super::{LiveFit, Samples, fit_live, sample};
use crate::error::CalibrateError;
use crate::kernels::StepKernels;
use crate::observation::{Observations, ServerRecord};

/// A fit, and what is said of it.
pub struct Fitted {
    /// The fit.
    pub fit: LiveFit,
    /// What is said of it.
    pub report: FitReport,
}

/// Fits a profile of a server to logs of it. `date` is the day it is made on, `YYYY-MM-DD`.
///
/// # Errors
/// If they do not suffice, or cannot be of this server.
pub fn fit_logs(
    logs: &[(PathBuf, Observations)],
    kernels: Option<&StepKernels>,
    mut deployment: Deployment,
    date: String,
) -> Result<Fitted, CalibrateError> {
    one_engine(&deployment)?;
    let mut notes = Vec::new();
    let mut samples = Samples::default();
    for (path, log) in logs {
        agree(log, &mut deployment, &mut notes);
        samples.extend(sample::samples(log, deployment.max_num_batched_tokens));
        notes.extend(marks(path, log));
    }
    let engine = |f: &dyn Fn(&ServerRecord) -> Option<String>| logs.iter().find_map(|(_, log)| f(&log.server));
    let version = deployment.engine_version;
    let about = About {
        engine: engine(&|s| s.engine.clone()).unwrap_or_else(|| "vllm".to_owned()),
        engine_version: engine(&|s| s.engine_version.clone()).unwrap_or_else(|| format!("{}.{}", version.major, version.minor)),
        date,
        source: format!(
            "fitted to {} steps and prompts of a live server as its client saw them; {}; errors are of points left out of the fit",
            samples.steps.len(),
            if kernels.is_some() { "host time told by its kernels" } else { "host time is within the times of steps" }
        ),
    };
    let fit = fit_live(&samples, kernels, &deployment, &about)?;
    let report = FitReport::of(&fit, samples.steps.len(), notes);
    Ok(Fitted { fit, report })
}

/// Streams tell the steps of one engine core; those of several, or of stages that overlap, run at once.
fn one_engine(d: &Deployment) -> Result<(), CalibrateError> {
    if d.data_parallel == 1 && d.pipeline_parallel == 1 {
        return Ok(());
    }
    let selection = format!("a server of {} data-parallel ranks and {} pipeline stages", d.data_parallel, d.pipeline_parallel);
    let reason = "its steps run at once and cannot be told apart from outside: measure a server of one rank and one stage \
                  (ranks of a dense model run as that does)";
    Err(CalibrateError::Refused { selection, reason: reason.to_owned() })
}

/// What the server said of its limits wins over the scenario, which is told.
fn agree(log: &Observations, deployment: &mut Deployment, notes: &mut Vec<String>) {
    let limits = [
        ("max_num_batched_tokens", log.server.max_num_batched_tokens, &mut deployment.max_num_batched_tokens),
        ("max_num_seqs", log.server.max_num_seqs, &mut deployment.max_num_seqs),
    ];
    for (name, said, used) in limits {
        let Some(said) = said.filter(|said| said != used) else { continue };
        notes
            .push(format!("the server has {name} = {said}, the scenario {used}: taken is the server's, so set it in the scenario"));
        *used = said;
    }
}
