//! A real vLLM on the CPU, started for this test: `cargo test --release --test live_vllm -- --ignored --nocapture`.
//!
//! On demand only: it installs 6 GB on its first run, takes minutes, and its times want a machine that does nothing else. Where the
//! server cannot be had it says why and passes. `tests/live/serve.py` is the server, `tests/live/server.toml` says what it is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokentide_calibrate::live::sample::slowness;
use tokentide_calibrate::observation::{Observations, PointKind, RequestRecord};
use tokentide_models::cost::Profile;
use tokentide_sim::scenario::Scenario;
use tokentide_sim::validate::compare;
use tokentide_sim::validate::deploy::scenario_with;
use tokentide_sim::validate::measured::{MeasuredRequest, Pacing, Run};
use tokentide_sim::validate::report::{About, MetricReport, RunReport};

mod load;
mod server;

use load::Planned;
use server::Server;

/// One server at a time, however many threads the tests are given.
static ONE_SERVER: Mutex<()> = Mutex::new(());

/// How far the median predictions may be off: of a held-out run corrected for how slow the machine was in it, and of the mean over
/// it and its repeats as they are [%].
const LIMIT_PERCENT: f64 = 10.0;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("live")
}

/// The server's scenario, with settings on top.
fn scenario(set: &[(String, String)]) -> Scenario {
    let text = std::fs::read_to_string(folder().join("server.toml")).expect("it is part of the repository");
    scenario_with(&text, "server.toml", &folder(), set).unwrap()
}

/// A streamed completion of comma-separated token ids, as JSON: exactly so many tokens, counted in every chunk.
fn completion(ids: &str, output: u32) -> String {
    format!(
        "{{\"model\":\"tiny-llama\",\"prompt\":[{ids}],\"max_tokens\":{output},\"min_tokens\":{output},\"ignore_eos\":true,\
         \"temperature\":0,\"stream\":true,\"stream_options\":{{\"include_usage\":true,\"continuous_usage_stats\":true}}}}"
    )
}

/// The label of a metric, such as `block_size` of `vllm:cache_config_info`.
fn label<'a>(metrics: &'a str, metric: &str, name: &str) -> &'a str {
    let line = metrics.lines().find(|line| line.starts_with(metric)).unwrap_or_else(|| panic!("no {metric} in /metrics"));
    let value = line.split_once(&format!(",{name}=\"")).unwrap_or_else(|| panic!("no {name} in {line}")).1;
    value.split('"').next().expect("a part before the quote")
}

/// What the scenario says is what the server does.
fn is_what_its_scenario_says(server: &Server) {
    let (status, models) = server.ask("GET", "/v1/models", "");
    let Scenario { deployment, .. } = &scenario(&[]);
    assert_eq!(status, 200, "{models}");
    assert!(models.contains(&format!("\"id\":\"{}\"", deployment.model.name)), "{models}");
    assert!(models.contains(&format!("\"max_model_len\":{}", deployment.max_model_len)), "{models}");
    let (_, metrics) = server.ask("GET", "/metrics", "");
    let cache = |name| label(&metrics, "vllm:cache_config_info{", name);
    assert_eq!(cache("block_size"), deployment.block_size.to_string());
    assert_eq!(cache("num_gpu_blocks"), deployment.num_gpu_blocks.unwrap().to_string());
    let (_, version) = server.ask("GET", "/version", "");
    assert!(version.contains(&format!("\"{}.", deployment.engine_version)), "{version}");
}

/// Prompts of token ids and exact output lengths, counted in every chunk: what a probe lives on.
fn streams_exact_lengths(server: &Server) {
    let prompt: Vec<String> = (0..700).map(|i| (100 + 5 * i).to_string()).collect();
    let body = completion(&prompt.join(","), 9);
    let (status, answer) = server.ask("POST", "/v1/completions", &body);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\"usage\":{\"prompt_tokens\":700,\"total_tokens\":709,\"completion_tokens\":9}"), "{answer}");
    assert!(answer.contains("[DONE]") && answer.contains("\"completion_tokens\":1}"), "{answer}");
}

