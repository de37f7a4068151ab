//! The files of the repository: what lies in the workspace and is not ignored.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// One file.
pub struct Tracked {
    /// From the workspace's root on, with slashes.
    pub path: String,
    /// Size [bytes].
    pub bytes: u64,
    /// Its text, if it is one.
    pub text: Option<String>,
}

/// The workspace's root.
pub fn root() -> PathBuf {
    PathBuf::from(ROOT)
}

/// All files, in order of their paths.
pub fn files() -> Vec<Tracked> {
    let ignore = fs::read_to_string(root().join(".gitignore")).expect("the workspace has a .gitignore");
    let ignored: Vec<&str> = ignore.lines().map(|line| line.trim_matches('/')).chain([".git"]).collect();
    let mut paths = Vec::new();
    walk(&root(), &ignored, &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a file just listed");
        let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
        Tracked { path: relative, bytes: bytes.len() as u64, text: String::from_utf8(bytes).ok() }
    };
    paths.into_iter().map(read).collect()
}

fn walk(folder: &Path, ignored: &[&str], paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace") {
        let entry = entry.expect("an entry of a folder");
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let matches = |pattern: &&str| pattern.strip_prefix('*').map_or(*pattern == name, |ending| name.ends_with(ending));
        if ignored.iter().any(|pattern| !pattern.is_empty() && matches(pattern)) {
            continue;
        }
        let kind = entry.file_type().expect("the type of an entry");
        if kind.is_dir() {
            walk(&entry.path(), ignored, paths);
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
}
