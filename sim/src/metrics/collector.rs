//! Collects what a run is asked for, as it happens: memory does not grow with the number of requests.

use tokentide_models::cost::BatchShape;
use tokentide_models::units::{Duration, Time};

use super::capacity::{Core, Sums};
use super::group::{GroupStats, counts, times};
use super::histogram::Histogram;
use super::presence::Presence;
use super::timeline::Timeline;
use crate::cluster::History;
use crate::engine::{CoreId, EngineTotals, Finish, Gaps, Latencies, Levels, Observer, Outcome};
use crate::report::{self, Capacity, Cost, Fleet, ReplicaSummary, RequestCounts, SloResult, SloSummary, Summary};
use crate::scenario::{Arrivals, Class, Scenario, SloMetric, SloTarget};
use crate::workload::Prefix;

/// Receives everything that happens in a run.
pub struct Collector<'a, R> {
    scenario: &'a Scenario,
    /// Receives each outcome after it was counted, warm-up included.
    records: R,
    /// By class, input bucket and output bucket: every table of the report is a merge of some of them, and a request is counted
    /// once.
    cells: Vec<GroupStats>,
    /// Inter-token gaps by class.
    itl: Vec<Histogram>,
    slo: Vec<SloCounts>,
    timeline: Timeline,
    arrivals: Span,
    last_end: Time,
    near_limit: u64,
    near_limit_from: u32,
    /// Over requests that ran.
    computed: Sums,
    waiting_peak: u32,
    waiting_tokens_peak: u64,
    /// Largest batches and contexts, against the profile's ranges.
    extremes: Extremes,
}

/// Arrivals counted.
#[derive(Clone, Copy, Default)]
struct Span {
    first: Option<Time>,
    last: Time,
}

/// Largest values seen in a step.
#[derive(Clone, Copy, Default)]
struct Extremes {
    decodes: u32,
    context: u64,
    prefill_tokens: u64,
}

/// A class's requests against its targets.
#[derive(Clone, Default)]
struct SloCounts {
    good: u64,
    within: Vec<u64>,
}

impl<'a, R: FnMut(&Outcome)> Collector<'a, R> {
    /// For a run of `scenario`; `records` receives each outcome.
    pub fn new(scenario: &'a Scenario, records: R) -> Self {
        let classes = scenario.classes.len().max(1);
        let cells = classes * (scenario.input_buckets.len() + 1) * (scenario.output_buckets.len() + 1);
        let slo = scenario.classes.iter().map(|c| SloCounts { good: 0, within: vec![0; c.slo.targets.len()] });
        Collector {
            scenario,
            records,
            cells: vec![GroupStats::default(); cells],
            itl: vec![Histogram::of_times(); classes],
            slo: slo.collect(),
            timeline: Timeline::default(),
            arrivals: Span::default(),
            last_end: Time::ZERO,
            near_limit: 0,
            near_limit_from: (f64::from(scenario.engine.max_model_len) * scenario.near_context_limit).ceil() as u32,
            computed: Sums::default(),
            waiting_peak: 0,
            waiting_tokens_peak: 0,
            extremes: Extremes::default(),
        }
    }

    /// Merges the cells whose (class, input bucket, output bucket) `chosen` maps to an index below `n`.
    fn merged(&self, n: usize, chosen: impl Fn(usize, usize, usize) -> usize) -> Vec<GroupStats> {
        let (inputs, outputs) = (self.scenario.input_buckets.len() + 1, self.scenario.output_buckets.len() + 1);
        let mut groups = vec![GroupStats::default(); n];
        for (i, cell) in self.cells.iter().enumerate() {
            groups[chosen(i / outputs / inputs, i / outputs % inputs, i % outputs)].merge(cell);
        }
        groups
    }

    fn by_class(&self) -> Vec<GroupStats> {
        let mut classes = self.merged(self.itl.len(), |class, _, _| class);
        for (class, itl) in classes.iter_mut().zip(&self.itl) {
            class.itl.merge(itl);
        }
        classes
    }

