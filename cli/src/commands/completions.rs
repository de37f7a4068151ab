//! `tokentide completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// For which shell.
#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell, such as bash: `source <(tokentide completions bash)`
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs, output: &Output) -> Result<Verdict, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::args::Cli::command(), "tokentide", &mut script);
    output.text(&String::from_utf8_lossy(&script))?;
    Ok(Verdict::Pass)
}
