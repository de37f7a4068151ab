//! `tokentide calibrate fit` as its users meet it.

use std::path::PathBuf;
use std::process::{Command, Output};

use tokentide_calibrate::observation::Observations;
use tokentide_tests::virtual_server::{Disturbance, Known, VirtualServer};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// A server whose model is Llama-3.1-8B on an H100, as far as its times go.
const KNOWN: Known = Known {
    step: 6.5,
    token: 0.0,
    knot: 128,
    token_beyond: 0.021,
    decode: 0.01,
    context: 6e-5,
    mean_context: 0.0,
    chunk: 0.2,
    pair: 1e-6,
    history: 4e-5,
    arrival: 0.5,
    request: 5.0,
};
const SERVER: &str = "[model]\nname = \"llama-3.1-8b\"\n[gpu]\nname = \"h100-sxm\"\n[engine]\nmax_num_batched_tokens = 2048\n";

fn tokentide(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
    command.args(args).current_dir(ROOT);
    for variable in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TOKENTIDE_SEED", "TOKENTIDE_THREADS"] {
        command.env_remove(variable);
    }
    command.output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A folder with the server's scenario and a probe's log.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("tokentide-fit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let folder = Folder(dir);
        folder.write("server.toml", SERVER);
        let log = VirtualServer::new(KNOWN, Disturbance::default(), 2048).probe(
            &[32, 64, 128, 192, 256, 512, 1024, 2048, 4096],
            &[1, 4, 16, 64],
            &[128, 2048],
            1,
        );
        let lines: Vec<String> = log.records().map(|record| serde_json::to_string(&record).unwrap()).collect();
        folder.write("probe.jsonl", &(lines.join("\n") + "\n"));
        folder
    }

    fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.0.join(name), content).unwrap();
        self.path(name)
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

