//! From sections as typed to a [`Scenario`] as meant: defaults, checks, catalogues.

mod arrivals;
mod autoscaler;
mod check;
mod class;
mod cluster;
mod deployment;
mod distribution;
mod engine;
mod models;
mod prompt;
mod scheduler;
mod serves;
mod text;
mod tokenizer;
mod trace;

use std::path::Path;

use super::at::At;
use super::error::Problems;
use super::file::ScenarioFile;
use super::file::buckets::BucketsFile;
use super::{Horizon, Scenario, Serves};
use tokentide_models::hash::fnv1a_hex;
use tokentide_models::units::Time;

use autoscaler::{Pool, autoscaler, manifest_text};
use check::number;
use class::classes;
use cluster::cluster;
use deployment::Replica;
use tokenizer::Counting;
use trace::trace;

/// Seed where none is given.
const SEED: u64 = 42;
/// Bounds of the input-token buckets where none are given [tokens].
const INPUT_BUCKETS: [u32; 4] = [512, 2_048, 8_192, 32_768];
/// Bounds of the output-token buckets where none are given [tokens].
const OUTPUT_BUCKETS: [u32; 4] = [64, 256, 1_024, 4_096];
/// Share of the context from which a prompt is near its limit.
const NEAR_CONTEXT_LIMIT: f64 = 0.9;

/// What a section needs besides itself.
pub(crate) struct Context<'a> {
    /// Collects what is wrong.
    pub problems: &'a mut Problems,
    /// What the user must know though it is not wrong.
    pub notes: Vec<String>,
    /// Paths of the scenario are relative to it.
    pub base_dir: &'a Path,
    /// Counts prompt files.
    pub counting: Counting,
}

/// Resolves a scenario; `None` if there are problems.
pub(crate) fn resolve(file: &ScenarioFile, filename: &str, base_dir: &Path, problems: &mut Problems) -> Option<Scenario> {
    if problems.broken {
        return None;
    }
    let counting = Counting::of(file.tokenizer.as_ref(), base_dir, problems);
    let mut context = Context { problems, notes: Vec::new(), base_dir, counting };
    let trace = trace(file.trace.as_ref(), &mut context);
    let classes = classes(file, &mut context);
    context.notes.extend(context.counting.idle());
    let horizon = horizon(file, &mut context);
    let warmup = warmup(file, &mut context);
    let mut cluster = cluster(file.cluster.as_deref(), file.autoscaler.is_some(), &classes, &mut context);
    let (input_buckets, output_buckets) = buckets(file.buckets.as_deref(), &mut context);
    let near_context_limit =
        number("near_context_limit", file.near_context_limit.as_ref(), &mut context, "above 0 and at most 1", |x| {
            x > 0.0 && x <= 1.0
        });
    let serves = serves::serves(file, &classes, &mut context);
    scheduler::check(file, &mut context);
    let replica = Replica::resolve(file, &mut context)?;
    let timing = replica.timing(file, &mut context)?;
    let manifest = file.autoscaler.as_ref().and_then(|given| manifest_text(given, &mut context));
    let named = [&replica.config_text, manifest.as_deref().unwrap_or_default(), context.counting.counted()].concat();
    let hash = identity(file, &named);
    if let (Some(given), Some(dynamics)) = (&file.autoscaler, &mut cluster.dynamics) {
        let (engine, cost, ranks) = (&replica.engine, timing.cost.as_ref(), replica.deployment.data_parallel);
        let (replicas, manifest) = (cluster.replicas, manifest.as_deref());
        let pool = Pool { engine, cost, ranks, classes: &classes, replicas, manifest };
        dynamics.autoscaler = autoscaler(given, &pool, &mut context);
    }
    let all = Scenario {
        name: file.name.as_ref().map_or_else(|| stem(filename), |name| name.to_string()),
        hash,
        seed: file.seed.as_ref().map_or(SEED, |seed| **seed),
        horizon,
        warmup,
        deployment: replica.deployment,
        model_version: file.model.as_ref().and_then(|model| model.version.clone()),
        kv_blocks: timing.kv_blocks,
        cost: timing.cost,
        cost_info: timing.info,
        engine: replica.engine,
        cluster,
        classes,
        serves: Serves::default(),
        trace,
        input_buckets,
        output_buckets,
        near_context_limit: near_context_limit.unwrap_or(NEAR_CONTEXT_LIMIT),
        tokenizer: context.counting.used(),
        notes: context.notes,
    };
    match serves.everybody() {
        true => Some(all),
        false => all.serving(&serves).ok(),
    }
}

