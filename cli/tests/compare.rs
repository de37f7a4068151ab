//! `tokentide diff` and `tokentide check` as their users meet them: in a repository, on files, in a pipeline.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tokentide-compare-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("a file")
    }

    /// Replaces `from` by `to` in a file.
    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "no `{from}` in {name}");
        self.write(name, &text.replace(from, to));
    }

    fn git(&self, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").current_dir(&self.0).args(identity).args(arguments).output().expect("git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
        for variable in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TOKENTIDE_SEED", "TOKENTIDE_THREADS", "CI"] {
            command.env_remove(variable);
        }
        command.args(arguments).current_dir(&self.0).output().expect("the binary starts")
    }

    /// Exit code and output.
    fn out(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let code = output.status.code().expect("a code");
        assert!(code != 2 && code != 101, "{arguments:?}: {stderr}");
        (code, stdout.into_owned())
    }

    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, text) = self.out(&[arguments, &["--format", "json"]].concat());
        (code, serde_json::from_str(&text).expect("JSON"))
    }

    /// What is said on the way to exit code 2.
    fn refused(&self, arguments: &[&str], says: &[&str]) {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}: data on the way to an error");
        says.iter().for_each(|text| assert!(stderr.contains(text), "no `{text}` in {stderr}"));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What `tokentide init` writes, committed on `main`.
fn project(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.git(&["init", "-q", "-b", "main"]);
    assert_eq!(folder.run(&["init", "."]).status.code(), Some(0));
    folder.git(&["add", "-A"]);
    folder.git(&["commit", "-qm", "base"]);
    folder
}

const RAG: &str = "scenarios/support-rag.toml";

fn checks<'a>(comparison: &'a Value, id: &str) -> Vec<&'a Value> {
    comparison["checks"].as_array().expect("a list").iter().filter(|check| check["id"] == id).collect()
}

fn row<'a>(comparison: &'a Value, scenario: &str, metric: &str) -> &'a Value {
    let scenarios = comparison["scenarios"].as_array().expect("a list");
    let scenario = scenarios.iter().find(|s| s["name"] == scenario).expect("the scenario");
    scenario["rows"].as_array().expect("a list").iter().find(|row| row["metric"] == metric).expect("the row")
}

#[test]
fn more_retrieved_text_fails_the_build_and_says_why() {
    let folder = project("top-k");
    let (code, found) = folder.json(&["check"]);
    assert_eq!((code, found["headline"].as_str()), (0, Some("No change.")));
    folder.edit(RAG, "top_k = 4", "top_k = 12");
    let (code, found) = folder.json(&["check"]);
    assert_eq!(code, 1);
    let headline = found["headline"].as_str().expect("a sentence");
    for part in
        ["because `retrieved` grew 3x", "class.rag.prompt.retrieved.top_k 4 -> 12", "Replicas for the SLO: 3 -> 5", "a month"]
    {
        assert!(headline.contains(part), "no `{part}` in {headline}");
    }
    assert_eq!(checks(&found, "retrieval-budget")[0]["verdict"], "fail");
    assert_eq!(
        (checks(&found, "retrieval-budget")[0]["head"].as_f64(), checks(&found, "retrieval-budget")[0]["base"].as_f64()),
        (Some(6000.0), Some(2000.0))
    );
    // The base is 73 % loaded, the head 118 %: it has no TTFT p95 to quote.
    let ttft = row(&found, "support-rag", "ttft.p95");
    assert!(ttft["base"].as_f64().is_some_and(|ms| ms < 500.0) && ttft["head"].is_null() && ttft["changed"] == true, "{ttft}");
    for metric in ["kv_use.max", "replicas.required", "cost.month"] {
        let row = row(&found, "support-rag", metric);
        assert!(row["changed"] == true && row["head"].as_f64() > row["base"].as_f64(), "{row}");
    }
    let place = &checks(&found, "retrieval-budget")[0]["place"];
    let line = place["line"].as_u64().expect("a line") as usize;
    assert!(folder.read("tokentide.toml").lines().nth(line - 1).is_some_and(|l| l.contains("retrieved_tokens.p99")), "{place}");
    // What is committed is the base, whatever is done on top of it on this branch.
    folder.git(&["checkout", "-qb", "more"]);
    folder.git(&["commit", "-qam", "more text"]);
    assert_eq!(folder.out(&["check", "--quiet"]).0, 1);
    assert_eq!(folder.out(&["check", "--quiet", "--base", "HEAD"]).0, 1, "absolute budgets are broken on both sides");
    assert_eq!(folder.json(&["diff", "--base", "HEAD"]).1["headline"], "No change.");
    assert_eq!(folder.out(&["check", "--exit-zero"]).0, 0);
}

