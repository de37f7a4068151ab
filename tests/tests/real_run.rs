//! A recorded run of a real server against the simulation of the same requests.
//!
//! vLLM 0.19.0, Llama-3.1-8B in bf16 on one RTX PRO 6000, 300 requests: overload, then drain (the data's README). Its arrivals and
//! lengths are replayed with the prefixes that its blocks share, on the shipped layer profile and the engine's defaults of that
//! release.
//!
//! Nothing was fitted to the run but what the engine-wide default of the host's time per step already contains
//! ([`tokentide_models::cost::HostOverhead::typical`]): 0.3 to 0.5 ms fit this very run. The run has neither HTTP nor tokenizer:
//! from submission until the engine picks an idle request up it takes 1.1 ms in the first four requests, so `request_us` is 1,100.

use std::path::Path;

use tokentide_sim::engine::Outcome;
use tokentide_sim::scenario::{Scenario, parse};
use tokentide_sim::workload::Listed;
use tokentide_tests::engine::{Engine, Fast};
use tokentide_tests::real_run::{FIGURES, Latency, Row, errors, number, per_request, requests, rows};
use tokentide_tests::recorder::Recorder;
use tokentide_tests::shared::shared;

/// The server. The class is not used: the requests are the recorded ones.
const SERVER: &str = r#"
name = "real run"
requests = 1
[model]
name = "llama-3.1-8b"
[gpu]
name = "rtx-pro-6000"
[engine]
version = "0.19"
max_num_seqs = 128
max_num_batched_tokens = 2048
[host]
request_us = 1100.0
prompt_token_us = 0.0
[[class]]
name = "any"
arrivals = { process = "poisson", rate = 1.0 }
prompt = { user = 1 }
output = { tokens = 1 }
"#;

fn run(scenario: &Scenario, list: &[Row], blocks: &[Row]) -> Vec<Outcome> {
    let mut recorder = Recorder::outcomes();
    let list = requests(list, blocks, "arrival_s");
    Fast.run(&scenario.cluster(0), &mut Listed::new(list), &mut recorder);
    recorder.sorted().outcomes
}

#[test]
fn llama_8b_on_rtx_pro_6000() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/real_runs");
    let file = |kind: &str| rows(&folder.join(format!("rtxpro6000_llama-3.1-8b_tp1_bf16.{kind}")));
    let measured = file("requests.csv");
    let scenario = parse(SERVER, "server.toml", Path::new("."), &[]).expect("a scenario").scenario;
    println!("{}: {}", scenario.cost_info.kind, scenario.cost_info.source);
    let outcomes = run(&scenario, &measured, &file("blocks16.csv.gz"));
    let pairs: Vec<_> = outcomes.iter().zip(&measured).map(|(o, row)| (Latency::simulated(o), Latency::measured(row))).collect();
    // The first request waited for the server to warm up.
    let warm = &pairs[1..];
    assert_eq!(measured.iter().filter(|row| row["cold_start"] == "1").count(), 1);
    println!("signed error [%]    mean     p50     p90     p99   per request (mean absolute)");
    for (name, figure) in FIGURES {
        let [mean, p50, p90, p99] = errors(warm, figure);
        println!("{name:<15} {mean:8.2} {p50:7.2} {p90:7.2} {p99:7.2} {:9.2}", per_request(warm, figure));
        let within = if name == "TTFT" { 3.0 } else { 1.5 };
        assert!(mean.abs() < within && p99.abs() < within, "{name}: mean {mean:.2} %, p99 {p99:.2} %, bound {within} %");
    }
    let end = |mine: bool| {
        let mine_end = || outcomes.iter().map(|o| o.ended.0 as f64 / 1e12).fold(0.0, f64::max);
        if mine { mine_end() } else { measured.iter().map(|row| number(row, "last_token_s")).fold(0.0, f64::max) }
    };
    let throughput = 100.0 * (end(false) / end(true) - 1.0);
    println!("throughput {throughput:.2} % (until the last token: {:.2} s, really {:.2} s)", end(true), end(false));
    assert!(throughput.abs() < 1.5, "throughput {throughput:.2} %");
    let light: Vec<String> = pairs[1..4].iter().map(|(m, r)| format!("{:.1} for {:.1}", m.ttft, r.ttft)).collect();
    println!("TTFT of the first requests [ms]: {}", light.join(", "));
}
