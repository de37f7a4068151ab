//! What budgets can be set on, for `tokentide explain checks`.

use serde_json::{Value, json};
use tokentide_compare::metric::{ALL, Definition, Narrowing, Stage, Stat};

use crate::text::style::{self, paint};
use crate::text::table::wrap;

/// Headings of the stages, cheapest first.
const STAGES: [(Stage, &str); 4] = [
    (Stage::Tokens, "Counted: exact, without any simulation"),
    (Stage::Bound, "Bounds: work over capacity, without any simulation"),
    (Stage::Simulated, "Simulated: with an interval over seeds, and at the ends of the model's error"),
    (Stage::Sized, "Sized: by a search for the least number of replicas that meets every target"),
];

const HEAD: &str = "A check is `assert = \"metric.statistic op limit\"`, op being <=, <, >= or >. A limit has a unit (ms, s, tok, \
                    %, $, tok/s, req/s); with a sign it is relative to the base: +10% is a change, +50ms, +1 or, of shares, +1pp a \
                    difference. `where = { class, tenant, route, input_bucket, scenario, model }` narrows it, `level` is error, \
                    warn or off.";

const VERDICTS: &str = "pass and fail (or warn, by the level) need the interval to exclude the limit, and the same on a server \
                        that is faster or slower by the model's error; inconclusive: the interval straddles the limit; fragile: \
                        the server's real speed decides; skipped: no base to compare with. Exit codes: 0 nothing failed; 1 a check \
                        failed; 2 bad usage, configuration or input, or a check that measures nothing; 101 a bug here.";

fn stats(definition: &Definition) -> String {
    let names: Vec<&str> = definition.stats.iter().filter(|s| **s != Stat::Value).map(|s| s.name()).collect();
    names.join(", ")
}

fn narrowing(definition: &Definition) -> &'static str {
    match definition.narrowing {
        Narrowing::No => "scenario",
        Narrowing::Class => "class",
        Narrowing::Requests => "requests",
    }
}

/// In words.
pub fn metrics(width: usize) -> String {
    let mut lines = wrap(HEAD, width);
    for (stage, heading) in STAGES {
        lines.push(String::new());
        lines.push(paint(style::HEADING, heading));
        for definition in ALL.iter().filter(|d| d.stage == stage) {
            let stats = stats(definition);
            let of = if stats.is_empty() { String::new() } else { format!(".{{{stats}}}") };
            lines.push(format!("  {}{of}", definition.name));
            lines.extend(wrap(definition.text, width - 6).iter().map(|line| format!("      {line}")));
        }
    }
    lines.push(String::new());
    lines.push(paint(style::HEADING, "Verdicts"));
    lines.extend(wrap(VERDICTS, width - 2).iter().map(|line| format!("  {line}")));
    lines.join("\n") + "\n"
}

/// The same for programs.
pub fn metrics_json() -> Value {
    let one = |definition: &Definition| {
        json!({
            "metric": definition.name,
            "statistics": definition.stats.iter().map(|s| s.name()).filter(|s| !s.is_empty()).collect::<Vec<_>>(),
            "unit": definition.unit,
            "stage": definition.stage,
            "narrowed_by": narrowing(definition),
            "definition": definition.text,
        })
    };
    ALL.iter().map(one).collect()
}
