//! Replicas that come and go: what is typed, what it means, and what is said when it is wrong.

use super::*;
use crate::scenario::{Failing, Interrupted, When};

const SLO: &str = "slo = { ttft_p95 = \"800ms\" }";

fn messages(text: &str) -> Vec<String> {
    wrong(text).into_iter().map(|error| format!("{}: {}", error.offending(), error.message)).collect()
}

#[test]
fn replicas_stay_unless_something_changes_them() {
    let scenario = right(&with_section("cluster = { zones = 3, hold = \"5s\" }"));
    assert!(scenario.cluster.dynamics.is_none());
    assert!(
        scenario.notes.iter().any(|note| note.starts_with("`zones`, `hold` of [cluster] have no effect")),
        "{:?}",
        scenario.notes
    );
}

#[test]
fn failures_schedule_and_startup_are_as_typed() {
    let scenario = right(&with_section(
        r#"[cluster]
zones = 2
interrupted = "retried"
startup = [{ phase = "node", when = "node", time = "90s" }, { phase = "load", when = "container", time = "30s" }]
failure = [{ at = "1m", what = "container", index = 2 }, { at = "2m", what = "zone", index = 1, back = "5m" }]
schedule = [{ at = "3m", replicas = 4 }]"#,
    ));
    let dynamics = scenario.cluster.dynamics.expect("it changes");
    let minutes = |n: u64| tokentide_models::units::Time(n * 60_000_000_000_000);
    let what: Vec<Failing> = dynamics.failures.iter().map(|failure| failure.what).collect();
    assert_eq!(what, [Failing::Container(2), Failing::Zone { zone: 1, back: Some(minutes(5)) }]);
    assert_eq!((dynamics.schedule[0].at, dynamics.schedule[0].replicas), (minutes(3), 4));
    assert_eq!(dynamics.startup.iter().map(|phase| phase.when).collect::<Vec<_>>(), [When::Node, When::Container]);
    assert_eq!((dynamics.interrupted, dynamics.zones), (Interrupted::Retried, 2));
    assert!(!scenario.notes.iter().any(|note| note.contains("assumed to start")), "it is said how they start");
}

#[test]
fn what_cannot_happen_to_replicas_is_refused() {
    for (cluster, expected) in [
        ("failure = [{ at = \"1m\", what = \"zone\", index = 1 }]", "1: no zone has the index 1: there is 1 zone (cluster.zones)"),
        ("failure = [{ at = \"1m\", what = \"node\", back = \"2m\" }]", "\"2m\": `back` goes with what = \"zone\" only"),
        ("failure = [{ at = \"1m\", what = \"rack\" }]", "\"rack\": unknown value \"rack\""),
        ("failure = [{ at = \"-1m\", what = \"node\" }]", "a time cannot be negative"),
        ("failure = [{ what = \"node\" }]", "this entry needs `at`"),
        ("startup = [{ phase = \"x\", when = \"pod\", time = -3 }]", "a time needs a unit"),
        ("failure = [{ at = \"5m\", what = \"zone\", back = \"2m\" }]", "\"2m\": `back` must be later than `at`"),
        ("schedule = [{ at = \"5m\", replicas = 1 }, { at = \"5m\", replicas = 2 }]", "\"5m\": a schedule must ascend in time"),
    ] {
        let found = messages(&with_section(&format!("[cluster]\n{cluster}")));
        assert!(found.len() == 1 && found[0].contains(expected), "{cluster}: {found:?}");
    }
}

