//! A prompt file: which kind of template it is, and what it is with its variables put in.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::{PromptError, Unknown};
use crate::marks::Marks;
use crate::rendered::Rendered;
use crate::variable::Variables;
use crate::{handlebars, jinja, scan};

/// How a prompt file is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    Plain,
    /// Jinja, as minijinja reads it, with the methods of Python's texts, lists and dictionaries; blocks are not trimmed.
    Jinja,
    /// Handlebars; nothing is escaped.
    Handlebars,
}

impl Kind {
    /// What the ending of a file's name says: .j2, .jinja and .jinja2; .hbs and .handlebars; plain text otherwise.
    pub fn of(path: &Path) -> Kind {
        match path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("j2" | "jinja" | "jinja2") => Kind::Jinja,
            Some("hbs" | "handlebars") => Kind::Handlebars,
            _ => Kind::Plain,
        }
    }
}

/// A prompt file.
#[derive(Clone, Copy, Debug)]
pub struct PromptFile<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// How messages call it: the path as it was typed.
    pub name: &'a str,
    /// What it is; `None`: what its name says.
    pub kind: Option<Kind>,
}

impl PromptFile<'_> {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind.unwrap_or_else(|| Kind::of(self.path))
    }

    /// The file with `variables` put in. It may include files of its own folder and of folders in it, and no others.
    ///
    /// # Errors
    /// If it, or what it includes, cannot be read or is no template; if a variable has no value, or is given and not used.
    pub fn render(&self, variables: &Variables) -> Result<Rendered, PromptError> {
        let mut folder = Folder::of(self)?;
        let text = folder.main.clone();
        let kind = self.kind();
        if kind == Kind::Plain {
            return self.plain(text, variables);
        }
        let (values, marks) = Marks::set(variables);
        folder.collect(kind);
        for source in folder.texts.values() {
            marks.check(self.name, source)?;
        }
        folder.check_used(self.name, kind, variables)?;
        let rendered = match kind {
            Kind::Handlebars => handlebars::render(&folder, variables, &values)?,
            Kind::Jinja | Kind::Plain => jinja::render(&folder, variables, &values)?,
        };
        Ok(marks.cut(&rendered))
    }

    fn plain(&self, text: String, variables: &Variables) -> Result<Rendered, PromptError> {
        if !variables.is_empty() {
            let reason =
                "a plain text has no variables: say `template = \"jinja\"` or \"handlebars\", or let its name end in .j2 or .hbs";
            return Err(PromptError::of(self.name, reason));
        }
        Ok(Marks::default().cut(&text))
    }

    /// The line of a plain file, from 1, in which `{{` or `{%` occurs though nothing says what kind it is: it may be a template.
    pub fn like_a_template(&self, rendered: &Rendered) -> Option<usize> {
        let unsaid = self.kind.is_none() && self.kind() == Kind::Plain;
        let text = rendered.text().filter(|_| unsaid)?;
        let at = [text.find("{{"), text.find("{%")].into_iter().flatten().min()?;
        Some(text[..at].matches('\n').count() + 1)
    }
}

/// A prompt file and the files that it may include, which lie in its folder.
pub(crate) struct Folder {
    /// With no links in it; nothing outside is read.
    root: PathBuf,
    /// How messages call it, with its slash.
    shown: String,
    /// Name of the prompt file in the folder.
    pub(crate) name: String,
    /// Its text.
    pub(crate) main: String,
    /// Texts by name, the prompt file's among them.
    pub(crate) texts: BTreeMap<String, String>,
}

impl Folder {
    fn of(file: &PromptFile<'_>) -> Result<Folder, PromptError> {
        let unreadable = |error: std::io::Error| PromptError::of(file.name, format!("cannot read the prompt: {error}"));
        let main = std::fs::read_to_string(file.path).map_err(unreadable)?;
        let parent = file.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let root = parent.canonicalize().map_err(unreadable)?;
        let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let shown = file.name.strip_suffix(name.as_str()).unwrap_or("").to_owned();
        let texts = BTreeMap::from([(name.clone(), main.clone())]);
        Ok(Folder { root, shown, name, main, texts })
    }

    /// How messages call a file of it.
    pub(crate) fn shown(&self, name: &str) -> String {
        format!("{}{name}", self.shown)
    }

    /// Text of a file of the folder; `None` if there is no such file in it.
    pub(crate) fn read(&self, name: &str) -> Option<String> {
        let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let path = inside.then(|| self.root.join(name).canonicalize().ok()).flatten()?;
        // A link may lead out.
        path.starts_with(&self.root).then(|| std::fs::read_to_string(path).ok()).flatten()
    }

    /// Reads all files that the prompt includes by name, and those that they include.
    fn collect(&mut self, kind: Kind) {
        let mut open = vec![self.main.clone()];
        while let Some(text) = open.pop() {
            for (_, tag) in scan::tags(&text, kind) {
                let names = match kind {
                    Kind::Handlebars => scan::partial(tag).into_iter().collect(),
                    Kind::Jinja | Kind::Plain => scan::included(tag),
                };
                for name in names {
                    if !self.texts.contains_key(name)
                        && let Some(text) = self.found(name, kind)
                    {
                        self.texts.insert(name.to_owned(), text.clone());
                        open.push(text);
                    }
                }
            }
        }
    }

    /// A file by the name that it is included by: partials of Handlebars are called without their ending.
    fn found(&self, name: &str, kind: Kind) -> Option<String> {
        let endings: &[&str] = if kind == Kind::Handlebars { &["", ".hbs", ".handlebars"] } else { &[""] };
        endings.iter().find_map(|ending| self.read(&format!("{name}{ending}")))
    }

    /// Whether all variables are mentioned in some tag.
    fn check_used(&self, file: &str, kind: Kind, variables: &Variables) -> Result<(), PromptError> {
        let mut mentioned: Vec<&str> =
            self.texts.values().flat_map(|text| scan::tags(text, kind)).flat_map(|(_, tag)| scan::words(tag)).collect();
        mentioned.sort_unstable();
        mentioned.dedup();
        let Some(name) = variables.keys().find(|name| mentioned.binary_search(&name.as_str()).is_err()) else { return Ok(()) };
        let known = mentioned.into_iter().filter(|word| !variables.contains_key(*word)).map(str::to_owned).collect();
        let unknown = Some(Unknown { name: name.clone(), unused: true, known });
        Err(PromptError { unknown, ..PromptError::of(file, format!("the variable `{name}` is given and not used")) })
    }
}