#[test]
fn a_longer_static_system_prompt_is_nearly_free_and_passes() {
    let folder = project("system");
    folder.edit(RAG, "system = 700", "system = 1000");
    let (code, found) = folder.json(&["check"]);
    assert_eq!(code, 0, "{}", found["checks"]);
    let headline = found["headline"].as_str().expect("a sentence");
    assert!(
        headline.contains("`system` grew 1.43x") && headline.contains("the prefix cache takes all of it, so it is nearly free"),
        "{headline}"
    );
    assert!(found["checks"].as_array().expect("a list").iter().all(|check| check["verdict"] == "pass"));
    assert_eq!(row(&found, "support-rag", "replicas.required")["difference"], 0.0);
}

#[test]
fn exit_codes_are_those_of_the_manual() {
    let folder = project("codes");
    folder.edit("tokentide.toml", "level = \"warn\"\n", "");
    folder.write("tokentide.toml", &(folder.read("tokentide.toml") + "\n[[check]]\nid = \"load\"\nassert = \"load <= 80%\"\n[[check]]\nid = \"note\"\nassert = \"input_tokens.mean <= 1\"\nlevel = \"warn\"\n"));
    let (code, found) = folder.json(&["check"]);
    assert_eq!(
        (code, found["verdicts"]["fragile"].as_u64(), found["verdicts"]["warn"].as_u64()),
        (0, Some(1), Some(2)),
        "{}",
        found["verdicts"]
    );
    assert_eq!(folder.out(&["check", "--strict"]).0, 1);
    assert_eq!(folder.out(&["check", "--deny-warnings"]).0, 1);
    assert_eq!(folder.out(&["diff"]).0, 0);
    folder.edit(RAG, "rate = 8.0", "rate = 8.5");
    assert_eq!((folder.out(&["diff"]).0, folder.out(&["diff", "--exit-code"]).0), (0, 1));
    assert_eq!(folder.out(&["diff", "--only-changed", "--base", "HEAD", "scenarios/chat.toml"]), (0, String::new()));
    folder.refused(&["check", "--strict", "--exit-zero"], &["cannot be used with"]);
    folder.refused(&["check", "--explain", "lode"], &["there is no check `lode`", "did you mean `load`?"]);
    folder.refused(&["diff", "--replications", "1"], &["expected 2 to 1000, or auto"]);
    folder.refused(&["diff", "--base", "nowhere"], &["`nowhere` is neither a file nor a commit of this repository"]);
}

#[test]
fn what_measures_nothing_never_passes() {
    let folder = project("nothing");
    let with = |check: &str| folder.write("tokentide.toml", &format!("[[check]]\nid = \"x\"\n{check}\n"));
    for (check, says) in [
        ("assert = \"tftt.p95 <= 1s\"", &["there is no metric `tftt`", "did you mean `ttft`?", "tokentide.toml:3:11"][..]),
        ("assert = \"ttft.p95 <= 1GiB\"", &["`GiB` is no unit of `ttft.p95`"]),
        (
            "assert = \"ttft.p95 <= 1s\"\nwhere = { class = \"rga\" }",
            &["check `x`: there is no class \"rga\"", "did you mean \"rag\"?", "tokentide.toml:4:9"],
        ),
        ("assert = \"ttft.p95 <= 1s\"\nwhere = { tenant = \"acme\" }", &["check `x`", "tenant acme of no scenario has any"]),
        (
            "assert = \"ttft.p95 <= 1s\"\nwhere = { scenario = \"nope\" }",
            &["there is no such scenario", "support-rag (llama-3.1-8b)"],
        ),
        ("assert = \"ttft.p95 <= 1s\"\nwhere = { input_bucket = \"0-5\" }", &["there is no input bucket \"0-5\""]),
        ("assert = \"tools_tokens.p95 <= 1s\"", &["`s` is no unit of `tools_tokens.p95`"]),
        ("assert = \"ttft.p95 <= 1s\"\nwhere = { klass = \"rag\" }", &["unknown key `klass`", "did you mean `class`?"]),
        ("assert = \"ttft.p95 <= 1s\"\nlevel = \"fatal\"", &["unknown value \"fatal\""]),
        ("assert = \"ttft.p95 <= 1s\"\nlevel = \"off\"", &["there is nothing to check"]),
    ] {
        with(check);
        folder.refused(&["check"], says);
    }
    with("assert = \"replicas.required <= 4\"\nwhere = { scenario = \"chat\" }");
    folder.edit("scenarios/chat.toml", "slo = {", "# slo = {");
    folder.refused(&["check"], &["`replicas.required` needs a target, and no class has one"]);
    with("assert = \"max_tokens.p95 <= 4000\"\nwhere = { scenario = \"chat\" }");
    folder.edit("scenarios/chat.toml", "max_tokens = 1024", "");
    folder.refused(&["check"], &["`max_tokens.p95` measures nothing"]);
}

