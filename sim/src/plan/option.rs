//! One option, sized: a row of the table.

use serde::Serialize;
use tokentide_models::cost::CostInfo;

use super::Candidate;
use super::arrivals::ArrivalCounts;
use super::band::{Band, band, stated_error};
use super::failure::{Failures, failures};
use super::judge::TargetMargin;
use super::room::{Room, room};
use super::size::{Bench, Sizing};
use crate::run::RunError;
use crate::scenario::Scenario;
use crate::workload::trace::TraceRow;

/// How certain, and how far to look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Confidence of the intervals that decide, 0 to 1.
    pub confidence: f64,
    /// No more replicas are tried.
    pub replicas_max: u32,
    /// Seeds that a verdict needs at least.
    pub seeds_min: u32,
    /// Seeds after which a verdict that is not certain is called so.
    pub seeds_max: u32,
    /// Error of a step's time that is assumed unless the profile states a larger one [share].
    pub model_error: f64,
    /// Precision of the headroom, as a share of the load.
    pub precision: f64,
    /// Zones that the replicas are spread over.
    pub zones: Option<u32>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            confidence: 0.95,
            replicas_max: 256,
            seeds_min: 3,
            seeds_max: 12,
            model_error: 0.15,
            precision: 0.02,
            zones: None,
        }
    }
}

/// How an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The count meets every target, one fewer does not, and a server slower by the model's error needs no more.
    Holds,
    /// The count meets every target, but on a server slower by the model's error it would not.
    Fragile,
    /// The count meets every target; whether one fewer does could not be told.
    Uncertain,
    /// No number of replicas up to the limit meets every target.
    OutOfReach,
    /// The option cannot run.
    DoesNotFit,
}

/// An option, sized.
#[derive(Clone, Debug, Serialize)]
pub struct OptionRow {
    /// What makes it differ from the others.
    pub option: String,
    /// How the answer stands.
    pub verdict: Verdict,
    /// Why there is no answer, if there is none.
    pub reason: Option<String>,
    /// GPU and layout of one replica.
    pub deployment: String,
    /// Whether times come from measurements of this GPU and model.
    pub calibrated: bool,
    /// The profile, or the kind of the cost model.
    pub profile: String,
    /// Least replicas that meet every target.
    pub replicas: Option<u32>,
    /// The same on a faster and a slower server.
    pub band: Option<Band>,
    /// GPUs of all replicas.
    pub gpus: Option<u32>,
    /// Price of all GPUs; `None` without an answer or a price [USD/h].
    pub usd_per_hour: Option<f64>,
    /// Per million output tokens at the scenario's load [USD].
    pub usd_per_million_output_tokens: Option<f64>,
    /// Share of time in which a step runs.
    pub utilisation: Option<f64>,
    /// Offered load over the knee.
    pub load: Option<f64>,
    /// How much more load it bears.
    pub room: Option<Room>,
    /// By target, at that number of replicas; without an answer, at the most tried.
    pub targets: Vec<TargetMargin>,
    /// More work arrives than can be done, at the most tried.
    pub unstable: bool,
    /// Seeds that it rests on.
    pub seeds: u32,
    /// What losing replicas does.
    pub failures: Option<Failures>,
    /// No other option is at once as cheap, has as much headroom and as low latency, and is better in one of them.
    pub pareto: bool,
    /// Hash of the trace, if one is replayed: a part of the plan's provenance.
    #[serde(skip)]
    pub trace: Option<String>,
}

