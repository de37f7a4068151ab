//! `tokentide diff` and `tokentide check` as their users meet them: in a repository, on files, in a pipeline.

mod repository;

use std::path::Path;

use serde_json::Value;

use repository::{Folder, RAG, project};

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
    let more = "[[check]]\nid = \"load\"\nassert = \"load <= 80%\"\n\
                [[check]]\nid = \"note\"\nassert = \"input_tokens.mean <= 1\"\nlevel = \"warn\"\n";
    folder.write("tokentide.toml", &(folder.read("tokentide.toml") + more));
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
    folder.edit(RAG, "top_k = 4", "top_k = four");
    folder.git(&["add", "-A"]);
    folder.git(&["commit", "-qm", "broken"]);
    folder.edit(RAG, "top_k = four", "top_k = 4");
    folder.refused(&["check"], &["not valid TOML", &folder.git(&["rev-parse", "HEAD"])[..9], RAG]);
    assert_eq!(folder.out(&["check", "--no-base"]).0, 0, "a change that repairs the base can still be checked");
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
    let scenario = "duration = \"1m\"\nmodel = { config = \"../models/config.json\", weights = \"bf16\" }\n\
                    gpu = { name = \"h100-sxm\" }\n\
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

/// Nobody updates a number by hand: an edit of a prompt file is a change of tokens.
#[test]
fn an_edited_prompt_is_another_load() {
    let folder = project("prompt");
    folder.write("scenarios/templates/_rules.j2", "Be brief. Be kind.\n");
    folder.write(
        "scenarios/templates/rag.md.j2",
        "{% include \"_rules.j2\" %}You work for {{ company }}.\n{{ docs }}\nAnswer from the text above.\n",
    );
    folder.edit(RAG, "system = 700", "system = { file = \"templates/rag.md.j2\", variables = { company = \"Acme\", docs = 900 } }");
    folder.write(RAG, &(folder.read(RAG) + "\n[tokenizer]\nencoding = \"cl100k_base\"\n"));
    folder.git(&["add", "-A"]);
    folder.git(&["commit", "-qm", "templates"]);
    assert_eq!(folder.json(&["diff"]).1["headline"], "No change.", "the base has its own prompts and what they include");
    folder.edit("scenarios/templates/_rules.j2", "Be brief. Be kind.\n", &"Be brief. Be kind. Never guess.\n".repeat(40));
    let (code, found) = folder.json(&["diff", RAG]);
    let headline = found["headline"].as_str().expect("a sentence");
    assert!(code == 0 && headline.contains("because `system` grew"), "{headline}");
    assert_eq!(found["scenarios"][0]["changes"], serde_json::json!([]), "no setting was touched");
    let prints = |side: &str| found["scenarios"][0][side]["fingerprint"].clone();
    assert_eq!((&prints("base")["tokenizer"], &prints("head")["tokenizer"]), (&"cl100k_base".into(), &"cl100k_base".into()));
    assert_ne!(prints("base")["scenario"], prints("head")["scenario"]);
    folder.edit("prompts/system.md", "Orders and returns", &"Orders, returns and repairs\n".repeat(20));
    let (_, found) = folder.json(&["diff", "scenarios/chat.toml"]);
    assert!(found["headline"].as_str().is_some_and(|h| h.contains("because `system` grew")), "{}", found["headline"]);
    let notes = found["scenarios"][0]["head"]["notes"].to_string();
    assert!(notes.contains("approximate") && notes.contains("prompts/system.md"), "{notes}");
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
    assert!(row(&found, "b", "load")["changed"] == true, "a trace has a load, too: {}", row(&found, "b", "load"));
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
fn what_does_not_go_together_is_refused() {
    let folder = project("together");
    folder.refused(
        &["diff", "--set", "cluster.replicas=4"],
        &["--set changes one scenario", "scenarios/chat.toml, scenarios/support-rag.toml"],
    );
    folder.refused(&["diff", RAG, "scenarios"], &["is one file, and the head has several"]);
    folder.refused(&["diff", "--on", RAG], &["--on is for traces"]);
    folder.refused(&["diff", RAG, "--head", RAG], &["the head is given twice"]);
    folder.refused(&["diff", "a", "b", "--base", "c"], &["base and head are given twice"]);
    folder.refused(&["diff", "nope.toml"], &["there is no such file or folder"]);
    let (_, found) = folder.json(&["diff", ".", "scenarios"]);
    assert_eq!(found["headline"], "No change.", "files of other folders are found by their names");
    let empty = Folder::new("empty");
    empty.refused(&["diff"], &["there is no tokentide.toml here or above"]);
    empty.refused(&["check", "."], &["there is no scenario in"]);
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
