//! What a git repository holds, read from its objects: nothing is checked out, and its work tree is not touched.

use std::collections::{BTreeSet, HashSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::exit::Failure;

/// Files up to this are looked through for the names of other files [bytes].
const TEXT_MAX: usize = 1 << 20;

/// A repository.
pub struct Repository {
    /// Its top folder.
    pub root: PathBuf,
}

/// A commit's files.
pub struct Snapshot {
    root: PathBuf,
    /// Its hash.
    pub commit: String,
    /// Paths from the top folder, with `/`.
    files: BTreeSet<String>,
}

/// Files of a commit, written where programs can read them until this is dropped.
pub struct Extracted {
    folder: tempfile::TempDir,
}

impl Repository {
    /// The repository that `folder` is in; `None` if it is in none, or there is no git.
    pub fn of(folder: &Path) -> Option<Repository> {
        let top = git(folder, &["rev-parse", "--show-toplevel"]).ok()?;
        Some(Repository { root: PathBuf::from(text(&top)) })
    }

    /// The commit that `name` stands for.
    ///
    /// # Errors
    /// If there is none.
    pub fn commit(&self, name: &str) -> Result<Snapshot, Failure> {
        let hash = git(&self.root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")]);
        let commit = hash.map(|hash| text(&hash)).map_err(|_| {
            Failure::with_help(
                format!("`{name}` is neither a file nor a commit of this repository"),
                "name a branch, a tag or a commit that was fetched (actions/checkout: fetch-depth: 0), or a file or folder",
            )
        })?;
        let list = git(&self.root, &["ls-tree", "-r", "-z", "--name-only", &commit]).map_err(Failure::message)?;
        let names = String::from_utf8_lossy(&list);
        let files = names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Snapshot { root: self.root.clone(), commit, files })
    }

    /// What a change is compared with when nothing is said: where it left the remote's default branch, or else the local `main` or
    /// `master`; on that branch itself, its last commit. `None` in a repository without commits.
    ///
    /// # Errors
    /// If the histories do not meet, as in a clone that is too shallow.
    pub fn merge_base(&self) -> Result<Option<(String, Snapshot)>, Failure> {
        if git(&self.root, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).is_err() {
            return Ok(None);
        }
        let candidates = ["origin/HEAD", "origin/main", "origin/master", "main", "master"];
        let full = ["remotes/origin/HEAD", "remotes/origin/main", "remotes/origin/master", "heads/main", "heads/master"];
        let full = full.map(|name| format!("refs/{name}"));
        let arguments: Vec<&str> =
            ["for-each-ref", "--format=%(refname)"].into_iter().chain(full.iter().map(String::as_str)).collect();
        let there = text(&git(&self.root, &arguments).map_err(Failure::message)?);
        let known = |name: &String| there.lines().any(|line| line == name);
        let Some(branch) = candidates.into_iter().zip(&full).find(|(_, full)| known(full)).map(|(name, _)| name) else {
            return Ok(Some(("HEAD".to_owned(), self.commit("HEAD")?)));
        };
        let base = git(&self.root, &["merge-base", "HEAD", branch]).map_err(|_| {
            Failure::with_help(
                format!("HEAD and {branch} have no commit in common here: there is no base to compare with"),
                "fetch more history (actions/checkout: fetch-depth: 0; GitLab: GIT_DEPTH: 0), or name the base: --base REF",
            )
        })?;
        Ok(Some((format!("merge base with {branch}"), self.commit(&text(&base))?)))
    }

    /// The path from the top folder, if it is in this repository.
    pub fn within(&self, path: &Path) -> Option<String> {
        let (root, path) = (self.root.canonicalize().ok()?, std::path::absolute(path).ok()?);
        // The file itself may be gone from the work tree.
        let path = match (path.canonicalize(), path.parent().map(Path::canonicalize), path.file_name()) {
            (Ok(path), _, _) => path,
            (_, Some(Ok(folder)), Some(name)) => folder.join(name),
            _ => path,
        };
        slashes(path.strip_prefix(root).ok()?)
    }
}

impl Snapshot {
    /// The first letters of its hash.
    pub fn short(&self) -> &str {
        &self.commit[..self.commit.len().min(9)]
    }

    /// Its files.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// Whether it has a file of this path.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains(path)
    }

    /// A file's content; `None` if there is no such file.
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.has(path).then(|| git(&self.root, &["cat-file", "blob", &format!("{}:{path}", self.commit)]).ok()).flatten()
    }

    /// Writes the file at `path`, every file and folder of the commit that its text names between quotes, and what those name, into
    /// a folder of its own, which is removed in the end. Paths within stay as they are.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn extract(&self, path: &str) -> Result<Extracted, Failure> {
        let cannot = |e: std::io::Error| Failure::message(format!("cannot write files of {}: {e}", self.short()));
        let folder = tempfile::Builder::new().prefix("tokentide-").tempdir().map_err(cannot)?;
        let (mut seen, mut pending) = (HashSet::new(), vec![path.to_owned()]);
        while let Some(path) = pending.pop() {
            if !seen.insert(path.clone()) {
                continue;
            }
            let Some(content) = self.read(&path) else { continue };
            let target = folder.path().join(&path);
            target
                .parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| std::fs::write(&target, &content))
                .map_err(cannot)?;
            if content.len() <= TEXT_MAX
                && let Ok(text) = std::str::from_utf8(&content)
            {
                let beside = Path::new(&path).parent().unwrap_or(Path::new(""));
                pending.extend(quoted(text).filter_map(|name| joined(beside, name)).flat_map(|name| self.named(&name)));
                pending.extend(self.partials(&path));
            }
        }
        Ok(Extracted { folder })
    }

    /// What a template of Handlebars may include by its bare name: the others beside it.
    fn partials(&self, path: &str) -> Vec<String> {
        let extension = [".hbs", ".handlebars"].into_iter().find(|extension| path.ends_with(extension));
        let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let beside = |file: &&String| file[folder.len()..].find('/').is_none() && extension.is_some_and(|e| file.ends_with(e));
        self.files.range(folder.clone()..).take_while(|file| file.starts_with(&folder)).filter(beside).cloned().collect()
    }

    /// The file of this name, or all files of the folder.
    fn named(&self, name: &str) -> Vec<String> {
        if self.files.contains(name) {
            return vec![name.to_owned()];
        }
        let folder = format!("{name}/");
        self.files.range(folder.clone()..).take_while(|file| file.starts_with(&folder)).cloned().collect()
    }
}

