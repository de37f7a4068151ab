//! What should be known of a trace before it is used: each trap that changes an answer without an error.

use crate::import::ImportReport;

/// Warnings about an import through the column map `columns`; `at_zero` sessions without an arrival begin at time zero.
pub fn of(report: &ImportReport, columns: &[(String, String)], at_zero: u64) -> Vec<String> {
    let figures = &report.figures;
    let mut out = Vec::new();
    if let Some(tick) = figures.arrivals.tick_s {
        let share = 100.0 * figures.arrivals.equal_share;
        out.push(format!(
            "{share:.0} % of the arrivals have the time stamp of the one before, on ticks of {tick} s: bursts that nobody sent; \
             `trace transform --jitter {tick}s` spreads them"
        ));
    }
    if at_zero > 1 {
        out.push(format!(
            "{at_zero} sessions have no arrival of their own and all begin at time zero: give them a pace with `--session-rate R` \
             (sessions a second), or all of them arrive at once"
        ));
    }
    if figures.shorter_turns > 0.5 {
        out.push(format!(
            "{:.0} % of the turns have a prompt that is shorter than what their session said before: are lengths those of what a \
             turn adds, not of the whole prompt?",
            100.0 * figures.shorter_turns
        ));
    }
    let mapped = |ours: &[&str]| columns.iter().find(|(name, _)| ours.contains(&name.as_str())).map(|(_, theirs)| theirs.as_str());
    let says = |name: &str, words: &[&str]| words.iter().any(|word| name.to_lowercase().contains(word));
    if let Some(name) = mapped(&["arrival", "arrival_s"]).filter(|name| !name.contains('-'))
        && says(name, &["end", "finish", "complet", "response", "done"])
    {
        out.push(format!(
            "`{name}` sounds like the time of completion: bursts are then shifted by the latency; an arrival is \
             `arrival={name}-DURATION_COLUMN` (in _ms, _s, ...)"
        ));
    }
    match mapped(&["input", "input_tokens"]) {
        Some(name) if says(name, &["user", "message", "query", "question"]) => out.push(format!(
            "`{name}` sounds like the user's message alone: the model is sent system prompt, history, retrieved text and \
             tools too, and those are most of the work"
        )),
        _ if figures.rows >= 100 && figures.input.p95 < 100 && figures.output.p50 > figures.input.p95 => out.push(format!(
            "95 % of the prompts have at most {} tokens: is that the whole prompt as the model is sent it, or the user's message \
             alone?",
            figures.input.p95
        )),
        _ => {}
    }
    let (rows, span) = (figures.rows as f64, figures.arrivals.span_s);
    if figures.waiting == 0 && rows >= 10.0 && (span > 60.0 * 86_400.0 || span > 0.0 && rows / span > 100_000.0) {
        out.push(format!("{rows} rows over {span:.3} s: is the unit of the time stamps ({}) right?", report.time_unit));
    }
    if report.moved > 0 {
        out.push(format!("{} rows stood behind a later one in their file and were put in order", report.moved));
    }
    let missing = figures.prefix.is_none();
    if missing {
        out.push("nothing is known of shared prefixes: a replay hits no cache, which says nothing about production".to_owned());
    }
    out
}