#[test]
fn without_a_base_relative_checks_are_skipped_and_absolute_ones_are_made() {
    let folder = Folder::new("no-git");
    assert_eq!(folder.run(&["init", "."]).status.code(), Some(0));
    let output = folder.run(&["check"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("no git repository") && stdout.contains("skipped") && stdout.contains("there is no base to compare with"),
        "{stdout}"
    );
    let (_, found) = folder.json(&["check"]);
    assert_eq!(checks(&found, "replicas")[0]["verdict"], "skipped");
    assert_eq!(checks(&found, "retrieval-budget")[0]["verdict"], "pass");
    assert!(
        found["scenarios"][0]["rows"].as_array().expect("rows").iter().all(|row| row["base"].is_null() && row["changed"] == false)
    );
    folder.git(&["init", "-q", "-b", "main"]);
    assert!(String::from_utf8_lossy(&folder.run(&["check"]).stderr).contains("no commit yet"));
}

#[test]
fn histories_that_do_not_meet_are_an_error() {
    let folder = project("shallow");
    folder.git(&["checkout", "-q", "--orphan", "other"]);
    folder.git(&["commit", "-qm", "no parent"]);
    folder.refused(&["check"], &["have no commit in common here", "fetch-depth: 0"]);
    assert_eq!(folder.out(&["check", "--base", "main"]).0, 0, "a base that is named needs no history");
}

#[test]
fn scenarios_come_and_go() {
    let folder = project("moved");
    folder
        .write("scenarios/new.toml", &folder.read("scenarios/chat.toml").replace("name = \"chat\"\ndesc", "name = \"new\"\ndesc"));
    std::fs::remove_file(folder.0.join("scenarios/chat.toml")).expect("it was there");
    folder.edit("tokentide.toml", "class = \"chat\" }", "class = \"chat\", scenario = \"support-rag\" }");
    let (code, found) = folder.json(&["check"]);
    assert_eq!(code, 0);
    let scenarios: Vec<(&str, &str)> = found["scenarios"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| (s["name"].as_str().expect("a name"), s["presence"].as_str().expect("a word")))
        .collect();
    assert_eq!(scenarios, [("new", "added"), ("support-rag", "both"), ("chat", "removed")]);
    let new: Vec<&str> = checks(&found, "prompt-work").iter().filter_map(|check| check["verdict"].as_str()).collect();
    assert_eq!(new, ["skipped", "pass"]);
    assert!(folder.out(&["diff"]).1.contains("It is gone."));
}

#[test]
fn the_base_has_its_own_files() {
    let folder = Folder::new("files");
    folder.git(&["init", "-q", "-b", "main"]);
    let scenario = "duration = \"1m\"\nmodel = { config = \"../models/config.json\", weights = \"bf16\" }\ngpu = { name = \"h100-sxm\" }\n\
                    [[class]]\nname = \"a\"\narrivals = { rate = 2.0 }\nprompt = { user = 100 }\noutput = { tokens = 10 }\n";
    let config = |layers: u32| {
        format!(
            r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
"num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": {layers}, "vocab_size": 128256,
"max_position_embeddings": 8192, "torch_dtype": "bfloat16"}}"#
        )
    };
    folder.write("svc/scenarios/a.toml", scenario);
    folder.write("svc/models/config.json", &config(32));
    folder.git(&["add", "-A"]);
    folder.git(&["commit", "-qm", "base"]);
    folder.write("svc/models/config.json", &config(16));
    let (_, found) = folder.json(&["diff", "svc/scenarios/a.toml"]);
    let tpot = row(&found, "a", "tpot.p95");
    assert!(tpot["changed"] == true && tpot["change"].as_f64().is_some_and(|c| c < -0.3), "half the layers: {tpot}");
    folder.git(&["rm", "-q", "--cached", "svc/models/config.json"]);
    folder.git(&["commit", "-qm", "lost"]);
    folder.refused(&["diff", "svc/scenarios/a.toml"], &["svc/scenarios/a.toml", "config.json"]);
}