/// The profiler is started and stopped over HTTP, and leaves a trace.
fn profiles(server: &Server) {
    let body = "{\"model\":\"tiny-llama\",\"prompt\":[10,11,12,13],\"max_tokens\":4,\"ignore_eos\":true}";
    for (path, body) in [("/start_profile", ""), ("/v1/completions", body), ("/stop_profile", "")] {
        let (status, answer) = server.ask("POST", path, body);
        assert_eq!(status, 200, "{path}: {answer}");
    }
    let traces = std::fs::read_dir(server.kept.join("traces")).expect("the profiler's folder");
    let names: Vec<String> = traces.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.ends_with(".pt.trace.json.gz")), "{names:?}");
}

/// Runs the program that was just built.
fn tokentide(arguments: &[&str]) {
    // Beside the folder of this test.
    let program = std::env::current_exe().expect("this program has a path").with_file_name("../tokentide");
    println!("$ tokentide {}", arguments.join(" "));
    let status = Command::new(&program).args(arguments).status().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert!(status.success(), "{status}");
}

/// What the program is now, so that no old one is tested.
fn build() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // From the root, with the packages that the tests are built with, so that nothing is compiled twice.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let build = ["build", "--release", "--quiet", "--bin", "tokentide"];
    let status = Command::new(cargo).args(build).current_dir(root).status().expect("cargo runs");
    assert!(status.success(), "cargo build: {status}");
}

/// A request of a probe's log as a measurement.
fn measured(request: &RequestRecord, origin_ns: u64) -> MeasuredRequest {
    let ms = |from: u64, to: u64| (to - from) as f64 / 1e6;
    let (first, last) = (request.chunks[0].0, request.chunks[request.chunks.len() - 1].0);
    MeasuredRequest {
        id: request.index.to_string(),
        arrival_s: Some(ms(origin_ns, request.sent_ns) / 1e3),
        input_tokens: request.input,
        output_tokens: request.output,
        ttft_ms: Some(ms(request.sent_ns, first)),
        tpot_ms: (request.output > 1).then(|| ms(first, last) / f64::from(request.output - 1)),
        e2e_ms: Some(ms(request.sent_ns, last)),
        ..MeasuredRequest::default()
    }
}

/// The open-loop run that the probe held out: what it measured, and what it sent when.
fn held_out(log: &Path) -> (Vec<MeasuredRequest>, Vec<Planned>) {
    let log = Observations::read(log).unwrap();
    let (point, requests) = log.points.iter().find(|(point, _)| point.kind == PointKind::Open).expect("an open-loop run");
    let planned = |r: &RequestRecord| Planned {
        at: Duration::from_nanos(r.planned_ns.expect("open loop") - point.start_ns),
        input: r.input,
        output: r.output,
    };
    (requests.iter().map(|r| measured(r, point.start_ns)).collect(), requests.iter().map(planned).collect())
}

#[test]
#[ignore = "installs 6 GB and starts a server: run it by name"]
fn a_real_server_is_what_its_scenario_says() {
    let _alone = ONE_SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let started = Instant::now();
    let Some(server) = Server::start("scenario") else { return };
    println!("the server answers after {:.0} s", started.elapsed().as_secs_f64());
    is_what_its_scenario_says(&server);
    streams_exact_lengths(&server);
    profiles(&server);
    server.stop();
}

