//! `tokentide man`

use clap::{Args, CommandFactory};

use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::suggest::closest;

/// Of which command.
#[derive(Args)]
pub struct ManArgs {
    /// A command; without it the page of tokentide: `tokentide man | man -l -`
    command: Option<String>,
}

/// Prints a page in roff.
pub fn run(args: &ManArgs, output: &Output) -> Result<Verdict, Failure> {
    let mut root = crate::args::Cli::command();
    root.build();
    let page = match &args.command {
        None => root,
        Some(name) => {
            let names: Vec<String> = root.get_subcommands().map(|c| c.get_name().to_owned()).collect();
            let found = root.find_subcommand(name).cloned();
            found.ok_or_else(|| unknown(name, &names))?
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    output.text(&String::from_utf8_lossy(&text))?;
    Ok(Verdict::Pass)
}

fn unknown(name: &str, names: &[String]) -> Failure {
    let help = match closest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("commands are {}", names.join(", ")),
    };
    Failure::with_help(format!("there is no command `{name}`"), help)
}