#[test]
fn an_autoscaler_is_a_policy_with_bounds_or_a_file() {
    let scenario = right(&with_section("autoscaler = { policy = \"inflight\", target = 30, max_replicas = 8, scrape = \"5s\" }"));
    let autoscaler = scenario.cluster.dynamics.and_then(|dynamics| dynamics.autoscaler).expect("it has one");
    assert_eq!((autoscaler.hpa.min_replicas, autoscaler.hpa.max_replicas), (1, 8));
    assert_eq!(autoscaler.prometheus.scrape.as_secs_f64(), 5.0);
    for (autoscaler, expected) in [
        ("policy = \"inflight\", max_replicas = 8", "the policy \"inflight\" needs a `target` in requests per replica"),
        ("policy = \"in-flight\", target = 3, max_replicas = 8", "no policy is named \"in-flight\""),
        ("policy = \"rps\", target = nan, max_replicas = 8", "nan: `target` must be above 0, not NaN"),
        ("policy = \"kv\"", "a policy needs `max_replicas`"),
        ("policy = \"kv\", min_replicas = 9, max_replicas = 8", "`max_replicas` must be at least `min_replicas`, 9"),
        ("policy = \"slo-aware\", max_replicas = 8", "needs a class with a target for TTFT or TPOT"),
        ("policy = \"kv\", max_replicas = 8, queries = { a = \"up\" }", "`queries` go with `file`"),
        ("policy = \"kv\", max_replicas = 8, sync = \"0s\"", "`sync` must be longer than 0"),
        ("max_replicas = 8", "an autoscaler needs a `policy` or a `file`"),
        ("file = \"nowhere.yaml\"", "cannot read the manifest"),
        ("file = \"nowhere.yaml\", target = 3", "`target` does not go with `file`"),
    ] {
        let found = messages(&with_section(&format!("autoscaler = {{ {autoscaler} }}")));
        assert!(found.iter().any(|message| message.contains(expected)), "{autoscaler}: {found:?}");
    }
    let both = messages(&with_section(
        "autoscaler = { policy = \"kv\", max_replicas = 8 }\ncluster = { schedule = [{ at = \"1m\", replicas = 2 }] }",
    ));
    assert!(both.iter().any(|message| message.contains("a schedule does not go with an [autoscaler]")), "{both:?}");
}

/// A manifest whose query reads a recording rule, which the scenario has to give.
#[test]
fn a_manifest_is_read_with_the_rules_that_it_needs() {
    let folder = std::env::temp_dir().join(format!("tokentide-dynamics-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let manifest = r#"apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: { name: llm }
spec:
  scaleTargetRef: { name: llm }
  minReplicaCount: 2
  maxReplicaCount: 6
  triggers:
  - type: prometheus
    metadata: { serverAddress: "http://p", query: "avg_over_time(pool:busy[45s])", threshold: "0.8" }
"#;
    std::fs::write(folder.join("keda.yaml"), manifest).expect("can write");
    let read = |autoscaler: &str| {
        let text = format!("{BASE}autoscaler = {{ {autoscaler} }}\n{CLASS}{SLO}\n");
        parse(&text, "test.toml", &folder, &[]).map_err(|errors| errors.to_string())
    };
    let missing = read("file = \"keda.yaml\"").err().expect("the rule is missing");
    assert!(missing.contains("there is no metric `pool:busy` in a simulation"), "{missing}");
    let loaded = read("file = \"keda.yaml\", rules = { \"pool:busy\" = \"avg(vllm:kv_cache_usage_perc)\" }").expect("all is there");
    let autoscaler = loaded.scenario.cluster.dynamics.and_then(|dynamics| dynamics.autoscaler).expect("it has one");
    assert_eq!((autoscaler.name.as_str(), autoscaler.hpa.min_replicas, autoscaler.keda.is_some()), ("keda.yaml", 2, true));
    // What the file says is part of the scenario's identity.
    std::fs::write(folder.join("keda.yaml"), manifest.replace("0.8", "0.7")).expect("can write");
    let other = read("file = \"keda.yaml\", rules = { \"pool:busy\" = \"avg(vllm:kv_cache_usage_perc)\" }").expect("all is there");
    assert_ne!(loaded.scenario.hash, other.scenario.hash);
    std::fs::remove_dir_all(&folder).expect("can remove");
}
