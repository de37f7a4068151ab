//! `tokentide calibrate run` against a server whose step costs are known.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tokentide_tests::fake_server::{Coefficients, FakeServer, Faults, Limits};

const LIMITS: Limits =
    Limits { max_num_batched_tokens: 512, max_num_seqs: 16, max_model_len: 2048, block_size: 16, num_gpu_blocks: 4096 };

fn run(url: &str, folder: &Folder, more: &[&str]) -> Output {
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/cpu-server/server.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
    command.args(["calibrate", "run", "--url", url, "--scenario", scenario, "--log", &folder.path("probe.jsonl")]).args(more);
    for variable in ["CI", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TOKENTIDE_SEED", "TOKENTIDE_API_KEY", "OPENAI_API_KEY"] {
        command.env_remove(variable);
    }
    command.output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("tokentide-run-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The whole loop: what was found, what the server has that its scenario lacks, and a profile that predicts the run held out. How
/// well is for tests that have the machine to themselves; a factor is not.
#[test]
fn a_server_is_measured_fitted_and_validated() {
    let coefficients = Coefficients { step: 4.0, per_token: 0.04, per_decode: 0.2, request: 5.0, ..Coefficients::default() };
    let server = FakeServer::with_limits(coefficients, LIMITS, Faults::default());
    let folder = Folder::new("whole");
    let (profile, report) = (folder.path("profile.toml"), folder.path("run.json"));
    let budget = ["--budget", "15s", "--max-num-batched-tokens", "512", "--max-num-seqs", "16", "--input-mean", "100"];
    let files = ["--output-mean", "20", "-o", &profile, "--report", &report];
    let done = run(&server.url(), &folder, &[&budget[..], &files].concat());
    let (said, shown) = (text(&done.stderr), text(&done.stdout));
    assert_eq!(done.status.code(), Some(0), "{said}");
    for part in
        ["95 % interval", "errors of step times", "engine.max_num_seqs = 16", "engine.block_size = 16", "next: tokentide simulate"]
    {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    for part in ["predicted against measured", "TTFT", "TPOT", "corrected for it, medians are off by"] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    assert!(std::fs::read_to_string(&profile).unwrap().contains("kind = \"calibrated\""));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let step = report["fit"]["coefficients"].as_array().unwrap().iter().find(|c| c["term"] == "step").unwrap();
    assert!((0.5..2.0).contains(&(step["ms"].as_f64().unwrap() / coefficients.step)), "{step}");
    let corrected = report["corrected"]["median_errors_percent"].as_array().unwrap();
    assert!(corrected.iter().all(|error| error.as_f64().unwrap().abs() < 50.0), "{corrected:?}");
}

#[test]
fn what_is_wrong_is_told_before_anything_is_measured() {
    let folder = Folder::new("wrong");
    let nowhere = "http://127.0.0.1:9";
    let says = |more: &[&str], message: &str| {
        let done = run(nowhere, &folder, more);
        let said = text(&done.stderr);
        assert!(done.status.code() == Some(2) && said.contains(message), "no {message:?} in\n{said}");
        assert!(!Path::new(&folder.path("probe.jsonl")).exists(), "nothing was measured");
    };
    let profile = folder.path("profile.toml");
    says(&[], "name it: -o profile.toml");
    says(&["-o", &profile], "127.0.0.1:9");
    says(&["-o", &profile, "--set", "gpu.nam=x"], "did you mean");
    says(&["-o", &profile, "--trace-dir", &folder.path("traces")], "there is no such folder");
}
