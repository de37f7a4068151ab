//! The command line of tokentide: parses, hands over to one function per command, and ends with an exit code.

mod args;
mod commands;
mod definitions;
mod diagnostics;
mod engine;
mod exit;
mod git;
mod interrupt;
mod output;
mod progress;
mod review;
mod suggest;
mod text;
mod validation;
mod views;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    exit::announce_bugs();
    let args = args::Cli::parse();
    exit::code(commands::run(args))
}
