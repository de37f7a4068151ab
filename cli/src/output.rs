//! Where data goes: stdout or a file, and nothing else ever goes there. Notes go to stderr.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::args::{Color, Format, Global};
use crate::exit::Failure;

/// Characters per line where nobody says how many there are.
const WIDTH: usize = 100;

/// Where data goes, and as what.
pub struct Output {
    path: Option<PathBuf>,
    color: ColorChoice,
    /// Format of the data.
    pub format: Format,
    /// No notes.
    pub quiet: bool,
    /// More detail.
    pub verbose: bool,
}

impl Output {
    /// As the options say. `also`: extensions of what the command itself writes, beside text and JSON, such as TOML; `compares`: it
    /// writes the formats of a review as well.
    ///
    /// # Errors
    /// If a format is asked for, by name or by the extension of `--output`, that the command does not write, or the output's folder
    /// is not there: told before the work and not after it.
    pub fn new(global: &Global, also: &[&str], compares: bool) -> Result<Output, Failure> {
        let color = match global.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        color.write_global();
        let extension = global.output.as_ref().and_then(|p| p.extension()).and_then(|e| e.to_str()).unwrap_or_default();
        let format = match (global.format, extension.to_ascii_lowercase().as_str()) {
            (Some(format), _) => format,
            (None, "json") => Format::Json,
            (None, "md") if compares => Format::Markdown,
            (None, "xml") if compares => Format::Junit,
            (None, extension) if also.contains(&extension) => Format::Text,
            (None, "parquet" | "csv" | "html" | "yaml" | "toml") => {
                return Err(Failure::with_help(
                    format!("--output writes text or JSON, not .{extension}"),
                    "name the file .json or .txt; `simulate --records FILE` writes one row per request as Parquet or CSV",
                ));
            }
            _ => Format::Text,
        };
        if !compares && !matches!(format, Format::Text | Format::Json) {
            return Err(Failure::message("this command writes text or JSON: the other formats are those of `diff` and `check`"));
        }
        if let Some(path) = &global.output {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
            if path.is_dir() || folder.is_some_and(|f| !f.is_dir()) {
                let why = if path.is_dir() { "it is a folder" } else { "its folder is not there" };
                return Err(Failure::message(format!("cannot write `{}`: {why}", path.display())));
            }
        }
        Ok(Output { path: global.output.clone(), color, format, quiet: global.quiet, verbose: global.verbose })
    }

    /// Writes styled text.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        match &self.path {
            None => {
                let mut stdout = anstream::stdout().lock();
                stdout.write_all(text.as_bytes())?;
                Ok(stdout.flush()?)
            }
            Some(path) => {
                let cannot = |error: io::Error| Failure::message(format!("cannot write `{}`: {error}", path.display()));
                let styled = if self.color == ColorChoice::Always { ColorChoice::Always } else { ColorChoice::Never };
                let mut file = AutoStream::new(File::create(path).map_err(cannot)?, styled);
                file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(cannot)
            }
        }
    }

    /// Writes JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Failure::message(format!("cannot write JSON: {e}")))?;
        self.text(&(text + "\n"))
    }

    /// Something that the user should know but a program should not read.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "note: {text}");
        }
    }

    /// The same to stdout, for what is told beside a file that the command has written itself.
    pub fn beside_file(&self) -> Output {
        Output { path: None, ..*self }
    }

    /// The file that data goes to, if it is not stdout.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Characters per line.
    pub fn width(&self) -> usize {
        let said = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
        let terminal = || match self.path.is_none() && io::stdout().is_terminal() {
            true => comfy_table::Table::new().width().map(usize::from),
            false => None,
        };
        said.or_else(terminal).unwrap_or(WIDTH)
    }
}