    /// The figures of the run, `totals` being those of its engine cores, replica by replica; `history` tells when they were there.
    pub fn finish(self, totals: &[EngineTotals], history: Option<&History>) -> Figures {
        let classes = self.by_class();
        let mut all = GroupStats::default();
        classes.iter().for_each(|c| all.merge(c));
        let inputs = self.merged(self.scenario.input_buckets.len() + 1, |_, input, _| input);
        let outputs = self.merged(self.scenario.output_buckets.len() + 1, |_, _, output| output);
        let scenario = self.scenario;
        let ranks = scenario.deployment.data_parallel;
        let presence = Presence::new(history, totals.len(), ranks, self.last_end);
        let summary = self.summary(&all, &classes, totals, &presence);
        let class_name = |i: usize| scenario.classes.get(i).map_or("all".to_owned(), |c| c.name.clone());
        let load = summary.capacity.load;
        let mean_busy = totals.iter().map(|t| t.busy_ps).sum::<u64>() as f64 / totals.len() as f64;
        let replica = |(engine, ranks): (usize, &[EngineTotals])| {
            let busy = ranks.iter().map(|t| t.busy_ps).sum::<u64>() as f64 / ranks.len() as f64;
            let kv_peak = ranks.iter().map(|t| t.kv_blocks_peak).max().unwrap_or(0);
            ReplicaSummary {
                requests: ranks.iter().map(|t| t.requests).sum(),
                iterations: ranks.iter().map(|t| t.steps).sum(),
                preemptions: ranks.iter().map(|t| t.preemptions).sum(),
                utilisation: ratio(busy, presence.served_ps(engine) as f64),
                kv_use_peak: ratio(f64::from(kv_peak), f64::from(scenario.kv_blocks)),
                load: load * ratio(busy, mean_busy),
            }
        };
        let named = |bounds: &[u32], groups: &[GroupStats]| {
            let report = |(i, g): (usize, &GroupStats)| g.report(bucket_name(bounds, i), false);
            groups.iter().enumerate().filter(|(_, g)| g.requests() > 0).map(report).collect()
        };
        let bins = self.timeline.bins(self.last_end);
        let timeline = self.timeline.report(self.last_end, &presence.cores_in(&bins), scenario.kv_blocks);
        let fleet = presence.report(scenario, &bins).map(|fleet| self.with_missed(fleet, &bins, &timeline));
        let mut figures = Figures {
            distributions: Vec::new(),
            classes: classes.iter().enumerate().map(|(i, g)| g.report(class_name(i), true)).collect(),
            buckets: named(&scenario.input_buckets, &inputs),
            output_buckets: named(&scenario.output_buckets, &outputs),
            replicas: totals.chunks(ranks as usize).enumerate().map(replica).collect(),
            timeline,
            fleet,
            out_of_range: self.out_of_range(),
            summary,
        };
        let of_classes = classes.into_iter().enumerate().map(|(i, g)| ("class", class_name(i), g));
        let of_inputs = inputs.into_iter().enumerate().map(|(i, g)| ("input tokens", bucket_name(&scenario.input_buckets, i), g));
        let groups = std::iter::once(("all", "all".to_owned(), all)).chain(of_classes).chain(of_inputs);
        figures.distributions = groups.flat_map(|(kind, name, g)| g.into_distributions(kind, &name)).collect();
        figures
    }

    /// The time in which the lowest of the targets' percentiles was not reached.
    fn with_missed(&self, fleet: Fleet, bins: &[(Time, Time)], timeline: &report::Timeline) -> Fleet {
        let targets = self.scenario.classes.iter().flat_map(|class| &class.slo.targets);
        let lowest = targets.map(|target| target.quantile).reduce(f64::min);
        let missed = |lowest: f64| {
            let judged = timeline.slo_requests.iter().zip(&timeline.slo_good).zip(bins);
            let missed = judged.filter(|((all, good), _)| (**good as f64) < lowest * **all as f64);
            // Not `sum`, which is -0 of nothing.
            missed.map(|(_, bin)| bin.1.since(bin.0).as_secs_f64()).fold(0.0, |all, one| all + one)
        };
        Fleet { slo_missed_s: lowest.map(missed), ..fleet }
    }

