//! `tokentide calibrate probe` as it is typed: streams, exit codes, the key, an interrupt.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokentide_tests::fake_server::{Coefficients, FakeServer, Faults};

fn probe(server: &FakeServer, log: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
    command.args(["calibrate", "probe", "--url", &server.url(), "-o", log, "--max-num-batched-tokens", "512"]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in ["CI", "TOKENTIDE_SEED", "TOKENTIDE_API_KEY", "OPENAI_API_KEY"] {
        command.env_remove(variable);
    }
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A name in the folder for temporary files where nothing is yet.
fn log(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tokentide-cli-probe-{name}-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn holds(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "no {part:?} in\n{text}"));
}

#[test]
fn a_probe_writes_a_log_and_tells_of_it_on_stderr() {
    let key = "sk-of-the-environment";
    let faults = Faults { api_key: Some(key.into()), ..Faults::default() };
    let server = FakeServer::start(Coefficients::default(), faults);
    let path = log("whole");
    let shown = path.display().to_string();
    let limits = ["--max-num-seqs", "4", "--budget", "1500ms"];
    let without = probe(&server, &shown, &limits).output().expect("it starts");
    assert_eq!(without.status.code(), Some(2));
    holds(&stderr(&without), &["wants an API key", "= help: set TOKENTIDE_API_KEY"]);
    assert!(!path.exists(), "nothing was measured");

    let made = probe(&server, &shown, &limits).env("OPENAI_API_KEY", key).output().expect("it starts");
    let said = stderr(&made);
    assert_eq!((made.status.code(), made.stdout.len()), (Some(0), 0), "{said}");
    holds(
        &said,
        &[
            "fake at http://127.0.0.1:",
            "vllm 0.32.0",
            "max_num_seqs 4",
            "95 % interval",
            "open loop",
            "next: tokentide calibrate fit",
        ],
    );
    let text = std::fs::read_to_string(&path).expect("a log");
    assert!(text.lines().count() > 20 && !text.contains(key) && !said.contains(key));

    let again = probe(&server, &shown, &limits).env("OPENAI_API_KEY", key).output().expect("it starts");
    assert_eq!(again.status.code(), Some(2));
    holds(&stderr(&again), &["there is a log already", "--resume"]);
    assert_eq!(std::fs::read_to_string(&path).expect("a log"), text);
    std::fs::remove_file(path).expect("it is there");
}

#[test]
fn wrong_arguments_are_refused() {
    let server = FakeServer::start(Coefficients::default(), Faults::default());
    let path = log("refused");
    let shown = path.display().to_string();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--budget", "5"], &["--budget", "no unit"]),
        (&["--vocab", "5,9"], &["--vocab", "above LOW by 64"]),
        (&["--load", "1.5"], &["--load", "0.05 to 0.95"]),
        (&["--model", "llama"], &["no model `llama`", "--model fake"]),
        (&["--format", "json"], &["JSON lines", "probe.jsonl"]),
        (&["--max-num-seqs", "0"], &["--max-num-seqs"]),
    ];
    for (arguments, parts) in cases {
        let output = probe(&server, &shown, arguments).output().expect("it starts");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        holds(&stderr(&output), parts);
    }
    assert!(!path.exists());
}

/// An interrupt is sent with the system's `kill`.
#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_measured_and_says_how_to_go_on() {
    let server = FakeServer::start(Coefficients::default(), Faults::default());
    let path = log("interrupt");
    let shown = path.display().to_string();
    let child = probe(&server, &shown, &["--max-num-seqs", "4", "--budget", "1m"]).spawn().expect("it starts");
    let begun = Instant::now();
    let points = || std::fs::read_to_string(&path).unwrap_or_default().matches("\"record\":\"point\"").count();
    while points() < 8 && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there");
    let output = child.wait_with_output().expect("it ends");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    holds(&said, &["interrupted", "are kept in", "go on with: tokentide calibrate probe --url http://127.0.0.1:", "--resume -o "]);
    assert!(points() >= 8 && begun.elapsed() < Duration::from_secs(20));
    std::fs::remove_file(path).expect("it is there");
}
