//! The comment on a pull request: a marker to find it again, a sentence, a table of at most 12 rows, and the rest folded.

use tokentide_compare::report::{BucketRow, CheckReport, Comparison, Presence, Row, ScenarioComparison};
use tokentide_compare::verdict::Verdict;
use tokentide_models::show::{NONE, exact_rounded, percent, time};

use super::How;
use super::words::{
    by_verdict, cells, confidence, counted, curve, interval, moved, of, overloaded, said, subject, tally, worth_reading,
};

/// Rows of the table that is not folded.
const ROWS: usize = 12;
/// A comment of GitHub has 65,536 characters at most; what would go beyond this is left out [bytes].
const BYTES: usize = 60_000;

/// Markdown of GitHub and GitLab; ends with a line feed.
pub fn markdown(comparison: &Comparison, how: &How) -> String {
    let marker = how.marker.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect::<String>();
    let head = format!("<!-- tokentide:{marker} -->\n");
    let dull = if how.checks { !comparison.noteworthy() } else { !comparison.changed() };
    if dull && !how.all {
        let checks = if how.checks { format!("{}. ", tally(comparison)) } else { String::new() };
        return format!("{head}:white_check_mark: **tokentide**: {checks}{}\n", escape(&comparison.headline));
    }
    let title = if how.checks { tally(comparison) } else { "what this change does".to_owned() };
    let mut page = Page { text: head, left_out: 0 };
    page.add(&format!("### tokentide: {title}\n\n{}\n", escape(&comparison.headline)));
    if how.checks {
        page.add(&checks(comparison));
    }
    for scenario in &comparison.scenarios {
        page.add(&changed(scenario, comparison, how));
        page.add(&sources(scenario));
    }
    for scenario in &comparison.scenarios {
        page.add(&details(scenario));
    }
    page.add(&about(comparison, how));
    page.end()
}

/// Text that stays below the limit: a part that does not fit is left out, and counted.
struct Page {
    text: String,
    left_out: usize,
}

impl Page {
    fn add(&mut self, part: &str) {
        // Room for the last line.
        if self.text.len() + part.len() + 200 > BYTES {
            self.left_out += 1;
        } else if !part.is_empty() {
            self.text += "\n";
            self.text += part;
        }
    }

    fn end(mut self) -> String {
        if self.left_out > 0 {
            self.text += &format!("\n_{} sections are left out: a comment has room for no more._\n", self.left_out);
        }
        self.text
    }
}

/// Text that may come from whoever opened the pull request: no markup, no mention, no comment.
fn escape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.replace("->", "→").chars() {
        match c {
            '\n' | '\r' => plain.push(' '),
            '<' => plain += "&lt;",
            '>' => plain += "&gt;",
            '&' => plain += "&amp;",
            '@' => plain += "&#64;",
            '|' => plain += "\\|",
            '*' | '_' | '[' | ']' | '~' | '\\' | '#' | '!' => plain.extend(['\\', c]),
            c => plain.push(c),
        }
    }
    plain
}

fn table(header: &[&str], left: usize, rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&header.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    text += &line(&(0..header.len()).map(|i| if i < left { "---" } else { "---:" }.to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| text += &line(row));
    text
}

fn fold(summary: &str, body: &str) -> String {
    format!("<details><summary>{}</summary>\n\n{body}\n</details>\n", escape(summary))
}

fn icon(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fail => ":x:",
        Verdict::Warn => ":warning:",
        Verdict::Fragile | Verdict::Inconclusive => ":grey_question:",
        Verdict::Skipped => ":fast_forward:",
        Verdict::Pass => ":white_check_mark:",
    }
}

/// What did not pass, in sight; what passed, folded.
fn checks(comparison: &Comparison) -> String {
    let row = |check: &&CheckReport| {
        let id = if check.id.starts_with(&check.assert) { String::new() } else { format!("{}: ", escape(&check.id)) };
        vec![
            format!("{} {}", icon(check.verdict), check.verdict.name()),
            format!("{id}{}", escape(&subject(check, comparison))),
            escape(&said(check, comparison)),
        ]
    };
    let (passed, other): (Vec<&CheckReport>, Vec<&CheckReport>) =
        by_verdict(comparison).into_iter().partition(|check| check.verdict == Verdict::Pass);
    let rows = |checks: &[&CheckReport]| checks.iter().map(row).collect::<Vec<_>>();
    let mut text = String::new();
    if !other.is_empty() {
        text += &table(&["", "check", "found"], 3, &rows(&other));
    }
    if !passed.is_empty() {
        let summary = if passed.len() == 1 { "1 check passed".to_owned() } else { format!("{} checks passed", passed.len()) };
        text += &format!("\n{}", fold(&summary, &table(&["", "check", "found"], 3, &rows(&passed))));
    }
    text
}

fn row(row: &Row, overloaded: [bool; 2]) -> Vec<String> {
    let [base, head, change] = cells(row, overloaded);
    vec![escape(&of(row)), base, head, change]
}

