//! One seed, one result: to the byte, whatever the number of threads.

use tokentide_sim::run::{RunOptions, simulate};
use tokentide_sim::scenario::Scenario;
use tokentide_tests::scenarios::shipped;

fn json(scenario: &Scenario, replications: u32, threads: Option<usize>) -> String {
    let report = simulate(scenario, None, RunOptions { replications, threads }, &|_| {}, None).expect("runs");
    serde_json::to_string(&report).expect("is JSON")
}

/// Open loop, sessions and closed loop: what the system does feeds back into the arrivals of the latter two.
const SCENARIOS: [&str; 3] = ["support-rag", "agents", "batch"];

#[test]
fn threads_change_nothing() {
    for name in SCENARIOS {
        let scenario = shipped(name, &[]);
        let one = json(&scenario, 4, Some(1));
        assert!(one.contains("\"seeds\":[42,43,44,45]"), "four replications");
        for threads in [Some(2), Some(5), None] {
            assert!(json(&scenario, 4, threads) == one, "{name}: {threads:?} threads give other bytes");
        }
    }
}

#[test]
fn the_seed_decides() {
    for name in SCENARIOS {
        let of_seed = |seed: &str| json(&shipped(name, &[("seed", seed)]), 1, None);
        assert!(of_seed("1") == of_seed("1"), "{name}: the same seed gives other bytes");
        let without_seeds = |json: String| json.replace("\"seeds\":[1]", "").replace("\"seeds\":[2]", "");
        assert!(without_seeds(of_seed("1")) != without_seeds(of_seed("2")), "{name}: another seed gives the same run");
    }
}

/// The first replication of several is the run with the scenario's own seed.
#[test]
fn a_mean_lies_among_its_replications() {
    let scenario = shipped("support-rag", &[]);
    let run = |seed: u64, replications: u32| {
        let scenario = Scenario { seed, ..scenario.clone() };
        let report = simulate(&scenario, None, RunOptions { replications, threads: Some(2) }, &|_| {}, None).expect("runs");
        (report.summary.ttft_ms.mean.expect("a mean"), report.ci95)
    };
    let single = [42, 43, 44].map(|seed| run(seed, 1).0);
    let (mean, ci95) = run(42, 3);
    assert!((mean - single.iter().sum::<f64>() / 3.0).abs() < 1e-9, "{mean} of {single:?}");
    assert!(ci95.expect("intervals")["summary.ttft_ms.mean"] > 0.0);
}
