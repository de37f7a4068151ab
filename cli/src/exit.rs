//! How the program ends: the only place that knows exit codes.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::diagnostics::Diagnostic;

/// A command that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing failed.
    Pass,
    /// What was to be checked does not hold.
    CheckFailed,
}

/// A command that could not do its work.
#[derive(Debug)]
pub enum Failure {
    /// Bad usage, configuration or input: all that is wrong, not only the first.
    Input(Vec<Diagnostic>),
    /// The reader of stdout has closed it, as `head` does: nobody is left to tell.
    ClosedPipe,
    /// The user has interrupted it; what was done until then is told.
    Interrupted(String),
}

impl Failure {
    /// One message without a place.
    pub fn message(text: impl Into<String>) -> Failure {
        Failure::Input(vec![Diagnostic::message(text)])
    }

    /// The same with what to do about it.
    pub fn with_help(text: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure::Input(vec![Diagnostic { help: Some(help.into()), ..Diagnostic::message(text) }])
    }
}

impl From<io::Error> for Failure {
    /// For writing to stdout or to the file of `--output`.
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::message(format!("cannot write the output: {error}")),
        }
    }
}

/// The code that the program ends with: 0 done, 1 a check failed, 2 bad usage, configuration or input (clap's own code for
/// usage). A panic
/// ends with 101 by itself.
pub fn code(result: Result<Verdict, Failure>) -> ExitCode {
    match result {
        Ok(Verdict::Pass) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Ok(Verdict::CheckFailed) => ExitCode::from(1),
        Err(Failure::Input(diagnostics)) => {
            let mut stderr = anstream::stderr().lock();
            for diagnostic in &diagnostics {
                let _ = writeln!(stderr, "{}", diagnostic.render());
            }
            ExitCode::from(2)
        }
        Err(Failure::Interrupted(told)) => {
            let _ = writeln!(anstream::stderr(), "interrupted: {told}");
            ExitCode::from(130)
        }
    }
}

/// Tells who meets a panic that it is not their fault.
pub fn announce_bugs() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        let _ = writeln!(
            io::stderr(),
            "this is a bug in tokentide {}: please report it with the command and the scenario that led here",
            env!("CARGO_PKG_VERSION")
        );
    }));
}
