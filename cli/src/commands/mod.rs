//! One file per command: what was typed in, a verdict out.

pub mod calibrate;
pub mod compare;
pub mod completions;
pub mod describe;
pub mod emit;
pub mod explain;
pub mod init;
pub mod listing;
pub mod man;
pub mod plan;
pub mod report;
pub mod schema;
pub mod simulate;
pub mod sweep;
pub mod trace;
pub mod validate;

use crate::args::{Cli, Command};
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// What keeps it from doing its work.
pub fn run(cli: Cli) -> Result<Verdict, Failure> {
    let also: &[&str] = match &cli.command {
        Command::Calibrate(args) => args.writes(),
        Command::Emit(_) => &["yaml", "yml", "sh"],
        Command::Report(_) => &["html", "htm"],
        Command::Trace(args) => args.writes(),
        Command::Sweep(_) | Command::Merge(_) => &["parquet", "pq", "csv"],
        _ => &[],
    };
    let compares = matches!(cli.command, Command::Diff(_) | Command::Check(_));
    let output = Output::new(&cli.global, also, compares)?;
    if let Some(threads) = cli.global.threads {
        // Fails only if the pool is already there; nothing has used it yet.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.get().min(tokentide_sim::run::THREADS_MAX)).build_global();
    }
    match &cli.command {
        Command::Simulate(args) => simulate::run(args, &cli.global, &output),
        Command::Plan(args) => plan::run(args, &cli.global, &output),
        Command::Sweep(args) => sweep::run(args, &cli.global, &output),
        Command::Merge(args) => sweep::merge::run(args, &cli.global, &output),
        Command::Diff(args) => compare::diff(args, &cli.global, &output),
        Command::Check(args) => compare::check(args, &cli.global, &output),
        Command::Report(args) => report::run(args, &cli.global, &output),
        Command::Init(args) => init::run(args, &output),
        Command::Validate(args) => validate::run(args, &cli.global, &output),
        Command::Explain(args) => explain::run(args, &output),
        Command::Models(args) => listing::models(args, &output),
        Command::Gpus(args) => listing::gpus(args, &output),
        Command::Profiles(args) => listing::profiles(args, &output),
        Command::Calibrate(args) => calibrate::run(args, &cli.global, &output),
        Command::Trace(args) => trace::run(args, &cli.global, &output),
        Command::Emit(args) => emit::run(args, &cli.global, &output),
        Command::Schema(args) => schema::run(args, &output),
        Command::Completions(args) => completions::run(args, &output),
        Command::Man(args) => man::run(args, &output),
    }
}
