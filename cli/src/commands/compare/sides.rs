//! Which scenarios are compared with which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokentide_compare::Pair;
use tokentide_compare::changes::settings;
use tokentide_compare::project::{FILE, Project, read_budgets};
use tokentide_compare::side::Subject;

use crate::engine::{self, Input, Loaded};
use crate::exit::Failure;
use crate::git::{Extracted, Repository, Snapshot};

/// What is typed of the two sides.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// Positional: head, or base and head.
    pub sides: Vec<PathBuf>,
    /// `--base`.
    pub base: Option<String>,
    /// `--no-base`.
    pub no_base: bool,
    /// `--head`.
    pub head: Option<PathBuf>,
    /// `--set`, of the head.
    pub set: Vec<(String, String)>,
    /// `--seed`, of both.
    pub seed: Option<u64>,
    /// `--on`: what traces are replayed on.
    pub on: Option<PathBuf>,
}

/// Both sides, read.
pub struct Sides {
    /// What the head is compared with, in words.
    pub base: Option<String>,
    /// What is compared, in words.
    pub head: String,
    /// The scenarios.
    pub pairs: Vec<Pair>,
    /// The project of the head.
    pub project: Project,
    /// Its file, if it has one.
    pub project_file: Option<PathBuf>,
    /// Traces without a deployment: only their tokens can be told.
    pub tokens_only: bool,
    /// What the user should know of the choice.
    pub notes: Vec<String>,
    /// Files of the base, for as long as it may be run.
    _kept: Vec<Extracted>,
}

/// Where the head's scenarios are.
struct Head {
    words: String,
    project: Project,
    project_file: Option<PathBuf>,
    /// Scenario files by name: their path from the folder of the side.
    files: Vec<(String, PathBuf)>,
    /// What the names are relative to.
    folder: PathBuf,
}

/// Where the base's scenarios are.
enum Base {
    None,
    Commit(Repository, Snapshot),
    /// One scenario or trace.
    File(PathBuf),
    /// A folder with the same files.
    Folder(PathBuf),
    /// The head's own files, without `--set`.
    Same,
}

/// Reads both sides.
///
/// # Errors
/// All that is wrong with any of it.
pub fn read(typed: &Typed) -> Result<Sides, Failure> {
    let (base_path, head_path) = match (typed.sides.as_slice(), &typed.base, &typed.head) {
        ([base, head], None, None) => (Some(base.display().to_string()), Some(head.clone())),
        ([_, _], ..) => return Err(Failure::message("base and head are given twice: by position and by --base or --head")),
        ([head], base, None) => (base.clone(), Some(head.clone())),
        ([_], _, Some(_)) => return Err(Failure::message("the head is given twice: by position and by --head")),
        ([], base, head) => (base.clone(), head.clone()),
        _ => return Err(Failure::with_help("more than two sides", "give HEAD, or BASE and HEAD")),
    };
    let head = find_head(head_path.as_deref())?;
    let (base, words, notes) = find_base(base_path.as_deref(), &head, typed)?;
    let traces = head.files.iter().any(|(_, path)| is_trace(path));
    fits(typed, &head, &base, traces)?;
    let (mut pairs, mut kept) = (Vec::new(), Vec::new());
    for (name, path) in &head.files {
        let loaded = load(path, typed, &typed.set)?;
        let text = if is_trace(path) { "" } else { loaded.text.as_str() };
        let budgets = read_budgets(&loaded.checks, &path.display().to_string(), text).map_err(engine::diagnostics)?;
        let budgets =
            budgets.into_iter().map(|b| tokentide_compare::budget::Budget { scenario: Some(loaded.scenario.name.clone()), ..b });
        let (budgets, base) = (budgets.collect(), base_subject(&base, path, name, (&head.project, typed), &mut kept)?);
        pairs.push(Pair { name: loaded.scenario.name.clone(), base, head: Some(subject(loaded, &typed.set)), budgets });
    }
    for (name, subject) in removed(&base, &head, typed, &mut kept)? {
        pairs.push(Pair { name, base: Some(subject), head: None, budgets: Vec::new() });
    }
    name_apart(&mut pairs, &head);
    Ok(Sides {
        base: words,
        head: head.words,
        pairs,
        project: head.project,
        project_file: head.project_file,
        tokens_only: traces && typed.on.is_none(),
        notes,
        _kept: kept,
    })
}

