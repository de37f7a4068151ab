//! A replay against what was measured.

use super::measured::{MeasuredRequest, Pacing, Run};
use super::points::{Benchmark, Point};
use super::replay::{Predicted, Replayed, replay, requests_of_point, requests_of_run};
use super::report::{MetricReport, Pair, PointReport, RunReport, Server};
use super::stats::{Stats, error_percent, mean};
use super::{groups::LIGHT_QUEUE_SHARE, report::About};
use crate::scenario::Scenario;

/// A measured figure beside a predicted one.
pub fn pair(measured: f64, predicted: f64) -> Pair {
    Pair { measured, predicted, error: error_percent(predicted, measured) }
}

/// The server of a scenario.
pub fn server(scenario: &Scenario) -> Server {
    let (deployment, info) = (&scenario.deployment, &scenario.cost_info);
    Server {
        name: format!("{} {} on {}", deployment.model.name, deployment.weights, scenario.deployment_name()),
        calibrated: info.calibrated,
        profile: info.profile.clone().unwrap_or_else(|| info.kind.to_owned()),
        kv_blocks: scenario.kv_blocks,
    }
}

/// Replays a run on `scenario` and compares it.
pub fn run(name: &str, about: &About, run: &Run, scenario: &Scenario) -> RunReport {
    let replayed = replay(scenario, requests_of_run(run), run.pacing);
    let both = Both { run, replayed: &replayed };
    let ttft = |m: &MeasuredRequest| m.ttft_ms.filter(|_| !m.cold);
    let light = |p: &Predicted| p.queue_ms < LIGHT_QUEUE_SHARE * p.ttft_ms;
    let metrics = [
        both.metric("ttft", ttft, |p| Some(p.ttft_ms)),
        both.metric("ttft_light", ttft, |p| light(p).then_some(p.ttft_ms)),
        both.metric("ttft_queued", ttft, |p| (!light(p)).then_some(p.ttft_ms)),
        both.metric("tpot", |m| m.tpot_ms, |p| p.tpot_ms),
        both.gaps(),
        both.metric("e2e", |m| m.e2e_ms, |p| Some(p.e2e_ms)),
    ];
    let capacity = &replayed.summary.capacity;
    let makespan = both.makespan();
    let tokens: f64 = run.requests.iter().map(|m| f64::from(m.output_tokens)).sum();
    RunReport {
        name: name.to_owned(),
        about: about.clone(),
        format: run.format.to_owned(),
        server: server(scenario),
        requests: run.requests.len(),
        metrics: metrics.into_iter().flatten().collect(),
        throughput: makespan.map(|m| pair(tokens / m.measured, tokens / m.predicted)),
        makespan_s: makespan,
        state: capacity.state.clone(),
        headroom: capacity.headroom,
        unserved: replayed.requests.iter().filter(|p| p.is_none()).count(),
        out_of_range: replayed.out_of_range.clone(),
        left_out: run.left_out.clone(),
        pairs: [both.pairs(ttft, |p| Some(p.ttft_ms)), both.pairs(|m| m.tpot_ms, |p| p.tpot_ms)],
    }
}

/// A run and its replay.
struct Both<'a> {
    run: &'a Run,
    replayed: &'a Replayed,
}

impl Both<'_> {
    /// (measured, predicted) of the requests that have both.
    fn pairs(
        &self,
        measured: impl Fn(&MeasuredRequest) -> Option<f64>,
        predicted: impl Fn(&Predicted) -> Option<f64>,
    ) -> Vec<(f64, f64)> {
        let each = self.run.requests.iter().zip(&self.replayed.requests);
        each.filter_map(|(m, p)| Some((measured(m)?, predicted(p.as_ref()?)?))).collect()
    }

    fn metric(
        &self,
        metric: &'static str,
        measured: impl Fn(&MeasuredRequest) -> Option<f64>,
        predicted: impl Fn(&Predicted) -> Option<f64>,
    ) -> Option<MetricReport> {
        let pairs = self.pairs(measured, predicted);
        let (measured, predicted): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let absolute: Vec<f64> = pairs.iter().filter_map(|(m, p)| error_percent(*p, *m)).map(f64::abs).collect();
        Some(metric_report(metric, Stats::of(&measured)?, Stats::of(&predicted)?, mean(&absolute)))
    }

    /// Gaps between tokens: two distributions, since single gaps cannot be paired.
    fn gaps(&self) -> Option<MetricReport> {
        let measured: Vec<f64> = self.run.requests.iter().flat_map(|m| m.itl_ms.iter().copied()).collect();
        let itl = &self.replayed.summary.itl_ms;
        let count = usize::try_from(itl.count).unwrap_or(usize::MAX);
        let predicted = Stats { count, mean: itl.mean?, p50: itl.p50?, p90: itl.p90?, p99: itl.p99? };
        Some(metric_report("itl", Stats::of(&measured)?, predicted, None))
    }

    /// First submission to last token [s], where all requests have both ends.
    fn makespan(&self) -> Option<Pair> {
        let ends = |arrival: f64, e2e_ms: f64| arrival + e2e_ms / 1e3;
        let measured: Option<Vec<f64>> = self.run.requests.iter().map(|m| Some(ends(m.arrival_s?, m.e2e_ms?))).collect();
        let first = self.run.requests.iter().filter_map(|m| m.arrival_s).fold(f64::INFINITY, f64::min);
        let predicted = self.replayed.requests.iter().flatten().map(|p| ends(p.arrival_s, p.e2e_ms)).fold(0.0, f64::max);
        let last = measured?.into_iter().fold(0.0, f64::max);
        (last > first && predicted > 0.0).then(|| pair(last - first, predicted))
    }
}

fn metric_report(metric: &'static str, measured: Stats, predicted: Stats, mape: Option<f64>) -> MetricReport {
    let errors = [
        error_percent(predicted.mean, measured.mean),
        error_percent(predicted.p50, measured.p50),
        error_percent(predicted.p90, measured.p90),
        error_percent(predicted.p99, measured.p99),
    ];
    MetricReport { metric, measured, predicted, errors, mape }
}

/// Simulates a benchmark point on `scenario` and compares its means; `None` if the simulation served no request whole.
pub fn point(point: &Point, benchmark: &Benchmark, scenario: &Scenario) -> Option<PointReport> {
    let replayed = replay(scenario, requests_of_point(point, benchmark, scenario.seed), Pacing::Closed(point.concurrency));
    let ramp = point.concurrency as usize * benchmark.ramp_per_client as usize;
    let compared: Vec<&Predicted> = replayed.requests.iter().skip(ramp).flatten().collect();
    let mean_of = |of: fn(&Predicted) -> Option<f64>| mean(&compared.iter().filter_map(|p| of(p)).collect::<Vec<_>>());
    let (ttft, queue) = (mean_of(|p| Some(p.ttft_ms))?, mean_of(|p| Some(p.queue_ms))?);
    Some(PointReport {
        id: point.id.clone(),
        group: point.group.clone(),
        server: server(scenario),
        isl: point.isl,
        osl: point.osl,
        concurrency: point.concurrency,
        ttft: pair(point.ttft_ms, ttft),
        tpot: pair(point.tpot_ms, mean_of(|p| p.tpot_ms)?),
        throughput: point.output_tokens_per_s.map(|measured| pair(measured, replayed.summary.output_tokens_per_s)),
        queue_share: queue / ttft,
        kv_use_peak: replayed.summary.kv_use_peak,
        unserved: replayed.requests.iter().filter(|p| p.is_none()).count(),
        out_of_range: replayed.out_of_range,
    })
}