/// The same 1,000 requests, 650,000 tokens against 9,000,000.
#[test]
fn windows_of_a_trace_are_compared_without_a_deployment() {
    let folder = Folder::new("windows");
    let trace = |input: u32, output: u32| {
        let rows: String = (0..1000).map(|i| format!("{}.5,{input},{output}\n", i)).collect();
        format!("arrival_s,input_tokens,output_tokens\n{rows}")
    };
    folder.write("a.csv", &trace(500, 150));
    folder.write("b.csv", &trace(8000, 1000));
    let (code, found) = folder.json(&["diff", "a.csv", "b.csv"]);
    let headline = found["headline"].as_str().expect("a sentence");
    assert_eq!(code, 0);
    assert!(
        headline.starts_with("The same 1,000 requests bring 13.8x the tokens: 650,000 -> 9,000,000 (input 16.0x, output 6.67x)"),
        "{headline}"
    );
    let total = row(&found, "b", "total_tokens.sum");
    assert_eq!((total["base"].as_f64(), total["head"].as_f64()), (Some(650e3), Some(9e6)));
    assert!(
        found["scenarios"][0]["rows"].as_array().expect("rows").iter().all(|row| row["stage"] != "simulated"),
        "there is no deployment"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let on = root.join("scenarios/window-a.toml").display().to_string();
    let (_, found) = folder.json(&["diff", "a.csv", "b.csv", "--on", &on]);
    assert!(row(&found, "b", "ttft.p95")["change"].as_f64().is_some_and(|c| c > 1.0));
    let note = found["scenarios"][0]["head"]["notes"].to_string();
    assert!(note.contains("a replayed trace is one sample"), "{note}");
}

#[test]
fn stored_results_are_compared_only_if_they_can_be() {
    let folder = project("stored");
    let store = |name: &str, more: &[&str]| {
        let arguments = [&["simulate", RAG, "-o", name], more].concat();
        assert_eq!(folder.run(&arguments).status.code(), Some(0), "{arguments:?}");
    };
    store("base.json", &["--replications", "4"]);
    store("other-seed.json", &["--replications", "4", "--seed", "7"]);
    store("head.json", &["--replications", "4", "--set", "class.rag.prompt.retrieved.top_k=6"]);
    let (_, found) = folder.json(&["diff", "base.json", "head.json"]);
    let ttft = row(&found, "support-rag", "ttft.p95");
    assert!(ttft["changed"] == true && ttft["low"].as_f64() < ttft["difference"].as_f64(), "{ttft}");
    assert!(found["headline"].as_str().is_some_and(|h| h.contains("`retrieved` grew 1.5x")), "{}", found["headline"]);
    folder.refused(
        &["diff", "base.json", "other-seed.json"],
        &["incomparable", "the list of seeds is [42,43,44,45] on the base and [7,8,9,10]"],
    );
    folder.edit(RAG, "top_k = 4", "top_k = 6");
    let (_, again) = folder.json(&["diff", "--base", "base.json", RAG]);
    assert_eq!(row(&again, "support-rag", "ttft.p95"), ttft, "the scenario is run by the result's seeds");
    folder.refused(&["check", "--base", "base.json", RAG], &["a stored result has no paired runs"]);
    folder.write("no.json", "{}");
    folder.refused(&["diff", "no.json", "head.json"], &["`no.json` is no result of `tokentide simulate --format json`"]);
    folder.write("no.json", "{");
    folder.refused(&["diff", "no.json", "head.json"], &["this is no JSON"]);
}

#[test]
fn a_setting_is_tried_without_any_base() {
    let folder = project("set");
    let (_, found) = folder.json(&["diff", RAG, "--set", "class.rag.output.max_tokens=256"]);
    assert_eq!(found["scenarios"][0]["changes"][0]["path"], "class.rag.output.max_tokens");
    let rows = found["scenarios"][0]["rows"].as_array().expect("rows");
    let output =
        |class: &str| rows.iter().find(|row| row["metric"] == "output_tokens.mean" && row["only"] == class).expect("a row");
    assert!(output("class rag")["change"].as_f64().is_some_and(|c| c < -0.05) && output("class chat")["change"] == 0.0);
    let (_, same) = folder.json(&["diff", RAG, "--set", "name=\"other\""]);
    assert_eq!(same["headline"], "No change.");
}

#[test]
fn threads_change_no_byte_of_any_format() {
    let folder = project("threads");
    folder.edit(RAG, "top_k = 4", "top_k = 5");
    for format in ["text", "json", "markdown", "github", "junit"] {
        let one = folder.out(&["check", "--format", format, "--threads", "1"]);
        assert_eq!(one, folder.out(&["check", "--format", format, "--threads", "3"]), "{format}");
        assert!(!one.1.is_empty());
    }
}

#[test]
fn a_check_is_explained() {
    let folder = project("explain");
    let (_, text) = folder.out(&["check", "--explain", "rag-ttft"]);
    for part in [
        "rag-ttft (support-rag): pass",
        "tokentide.toml:",
        "simulated",
        "  42  ",
        "  49  ",
        "to be <= 800 ms",
        "if every step is 15 % faster",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let (_, text) = folder.out(&["check", "--explain", "retrieval-budget"]);
    assert!(text.contains("exact over the requests drawn") && text.contains("value of the head: 2,000, to be <= 3,000"), "{text}");
}

#[test]
fn budgets_of_a_scenario_are_its_own() {
    let folder = project("own");
    folder.write("tokentide.toml", "[ci]\nreplications = 4\n");
    folder
        .write(RAG, &(folder.read(RAG) + "\n[[check]]\nassert = \"retrieved_tokens.max <= 2000\"\nwhere = { class = \"rag\" }\n"));
    let (code, found) = folder.json(&["check"]);
    assert_eq!(
        (code, found["checks"].as_array().map(Vec::len), found["replications"].as_u64()),
        (0, Some(1), Some(0)),
        "tokens need no run"
    );
    assert_eq!(found["checks"][0]["scenario"], "support-rag");
    assert_eq!(found["headline"], "No change.", "a budget changes no result");
    folder.edit(RAG, "top_k = 4", "top_k = 5");
    assert_eq!(folder.out(&["check"]).0, 1);
    folder.edit(RAG, "retrieved_tokens.max", "retreived_tokens.max");
    folder.refused(&["check"], &["scenarios/support-rag.toml", "did you mean `retrieved_tokens`?"]);
}

#[test]
fn the_json_is_what_its_schema_says() {
    let folder = project("schema");
    let read = |name: &str| -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema").join(name);
        serde_json::from_str(&std::fs::read_to_string(path).expect("a committed schema")).expect("JSON")
    };
    let comparison = jsonschema::validator_for(&read("comparison.schema.json")).expect("a schema");
    folder.edit(RAG, "top_k = 4", "top_k = 12");
    for arguments in [&["check"][..], &["diff"], &["diff", "--tokens-only"], &["check", "--base", "HEAD"]] {
        let (_, found) = folder.json(arguments);
        let wrong: Vec<String> = comparison.iter_errors(&found).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{arguments:?}: {wrong:?}");
        let mut lacking = found.clone();
        lacking["checks"] = Value::Null;
        assert!(!comparison.is_valid(&lacking), "the schema asks for nothing");
    }
    let project = jsonschema::validator_for(&read("project.schema.json")).expect("a schema");
    let typed: toml::Table = folder.read("tokentide.toml").parse().expect("TOML");
    let typed = serde_json::to_value(typed).expect("JSON");
    assert!(project.is_valid(&typed), "{typed}");
    let unknown: Value = serde_json::json!({"check": [{"asert": "load <= 80%"}]});
    assert!(!project.is_valid(&unknown));
}

/// The formats, word for word: `TOKENTIDE_BLESS=1 cargo test --release --test compare` writes them anew.
#[test]
fn formats_are_what_they_were() {
    let folder = project("golden");
    let commit = folder.git(&["rev-parse", "HEAD"]);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/check");
    let bless = std::env::var_os("TOKENTIDE_BLESS").is_some();
    let cases = [
        ("more-text", "top_k = 4", "top_k = 12"),
        ("longer-system", "system = 700", "system = 1000"),
        ("nothing", "top_k = 4", "top_k = 4"),
    ];
    for (case, from, to) in cases {
        folder.git(&["checkout", "-q", "."]);
        folder.edit(RAG, from, to);
        for (format, ending) in [("text", "txt"), ("markdown", "md"), ("github", "github.txt"), ("junit", "xml"), ("json", "json")]
        {
            // JSON is held by its schema; one of it is enough to see a change of its figures.
            if format == "json" && case != "more-text" {
                continue;
            }
            let (_, text) = folder.out(&["check", "--format", format]);
            let text = text.replace(&commit[..9], "COMMIT");
            let path = golden.join(format!("{case}.{ending}"));
            if bless {
                std::fs::create_dir_all(&golden).expect("a folder");
                std::fs::write(&path, &text).expect("the golden file");
            }
            let expected = std::fs::read_to_string(&path).unwrap_or_default();
            let line = text.lines().zip(expected.lines()).position(|(a, b)| a != b).map_or(0, |i| i + 1);
            assert!(text == expected, "{} differs from line {line} on: TOKENTIDE_BLESS=1 writes it anew", path.display());
        }
    }
}

/// A comment has room for 65,536 characters: what does not fit is left out, and that is said.
#[test]
fn a_comment_is_never_too_long() {
    let folder = project("long");
    for i in 0..60 {
        let text = folder
            .read(RAG)
            .replace("name = \"support-rag\"", &format!("name = \"s{i}\""))
            .replace("duration = \"10m\"", "duration = \"1m\"");
        folder.write(&format!("scenarios/s{i}.toml"), &text);
    }
    folder.git(&["add", "-A"]);
    folder.git(&["commit", "-qm", "many"]);
    for i in 0..60 {
        folder.edit(&format!("scenarios/s{i}.toml"), "top_k = 4", "top_k = 12");
    }
    folder.edit("tokentide.toml", "scenario = \"support-rag\", ", "");
    let (code, text) = folder.out(&["check", "--tokens-only", "--format", "markdown"]);
    assert_eq!(code, 1);
    assert!(text.len() <= 60_000 && text.len() > 40_000 && text.contains("sections are left out"), "{} bytes", text.len());
    assert!(text.starts_with("<!-- tokentide:default -->\n"));
    let (_, annotations) = folder.out(&["check", "--tokens-only", "--format", "github"]);
    for kind in ["::error", "::warning", "::notice"] {
        assert!(annotations.lines().filter(|line| line.starts_with(kind)).count() <= 10, "{annotations}");
    }
    assert!(annotations.contains("more checks of this kind"), "{annotations}");
}

/// Names of scenarios, classes and checks come from whoever opens the pull request.
#[test]
fn a_comment_carries_no_markup_of_others() {
    let folder = project("markup");
    let evil = "x | <!-- tokentide:default --> @team [a](http://b) <img src=x> ::error::y";
    folder.edit(RAG, "name = \"rag\"", &format!("name = \"{evil}\""));
    folder.write("tokentide.toml", &format!("[[check]]\nid = \"{evil}\"\nassert = \"input_tokens.p95 <= 10\"\n"));
    let (_, text) = folder.out(&["check", "--format", "markdown", "--marker", "a --> b"]);
    assert_eq!(text.matches("<!--").count(), 1, "{text}");
    assert!(text.starts_with("<!-- tokentide:a--b -->"), "{text}");
    assert!(!text.contains("@team") && !text.contains("<img") && !text.contains("[a]("), "{text}");
    let (_, annotations) = folder.out(&["check", "--format", "github"]);
    assert!(annotations.lines().all(|line| line.starts_with("::error ") || line.starts_with("::notice ")), "{annotations}");
}
