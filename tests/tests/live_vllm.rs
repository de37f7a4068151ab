//! A real vLLM on the CPU, started for this test: `cargo test --release --test live_vllm -- --ignored --nocapture`.
//!
//! On demand only: it installs 6 GB on its first run, takes minutes, and its times want a machine that does nothing else. Where the
//! server cannot be had it says why and passes. `tests/live/serve.py` is the server, `tests/live/server.toml` says what it is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tokentide_sim::scenario::Scenario;
use tokentide_sim::validate::deploy::scenario_with;

/// Exit code of `serve.py` where the machine cannot have the server.
const UNAVAILABLE: i32 = 3;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("live")
}

/// The running server; it is stopped when this is dropped, and when this process ends, however it ends.
struct Server {
    process: Child,
    address: String,
    /// What it leaves: its log and the profiler's traces.
    kept: PathBuf,
}

impl Server {
    /// `None`, with the reason printed, where there can be none.
    fn start() -> Option<Server> {
        let kept = std::env::temp_dir().join(format!("tokentide-live-{}", std::process::id()));
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
        let mut command = Command::new(&python);
        command.arg("-B").arg(folder().join("serve.py")).arg("--with-parent").arg("--keep").arg(&kept);
        let mut process = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(process) => process,
            Err(error) => {
                println!("skipped: no Python to start the server with: {python}: {error}");
                return None;
            }
        };
        let mut said = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut said).expect("text");
        let Some(url) = said.trim().strip_prefix("ready http://") else {
            let status = process.wait().expect("it was started");
            assert_eq!(status.code(), Some(UNAVAILABLE), "serve.py broke: its reason is above");
            println!("skipped: there can be no vLLM here, for the reason above");
            return None;
        };
        Some(Server { process, address: url.to_owned(), kept })
    }

    /// Status and body of an answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        let sent = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(sent.as_bytes()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers text");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
    }

    /// Stops it; panics unless it ended in order, with nothing left.
    fn stop(mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().expect("it was started");
        assert!(status.success(), "serve.py: {status}: its reason is above");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.kept);
    }
}

fn scenario() -> Scenario {
    let text = std::fs::read_to_string(folder().join("server.toml")).expect("it is part of the repository");
    scenario_with(&text, "server.toml", &folder(), &[]).unwrap()
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
    let Scenario { deployment, .. } = &scenario();
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
    let body = format!(
        "{{\"model\":\"tiny-llama\",\"prompt\":[{}],\"max_tokens\":9,\"min_tokens\":9,\"ignore_eos\":true,\"temperature\":0,\
         \"stream\":true,\"stream_options\":{{\"include_usage\":true,\"continuous_usage_stats\":true}}}}",
        prompt.join(",")
    );
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

#[test]
#[ignore = "installs 6 GB and starts a server: run it by name"]
fn a_real_server() {
    let started = Instant::now();
    let Some(server) = Server::start() else { return };
    println!("the server answers after {:.0} s", started.elapsed().as_secs_f64());
    is_what_its_scenario_says(&server);
    streams_exact_lengths(&server);
    profiles(&server);
    server.stop();
}
