//! `tokentide calibrate validate` as its users meet it, and `docs/accuracy.md` against what it writes now.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tokentide_calibrate::shipped::shared_folder;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn validate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
    command.args(["calibrate", "validate"]).args(args).current_dir(ROOT);
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
        let dir = std::env::temp_dir().join(format!("tokentide-validate-{name}-{}", std::process::id()));
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

/// The data of the shipped sets; `None`, with a printed reason, where they are not.
fn data() -> Option<PathBuf> {
    let data = shared_folder("data");
    if data.is_none() {
        println!("skipped: no recorded data ($TOKENTIDE_SHARED is not set and there is no ../shared)");
    }
    data
}

const SERVER: &str = "[model]\nname = \"llama-3.1-8b\"\n[gpu]\nname = \"h100-sxm\"\n";
const RUN: &str = "\
arrival_s,input_tokens,output_tokens,ttft_ms,tpot_ms,e2e_ms
0.0,1000,50,40,7,383
0.5,2000,50,60,7,403
1.0,500,1,30,,30
";

#[test]
fn a_users_own_run_is_compared_and_gated() {
    let dir = TempDir::new("own");
    let (run, server) = (dir.file("run.csv", RUN), dir.file("server.toml", SERVER));
    let common = ["--run", &run, "--scenario", &server];
    let with = |more: &[&str]| validate(&[&common[..], more].concat());
    let shown = with(&[]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let out = text(&shown.stdout);
    for part in ["run.csv", "llama-3.1-8b bf16 on h100-sxm tp1", "TTFT", "TPOT", "output tok/s", "3 measured (requests CSV)"] {
        assert!(out.contains(part), "no {part:?} in:\n{out}");
    }
    let json: serde_json::Value = serde_json::from_slice(&with(&["--format", "json"]).stdout).unwrap();
    assert_eq!((json["schema_version"].as_u64(), json["runs"][0]["requests"].as_u64()), (Some(1), Some(3)));
    assert_eq!(json["runs"][0]["metrics"][0]["metric"], "ttft");
    assert_eq!(with(&["--max-error", "ttft=1000%,tpot.p99=1000%"]).status.code(), Some(0));
    let failed = with(&["--max-error", "ttft=1000%", "--max-error", "e2e.mape=0%"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("e2e.mape of run.csv"), "{}", text(&failed.stderr));
    let nothing = with(&["--max-error", "itl=5%"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("was not measured"));
}

#[test]
fn a_plot_and_a_document_are_written() {
    let dir = TempDir::new("plot");
    let (run, server) = (dir.file("run.csv", RUN), dir.file("server.toml", SERVER));
    let (svg, page) = (dir.path("p.svg"), dir.path("page.md"));
    let done = validate(&["--run", &run, "--scenario", &server, "--plot", &svg, "--markdown", &page]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let svg = std::fs::read_to_string(svg).unwrap();
    // Three requests with TTFT, two with TPOT, and the dot of the legend.
    assert_eq!((svg.matches("<circle").count(), svg.ends_with("</svg>\n")), (6, true));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("![predicted against measured](page/validation.svg)"), "{page}");
    assert!(dir.0.join("page/validation.svg").is_file());
}

#[test]
fn wrong_input_is_2_with_row_value_and_reason() {
    let dir = TempDir::new("wrong");
    let server = dir.file("server.toml", SERVER);
    let bad = dir.file("bad.csv", &RUN.replace("2000,50,60", "2000,fifty,60"));
    let unknown = dir.file("unknown.toml", &SERVER.replace("h100-sxm", "h100-smx"));
    let set = dir.file("set.toml", "name = \"a\"\ntitle = \"b\"\nruns = 1\n");
    let run = dir.file("run.csv", RUN);
    for (args, says) in [
        (vec!["--run", &bad, "--scenario", &server], vec!["bad.csv:3", "fifty", "output_tokens"]),
        (vec!["--run", &run, "--scenario", &unknown], vec!["unknown.toml:4", "did you mean `h100-sxm`"]),
        (vec!["--run", &run], vec!["--scenario"]),
        (vec!["--run", "nowhere.csv", "--scenario", &server], vec!["nowhere.csv", "cannot be read"]),
        (vec![&set], vec!["set.toml", "unknown field `runs`"]),
        (vec!["--max-error", "ttft=5"], vec!["no unit"]),
        (vec!["--all", "cli/src"], vec!["no validation set"]),
    ] {
        let refused = validate(&args);
        let stderr = text(&refused.stderr);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{args:?}: {stderr}");
        assert!(says.iter().all(|part| stderr.contains(part)), "{args:?}: {stderr}");
    }
}

/// Every set of the repository evaluates, and `docs/accuracy.md` with its plots is what it gives.
#[test]
fn the_accuracy_page_is_what_the_program_gives() {
    let Some(data) = data() else { return };
    let dir = TempDir::new("accuracy");
    let page = dir.path("accuracy.md");
    let done = validate(&["--all", "validation", "--data", &data.display().to_string(), "--markdown", &page]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let docs = Path::new(ROOT).join("docs");
    let how = "if this is meant: tokentide calibrate validate --all validation --markdown docs/accuracy.md";
    let same = |name: &str| {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let (found, committed) = (read(&dir.0), read(&docs));
        let line = found.lines().zip(committed.lines()).find(|(a, b)| a != b);
        assert!(found == committed, "docs/{name} is not what the program gives, from {line:?}; {how}");
    };
    same("accuracy.md");
    let plots = std::fs::read_dir(dir.0.join("accuracy")).unwrap();
    let names: Vec<String> = plots.map(|plot| plot.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(names.len(), std::fs::read_dir(docs.join("accuracy")).map_or(0, Iterator::count), "{names:?}; {how}");
    names.iter().for_each(|name| same(&format!("accuracy/{name}")));
}