/// What was typed goes together.
fn fits(typed: &Typed, head: &Head, base: &Base, traces: bool) -> Result<(), Failure> {
    let several = head.files.len() > 1;
    let names = || head.files.iter().map(|(_, path)| path.display().to_string()).collect::<Vec<_>>().join(", ");
    match base {
        _ if several && !typed.set.is_empty() => {
            Err(Failure::with_help("--set changes one scenario, and there are several", format!("name one of {}", names())))
        }
        Base::File(file) if several => Err(Failure::with_help(
            format!("the base `{}` is one file, and the head has several", file.display()),
            format!("name one of {}, or a folder as the base", names()),
        )),
        _ if typed.on.is_some() && !traces => Err(Failure::message("--on is for traces, and none is compared")),
        _ => Ok(()),
    }
}

/// The scenario of a folder that the head's is compared with: by its path in the folder, or else by its file's name.
fn twin(folder: &Path, name: &str, project: &Project) -> Option<PathBuf> {
    let same = folder.join(name);
    if same.is_file() {
        return Some(same);
    }
    let file = Path::new(name).file_name()?;
    let files = scenario_files(folder, &Project { scenarios_typed: false, ..project.clone() }).ok()?;
    files.into_iter().map(|(_, path)| path).find(|path| path.file_name() == Some(file))
}

/// Scenarios of the same name are told apart by their files.
fn name_apart(pairs: &mut [Pair], head: &Head) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    pairs.iter().for_each(|pair| *seen.entry(pair.name.clone()).or_default() += 1);
    for (pair, (file, _)) in pairs.iter_mut().zip(&head.files) {
        if seen[&pair.name] > 1 {
            pair.name.clone_from(file);
        }
    }
}

fn find_head(path: Option<&Path>) -> Result<Head, Failure> {
    match path {
        Some(path) if path.is_file() => {
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let (project, project_file) = project_above(path)?;
            Ok(Head { words: path.display().to_string(), project, project_file, files: vec![(name, path.to_owned())], folder })
        }
        Some(path) if !path.exists() => {
            Err(Failure::message(format!("cannot read `{}`: there is no such file or folder", path.display())))
        }
        Some(folder) => {
            let file = folder.join(FILE);
            let project = if file.is_file() { parse_project(&file)? } else { Project::default() };
            let files = scenario_files(folder, &project)?;
            let project_file = file.is_file().then_some(file);
            Ok(Head { words: folder.display().to_string(), project, project_file, files, folder: folder.to_owned() })
        }
        None => {
            let here = std::env::current_dir().map_err(|e| Failure::message(format!("no working directory: {e}")))?;
            let (project, project_file) = project_above(&here.join("x"))?;
            let Some(file) = &project_file else {
                return Err(Failure::with_help(
                    format!("there is no {FILE} here or above"),
                    "`tokentide init DIR` writes one; or name a scenario: tokentide diff BASE.toml HEAD.toml",
                ));
            };
            let folder = file.parent().unwrap_or(Path::new("")).to_owned();
            let shown = folder.strip_prefix(&here).map_or_else(|_| folder.clone(), Path::to_owned);
            let files = scenario_files(&shown, &project)?;
            Ok(Head { words: "work tree".to_owned(), project, project_file, files, folder: shown })
        }
    }
}

/// The project file in the folder of `path` or above it.
fn project_above(path: &Path) -> Result<(Project, Option<PathBuf>), Failure> {
    let absolute = std::path::absolute(path).map_err(|e| Failure::message(format!("cannot find `{}`: {e}", path.display())))?;
    let file = absolute.ancestors().skip(1).map(|folder| folder.join(FILE)).find(|file| file.is_file());
    Ok(match file {
        Some(file) => (parse_project(&file)?, Some(file)),
        None => (Project::default(), None),
    })
}

