//! The binary as its users meet it: exit codes, what goes to which stream, and what it says about wrong input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tokentide_calibrate::shipped::tables_folder;

fn tokentide(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
    command.args(args).stdin(Stdio::null());
    for variable in ["CI", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TOKENTIDE_SEED", "TOKENTIDE_THREADS"] {
        command.env_remove(variable);
    }
    command
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(args: &[&str]) -> Ran {
    ran(tokentide(args).output().expect("the binary starts"))
}

fn ran(output: Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

impl Ran {
    /// Exit code 2, nothing on stdout, and each of `says` on stderr.
    fn refused(&self, says: &[&str]) {
        assert_eq!(self.code, Some(2), "{}", self.stderr);
        assert_eq!(self.stdout, "", "data on stdout of a failed command");
        for text in says {
            assert!(self.stderr.contains(text), "no {text:?} in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }

    /// Exit code 0 and nothing on stderr.
    fn clean(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        self.stdout
    }
}

struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> TempDir {
        let dir = std::env::temp_dir().join(format!("tokentide-cli-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        TempDir(dir)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
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

#[test]
fn wrong_usage_is_2_and_names_what_was_meant() {
    run(&["simulat"]).refused(&["similar subcommand", "simulate"]);
    run(&["simulate", "--replication", "3"]).refused(&["--replications"]);
    run(&["simulate", "--replications", "0"]).refused(&["--replications"]);
    run(&["simulate", "--threads", "0"]).refused(&["--threads"]);
    run(&["simulate", "--seed", "x"]).refused(&["--seed"]);
    run(&["simulate", "--set", "cluster.replicas"]).refused(&["PATH=VALUE", "cluster.replicas=4"]);
    run(&["simulate", "--format", "yaml"]).refused(&["text", "json"]);
    run(&["-q", "-v", "gpus"]).refused(&["cannot be used with"]);
    run(&["validate"]).refused(&["FILE"]);
    run(&["completions", "tcl"]).refused(&["bash"]);
    assert_eq!(run(&[]).code, Some(2));
}

#[test]
fn help_and_version_are_data() {
    for args in [&["--help"][..], &["simulate", "--help"], &["help", "explain"], &["--version"]] {
        assert!(!run(args).clean().is_empty());
    }
    assert!(run(&["run", "--help"]).clean().contains("--replications"), "`run` is an alias of `simulate`");
    assert!(run(&["--help"]).clean().contains("Exit codes"));
}

#[test]
fn a_file_that_is_not_there_is_2() {
    run(&["simulate", "absent.toml"]).refused(&["cannot read the scenario", "absent.toml", "tokentide init"]);
    run(&["validate", "absent.toml"]).code.filter(|c| *c == 2).expect("exit code 2");
}

#[test]
fn broken_toml_is_shown_where_it_is() {
    let dir = TempDir::new("broken");
    let file = dir.file("bad.toml", "name = \"x\"\n[cluster]\nreplicas = \n");
    run(&["simulate", &file]).refused(&["bad.toml:3:", "3 | replicas ="]);
    let binary = dir.path("bin.toml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    run(&["simulate", &binary]).refused(&["cannot read the scenario", "bin.toml"]);
    run(&["simulate", &dir.path("")]).refused(&["cannot read the scenario"]);
}

#[test]
fn validate_reports_every_file() {
    let dir = TempDir::new("validate");
    let (one, two) = (dir.file("one.toml", "a = \n"), dir.file("two.toml", "b = = 1\n"));
    let result = run(&["validate", &one, &two]);
    result.refused(&["one.toml:1:", "two.toml:1:"]);
    let result = run(&["validate", &one, &two, "--format", "json"]);
    assert_eq!(result.code, Some(2));
    let value: serde_json::Value = serde_json::from_str(&result.stdout).expect("JSON");
    assert_eq!(value.as_array().map(Vec::len), Some(2));
    assert_eq!(value[0]["valid"], false);
    assert!(value[1]["errors"][0]["message"].as_str().is_some_and(|m| !m.is_empty()));
}

const SCENARIO: &str = "\
duration = \"1m\"
[model]
name = \"llama-3.1-8b\"
[gpu]
name = \"h100-sxm\"
[engine]
max_num_seqs = 64
[[class]]
name = \"chat\"
arrivals = { rate = 1.0 }
prompt = { user = 100 }
output = { tokens = 50 }
";

#[test]
fn a_project_of_init_is_valid_and_so_are_its_changes() {
    let dir = TempDir::new("init-valid");
    let target = dir.path("project");
    assert_eq!(run(&["init", &target, "-q"]).code, Some(0));
    let files = [format!("{target}/scenarios/support-rag.toml"), format!("{target}/scenarios/chat.toml")];
    let text = run(&["validate", &files[0], &files[1]]).clean();
    assert_eq!(text.lines().filter(|l| l.starts_with("ok ")).count(), 2, "{text}");
    // The change that its README proposes.
    let readme = std::fs::read_to_string(format!("{target}/README.md")).unwrap();
    assert!(readme.contains("--set class.rag.prompt.retrieved.top_k=12"));
    run(&["validate", &files[0], "--set", "class.rag.prompt.retrieved.top_k=12"]).clean();
}

#[test]
fn all_that_is_wrong_with_a_scenario_is_told_at_once() {
    let dir = TempDir::new("wrong");
    let text = SCENARIO.replace("max_num_seqs", "max_num_seq").replace("h100-sxm", "h100-sxn").replace("user = 100", "user = -1");
    let file = dir.file("wrong.toml", &text);
    let result = run(&["simulate", &file]);
    result.refused(&["wrong.toml:5:8", "wrong.toml:7:1", "wrong.toml:11:", "did you mean `max_num_seqs`?", "h100-sxm"]);
    assert_eq!(result.stderr.matches("error: ").count(), 3, "{}", result.stderr);
    let result = run(&["simulate", &dir.file("ok.toml", SCENARIO), "--set", "engine.max_num_seq=8"]);
    result.refused(&["--set:1:8", "did you mean `max_num_seqs`?"]);
}

/// One of each kind of error that a scenario can have: what is replaced in it, and what is said.
#[test]
fn every_kind_of_wrong_scenario_is_2() {
    let dir = TempDir::new("kinds");
    let wrong = |name: &str, text: &str, says: &[&str]| {
        let file = dir.file(&format!("{name}.toml"), text);
        let result = run(&["simulate", &file]);
        assert_eq!(result.stderr.matches("error: ").count(), 1, "{name}:\n{}", result.stderr);
        result.refused(says);
        run(&["validate", &file]).refused(says);
    };
    for (name, from, to, says) in [
        ("key", "max_num_seqs", "max_num_seq", &["unknown key", ":7:1", "did you mean `max_num_seqs`?"][..]),
        ("type", "= 64", "= \"many\"", &["expected a whole number", ":7:"]),
        ("value", "= 64", "= 0", &["must be at least 1", ":7:"]),
        ("conflict", "= 64", "= 64\nmax_model_len = 200000", &["at most the model's context"]),
        ("distribution", "tokens = 50", "tokens = { median = 50 }", &["`median` without `p95`", ":12:"]),
        ("class", "prompt = { user = 100 }", "prompt = {}", &["no source of tokens", ":11:"]),
        ("arrivals", "rate = 1.0", "rate = 0", &["`rate` must be above 0", ":10:"]),
        ("trace", "[[class]]", "[trace]\n[[class]]", &["a trace needs a `path`"]),
        ("missing", "prompt = { user = 100 }\n", "", &["has no `prompt`"]),
        ("model", "llama-3.1-8b", "llama-3.1-8", &["unknown model", "did you mean `llama-3.1-8b`?"]),
        ("gpu", "h100-sxm", "h10-sxm", &["unknown GPU", "did you mean `h100-sxm`?"]),
        ("profile", "[engine]", "[cost]\nprofile = \"none-such\"\n[engine]", &["no profile is named none-such"]),
        ("layout", "\"h100-sxm\"", "\"h100-sxm\"\ntensor_parallel = 3", &["must divide the 32 attention heads"]),
        ("unit", "\"1m\"", "60", &["a time needs a unit"]),
        ("toml", "= 64", "=", &["not valid TOML", ":7:"]),
    ] {
        assert!(SCENARIO.contains(from), "{name}");
        wrong(name, &SCENARIO.replacen(from, to, 1), says);
    }
    let class = &SCENARIO[SCENARIO.find("[[class]]").unwrap()..];
    wrong("twice", &format!("{SCENARIO}{class}"), &["two classes are named"]);
    wrong("empty", SCENARIO.strip_suffix(class).unwrap(), &["no workload"]);
}

#[test]
fn finish_reasons_of_replications_add_up() {
    let dir = TempDir::new("finishes");
    let text = SCENARIO
        .replace("name = \"chat\"", "name = \"chat\"\ntimeout = \"300ms\"")
        .replace("tokens = 50", "tokens = { uniform = [2, 100] }");
    let file = dir.file("s.toml", &text);
    let report: serde_json::Value =
        serde_json::from_str(&run(&["simulate", &file, "--replications", "3", "--format", "json"]).clean()).expect("JSON");
    let requests = &report["summary"]["requests"];
    let count = |reason: &str| requests["by_finish"][reason].as_u64().unwrap();
    assert!(count("stop") > 0 && count("timed_out") > 0, "{requests}");
    let sum: u64 = requests["by_finish"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(requests["total"].as_u64(), Some(sum));
    assert_eq!(requests["completed"].as_u64(), Some(sum - count("timed_out")));
    let notes = report["notes"].as_array().unwrap();
    assert!(notes.iter().any(|n| n.as_str().unwrap().contains("of the first seed")), "{notes:?}");
}

#[test]
fn every_value_says_where_it_comes_from() {
    let dir = TempDir::new("show-config");
    let file = dir.file("s.toml", SCENARIO);
    let args = ["validate", &file, "--show-config", "--set", "cluster.replicas=3", "--seed", "7", "--format", "json"];
    let json: serde_json::Value = serde_json::from_str(&run(&args).clean()).expect("JSON");
    let find = |path: &str| {
        let settings = json[0]["settings"].as_array().expect("a list");
        let setting = settings.iter().find(|s| s["path"] == path).unwrap_or_else(|| panic!("no {path}"));
        (setting["value"].as_str().unwrap().to_owned(), setting["origin"].as_str().unwrap().to_owned())
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(find("engine.max_num_seqs"), pair("64", "file"));
    assert_eq!(find("cluster.replicas"), pair("3", "--set"));
    assert_eq!(find("seed"), pair("7", "--seed"));
    assert_eq!(find("engine.block_size").1, "default");
}

#[test]
fn a_required_service_level_must_be_there() {
    let dir = TempDir::new("slo");
    run(&["simulate", &dir.file("s.toml", SCENARIO), "--require-slo"]).refused(&["nothing to check", "ttft_p95"]);
}

#[test]
fn records_that_cannot_be_written_are_told_before_the_run() {
    let dir = TempDir::new("records");
    let file = dir.file("s.toml", SCENARIO);
    run(&["simulate", &file, "--records", &dir.path("r.xlsx")]).refused(&["r.xlsx", "use `.parquet` or `.csv`"]);
    run(&["simulate", &file, "--records", &dir.path("absent/r.csv")]).refused(&["cannot write", "absent/r.csv"]);
}

#[test]
fn a_parquet_trace_is_checked() {
    let dir = TempDir::new("trace");
    run(&["simulate", "-q", "--trace", &dir.path("absent.parquet")]).refused(&["cannot read", "absent.parquet"]);
    run(&["simulate", "-q", "--trace", &dir.file("not.parquet", "arrival_s,input_tokens\n")])
        .refused(&["cannot read", "not.parquet"]);
}

#[test]
fn simulate_prints_one_report_and_nothing_else() {
    let dir = TempDir::new("simulate");
    let file = dir.file("s.toml", SCENARIO);
    let text = run(&["simulate", &file]).clean();
    for heading in ["Load", "Latency", "Tokens", "Requests", "Cost"] {
        assert!(text.lines().any(|l| l == heading), "no {heading} in\n{text}");
    }
    let json = |args: &[&str]| -> serde_json::Value {
        let all = [&["simulate", &file, "--format", "json"], args].concat();
        serde_json::from_str(&run(&all).clean()).expect("JSON")
    };
    let report = json(&[]);
    assert_eq!(report, json(&["--threads", "2"]), "one seed, one result");
    assert_ne!(report["summary"], json(&["--seed", "7"])["summary"]);
    assert_eq!(report["summary"]["input_length"]["p50"].as_f64().map(f64::round), Some(100.0));
    assert!(json(&["--replications", "3"])["ci95"].is_object());
}

#[test]
fn records_have_a_row_per_request_and_can_be_replayed() {
    let dir = TempDir::new("replay");
    let file = dir.file("s.toml", SCENARIO);
    let (csv, parquet) = (dir.path("r.csv"), dir.path("r.parquet"));
    let report = run(&["simulate", &file, "-q", "--format", "json", "--records", &csv]).clean();
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let rows = std::fs::read_to_string(&csv).unwrap().lines().count() - 1;
    assert_eq!(report["summary"]["requests"]["total"].as_u64(), Some(rows as u64));
    run(&["simulate", &file, "-q", "--records", &parquet]).clean();
    let replayed = run(&["simulate", &file, "-q", "--format", "json", "--trace", &parquet]).clean();
    let replayed: serde_json::Value = serde_json::from_str(&replayed).expect("JSON");
    assert_eq!(replayed["summary"]["requests"]["total"].as_u64(), Some(rows as u64));
    assert_eq!(replayed["summary"]["output_tokens"], report["summary"]["output_tokens"]);
}

#[test]
fn a_missed_service_level_is_1_only_when_required() {
    let dir = TempDir::new("missed");
    let file = dir.file("s.toml", SCENARIO);
    let tight = "class.chat.slo.ttft_p95=1us";
    run(&["simulate", &file, "--set", tight]).clean();
    let result = run(&["simulate", &file, "--set", tight, "--require-slo"]);
    assert_eq!((result.code, result.stderr.as_str()), (Some(1), ""));
    assert!(result.stdout.contains("MISSED"));
    run(&["simulate", &file, "--set", "class.chat.slo.ttft_p95=10s", "--require-slo"]).clean();
}

#[test]
fn a_bad_line_of_a_trace_is_shown() {
    let dir = TempDir::new("bad-line");
    let trace = dir.file("t.csv", "arrival_s,input_tokens,output_tokens\n0,100,10\n1,many,10\n");
    run(&["simulate", "-q", "--trace", &trace]).refused(&["t.csv:3:3", "many", "input_tokens"]);
}

/// The composed tables, if they are on this machine.
fn op_tables() -> Option<String> {
    let folder = tables_folder();
    if folder.is_none() {
        eprintln!("skipped: no profiles/op-tables in $TOKENTIDE_SHARED");
    }
    folder.map(|folder| folder.display().to_string())
}

/// The arguments of an import.
fn import<'a>(folder: &'a str, gpu: &'a str, model: &'a str, tp: &'a str, output: &'a str) -> [&'a str; 13] {
    ["calibrate", "import", "op-tables", "--dir", folder, "--gpu", gpu, "--model", model, "--tp", tp, "-o", output]
}

#[test]
fn a_profile_is_made_of_tables_and_used() {
    let Some(tables) = op_tables() else { return };
    let dir = TempDir::new("calibrate");
    let profile = dir.path("mine.toml");
    let made = run(&import(&tables, "h100-sxm", "llama-3.1-8b", "1", &profile));
    assert_eq!((made.code, made.stdout.as_str()), (Some(0), ""), "{}", made.stderr);
    for part in ["decode   mean ", "prefill  mean ", "mixed ", "points)", "--set cost.profile="] {
        assert!(made.stderr.contains(part), "no {part:?} in\n{}", made.stderr);
    }
    std::fs::create_dir(dir.path("scenarios")).unwrap();
    let file = dir.file("scenarios/s.toml", SCENARIO);
    // Typed paths are relative to where they are typed, not to the scenario's folder.
    let mut command = tokentide(&["simulate", &file, "--format", "json", "--set", "cost.profile=mine.toml"]);
    let simulated = ran(command.current_dir(&dir.0).output().unwrap()).clean();
    let report: serde_json::Value = serde_json::from_str(&simulated).expect("JSON");
    assert_eq!(report["model"]["calibrated"], true);
    let shipped = run(&["simulate", &file, "--format", "json"]).clean();
    let shipped: serde_json::Value = serde_json::from_str(&shipped).expect("JSON");
    assert_eq!(report["summary"]["ttft_ms"], shipped["summary"]["ttft_ms"], "the shipped profile is made of the same tables");
    let other = ["simulate", &file, "--set", &format!("cost.profile={profile}"), "--set", "gpu.name=l40s"];
    run(&other).refused(&["h100-sxm", "l40s"]);
    run(&import(&tables, "h100-sxm", "llama-3.1-8b", "3", &profile)).refused(&["no decode times", "tp 3", "another --tp"]);
}

#[test]
fn tables_that_cannot_be_used_are_refused() {
    let dir = TempDir::new("calibrate-wrong");
    let (tables, profile) = (dir.path(""), dir.path("p.toml"));
    run(&import(&dir.path("absent"), "h100-sxm", "llama-3.1-8b", "1", &profile)).refused(&["no such folder", "absent"]);
    run(&import(&tables, "h100-sxn", "llama-3.1-8b", "1", &profile)).refused(&["no gpu `h100-sxn`", "did you mean `h100-sxm`?"]);
    run(&import(&tables, "h100-sxm", "llama", "1", &profile)).refused(&["no model `llama`", "known are", "qwen3-8b"]);
    run(&import(&tables, "h100-sxm", "llama-3.1-8b", "0", &profile)).refused(&["--tp"]);
    run(&import(&tables, "h100-sxm", "llama-3.1-8b", "1", &profile)).refused(&["cannot read the table", "decode_vllm.csv.gz"]);
    dir.file("decode_vllm.csv.gz", "no gzip");
    run(&import(&tables, "h100-sxm", "llama-3.1-8b", "1", &profile)).refused(&["cannot read the table", "decode_vllm.csv.gz"]);
    run(&import(&tables, "h100-sxm", "llama-3.1-8b", "1", &dir.path("p.json"))).refused(&["TOML", "-o profile.toml"]);
    assert!(!Path::new(&profile).exists());
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(&run(&["schema"]).clean()).expect("JSON");
    assert!(schema["properties"]["class"].is_object());
}

#[test]
fn explain_defines_and_suggests() {
    let text = run(&["explain", "tpot"]).clean();
    assert!(text.contains("(e2e - ttft) / (output tokens - 1)") && text.contains("left out, never counted as 0"), "{text}");
    assert_eq!(run(&["explain", "summary.tpot_ms.p95"]).clean(), text);
    run(&["explain", "tpott"]).refused(&["no metric `tpott`", "did you mean `tpot`?"]);
    run(&["explain", "zzzz"]).refused(&["lists all metrics"]);
    let list = run(&["explain"]).clean();
    for name in ["ttft", "headroom", "goodput", "waiting_tokens", "kv_use"] {
        assert!(list.lines().any(|l| l.trim_start().starts_with(name)), "{name} is not listed");
    }
    assert!(run(&["explain", "records"]).clean().contains("tpot_ms"));
    let json: serde_json::Value = serde_json::from_str(&run(&["explain", "ttft", "--format", "json"]).clean()).expect("JSON");
    assert_eq!(json["unit"], "ms");
}

#[test]
fn init_writes_once() {
    let dir = TempDir::new("init");
    let target = dir.path("project");
    let first = run(&["init", &target]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let written: Vec<&str> = first.stdout.lines().collect();
    assert_eq!(written.len(), 6);
    for file in written {
        assert!(Path::new(file).is_file(), "{file}");
    }
    assert!(first.stderr.contains("tokentide simulate"), "the next commands");
    let readme = format!("{target}/README.md");
    std::fs::write(&readme, "mine").unwrap();
    run(&["init", &target]).refused(&["already there", "README.md"]);
    assert_eq!(std::fs::read_to_string(&readme).unwrap(), "mine");
    // One file in the way is enough, and then nothing is written.
    std::fs::remove_dir_all(format!("{target}/scenarios")).unwrap();
    run(&["init", &target]).refused(&["README.md", "already there"]);
    assert!(!Path::new(&format!("{target}/scenarios")).exists());
}

#[test]
fn listings_are_text_or_json() {
    for command in ["models", "gpus", "profiles"] {
        assert!(run(&[command]).clean().starts_with("name"));
        let json: serde_json::Value = serde_json::from_str(&run(&[command, "--format", "json"]).clean()).expect("JSON");
        assert!(json.is_array());
        run(&[command, "no-such-thing"]).refused(&["no-such-thing"]);
    }
    run(&["models", "llama-3.1-8bb"]).refused(&["did you mean `llama-3.1-8b`?"]);
    assert!(run(&["gpus", "h100-sxm"]).clean().contains("memory_bandwidth"), "the source of each number");
}

#[test]
fn completions_and_manual_pages_are_printed() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(run(&["completions", shell]).clean().contains("simulate"), "{shell}");
    }
    assert!(run(&["man"]).clean().contains(".TH"));
    assert!(run(&["man", "simulate"]).clean().contains("replications"));
    run(&["man", "simulat"]).refused(&["did you mean `simulate`?"]);
}

#[test]
fn output_goes_to_a_file_without_colour() {
    let dir = TempDir::new("output");
    let (text, json) = (dir.path("ttft.txt"), dir.path("ttft.json"));
    assert_eq!(run(&["explain", "ttft", "-o", &text]).clean(), "");
    assert!(!std::fs::read_to_string(&text).unwrap().contains('\u{1b}'));
    run(&["explain", "ttft", "-o", &json]).clean();
    let value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).expect("JSON by extension");
    assert_eq!(value["name"], "ttft");
    run(&["explain", "ttft", "-o", &dir.path("absent/x.txt")]).refused(&["cannot write", "absent"]);
    run(&["explain", "ttft", "-o", &dir.path("")]).refused(&["cannot write", "folder"]);
    run(&["explain", "ttft", "-o", &dir.path("x.parquet")]).refused(&["not .parquet", "--records"]);
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    assert!(!run(&["explain", "ttft"]).clean().contains('\u{1b}'), "a pipe gets plain text");
    assert!(run(&["explain", "ttft", "--color", "always"]).clean().contains('\u{1b}'));
    let forced = ran(tokentide(&["explain", "ttft"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap());
    assert!(!forced.stdout.contains('\u{1b}'), "NO_COLOR wins");
    let forced = ran(tokentide(&["explain", "ttft"]).env("CLICOLOR_FORCE", "1").output().unwrap());
    assert!(forced.stdout.contains('\u{1b}'));
    let never = ran(tokentide(&["explain", "ttft", "--color", "never"]).env("CLICOLOR_FORCE", "1").output().unwrap());
    assert!(!never.stdout.contains('\u{1b}'));
    run(&["explain", "tpott", "--color", "never"]).refused(&["error: there is no metric"]);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = tokentide(&["explain"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let result = ran(child.wait_with_output().unwrap());
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""));
}

/// The README shows the start of what its first command prints. `TOKENTIDE_BLESS=1` puts it there.
#[test]
fn the_readme_shows_what_its_command_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let scenario = root.join("scenarios/support-rag.toml");
    let printed = run(&["simulate", &scenario.display().to_string()]).clean();
    let shown = printed.split("\nQueue and KV cache").next().expect("a part before it").trim_end();
    let path = root.join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("```text\n").expect("a sample in the README");
    let (sample, after) = rest.split_once("\n```").expect("its end");
    if std::env::var_os("TOKENTIDE_BLESS").is_some() {
        std::fs::write(&path, format!("{before}```text\n{shown}\n```{after}")).unwrap();
        return;
    }
    assert_eq!(sample, shown, "bless with TOKENTIDE_BLESS=1");
}
