//! A report in some forty lines that hold still: what a golden file keeps of a run.

use std::fmt::Write;

use tokentide_sim::report::{Group, Quantiles, Report};

/// The key figures of `report` as text, each rounded to three significant digits: a change of the last digits, say by another order of
/// a sum, is no change of the result.
pub fn digest(report: &Report) -> String {
    let mut out = String::new();
    let s = &report.summary;
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "{name:<20} {text}");
    };
    let model = &report.model;
    line("scenario", report.scenario.clone());
    line("model", format!("{} on {} {} x {}, {}", model.name, model.gpu, model.layout, model.replicas, model.router));
    line("step times", format!("{}, {}", model.cost.kind, model.cost.profile.as_deref().unwrap_or("no profile")));
    let finishes: Vec<String> = s.requests.by_finish.iter().map(|(name, n)| format!("{name} {}", round(*n as f64))).collect();
    line("requests", format!("{} ({})", round(s.requests.total as f64), finishes.join(", ")));
    line("tokens in", round(s.input_tokens as f64));
    line("tokens out", round(s.output_tokens as f64));
    line("tokens cached", round(s.cached_tokens as f64));
    for (source, tokens) in &s.input_tokens_by_source {
        line(&format!("  {source}"), round(*tokens as f64));
    }
    for (name, q) in [
        ("input [tokens]", &s.input_length),
        ("output [tokens]", &s.output_length),
        ("ttft [ms]", &s.ttft_ms),
        ("tpot [ms]", &s.tpot_ms),
        ("itl [ms]", &s.itl_ms),
        ("e2e [ms]", &s.e2e_ms),
        ("queue [ms]", &s.queue_ms),
    ] {
        line(name, quantiles(q));
    }
    for (kind, groups) in [("class", &report.classes), ("in", &report.buckets), ("out", &report.output_buckets)] {
        for group in groups {
            line(&format!("{kind} {}", group.name), latencies(group));
        }
    }
    let c = &s.capacity;
    line("duration [s]", round(s.duration_s));
    line("served [1/s]", round(s.requests_per_s));
    line("offered [1/s]", round(c.offered_requests_per_s));
    line("knee [1/s]", round(c.knee_requests_per_s));
    line("load", format!("{}, {}", round(c.load), c.state));
    line("V_P [tokens/s]", round(c.prefill_tokens_per_s));
    line("utilisation", round(s.utilisation));
    line("kv use", format!("peak {}, mean {} of {} blocks", round(s.kv_use_peak), round(s.kv_use_mean), s.kv_blocks));
    line("waiting peak", format!("{} requests, {} tokens", round(s.waiting_requests_peak as f64), round(s.waiting_tokens_peak as f64)));
    line("steps", round(s.iterations as f64));
    line("preemptions", round(s.preemptions as f64));
    line("near context limit", round(s.near_context_limit));
    line("output cap hit", round(s.output_cap_hit));
    for target in &s.slo.targets {
        let verdict = if target.met { "met" } else { "missed" };
        let value = target.value_ms.map_or("-".to_owned(), round);
        let text = format!("{value} of {} ms, {} within: {verdict}", round(target.limit_ms), round(target.attainment));
        line(&format!("slo {}.{}", target.class, target.target), text);
    }
    let cost = &s.cost;
    line("cost [USD/h]", format!("{} for {} GPUs", round(cost.usd_per_hour), cost.gpus));
    line("cost [USD/M out]", cost.usd_per_million_output_tokens.map_or("-".to_owned(), round));
    line("cost [USD/M]", cost.usd_per_million_tokens.map_or("-".to_owned(), round));
    line("cost [USD/k req]", cost.usd_per_thousand_requests.map_or("-".to_owned(), round));
    for note in &report.notes {
        line("note", note.clone());
    }
    out
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
