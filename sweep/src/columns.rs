//! The figures kept of each run: a fixed list of columns, the same for every shard of a sweep.

use std::collections::{BTreeMap, HashMap};

use tokentide_sim::metrics::{target_name, visit_figures};
use tokentide_sim::report::{Fingerprint, Fleet, Group, ModelInfo, Quantiles, Report, SloResult, SloSummary, Summary, Timeline};
use tokentide_sim::run::SCHEMA_VERSION;
use tokentide_sim::scenario::{Scenario, Source};

/// Names of the figures, in order. A name is the figure's path in `simulate --format json` with `_` between its parts, without
/// `summary`: `summary.ttft_ms.p95` is `ttft_ms_p95`, `classes.chat.ttft_ms.p95` is `class_chat_ttft_ms_p95`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Columns {
    /// What runs of these scenarios can have: classes where there are several, targets, replicas that change where one's do.
    pub fn of(scenarios: &[&Scenario]) -> Columns {
        let mut names: Vec<String> = Vec::new();
        let several = scenarios.iter().any(|scenario| scenario.classes.len() > 1);
        let fleet = scenarios.iter().any(|scenario| scenario.cluster.dynamics.is_some());
        for scenario in scenarios {
            visit_figures(&mut blank(scenario, several, fleet), &mut |path, _| {
                if let Some(name) = name(&path).filter(|name| !names.contains(name)) {
                    names.push(name);
                }
            });
        }
        Columns::named(names)
    }

    /// With these names.
    pub fn named(names: Vec<String>) -> Columns {
        let places = names.iter().enumerate().map(|(i, name)| (name.clone(), i)).collect();
        Columns { names, places }
    }

    /// In order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Where a figure is.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The figures of a report, in order; what it does not have is none.
    pub fn figures(&self, mut report: Report) -> Vec<Option<f64>> {
        let mut figures = vec![None; self.names.len()];
        visit_figures(&mut report, &mut |path, figure| {
            if let Some(place) = name(&path).and_then(|name| self.place(&name)) {
                figures[place] = figure.get().filter(|x| x.is_finite());
            }
        });
        figures
    }
}

/// The column of a figure, if it has one. Buckets and single replicas have none, and of a class only what is compared.
fn name(path: &str) -> Option<String> {
    let path = match path.split_once('.')? {
        ("summary", rest) => rest.to_owned(),
        ("fleet", _) => path.to_owned(),
        ("classes", rest) => {
            let figure = rest.rsplit('.').next()?;
            if rest.contains(".input_tokens_by_source.") || matches!(figure, "p90" | "max" | "count") {
                return None;
            }
            format!("class.{rest}")
        }
        _ => return None,
    };
    Some(path.replace('.', "_"))
}

/// A report in which every figure of the scenario is there, and says nothing.
fn blank(scenario: &Scenario, classes: bool, fleet: bool) -> Report {
    let sources = || Source::ALL.into_iter().map(|source| (source.name().to_owned(), 0)).collect::<BTreeMap<_, _>>();
    let class = |name: &String| Group { name: name.clone(), itl_ms: Some(Quantiles::default()), ..Group::default() };
    let targets = scenario.classes.iter().flat_map(|class| {
        let target = |target| SloResult {
            class: class.name.clone(),
            target: target_name(target),
            quantile: 0.0,
            limit_ms: 0.0,
            value_ms: None,
            attainment: 0.0,
            met: false,
        };
        class.slo.targets.iter().map(target)
    });
    Report {
        schema_version: SCHEMA_VERSION,
        scenario: scenario.name.clone(),
        summary: Summary {
            input_tokens_by_source: sources(),
            slo: SloSummary { targets: targets.collect(), ..SloSummary::default() },
            ..Summary::default()
        },
        classes: scenario.classes.iter().map(|c| &c.name).filter(|_| classes).map(class).collect(),
        buckets: Vec::new(),
        output_buckets: Vec::new(),
        replicas: Vec::new(),
        timeline: Timeline::default(),
        fleet: fleet.then(Fleet::default),
        model: ModelInfo {
            name: String::new(),
            gpu: String::new(),
            layout: String::new(),
            replicas: 0,
            router: String::new(),
            cost: scenario.cost_info.clone(),
            out_of_range: Vec::new(),
        },
        ci95: None,
        fingerprint: Fingerprint {
            version: String::new(),
            scenario: String::new(),
            profile: String::new(),
            trace: None,
            tokenizer: None,
            seeds: Vec::new(),
        },
        notes: Vec::new(),
        distributions: Vec::new(),
    }
}
