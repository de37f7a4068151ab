//! The files for pipelines, run as a pipeline runs them: with the program, git and a stand-in for GitHub's own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A stand-in for `gh`: writes down what it is asked, and has one comment of ours if there is a file `comment`.
const GH: &str = r#"#!/usr/bin/env bash
echo "$@" >>"$CALLS"
case "$*" in
*--paginate*) [ ! -e "$(dirname "$0")/comment" ] || echo 77 ;;
*denied*) exit 1 ;;
*--method*)
    [ ! -e "$(dirname "$0")/denied" ] || exit 1
    for word in "$@"; do case "$word" in body=@*) cp "${word#body=@}" "$(dirname "$0")/body" ;; esac; done ;;
esac
"#;

struct Pipeline {
    folder: PathBuf,
}

impl Pipeline {
    /// A project whose change is `from` to `to` in its scenario of retrieval.
    fn new(name: &str, from: &str, to: &str) -> Pipeline {
        let folder = std::env::temp_dir().join(format!("tokentide-ci-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("bin")).expect("a temporary folder");
        let pipeline = Pipeline { folder };
        let project = pipeline.project();
        let run = |command: &mut Command| assert!(command.output().expect("it starts").status.success(), "{command:?}");
        run(Command::new(env!("CARGO_BIN_EXE_tokentide")).arg("init").arg(&project));
        let git = |arguments: &[&str]| {
            let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
            run(Command::new("git").current_dir(&project).args(identity).args(arguments));
        };
        git(&["init", "-q", "-b", "main"]);
        git(&["add", "-A"]);
        git(&["commit", "-qm", "base"]);
        git(&["checkout", "-qb", "change"]);
        let scenario = project.join("scenarios/support-rag.toml");
        let text = std::fs::read_to_string(&scenario).expect("a scenario");
        std::fs::write(&scenario, text.replace(from, to)).expect("a scenario");
        git(&["commit", "-q", "--allow-empty", "-am", "change"]);
        pipeline.program("gh", GH);
        pipeline
    }

    fn project(&self) -> PathBuf {
        self.folder.join("project")
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.folder.join("bin").join(name);
        std::fs::write(&path, text).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
    }

    fn mark(&self, name: &str) {
        std::fs::write(self.folder.join("bin").join(name), "").expect("a mark");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Runs a script of bash in the project, the program in its path.
    fn bash(&self, script: &str, variables: &[(&str, &str)]) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_tokentide")).parent().expect("a folder");
        let path =
            format!("{}:{}:{}", self.folder.join("bin").display(), binary.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).current_dir(self.project()).env("PATH", path).env("CALLS", self.folder.join("calls"));
        for variable in ["TOKENTIDE_SEED", "TOKENTIDE_THREADS", "TOKENTIDE_TOKEN", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command.envs(variables.iter().copied()).output().expect("bash")
    }

    fn github(&self, variables: &[(&str, &str)]) -> (i32, String) {
        let (output, summary) = (self.folder.join("output"), self.folder.join("summary"));
        let (output, summary) = (output.display().to_string(), summary.display().to_string());
        let own = [
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_OUTPUT", &output),
            ("GITHUB_STEP_SUMMARY", &summary),
            ("PULL_REQUEST", "5"),
            ("BASE", "main"),
        ];
        let run = self.bash(&format!("{ROOT}/docs/ci/github.sh"), &[&own, variables].concat());
        (run.status.code().expect("a code"), String::from_utf8_lossy(&run.stdout).into_owned())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn yaml(name: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(ROOT).join(name)).expect("a committed file");
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn the_action_fails_annotates_and_comments() {
    let pipeline = Pipeline::new("fails", "top_k = 4", "top_k = 12");
    let (code, log) = pipeline.github(&[]);
    assert_eq!(code, 1);
    assert!(log.contains("::error file=tokentide.toml,line=") && log.contains("retrieved_tokens.p99"), "{log}");
    assert_eq!(pipeline.read("output"), "code=1\n");
    let body = pipeline.read("bin/body");
    assert!(body.starts_with("<!-- tokentide:default -->") && body.contains("`retrieved` grew 3x"), "{body}");
    assert_eq!(pipeline.read("summary"), body);
    assert!(pipeline.read("calls").contains("--method POST repos/o/r/issues/5/comments"), "{}", pipeline.read("calls"));
    pipeline.mark("comment");
    assert_eq!(pipeline.github(&[]).0, 1);
    assert!(pipeline.read("calls").contains("--method PATCH repos/o/r/issues/comments/77"), "the comment is updated");
    let before = pipeline.read("calls").lines().count();
    assert_eq!(pipeline.github(&[("COMMENT", "none"), ("ARGUMENTS", "--exit-zero --tokens-only")]).0, 0);
    assert_eq!(pipeline.read("calls").lines().count(), before);
}

#[test]
fn the_action_passes_and_does_without_a_comment() {
    let pipeline = Pipeline::new("passes", "system = 700", "system = 1000");
    pipeline.mark("denied");
    let (code, log) = pipeline.github(&[("MARKER", "prompts")]);
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("no comment could be written"), "{log}");
    assert!(pipeline.read("summary").starts_with("<!-- tokentide:prompts -->") && pipeline.read("summary").contains("nearly free"));
    let (code, log) = pipeline.github(&[("BASE", "nowhere")]);
    assert!(code == 2 && log.contains("the check could not be made"), "{log}");
}

#[test]
fn the_files_are_what_they_are_to_be() {
    let action = yaml("action.yml");
    assert_eq!(action["runs"]["using"], "composite");
    let inputs = action["inputs"].as_object().expect("inputs");
    for step in action["runs"]["steps"].as_array().expect("steps") {
        for value in step["env"].as_object().into_iter().flat_map(|env| env.values()).filter_map(Value::as_str) {
            let named = value.split("inputs.").nth(1).map(|rest| rest.split([' ', '}']).next().unwrap_or_default());
            assert!(named.is_none_or(|name| inputs.contains_key(name)), "{value}");
        }
    }
    let run = action["runs"]["steps"][2]["run"].as_str().expect("a command");
    assert!(run.contains("docs/ci/github.sh") && Path::new(ROOT).join("docs/ci/github.sh").is_file());
    let workflow = yaml("docs/ci/github.yml");
    assert_eq!(workflow["jobs"]["check"]["steps"][0]["with"]["fetch-depth"], 0);
    assert_eq!(workflow["permissions"]["pull-requests"], "write");
}

#[test]
fn the_job_of_gitlab_runs() {
    let pipeline = Pipeline::new("gitlab", "top_k = 4", "top_k = 12");
    let job = &yaml("docs/ci/gitlab.yml")["tokentide"];
    let lines: Vec<&str> = job["script"].as_array().expect("a script").iter().filter_map(Value::as_str).collect();
    // As GitLab runs them: one after the other, in a shell that stops at the first failure.
    let script = format!("set -eo pipefail\n{}", lines.join("\n"));
    let run = pipeline.bash(&script, &[("CI_MERGE_REQUEST_DIFF_BASE_SHA", "main")]);
    assert_eq!(run.status.code(), Some(1), "{}", String::from_utf8_lossy(&run.stderr));
    let report = job["artifacts"]["reports"]["junit"].as_str().expect("a report");
    let report = std::fs::read_to_string(pipeline.project().join(report)).expect("the report");
    assert!(report.contains("<failure message=\"retrieved_tokens.p99 &lt;= 3000"), "{report}");
    assert!(pipeline.project().join("tokentide.md").is_file());
}

#[test]
fn the_hooks_run_on_what_is_about_to_be_committed() {
    let pipeline = Pipeline::new("hooks", "top_k = 4", "top_k = 4");
    let hooks = yaml(".pre-commit-hooks.yaml");
    let entry = hooks[0]["entry"].as_str().expect("an entry");
    assert_eq!(pipeline.bash(entry, &[]).status.code(), Some(0));
    let scenario = pipeline.project().join("scenarios/support-rag.toml");
    let text = std::fs::read_to_string(&scenario).expect("a scenario");
    std::fs::write(&scenario, text.replace("top_k = 4", "top_k = 12")).expect("a scenario");
    assert_eq!(pipeline.bash(entry, &[]).status.code(), Some(1));
    let validate = hooks[1]["entry"].as_str().expect("an entry");
    assert_eq!(pipeline.bash(&format!("{validate} scenarios/*.toml"), &[]).status.code(), Some(0));
    let files = hooks[0]["files"].as_str().expect("a pattern");
    assert!(files.contains("tokentide") && files.contains("prompts"));
}
