//! `tokentide calibrate`

mod fit;
mod import;
mod kernels;
mod live_report;
mod op_tables;
mod perf_tables;
mod probe;
mod run;
mod server;
mod validate;
mod vidur;
mod vllm_layers;

use clap::{Args, Subcommand};

use crate::args::Global;
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
    /// Measure a live server (vLLM, SGLang) from outside; the log is what a profile is fitted to
    #[command(after_help = "The log goes to --output [default: probe.jsonl]. An API key is read from TOKENTIDE_API_KEY, else \
                            from OPENAI_API_KEY, and written nowhere.")]
    Probe(Box<probe::ProbeArgs>),
    /// Profile a server's kernels, or read its traces: GPU time by class, gaps and waiting, step by step
    Kernels(Box<kernels::KernelsArgs>),
    /// Fit a cost profile to what was measured on a live server: a probe's log, or benchmarks
    Fit(fit::FitArgs),
    /// Probe, fit and validate a live server in one go, with a short report
    #[command(after_help = "The profile goes to --output. An API key is read from TOKENTIDE_API_KEY, else from \
                            OPENAI_API_KEY, and written nowhere.")]
    Run(Box<run::RunArgs>),
    /// Replay what was measured on a real server, and print how far off the predictions are
    Validate(Box<validate::ValidateProfileArgs>),
}

impl CalibrateArgs {
    /// Extensions of what is written beside text and JSON.
    pub fn writes(&self) -> &'static [&'static str] {
        match self.action {
            Action::Kernels(_) => &["parquet"],
            _ => &["toml"],
        }
    }
}

/// Does it.
///
/// # Errors
/// What keeps it from doing its work.
pub fn run(args: &CalibrateArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    match &args.action {
        Action::Import(args) => import::run(args, output),
        Action::Probe(args) => probe::run(args, global, output),
        Action::Kernels(args) => kernels::run(args, global, output),
        Action::Fit(args) => fit::run(args, output),
        Action::Run(args) => run::run(args, global, output),
        Action::Validate(args) => validate::run(args, global, output),
    }
}
