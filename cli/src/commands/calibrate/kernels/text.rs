//! Steps of a trace as text: time by class, medians by what steps computed, names without a class.

use tokentide_calibrate::kernels::KernelReport;
use tokentide_calibrate::kernels::annotation::{Composition, Marker};
use tokentide_calibrate::kernels::report::RankReport;

use crate::text::style::{DIM, HEADING, paint};
use crate::text::table::table;
use crate::text::units::{self, NONE};

/// Names without a class that are listed without --verbose.
const UNCLASSIFIED_TOLD: usize = 10;

/// Compositions that are listed without --verbose.
const COMPOSITIONS_TOLD: usize = 20;

/// The whole report, styled; ends with a line feed. `verbose`: every composition and name.
pub fn report(report: &KernelReport, verbose: bool) -> String {
    let ranks: Vec<String> = report.ranks.iter().map(|rank| rank_lines(rank, verbose).join("\n")).collect();
    ranks.join("\n\n") + "\n"
}

fn rank_lines(rank: &RankReport, verbose: bool) -> Vec<String> {
    let on = rank.gpu.clone().unwrap_or_else(|| if rank.device == "gpu" { "a GPU" } else { "a CPU" }.to_owned());
    let steps = match rank.marker {
        Marker::Vllm => format!("{} steps, named by vLLM", rank.steps),
        Marker::Sglang => format!("{} steps, named by SGLang", rank.steps),
        Marker::ProfilerStep => format!("{} steps of the profiler", rank.steps),
        Marker::Repetition => format!("{} steps, by a kernel that repeats", rank.steps),
        Marker::Nothing => "no steps".to_owned(),
    };
    let about = format!("rank {} on {on}, {} events, {steps}", rank.rank, units::exact(rank.events));
    let mut lines = vec![format!("{}: {about}", rank.file.display())];
    lines.extend(class_lines(rank));
    lines.extend(step_lines(rank, verbose));
    lines.extend(unclassified_lines(rank, verbose));
    lines
}

/// A time given in microseconds, which most are.
fn us(us: f64) -> String {
    if us < 999.5 { format!("{} us", units::digits(us)) } else { units::time(us / 1000.0) }
}

fn maybe(time: Option<f64>) -> String {
    time.map_or(NONE.to_owned(), us)
}

fn block(title: &str, header: &[&str], rows: &[Vec<String>], left: usize) -> Vec<String> {
    let rows = table(header, rows, left).into_iter().map(|line| format!("  {line}").trim_end().to_owned());
    [String::new(), paint(HEADING, title)].into_iter().chain(rows).collect()
}

fn class_lines(rank: &RankReport) -> Vec<String> {
    let row = |row: &tokentide_calibrate::kernels::report::ClassRow| {
        vec![row.class.name().to_owned(), us(row.time_us), units::percent(row.share), units::exact(row.calls)]
    };
    let mut rows: Vec<Vec<String>> = rank.classes.iter().map(row).collect();
    let all: f64 = rank.classes.iter().map(|row| row.time_us).sum();
    if rank.outside_us > 0.0 {
        rows.push(vec!["in no step".to_owned(), us(rank.outside_us), units::percent(rank.outside_us / all), NONE.to_owned()]);
    }
    let title = if rank.device == "gpu" { "GPU time by class" } else { "Operators' own time by class (CPU)" };
    block(title, &["", "time", "share", "calls"], &rows, 1)
}

fn step_lines(rank: &RankReport, verbose: bool) -> Vec<String> {
    if rank.compositions.is_empty() {
        return Vec::new();
    }
    let waited = rank.compositions.iter().any(|row| row.waiting_us.is_some());
    let mut header = vec!["prefill", "decodes", "steps", "busy", "launch gap", "gap", "wall"];
    header.extend(waited.then_some("waiting"));
    let told = if verbose { rank.compositions.len() } else { COMPOSITIONS_TOLD };
    // What was seen most often says most; the table itself stays in order of what was computed.
    let mut order: Vec<usize> = (0..rank.compositions.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(rank.compositions[i].steps), i));
    order.truncate(told);
    order.sort_unstable();
    let row = |i: usize| {
        let row = &rank.compositions[i];
        let (prefill, decodes) = row.composition.map_or(("not told".to_owned(), NONE.to_owned()), composition);
        let mut cells = vec![prefill, decodes, units::exact(row.steps as u64)];
        cells.extend([us(row.busy_us), us(row.launch_gap_us), maybe(row.gap_us), maybe(row.wall_us)]);
        cells.extend(waited.then(|| maybe(row.waiting_us)));
        cells
    };
    let rows: Vec<Vec<String>> = order.into_iter().map(row).collect();
    let mut lines = block("Steps by what they computed (medians)", &header, &rows, 2);
    if rank.compositions.len() > told {
        lines.push(paint(DIM, &format!("  {} more kinds (--verbose lists all)", rank.compositions.len() - told)));
    }
    lines
}

/// `1 x 96` or `3, 512 in all`; `8` or `8, 24 tokens`.
fn composition(of: Composition) -> (String, String) {
    let prefill = match of.prefill_requests {
        0 => NONE.to_owned(),
        1 => format!("1 of {}", units::exact(u64::from(of.prefill_tokens))),
        n => format!("{n} of {} in all", units::exact(u64::from(of.prefill_tokens))),
    };
    let decodes = match (of.decodes, of.decode_tokens) {
        (0, _) => NONE.to_owned(),
        (n, tokens) if n == tokens => n.to_string(),
        (n, tokens) => format!("{n} ({tokens} tokens)"),
    };
    (prefill, decodes)
}

fn names(n: usize) -> String {
    if n == 1 { "1 name".to_owned() } else { format!("{n} names") }
}

/// A rule that has them all, to be copied to a rules file.
fn unclassified_lines(rank: &RankReport, verbose: bool) -> Vec<String> {
    if rank.unclassified.is_empty() {
        return Vec::new();
    }
    let all: f64 = rank.classes.iter().map(|row| row.time_us).sum();
    let unknown: f64 = rank.unclassified.iter().map(|name| name.time_us).sum();
    let title = format!(
        "Not classified: {}, {} of the time; for a file of --rules, with the class that it should have",
        names(rank.unclassified.len()),
        units::percent(unknown / all)
    );
    let told = if verbose { rank.unclassified.len() } else { UNCLASSIFIED_TOLD };
    let line = |name: &tokentide_calibrate::kernels::report::Unclassified| {
        format!("      '{}',  # {}, {} calls", name.pattern, us(name.time_us), units::exact(name.calls))
    };
    let mut lines = vec![String::new(), paint(HEADING, &title)];
    lines.extend(["  [[rule]]", "  class = \"CLASS\"", "  match = ["].map(str::to_owned));
    lines.extend(rank.unclassified.iter().take(told).map(line));
    lines.push("  ]".to_owned());
    if rank.unclassified.len() > told {
        lines.push(paint(DIM, &format!("  {} more names (--verbose lists all)", rank.unclassified.len() - told)));
    }
    lines
}
