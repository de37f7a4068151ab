//! What is said of a fit: coefficients with their intervals, errors, and what the data do not say.

use std::path::Path;

use serde::Serialize;
use tokentide_models::cost::Errors;

use super::{Coefficient, HostShare, LiveFit, SampleKind};
use crate::observation::{Mark, Observations};

/// A fit, for text and JSON.
#[derive(Clone, Debug, Serialize)]
pub struct FitReport {
    /// Name of the profile.
    pub profile: String,
    /// Engine steps and prompts measured.
    pub samples: usize,
    /// Those of them that stood out, and were left out.
    pub left_out: usize,
    /// The coefficients.
    pub coefficients: Vec<CoefficientReport>,
    /// The host's part of a step; absent if the server's kernels were not looked at.
    pub host: Option<HostReport>,
    /// Errors at points left out of the fit.
    pub errors: Errors,
    /// Points: like steps put together.
    pub points: Vec<PointReport>,
    /// What to beware of.
    pub notes: Vec<String>,
}

/// One coefficient.
#[derive(Clone, Debug, Serialize)]
pub struct CoefficientReport {
    /// What it is of.
    pub term: String,
    /// Value, without what memory and arithmetic need at the least [ms].
    pub ms: f64,
    /// Half the 95 % interval [ms].
    pub half_width_ms: f64,
    /// Why the data do not say it.
    pub unidentified: Option<String>,
}

/// One point.
#[derive(Clone, Debug, Serialize)]
pub struct PointReport {
    /// Its name.
    pub point: String,
    /// Samples.
    pub samples: usize,
    /// Their mean [ms].
    pub measured_ms: f64,
    /// Predicted by a fit without it [ms].
    pub predicted_ms: f64,
}

impl FitReport {
    /// Of a fit to so many samples. `notes` are told besides its own.
    pub fn of(fit: &LiveFit, samples: usize, mut notes: Vec<String>) -> FitReport {
        let unknown = |c: &Coefficient| c.unidentified.as_ref().map(|why| format!("`{}` is not known: {why}", c.term.name()));
        notes.extend(fit.coefficients.iter().filter_map(unknown));
        if !fit.points.iter().any(|(p, _)| p.kind == SampleKind::Mixed) {
            notes.push("no step with both decodes and a prompt was measured: those are extrapolated".to_owned());
        }
        FitReport {
            profile: fit.profile.name.clone(),
            samples,
            left_out: fit.left_out,
            coefficients: fit.coefficients.iter().map(CoefficientReport::of).collect(),
            host: fit.host.map(HostReport::of),
            errors: fit.profile.errors.clone(),
            points: fit
                .points
                .iter()
                .map(|(p, held_out)| PointReport {
                    point: p.name.clone(),
                    samples: p.samples,
                    measured_ms: p.ms,
                    predicted_ms: *held_out,
                })
                .collect(),
            notes,
        }
    }
}

/// The host's part of a step.
#[derive(Clone, Debug, Serialize)]
pub struct HostReport {
    /// Median over batch sizes [ms].
    pub step_ms: f64,
    /// Least and most over batch sizes [ms].
    pub range_ms: [f64; 2],
    /// Batch sizes.
    pub batches: usize,
    /// Whether a GPU was traced; else operators on a CPU.
    pub on_gpu: bool,
}

impl HostReport {
    fn of(share: HostShare) -> HostReport {
        let HostShare { step_ms, range_ms, batches, on_gpu } = share;
        HostReport { step_ms, range_ms: range_ms.into(), batches, on_gpu }
    }
}

impl CoefficientReport {
    fn of(c: &Coefficient) -> CoefficientReport {
        CoefficientReport { term: c.term.name(), ms: c.ms, half_width_ms: c.half_width, unidentified: c.unidentified.clone() }
    }
}

/// What disturbed a probe, a line per kind.
pub fn marks(path: &Path, log: &Observations) -> Vec<String> {
    let all = [
        (Mark::ForeignTraffic, "left out, since the server worked for others as well"),
        (Mark::Preempted, "left out, since requests were preempted"),
        (Mark::PrefixHits, "left out, since prompts were found in the prefix cache"),
        (Mark::Bunched, "left out, since tokens of many steps came at once: the client or the server's front end was starved"),
        (Mark::Queued, "with requests that waited where none should have"),
        (Mark::Failed, "with requests that failed"),
        (Mark::Throttled, "slower than in their other repeats"),
    ];
    let count = |mark: Mark| log.points.iter().filter(|(point, _)| point.marks.contains(&mark)).count();
    let line = |(mark, what): (Mark, &str)| match count(mark) {
        0 => None,
        n => Some(format!("{}: {n} of {} repeats of points {what}", path.display(), log.points.len())),
    };
    all.into_iter().filter_map(line).collect()
}
