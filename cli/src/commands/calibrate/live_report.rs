//! What is said of a fit to a live server, as text and in a file.

use std::path::Path;

use serde::Serialize;
use tokentide_calibrate::live::report::{CoefficientReport, FitReport, HostReport, PointReport};
use tokentide_models::cost::StatedError;

use crate::diagnostics::Diagnostic;
use crate::exit::Failure;
use crate::text::table::table;
use crate::text::units::{digits, exact, half_width};

/// Largest half-width of an interval that is not worth a word, relative to its coefficient.
const WIDE: f64 = 0.25;

fn host_line(host: &HostReport) -> String {
    let what = if host.on_gpu { "the GPU's kernels" } else { "the CPU's operators" };
    let [least, most] = host.range_ms.map(digits);
    format!(
        "host: {} ms of a step are not in {what} ({least} to {most} ms over {} batch sizes); they are `host.step_us` now",
        digits(host.step_ms),
        host.batches
    ) + if host.on_gpu { "" } else { "; the profiler slows a CPU's operators down, so there is more of it" }
}

fn row(of: &CoefficientReport) -> Vec<String> {
    // Microseconds where milliseconds would be all zeros.
    let (scale, unit) = if of.ms.abs() < 0.1 { (1e3, "us") } else { (1.0, "ms") };
    let remark = match &of.unidentified {
        Some(_) => "not identified",
        None if of.ms == 0.0 => "none seen",
        None if of.half_width_ms > WIDE * of.ms => "wide",
        None => "",
    };
    vec![
        of.term.clone(),
        format!("{} {unit}", digits(of.ms * scale)),
        format!("± {} {unit}", half_width(of.half_width_ms * scale)),
        remark.to_owned(),
    ]
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
    let rows: Vec<Vec<String>> = report.coefficients.iter().map(row).collect();
    lines.extend(table(&["per", "beyond the floor", "95 %", ""], &rows, 1));
    lines.extend(report.host.as_ref().map(host_line));
    lines.push("errors of step times, at points left out of the fit".to_owned());
    let kinds = [
        ("decode", Some(&report.errors.decode)),
        ("prefill", Some(&report.errors.prefill)),
        ("mixed", report.errors.mixed.as_ref()),
    ];
    lines.extend(kinds.into_iter().map(|(what, error)| error_line(what, error)));
    if verbose {
        let point = |p: &PointReport| {
            let error = 100.0 * (p.predicted_ms / p.measured_ms - 1.0);
            vec![p.point.clone(), p.samples.to_string(), digits(p.measured_ms), digits(p.predicted_ms), format!("{error:+.1}")]
        };
        lines.extend(table(
            &["point", "n", "measured ms", "predicted ms", "error %"],
            &report.points.iter().map(point).collect::<Vec<_>>(),
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

/// Writes it as JSON.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, report: &impl Serialize) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::Input(vec![Diagnostic::file(path, format!("cannot write it: {error}"))]);
    let text = serde_json::to_string_pretty(report).map_err(|e| Failure::message(format!("cannot write JSON: {e}")))?;
    std::fs::write(path, text + "\n").map_err(cannot)
}
