//! `tokentide trace`: what teams already log, as a workload.

pub mod fit;
pub mod import;
pub mod inspect;
pub mod page;
mod source;
pub mod transform;

use clap::{Args, Subcommand};

use crate::args::Global;
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// What to do.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Subcommand)]
enum TraceCommand {
    /// Make a trace of logs, spans, benchmark reports or published traces, and say what is in it
    Import(import::ImportArgs),
    /// Show a trace by the token: buckets, sources, limits, tenants, drift; nothing is simulated
    Inspect(inspect::InspectArgs),
    /// Make a scenario that stands for a trace, or for what a server's metrics say, and say how well it does
    Fit(fit::FitArgs),
    /// Change a trace: rate, window, top_k, history, output cap, mixtures, jitter, names
    Transform(transform::TransformArgs),
}

impl TraceArgs {
    /// Extensions of the files that it writes.
    pub fn writes(&self) -> &'static [&'static str] {
        match &self.command {
            TraceCommand::Import(_) | TraceCommand::Transform(_) => &["parquet", "pq", "csv"],
            TraceCommand::Inspect(_) => &[],
            TraceCommand::Fit(_) => &["toml"],
        }
    }
}

/// Runs it.
///
/// # Errors
/// If a file cannot be used, or written.
pub fn run(args: &TraceArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    match &args.command {
        TraceCommand::Import(args) => import::run(args, global, output),
        TraceCommand::Inspect(args) => inspect::run(args, global, output),
        TraceCommand::Fit(args) => fit::run(args, global, output),
        TraceCommand::Transform(args) => transform::run(args, global, output),
    }
}
