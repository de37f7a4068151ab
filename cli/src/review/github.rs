//! Annotations of GitHub Actions, on each check's own line.

use tokentide_compare::report::{CheckReport, Comparison};
use tokentide_compare::verdict::Verdict;

use super::text::line;
use super::words::{by_verdict, tally};

/// Annotations of one kind that a step may have; more are dropped without a word, so the last one counts the rest.
const PER_KIND: usize = 10;

/// Workflow commands, one per line.
pub fn github(comparison: &Comparison) -> String {
    let mut lines = Vec::new();
    for (kind, verdicts) in [
        ("error", &[Verdict::Fail][..]),
        ("warning", &[Verdict::Warn, Verdict::Fragile, Verdict::Inconclusive]),
        ("notice", &[Verdict::Skipped]),
    ] {
        let checks: Vec<&CheckReport> =
            by_verdict(comparison).into_iter().filter(|check| verdicts.contains(&check.verdict)).collect();
        // A notice is left for the headline.
        let most = if kind == "notice" { PER_KIND - 1 } else { PER_KIND };
        let shown = if checks.len() > most { most - 1 } else { checks.len() };
        for check in &checks[..shown] {
            lines.push(format!(
                "::{kind} file={},line={},title={}::{}",
                property(&check.place.file),
                check.place.line,
                property(&format!("tokentide {}: {}", check.verdict.name(), check.id)),
                data(&line(check, comparison))
            ));
        }
        if shown < checks.len() {
            let rest = checks.len() - shown;
            lines.push(format!("::{kind} title=tokentide::{rest} more checks of this kind: see the summary"));
        }
    }
    let tally = tally(comparison);
    let title = if tally.is_empty() { "tokentide".to_owned() } else { format!("tokentide: {tally}") };
    lines.push(format!("::notice title={}::{}", property(&title), data(&comparison.headline)));
    lines.join("\n") + "\n"
}

/// Text of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
