//! A report in some forty lines that hold still: what a golden file keeps of a run.

use std::fmt::Write;

use tokentide_sim::report::{Group, Quantiles, Report};

/// The key figures of `report` as text, each rounded to three significant digits: a change of the last digits, say by another order
/// of a sum, is no change of the result.
pub fn digest(report: &Report) -> String {
    let mut lines = Lines::default();
    tokens(report, &mut lines);
    times(report, &mut lines);
    load(report, &mut lines);
    money(report, &mut lines);
    report.model.out_of_range.iter().for_each(|what| lines.add("out of range", what.clone()));
    report.notes.iter().for_each(|note| lines.add("note", note.clone()));
    lines.0
}

/// Named lines, one after the other.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, text: String) {
        let _ = writeln!(self.0, "{name:<20} {text}");
    }
}

fn tokens(report: &Report, lines: &mut Lines) {
    let (s, model) = (&report.summary, &report.model);
    lines.add("scenario", report.scenario.clone());
    lines.add("model", format!("{} on {} {} x {}, {}", model.name, model.gpu, model.layout, model.replicas, model.router));
    lines.add("step times", format!("{}, {}", model.cost.kind, model.cost.profile.as_deref().unwrap_or("no profile")));
    let finishes: Vec<String> = s.requests.by_finish.iter().map(|(name, n)| format!("{name} {}", round(*n as f64))).collect();
    lines.add("requests", format!("{} ({})", round(s.requests.total as f64), finishes.join(", ")));
    lines.add("tokens in", round(s.input_tokens as f64));
    lines.add("tokens out", round(s.output_tokens as f64));
    lines.add("tokens cached", round(s.cached_tokens as f64));
    for (source, tokens) in &s.input_tokens_by_source {
        lines.add(&format!("  {source}"), round(*tokens as f64));
    }
    lines.add("input [tokens]", quantiles(&s.input_length));
    lines.add("output [tokens]", quantiles(&s.output_length));
}

fn times(report: &Report, lines: &mut Lines) {
    let s = &report.summary;
    for (name, q) in [
        ("ttft [ms]", &s.ttft_ms),
        ("tpot [ms]", &s.tpot_ms),
        ("itl [ms]", &s.itl_ms),
        ("e2e [ms]", &s.e2e_ms),
        ("queue [ms]", &s.queue_ms),
    ] {
        lines.add(name, quantiles(q));
    }
    for (kind, groups) in [("class", &report.classes), ("in", &report.buckets), ("out", &report.output_buckets)] {
        for group in groups {
            lines.add(&format!("{kind} {}", group.name), latencies(group));
        }
    }
}

fn load(report: &Report, lines: &mut Lines) {
    let (s, c) = (&report.summary, &report.summary.capacity);
    lines.add("duration [s]", round(s.duration_s));
    lines.add("served [1/s]", round(s.requests_per_s));
    lines.add("offered [1/s]", round(c.offered_requests_per_s));
    lines.add("knee [1/s]", round(c.knee_requests_per_s));
    lines.add("load", format!("{}, {}", round(c.load), c.state));
    lines.add("V_P [tokens/s]", round(c.prefill_tokens_per_s));
    lines.add("utilisation", round(s.utilisation));
    lines.add("kv use", format!("peak {}, mean {} of {} blocks", round(s.kv_use_peak), round(s.kv_use_mean), s.kv_blocks));
    let (requests, tokens) = (round(s.waiting_requests_peak as f64), round(s.waiting_tokens_peak as f64));
    lines.add("waiting peak", format!("{requests} requests, {tokens} tokens"));
    lines.add("steps", round(s.iterations as f64));
    lines.add("preemptions", round(s.preemptions as f64));
    lines.add("near context limit", round(s.near_context_limit));
    lines.add("output cap hit", round(s.output_cap_hit));
    for target in &s.slo.targets {
        let verdict = if target.met { "met" } else { "missed" };
        let value = target.value_ms.map_or("-".to_owned(), round);
        let text = format!("{value} of {} ms, {} within: {verdict}", round(target.limit_ms), round(target.attainment));
        lines.add(&format!("slo {}.{}", target.class, target.target), text);
    }
}

fn money(report: &Report, lines: &mut Lines) {
    let cost = &report.summary.cost;
    let text = |value: Option<f64>| value.map_or("-".to_owned(), round);
    lines.add("cost [USD/h]", format!("{} for {} GPUs", round(cost.usd_per_hour), cost.gpus));
    lines.add("cost [USD/M out]", text(cost.usd_per_million_output_tokens));
    lines.add("cost [USD/M]", text(cost.usd_per_million_tokens));
    lines.add("cost [USD/k req]", text(cost.usd_per_thousand_requests));
}

fn quantiles(q: &Quantiles) -> String {
    let text = |v: Option<f64>| v.map_or("-".to_owned(), round);
    format!("p50 {}, p95 {}, p99 {}, mean {}, max {}", text(q.p50), text(q.p95), text(q.p99), text(q.mean), text(q.max))
}

fn latencies(group: &Group) -> String {
    let text = |q: &Quantiles| format!("{} / {}", q.p50.map_or("-".to_owned(), round), q.p95.map_or("-".to_owned(), round));
    let requests = round(group.requests as f64);
    format!("{requests} requests, ttft {}, tpot {}, e2e {}", text(&group.ttft_ms), text(&group.tpot_ms), text(&group.e2e_ms))
}

/// `value` to three significant digits, without trailing zeros.
pub fn round(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let places = 2 - value.abs().log10().floor() as i32;
    if places <= 0 {
        let unit = 10f64.powi(-places);
        return format!("{}", (value / unit).round() * unit);
    }
    let text = format!("{value:.0$}", places as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Lines of `expected` and `found` that differ, `-` and `+` in front; empty if none do. Lines are matched in order (longest common
/// subsequence), so that an inserted line shows as one.
pub fn diff(expected: &str, found: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let mut common = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            let _ = writeln!(out, "- {}", a[i]);
            i += 1;
        } else {
            let _ = writeln!(out, "+ {}", b[j]);
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (1000.0, "1000"),
            (9_512_345.0, "9510000"),
            (123.45, "123"),
            (0.012_345, "0.0123"),
            (-0.5, "-0.5"),
            (12.0, "12"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(round(value), text);
        }
    }

    #[test]
    fn differences_are_lines() {
        assert_eq!(diff("a\nb\nc", "a\nb\nc"), "");
        assert_eq!(diff("a\nb\nc", "a\nx\nc\nd"), "- b\n+ x\n+ d\n");
    }
}
