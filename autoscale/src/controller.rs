//! The loop: clocks of Prometheus, metrics-server, KEDA and the HPA, each with its own period.
//!
//! At one time scrapes come first, then recording rules, CPU samples, KEDA's poll, and the HPA's sync.

use std::collections::BTreeMap;

use tokentide_models::units::{Duration, Time};

use crate::config::{Autoscaler, MetricSource, Target};
use crate::hpa::{CpuSample, HpaState, Readings};
use crate::keda::KedaState;
use crate::pods::{Pod, Workload};
use crate::prometheus::Prometheus;
use crate::promql::{Query, QueryError, Value};

/// metrics-server's `--metric-resolution` [ps]: 15 s.
const RESOLUTION: Duration = Duration(15_000_000_000_000);

/// A change of the number of replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// To how many.
    pub to: u32,
    /// Why.
    pub why: String,
}

/// An autoscaler at work.
pub struct Controller {
    config: Autoscaler,
    /// Of each metric of the HPA, if it has one.
    queries: Vec<Option<Query>>,
    prometheus: Prometheus,
    metrics_server: MetricsServer,
    keda: Option<(KedaState, Time)>,
    hpa: HpaState,
    next_sync: Time,
}

/// CPU of pods between two samples.
#[derive(Default)]
struct MetricsServer {
    next: Time,
    last: BTreeMap<u32, (Time, f64)>,
    samples: BTreeMap<u32, CpuSample>,
}

impl Controller {
    /// One that has seen nothing; `model` is the name of the served model.
    ///
    /// # Errors
    /// If a query cannot be read; it says of which metric.
    pub fn new(config: &Autoscaler, seed: u64, model: &str) -> Result<Controller, QueryError> {
        let queries = queries(config)?;
        let asked: Vec<&Query> = queries.iter().flatten().collect();
        let prometheus = Prometheus::new(&config.prometheus, seed, model, &asked)?;
        let uses_cpu = config.hpa.metrics.iter().any(|metric| matches!(metric.source, MetricSource::Cpu { .. }));
        let next = if uses_cpu { Time(RESOLUTION.0) } else { Time::NEVER };
        let keda = config.keda.as_ref().map(|keda| (KedaState::new(keda, config.hpa.metrics.len()), Time(keda.polling.0)));
        Ok(Controller {
            hpa: HpaState::new(&config.hpa, &config.flags),
            next_sync: config.flags.first_sync,
            config: config.clone(),
            queries,
            prometheus,
            metrics_server: MetricsServer { next, ..MetricsServer::default() },
            keda,
        })
    }

    /// When it does something next.
    pub fn next(&self) -> Time {
        let poll = self.keda.as_ref().map_or(Time::NEVER, |(_, next)| *next);
        self.prometheus.next().min(self.metrics_server.next).min(poll).min(self.next_sync)
    }

    /// Takes in which pods there are; to be called whenever that changes.
    pub fn discover(&mut self, now: Time, pods: &[Pod]) {
        self.prometheus.discover(now, pods);
    }

    /// Does what is due by `now`, with `current` replicas wanted: another number of them, and why.
    pub fn act(&mut self, now: Time, current: u32, workload: &mut dyn Workload) -> Option<Change> {
        self.prometheus.act(now, workload);
        if self.metrics_server.next <= now {
            self.metrics_server.sample(now, workload);
        }
        let mut wanted = Change { to: current, why: String::new() };
        if self.keda.as_ref().is_some_and(|(_, next)| *next <= now) {
            self.poll(now, &mut wanted);
        }
        if self.next_sync <= now {
            self.next_sync += self.config.flags.sync;
            let pods = workload.pods();
            let status = pods.iter().filter(|pod| !pod.terminating).count() as u32;
            let mut readings = Sampled {
                now,
                config: &self.config,
                queries: &self.queries,
                prometheus: &self.prometheus,
                keda: self.keda.as_mut().map(|(state, _)| state),
                cpu: &self.metrics_server,
            };
            let decision = self.hpa.sync(now, wanted.to, status, &pods, &mut readings);
            if decision.desired != wanted.to {
                wanted = Change { to: decision.desired, why: decision.why };
            }
        }
        (wanted.to != current).then_some(wanted)
    }

