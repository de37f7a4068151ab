//! `tokentide sweep` and `merge` as their users meet them: killed, cut into shards, given nonsense.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const AXES: [&str; 4] = ["--grid", "cluster.replicas=1..6", "--grid", "class.chat.prompt.user=100,400,900"];

/// A folder of its own, with a scenario in it, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, duration: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("tokentide-sweep-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let scenario = format!(
            r#"
duration = "{duration}"
[model]
name = "llama-3.1-8b"
[gpu]
name = "h100-sxm"
[[class]]
name = "chat"
arrivals = {{ process = "poisson", rate = 12.0 }}
slo = {{ ttft_p95 = "500ms" }}
prompt = {{ system = 700, user = {{ median = 80, p95 = 300 }} }}
output = {{ max_tokens = 512, tokens = {{ median = 120, p95 = 400 }} }}
"#
        );
        std::fs::write(folder.join("s.toml"), scenario).expect("a scenario");
        Folder(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
        command.args(args).current_dir(&self.0);
        for variable in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TOKENTIDE_SEED", "TOKENTIDE_THREADS", "TOKENTIDE_SHARDS", "CI"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary starts")
    }

    /// Standard output of a command that succeeds.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// A sweep of the folder's scenario over [`AXES`].
    fn sweep(&self, output: &str, more: &[&str]) -> Value {
        let text = self.ok(&[&["sweep", "s.toml", "-o", output, "--format", "json"][..], &AXES, more].concat());
        serde_json::from_str(&text).expect("JSON")
    }

    fn refused(&self, args: &[&str], says: &[&str]) {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty() && says.iter().all(|text| stderr.contains(text)), "{args:?}: {stderr}");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A table in CSV: a map for each row.
    fn rows(&self, name: &str) -> Vec<HashMap<String, String>> {
        let text = String::from_utf8(self.read(name)).expect("UTF-8");
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
        let row = |line: &str| header.iter().map(|h| (*h).to_owned()).zip(line.split(',').map(str::to_owned)).collect();
        lines.map(row).collect()
    }

    /// A sweep that is under way, with at least `points` in its journal.
    fn started(&self, output: &str, points: usize) -> Child {
        let journal = self.path(&format!("{output}.journal"));
        let args = [&["sweep", "s.toml", "-o", output, "--threads", "2"][..], &AXES].concat();
        let child = self.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let begun = Instant::now();
        while lines(&journal) < points + 1 {
            assert!(begun.elapsed() < Duration::from_secs(60), "no {points} points after a minute");
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.matches('\n').count())
}

#[test]
fn a_killed_sweep_loses_nothing_and_runs_nothing_twice() {
    let folder = Folder::new("killed", "1500s");
    folder.sweep("whole.parquet", &[]);
    for (round, points) in [1, 5, 9].into_iter().enumerate() {
        let name = format!("killed-{round}.parquet");
        let mut child = folder.started(&name, points);
        child.kill().expect("SIGKILL");
        child.wait().expect("it ends");
        let kept = lines(&folder.path(&format!("{name}.journal"))) - 1;
        assert!(!folder.path(&name).exists(), "the table comes when it is whole");
        assert!((points..18).contains(&kept), "killed too late to tell: {kept} points");
        let summary = folder.sweep(&name, &[]);
        assert_eq!((summary["before"].as_u64(), summary["run"].as_u64()), (Some(kept as u64), Some(18 - kept as u64)));
        assert!(folder.read(&name) == folder.read("whole.parquet"), "as if nothing had happened");
        assert!(!folder.path(&format!("{name}.journal")).exists());
    }
}

#[test]
fn a_line_torn_by_the_kill_is_run_again() {
    let folder = Folder::new("torn", "1500s");
    folder.sweep("whole.csv", &[]);
    let mut child = folder.started("torn.csv", 4);
    child.kill().expect("SIGKILL");
    child.wait().expect("it ends");
    let journal = folder.path("torn.csv.journal");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    let whole = text.matches('\n').count() as u64 - 2;
    std::fs::write(&journal, &text.trim_end().as_bytes()[..text.trim_end().len() - 40]).expect("a journal");
    let summary = folder.sweep("torn.csv", &[]);
    assert_eq!(summary["before"].as_u64(), Some(whole));
    assert!(folder.read("torn.csv") == folder.read("whole.csv"));
    // Damage elsewhere is none that a kill does: it is told, with its line.
    let broken = text.replacen("\"rows\"", "\"rwos\"", 2);
    std::fs::write(folder.path("broken.csv.journal"), broken).expect("a journal");
    folder.refused(&[&["sweep", "s.toml", "-o", "broken.csv"][..], &AXES].concat(), &["broken.csv.journal`, line 2", "--fresh"]);
    folder.sweep("broken.csv", &["--fresh"]);
    assert!(folder.read("broken.csv") == folder.read("whole.csv"));
}

