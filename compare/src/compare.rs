//! The whole comparison: scenario by scenario, budget by budget.

use std::collections::{BTreeMap, BTreeSet};

use tokentide_sim::run::RunError;

use crate::budget::{Budget, BudgetError};
use crate::changes::changes;
use crate::headline::headline;
use crate::metric::Stage;
use crate::report::{CheckReport, Comparison, Presence, Row, SCHEMA_VERSION, ScenarioComparison, SideReport};
use crate::rows::{buckets, rows, selections, sources};
use crate::selection::Selection;
use crate::side::{Depth, Settings, Side, Subject, look};
use crate::verdict::{Judged, Verdict, judge};

/// Most runs of each side where their number is found.
const REPLICATIONS_MAX: u32 = 64;

/// A scenario on both sides, or on one.
pub struct Pair {
    /// Its name.
    pub name: String,
    /// As it was.
    pub base: Option<Subject>,
    /// As it is.
    pub head: Option<Subject>,
    /// Budgets that are its own.
    pub budgets: Vec<Budget>,
}

/// How many paired runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replications {
    /// So many.
    Fixed(u32),
    /// Twice as many until each interval is shorter than a third of the margin, 64 at most.
    Auto,
}

/// What is asked.
pub struct Question<'a> {
    /// What the head is compared with, in words; `None`: with nothing.
    pub base: Option<String>,
    /// What is compared, in words.
    pub head: String,
    /// The scenarios.
    pub pairs: &'a [Pair],
    /// Budgets on all of them.
    pub budgets: &'a [Budget],
    /// Whether the scenarios' own budgets are judged too.
    pub own_budgets: bool,
    /// Paired runs.
    pub replications: Replications,
    /// How certain.
    pub settings: Settings,
    /// Simulate even if no budget asks for it.
    pub everything: bool,
    /// Count tokens and bound the load, and no more; budgets that need more are skipped.
    pub tokens_only: bool,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A run could not be made.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Budgets that no scenario can be held against: a check that measures nothing must not pass.
    #[error("{} checks measure nothing", .0.len())]
    Budgets(Vec<(Budget, BudgetError)>),
}

/// A budget on one scenario.
struct OnScenario {
    budget: Budget,
    scenario: String,
    /// `None` if there is nothing that it could be measured of.
    judgement: Option<Judged>,
    /// Requests that it is measured of.
    requests: u64,
}

/// Compares.
///
/// # Errors
/// If a trace cannot be read, or a budget measures nothing.
pub fn compare(question: &Question<'_>, progress: &(dyn Fn(f64) + Sync)) -> Result<Comparison, CompareError> {
    let mut scenarios = Vec::new();
    let mut judged: Vec<OnScenario> = Vec::new();
    let mut replications = 0;
    let count = question.pairs.len().max(1) as f64;
    for (i, pair) in question.pairs.iter().enumerate() {
        let share = |done: f64| progress((i as f64 + done) / count);
        let Some(head) = &pair.head else {
            scenarios.push(removed(pair));
            continue;
        };
        let budgets: Vec<&Budget> = budgets_of(question, pair).filter(|b| b.is_for(&head.scenario)).collect();
        let found = sides(question, pair, head, &budgets, &share)?;
        replications = replications.max(found.iter().map(|side| side.runs().len() as u32).max().unwrap_or(0));
        let (base, head_side) = match found.as_slice() {
            [base, head] => (Some(base), head),
            [head] => (None, head),
            _ => unreachable!("a head, and at most one base"),
        };
        for budget in budgets {
            let requests = head_side.index(&budget.selection).map_or(0, |i| head_side.tokens.selections[i].requests());
            let judgement = verdict_of(question, budget, base, head_side);
            judged.push(OnScenario { budget: budget.clone(), scenario: pair.name.clone(), judgement, requests });
        }
        scenarios.push(scenario(question, pair, base, head_side));
    }
    let checks = checks(question, judged)?;
    let mut verdicts = BTreeMap::new();
    for check in &checks {
        *verdicts.entry(check.verdict.name().to_owned()).or_default() += 1;
    }
    let notes = notes(&scenarios);
    Ok(Comparison {
        schema_version: SCHEMA_VERSION,
        base: question.base.clone(),
        head: question.head.clone(),
        headline: overall(&scenarios),
        confidence: question.settings.confidence,
        replications,
        scenarios,
        checks,
        verdicts,
        notes,
    })
}

