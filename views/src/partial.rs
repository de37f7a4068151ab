//! A file that is there when it is whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Written under a name of its own, beside the one that it gets when it is kept; otherwise nothing is left of it.
pub struct Partial {
    path: PathBuf,
    partial: PathBuf,
    file: File,
}

impl Partial {
    /// Opens the file, so that a path that cannot be written is found before the work and not after it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: &Path) -> io::Result<Partial> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        Ok(Partial { path: path.to_owned(), file: File::create(&partial)?, partial })
    }

    /// Puts it in its place; if that fails, what was under the name before is untouched.
    ///
    /// # Errors
    /// If it cannot be put there.
    pub fn keep(self) -> io::Result<()> {
        std::fs::rename(&self.partial, &self.path)
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Of one that is kept there is none.
        let _ = std::fs::remove_file(&self.partial);
    }
}
