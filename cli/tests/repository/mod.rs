//! A project in a git repository of its own, as the tests of `diff` and `check` need one.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A folder of its own, removed in the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tokentide-compare-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("a file")
    }

    /// Replaces `from` by `to` in a file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "no `{from}` in {name}");
        self.write(name, &text.replace(from, to));
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").current_dir(&self.0).args(identity).args(arguments).output().expect("git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
        for variable in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "TOKENTIDE_SEED", "TOKENTIDE_THREADS", "CI"] {
            command.env_remove(variable);
        }
        command.args(arguments).current_dir(&self.0).output().expect("the binary starts")
    }

    /// Exit code and output.
    pub fn out(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let code = output.status.code().expect("a code");
        assert!(code != 2 && code != 101, "{arguments:?}: {stderr}");
        (code, stdout.into_owned())
    }

    pub fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, text) = self.out(&[arguments, &["--format", "json"]].concat());
        (code, serde_json::from_str(&text).expect("JSON"))
    }

    /// What is said on the way to exit code 2.
    pub fn refused(&self, arguments: &[&str], says: &[&str]) {
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
pub fn project(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.git(&["init", "-q", "-b", "main"]);
    assert_eq!(folder.run(&["init", "."]).status.code(), Some(0));
    folder.git(&["add", "-A"]);
    folder.git(&["commit", "-qm", "base"]);
    folder
}

/// The scenario that is changed.
pub const RAG: &str = "scenarios/support-rag.toml";