/// Sizes `candidate`.
///
/// # Errors
/// If the trace cannot be read.
pub fn row(
    candidate: &Candidate,
    rows: Option<&[TraceRow]>,
    settings: &Settings,
    counts: &ArrivalCounts,
) -> Result<OptionRow, RunError> {
    let scenario = match &candidate.scenario {
        Ok(scenario) => scenario,
        Err(reason) => return Ok(unfit(candidate, reason)),
    };
    let mut bench = Bench::new(scenario, rows, settings, counts);
    let sizing = bench.size()?;
    let Some(n) = sizing.replicas else { return Ok(unanswered(candidate, scenario, &sizing, settings)) };
    let error = scenario.cost_info.error.as_deref().and_then(stated_error).unwrap_or(0.0).max(settings.model_error);
    let band = band(&bench, n, error)?;
    let slower_needs_more = band.slower.is_none_or(|slower| slower > n);
    let verdict = match (sizing.sure, slower_needs_more) {
        (false, _) => Verdict::Uncertain,
        (true, true) => Verdict::Fragile,
        (true, false) => Verdict::Holds,
    };
    let summary = sizing.at.summary.as_ref();
    let gpus = scenario.deployment.gpus() * n;
    let price = scenario.deployment.gpu.price_per_hour;
    let usd_per_hour = (price > 0.0).then_some(price * f64::from(gpus));
    // Of the price, what a run that ends with its arrivals costs, not the wait for its last answers.
    let tokens_per_s = summary.map(|s| s.output_tokens_per_s).filter(|rate| *rate > 0.0);
    Ok(OptionRow {
        verdict,
        replicas: Some(n),
        band: Some(band),
        gpus: Some(gpus),
        usd_per_hour,
        usd_per_million_output_tokens: usd_per_hour.zip(tokens_per_s).map(|(usd, rate)| usd / 3600.0 / rate * 1e6),
        utilisation: summary.map(|s| s.utilisation),
        load: summary.map(|s| s.capacity.load),
        room: Some(room(&mut bench, n, settings.precision)?),
        failures: failures(&sizing, settings.zones),
        ..described(candidate, scenario, &sizing)
    })
}

/// What is the same with and without an answer.
fn described(candidate: &Candidate, scenario: &Scenario, sizing: &Sizing) -> OptionRow {
    OptionRow {
        deployment: scenario.deployment_name(),
        calibrated: scenario.cost_info.calibrated,
        profile: profile(&scenario.cost_info),
        targets: sizing.at.targets.clone(),
        unstable: sizing.at.unstable,
        seeds: sizing.at.seeds,
        trace: sizing.trace.clone(),
        ..unfit(candidate, "")
    }
}

fn profile(info: &CostInfo) -> String {
    info.profile.clone().unwrap_or_else(|| info.kind.to_owned())
}

fn unfit(candidate: &Candidate, reason: &str) -> OptionRow {
    OptionRow {
        option: candidate.name.clone(),
        verdict: Verdict::DoesNotFit,
        reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
        deployment: String::new(),
        calibrated: false,
        profile: String::new(),
        replicas: None,
        band: None,
        gpus: None,
        usd_per_hour: None,
        usd_per_million_output_tokens: None,
        utilisation: None,
        load: None,
        room: None,
        targets: Vec::new(),
        unstable: false,
        seeds: 0,
        failures: None,
        pareto: false,
        trace: None,
    }
}

fn unanswered(candidate: &Candidate, scenario: &Scenario, sizing: &Sizing, settings: &Settings) -> OptionRow {
    let share = |attainment: f64, quantile: f64| format!("{:.1} % of {:.3} %", attainment * 100.0, quantile * 100.0);
    let share = |attainment: f64, quantile: f64| share(attainment, quantile).replace(".000 %", " %");
    let most = settings.replicas_max;
    let reason = match (&sizing.out_of_reach, sizing.at.deciding.map(|i| &sizing.at.targets[i])) {
        (Some((target, attainment)), _) => format!(
            "no count helps: of requests that are alone on a replica, {} are within {} {} <= {} ms",
            share(*attainment, target.target.quantile).replace(" of ", " (wanted ") + ")",
            target.class_name,
            target.name,
            target.target.limit.as_millis_f64(),
        ),
        (None, _) if sizing.at.unstable => format!("more work arrives than {most} replicas can do"),
        (None, Some(target)) if sizing.sure => format!(
            "with {most} replicas, {} are within {} {} <= {} ms",
            share(target.attainment, target.quantile).replace(" of ", " (wanted ") + ")",
            target.class,
            target.target,
            target.limit_ms,
        ),
        _ => format!("up to {most} replicas, none was certain to meet every target"),
    };
    OptionRow { verdict: Verdict::OutOfReach, reason: Some(reason), ..described(candidate, scenario, sizing) }
}