#[test]
fn an_interrupt_keeps_what_is_done() {
    let folder = Folder::new("interrupt", "1500s");
    let mut child = folder.started("a.parquet", 3);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let status = child.wait().expect("it ends");
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("piped"), &mut stderr).expect("text");
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("of 18 points are kept: the same command goes on from there"), "{stderr}");
    let summary = folder.sweep("a.parquet", &[]);
    assert!(summary["before"].as_u64() >= Some(3), "{summary}");
    folder.sweep("b.parquet", &["--threads", "1"]);
    assert!(folder.read("a.parquet") == folder.read("b.parquet"), "neither interrupts nor threads change anything");
}

#[test]
fn a_second_sweep_of_the_same_file_waits_its_turn() {
    let folder = Folder::new("locked", "1h");
    let mut child = folder.started("a.parquet", 1);
    folder.refused(
        &[&["sweep", "s.toml", "-o", "a.parquet"][..], &AXES].concat(),
        &["another sweep is writing `", "a.parquet.journal"],
    );
    child.kill().expect("SIGKILL");
    child.wait().expect("it ends");
}

#[test]
fn shards_merge_into_the_whole() {
    let folder = Folder::new("shards", "20s");
    for extension in ["parquet", "csv"] {
        folder.sweep(&format!("whole.{extension}"), &["--replications", "2"]);
        let mut parts = Vec::new();
        for index in 0..4 {
            // As a Kubernetes job with an index calls it.
            let output = format!("part-{{shard}}.{extension}");
            let args = [&["sweep", "s.toml", "--shard", "auto/4", "--replications", "2", "-o", &output][..], &AXES].concat();
            let done = folder.command(&args).env("JOB_COMPLETION_INDEX", index.to_string()).output().expect("it starts");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            parts.push(format!("part-{}.{extension}", index + 1));
        }
        let names: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (all, some) = (format!("all.{extension}"), format!("some.{extension}"));
        let said = folder.ok(&[&["merge", "-o", &all][..], &names].concat());
        assert!(said.starts_with("36 rows of 18 points in all."), "{said}");
        assert!(folder.read(&format!("whole.{extension}")) == folder.read(&all), "{extension}");
        let lacking = [&["merge", "-o", &some][..], &names[1..]].concat();
        folder.refused(&lacking, &["5 of 18 points are missing", "shard 1/4", "--partial"]);
        folder.ok(&[&lacking[..], &["--partial"]].concat());
    }
    folder.sweep("other.parquet", &["--replications", "2", "--set", "cluster.router=random"]);
    folder.refused(&["merge", "-o", "x.parquet", "part-1.parquet", "other.parquet"], &["do not belong together: base is"]);
    folder.refused(&["merge", "-o", "x.parquet", "part-1.parquet", "part-2.csv"], &["another format"]);
    folder.refused(&["merge", "part-1.parquet"], &["where to write"]);
}

#[test]
fn a_row_is_what_simulate_says() {
    let folder = Folder::new("row", "60s");
    folder.sweep("a.csv", &["--replications", "2"]);
    let rows = folder.rows("a.csv");
    assert_eq!(rows.len(), 36);
    for row in [&rows[3], &rows[20]] {
        let replicas = format!("cluster.replicas={}", row["cluster.replicas"]);
        let user = format!("class.chat.prompt.user={}", row["class.chat.prompt.user"]);
        let text =
            folder.ok(&["simulate", "s.toml", "--seed", &row["seed"], "--set", &replicas, "--set", &user, "--format", "json"]);
        let report: Value = serde_json::from_str(&text).expect("JSON");
        let summary = &report["summary"];
        for (column, figure) in [
            ("ttft_ms_p95", &summary["ttft_ms"]["p95"]),
            ("tpot_ms_mean", &summary["tpot_ms"]["mean"]),
            ("requests_total", &summary["requests"]["total"]),
            ("cost_usd_per_hour", &summary["cost"]["usd_per_hour"]),
            ("capacity_load", &summary["capacity"]["load"]),
            ("input_tokens_by_source_user", &summary["input_tokens_by_source"]["user"]),
        ] {
            let cell: f64 = row[column].parse().unwrap_or_else(|_| panic!("{column} is `{}`", row[column]));
            assert_eq!(Some(cell), figure.as_f64(), "{column}");
        }
        assert_eq!(row["capacity_state"], summary["capacity"]["state"].as_str().expect("a word"));
        assert_eq!(row["scenario"], report["fingerprint"]["scenario"].as_str().expect("a hash"));
    }
}

