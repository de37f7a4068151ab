//! `simulate --timeline` and `--metrics`: what is beside the report changes nothing in it, and wrong options are told.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("tokentide-views-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Folder(folder)
    }

    /// Simulates half a minute of a scenario of the repository in this folder.
    fn simulate(&self, options: &str) -> Output {
        let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/support-rag.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
        for variable in ["CI", "TOKENTIDE_SEED", "TOKENTIDE_THREADS"] {
            command.env_remove(variable);
        }
        command.args(["simulate", scenario, "--set", "duration=30s", "--set", "warmup=0s"]);
        command.args(options.split_whitespace()).current_dir(&self.0).output().expect("the binary starts")
    }

    fn done(&self, options: &str) -> (Vec<u8>, String) {
        let run = self.simulate(options);
        let notes = String::from_utf8(run.stderr).expect("UTF-8");
        assert!(run.status.success(), "{options}: {notes}");
        (run.stdout, notes)
    }

    fn refused(&self, options: &str, says: &str) {
        let files = || std::fs::read_dir(&self.0).expect("a folder").count();
        let before = files();
        let run = self.simulate(options);
        assert_eq!(files(), before, "{options}: nothing is left behind");
        let told = String::from_utf8(run.stderr).expect("UTF-8");
        assert_eq!((run.status.code(), run.stdout.as_slice()), (Some(2), &b""[..]), "{options}: {told}");
        assert!(told.contains(says) && !told.contains("panicked"), "{options}: no {says:?} in:\n{told}");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn views_change_nothing_in_the_report() {
    let folder = Folder::new("same");
    for (format, replications) in [("json", "1"), ("text", "1"), ("json", "3")] {
        let options = format!("--format {format} --replications {replications}");
        let plain = folder.done(&format!("{options} --records plain.csv")).0;
        let (told, notes) = folder.done(&format!("{options} --records r.csv --timeline t.json --metrics m.om --threads 1"));
        assert!(told == plain, "{format}, {replications} replications");
        assert!(folder.read("r.csv") == folder.read("plain.csv"));
        assert!(notes.contains("events in t.json") && notes.contains("metrics in m.om"), "{notes}");
        assert_eq!(notes.contains("the first of 3 runs"), replications == "3", "{notes}");
        // Metrics are those of the run that leaps, whether a timeline is drawn or not; and the same each time.
        folder.done("--metrics again.om -q");
        assert!(folder.read("again.om") == folder.read("m.om"));
        let report: Value = if format == "json" { serde_json::from_slice(&plain).expect("JSON") } else { continue };
        let trace: Value = serde_json::from_slice(&folder.read("t.json")).expect("JSON");
        let steps = trace["traceEvents"].as_array().expect("events").iter().filter(|event| event["ph"] == "X").count() as u64;
        assert_eq!(replications == "1", report["summary"]["iterations"] == steps);
    }
}

#[test]
fn options_reach_the_files() {
    let folder = Folder::new("options");
    let text = |name: &str| String::from_utf8(folder.read(name)).expect("UTF-8");
    folder.done("-q --metrics a.prom --metrics-at 20s --timeline w.json.gz --timeline-window 10s,12s");
    let running = |page: &str| {
        let line = |line: &&str| line.starts_with("vllm:num_requests_running{");
        page.lines()
            .filter(line)
            .map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number"))
            .sum::<f64>()
    };
    assert!(running(&text("a.prom")) > 0.0 && folder.read("w.json.gz").starts_with(&[0x1f, 0x8b]));
    folder.done("-q --metrics end.prom");
    assert_eq!(running(&text("end.prom")), 0.0, "at the end nobody runs");
    folder.done("-q --metrics b.openmetrics --metrics-every 10s --metrics-start 2030-05-01T12:00:00+00:00");
    let series = text("b.openmetrics");
    assert!(series.ends_with("# EOF\n") && series.contains("} 0 1903867200.000\n") && series.contains(" 1903867230.000\n"));
    assert!(!series.contains(" 1903867215.000\n"));
    let explained =
        Command::new(env!("CARGO_BIN_EXE_tokentide")).args(["explain", "vllm"]).output().expect("the binary starts").stdout;
    let explained = String::from_utf8(explained).expect("UTF-8");
    let families = series.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert!(families.clone().count() > 20 && families.clone().all(|name| explained.contains(name)), "{explained}");
}

#[test]
fn wrong_options_are_told() {
    let folder = Folder::new("wrong");
    for (options, says) in [
        ("--timeline t.csv", "`.json` or `.json.gz`"),
        ("--timeline no/such/folder/t.json", "cannot write `no/such/folder/t.json`"),
        ("--timeline-window 1s,2s", "--timeline"),
        ("--timeline t.json --timeline-window 2s,1s", "it ends before it starts"),
        ("--timeline t.json --timeline-window 2s", "expected START,END"),
        ("--timeline t.json --timeline-window 5h,6h", "the run ended at"),
        ("--metrics m.json", "`.prom` for a page"),
        ("--metrics no/such/folder/m.prom", "cannot write `no/such/folder/m.prom`"),
        ("--metrics m.prom --metrics-every 15s", "--metrics-every goes with `.om`"),
        ("--metrics m.prom --metrics-start 2026-01-01T00:00:00Z", "--metrics-start goes with `.om`"),
        ("--metrics m.om --metrics-at 5s", "--metrics-at goes with `.prom`"),
        ("--metrics m.prom --metrics-at 5h", "the run ended at"),
        ("--metrics m.om --metrics-every 0s", "samples need some time between them"),
        ("--metrics m.om --metrics-every 1ms", "take longer intervals"),
        ("--metrics m.om --metrics-start tomorrow", "2026-01-01T00:00:00Z"),
        ("--metrics-at 5s", "--metrics"),
    ] {
        folder.refused(options, says);
    }
}