    fn summary(&self, all: &GroupStats, classes: &[GroupStats], totals: &[EngineTotals], presence: &Presence<'_>) -> Summary {
        let scenario = self.scenario;
        let first = self.arrivals.first.unwrap_or(Time::ZERO);
        let duration_s = self.last_end.since(first).as_secs_f64();
        let completed = all.completed();
        let per_s = |n: f64| ratio(n, duration_s);
        let served = presence.total_ps();
        let busy: u64 = totals.iter().map(|t| t.busy_ps).sum();
        let kv_peak = totals.iter().map(|t| t.kv_blocks_peak).max().unwrap_or(0);
        let by_finish = Finish::ALL.iter().map(|&f| (f.name().to_owned(), all.by_finish[f as usize])).collect();
        Summary {
            ttft_ms: times(&all.ttft),
            tpot_ms: times(&all.tpot),
            itl_ms: times(&all.itl),
            e2e_ms: times(&all.e2e),
            queue_ms: times(&all.queue),
            requests: RequestCounts { total: all.requests(), completed, by_finish },
            input_length: counts(&all.input),
            output_length: counts(&all.output),
            input_tokens: all.input_tokens,
            output_tokens: all.output_tokens,
            cached_tokens: all.cached_tokens,
            input_tokens_by_source: all.by_source(),
            duration_s,
            output_tokens_per_s: per_s(all.output_tokens as f64),
            input_tokens_per_s: per_s(all.input_tokens as f64),
            requests_per_s: per_s(completed as f64),
            iterations: totals.iter().map(|t| t.steps).sum(),
            preemptions: totals.iter().map(|t| t.preemptions).sum(),
            kv_blocks: scenario.kv_blocks.saturating_mul(scenario.deployment.data_parallel),
            kv_use_peak: ratio(f64::from(kv_peak), f64::from(scenario.kv_blocks)),
            kv_use_mean: self.timeline.mean_kv_used(served) / f64::from(scenario.kv_blocks),
            waiting_requests_peak: self.waiting_peak.into(),
            waiting_tokens_peak: self.waiting_tokens_peak,
            utilisation: ratio(busy as f64, served as f64),
            capacity: self.capacity(all, presence.mean_cores(), per_s(completed as f64)),
            slo: self.slo_summary(classes, duration_s),
            near_context_limit: ratio(self.near_limit as f64, all.requests() as f64),
            output_cap_hit: ratio(all.by_finish[Finish::Length as usize] as f64, completed as f64),
            cost: self.cost(all, duration_s, completed, presence),
        }
    }

    fn capacity(&self, all: &GroupStats, cores: f64, served: f64) -> Capacity {
        let scenario = self.scenario;
        let Some(mix) = self.computed.mix() else {
            return Capacity { state: "idle".to_owned(), ..Capacity::default() };
        };
        let core = Core {
            engine: &scenario.engine,
            kv_blocks: scenario.kv_blocks,
            cost: scenario.cost.as_ref(),
            stages: scenario.deployment.pipeline_parallel,
        };
        let knee = core.throughput_bound(&mix) * cores;
        let span = self.arrivals.last.since(self.arrivals.first.unwrap_or(Time::ZERO)).as_secs_f64();
        let closed = self.closed_loop();
        // Clients that wait for answers offer what is served.
        let open = !closed && all.requests() > 1 && span > 0.0;
        let offered = if open { (all.requests() - 1) as f64 / span } else { served };
        let load = ratio(offered, knee);
        // The bound comes from means; what happened to the queue is the better witness where they disagree.
        let tail = self.last_end.since(self.arrivals.last).as_secs_f64();
        let served_late = ratio(offered, served) > 1.15 && tail > 0.15 * span && all.requests() > 200;
        let state = match load {
            l if closed && l >= 0.95 => "saturated by design",
            l if l >= 1.0 || (served_late && l > 0.9) => "overloaded",
            l if l >= 0.85 => "near the knee",
            _ => "stable",
        };
        Capacity {
            offered_requests_per_s: offered,
            knee_requests_per_s: knee,
            knee_output_tokens_per_s: knee * mix.output,
            load,
            headroom: 1.0 - load,
            prefill_tokens_per_s: core.prefill_throughput(&mix) * f64::from(scenario.deployment.data_parallel),
            state: state.to_owned(),
        }
    }

    /// Whether all requests come from clients that wait for their answers.
    fn closed_loop(&self) -> bool {
        let closed = |class: &Class| matches!(class.arrivals, Some(Arrivals::Closed { .. }));
        self.scenario.trace.is_none() && !self.scenario.classes.is_empty() && self.scenario.classes.iter().all(closed)
    }

