//! Who decides how many replicas there are.

use tokentide_autoscale::config::RecordingRule;
use tokentide_autoscale::manifest;
use tokentide_autoscale::policy::{self, Given, PolicyError};
use tokentide_autoscale::{Autoscaler, Controller};
use tokentide_models::cost::{BatchShape, CostModel};
use tokentide_models::units::Duration;

use super::Context;
use super::check::{at_least_one, positive};
use crate::scenario::at::At;
use crate::scenario::error::did_you_mean;
use crate::scenario::file::autoscaler::AutoscalerFile;
use crate::scenario::{Class, EngineConfig, SloMetric, tightest};

/// CPU request of a replica's container where none is given [cores]: an assumption.
const CPU_REQUEST: f64 = 8.0;

/// What an autoscaler has to know of what it scales.
pub(super) struct Pool<'a> {
    /// The engine's settings.
    pub engine: &'a EngineConfig,
    /// Duration of iterations.
    pub cost: &'a dyn CostModel,
    /// Engine cores of a replica.
    pub ranks: u32,
    /// The classes.
    pub classes: &'a [Class],
    /// Replicas at the start.
    pub replicas: u32,
    /// The text of the manifest, if there is one and it can be read.
    pub manifest: Option<&'a str>,
}

/// The text of the manifest.
pub(super) fn manifest_text(file: &AutoscalerFile, context: &mut Context<'_>) -> Option<String> {
    let path = file.file.as_ref()?;
    let text = std::fs::read_to_string(context.base_dir.join(path.get()));
    text.map_err(|error| context.problems.at(path.span(), format!("cannot read the manifest: {error}"))).ok()
}

/// The autoscaler; `None` if something is wrong with it.
pub(super) fn autoscaler(file: &At<AutoscalerFile>, pool: &Pool<'_>, context: &mut Context<'_>) -> Option<Autoscaler> {
    let interval = |given: &Option<At<crate::scenario::duration::TimeSpan>>, key: &str, context: &mut Context<'_>| {
        let given = given.as_ref()?;
        if given.0.0 == 0 {
            context.problems.at(given.span(), format!("`{key}` must be longer than 0"));
        }
        Some(given.0).filter(|time| time.0 > 0)
    };
    let (scrape, sync) = (interval(&file.scrape, "scrape", context), interval(&file.sync, "sync", context));
    let found = match &file.file {
        Some(path) => read_manifest(path, file, pool, context)?,
        None => named(file, pool, context)?,
    };
    let found = found.with_intervals(scrape, sync);
    context.notes.extend(found.notes.iter().map(|note| format!("{}: {note}", found.name)));
    match Controller::new(&found, 0, "") {
        Ok(_) => Some(found),
        Err(error) => {
            context.problems.at(file.span(), error.to_string());
            None
        }
    }
}

/// An HPA or a ScaledObject out of a file.
fn read_manifest(path: &At<String>, file: &At<AutoscalerFile>, pool: &Pool<'_>, context: &mut Context<'_>) -> Option<Autoscaler> {
    let own = [
        ("policy", file.policy.as_ref().map(At::span)),
        ("target", file.target.as_ref().map(At::span)),
        ("min_replicas", file.min_replicas.as_ref().map(At::span)),
        ("max_replicas", file.max_replicas.as_ref().map(At::span)),
        ("cpu_request", file.cpu_request.as_ref().map(At::span)),
    ];
    for (key, span) in own {
        if let Some(span) = span {
            context.problems.at(span, format!("`{key}` does not go with `file`, which has its own"));
        }
    }
    let queries = file.queries.as_ref().map(|queries| queries.get().clone()).unwrap_or_default();
    match manifest::read(pool.manifest?, path, &queries) {
        Ok(mut found) => {
            let rules = file.rules.iter().flat_map(|rules| rules.iter());
            let rules = rules.map(|(record, expr)| RecordingRule { record: record.clone(), expr: expr.clone() });
            found.prometheus.rules.extend(rules);
            Some(found)
        }
        Err(errors) => {
            errors.iter().for_each(|error| context.problems.at(path.span(), error.to_string()));
            None
        }
    }
}

/// A policy by its name.
fn named(file: &At<AutoscalerFile>, pool: &Pool<'_>, context: &mut Context<'_>) -> Option<Autoscaler> {
    for (key, given) in [("queries", &file.queries), ("rules", &file.rules)] {
        if let Some(given) = given {
            context.problems.at(given.span(), format!("`{key}` go with `file`: a policy has its own"));
        }
    }
    let Some(name) = &file.policy else {
        let help = Some("such as policy = \"inflight\", or file = \"keda.yaml\"".to_owned());
        context.problems.missing(Some(file.span()), "policy", "an autoscaler needs a `policy` or a `file`", help);
        return None;
    };
    let min_replicas = at_least_one("min_replicas", file.min_replicas.as_ref(), context).unwrap_or(1);
    let max_replicas = at_least_one("max_replicas", file.max_replicas.as_ref(), context);
    if file.max_replicas.is_none() {
        context.problems.missing(Some(file.span()), "max_replicas", "a policy needs `max_replicas`", None);
    }
    let max_replicas = max_replicas?;
    if max_replicas < min_replicas {
        let span = file.max_replicas.as_ref().map_or(file.span(), At::span);
        context.problems.at(span, format!("`max_replicas` must be at least `min_replicas`, {min_replicas}"));
    }
    if !(min_replicas..=max_replicas).contains(&pool.replicas) {
        context.notes.push(format!(
            "the run starts with {} replicas, which the autoscaler at once brings to between {min_replicas} and {max_replicas}",
            pool.replicas
        ));
    }
    let cpu_request = positive("cpu_request", file.cpu_request.as_ref(), context).unwrap_or(CPU_REQUEST);
    let seconds = |metric| tightest(pool.classes, metric).map(Duration::as_secs_f64);
    let target = positive("target", file.target.as_ref(), context);
    if target.is_none() && file.target.is_some() {
        return None;
    }
    let given = Given {
        target,
        min_replicas,
        max_replicas,
        prefill_tokens_per_s: peak_prefill(pool),
        ttft_s: seconds(SloMetric::Ttft),
        tpot_s: seconds(SloMetric::Tpot),
        cpu_request: (cpu_request * 1000.0).round() as i64,
    };
    match policy::find(name).and_then(|policy| policy.autoscaler(&given)) {
        Ok(found) => Some(found),
        Err(error) => {
            let names = policy::POLICIES.map(|policy| policy.name);
            let help = match error {
                PolicyError::Unknown(_) => Some(match did_you_mean(name, names) {
                    Some(best) => format!("did you mean \"{best}\"?"),
                    None => format!("policies are {}", names.join(", ")),
                }),
                PolicyError::NoTarget(_) => Some("`tokentide emit keda` finds one by simulation".to_owned()),
                PolicyError::NoLimits => None,
            };
            context.problems.add(Some(name.span()), error.to_string(), help);
            None
        }
    }
}

/// Prompt tokens per second of a replica with nothing else to do, at full budgets of one prompt (V_P) [tokens/s].
fn peak_prefill(pool: &Pool<'_>) -> f64 {
    let tokens = u64::from(pool.engine.max_num_batched_tokens.min(pool.engine.max_model_len));
    let mut shape = BatchShape::default();
    shape.add_chunk(0, tokens, true);
    tokens as f64 / pool.cost.iteration(&shape).as_secs_f64().max(1e-12) * f64::from(pool.ranks)
}
