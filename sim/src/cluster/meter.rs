//! What replicas and gateway say of themselves at `/metrics`: counted as it happens, by engine.
//!
//! vLLM counts a token when its step has ended; here a step counts when it is scheduled, one step early.

use tokentide_autoscale::pods::{GatewayMetrics, PodMetrics};
use tokentide_models::units::{Duration, Time};

use super::Ingress;
use super::fleet::Fleet;
use crate::engine::{Finish, Latencies, Levels, Outcome};
use crate::scenario::Slo;
use crate::workload::Request;

/// The counters of all engines and of the gateway.
pub struct Meter<'a> {
    /// By class.
    slos: &'a [Slo],
    engines: Vec<PodMetrics>,
    /// First tokens, by engine.
    firsts: Vec<u64>,
    within_slo: u64,
    judged: u64,
}

/// Host time that no engine step contains.
#[derive(Clone, Copy)]
pub struct HostTime {
    /// Of a request.
    pub ingress: Ingress,
    /// Of a step's tokens.
    pub step: Duration,
}

impl<'a> Meter<'a> {
    /// Nothing counted; `slos` are the targets by class.
    pub fn new(slos: &'a [Slo]) -> Meter<'a> {
        Meter { slos, engines: Vec::new(), firsts: Vec::new(), within_slo: 0, judged: 0 }
    }

    fn engine(&mut self, engine: u32) -> &mut PodMetrics {
        let n = engine as usize + 1;
        if self.engines.len() < n {
            self.engines.resize_with(n, PodMetrics::new);
            self.firsts.resize(n, 0);
        }
        &mut self.engines[engine as usize]
    }

    /// A request ended.
    pub fn outcome(&mut self, outcome: &Outcome) {
        if let Some(met) = self.slos.get(usize::from(outcome.request.class)).and_then(|slo| slo.is_met(outcome)) {
            self.judged += 1;
            self.within_slo += u64::from(met);
        }
        let latencies = Latencies::of(outcome);
        let pod = match outcome.finish {
            Finish::RejectedContext | Finish::RejectedQueue | Finish::Lost | Finish::Unavailable => return,
            _ => self.engine(outcome.replica),
        };
        match outcome.finish {
            Finish::Stop => pod.finished_stop += 1,
            Finish::Length | Finish::Truncated => pod.finished_length += 1,
            _ => pod.finished_abort += 1,
        }
        // vLLM takes the gap of an answer of one token for 0.
        let tpot = latencies.tpot.or(outcome.finish.completed().then_some(0));
        let seconds = |ps: u64| Duration(ps).as_secs_f64();
        for (histogram, value) in [(&mut pod.tpot, tpot), (&mut pod.e2e, latencies.e2e), (&mut pod.queue, latencies.queue)] {
            if let Some(value) = value {
                histogram.observe(seconds(value));
            }
        }
        if outcome.finish.completed() {
            pod.prompt_lengths.observe(f64::from(outcome.request.input_tokens));
            pod.generation_lengths.observe(f64::from(outcome.output_tokens));
        }
        pod.preemptions += u64::from(outcome.preemptions);
    }

    /// A request gets its first token at `at`.
    pub fn first_token(&mut self, engine: u32, at: Time, request: &Request, cached: u32) {
        let pod = self.engine(engine);
        pod.prompt_tokens += u64::from(request.input_tokens);
        pod.prefix_queries += u64::from(request.input_tokens);
        pod.prefix_hits += u64::from(cached);
        pod.ttft.observe(at.since(request.arrival).as_secs_f64());
        self.firsts[engine as usize] += 1;
    }

    /// Levels of an engine that held for a while.
    pub fn levels(&mut self, engine: u32, levels: &Levels) {
        self.engine(engine).generation_tokens += levels.tokens;
    }

    /// Metrics of an engine whose last events have been told.
    pub fn pod(&mut self, engine: usize, fleet: &Fleet<'_>, host: HostTime) -> PodMetrics {
        let (levels, work) = (fleet.levels(engine), fleet.work(engine));
        let counted = self.engine(engine as u32).clone();
        let firsts = self.firsts[engine] as f64;
        PodMetrics {
            running: levels.running,
            waiting: levels.waiting,
            kv_use: fleet.kv_use(engine),
            waiting_tokens: levels.waiting_tokens,
            // The engine's process spins while any step runs; requests and tokens are the front end's.
            cpu_s: work.busy.as_secs_f64()
                + host.ingress.request.as_secs_f64() * firsts
                + host.ingress.prompt_token.as_secs_f64() * counted.prompt_tokens as f64
                + host.step.as_secs_f64() * work.steps as f64,
            ..counted
        }
    }

    /// Metrics of the gateway that has seen `requests` requests and holds `held`.
    pub fn gateway<'r>(
        &self,
        requests: u64,
        held: impl Iterator<Item = &'r Request> + Clone,
        loads: impl Iterator<Item = Levels> + Clone,
    ) -> GatewayMetrics {
        let waiting: u64 = held.clone().map(|request| u64::from(request.input_tokens)).sum();
        GatewayMetrics {
            requests,
            queued: held.count() as u32,
            in_flight: loads.clone().map(|levels| levels.running + levels.waiting).sum(),
            in_flight_tokens: waiting + loads.map(|levels| levels.waiting_tokens).sum::<u64>(),
            within_slo: self.within_slo,
            judged: self.judged,
        }
    }
}