    fn slo_summary(&self, classes: &[GroupStats], duration_s: f64) -> SloSummary {
        let mut summary = SloSummary::default();
        for ((class, counts), group) in self.scenario.classes.iter().zip(&self.slo).zip(classes) {
            let requests = group.requests();
            // Of a class without requests there is nothing to judge.
            if class.slo.targets.is_empty() || requests == 0 {
                continue;
            }
            summary.requests += requests;
            summary.good += counts.good;
            for (target, &within) in class.slo.targets.iter().zip(&counts.within) {
                let attainment = ratio(within as f64, requests as f64);
                let (histogram, total) = match target.metric {
                    SloMetric::Ttft => (&group.ttft, requests),
                    SloMetric::E2e => (&group.e2e, requests),
                    SloMetric::Queue => (&group.queue, requests),
                    SloMetric::Tpot => (&group.tpot, group.tpot.count() + requests - group.completed()),
                };
                summary.targets.push(SloResult {
                    class: class.name.clone(),
                    target: target_name(target),
                    quantile: target.quantile,
                    limit_ms: target.limit.as_millis_f64(),
                    value_ms: histogram.quantile_of(target.quantile, total).map(|v| v * 1e-9),
                    attainment,
                    met: attainment >= target.quantile,
                });
            }
        }
        if summary.requests > 0 {
            summary.attainment = Some(summary.good as f64 / summary.requests as f64);
            summary.goodput_requests_per_s = Some(ratio(summary.good as f64, duration_s));
            summary.met = Some(summary.targets.iter().all(|t| t.met));
        }
        summary
    }

    fn cost(&self, all: &GroupStats, duration_s: f64, completed: u64, presence: &Presence<'_>) -> Cost {
        let deployment = &self.scenario.deployment;
        let (most, mean) = presence.replicas().unwrap_or((self.scenario.cluster.replicas, self.scenario.cluster.replicas.into()));
        let gpus = deployment.gpus() * most;
        let usd_per_hour = deployment.gpu.price_per_hour * f64::from(deployment.gpus()) * mean;
        let spent = usd_per_hour * duration_s / 3600.0;
        let per = |n: u64, unit: f64| (n > 0).then(|| spent / n as f64 * unit);
        Cost {
            gpus,
            usd_per_gpu_hour: deployment.gpu.price_per_hour,
            price_source: deployment.gpu.source.get("price_per_hour").cloned().unwrap_or_else(|| "scenario".to_owned()),
            usd_per_hour,
            usd_per_million_output_tokens: per(all.output_tokens, 1e6),
            usd_per_million_tokens: per(all.input_tokens + all.output_tokens, 1e6),
            usd_per_thousand_requests: per(completed, 1e3),
        }
    }

    fn out_of_range(&self) -> Vec<String> {
        let Some(ranges) = self.scenario.cost_info.ranges else { return Vec::new() };
        let mut out = Vec::new();
        let mut check = |what: &str, seen: u64, most: u64| {
            if seen > most {
                out.push(format!("{what}: up to {seen}, measured up to {most}; beyond it times are extrapolated"));
            }
        };
        check("sequences decoding at once", self.extremes.decodes.into(), ranges.decodes_max.into());
        check("mean context of a decode batch", self.extremes.context, ranges.context_max.into());
        check("prefill tokens in one step", self.extremes.prefill_tokens, ranges.prefill_tokens_max.into());
        out
    }

    fn count_slo(&mut self, outcome: &Outcome, latencies: &Latencies) {
        let class = usize::from(outcome.request.class);
        let Some(counts) = self.slo.get_mut(class) else { return };
        let mut good = outcome.finish.completed();
        for (target, within) in self.scenario.classes[class].slo.targets.iter().zip(&mut counts.within) {
            let met = target.is_met(outcome, latencies);
            *within += u64::from(met);
            good &= met;
        }
        counts.good += u64::from(good);
        if !self.scenario.classes[class].slo.targets.is_empty() {
            self.timeline.judged(outcome.request.arrival, good);
        }
    }
}

