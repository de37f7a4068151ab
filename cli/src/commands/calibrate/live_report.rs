//! What is said of a fit to a live server: coefficients with their intervals, errors, and what the data do not say.

use std::path::Path;

use serde::Serialize;
use tokentide_calibrate::live::{Coefficient, HostShare, LiveFit, SampleKind};
use tokentide_calibrate::observation::{Mark, Observations};
use tokentide_models::cost::{Errors, StatedError};

use crate::diagnostics::Diagnostic;
use crate::exit::Failure;
use crate::text::table::table;
use crate::text::units::{digits, exact, half_width};

/// Largest half-width of an interval that is not worth a word, relative to its coefficient.
const WIDE: f64 = 0.25;

/// A fit, for text and JSON.
#[derive(Serialize)]
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
#[derive(Serialize)]
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
#[derive(Serialize)]
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
#[derive(Serialize)]
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

    fn line(&self) -> String {
        let what = if self.on_gpu { "the GPU's kernels" } else { "the CPU's operators" };
        let [least, most] = self.range_ms.map(digits);
        format!(
            "host: {} ms of a step are not in {what} ({least} to {most} ms over {} batch sizes); they are `host.step_us` now",
            digits(self.step_ms),
            self.batches
        ) + if self.on_gpu { "" } else { "; the profiler slows a CPU's operators down, so there is more of it" }
    }
}

impl CoefficientReport {
    fn of(c: &Coefficient) -> CoefficientReport {
        CoefficientReport { term: c.term.name(), ms: c.ms, half_width_ms: c.half_width, unidentified: c.unidentified.clone() }
    }

    fn row(&self) -> Vec<String> {
        // Microseconds where milliseconds would be all zeros.
        let (scale, unit) = if self.ms.abs() < 0.1 { (1e3, "us") } else { (1.0, "ms") };
        let remark = match &self.unidentified {
            Some(_) => "not identified",
            None if self.ms == 0.0 => "none seen",
            None if self.half_width_ms > WIDE * self.ms => "wide",
            None => "",
        };
        vec![
            self.term.clone(),
            format!("{} {unit}", digits(self.ms * scale)),
            format!("± {} {unit}", half_width(self.half_width_ms * scale)),
            remark.to_owned(),
        ]
    }
}

/// The report as text; `verbose` with all points.
pub fn text(report: &FitReport, verbose: bool) -> String {
    let mut lines = vec![format!(
        "{}: {} engine steps and prompts at {} points, {} of them left out since they stand out",
        report.profile,
        exact(report.samples as u64),
        exact(report.points.len() as u64),
        exact(report.left_out as u64)
    )];
    let rows: Vec<Vec<String>> = report.coefficients.iter().map(CoefficientReport::row).collect();
    lines.extend(table(&["per", "beyond the floor", "95 %", ""], &rows, 1));
    lines.extend(report.host.as_ref().map(HostReport::line));
    lines.push("errors of step times, at points left out of the fit".to_owned());
    let kinds = [
        ("decode", Some(&report.errors.decode)),
        ("prefill", Some(&report.errors.prefill)),
        ("mixed", report.errors.mixed.as_ref()),
    ];
    lines.extend(kinds.into_iter().map(|(what, error)| error_line(what, error)));
    if verbose {
        let row = |p: &PointReport| {
            let error = 100.0 * (p.predicted_ms / p.measured_ms - 1.0);
            vec![p.point.clone(), p.samples.to_string(), digits(p.measured_ms), digits(p.predicted_ms), format!("{error:+.1}")]
        };
        lines.extend(table(
            &["point", "n", "measured ms", "predicted ms", "error %"],
            &report.points.iter().map(row).collect::<Vec<_>>(),
            1,
        ));
    }
    lines.extend(report.notes.iter().map(|note| format!("beware: {note}")));
    lines.join("\n  ")
}

fn error_line(what: &str, error: Option<&StatedError>) -> String {
    match error.filter(|e| e.points > 0) {
        None => format!("  {what:<8} not measured"),
        Some(e) => format!(
            "  {what:<8} mean {:.1} %, p95 {:.1} %, worst {:.1} % ({} points)",
            e.mean_percent, e.p95_percent, e.worst_percent, e.points
        ),
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

/// Writes it as JSON.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, report: &impl Serialize) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::Input(vec![Diagnostic::file(path, format!("cannot write it: {error}"))]);
    let text = serde_json::to_string_pretty(report).map_err(|e| Failure::message(format!("cannot write JSON: {e}")))?;
    std::fs::write(path, text + "\n").map_err(cannot)
}
