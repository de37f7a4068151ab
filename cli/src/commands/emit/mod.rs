//! `tokentide emit`: what was found, as files that a cluster takes.

mod autoscaler;
mod dashboard;
mod epp;
mod head;
mod matcher;
mod peak;
mod rules;
mod serve;
mod steady;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokentide_sim::report::Report;
use tokentide_sim::run::RunOptions;

use super::simulate::assignment;
use crate::args::{Format, Global};
use crate::engine::{self, Input, Loaded};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::progress::Progress;

/// What is written. (Variants have no doc comments: clap would spread each over a line of every help page.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Keda,
    Hpa,
    Vllm,
    Promrules,
    Grafana,
    Epp,
}

/// What to write, and for which scenario.
#[derive(Args)]
pub struct EmitArgs {
    /// keda: ScaledObject; hpa: HorizontalPodAutoscaler; vllm: flags; promrules: recording rules; grafana: dashboard; epp: limits
    kind: Kind,
    /// Scenario file (TOML); without it a built-in one
    scenario: Option<PathBuf>,
    /// Change a value of the scenario first (repeatable)
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Name of the model as vLLM serves it: for matchers of `model_name` and for `vllm serve`
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    #[command(flatten)]
    scaling: autoscaler::ScalingArgs,
}

/// Writes it.
pub fn run(args: &EmitArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    if output.format == Format::Json && args.kind != Kind::Grafana {
        let what = if args.kind == Kind::Vllm { "a shell command" } else { "YAML" };
        return Err(Failure::message(format!("`emit {}` writes {what}, not JSON", name(args.kind))));
    }
    let input = Input { scenario: args.scenario.clone(), set: args.set.clone(), seed: global.seed, ..Input::default() };
    let loaded = engine::load(&input)?;
    if args.scenario.is_none() {
        output.note("no scenario given: this is for the built-in one; `tokentide init DIR` writes scenarios to change");
    }
    let job = Job { input: &input, loaded: &loaded, global, model_name: args.model_name.as_deref() };
    let text = match args.kind {
        Kind::Keda => autoscaler::text(&job, &args.scaling, true)?,
        Kind::Hpa => autoscaler::text(&job, &args.scaling, false)?,
        Kind::Vllm => serve::text(&job, &job.report()?)?,
        Kind::Promrules => rules::text(&job)?,
        Kind::Grafana => dashboard::text(&job),
        Kind::Epp => epp::text(&job, &peak::find(&job)?),
    };
    output.text(&text)?;
    Ok(Verdict::Pass)
}

fn name(kind: Kind) -> String {
    kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The scenario that something is written for.
struct Job<'a> {
    input: &'a Input,
    loaded: &'a Loaded,
    global: &'a Global,
    model_name: Option<&'a str>,
}

impl Job<'_> {
    /// What the scenario does as it is.
    fn report(&self) -> Result<Report, Failure> {
        self.simulate(self.loaded, "simulating")
    }

    fn simulate(&self, loaded: &Loaded, label: &str) -> Result<Report, Failure> {
        let progress = Progress::new(label, self.global.no_progress || self.global.quiet);
        let options = RunOptions { replications: 1, threads: self.global.threads.map(NonZeroUsize::get) };
        engine::simulate(loaded, options, progress, None, None)
    }
}
