//! `tokentide plan`

pub mod autoscalers;
mod options;
pub mod targets;

use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;
use tokentide_models::units::Time;
use tokentide_sim::plan::{Questions, Settings, Split, plan};
use tokentide_sim::scenario::SloTarget;
use tokentide_sim::scenario::duration::parse_duration;

use super::simulate::assignment;
use crate::args::{Format, Global};
use crate::engine::{self, Input};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::progress::Progress;
use crate::text::plan as text;

/// What to plan.
#[derive(Args)]
pub struct PlanArgs {
    /// Scenario file (TOML); without it a built-in one
    scenario: Option<PathBuf>,
    /// Plan for the requests of a trace: CSV, JSONL (plain or gzip) or Parquet
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Change a value of the scenario, such as class.chat.prompt.retrieved.top_k=12 (repeatable)
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// A target for every class, such as ttft_p95=800ms, in place of the scenario's own for that figure (repeatable)
    #[arg(long, value_name = "FIGURE=TIME")]
    slo: Vec<SloTarget>,
    #[command(flatten)]
    options: options::OptionArgs,
    /// Two pools, by prompt length: up to this many tokens, and above (repeatable)
    #[arg(long, value_name = "TOKENS")]
    split_at: Vec<u32>,
    /// Two pools, by class, such as chat,search:rag (repeatable)
    #[arg(long, value_name = "A,B:C", value_parser = targets::classes)]
    split_classes: Vec<[Vec<String>; 2]>,
    /// Compare autoscalers on the scenario's own requests, in place of sizing: a policy with its target (rps=4.5), a manifest
    /// (keda.yaml), or a number of replicas that stays (fixed=4) (repeatable)
    #[arg(long, value_name = "POLICY=TARGET|FILE", value_parser = autoscaler)]
    autoscaler: Vec<(String, autoscalers::Typed)>,
    /// Also size each window of this length of the rate curve, such as 1h
    #[arg(long, value_name = "TIME", value_parser = window)]
    by: Option<Time>,
    /// Confidence of the answer [%]
    #[arg(long, allow_negative_numbers = true, value_name = "PERCENT", default_value = "95", value_parser = targets::confidence)]
    confidence: f64,
    /// Error assumed of a step's time [%], unless the profile states a larger one
    #[arg(long, allow_negative_numbers = true, value_name = "PERCENT", default_value = "15", value_parser = targets::model_error)]
    model_error: f64,
    /// Try no more replicas
    #[arg(long, allow_negative_numbers = true, value_name = "N", default_value = "256")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_replicas: u32,
    /// Call a verdict uncertain after this many seeds
    #[arg(long, allow_negative_numbers = true, value_name = "N", default_value = "12")]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=1_000))]
    max_seeds: u32,
    /// Zones that the replicas are spread over: how many it takes to lose the largest
    #[arg(long, allow_negative_numbers = true, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000))]
    zones: Option<u32>,
}

/// As typed, and what it means.
fn autoscaler(text: &str) -> Result<(String, autoscalers::Typed), String> {
    Ok((text.to_owned(), autoscalers::typed(text)?))
}

fn window(text: &str) -> Result<Time, String> {
    let span = parse_duration(text)?;
    if span.0 == 0 { Err("a window must be longer than 0".to_owned()) } else { Ok(Time(span.0)) }
}

/// Plans and reports.
pub fn run(args: &PlanArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let input = Input { scenario: args.scenario.clone(), trace: args.trace.clone(), set: args.set.clone(), seed: global.seed };
    if !args.autoscaler.is_empty() {
        let comparison = autoscalers::compare(&input, &args.autoscaler, global)?;
        match output.format {
            Format::Json => output.json(&comparison)?,
            _ => output.text(&crate::text::autoscalers::comparison(&comparison, output.width()))?,
        }
        return Ok(Verdict::Pass);
    }
    let loaded = options::load(&input, &args.options, &args.slo)?;
    if args.scenario.is_none() {
        output.note("no scenario given: this is the built-in one; `tokentide init DIR` writes scenarios to change");
    }
    let settings = Settings {
        confidence: args.confidence,
        replicas_max: args.max_replicas,
        seeds_min: Settings::default().seeds_min.min(args.max_seeds),
        seeds_max: args.max_seeds,
        model_error: args.model_error,
        zones: args.zones,
        ..Settings::default()
    };
    let questions = Questions { splits: splits(args, &loaded)?, window: args.by };
    if let Some(window) = args.by {
        check_window(window, &loaded)?;
    }
    let progress = Mutex::new(Progress::new("planning", global.no_progress || global.quiet));
    let show = |share: f64| {
        if let Ok(mut progress) = progress.try_lock() {
            progress.set(share);
        }
    };
    let plan = plan(&loaded.candidates, loaded.rows.as_deref(), &settings, &questions, &show).map_err(engine::run_failure)?;
    drop(progress);
    match output.format {
        Format::Json => output.json(&plan)?,
        _ => output.text(&text::plan(&plan, output.width()))?,
    }
    Ok(Verdict::Pass)
}

fn splits(args: &PlanArgs, loaded: &options::Loaded) -> Result<Vec<Split>, Failure> {
    let classes = loaded.first().map(|scenario| scenario.classes.as_slice()).unwrap_or_default();
    if let Some(class) = classes.iter().find(|class| class.waits_for_answers()).filter(|_| !args.split_at.is_empty()) {
        return Err(Failure::with_help(
            format!("--split-at cannot split class `{}`: its sessions or clients wait for answers", class.name),
            "split whole classes instead: --split-classes a,b:c",
        ));
    }
    for name in args.split_classes.iter().flatten().flatten() {
        if classes.iter().all(|class| class.name != *name) {
            let known: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
            return Err(Failure::with_help(format!("there is no class `{name}`"), format!("there are {}", known.join(", "))));
        }
    }
    for pools in &args.split_classes {
        let times = |class: &str| pools.iter().flatten().filter(|name| *name == class).count();
        if let Some(class) = classes.iter().find(|class| times(&class.name) != 1) {
            return Err(Failure::with_help(
                format!("--split-classes names class `{}` {} times", class.name, times(&class.name)),
                "each class belongs to one of the two pools: --split-classes a,b:c",
            ));
        }
    }
    let by_length = args.split_at.iter().map(|tokens| Split::Length(*tokens));
    Ok(by_length.chain(args.split_classes.iter().cloned().map(Split::Classes)).collect())
}

/// More windows than this are a mistake.
const WINDOWS_MAX: u64 = 1_000;

fn check_window(window: Time, loaded: &options::Loaded) -> Result<(), Failure> {
    let Some(scenario) = loaded.first() else { return Ok(()) };
    let Some(end) = scenario.horizon.duration else {
        return Err(Failure::with_help(
            "--by needs to know how long the scenario lasts",
            "give it a `duration`, such as --set duration=24h",
        ));
    };
    if end.0 / window.0 > WINDOWS_MAX {
        return Err(Failure::message(format!("--by makes more than {WINDOWS_MAX} windows of the scenario's duration")));
    }
    Ok(())
}