/// Load and speed of a machine change over minutes, so the run that the probe held out is sent twice more: that is what the machine
/// itself is good for.
#[test]
#[ignore = "installs 6 GB, starts a server and measures for eight minutes on a machine without other work: run it by name"]
fn a_held_out_run_is_predicted() {
    build();
    let _alone = ONE_SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(server) = Server::start("held-out") else { return };
    let path = |name: &str| server.kept.join(name).display().to_string();
    let (log, profile, deployment) =
        (path("probe.jsonl"), path("profile.toml"), folder().join("server.toml").display().to_string());
    let budget = scenario(&[]).deployment.max_num_batched_tokens.to_string();
    // A server does not tell its token budget, and the tiny model's ids are few.
    let options =
        ["--max-num-batched-tokens", &budget, "--vocab", "4,4096", "--load", "0.5", "--input-mean", "250", "--output-mean", "60"];
    tokentide(&[&["calibrate", "probe", "--url", &server.url(), "--budget", "5m", "-o", &log][..], &options].concat());
    tokentide(&["calibrate", "fit", &log, "--scenario", &deployment, "-o", &profile]);
    let (first, plan) = held_out(Path::new(&log));
    let runs = [first, load::run(&server, &plan, 1), load::run(&server, &plan, 2)];
    // Before its folder goes with the server.
    let (observations, profile) = (Observations::read(Path::new(&log)).unwrap(), std::fs::read_to_string(&profile).unwrap());
    let predicted = scenario(&[("cost.profile".to_owned(), format!("{:?}", path("profile.toml")))]);
    server.stop();
    spread(&runs, &predicted);
    let slowness = slowness(&observations, &Profile::parse("profile", &profile).unwrap(), 512).expect("steps were seen");
    assert_predicted(&run_of(&runs[0]).in_units_of(slowness), &predicted, slowness);
}

/// Requests as a run, in order of arrival, which need not be that of the threads that sent them.
fn run_of(requests: &[MeasuredRequest]) -> Run {
    let mut requests = requests.to_vec();
    requests.sort_by(|a, b| a.arrival_s.unwrap_or(0.0).total_cmp(&b.arrival_s.unwrap_or(0.0)));
    Run { requests, block_tokens: 32, ..Run::new("live", Pacing::Recorded) }
}

/// The metrics that are compared.
const METRICS: [&str; 3] = ["ttft", "tpot", "e2e"];

fn metric(report: &RunReport, name: &str) -> MetricReport {
    report.metrics.iter().find(|m| m.metric == name).expect("it was measured").clone()
}

/// Prints medians of each run beside the predicted ones, as they are, and how far the runs are apart; holds the means of both to
/// the limit.
fn spread(runs: &[Vec<MeasuredRequest>], server: &Scenario) {
    let reports: Vec<_> = runs.iter().map(|run| compare::run("held out", &About::default(), &run_of(run), server)).collect();
    println!("{} requests at {:.0} % of capacity", reports[0].requests, 100.0 * (1.0 - reports[0].headroom));
    for name in METRICS {
        let metrics: Vec<MetricReport> = reports.iter().map(|report| metric(report, name)).collect();
        for m in &metrics {
            let (measured, predicted, error) = (m.measured.p50, m.predicted.p50, m.errors[1].unwrap());
            println!("{name} p50: measured {measured:.1} ms, predicted {predicted:.1} ms, {error:+.1} %");
        }
        let measured = || metrics.iter().map(|m| m.measured.p50);
        let (low, high) = (measured().fold(f64::INFINITY, f64::min), measured().fold(0.0, f64::max));
        println!("{name} p50: the runs are {:.1} % apart", 100.0 * (high / low - 1.0));
        let error = 100.0 * (metrics.iter().map(|m| m.predicted.p50).sum::<f64>() / measured().sum::<f64>() - 1.0);
        assert!(error.abs() < LIMIT_PERCENT, "{name} p50 of the runs as they are: {error:+.1} %");
    }
}

/// Holds the medians of the held-out run, corrected for the server's slowness in it, to the limit.
fn assert_predicted(run: &Run, server: &Scenario, slowness: f64) {
    let report = compare::run("held out", &About::default(), run, server);
    let errors = METRICS.map(|name| metric(&report, name).errors[1].expect("it took time"));
    println!(
        "steps took {slowness:.3} times what the profile says; corrected for it, p50 of {METRICS:?} are off by {errors:.1?} %"
    );
    assert!(errors.iter().all(|error| error.abs() < LIMIT_PERCENT), "off by more than {LIMIT_PERCENT} %: {errors:.1?} %");
}