/// The name of a scenario that has none: its file's, without folder and ending.
fn stem(filename: &str) -> String {
    Path::new(filename).file_stem().map_or_else(|| filename.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// FNV-1a over the typed form without seed, budgets and absent keys, and over the files that it names, the model's `config.json`,
/// the autoscaler's manifest and the token counts of prompt files, as 16 hex digits. Comments, order of keys and the unit of a
/// time (`"60s"`, `"1m"`) do not matter.
fn identity(file: &ScenarioFile, named: &str) -> String {
    let unseeded = ScenarioFile { seed: None, check: Vec::new(), ..file.clone() };
    let mut value = serde_json::to_value(&unseeded).unwrap_or_default();
    drop_nulls(&mut value);
    value.sort_all_objects();
    fnv1a_hex(&format!("{value}\n{named}"))
}

/// Removes absent keys, so that a key added to the format later changes no old scenario's identity.
fn drop_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn horizon(file: &ScenarioFile, context: &mut Context<'_>) -> Horizon {
    for (key, span) in [
        ("duration", file.duration.as_ref().filter(|d| d.0.0 == 0).map(At::span)),
        ("requests", file.requests.as_ref().filter(|n| ***n == 0).map(At::span)),
    ] {
        if let Some(span) = span {
            context.problems.at(span, format!("`{key}` must be above 0"));
        }
    }
    let generates = file.trace.is_none() && file.class.iter().any(|class| class.arrivals.is_some());
    if generates && file.duration.is_none() && file.requests.is_none() {
        let first = file.class.iter().find_map(|class| class.arrivals.as_ref()).map(At::span);
        let unreadable = ["duration", "requests"].iter().any(|key| context.problems.unreadable.iter().any(|k| k == key));
        if !unreadable {
            let help = Some("add `duration = \"10m\"` or `requests = 10000` at the top".to_owned());
            context.problems.add(first, "nothing says when arrivals stop", help);
        }
    }
    Horizon { duration: file.duration.as_ref().map(|d| d.time()), requests: file.requests.as_ref().map(|n| **n) }
}

fn warmup(file: &ScenarioFile, context: &mut Context<'_>) -> Time {
    let Some(warmup) = &file.warmup else { return Time::ZERO };
    if let Some(duration) = &file.duration
        && warmup.0 >= duration.0
        && duration.0.0 > 0
    {
        context.problems.at(warmup.span(), format!("`warmup` must be shorter than `duration` ({})", duration.0));
    }
    warmup.time()
}

fn buckets(file: Option<&BucketsFile>, context: &mut Context<'_>) -> (Vec<u32>, Vec<u32>) {
    let mut bounds = |given: Option<&At<Vec<u32>>>, default: [u32; 4]| {
        let Some(given) = given else { return default.to_vec() };
        let ascending = given.windows(2).all(|pair| pair[0] < pair[1]) && given.first().is_some_and(|first| *first > 0);
        if !ascending {
            context.problems.at(given.span(), "the bounds of buckets must be above 0 and ascending, and at least one");
        }
        given.to_vec()
    };
    (bounds(file.and_then(|f| f.input.as_ref()), INPUT_BUCKETS), bounds(file.and_then(|f| f.output.as_ref()), OUTPUT_BUCKETS))
}
