//! A fitted scenario as TOML, and how well it stands for its trace.

use std::fmt::Write;

use tokentide_traces::fit::curve::Curve;
use tokentide_traces::fit::{Fitted, FittedClass, Table};
use tokentide_traces::survey::Figures;

use super::style::{self, paint};
use super::table::quiet_table;
use super::trace::lengths;
use super::units::{NONE, digits, exact, percent, time};
use crate::commands::trace::fit::Goodness;

/// Shares of prompts that a cache finds which are further apart are other work.
const UNSHARED: f64 = 0.03;

/// The scenario, with what it was `made_of` at its head.
pub fn scenario(fitted: &Fitted, base: &toml::Table, made_of: &str) -> String {
    let mut text = format!("# Fitted by `tokentide trace fit` to {made_of}.\n");
    for note in &fitted.notes {
        let _ = writeln!(text, "# {note}.");
    }
    let _ = writeln!(text, "name = \"fitted\"\nduration = \"{:.3}s\"\n", fitted.span_s);
    text += &toml::to_string(base).unwrap_or_default();
    for class in &fitted.classes {
        text += &self::class(class);
    }
    text
}

fn class(class: &FittedClass) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = format!("\n[[class]]\nname = {}\n", quoted(&class.name));
    if let Some((kind @ ("tenant" | "route"), label)) = &class.label {
        let _ = writeln!(text, "{kind} = {}", quoted(label));
    }
    let of = if class.session.is_some() { " # sessions" } else { "" };
    let process = match class.cv {
        1.0 => "process = \"poisson\"".to_owned(),
        cv => format!("process = \"gamma\", cv = {cv:.3}"),
    };
    let _ = writeln!(text, "arrivals = {{ {process}, rate = {} }}{of}", rate(&class.rate));
    if let Some(session) = &class.session {
        let _ = writeln!(
            text,
            "session = {{ turns = {}, think = {{ quantiles = [{}] }}, first_user = {} }}",
            counts(&session.turns),
            session.think.iter().map(|(p, s)| format!("[{}, \"{:.3}s\"]", share(*p), s)).collect::<Vec<_>>().join(", "),
            distribution(&session.first)
        );
    }
    text += "[class.prompt]\n";
    if class.shared > 0 {
        let _ = writeln!(text, "system = {}", class.shared);
    }
    if !class.groups.is_empty() {
        let _ = writeln!(text, "# Texts that groups of prompts begin with: of each length it is one.");
        let _ = writeln!(text, "developer = {}", counts(&class.groups));
    }
    let _ = writeln!(text, "user = {}", distribution(&class.added));
    text += "[class.output]\n";
    if let Some(max) = class.max_tokens {
        let _ = writeln!(text, "max_tokens = {max}");
    }
    let _ = writeln!(text, "tokens = {}", distribution(&class.output));
    text
}

fn rate(curve: &Curve) -> String {
    if let [(_, rate)] = curve.steps[..] {
        return format!("{rate:.6}");
    }
    // Curves of scenarios are lines between points: from one rate to the next it takes a millisecond, the shortest time that is
    // written.
    let ms = |seconds: f64| (seconds * 1e3).round() as u64;
    let ends = curve.steps.iter().skip(1).map(|(start, _)| *start).chain([curve.end_s]);
    let mut points = Vec::new();
    let mut point = |at: u64, rate: f64| points.push(format!("[\"{}.{:03}s\", {rate:.6}]", at / 1000, at % 1000));
    for (&(start, rate), end) in curve.steps.iter().zip(ends) {
        let (start, end) = (ms(start), ms(end));
        if start < end {
            point(start, rate);
        }
        if start + 1 < end {
            point(end - 1, rate);
        }
    }
    format!("{{ points = [{}] }}", points.join(", "))
}

fn share(p: f64) -> String {
    if p == 0.0 || p == 1.0 { format!("{p:.0}") } else { format!("{p:.6}") }
}

fn distribution(table: &Table) -> String {
    match &table[..] {
        [] => "1".to_owned(),
        [(_, a), .., (_, b)] if a == b => format!("{a}"),
        [(_, only)] => format!("{only}"),
        points => {
            let points: Vec<String> = points.iter().map(|(p, value)| format!("[{}, {value}]", share(*p))).collect();
            format!("{{ quantiles = [{}] }}", points.join(", "))
        }
    }
}