/// Budgets that may be about a pair.
fn budgets_of<'a>(question: &Question<'a>, pair: &'a Pair) -> impl Iterator<Item = &'a Budget> {
    let own: &[Budget] = if question.own_budgets { &pair.budgets } else { &[] };
    question.budgets.iter().chain(own)
}

/// The sides of a pair, looked at as deep as it takes: the base, if there is one, and the head.
fn sides<'a>(
    question: &Question<'_>,
    pair: &'a Pair,
    head: &'a Subject,
    budgets: &[&Budget],
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Vec<Side<'a>>, RunError> {
    // What did not change need not be run twice.
    let same = pair.base.as_ref().filter(|base| base.is_same_as(head));
    let subjects: Vec<&Subject> = pair.base.iter().filter(|_| same.is_none()).chain([head]).collect();
    let classes: BTreeSet<&str> =
        subjects.iter().flat_map(|s| s.scenario.classes.iter().map(|class| class.name.as_str())).collect();
    let needs = |stage: Stage| budgets.iter().any(|b| b.assertion.figure.stage() >= stage);
    let depth = Depth {
        runs: !question.tokens_only && (question.everything || needs(Stage::Simulated)),
        sizing: !question.tokens_only && (question.everything || needs(Stage::Sized)),
        band: !question.tokens_only && needs(Stage::Simulated),
        size_band: !question.tokens_only && needs(Stage::Sized),
    };
    let mut wanted = selections(classes.into_iter(), if depth.runs { &head.scenario.input_buckets } else { &[] });
    wanted.extend(budgets.iter().map(|budget| budget.selection.clone()));
    let mut selections: Vec<Selection> = Vec::new();
    wanted.into_iter().for_each(|s| {
        if !selections.contains(&s) {
            selections.push(s)
        }
    });
    let mut replications = match question.replications {
        Replications::Fixed(n) => n,
        Replications::Auto => 4,
    };
    loop {
        // Both sides draw by the same seeds.
        let seeds: Vec<u64> = (0..u64::from(replications)).map(|i| head.scenario.seed.wrapping_add(i)).collect();
        let make = |subject: &&'a Subject| Side::new(subject, &seeds, &selections, &question.settings);
        let mut sides: Vec<Side<'_>> = subjects.iter().map(make).collect::<Result<_, _>>()?;
        look(&mut sides, depth, &question.settings, progress)?;
        if let Some(base) = same {
            sides.insert(0, sides[0].twin(base));
        }
        if question.replications != Replications::Auto || replications >= REPLICATIONS_MAX || certain(budgets, &sides, question) {
            return Ok(sides);
        }
        replications *= 2;
    }
}

