//! `tokentide plan` as its users meet it.

use std::process::{Command, Output};

use serde_json::Value;

fn tokentide(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
    command.args(args).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for variable in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TOKENTIDE_SEED", "TOKENTIDE_THREADS"] {
        command.env_remove(variable);
    }
    command.output().expect("the binary starts")
}

fn plan(args: &[&str]) -> String {
    let output = tokentide(&[&["plan"], args].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&plan(&[args, &["--format", "json"]].concat())).expect("JSON")
}

fn refused(args: &[&str], says: &[&str]) {
    let output = tokentide(&[&["plan"], args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty() && says.iter().all(|text| stderr.contains(text)), "{args:?}: {stderr}");
}

#[test]
fn the_answer_comes_first_and_latency_after_headroom() {
    let text = plan(&["scenarios/support-rag.toml", "--zones", "3"]);
    assert!(text.starts_with("support-rag: 3 replicas of llama-3.1-8b on h100-sxm tp1, 3 GPUs, "), "{text}");
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no `{what}` in {text}"));
    let order = ["headroom", "capacity", "if times are off", "one replica down", "one zone down", "Targets", "Options", "Notes"];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
    assert_eq!(text, plan(&["scenarios/support-rag.toml", "--zones", "3", "--threads", "1"]), "threads change nothing");
}

#[test]
fn options_are_sized_alike_and_the_cheapest_comes_first() {
    let plan = json(&["scenarios/support-rag.toml", "--gpu", "h100-sxm,l40s,l4", "--tp", "1,2", "--split-classes", "chat:rag"]);
    let options = plan["options"].as_array().expect("a list");
    assert_eq!(options.len(), 6);
    let price: Vec<f64> = options.iter().filter_map(|row| row["usd_per_hour"].as_f64()).collect();
    assert!(price.len() >= 2 && price.is_sorted(), "{price:?}");
    assert!(options.iter().any(|row| row["pareto"] == true));
    for row in options {
        let (verdict, replicas) = (row["verdict"].as_str().expect("a word"), &row["replicas"]);
        let answered = ["holds", "fragile", "uncertain"].contains(&verdict);
        assert_eq!(answered, replicas.is_u64(), "{row}");
        assert!(answered || row["reason"].as_str().is_some_and(|why| !why.is_empty()), "{row}");
    }
    assert_eq!(plan["splits"][0]["pools"].as_array().map(Vec::len), Some(2));
    let provenance = &plan["provenance"];
    let profiles: Vec<&str> = provenance["profiles"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(profiles.len() == 6 && profiles.iter().any(|hash| hash.len() == 16), "{provenance}");
    assert!(provenance["trace"].is_null() && provenance["tokenizer"].is_null() && provenance["seed"] == 42, "{provenance}");
}

#[test]
fn counting_requests_misses_what_counting_tokens_sees() {
    let all = ["--autoscaler", "rps=4.5", "--autoscaler", "token-rate=15000", "--autoscaler", "fixed=3"];
    let comparison = json(&[&["scenarios/flat-requests.toml"], &all[..]].concat());
    let row = |i: usize| &comparison["rows"][i];
    let missed = |i: usize| row(i)["fleet"]["slo_missed_s"].as_f64().expect("it has targets");
    let hours = |i: usize| row(i)["fleet"]["gpu_hours"].as_f64().expect("hours");
    assert!(missed(0) > 600.0 && missed(1) == 0.0, "{} s and {} s", missed(0), missed(1));
    assert!(hours(1) < 1.1 * hours(0), "{} and {} GPU-hours", hours(0), hours(1));
    assert_eq!(row(0)["fleet"]["scale_ups"], 0);
    assert_eq!((row(2)["fleet"]["ready_min"].as_u64(), row(2)["fleet"]["ready_max"].as_u64()), (Some(3), Some(3)));
    let text = plan(&[&["scenarios/flat-requests.toml"], &all[..]].concat());
    assert!(text.contains("missed for") && text.contains("never"), "{text}");
}

#[test]
fn what_cannot_be_planned_is_told() {
    refused(&["scenarios/batch.toml"], &["no class has a target", "--slo ttft_p95=800ms"]);
    refused(&["scenarios/support-rag.toml", "--slo", "ttft=1s"], &["ttft_p95=800ms"]);
    refused(&["scenarios/support-rag.toml", "--model-error", "-5"], &["expected 0 to 90 percent, not -5"]);
    refused(&["scenarios/support-rag.toml", "--max-seeds", "-1"], &["-1 is not in 2..=1000"]);
    refused(&["scenarios/support-rag.toml", "--split-classes", "chat:rga"], &["there is no class `rga`"]);
    refused(&["scenarios/agents.toml", "--split-at", "4096", "--slo", "ttft_p95=2s"], &["cannot split class"]);
    refused(&["scenarios/support-rag.toml", "--gpu", "h100-smx"], &["h100-sxm"]);
    refused(&["scenarios/support-rag.toml", "--autoscaler", "rps=4"], &["between how many replicas may `rps` choose?"]);
    refused(&["scenarios/flat-requests.toml", "--autoscaler", "rsp=4"], &["no policy is named \"rsp\"", "did you mean \"rps\"?"]);
    refused(&["scenarios/flat-requests.toml", "--autoscaler", "inflight"], &["needs a `target` in requests per replica"]);
    refused(&["scenarios/flat-requests.toml", "--autoscaler", "missing.yaml"], &["cannot read the manifest"]);
}