impl<R: FnMut(&Outcome)> Observer for Collector<'_, R> {
    fn outcome(&mut self, outcome: Outcome) {
        let request = &outcome.request;
        self.last_end = self.last_end.max(outcome.ended);
        self.timeline.arrival(request.arrival, request.input_tokens, outcome.cached_tokens);
        if request.arrival >= self.scenario.warmup {
            let latencies = Latencies::of(&outcome);
            self.arrivals.first = Some(self.arrivals.first.map_or(request.arrival, |t| t.min(request.arrival)));
            self.arrivals.last = self.arrivals.last.max(request.arrival);
            self.near_limit += u64::from(request.input_tokens >= self.near_limit_from);
            let (inputs, outputs) = (&self.scenario.input_buckets, &self.scenario.output_buckets);
            let (input, output) = (bucket_of(inputs, request.input_tokens), bucket_of(outputs, outcome.output_tokens));
            let cell = (usize::from(request.class) * (inputs.len() + 1) + input) * (outputs.len() + 1) + output;
            self.cells[cell].add(&outcome, &latencies);
            self.count_slo(&outcome, &latencies);
            if outcome.scheduled.is_some() {
                let shared = shared_tokens(&request.prefix);
                self.computed.add(request.input_tokens, outcome.cached_tokens, outcome.output_tokens, shared);
            }
        }
        (self.records)(&outcome);
    }

    fn gaps(&mut self, _core: CoreId, class: u16, gaps: Gaps) {
        // Gaps that begin in the warm-up are left out.
        let warmup = self.scenario.warmup;
        let before = match gaps.from < warmup {
            true => gaps.progression().steps_before(warmup - gaps.from, gaps.steps).saturating_add(1).min(gaps.steps),
            false => 0,
        };
        let Gaps { first: Duration(first), slope_ps, steps, count, .. } = gaps;
        if before < steps {
            self.itl[usize::from(class)].add_progression(first + slope_ps * before, slope_ps, steps - before, count.into());
        }
    }

    fn batch(&mut self, _core: CoreId, shape: &BatchShape, steps: u64) {
        let extremes = &mut self.extremes;
        extremes.decodes = extremes.decodes.max(shape.decodes);
        extremes.prefill_tokens = extremes.prefill_tokens.max(shape.prefill_tokens);
        if shape.decodes > 0 {
            extremes.context = extremes.context.max(shape.decode_context / u64::from(shape.decodes) + steps - 1);
        }
    }

    fn levels(&mut self, _core: CoreId, from: Time, to: Time, levels: &Levels) {
        self.waiting_peak = self.waiting_peak.max(levels.waiting);
        self.waiting_tokens_peak = self.waiting_tokens_peak.max(levels.waiting_tokens);
        self.timeline.levels(from, to, levels);
    }
}

/// The parts of a report that come from the run itself.
pub struct Figures {
    /// See [`crate::report::Report`].
    pub summary: Summary,
    /// See [`crate::report::Report`].
    pub classes: Vec<crate::report::Group>,
    /// See [`crate::report::Report`].
    pub buckets: Vec<crate::report::Group>,
    /// See [`crate::report::Report`].
    pub output_buckets: Vec<crate::report::Group>,
    /// See [`crate::report::Report`].
    pub replicas: Vec<ReplicaSummary>,
    /// See [`crate::report::Report`].
    pub timeline: crate::report::Timeline,
    /// See [`crate::report::Report`].
    pub fleet: Option<Fleet>,
    /// What left the profile's measured ranges.
    pub out_of_range: Vec<String>,
    /// See [`crate::report::Report`].
    pub distributions: Vec<crate::report::Distribution>,
}

/// Tokens at a prompt's start that requests of its class have in common; 0 for traces, whose hashes say only what was found.
fn shared_tokens(prefix: &Prefix) -> u64 {
    match prefix {
        Prefix::Layers(layers) => layers.last().map_or(0, |layer| layer.end.into()),
        _ => 0,
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// Index of the bucket of `tokens`, the last one being open.
fn bucket_of(bounds: &[u32], tokens: u32) -> usize {
    bounds.iter().position(|&b| tokens <= b).unwrap_or(bounds.len())
}

fn bucket_name(bounds: &[u32], index: usize) -> String {
    let from = if index == 0 { 0 } else { bounds[index - 1] + 1 };
    match bounds.get(index) {
        Some(to) => format!("{from}-{to}"),
        None => format!("{from}+"),
    }
}

/// Such as `ttft_p95`.
pub fn target_name(target: &SloTarget) -> String {
    let metric = match target.metric {
        SloMetric::Ttft => "ttft",
        SloMetric::Tpot => "tpot",
        SloMetric::E2e => "e2e",
        SloMetric::Queue => "queue",
    };
    let percent = format!("{:.3}", target.quantile * 100.0);
    format!("{metric}_p{}", percent.trim_end_matches('0').trim_end_matches('.'))
}
