//! `tokentide emit` as its users meet it: what it writes is read back, and the load that it found is simulated anew.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::Value;
use tokentide_autoscale::config::{Autoscaler, MetricSource, Target};
use tokentide_autoscale::manifest;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const POLICIES: [&str; 10] =
    ["inflight", "queue", "rps", "token-rate", "cpu", "kv", "saturation", "waiting-tokens", "token-backlog", "slo-aware"];

fn tokentide(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
    command.args(args).current_dir(ROOT);
    for variable in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TOKENTIDE_SEED", "TOKENTIDE_THREADS"] {
        command.env_remove(variable);
    }
    command.output().expect("the binary starts")
}

fn emit(args: &[&str]) -> String {
    let output = tokentide(&[&["emit"], args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn refused(args: &[&str], says: &str) {
    let output = tokentide(&[&["emit"], args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(stderr.contains(says) && output.stdout.is_empty(), "{args:?}: {stderr}");
}

fn read(text: &str) -> Autoscaler {
    manifest::read(text, "emitted.yaml", &BTreeMap::new()).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"))
}

/// Whether one replica meets all targets at this share of the rates of `support-rag`.
fn met(share: f64) -> bool {
    let chat = format!("class.chat.arrivals.rate={}", 16.0 * share);
    let rag = format!("class.rag.arrivals.rate={}", 8.0 * share);
    let sets = ["--set", "cluster.replicas=1", "--set", "duration=16m", "--set", "warmup=1m", "--set", &chat, "--set", &rag];
    let output = tokentide(&[&["simulate", "scenarios/support-rag.toml", "--format", "json"], &sets[..]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    report["summary"]["slo"]["met"].as_bool().expect("it has targets")
}

/// The number after a text of a comment.
fn number_after(text: &str, before: &str) -> f64 {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("`{before}` is not in {text}"));
    rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number after `{before}`: {text}"))
}

#[test]
fn the_load_it_finds_is_the_highest_that_meets_all_targets() {
    let text = emit(&["epp", "scenarios/support-rag.toml"]);
    let (peak, missed) = (number_after(&text, "until a target was missed: up to "), number_after(&text, "# At "));
    assert!(peak < missed && missed < 1.03 * peak, "{text}");
    assert!(met(0.98 * peak / 24.0) && !met(1.02 * missed / 24.0), "{text}");
    assert!((10_000.0..100_000.0).contains(&number_after(&text.replace('\n', " "), "peakPrefillThroughput: ")), "{text}");
}

#[test]
fn a_tighter_limit_gives_a_lower_target() {
    let target = |limit: &str| {
        let set = format!("class.chat.slo={{ ttft_p95 = \"{limit}\" }}");
        let read = read(&emit(&["hpa", "--max-replicas", "9", "--set", &set]));
        let Target::AverageValue(target) = read.hpa.metrics[0].target else { panic!("{read:?}") };
        target
    };
    let (loose, tight) = (target("900ms"), target("250ms"));
    assert!(tight < loose && tight >= 1_000, "{tight} {loose}");
}

#[test]
fn every_policy_is_written_and_read_back_as_both() {
    for policy in POLICIES {
        for kind in ["keda", "hpa"] {
            let args =
                [kind, "--policy", policy, "--target", "3.5", "--min-replicas", "2", "--max-replicas", "7", "--model-name", "m"];
            let text = emit(&args);
            let read = read(&text);
            assert_eq!((read.hpa.min_replicas, read.hpa.max_replicas), (2, 7), "{text}");
            assert_eq!(read.keda.is_some(), kind == "keda");
            let metric = &read.hpa.metrics[0];
            match (&metric.source, metric.target) {
                (MetricSource::External { query }, Target::AverageValue(3_500) | Target::Value(3_500)) => {
                    promql_parser::parser::parse(query).unwrap_or_else(|error| panic!("{error}: {query}"));
                    assert_eq!(query.contains("vllm:"), query.contains("{model_name=\"m\"}"), "{query}");
                }
                (MetricSource::Cpu { .. }, Target::Utilization(3)) => assert_eq!(policy, "cpu"),
                other => panic!("{policy}: {other:?}"),
            }
            assert!(text.contains("--target, in "), "{text}");
        }
    }
}

#[test]
fn keda_may_have_no_replica_and_an_hpa_not() {
    let read = read(&emit(&["keda", "--min-replicas", "0", "--max-replicas", "3"]));
    assert_eq!((read.keda.map(|keda| keda.min_replicas), read.hpa.min_replicas), (Some(0), 1));
    refused(&["hpa", "--min-replicas", "0", "--max-replicas", "3"], "an HPA has at least 1");
    refused(&["keda", "--policy", "cpu", "--min-replicas", "0", "--max-replicas", "3"], "no CPU to look at");
}

#[test]
fn what_cannot_be_written_is_told() {
    refused(&["keda"], "--max-replicas");
    refused(&["keda", "--min-replicas", "5", "--max-replicas", "3"], "contradict");
    refused(&["keda", "--max-replicas", "3", "--target", "0"], "--target");
    refused(&["keda", "--policy", "inflite", "--max-replicas", "3"], "did you mean \"inflight\"?");
    refused(&["keda", "--max-replicas", "3", "--format", "json"], "writes YAML, not JSON");
    refused(&["epp", "scenarios/batch.toml"], "no class of the scenario has a target");
    refused(&["epp", "--set", "class.chat.slo={ ttft_p95 = \"1ms\" }"], "however little it has to do: chat ttft_p95");
    let closed = "class.chat.arrivals={ process = \"closed\", concurrency = 8 }";
    refused(&["epp", "--set", closed], "`chat` is a closed loop");
}

#[test]
fn every_rule_is_promql_and_comes_before_its_use() {
    let text = emit(&["promrules", "--model-name", "m", "--set", "class.rag.slo={ ttft_p99 = \"300ms\", e2e_p90 = \"9s\" }"]);
    let file: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let rules = file["groups"][0]["rules"].as_array().expect("a list");
    let mut made: Vec<&str> = Vec::new();
    for rule in rules {
        let (name, expr) = (rule["record"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        promql_parser::parser::parse(expr).unwrap_or_else(|error| panic!("{error}: {expr}"));
        promql_parser::parser::parse(name).unwrap_or_else(|error| panic!("{error}: {name}"));
        assert_eq!(expr.matches("vllm:").count(), expr.matches("{model_name=\"m\"}").count(), "{expr}");
        for used in expr.split(|c: char| !(c.is_alphanumeric() || c == ':' || c == '_')).filter(|word| word.starts_with("pool:")) {
            assert!(made.contains(&used), "{used} in {name}");
        }
        assert!(!made.contains(&name), "{name} twice");
        made.push(name);
    }
    assert!(made.contains(&"pool:slo_e2e_p90:ratio5m") && made.contains(&"pool:slo_ratio"), "{made:?}");
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard: Value = serde_json::from_str(&emit(&["grafana", "--model-name", "m"])).expect("JSON");
    let rules = emit(&["promrules", "--model-name", "m"]);
    let panels = dashboard["panels"].as_array().expect("a list");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36) && dashboard["title"].is_string() && dashboard["uid"].is_null());
    let mut places: Vec<[u64; 4]> = Vec::new();
    for (i, panel) in panels.iter().enumerate() {
        assert_eq!(panels.iter().filter(|other| other["id"] == panel["id"]).count(), 1);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
        let apart = |p: &[u64; 4]| x + w <= p[0] || p[0] + p[2] <= x || y + h <= p[1] || p[1] + p[3] <= y;
        assert!(x + w <= 24 && places.iter().all(apart), "panel {i} lies on another");
        places.push([x, y, w, h]);
        for target in panel["targets"].as_array().expect("a list") {
            let expr = target["expr"].as_str().expect("text");
            promql_parser::parser::parse(expr).unwrap_or_else(|error| panic!("{error}: {expr}"));
            assert!(!expr.starts_with("pool:") || rules.contains(&format!("record: {expr} ")), "{expr} is no rule");
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
    assert_eq!(panels[0]["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"], 1.0);
}

#[test]
fn flags_are_those_of_the_scenario() {
    let text =
        emit(&["vllm", "--set", "engine.kv_cache_dtype=fp8", "--set", "engine.enable_prefix_caching=false", "--model-name", "a b"]);
    let (comments, command) = text.split_once("vllm serve ").expect("a command");
    assert!(comments.lines().all(|line| line.starts_with('#')));
    let flags: Vec<&str> = command.lines().map(|line| line.trim_end_matches('\\').trim()).collect();
    assert_eq!(flags[0], "'a b'");
    for flag in ["--max-num-seqs 256", "--max-model-len 32768", "--kv-cache-dtype fp8", "--no-enable-prefix-caching"] {
        assert!(flags.contains(&flag), "{flag}: {flags:?}");
    }
    assert!(flags[1..].iter().all(|flag| comments.contains(&format!("# {flag}: "))), "a reason for each: {text}");
}

#[test]
fn what_is_written_to_a_file_is_what_is_printed() {
    let path = std::env::temp_dir().join(format!("tokentide-emit-{}.yaml", std::process::id()));
    emit(&["keda", "--max-replicas", "3", "--output", path.to_str().expect("UTF-8")]);
    let written = std::fs::read_to_string(&path).expect("it is there");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(written, emit(&["keda", "--max-replicas", "3"]));
}

/// Changes of the number of replicas under an autoscaler: when, from how many, to how many.
fn scalings(autoscaler: &str) -> Vec<(String, u64, u64)> {
    let set = format!("autoscaler={autoscaler}");
    let output = tokentide(&["simulate", "scenarios/flat-requests.toml", "--format", "json", "--set", &set]);
    assert!(output.status.success(), "{autoscaler}: {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let changes = report["fleet"]["scalings"].as_array().expect("a list").iter();
    let whole = |change: &Value, key: &str| change[key].as_u64().expect("a number");
    changes.map(|change| (change["at_s"].to_string(), whole(change, "from"), whole(change, "to"))).collect()
}

#[test]
fn what_is_emitted_decides_as_the_policy_that_it_was_made_of() {
    let folder = std::env::temp_dir().join(format!("tokentide-emit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for (policy, target) in [("token-rate", "15000"), ("inflight", "30"), ("token-backlog", "0.25"), ("kv", "0.5"), ("rps", "3")] {
        let own = scalings(&format!("{{ policy = \"{policy}\", target = {target}, min_replicas = 3, max_replicas = 12 }}"));
        assert!(!own.is_empty(), "{policy} never scales");
        for kind in ["keda", "hpa"] {
            let path = folder.join(format!("{policy}-{kind}.yaml"));
            let text = emit(&[kind, "scenarios/flat-requests.toml", "--policy", policy, "--target", target]);
            assert!(text.contains("Under this autoscaler: "), "{text}");
            std::fs::write(&path, text).expect("can write");
            assert_eq!(scalings(&format!("{{ file = {:?} }}", path.display().to_string())), own, "{policy} as {kind}");
        }
    }
    std::fs::remove_dir_all(&folder).expect("can remove");
}