impl Extracted {
    /// Where a file of the commit was written, if it was.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

/// What stands between quotes on one line, as the names of files do.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let between = |quote: char| text.lines().flat_map(move |line| line.split(quote).skip(1).step_by(2));
    between('"').chain(between('\'')).filter(|name| !name.is_empty() && name.len() < 1024)
}

/// `folder/name` without `.` and `..`; `None` if it leads out of the repository, or is no path of its own.
fn joined(folder: &Path, name: &str) -> Option<String> {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for part in folder.components().chain(Path::new(name).components()) {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    // The folder itself is not what is meant by ".".
    let path: PathBuf = parts.iter().collect();
    if path.as_os_str().is_empty() || path == folder { None } else { slashes(&path) }
}

fn slashes(path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path.components().map(|part| part.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().to_owned()
}

/// What git prints, or says is wrong.
fn git(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let run = Command::new("git").arg("-C").arg(folder).args(arguments).env("GIT_OPTIONAL_LOCKS", "0").output();
    let run = run.map_err(|e| format!("cannot run git: {e}"))?;
    if run.status.success() { Ok(run.stdout) } else { Err(format!("git {}: {}", arguments.join(" "), text(&run.stderr))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_between_quotes_and_joined() {
        let names: Vec<&str> = quoted("system = { file = \"../prompts/a.md\" }\n{% include 'b.md' %}\n").collect();
        assert_eq!(names, ["../prompts/a.md", "b.md"]);
        let folder = Path::new("svc/scenarios");
        assert_eq!(joined(folder, "../prompts/a.md").as_deref(), Some("svc/prompts/a.md"));
        assert_eq!(joined(folder, "./x.toml").as_deref(), Some("svc/scenarios/x.toml"));
        assert_eq!((joined(folder, "../../../etc/passwd"), joined(folder, "/etc/passwd"), joined(folder, ".")), (None, None, None));
    }
}