fn parse_project(file: &Path) -> Result<Project, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| Failure::message(format!("cannot read `{}`: {e}", file.display())))?;
    let here = std::env::current_dir().unwrap_or_default();
    let name = file.strip_prefix(&here).unwrap_or(file).display().to_string();
    Project::parse(&text, &name).map_err(engine::diagnostics)
}

/// The scenario files of a folder, by the project's patterns; of a folder that is no project also those right in it.
fn scenario_files(folder: &Path, project: &Project) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut files = Vec::new();
    let patterns = project.scenarios.iter().map(String::as_str);
    let more = if project.scenarios_typed { None } else { Some("*.toml") };
    for pattern in patterns.chain(more) {
        let whole = folder.join(pattern);
        let found =
            glob::glob(&whole.display().to_string()).map_err(|e| Failure::message(format!("`{pattern}` is no pattern: {e}")))?;
        let mut found: Vec<PathBuf> = found.filter_map(Result::ok).filter(|path| path.is_file()).collect();
        found.retain(|path| path.file_name().is_some_and(|name| name != FILE));
        if found.is_empty() && project.scenarios_typed {
            return Err(Failure::message(format!("no scenario matches `{}`", whole.display())));
        }
        files.extend(found);
    }
    files.sort();
    files.dedup();
    if files.is_empty() {
        let help = format!("it would be in scenarios/, or where [project] scenarios of {FILE} says");
        return Err(Failure::with_help(format!("there is no scenario in `{}`", folder.display()), help));
    }
    let named = |path: PathBuf| (path.strip_prefix(folder).unwrap_or(&path).display().to_string(), path);
    Ok(files.into_iter().map(named).collect())
}

/// The base, how it is called, and what is to be said of it.
fn find_base(typed: Option<&str>, head: &Head, all: &Typed) -> Result<(Base, Option<String>, Vec<String>), Failure> {
    let Some(name) = typed else {
        if all.no_base {
            return Ok((Base::None, None, Vec::new()));
        }
        if !all.set.is_empty() {
            return Ok((Base::Same, Some(format!("{} as it is", head.words)), Vec::new()));
        }
        let folder = if head.folder.as_os_str().is_empty() { Path::new(".") } else { head.folder.as_path() };
        let Some(repository) = Repository::of(folder) else {
            return Ok((
                Base::None,
                None,
                vec!["this is no git repository: there is no base, and relative checks are skipped".to_owned()],
            ));
        };
        return Ok(match repository.merge_base()? {
            Some((words, commit)) => {
                let words = format!("{words} ({})", commit.short());
                (Base::Commit(repository, commit), Some(words), Vec::new())
            }
            None => (Base::None, None, vec!["the repository has no commit yet: there is no base".to_owned()]),
        });
    };
    let path = Path::new(name);
    if path.is_file() {
        return Ok((Base::File(path.to_owned()), Some(name.to_owned()), Vec::new()));
    }
    if path.is_dir() {
        return Ok((Base::Folder(path.to_owned()), Some(name.to_owned()), Vec::new()));
    }
    let folder = if head.folder.as_os_str().is_empty() { Path::new(".") } else { head.folder.as_path() };
    let Some(repository) = Repository::of(folder) else {
        return Err(Failure::message(format!("`{name}` is no file, and this is no git repository")));
    };
    let commit = repository.commit(name)?;
    let words = if commit.commit.starts_with(name) { commit.short().to_owned() } else { format!("{name} ({})", commit.short()) };
    Ok((Base::Commit(repository, commit), Some(words), Vec::new()))
}