#[test]
fn a_point_that_fails_is_recorded_and_the_others_go_on() {
    let folder = Folder::new("failing", "20s");
    // Beside others, a model that does not go on its GPU is a result: the point fails, not the sweep.
    let axes = ["--grid", "gpu.name=h100-sxm,l4", "--grid", "model.name=llama-3.1-8b,llama-3.1-70b"];
    let args = [&["sweep", "s.toml", "-o", "a.csv", "--set", "gpu.tensor_parallel=4"][..], &axes].concat();
    let text = folder.ok(&args);
    assert!(text.contains("failed") && text.contains("1 point failed: "), "{text}");
    let rows = folder.rows("a.csv");
    let failed: Vec<bool> = rows.iter().map(|row| !row["error"].is_empty()).collect();
    assert_eq!(failed, [false, false, false, true], "{text}");
    assert!(rows[3]["ttft_ms_p95"].is_empty() && !rows[2]["ttft_ms_p95"].is_empty());
    let json = |more: &[&str]| -> Value {
        serde_json::from_str(&folder.ok(&[&args[..], &["--format", "json"], more].concat())).expect("JSON")
    };
    let before = |summary: &Value| (summary["before"].as_u64(), summary["run"].as_u64(), summary["failed"].as_u64());
    assert_eq!(before(&json(&[])), (Some(4), Some(0), Some(1)), "a failed point is a finished one");
    assert_eq!(before(&json(&["--retry-failed"])), (Some(3), Some(1), Some(1)), "unless asked");
    let all =
        folder.run(&["sweep", "s.toml", "-o", "b.csv", "--set", "gpu.name=l4", "--grid", "model.name=llama-3.1-70b,qwen3-32b"]);
    let stderr = String::from_utf8_lossy(&all.stderr);
    assert!(all.status.code() == Some(2) && stderr.contains("every point failed"), "{stderr}");
    assert_eq!(folder.rows("b.csv").len(), 2, "and is recorded");
}

#[test]
fn a_sweep_grows_and_what_is_there_stays() {
    let folder = Folder::new("grown", "20s");
    let sweep = |output: &str, more: &[&str]| -> Value {
        serde_json::from_str(&folder.ok(&[&["sweep", "s.toml", "-o", output, "--format", "json"][..], more].concat()))
            .expect("JSON")
    };
    let before = |summary: &Value| (summary["before"].as_u64().unwrap_or(99), summary["run"].as_u64().unwrap_or(99));
    assert_eq!(before(&sweep("a.parquet", &["--grid", "cluster.replicas=1..3"])), (0, 3));
    let wide = ["--grid", "cluster.replicas=1..5"];
    assert_eq!(before(&sweep("a.parquet", &wide)), (3, 2), "points are known by what they are");
    let more = [&wide[..], &["--replications", "3"]].concat();
    assert_eq!(before(&sweep("a.parquet", &more)), (0, 5), "each has runs to come");
    sweep("b.parquet", &more);
    assert!(folder.read("a.parquet") == folder.read("b.parquet"), "grown or made at once");
    // A narrower one would lose rows.
    let args = ["sweep", "s.toml", "-o", "a.parquet", "--grid", "cluster.replicas=1..2"];
    folder.refused(&args, &["has 5 points or replications that this sweep has not", "--fresh"]);
    folder.refused(&[&args[..], &["--set", "engine.max_num_seqs=64"]].concat(), &["the scenario that is varied is", "--fresh"]);
    folder.refused(&[&args[..], &["--seed", "9"]].concat(), &["derived from 9", "--fresh"]);
}

