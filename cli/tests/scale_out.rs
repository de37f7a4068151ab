//! The templates of docs/scale-out, run as their schedulers run them, and the page that shows them.
//!
//! `TOKENTIDE_BLESS=1` with this test writes them into the page anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

fn template(name: &str) -> String {
    std::fs::read_to_string(Path::new(DOCS).join("scale-out").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A folder with the sweep of the templates and its scenario, both made small, removed at the end.
struct Cluster(PathBuf);

impl Cluster {
    fn new(name: &str) -> Cluster {
        let folder = std::env::temp_dir().join(format!("tokentide-scale-out-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("results")).expect("a temporary folder");
        let sweep = template("sweep.toml");
        let small = sweep.replace("points = 40", "points = 2") + "\n[set]\nduration = \"20s\"\nwarmup = \"0s\"\n";
        std::fs::write(folder.join("sweep.toml"), small).expect("a file");
        std::fs::copy(Path::new(DOCS).join("../scenarios/support-rag.toml"), folder.join("support-rag.toml")).expect("a scenario");
        Cluster(folder)
    }

    /// Runs a line of a shell with the program in its path.
    fn shell(&self, line: &str, variables: &[(&str, String)]) {
        let binary = Path::new(env!("CARGO_BIN_EXE_tokentide")).parent().expect("a folder");
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.args(["-c", line]).current_dir(&self.0).env("PATH", path);
        for variable in ["TOKENTIDE_SEED", "TOKENTIDE_THREADS", "TOKENTIDE_SHARDS"] {
            command.env_remove(variable);
        }
        let run = command.envs(variables.iter().cloned()).output().expect("bash");
        assert!(run.status.success(), "{line}: {}", String::from_utf8_lossy(&run.stderr));
    }

    /// Whether what was merged is the sweep made at once.
    fn is_whole(&self, merged: &str) {
        self.shell("tokentide sweep sweep.toml -o whole.parquet", &[]);
        let read = |name: &str| std::fs::read(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(read("whole.parquet") == read(merged), "{merged} differs from the sweep made at once");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The command of a job's only container as a line of a shell, its folders being ours.
fn line(job: &Value, folder: &Path) -> String {
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let mounts: Vec<&str> = array(&container["volumeMounts"]).iter().filter_map(|mount| mount["mountPath"].as_str()).collect();
    assert!(mounts.contains(&"/results"), "{container}");
    let word = |word: &Value| {
        let text = word.as_str().expect("a text").replace("/sweep/", &format!("{}/", folder.display()));
        format!("'{}'", text.replace("/results/", &format!("{}/results/", folder.display())))
    };
    array(&container["command"]).iter().map(word).collect::<Vec<_>>().join(" ")
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

#[test]
fn an_indexed_job_runs_every_shard() {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&template("kubernetes.yaml")).expect("YAML");
    let [claim, sweep, merge] = documents.as_slice() else { panic!("a claim and two jobs") };
    let spec = &sweep["spec"];
    let completions = spec["completions"].as_u64().expect("a number");
    assert_eq!((spec["completionMode"].as_str(), spec["parallelism"].as_u64()), (Some("Indexed"), Some(completions)));
    for job in [sweep, merge] {
        let pod = &job["spec"]["template"]["spec"];
        // The names of Kubernetes' API (batch/v1, v1): a mistyped one is ignored or refused, never seen here.
        assert_eq!((&job["apiVersion"], &job["kind"], &pod["restartPolicy"]), (&"batch/v1".into(), &"Job".into(), &"Never".into()));
        let volume = array(&pod["volumes"]).iter().find(|volume| volume["name"] == "results").expect("a volume");
        assert_eq!(volume["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"]);
        for mount in array(&pod["containers"][0]["volumeMounts"]) {
            assert!(array(&pod["volumes"]).iter().any(|volume| volume["name"] == mount["name"]), "{mount} has no volume");
        }
    }
    assert!(
        array(&sweep["spec"]["template"]["spec"]["containers"][0]["command"])
            .contains(&format!("--shard=auto/{completions}").into())
    );
    let cluster = Cluster::new("kubernetes");
    for index in (0..completions).rev() {
        cluster.shell(&line(sweep, &cluster.0), &[("JOB_COMPLETION_INDEX", index.to_string())]);
    }
    cluster.shell(&line(merge, &cluster.0), &[]);
    cluster.is_whole("results/all.parquet");
}

#[test]
fn a_slurm_array_runs_every_shard() {
    let script = template("slurm.sh");
    let (first, last) = script
        .lines()
        .find_map(|line| line.strip_prefix("#SBATCH --array="))
        .and_then(|range| range.split_once('-'))
        .map(|(first, last)| (first.parse::<u64>().expect("a number"), last.parse::<u64>().expect("a number")))
        .expect("an array");
    let cluster = Cluster::new("slurm");
    std::fs::write(cluster.0.join("slurm.sh"), &script).expect("a file");
    for task in first..=last {
        let variables = [("ID", task), ("MIN", first), ("MAX", last), ("STEP", 1), ("COUNT", last - first + 1)];
        let names = [
            "SLURM_ARRAY_TASK_ID",
            "SLURM_ARRAY_TASK_MIN",
            "SLURM_ARRAY_TASK_MAX",
            "SLURM_ARRAY_TASK_STEP",
            "SLURM_ARRAY_TASK_COUNT",
        ];
        let variables: Vec<(&str, String)> =
            names.into_iter().zip(variables).map(|(name, (_, value))| (name, value.to_string())).collect();
        cluster.shell("bash slurm.sh", &variables);
    }
    let merge = script.lines().find_map(|line| line.split_once("--wrap '")).expect("a merge").1.trim_end_matches('\'');
    cluster.shell(merge, &[]);
    cluster.is_whole("results/all.parquet");
}

#[test]
fn parallel_jobs_of_gitlab_run_every_shard() {
    let jobs: Value = serde_saphyr::from_str(&template("gitlab.yml")).expect("YAML");
    let total = jobs["sweep"]["parallel"].as_u64().expect("a number");
    let script =
        |job: &str| array(&jobs[job]["script"]).iter().map(|l| l.as_str().expect("a line")).collect::<Vec<_>>().join(" && ");
    let cluster = Cluster::new("gitlab");
    for index in 1..=total {
        cluster.shell(&script("sweep"), &[("CI_NODE_INDEX", index.to_string()), ("CI_NODE_TOTAL", total.to_string())]);
    }
    cluster.shell(&script("merge"), &[]);
    cluster.is_whole("all.parquet");
}

#[test]
fn the_page_shows_the_templates() {
    let page = Path::new(DOCS).join("scale-out.md");
    let text = std::fs::read_to_string(&page).expect("a page");
    let mut shown = Vec::new();
    let mut made = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("<!-- ") {
        let (name, after) = after.split_once(" -->\n```").expect("a block after the name of its file");
        let (language, after) = after.split_once('\n').expect("a block");
        let end = if after.starts_with("```") { 0 } else { after.find("\n```").expect("an end of the block") + 1 };
        made += &format!("{before}<!-- {name} -->\n```{language}\n{}```", template(name));
        rest = &after[end + 3..];
        shown.push(name.to_owned());
    }
    made += rest;
    if std::env::var_os("TOKENTIDE_BLESS").is_some() {
        std::fs::write(&page, &made).expect("the page can be written");
        return;
    }
    assert!(made == text, "docs/scale-out.md shows other templates; TOKENTIDE_BLESS=1 with this test writes them anew");
    let mut files: Vec<String> = std::fs::read_dir(Path::new(DOCS).join("scale-out"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    shown.sort();
    assert_eq!(files, shown, "every template is shown");
}
