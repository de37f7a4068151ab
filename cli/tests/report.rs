//! `tokentide report`: a page for whatever has a result. What a browser makes of pages is held in `charts/tests/pages.rs`.

use std::path::PathBuf;
use std::process::{Command, Output};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("tokentide-report-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Folder(folder)
    }

    /// Runs a command of words in this folder; scenarios are those of the repository.
    fn run(&self, line: &str) -> Output {
        let scenarios = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/");
        let words = line.split(' ').map(|word| word.replace("scenarios/", scenarios));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
        for variable in ["TOKENTIDE_SEED", "TOKENTIDE_THREADS"] {
            command.env_remove(variable);
        }
        command.args(words).current_dir(&self.0).output().expect("the binary starts")
    }

    fn page(&self, line: &str) -> String {
        let run = self.run(&format!("{line} -o page.html"));
        assert!(run.status.success(), "{line}: {}", String::from_utf8_lossy(&run.stderr));
        let html = std::fs::read_to_string(self.0.join("page.html")).expect("a page");
        assert!(html.starts_with("<!doctype html>") && html.len() < 1_500_000, "{line}: {} bytes", html.len());
        html
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_result_has_a_page() {
    let folder = Folder::new("kinds");
    let brief = "--set duration=30s --set warmup=0s -q";
    for (command, input, charts) in [
        (format!("simulate scenarios/support-rag.toml {brief} -o run.json"), "run.json", &["ttft_quantiles", "kv_timeline"][..]),
        ("plan scenarios/top-k-4.toml --gpu h100-sxm,l40s -q -o plan.json".to_owned(), "plan.json", &["cost"]),
        ("diff scenarios/top-k-4.toml scenarios/top-k-12.toml -q -o diff.json".to_owned(), "diff.json", &["latency_change"]),
        (
            format!("sweep scenarios/support-rag.toml {brief} --grid cluster.replicas=1..3 -o s.csv"),
            "s.csv",
            &["line", "pareto", "scatter"],
        ),
    ] {
        let made = folder.run(&command);
        assert!(made.status.success(), "{command}: {}", String::from_utf8_lossy(&made.stderr));
        let html = folder.page(&format!("report {input}"));
        for chart in charts {
            assert!(html.contains(&format!("id=\"chart-{chart}\"")), "{input} has no {chart}");
        }
    }
    // A scenario is run, and so has its distributions; the same page each time.
    let html = folder.page("report scenarios/prompt-9512.toml -q");
    assert!(html.contains("id=\"chart-ttft_cdf\"") && html.contains("id=\"chart-tokens_by_source\""));
    assert_eq!(html, folder.page("report scenarios/prompt-9512.toml -q"));
}

#[test]
fn a_sweep_reads_the_same_from_either_format() {
    let folder = Folder::new("formats");
    for name in ["s.csv", "s.parquet"] {
        let line = format!(
            "sweep scenarios/support-rag.toml --set duration=20s --set warmup=0s -q --grid cluster.replicas=1..4 -o {name}"
        );
        assert!(folder.run(&line).status.success());
    }
    assert_eq!(folder.page("report s.csv"), folder.page("report s.parquet"));
}

#[test]
fn what_has_no_page_is_told() {
    let folder = Folder::new("refused");
    std::fs::write(folder.0.join("a.json"), "{\"a\": 1}").expect("a file");
    std::fs::write(folder.0.join("b.json"), "{").expect("a file");
    std::fs::write(folder.0.join("c.csv"), "a,b\n1,2\n").expect("a file");
    for (input, says) in [
        ("a.json", "no result that can be drawn"),
        ("b.json", "not JSON"),
        ("c.csv", "no result of a sweep"),
        ("none.json", "none.json"),
        ("none.toml", "none.toml"),
    ] {
        let run = folder.run(&format!("report {input} -o page.html"));
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.code() == Some(2) && stderr.contains(says), "{input}: {stderr}");
        assert!(!folder.0.join("page.html").exists());
    }
}
