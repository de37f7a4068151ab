//! `tokentide calibrate kernels` as its users meet it.

use std::path::PathBuf;
use std::process::{Command, Output};

use tokentide_tests::fake_server::{Coefficients, FakeServer, Faults};

fn kernels(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
    command.args(["calibrate", "kernels"]).args(args);
    for variable in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TOKENTIDE_SEED", "TOKENTIDE_THREADS"] {
        command.env_remove(variable);
    }
    command.output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> TempDir {
        let dir = std::env::temp_dir().join(format!("tokentide-calibrate-kernels-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        TempDir(dir)
    }

    fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.0.join(name), content).unwrap();
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A product of 30 us and a kernel that nobody knows, of 10 us, in each of two steps.
fn trace() -> String {
    let step = |at: u32| {
        let event = |category: &str, name: &str, (ts, dur): (u32, u32)| {
            let head = format!(r#"{{"ph": "X", "cat": "{category}", "name": "{name}", "tid": 1, "ts": {ts}, "dur": {dur}"#);
            format!(r#"{head}, "args": {{"correlation": {at}}}}}"#)
        };
        [
            event("user_annotation", "execute_context_1(96)_generation_8(8)", (at, 9)),
            event("cuda_runtime", "cudaGraphLaunch", (at, 1)),
            event("kernel", "nvjet_tst_8x64_TNT", (at + 10, 30)),
            event("kernel", "void mine::odd_kernel<4>(int*)", (at + 45, 10)),
        ]
        .join(",")
    };
    format!("{{\"traceEvents\": [{},{}]}}", step(100), step(200))
}

#[test]
fn a_table_for_people_and_one_for_programs() {
    let dir = TempDir::new("table");
    let file = dir.file("rank0.json", &trace());
    let shown = kernels(&[&file]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let out = text(&shown.stdout);
    for part in [
        "rank 0 on a GPU, 8 events, 2 steps, named by vLLM",
        "gemm   60.0 us   75 %      2",
        "1 of 96  8            2",
        "Not classified: 1 name, 25 % of the time",
        "'mine::odd_kernel',  # 20.0 us, 2 calls",
    ] {
        assert!(out.contains(part), "no {part:?} in:\n{out}");
    }
    assert!(text(&shown.stderr).contains("no latency may be taken from a profiled run"));
    let json: serde_json::Value = serde_json::from_slice(&kernels(&[&file, "--format", "json"]).stdout).unwrap();
    let rank = &json["ranks"][0];
    assert_eq!((json["schema_version"].as_u64(), rank["marker"].as_str()), (Some(1), Some("vllm")));
    assert_eq!((rank["classes"][0]["time_us"].as_f64(), rank["compositions"][0]["wall_us"].as_f64()), (Some(60.0), Some(100.0)));
    assert_eq!(rank["unclassified"][0]["pattern"], "mine::odd_kernel");

    let table = dir.path("kernels.parquet");
    let written = kernels(&[&file, "-o", &table]);
    assert_eq!((written.status.code(), text(&written.stdout)), (Some(0), out), "{}", text(&written.stderr));
    let steps = tokentide_calibrate::kernels::StepKernels::read(table.as_ref()).unwrap();
    assert_eq!(steps.rows.iter().map(|row| (row.busy_us, row.wall_us)).collect::<Vec<_>>(), [(40.0, Some(100.0)), (40.0, None)]);
}

#[test]
fn the_rule_that_is_printed_can_be_used() {
    let dir = TempDir::new("rule");
    let file = dir.file("rank0.json", &trace());
    let out = text(&kernels(&[&file]).stdout);
    let rules = dir.file("rules.toml", &out[out.find("  [[rule]]").unwrap()..].replace("CLASS", "moe"));
    let out = text(&kernels(&[&file, "--rules", &rules]).stdout);
    assert!(out.contains("moe   20.0 us") && !out.contains("Not classified"), "{out}");
}

#[test]
fn a_live_server_is_profiled_and_its_trace_read() {
    let dir = TempDir::new("live");
    let server = FakeServer::start(Coefficients::default(), Faults { profiler: true, ..Faults::default() });
    let (url, traces, table) = (server.url(), dir.path(""), dir.path("kernels.parquet"));
    let small = ["--url", &url, "--trace-dir", &traces, "--batches", "2", "--context", "16", "--steps", "2", "--prompts", "32"];
    let done = std::thread::scope(|scope| {
        // The fake server writes no trace.
        scope.spawn(|| {
            while server.profiled() == 0 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            dir.file("rank0.json", &trace());
        });
        kernels(&[&small[..], &["-o", &table]].concat())
    });
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("note: recorded") && said.contains("no latency may be taken"), "{said}");
    assert!(text(&done.stdout).contains("2 steps, named by vLLM") && dir.0.join("kernels.parquet").is_file());
    // One to try, then two prompts and two decodes, once to warm up.
    assert_eq!(server.asked(), 1 + 2 * 4);

    let plain = FakeServer::start(Coefficients::default(), Faults::default());
    let refused = kernels(&["--url", &plain.url(), "--trace-dir", &traces]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--profiler-config"), "{}", text(&refused.stderr));
    let both = kernels(&["--url", &plain.url(), "--trace-dir", &traces, "rank0.json"]);
    assert!(text(&both.stderr).contains("cannot be used with"), "{}", text(&both.stderr));
}

#[test]
fn wrong_input_is_2_with_its_place() {
    let dir = TempDir::new("wrong");
    let (file, other) = (dir.file("rank0.json", &trace()), dir.file("other.json", "{\"a\": 1}"));
    let rules = dir.file("rules.toml", "[[rule]]\nclass = \"gems\"\nmatch = ['a']\n");
    for (args, says) in [
        (vec![other.as_str()], "it has no traceEvents"),
        (vec!["nowhere.json"], "nowhere.json"),
        (vec![&file, "--rules", &rules], "class `gems` is none"),
        (vec![&file, "-o", "out.toml"], "--output writes text or JSON, not .toml"),
    ] {
        let failed = kernels(&args);
        assert_eq!(failed.status.code(), Some(2));
        assert!(text(&failed.stderr).contains(says), "{says}: {}", text(&failed.stderr));
    }
}
