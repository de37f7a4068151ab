//! A Prometheus on the simulated clock: scrapes pods and the gateway, each with its own phase, evaluates recording rules, and keeps
//! of all series those that some query needs, for as long as one looks back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokentide_models::hash::mix;
use tokentide_models::units::{Duration, Time};

use crate::config;
use crate::exposition;
use crate::pods::{Pod, Workload};
use crate::promql::{Labels, Query, QueryError, Series, Source, Value};

/// The gateway among the targets, which are pods else.
const GATEWAY: u32 = u32::MAX;

/// A series with its samples.
struct Stored {
    labels: Labels,
    /// `None`: it ended.
    samples: VecDeque<(Time, Option<f64>)>,
}

/// What is scraped.
struct Target {
    next: Time,
    /// Its series, in the order of its samples.
    series: Vec<usize>,
}

/// A rule that makes a series.
struct Rule {
    record: String,
    query: Query,
    /// The series that its latest evaluation gave.
    given: Vec<usize>,
}

/// A Prometheus.
pub struct Prometheus {
    config: config::Prometheus,
    seed: u64,
    model: Arc<str>,
    wanted: Vec<String>,
    /// How far back anything looks.
    reach: Duration,
    series: Vec<Stored>,
    /// Series by name.
    by_name: BTreeMap<String, Vec<usize>>,
    targets: BTreeMap<u32, Target>,
    rules: Vec<Rule>,
    next_rules: Time,
}

impl Prometheus {
    /// One that has scraped nothing yet. `queries` are all that it will be asked beside its rules; `seed` decides the phases of
    /// targets, `model` is the name of the served model.
    ///
    /// # Errors
    /// If a rule cannot be read.
    pub fn new(config: &config::Prometheus, seed: u64, model: &str, queries: &[&Query]) -> Result<Prometheus, QueryError> {
        let recorded: Vec<String> = config.rules.iter().map(|rule| rule.record.clone()).collect();
        let mut rules = Vec::new();
        for rule in &config.rules {
            let query = Query::parse(&rule.expr, &recorded)
                .map_err(|error| QueryError(format!("recording rule `{}`: {error}", rule.record)))?;
            rules.push(Rule { record: rule.record.clone(), query, given: Vec::new() });
        }
        let all = || rules.iter().map(|rule| &rule.query).chain(queries.iter().copied());
        let mut wanted: Vec<String> = all().flat_map(|query| query.names.clone()).collect();
        wanted.sort();
        wanted.dedup();
        let reach = all().map(|query| query.reach).max().unwrap_or(Duration::ZERO);
        let next_rules = if rules.is_empty() { Time::NEVER } else { Time(config.evaluation.0) };
        let mut prometheus = Prometheus {
            config: config.clone(),
            seed,
            model: model.into(),
            wanted,
            reach: Duration(reach.0 + config.lookback.0),
            series: Vec::new(),
            by_name: BTreeMap::new(),
            targets: BTreeMap::new(),
            rules,
            next_rules,
        };
        prometheus.add(GATEWAY, Time::ZERO);
        Ok(prometheus)
    }

    /// When it does something next.
    pub fn next(&self) -> Time {
        self.targets.values().map(|target| target.next).min().unwrap_or(Time::NEVER).min(self.next_rules)
    }

    /// Takes in which pods there are at `now`: those that have become ready are scraped from now on, series of those that are gone
    /// end.
    pub fn discover(&mut self, now: Time, pods: &[Pod]) {
        let there = |id: u32| id == GATEWAY || pods.iter().any(|pod| pod.id == id && pod.ready.is_some());
        let gone: Vec<u32> = self.targets.keys().copied().filter(|&id| !there(id)).collect();
        for id in gone {
            for series in self.targets.remove(&id).map(|target| target.series).unwrap_or_default() {
                self.series[series].samples.push_back((now, None));
            }
        }
        self.forget(now);
        for pod in pods.iter().filter(|pod| pod.ready.is_some()) {
            if !self.targets.contains_key(&pod.id) {
                self.add(pod.id, now);
            }
        }
    }

    /// Lets go of series that ended before anything looks back to.
    fn forget(&mut self, now: Time) {
        let Prometheus { by_name, series, reach, .. } = self;
        let over = |stored: &Stored| matches!(stored.samples.back(), Some((time, None)) if now.since(*time) > *reach);
        for named in by_name.values_mut() {
            named.retain(|&i| {
                let over = over(&series[i]);
                if over {
                    series[i] = Stored { labels: Vec::new(), samples: VecDeque::new() };
                }
                !over
            });
        }
    }

