//! `tokentide calibrate`

mod date;
mod import;
mod op_tables;
mod vllm_layers;

use clap::{Args, Subcommand};

use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// What to do.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct CalibrateArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a cost profile of measured tables; -o FILE.toml is what cost.profile takes
    Import(import::ImportArgs),
}

/// Does it.
///
/// # Errors
/// What keeps it from doing its work.
pub fn run(args: &CalibrateArgs, output: &Output) -> Result<Verdict, Failure> {
    match &args.action {
        Action::Import(args) => import::run(args, output),
    }
}