/// The base of the head's file at `path`, if there is one.
fn base_subject(
    base: &Base,
    path: &Path,
    name: &str,
    (project, typed): (&Project, &Typed),
    kept: &mut Vec<Extracted>,
) -> Result<Option<Subject>, Failure> {
    match base {
        Base::None => Ok(None),
        Base::Same => Ok(Some(subject(load(path, typed, &[])?, &[]))),
        Base::File(file) => Ok(Some(subject(load(file, typed, &[])?, &[]))),
        Base::Folder(folder) => match twin(folder, name, project) {
            Some(file) => Ok(Some(subject(load(&file, typed, &[])?, &[]))),
            None => Ok(None),
        },
        Base::Commit(repository, commit) => match repository.within(path) {
            Some(path) => committed(commit, &path, typed, kept),
            None => Ok(None),
        },
    }
}

/// A scenario of a commit. Its files are kept for as long as it may be run: traces are read as they are replayed.
fn committed(commit: &Snapshot, path: &str, typed: &Typed, kept: &mut Vec<Extracted>) -> Result<Option<Subject>, Failure> {
    if !commit.has(path) {
        return Ok(None);
    }
    let files = commit.extract(path)?;
    let file = files.path(path);
    kept.push(files);
    if is_trace(Path::new(path)) {
        return Ok(Some(subject(load(&file, typed, &[])?, &[])));
    }
    let text =
        std::fs::read_to_string(&file).map_err(|e| Failure::message(format!("cannot read {path} of {}: {e}", commit.short())))?;
    let input = Input { seed: typed.seed, ..Input::default() };
    let folder = file.parent().unwrap_or(Path::new("."));
    let loaded = engine::load_text(&format!("{}:{path}", commit.short()), text, folder, &input)?;
    Ok(Some(subject(loaded, &[])))
}

/// Scenarios of the base that the head no longer has.
fn removed(base: &Base, head: &Head, typed: &Typed, kept: &mut Vec<Extracted>) -> Result<Vec<(String, Subject)>, Failure> {
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let gone = |name: &str| head.files.iter().all(|(file, _)| file != name);
    let gone_by_name = |name: &str| gone(name) && head.files.iter().all(|(file, _)| last(file) != last(name));
    let mut found = Vec::new();
    match base {
        Base::Folder(folder) => {
            for (name, path) in scenario_files(folder, &head.project)? {
                if gone_by_name(&name) {
                    let subject = subject(load(&path, typed, &[])?, &[]);
                    found.push((subject.scenario.name.clone(), subject));
                }
            }
        }
        Base::Commit(repository, commit) if head.project_file.is_some() && head.files.len() != 1 => {
            let folder =
                repository.within(&head.folder.join("x")).and_then(|x| x.strip_suffix('x').map(str::to_owned)).unwrap_or_default();
            let patterns: Vec<glob::Pattern> =
                head.project.scenarios.iter().filter_map(|p| glob::Pattern::new(&format!("{folder}{p}")).ok()).collect();
            for path in commit.files().filter(|path| patterns.iter().any(|p| p.matches(path))) {
                if gone(path.strip_prefix(&folder).unwrap_or(path))
                    && let Some(subject) = committed(commit, path, typed, kept)?
                {
                    found.push((subject.scenario.name.clone(), subject));
                }
            }
        }
        _ => {}
    }
    Ok(found)
}

/// Whether a file is a trace and no scenario.
pub fn is_trace(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    [".csv", ".jsonl", ".parquet", ".csv.gz", ".jsonl.gz"].iter().any(|ending| name.ends_with(ending))
}

/// A scenario file, or a trace on the deployment that was named.
fn load(path: &Path, typed: &Typed, set: &[(String, String)]) -> Result<Loaded, Failure> {
    let trace = is_trace(path);
    let scenario = if trace { typed.on.clone() } else { Some(path.to_owned()) };
    let trace = trace.then(|| path.to_owned());
    let name = trace.as_ref().and_then(|t| t.file_stem()).map(|stem| stem.to_string_lossy().into_owned());
    let mut loaded = engine::load(&Input { scenario, trace, set: set.to_vec(), seed: typed.seed })?;
    if let Some(name) = name {
        loaded.scenario.name = name;
    }
    Ok(loaded)
}

fn subject(loaded: Loaded, set: &[(String, String)]) -> Subject {
    let typed = settings(&loaded.text, set);
    Subject { scenario: loaded.scenario, rows: loaded.rows, typed }
}