    /// A new target, scraped at the first time of its phase from `now` on.
    fn add(&mut self, id: u32, now: Time) {
        let interval = self.config.scrape.0;
        let phase = mix(self.seed ^ mix(u64::from(id) + 1)) % interval;
        let next = now.0.saturating_sub(phase).div_ceil(interval) * interval + phase;
        self.targets.insert(id, Target { next: Time(next), series: Vec::new() });
    }

    /// Scrapes, and evaluates rules, that are due by `now`.
    pub fn act(&mut self, now: Time, workload: &mut dyn Workload) {
        let due: Vec<u32> = self.targets.iter().filter(|(_, target)| target.next <= now).map(|(&id, _)| id).collect();
        for id in due {
            self.scrape(id, now, workload);
        }
        if self.next_rules <= now {
            self.evaluate(now);
            self.next_rules += self.config.evaluation;
        }
    }

    fn scrape(&mut self, id: u32, now: Time, workload: &mut dyn Workload) {
        let mut found: Vec<exposition::Sample> = Vec::new();
        let wanted = |name: &str| self.wanted.iter().any(|wanted| wanted == name);
        let mut push = |sample| found.push(sample);
        match id {
            GATEWAY => exposition::gateway(&workload.gateway_metrics(now), &wanted, &mut push),
            pod => exposition::pod(&workload.pod_metrics(pod, now), &wanted, &mut push),
        }
        let mut target = self.targets.remove(&id).expect("it is due");
        if target.series.is_empty() {
            target.series = found.iter().map(|(name, label, _)| self.series_of(id, name, label.as_ref())).collect();
        }
        for (&series, (_, _, value)) in target.series.iter().zip(&found) {
            self.push(series, now, *value);
        }
        target.next += self.config.scrape;
        self.targets.insert(id, target);
    }

    /// The series of a target's sample: a new one, or the one that its pod had before it started again.
    fn series_of(&mut self, id: u32, name: &str, label: Option<&(&'static str, String)>) -> usize {
        let mut labels: Labels = vec![("__name__".into(), name.into()), ("model_name".into(), self.model.clone())];
        if id != GATEWAY {
            labels.push(("pod".into(), format!("replica-{id}").into()));
            labels.push(("engine".into(), "0".into()));
        }
        if let Some((label, value)) = label {
            labels.push(((*label).into(), value.as_str().into()));
        }
        labels.sort();
        self.stored(name, labels)
    }

    /// The series of these labels.
    fn stored(&mut self, name: &str, labels: Labels) -> usize {
        let named = self.by_name.entry(name.to_owned()).or_default();
        if let Some(&series) = named.iter().find(|&&series| self.series[series].labels == labels) {
            return series;
        }
        named.push(self.series.len());
        self.series.push(Stored { labels, samples: VecDeque::new() });
        self.series.len() - 1
    }

    fn push(&mut self, series: usize, now: Time, value: f64) {
        let samples = &mut self.series[series].samples;
        samples.push_back((now, Some(value)));
        while samples.front().is_some_and(|(time, _)| now.since(*time) > self.reach) {
            samples.pop_front();
        }
    }

    fn evaluate(&mut self, now: Time) {
        for i in 0..self.rules.len() {
            // A rule whose vectors do not match gives nothing, as Prometheus logs and goes on.
            let samples = match self.rules[i].query.value(self, now) {
                Ok(Value::Vector(samples)) => samples,
                Ok(Value::Scalar(value)) => vec![crate::promql::Sample { labels: Vec::new(), value }],
                Err(_) => Vec::new(),
            };
            let record = self.rules[i].record.clone();
            let mut given = Vec::new();
            for mut sample in samples {
                sample.labels.retain(|(name, _)| &**name != "__name__");
                sample.labels.push(("__name__".into(), record.as_str().into()));
                sample.labels.sort();
                let series = self.stored(&record, sample.labels);
                self.push(series, now, sample.value);
                given.push(series);
            }
            let before = std::mem::replace(&mut self.rules[i].given, given);
            for series in before.into_iter().filter(|series| !self.rules[i].given.contains(series)).collect::<Vec<_>>() {
                self.series[series].samples.push_back((now, None));
            }
        }
    }
}

impl Source for Prometheus {
    fn series(&self, name: &str, each: &mut dyn FnMut(Series<'_>)) {
        for &series in self.by_name.get(name).into_iter().flatten() {
            let Stored { labels, samples } = &self.series[series];
            each(Series { labels, samples: &mut samples.iter().copied() });
        }
    }

    fn lookback(&self) -> Duration {
        self.config.lookback
    }
}
