//! `tokentide calibrate kernels`

mod text;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokentide_calibrate::CalibrateError;
use tokentide_calibrate::kernels::{KernelReport, LiveOptions, Rules, StepKernels, analyse, analyse_found, record};
use tokentide_calibrate::probe::{ProbeError, ProbeOptions};

use super::probe::{api_key, range, time};
use crate::args::{Format, Global};
use crate::diagnostics::Diagnostic;
use crate::exit::{Failure, Verdict};
use crate::interrupt::interruptible;
use crate::output::Output;
use crate::progress::Progress;

/// Which traces, or which server, and how kernels are told apart.
#[derive(Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "-o FILE.parquet writes one row per step. A live server has to be started with its profiler:\n  \
                        vllm serve MODEL --profiler-config '{\"profiler\":\"torch\",\"torch_profiler_dir\":\"DIR\",\
                        \"torch_profiler_with_stack\":false,\"ignore_frontend\":true}'\n\
                        An API key is read from TOKENTIDE_API_KEY, else from OPENAI_API_KEY, and written nowhere.")]
pub struct KernelsArgs {
    /// Traces of the PyTorch profiler (.json or .json.gz), one per rank of a run
    #[arg(value_name = "TRACE", required_unless_present = "url", conflicts_with = "url")]
    traces: Vec<PathBuf>,
    /// Rules (TOML) that give kernels their classes by their names, ahead of the shipped ones
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    #[command(flatten)]
    live: LiveArgs,
}

/// The server, if it is to be profiled now.
#[derive(Args)]
#[command(next_help_heading = "Options for a live server")]
struct LiveArgs {
    /// Root of the server: start its profiler, run chosen steps, stop it, and read its traces
    #[arg(long, value_name = "URL", requires = "trace_dir")]
    url: Option<String>,
    /// The folder on the server's disk that it writes traces to (its torch_profiler_dir), as it is reached from here
    #[arg(long, value_name = "FOLDER", requires = "url")]
    trace_dir: Option<PathBuf>,
    /// Model, as the server names it [default: the first that it lists]
    #[arg(long, value_name = "NAME", requires = "url")]
    model: Option<String>,
    /// Decodes at once
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 8, 32], value_parser = positive())]
    batches: Vec<u32>,
    /// Prompts of the decodes, in tokens
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = positive())]
    context: u32,
    /// Steps of each batch of decodes
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive())]
    steps: u32,
    /// Prompts alone, in tokens
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [128, 512, 2048], value_parser = positive())]
    prompts: Vec<u32>,
    /// How often each of the prompts is sent
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = positive())]
    repeats: u32,
    /// Token ids of prompts, from LOW up to HIGH: such as the model has, without its special ones
    #[arg(long, value_name = "LOW,HIGH", default_value = "1000,4000", value_parser = range)]
    vocab: (u32, u32),
    /// A server that sends nothing, or writes no trace, for so long has failed
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    timeout: Duration,
}

fn positive() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// Reads traces, of files or of a server that is profiled now, and says what the steps cost.
///
/// # Errors
/// What is wrong with the traces, the rules or the server.
pub fn run(args: &KernelsArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let rules = Rules::new(args.rules.as_deref()).map_err(failure)?;
    let report = match args.live.options(global) {
        None => analyse(&args.traces, &rules).map_err(failure)?,
        Some(options) => live(&options, &rules, global, output)?,
    };
    tell(&report, output)
}

impl LiveArgs {
    fn options(&self, global: &Global) -> Option<LiveOptions> {
        let (url, trace_dir) = self.url.clone().zip(self.trace_dir.clone())?;
        let usual = ProbeOptions::new(url, PathBuf::new());
        let server = ProbeOptions {
            model: self.model.clone(),
            api_key: api_key(),
            seed: global.seed.unwrap_or(usual.seed),
            vocab: self.vocab,
            patience: self.timeout,
            ..usual
        };
        let (batches, prompts) = (self.batches.clone(), self.prompts.clone());
        let (context, steps, repeats) = (self.context, self.steps, self.repeats);
        Some(LiveOptions { server, trace_dir, batches, context, steps, prompts, repeats })
    }
}

/// The steps of a live server that is profiled now, by the shipped rules.
///
/// # Errors
/// What is wrong with the server or its traces.
pub(super) fn of_server(options: &LiveOptions, global: &Global, output: &Output) -> Result<StepKernels, Failure> {
    let rules = Rules::new(None).map_err(failure)?;
    live(options, &rules, global, output).map(|report| StepKernels::of(&report))
}

fn live(options: &LiveOptions, rules: &Rules, global: &Global, output: &Output) -> Result<KernelReport, Failure> {
    let stop = interruptible()?;
    let mut bar = Progress::new("profiling", global.quiet || global.no_progress);
    let recorded = record(options, &stop, &mut |what, share| {
        bar.set_label(what);
        bar.set(share);
    });
    drop(bar);
    let recorded = recorded.map_err(|ProbeError { message, help }| Failure::with_help(message, help))?;
    recorded.traces.iter().for_each(|trace| output.note(&format!("recorded {}", trace.display())));
    recorded.notes.iter().for_each(|note| output.note(note));
    analyse_found(&recorded.traces, rules).map_err(failure)
}

/// Writes the steps, if a table is asked for, and what is to be said of them.
fn tell(report: &KernelReport, output: &Output) -> Result<Verdict, Failure> {
    let table = output.path().filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")));
    let shown = match table {
        Some(path) => {
            StepKernels::of(report).write(path).map_err(failure)?;
            &output.beside_file()
        }
        None => output,
    };
    match output.format {
        Format::Json => shown.json(report)?,
        _ => shown.text(&text::report(report, output.verbose))?,
    }
    for rank in &report.ranks {
        let file = if report.ranks.len() > 1 { format!("{}: ", rank.file.display()) } else { String::new() };
        rank.warnings.iter().for_each(|warning| output.note(&format!("{file}{warning}")));
    }
    report.notes.iter().for_each(|note| output.note(note));
    output.note(report.caution);
    if let Some(path) = table {
        output.note(&format!("{}: one row per step", path.display()));
    }
    Ok(Verdict::Pass)
}

/// What to tell of an error, with its file.
fn failure(error: CalibrateError) -> Failure {
    match error {
        CalibrateError::Open { path, source } => {
            Failure::Input(vec![Diagnostic::file(path.as_ref(), format!("cannot read it: {source}"))])
        }
        CalibrateError::Value { path, message } => Failure::Input(vec![Diagnostic::file(path.as_ref(), message)]),
        other => Failure::message(other.to_string()),
    }
}