/// The figures that changed, twelve at most, or else a line.
fn changed(scenario: &ScenarioComparison, comparison: &Comparison, how: &How) -> String {
    let several = comparison.scenarios.len() > 1;
    // The sentence over all is that of a scenario already.
    let headline =
        if comparison.headline.contains(&scenario.headline) && scenario.headline.len() > 20 { "" } else { &scenario.headline };
    let mut text = if several {
        format!("**{}** {}", escape(&scenario.name), escape(headline)).trim_end().to_owned() + "\n\n"
    } else {
        String::new()
    };
    let rows: Vec<&Row> = worth_reading(scenario, how.all);
    if scenario.presence != Presence::Both || rows.is_empty() {
        return if several { text } else { String::new() };
    }
    let states = overloaded(scenario);
    let shown: Vec<Vec<String>> = rows.iter().take(ROWS).map(|r| row(r, states)).collect();
    text += &table(&["", "base", "head", "change"], 1, &shown);
    text
}

/// Where the tokens come from.
fn sources(scenario: &ScenarioComparison) -> String {
    let changed = |class: &str| scenario.sources.iter().any(|s| s.class == class && (s.head - s.base).abs() >= 0.5);
    let rows: Vec<Vec<String>> = scenario
        .sources
        .iter()
        .filter(|s| changed(&s.class))
        .map(|s| {
            let class = if s.class.is_empty() { String::new() } else { format!("{}: ", escape(&s.class)) };
            vec![format!("{class}{}", s.source), exact_rounded(s.base), exact_rounded(s.head), moved(s)]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("Where the prompt tokens come from, per request\n\n{}", table(&["source", "base", "head", "change"], 1, &rows))
}

/// All figures with their intervals, latency by prompt length, replicas tried, settings.
fn details(scenario: &ScenarioComparison) -> String {
    if scenario.presence != Presence::Both || !scenario.rows.iter().any(|row| row.changed) {
        return String::new();
    }
    let states = overloaded(scenario);
    let mut body = String::new();
    if !scenario.changes.is_empty() {
        let value = |v: &Option<String>| v.as_deref().map_or("unset".to_owned(), escape);
        let rows: Vec<Vec<String>> =
            scenario.changes.iter().take(50).map(|c| vec![escape(&c.path), value(&c.base), value(&c.head)]).collect();
        body += &format!("{}\n", table(&["setting", "base", "head"], 3, &rows));
    }
    let rows: Vec<Vec<String>> = scenario.rows.iter().map(|r| [row(r, states), vec![interval(r)]].concat()).collect();
    body += &format!("{}\n", table(&["figure", "base", "head", "change", "interval of the difference"], 1, &rows));
    if !scenario.buckets.is_empty() {
        let bucket = |b: &BucketRow| {
            let times = |t: [Option<f64>; 2]| t.map(|t| t.map_or(NONE.to_owned(), time)).join(" → ");
            let requests = b.requests.map(exact_rounded).join(" → ");
            vec![b.bucket.clone(), requests, times(b.ttft_p95_ms), times(b.ttft_p99_ms)]
        };
        let rows: Vec<Vec<String>> = scenario.buckets.iter().map(bucket).collect();
        body += &format!("{}\n", table(&["input tokens", "requests", "TTFT p95", "TTFT p99"], 1, &rows));
    }
    for (name, side) in [("base", &scenario.base), ("head", &scenario.head)] {
        if let Some(side) = side.as_ref().filter(|side| !side.replica_curve.is_empty()) {
            body += &format!("Replicas that meet every target, {name}: {}\n\n", curve(&side.replica_curve));
        }
    }
    fold(&format!("{}: all figures", scenario.name), &body)
}

/// What it rests on, and how to get it again.
fn about(comparison: &Comparison, how: &How) -> String {
    let mut lines = Vec::new();
    for scenario in &comparison.scenarios {
        for (name, side) in [("base", &scenario.base), ("head", &scenario.head)] {
            let Some(side) = side else { continue };
            let times = if side.calibrated { side.profile.clone() } else { format!("{}, uncalibrated", side.profile) };
            let print = &side.fingerprint;
            let trace = print.trace.as_ref().map(|t| format!(", trace {t}")).unwrap_or_default();
            let tokenizer = print.tokenizer.as_ref().map(|t| format!(", tokenizer {}", escape(t))).unwrap_or_default();
            lines.push(format!(
                "- {} {name}: {}, step times of {} (error {} assumed), scenario {}, profile {}{trace}{tokenizer}",
                escape(&scenario.name),
                side.state.as_deref().unwrap_or("not simulated"),
                escape(&times),
                percent(side.model_error),
                print.scenario,
                print.profile
            ));
        }
    }
    lines.extend(comparison.notes.iter().map(|note| format!("- {}", escape(note))));
    let seeds =
        comparison.scenarios.iter().find_map(|s| s.head.as_ref()).map(|side| side.fingerprint.seeds.clone()).unwrap_or_default();
    let seeds = match (seeds.first(), seeds.last()) {
        (Some(first), Some(last)) if first != last => format!("seeds {first} to {last}"),
        (Some(seed), _) => format!("seed {seed}"),
        _ => "no seed".to_owned(),
    };
    let base = comparison.base.as_deref().unwrap_or("nothing");
    let body = format!(
        "{}\n- {} against {}; {seeds}, {} intervals; {}; tokentide {}\n\n```\n{}\n```\n",
        lines.join("\n"),
        escape(&comparison.head),
        escape(base),
        confidence(comparison.confidence),
        counted(comparison),
        env!("CARGO_PKG_VERSION"),
        how.command.replace("```", "")
    );
    fold("What this rests on, and how to reproduce it", &body)
}