    fn poll(&mut self, now: Time, wanted: &mut Change) {
        let read = |metric| external(&self.queries, &self.prometheus, metric, now);
        let readings = (0..self.queries.len()).map(|metric| self.queries[metric].is_some().then(|| read(metric))).collect();
        let (state, next) = self.keda.as_mut().expect("it is due");
        *next += self.config.keda.as_ref().expect("it has one").polling;
        if let Some((to, why)) = state.poll(now, wanted.to, readings) {
            *wanted = Change { to, why };
        }
    }
}

/// The queries of an autoscaler's metrics.
///
/// # Errors
/// If one cannot be read; it says of which metric.
pub fn queries(config: &Autoscaler) -> Result<Vec<Option<Query>>, QueryError> {
    let recorded: Vec<String> = config.prometheus.rules.iter().map(|rule| rule.record.clone()).collect();
    let parse = |metric: &crate::config::Metric| match &metric.source {
        MetricSource::External { query } | MetricSource::Pods { query } => {
            let query = Query::parse(query, &recorded);
            query.map(Some).map_err(|error| QueryError(format!("metric `{}`: {error}", metric.name)))
        }
        MetricSource::Cpu { .. } => Ok(None),
    };
    config.hpa.metrics.iter().map(parse).collect()
}

/// The number of an external metric [1/1000].
fn external(queries: &[Option<Query>], prometheus: &Prometheus, metric: usize, now: Time) -> Result<i64, String> {
    let query = queries[metric].as_ref().ok_or("no query")?;
    let value = query.number(prometheus, now).map_err(|error| error.to_string())?;
    Ok((value * 1000.0).round() as i64)
}

/// What the HPA reads.
struct Sampled<'a> {
    now: Time,
    config: &'a Autoscaler,
    queries: &'a [Option<Query>],
    prometheus: &'a Prometheus,
    keda: Option<&'a mut KedaState>,
    cpu: &'a MetricsServer,
}

impl Readings for Sampled<'_> {
    fn external(&mut self, metric: usize) -> Result<i64, String> {
        let fresh = external(self.queries, self.prometheus, metric, self.now);
        let target: Target = self.config.hpa.metrics[metric].target;
        match &mut self.keda {
            Some(keda) => keda.reading(metric, fresh, target),
            None => fresh,
        }
    }

    fn pods(&mut self, metric: usize) -> Result<Vec<(u32, i64)>, String> {
        let query = self.queries[metric].as_ref().ok_or("no query")?;
        let Value::Vector(samples) = query.value(self.prometheus, self.now).map_err(|error| error.to_string())? else {
            return Err("the query gives one number, not one for each pod".to_owned());
        };
        let of = |sample: crate::promql::Sample| {
            let (_, pod) = sample.labels.iter().find(|(name, _)| &**name == "pod")?;
            let pod = pod.strip_prefix("replica-")?.parse().ok()?;
            sample.value.is_finite().then_some((pod, (sample.value * 1000.0).round() as i64))
        };
        Ok(samples.into_iter().filter_map(of).collect())
    }

    fn cpu(&mut self, _metric: usize) -> Result<Vec<CpuSample>, String> {
        Ok(self.cpu.samples.values().copied().collect())
    }
}

impl MetricsServer {
    /// Reads every pod that has an engine; of one read before it then has the mean in between.
    fn sample(&mut self, now: Time, workload: &mut dyn Workload) {
        self.next += RESOLUTION;
        let pods = workload.pods();
        let there = |id: &u32| pods.iter().any(|pod| pod.id == *id && pod.ready.is_some());
        self.last.retain(|id, _| there(id));
        self.samples.retain(|id, _| there(id));
        for pod in pods.iter().filter(|pod| pod.ready.is_some()) {
            let used = workload.pod_metrics(pod.id, now).cpu_s;
            if let Some((since, before)) = self.last.insert(pod.id, (now, used))
                && used >= before
            {
                let window = now - since;
                let millicores = ((used - before) / window.as_secs_f64() * 1000.0).round() as i64;
                self.samples.insert(pod.id, CpuSample { pod: pod.id, millicores, at: now, window });
            }
        }
    }
}
