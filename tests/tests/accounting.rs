//! Tokens counted without a cluster against those that a run reports, on every shipped scenario.

use std::path::{Path, PathBuf};

use tokentide_compare::metric::{Metric, Stat};
use tokentide_compare::selection::Selection;
use tokentide_compare::tokens::{account, is_known};
use tokentide_sim::report::Report;
use tokentide_sim::run::{RunOptions, simulate};
use tokentide_sim::scenario::{Scenario, Source, load_with, parse};

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).expect("scenarios").filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    files
}

fn run(scenario: &Scenario) -> Report {
    simulate(scenario, None, RunOptions::default(), &|_| {}, None).expect("no trace to fail")
}

#[test]
fn what_is_counted_is_what_is_served() {
    let mut compared = 0;
    for path in scenarios() {
        let short = [("duration".to_owned(), "\"2m\"".to_owned()), ("warmup".to_owned(), "\"20s\"".to_owned())];
        let Ok(loaded) = load_with(&path, &short) else { panic!("{}", path.display()) };
        let scenario = loaded.scenario;
        // What depends on answers is only known once they are there; what changes the replicas may lose requests.
        if scenario.classes.iter().any(|class| class.waits_for_answers()) || scenario.cluster.dynamics.is_some() {
            continue;
        }
        let report = run(&scenario);
        assert_eq!(report.summary.requests.total, report.summary.requests.completed, "{}", path.display());
        let all = [Selection::default().resolve(&scenario).expect("all")];
        let counted = account(&scenario, None, &[scenario.seed], &all).expect("no trace to fail");
        let value = |metric, stat| counted.selections[0].value(metric, stat, 1).unwrap_or(0.0);
        let summary = &report.summary;
        assert_eq!(value(Metric::Requests, Stat::Value), summary.requests.total as f64, "{}", path.display());
        assert_eq!(value(Metric::Input, Stat::Sum), summary.input_tokens as f64);
        assert_eq!(value(Metric::Output, Stat::Sum), summary.output_tokens as f64);
        assert_eq!(value(Metric::Total, Stat::Sum), (summary.input_tokens + summary.output_tokens) as f64);
        for source in Source::ALL {
            let reported = summary.input_tokens_by_source.get(source.name()).copied().unwrap_or(0);
            assert_eq!(value(Metric::OfSource(source), Stat::Sum), reported as f64, "{}: {}", path.display(), source.name());
        }
        assert_eq!(value(Metric::NearContextLimit, Stat::Frac), summary.near_context_limit);
        assert_eq!(value(Metric::OutputCapHit, Stat::Frac), summary.output_cap_hit);
        for (metric, quantiles) in [(Metric::Input, summary.input_length), (Metric::Output, summary.output_length)] {
            assert!((value(metric, Stat::Mean) - quantiles.mean.expect("requests")).abs() < 1e-6);
            assert_eq!(Some(value(metric, Stat::Max)), quantiles.max);
            let (exact, reported) = (value(metric, Stat::P95), quantiles.p95.expect("requests"));
            assert!((exact - reported).abs() <= 0.008 * exact, "{}: {exact} and {reported}", path.display());
        }
        compared += 1;
    }
    assert!(compared >= 6, "{compared} scenarios");
}

/// A cache that nothing is ever evicted of, and that saw the shared text before, leaves what is counted.
#[test]
fn prefill_is_what_a_large_warm_cache_leaves() {
    let text = r#"
duration = "2m"
warmup = "10s"
model = { name = "llama-3.1-8b" }
gpu = { name = "h100-sxm" }
[engine]
num_gpu_blocks_override = 2000000
[[class]]
name = "rag"
arrivals = { rate = 2.0 }
prompt = { system = 700, developer = 405, user = { median = 300, p95 = 2000 } }
output = { tokens = { median = 50, p95 = 90 } }
[[class]]
name = "chat"
arrivals = { rate = 0.5 }
session = { turns = 4, think = "1s" }
prompt = { system = 333, user = { median = 100, p95 = 300 } }
output = { tokens = { median = 50, p95 = 90 } }
"#;
    for (caching, exact) in [(true, false), (false, true)] {
        let set = [("engine.enable_prefix_caching".to_owned(), caching.to_string())];
        let scenario = parse(text, "a.toml", Path::new("."), &set).unwrap_or_else(|e| panic!("{e}")).scenario;
        let summary = run(&scenario).summary;
        let all =
            [Selection::class("rag").resolve(&scenario).expect("rag"), Selection::class("chat").resolve(&scenario).expect("chat")];
        let counted = account(&scenario, None, &[scenario.seed], &all).expect("no trace to fail");
        let sum = |metric| (0..2).map(|i| counted.selections[i].value(metric, Stat::Sum, 1).unwrap_or(0.0)).sum::<f64>();
        let (counted, computed) =
            (sum(Metric::Prefill) / sum(Metric::Input), 1.0 - summary.cached_tokens as f64 / summary.input_tokens as f64);
        if exact {
            assert_eq!((counted, computed), (1.0, 1.0));
        } else {
            // Turns that the end cuts differ, and a turn of a conversation may come before its last block was cached.
            assert!((counted / computed - 1.0).abs() < 0.01, "{counted} counted, {computed} computed");
        }
    }
}

#[test]
fn clients_that_wait_are_counted_as_they_are_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/batch.toml");
    let scenario = load_with(&path, &[]).unwrap_or_else(|e| panic!("{e}")).scenario;
    assert!(!is_known(&scenario));
    let all = [Selection::default().resolve(&scenario).expect("all")];
    let counted = account(&scenario, None, &[scenario.seed], &all).expect("no trace to fail");
    let summary = run(&scenario).summary;
    assert!(!counted.exact && summary.requests.total > 100);
    assert_eq!(counted.selections[0].value(Metric::Input, Stat::Sum, 1), Some(summary.input_tokens as f64));
    assert_eq!(counted.selections[0].requests(), summary.requests.total);
}