#[test]
fn a_profile_is_fitted_and_simulated() {
    let folder = Folder::new("profile");
    let (log, server, profile, report) =
        (folder.path("probe.jsonl"), folder.path("server.toml"), folder.path("profile.toml"), folder.path("fit.json"));
    let run = tokentide(&["calibrate", "fit", &log, "--scenario", &server, "-o", &profile, "--report", &report]);
    let said = text(&run.stderr);
    assert_eq!((run.status.code(), text(&run.stdout).as_str()), (Some(0), ""), "{said}");
    for part in ["step", "± ", "request", "errors of step times", "next: tokentide simulate SCENARIO --set cost.profile="] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let of =
        |term: &str| report["coefficients"].as_array().unwrap().iter().find(|c| c["term"] == term).unwrap()["ms"].as_f64().unwrap();
    for (term, known) in [("step", KNOWN.step), ("request", KNOWN.request), ("arrival", KNOWN.arrival)] {
        assert!((of(term) / known - 1.0).abs() < 0.02, "{term}: {report}");
    }
    // A prompt alone comes and goes as well: together they are what it takes.
    let host: toml::Table = std::fs::read_to_string(&profile).unwrap().parse().unwrap();
    let us = |term: &str| host["host"][term].as_float().unwrap();
    assert!((us("request_us") + us("arrival_us") - 1e3 * of("request")).abs() < 1.0, "{host}");
    let set = format!("cost.profile={profile}");
    let run = tokentide(&["simulate", "scenarios/support-rag.toml", "--set", &set, "--set", "requests=200"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains("calibrated: times fitted to h100-sxm_llama-3.1-8b_bf16_tp1"), "{}", text(&run.stdout));
}

/// Requests of a probe as a result of `vllm bench serve --save-detailed`, one point after the other.
fn benchmark(log: &Observations) -> String {
    let (mut inputs, mut outputs, mut starts, mut ttfts, mut itls) = (vec![], vec![], vec![], vec![], vec![]);
    let (seconds, mut offset) = (|ns: u64| ns as f64 / 1e9, 0);
    for (_, requests) in &log.points {
        for r in requests {
            inputs.push(r.input);
            outputs.push(r.output);
            starts.push(seconds(r.sent_ns + offset));
            ttfts.push(seconds(r.chunks[0].0 - r.sent_ns));
            itls.push(r.chunks.windows(2).map(|pair| seconds(pair[1].0 - pair[0].0)).collect::<Vec<f64>>());
        }
        offset += requests.iter().map(|r| r.chunks[r.chunks.len() - 1].0).max().unwrap() + 1_000_000_000;
    }
    let n = inputs.len();
    serde_json::json!({
        "date": "20261125-120000", "backend": "vllm", "model_id": "m", "num_prompts": n, "completed": n, "request_rate": 1.0,
        "max_concurrency": null, "input_lens": inputs, "output_lens": outputs, "start_times": starts, "ttfts": ttfts, "itls": itls,
        "errors": vec![""; n], "mean_ttft_ms": 1.0,
    })
    .to_string()
}

/// Steps of a benchmark are told by its streams, like those of a probe; what a request takes beside them is not.
#[test]
fn benchmarks_with_token_times_are_fitted() {
    let folder = Folder::new("benchmark");
    let log = Observations::read(folder.path("probe.jsonl").as_ref()).unwrap();
    let file = folder.write("bench.json", &benchmark(&log));
    let report = folder.path("fit.json");
    let run = tokentide(&["calibrate", "fit", &file, "--scenario", &folder.path("server.toml"), "--report", &report]);
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(0), "{said}");
    assert!(said.contains("`request` is not known: nothing was measured that has it"), "{said}");
    assert!(said.contains("`arrival` is not known: too few prompts came into steady decodes"), "{said}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let step = report["coefficients"].as_array().unwrap().iter().find(|c| c["term"] == "step").unwrap()["ms"].as_f64().unwrap();
    assert!((step / KNOWN.step - 1.0).abs() < 0.02, "{report}");
    assert!(!text(&run.stdout).contains("request_us"), "the default stays");
}

#[test]
fn what_is_wrong_is_told() {
    let folder = Folder::new("wrong");
    let (log, server) = (folder.path("probe.jsonl"), folder.path("server.toml"));
    let says = |args: &[&str], message: &str| {
        let run = tokentide(&[&["calibrate", "fit"], args].concat());
        let said = text(&run.stderr);
        assert!(run.status.code() == Some(2) && said.contains(message), "{message}: {said}");
    };
    says(&[&log], "--scenario");
    says(&["nothing.jsonl", "--scenario", &server], "nothing.jsonl");
    // A model of nine times as many weights cannot be read in that time.
    says(&[&log, "--scenario", &server, "--set", "model.name=llama-3.1-70b", "--set", "gpu.tensor_parallel=4"], "was another GPU");
    let run = folder
        .write("run.csv", "arrival_s,input_tokens,output_tokens,ttft_ms,tpot_ms,e2e_ms\n0,100,10,50,10,140\n1,100,10,50,10,140\n");
    says(&[&run, "--scenario", &server], "has no times of single tokens");
    let server_line = std::fs::read_to_string(&log).unwrap().lines().next().unwrap().to_owned();
    let empty = folder.write("empty.jsonl", &(server_line.clone() + "\n"));
    says(&[&empty, "--scenario", &server], "steps");
    let newer = folder.write("newer.jsonl", &server_line.replace("\"schema\":1", "\"schema\":9"));
    says(&[&newer, "--scenario", &server], "schema 9, this version reads 1");
    let broken = folder.write("broken.jsonl", &format!("{server_line}\n{{\"record\":\"request\"}}\n{server_line}\n"));
    says(&[&broken, "--scenario", &server], "row 2");
    let request =
        r#"{"record":"request","point":"p","rep":0,"index":0,"sent_ns":9,"input":1,"output":1,"chunks":[[8,1]],"counted":true}"#;
    let backwards = folder.write("backwards.jsonl", &format!("{server_line}\n{request}\n"));
    says(&[&backwards, "--scenario", &server], "row 2: chunk (8, 1) comes after (9, 0): times and counts must not fall");
}

/// A log that was cut off in the middle of a line still gives what it has.
#[test]
fn a_cut_log_is_read() {
    let folder = Folder::new("cut");
    let log = std::fs::read_to_string(folder.path("probe.jsonl")).unwrap();
    let cut = folder.write("cut.jsonl", &log[..log.len() - 40]);
    let run = tokentide(&["calibrate", "fit", &cut, "--scenario", &folder.path("server.toml")]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains("kind = \"calibrated\""));
}
