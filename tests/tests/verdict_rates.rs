//! How often verdicts are wrong: measured, not assumed. Every trial is a comparison as `tokentide check` makes it, with its default
//! settings, of the same service by other seeds. The rates are printed: `cargo test --release --test verdict_rates -- --nocapture`.

use rayon::prelude::*;
use tokentide_compare::budget::Budget;
use tokentide_compare::project::Project;
use tokentide_compare::report::Comparison;
use tokentide_compare::side::{Settings, Subject};
use tokentide_compare::verdict::Verdict;
use tokentide_compare::{Pair, Question, Replications, compare};
use tokentide_tests::scenarios::inline;

/// A service at 70 % of what its replica can carry.
const SERVICE: &str = r#"
duration = "4m"
warmup = "30s"
model = { name = "llama-3.1-8b" }
gpu = { name = "h100-sxm" }
[[class]]
name = "rag"
arrivals = { rate = 3.5 }
[class.prompt]
system = 1100
history = { median = 900, p95 = 4000 }
retrieved = { top_k = 4, chunk = 500 }
user = { median = 25, p95 = 120 }
[class.output]
max_tokens = 1024
tokens = { median = 220, p95 = 900 }
"#;

/// Another class before it, that hardly ever sends anything: every request is drawn anew, and nothing else is different.
const REDRAWN: &str =
    "[[class]]\nname = \"other\"\narrivals = { rate = 0.000001 }\nprompt = { user = 1 }\noutput = { tokens = 1 }\n[[class]]";

fn subject(text: &str, seed: u64, set: &[(&str, &str)]) -> Subject {
    let seed = seed.to_string();
    let set = [set, &[("seed", seed.as_str())]].concat();
    Subject { scenario: inline(text, &set), rows: None, typed: Vec::new() }
}

fn budgets(asserts: &[&str]) -> Vec<Budget> {
    let text: String = asserts.iter().map(|assert| format!("[[check]]\nassert = \"{assert}\"\n")).collect();
    Project::parse(&text, "tokentide.toml").unwrap_or_else(|e| panic!("{e}")).budgets
}

fn trial(base: Subject, head: Subject, budgets: &[Budget], replications: Replications) -> Comparison {
    let project = Project::default();
    let pairs = [Pair { name: "service".to_owned(), base: Some(base), head: Some(head), budgets: Vec::new() }];
    let question = Question {
        base: Some("base".to_owned()),
        head: "head".to_owned(),
        pairs: &pairs,
        budgets,
        own_budgets: true,
        replications,
        settings: Settings { confidence: project.confidence, model_error: project.model_error, replicas_max: 16 },
        everything: budgets.is_empty(),
        tokens_only: false,
    };
    compare(&question, &|_| {}).unwrap_or_else(|e| panic!("{e}"))
}

/// What `tokentide check` does when nothing is said.
fn default() -> Replications {
    Project::default().replications
}

/// Seeds far enough apart that no run is in two trials.
fn seed(trial: u64) -> u64 {
    1_000 + 64 * trial
}

/// Of `trials`, by check, how many have each verdict.
fn verdicts(
    trials: u64,
    replications: Replications,
    asserts: &[&str],
    pair: impl Fn(u64) -> (Subject, Subject) + Sync,
) -> Vec<Vec<(Verdict, usize)>> {
    let budgets = budgets(asserts);
    let found: Vec<Vec<Verdict>> = (0..trials)
        .into_par_iter()
        .map(|i| {
            let (base, head) = pair(seed(i));
            trial(base, head, &budgets, replications).checks.iter().map(|check| check.verdict).collect()
        })
        .collect();
    let count = |check: usize, verdict: Verdict| found.iter().filter(|verdicts| verdicts[check] == verdict).count();
    let all = [Verdict::Pass, Verdict::Inconclusive, Verdict::Fragile, Verdict::Fail];
    (0..asserts.len())
        .map(|check| {
            let counts: Vec<(Verdict, usize)> = all.iter().map(|v| (*v, count(check, *v))).collect();
            println!(
                "  {:<28} {}",
                asserts[check],
                counts.iter().map(|(v, n)| format!("{} {n}", v.name())).collect::<Vec<_>>().join(", ")
            );
            counts
        })
        .collect()
}

fn of(counts: &[(Verdict, usize)], verdict: Verdict) -> usize {
    counts.iter().find(|(v, _)| *v == verdict).map_or(0, |(_, n)| *n)
}

#[test]
fn what_does_not_change_is_said_not_to() {
    for i in 0..100 {
        // By another name it is another scenario, which is run like any other.
        let found = trial(subject(SERVICE, i, &[]), subject(SERVICE, i, &[("name", "\"other\"")]), &[], default());
        let rows = &found.scenarios[0].rows;
        assert!(rows.len() > 20 && rows.iter().all(|row| !row.changed && row.difference == Some(0.0)), "seed {i}");
        assert_eq!(found.headline, "No change.", "seed {i}");
    }
}

/// The worst case: nothing changes but every draw, and no growth at all is allowed, so that half of all trials lie beyond.
#[test]
fn a_failure_is_hardly_ever_false() {
    const TRIALS: u64 = 1000;
    let redrawn = SERVICE.replacen("[[class]]", REDRAWN, 1);
    println!("nothing changed, every request drawn anew, {TRIALS} trials:");
    let asserts = ["ttft.p95 <= +0%", "ttft.p95 <= +2%", "tpot.p95 <= +0%", "e2e.p95 <= +0%"];
    let redraw = |seed| (subject(SERVICE, seed, &[]), subject(&redrawn, seed, &[]));
    let found = verdicts(TRIALS, default(), &asserts, redraw);
    for counts in &found {
        assert!((of(counts, Verdict::Fail) as f64) < 0.01 * TRIALS as f64, "{counts:?}");
    }
}

/// Retrieved chunks of 538 tokens in place of 500 make TTFT p95 5 % longer.
#[test]
fn a_real_regression_is_caught() {
    const TRIALS: u64 = 200;
    let longer = |seed| (subject(SERVICE, seed, &[]), subject(SERVICE, seed, &[("class.rag.prompt.retrieved.chunk", "538")]));
    let growth = |i| {
        let (base, head) = longer(seed(i));
        let found = trial(base, head, &[], default());
        let row = found.scenarios[0].rows.iter().find(|row| row.metric == "ttft.p95").expect("a latency");
        (row.change.expect("both are steady"), row.changed)
    };
    let growths: Vec<(f64, bool)> = (0..TRIALS).into_par_iter().map(growth).collect();
    let mean = growths.iter().map(|g| g.0).sum::<f64>() / TRIALS as f64;
    let seen = growths.iter().filter(|g| g.1).count();
    println!("TTFT p95 {:+.1} % longer, {TRIALS} trials: `diff` calls it changed in {seen}", mean * 100.0);
    assert!((0.045..0.055).contains(&mean), "{mean}");
    let found = verdicts(TRIALS, default(), &["ttft.p95 <= +0%", "ttft.p95 <= +2%", "ttft.p95 <= +10%"], longer);
    println!("the same with as many runs as it takes:");
    let auto = verdicts(TRIALS / 4, Replications::Auto, &["ttft.p95 <= +2%"], longer);
    let share = |n: usize, of: u64| n as f64 / of as f64;
    let caught = [share(seen, TRIALS), share(of(&found[0], Verdict::Fail), TRIALS), share(of(&auto[0], Verdict::Fail), TRIALS / 4)];
    assert!(caught.iter().all(|rate| *rate >= 0.95), "{caught:?}");
    assert_eq!(of(&found[2], Verdict::Fail), 0, "it is within 10 %");
}