/// Whether every interval is shorter than a third of its margin.
fn certain(budgets: &[&Budget], sides: &[Side<'_>], question: &Question<'_>) -> bool {
    let (base, head) = match sides {
        [base, head] => (Some(base), head),
        [head] => (None, head),
        _ => return true,
    };
    budgets.iter().all(|budget| {
        let estimate = judge(budget, base, head, question.settings.confidence).and_then(|judged| judged.estimate);
        estimate.is_none_or(|e| !e.half_width().is_finite() || e.half_width() <= (e.value - budget.assertion.limit).abs() / 3.0)
    })
}

fn verdict_of(question: &Question<'_>, budget: &Budget, base: Option<&Side<'_>>, head: &Side<'_>) -> Option<Judged> {
    if question.tokens_only && budget.assertion.figure.stage() > Stage::Bound {
        let reason = Some("it needs a simulation, and only tokens were counted".to_owned());
        let by_seed = [Vec::new(), Vec::new()];
        return Some(Judged { verdict: Verdict::Skipped, sides: [None, None], estimate: None, band: None, by_seed, reason });
    }
    judge(budget, base, head, question.settings.confidence)
}

/// The reports of the budgets, in the order of their files.
fn checks(question: &Question<'_>, judged: Vec<OnScenario>) -> Result<Vec<CheckReport>, CompareError> {
    let measured: BTreeSet<&str> = judged.iter().filter(|on| on.judgement.is_some()).map(|on| on.budget.id.as_str()).collect();
    let own = question.pairs.iter().filter(|_| question.own_budgets).flat_map(|pair| &pair.budgets);
    let idle: Vec<(Budget, BudgetError)> = question
        .budgets
        .iter()
        .chain(own)
        .filter(|budget| !measured.contains(budget.id.as_str()))
        .map(|budget| (budget.clone(), why_idle(budget, question)))
        .collect();
    if !idle.is_empty() {
        return Err(CompareError::Budgets(idle));
    }
    let report = |on: OnScenario| on.judgement.map(|judged| check_report(&on.budget, on.scenario, judged, on.requests));
    Ok(judged.into_iter().filter_map(report).collect())
}

fn check_report(budget: &Budget, scenario: String, judged: Judged, requests: u64) -> CheckReport {
    let finite = |value: f64| Some(value).filter(|v| v.is_finite());
    let finite_all = |values: &[Option<f64>]| values.iter().map(|v| v.and_then(finite)).collect();
    let estimate = judged.estimate;
    let figure = &budget.assertion.figure;
    let end = |i: usize| judged.band.and_then(|band| band[i]).and_then(finite);
    CheckReport {
        id: budget.id.clone(),
        scenario,
        assert: budget.text.clone(),
        metric: figure.name(),
        unit: figure.of.unit,
        stage: figure.stage(),
        only: budget.selection.label(),
        verdict: judged.verdict,
        against: budget.assertion.against,
        op: budget.assertion.op,
        limit: budget.assertion.limit,
        base: judged.sides[0].and_then(finite),
        head: judged.sides[1].and_then(finite),
        value: estimate.and_then(|e| finite(e.value)),
        low: estimate.and_then(|e| finite(e.low)),
        high: estimate.and_then(|e| finite(e.high)),
        faster: end(0),
        slower: end(1),
        reason: judged.reason,
        base_by_seed: finite_all(&judged.by_seed[0]),
        head_by_seed: finite_all(&judged.by_seed[1]),
        requests,
        place: budget.place.clone(),
    }
}

/// What keeps a budget from being measured anywhere.
fn why_idle(budget: &Budget, question: &Question<'_>) -> BudgetError {
    let heads: Vec<&Subject> = question.pairs.iter().filter_map(|pair| pair.head.as_ref()).collect();
    let about: Vec<&&Subject> = heads.iter().filter(|head| budget.is_for(&head.scenario)).collect();
    let at = |message: String, help: Option<String>| BudgetError { message, span: Some(budget.only.clone()), help };
    if about.is_empty() {
        let names: Vec<String> =
            heads.iter().map(|h| format!("{} ({})", h.scenario.name, h.scenario.deployment.model.name)).collect();
        return at("there is no such scenario".to_owned(), Some(format!("there are {}", names.join(", "))));
    }
    // Of several scenarios, the one with the likeliest name.
    let mut missing: Vec<(String, Option<String>)> = Vec::new();
    for subject in &about {
        match budget.selection.resolve(&subject.scenario) {
            Ok(_) => {}
            Err((message, help)) => missing.push((message, help.map(|help| format!("{help} ({})", subject.scenario.name)))),
        }
    }
    let likely = missing.iter().position(|(_, help)| help.as_ref().is_some_and(|help| help.starts_with("did you mean")));
    if missing.len() == about.len() {
        let (message, help) = missing.swap_remove(likely.unwrap_or(0));
        return at(message, help);
    }
    let figure = &budget.assertion.figure;
    let targets = about.iter().any(|s| s.scenario.classes.iter().any(|class| !class.slo.targets.is_empty()));
    if !targets && (budget.assertion.is_sized() || figure.of.metric == crate::metric::Metric::Slo) {
        let help = "give a class one, such as slo = { ttft_p95 = \"800ms\" }".to_owned();
        return at(format!("`{}` needs a target, and no class has one", figure.name()), Some(help));
    }
    let whose = if budget.selection.is_all() { "the requests".to_owned() } else { budget.selection.label() };
    at(format!("`{}` measures nothing: {whose} of no scenario has any", figure.name()), None)
}

/// What both sides of a scenario say beside each other.
fn scenario(question: &Question<'_>, pair: &Pair, base: Option<&Side<'_>>, head: &Side<'_>) -> ScenarioComparison {
    let against = base.unwrap_or(head);
    let rows = rows(against, head, question.settings.confidence);
    let alone = |row: Row| match base {
        Some(_) => row,
        None => Row { base: None, difference: None, change: None, low: None, high: None, changed: false, ..row },
    };
    let mut found = ScenarioComparison {
        name: pair.name.clone(),
        presence: if base.is_some() { Presence::Both } else { Presence::Added },
        headline: String::new(),
        changes: base.map_or_else(Vec::new, |base| changes(&base.subject.typed, &head.subject.typed)),
        rows: rows.into_iter().map(alone).collect(),
        sources: sources(against, head),
        buckets: if head.runs().is_empty() { Vec::new() } else { buckets(against, head) },
        base: base.map(side_report),
        head: Some(side_report(head)),
    };
    found.headline = match (base, &question.base) {
        (Some(_), _) => headline(&found),
        (None, Some(_)) => "It is new: there is nothing to compare it with.".to_owned(),
        (None, None) => "There is no base to compare it with.".to_owned(),
    };
    found
}

fn removed(pair: &Pair) -> ScenarioComparison {
    ScenarioComparison {
        name: pair.name.clone(),
        presence: Presence::Removed,
        headline: "It is gone.".to_owned(),
        changes: Vec::new(),
        rows: Vec::new(),
        sources: Vec::new(),
        buckets: Vec::new(),
        base: None,
        head: None,
    }
}

fn side_report(side: &Side<'_>) -> SideReport {
    let cost = &side.subject.scenario.cost_info;
    // That of most runs.
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    side.runs().iter().for_each(|run| *states.entry(run.report.summary.capacity.state.as_str()).or_default() += 1);
    let state = states.iter().max_by_key(|(_, runs)| **runs).map(|(state, _)| (*state).to_owned());
    let mut notes = side.subject.scenario.notes.clone();
    if side.subject.scenario.cluster.dynamics.is_some() {
        let note = "load is against the replicas at the start, and replicas for the SLO are replicas that stay: the \
                    scenario's autoscaler, failures and schedule are in the simulated figures only";
        notes.push(note.to_owned());
    }
    if side.tokens.trace.is_some() {
        notes.push("a replayed trace is one sample: intervals over seeds say nothing of other days".to_owned());
    }
    if side.subject.scenario.classes.iter().any(|class| class.session.is_some()) {
        notes.push(
            "conversations are counted as if every answer came at once: one that the end cuts may have more turns".to_owned(),
        );
    }
    if !side.tokens.exact {
        notes.push("clients of a closed loop send as fast as they are answered: tokens are those of the simulated runs".to_owned());
    }
    SideReport {
        state,
        calibrated: cost.calibrated,
        profile: cost.profile.clone().unwrap_or_else(|| cost.kind.to_owned()),
        model_error: side.model_error,
        exact_tokens: side.tokens.exact,
        replica_curve: side.sized.as_ref().map_or_else(Vec::new, |sized| sized.curve.clone()),
        fingerprint: side.fingerprint(),
        out_of_range: side.runs().first().map_or_else(Vec::new, |run| run.report.model.out_of_range.clone()),
        notes,
    }
}

/// The sentence over all: that of the scenario that changed most.
fn overall(scenarios: &[ScenarioComparison]) -> String {
    let most = |s: &&ScenarioComparison| {
        let change = |row: &Row| if row.changed { row.change.unwrap_or(1.0).abs() } else { 0.0 };
        s.rows.iter().map(change).fold(0.0, f64::max)
    };
    let moved: Vec<&ScenarioComparison> = scenarios.iter().filter(|s| most(s) > 0.0).collect();
    let Some(first) = moved.iter().max_by(|a, b| most(a).total_cmp(&most(b))) else {
        return scenarios.first().filter(|_| scenarios.len() == 1).map_or("No change.".to_owned(), |s| s.headline.clone());
    };
    match moved.len() {
        1 if scenarios.len() == 1 => first.headline.clone(),
        1 => format!("{}: {}", first.name, first.headline),
        n => format!("{}: {} ({} more scenarios change)", first.name, first.headline, n - 1),
    }
}

/// What holds for all, once.
fn notes(scenarios: &[ScenarioComparison]) -> Vec<String> {
    let uncalibrated = |s: &&ScenarioComparison| s.head.as_ref().is_some_and(|h| !h.calibrated && h.state.is_some());
    let names: Vec<&str> = scenarios.iter().filter(uncalibrated).map(|s| s.name.as_str()).collect();
    let mut notes = Vec::new();
    if !names.is_empty() {
        notes.push(format!("uncalibrated: step times of {} come from a formula, not from measurements", names.join(", ")));
    }
    notes
}
