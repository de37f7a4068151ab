//! What can be typed. Meaning is given to it by the commands.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    calibrate, compare, completions, emit, explain, init, listing, man, plan, report, schema, simulate, sweep, trace, validate,
};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// What a prompt, a model or a GPU does to TTFT, TPOT, replicas and cost of an LLM service.
#[derive(Parser)]
#[command(
    name = "tokentide",
    version,
    styles = STYLES,
    arg_required_else_help = true,
    after_help = "Start with `tokentide simulate`: it needs no file. `tokentide init DIR` writes one to change.\n\
                  Exit codes: 0 done; 1 a check failed; 2 bad usage, configuration or input; 101 a bug in tokentide."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Format of the output; by default that of the extension of --output, else text
    #[arg(long, global = true, value_enum)]
    pub format: Option<Format>,
    /// Write the output to a file instead of stdout
    #[arg(short, long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// When to use colour (auto also obeys NO_COLOR)
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Only data and errors: no notes, no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More detail
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// No progress indicator
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Seed of every random stream; wins over the scenario's
    #[arg(long, global = true, env = "TOKENTIDE_SEED", value_name = "N")]
    pub seed: Option<u64>,
    /// Threads; never changes a result [default: one per core]
    #[arg(long, global = true, env = "TOKENTIDE_THREADS", value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

/// Format of the output; every command writes the first two, `diff` and `check` all. (Variants have no doc comments: clap would
/// spread each over a line of every help page.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    Markdown,
    Github,
    Junit,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Simulate a scenario or a trace and report load, latency, tokens and cost
    #[command(visible_alias = "run")]
    Simulate(simulate::SimulateArgs),
    /// Find the replicas that meet the service levels: of which GPU, at what cost, how sure
    Plan(plan::PlanArgs),
    /// Run many variations of a scenario: a row of figures for each
    Sweep(sweep::SweepArgs),
    /// Put the tables of a sweep's shards together
    Merge(sweep::merge::MergeArgs),
    /// Compare a change with its base: tokens, latency, replicas and cost
    Diff(compare::DiffArgs),
    /// Hold a change to its budgets; ends with 1 if one is broken
    Check(compare::CheckArgs),
    /// Write a result as one HTML page with charts, which reads offline
    Report(report::ReportArgs),
    /// Write a project that can be simulated at once
    Init(init::InitArgs),
    /// Check scenario files without running them
    Validate(validate::ValidateArgs),
    /// Define a metric: unit, formula, caveats
    Explain(explain::ExplainArgs),
    /// List the models of the catalogue
    Models(listing::ListArgs),
    /// List the GPUs of the catalogue
    Gpus(listing::ListArgs),
    /// List the cost profiles: what was measured, where, how well it fits
    Profiles(listing::ListArgs),
    /// Make a cost profile of measurements
    Calibrate(calibrate::CalibrateArgs),
    /// Make workloads of what teams log: import, inspect, fit, transform
    Trace(trace::TraceArgs),
    /// Write what a cluster takes: an autoscaler with a found threshold, flags, rules, a dashboard
    Emit(emit::EmitArgs),
    /// Print the JSON Schema of scenario files, of tokentide.toml, or of what `diff` and `check` write
    Schema(schema::SchemaArgs),
    /// Print a shell's completions
    Completions(completions::CompletionsArgs),
    /// Print a manual page
    Man(man::ManArgs),
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        super::Cli::command().debug_assert();
    }
}
