//! The formats of a comparison: held to their schema, word for word, and to what their readers can take.

mod repository;

use std::path::Path;

use serde_json::Value;

use repository::{RAG, project};

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

/// The formats, word for word: `TOKENTIDE_BLESS=1 cargo test --release --test review` writes them anew.
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

/// The formats of a review are those of two commands.
#[test]
fn other_commands_write_text_or_json() {
    let folder = project("others");
    folder.refused(&["simulate", RAG, "--format", "markdown"], &["this command writes text or JSON"]);
    folder.refused(&["simulate", RAG, "-o", "x.md", "--format", "junit"], &["this command writes text or JSON"]);
    folder.refused(&["diff", "-o", "x.parquet"], &["--output writes text or JSON, not .parquet"]);
    assert_eq!(folder.out(&["diff", "-o", "comment.md"]), (0, String::new()));
    assert!(folder.read("comment.md").starts_with("<!-- tokentide:default -->"));
    assert_eq!(folder.out(&["check", "-o", "report.xml"]).0, 0);
    assert!(folder.read("report.xml").starts_with("<?xml"));
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

/// What the pages show is what the program prints.
#[test]
fn the_pages_show_what_is_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("a committed file");
    let page = read("docs/ci.md");
    let quoted: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix('>')).map(str::trim).filter(|l| !l.is_empty()).collect();
    let golden = read("cli/tests/golden/check/more-text.md");
    let printed: Vec<&str> = golden.lines().map(str::trim).collect();
    assert!(quoted.len() > 30 && quoted.iter().all(|line| printed.contains(line)), "{quoted:?}");
    let folder = repository::Folder::new("pages");
    let path = |name: &str| root.join("scenarios").join(name).display().to_string();
    let (_, found) = folder.json(&["diff", &path("top-k-4.toml"), &path("top-k-12.toml")]);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&read("README.md")).contains(&words(found["headline"].as_str().expect("a sentence"))), "{}", found["headline"]);
}

/// The example of the pages: nothing but top_k is different, and everything that it moves is told.
#[test]
fn the_example_is_told_in_figures() {
    let folder = project("example");
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    for (name, file) in [("base/rag.toml", "top-k-4.toml"), ("head/rag.toml", "top-k-12.toml")] {
        folder.write(
            name,
            &std::fs::read_to_string(scenarios.join(file))
                .expect("a scenario")
                .replace("name = \"top-k-4\"", "name = \"top-k-12\""),
        );
    }
    folder.write("head/tokentide.toml", "[project]\nscenarios = [\"*.toml\"]\n[[check]]\nassert = \"ttft.p95 <= 500ms\"\n");
    let (code, found) = folder.json(&["check", "--base", "base", "--head", "head"]);
    assert_eq!((code, found["checks"][0]["verdict"].as_str()), (1, Some("fail")), "{}", found["checks"]);
    let (_, found) = folder.json(&["diff", "base", "head"]);
    let rows = found["scenarios"][0]["rows"].as_array().expect("rows");
    for metric in ["ttft.p95", "kv_use.max", "replicas.required", "cost.month", "prefill_tokens.mean"] {
        let row = rows.iter().find(|row| row["metric"] == metric).expect("a row");
        let (base, head) = (row["base"].as_f64().expect("a value"), row["head"].as_f64().expect("a value"));
        assert!(row["changed"] == true && head > 1.5 * base, "{row}");
    }
    assert_eq!(found["scenarios"][0]["changes"].as_array().map(Vec::len), Some(1), "one setting is different");
}