/// Values, and how often each was there.
fn counts(values: &[(u32, u64)]) -> String {
    match values {
        [(only, _)] => only.to_string(),
        _ => {
            let weights: Vec<String> = values.iter().map(|(value, count)| format!("[{value}, {count}]")).collect();
            format!("{{ pmf = [{}] }}", weights.join(", "))
        }
    }
}

/// What a cache could find in the trace, and in the fit. Of conversations whose turns wait nothing is said: they are fitted.
pub fn unshared(goodness: &Goodness) -> Option<String> {
    let ceiling = |figures: &Figures| figures.prefix.map_or(0.0, |prefix| prefix.hit_ceiling);
    goodness.trace.prefix.filter(|_| goodness.trace.waiting == 0)?;
    let (trace, fitted) = (ceiling(&goodness.trace), ceiling(&goodness.fitted));
    let more = match trace - fitted {
        less if less > UNSHARED => ": the fit has more prefill work than the trace, whose replay has its prefixes",
        less if less < -UNSHARED => ": the fit has less prefill work than the trace",
        _ => "",
    };
    Some(format!(
        "an unlimited cache finds {:.1} % of the trace's prompt tokens and {:.1} % of the fit's{more}",
        100.0 * trace,
        100.0 * fitted
    ))
}

/// How well it stands for its trace.
pub fn goodness(goodness: &Goodness, notes: &[String]) -> String {
    let row = |name: &str, f: &Figures| {
        let dispersion = f.arrivals.dispersion.map(|d| d.map_or(NONE.to_owned(), digits)).join(" / ");
        let mut row = vec![name.to_owned(), exact(f.rows), digits(f.arrivals.rate), dispersion];
        row.extend(lengths(f));
        row
    };
    let rows = [row("trace", &goodness.trace), row("fitted", &goodness.fitted)];
    let header = ["", "requests", "req/s", "dispersion 1/10/60 s", "in p50", "p95", "all", "out p50", "p95", "all"];
    let mut lines = quiet_table(&header, &rows, 1);
    lines.push(String::new());
    lines.push(format!("quantiles p5 to p99 of input and output are within {}", percent(goodness.quantile_error)));
    if goodness.quantile_error > 0.03 {
        let longest = goodness.trace.total.max;
        let why = if longest > goodness.context {
            format!(
                "the model's context is {} tokens, and the trace has requests of up to {}: conversations begin afresh where they \
                 would grow beyond it, and others fail; --on a scenario with room for them",
                exact(goodness.context.into()),
                exact(longest.into())
            )
        } else if goodness.conversations {
            "few requests have such lengths, or what turns bring depends on the turns before: they are drawn one by one".to_owned()
        } else {
            "few requests have such lengths, or there are more kinds of them than classes".to_owned()
        };
        lines.push(paint(style::WARN, &format!("more than 3 %: {why}")));
    }
    match (&goodness.simulated, &goodness.not_simulated) {
        (Some(s), _) => {
            let error = s.fitted_ttft_p95_ms / s.trace_ttft_p95_ms - 1.0;
            lines.push(format!(
                "simulated at {} load ({}x the trace's pace): TTFT p95 {} of the trace, {} of the fit \
                 ({:+.1} %; {} to {} over {} draws)",
                percent(s.load),
                digits(s.rate_scale),
                time(s.trace_ttft_p95_ms),
                time(s.fitted_ttft_p95_ms),
                100.0 * error,
                time(s.fitted_range_ms[0]),
                time(s.fitted_range_ms[1]),
                s.draws
            ));
            if let Some([trace, fitted]) = s.hit_shares {
                lines.push(format!(
                    "found in the prefix cache there: {} of the trace's prompt tokens, {} of the fit's",
                    percent(trace),
                    percent(fitted)
                ));
            }
            if error.abs() > 0.1 {
                lines.push(paint(
                    style::WARN,
                    "more than 10 % apart: bursts and long prompts that come together in the trace come independently in the fit; \
                     --by a label that tells them apart, or more --steps, may hold more of it",
                ));
            }
        }
        (None, Some(why)) => lines.push(format!("not simulated: {why}")),
        _ => {}
    }
    lines.extend(notes.iter().cloned());
    lines.join("\n") + "\n"
}