#[test]
fn a_sweep_file_and_options_go_together() {
    let folder = Folder::new("file", "20s");
    let file = "scenario = \"s.toml\"\nreplications = 2\nseeds = \"common\"\n\n[set]\n\"cluster.router\" = \"random\"\n\n[grid]\n\
                \"cluster.replicas\" = { from = 1, to = 3 }\n\n[sample]\npoints = 4\n\n[sample.over]\n\
                \"class.chat.arrivals.rate\" = { from = 2.0, to = 20.0, scale = \"log\" }\n";
    std::fs::write(folder.path("sweep.toml"), file).expect("a file");
    let schema: Value = serde_json::from_str(&folder.ok(&["schema", "sweep"])).expect("JSON");
    let typed = toml::from_str::<Value>(file).expect("TOML");
    assert!(jsonschema::is_valid(&schema, &typed), "the schema knows it");
    folder.ok(&["sweep", "sweep.toml", "-o", "a.csv"]);
    let rows = folder.rows("a.csv");
    assert_eq!(rows.len(), 3 * 4 * 2);
    let seeds: Vec<&str> = rows[..2].iter().map(|row| row["seed"].as_str()).collect();
    assert!(rows.iter().all(|row| seeds.contains(&row["seed"].as_str())), "common to all points");
    // From another folder, and with an axis replaced.
    std::fs::create_dir_all(folder.path("elsewhere")).expect("a folder");
    folder.ok(&["sweep", "elsewhere/../sweep.toml", "-o", "b.csv", "--grid", "cluster.replicas=2"]);
    let of_two: Vec<_> = rows.iter().filter(|row| row["cluster.replicas"] == "2").map(|row| &row["ttft_ms_p95"]).collect();
    let alone = folder.rows("b.csv");
    assert_eq!(of_two, alone.iter().map(|row| &row["ttft_ms_p95"]).collect::<Vec<_>>(), "a point is itself in any sweep");
}

#[test]
fn nonsense_is_refused_before_anything_runs() {
    let folder = Folder::new("nonsense", "20s");
    let sweep = |more: &[&str], says: &[&str]| {
        folder.refused(&[&["sweep", "s.toml", "-o", "a.parquet"][..], more].concat(), says);
        assert!(!folder.path("a.parquet").exists() && !folder.path("a.parquet.journal").exists(), "{more:?} left something");
    };
    sweep(&[], &["nothing is varied", "--grid"]);
    sweep(&["--grid", "cluster.replicsa=1,2"], &["replicsa", "did you mean `replicas`?"]);
    sweep(&["--grid", "class.cat.prompt.user=1,2"], &["cat"]);
    sweep(&["--grid", "cluster.replicas"], &["expected PATH=VALUES"]);
    sweep(&["--grid", "cluster.replicas=8..1"], &["8..1"]);
    sweep(&["--grid", "cluster.replicas=1,1"], &["twice"]);
    sweep(&["--grid", "cluster.replicas=many,more"], &["cluster.replicas"]);
    sweep(&["--lhs", "5"], &["--over"]);
    sweep(&["--over", "cluster.replicas=1..3"], &["--lhs"]);
    sweep(&["--grid", "cluster.replicas=1,2", "--shard", "5/4"], &["numbered from 1"]);
    sweep(&["--grid", "cluster.replicas=1,2", "--shard", "auto"], &["auto"]);
    folder.refused(&["sweep", "s.toml", "--grid", "cluster.replicas=1,2", "--shard", "1/2"], &["--shard needs a file"]);
    folder.refused(&["sweep", "s.toml", "--grid", "cluster.replicas=1,2", "-o", "a.txt"], &["a.txt"]);
    folder.refused(&["sweep", "nowhere.toml", "--grid", "cluster.replicas=1,2"], &["nowhere.toml"]);
    folder.refused(&["sweep", "s.toml", "--grid", "cluster.replicas=1,2", "-o", "none/a.csv"], &["none/a.csv"]);
}

#[test]
fn the_readme_shows_what_is_printed() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let readme = std::fs::read_to_string(format!("{root}/README.md")).expect("a README");
    let (command, shown) = readme.split_once("$ tokentide sweep ").expect("a sweep").1.split_once('\n').expect("its output");
    let folder = Folder::new("readme", "20s");
    let run = folder.command(&["sweep"]).args(command.split(' ')).current_dir(root).output().expect("the binary starts");
    assert_eq!(String::from_utf8_lossy(&run.stdout), shown.split_once("```").expect("an end").0);
}
