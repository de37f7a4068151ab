//! When engines were there, and the part of a report that tells what became of them.

use tokentide_models::units::Time;

use crate::cluster::{Count, History};
use crate::report;
use crate::scenario::Scenario;

/// A change that takes back the one before within this time is a flap [ps]: 10 minutes.
const FLAP: u64 = 600_000_000_000_000;

/// When the engines of a run were there.
pub struct Presence<'a> {
    history: Option<&'a History>,
    /// Engine cores of a replica.
    ranks: usize,
    cores: usize,
    end: Time,
}

impl<'a> Presence<'a> {
    /// Of `cores` engine cores, `ranks` to a replica, in a run that ended at `end`; without a history they were there all the time.
    pub fn new(history: Option<&'a History>, cores: usize, ranks: u32, end: Time) -> Presence<'a> {
        Presence { history, ranks: ranks as usize, cores, end }
    }

    /// Time that an engine served [ps].
    pub fn served_ps(&self, engine: usize) -> u64 {
        match self.history {
            None => self.end.0,
            Some(history) => history.serving[engine].1.min(self.end).since(history.serving[engine].0).0,
        }
    }

    /// Time that all engine cores served [ps].
    pub fn total_ps(&self) -> u128 {
        (0..self.cores / self.ranks).map(|engine| u128::from(self.served_ps(engine)) * self.ranks as u128).sum()
    }

    /// Mean number of engine cores over the run.
    pub fn mean_cores(&self) -> f64 {
        match self.history {
            None => self.cores as f64,
            Some(_) => self.total_ps() as f64 / (self.end.0.max(1)) as f64,
        }
    }

    /// Most replicas there were at once, on their way and draining ones included, and the mean number of nodes that were paid for;
    /// `None` if they were there all the time.
    pub fn replicas(&self) -> Option<(u32, f64)> {
        let history = self.history?;
        let most = history.counts.iter().map(|c| c.ready + c.starting + c.draining).max().unwrap_or(0);
        Some((most, history.node_ps as f64 / history.end.0.max(1) as f64))
    }

    /// Mean number of engine cores in each bin.
    pub fn cores_in(&self, bins: &[(Time, Time)]) -> Vec<f64> {
        let Some(history) = self.history else { return vec![self.cores as f64; bins.len()] };
        let overlap = |(from, to): (Time, Time), bin: (Time, Time)| to.min(bin.1).since(from.max(bin.0)).0 as f64;
        let mean = |&bin: &(Time, Time)| {
            let served: f64 = history.serving.iter().map(|&span| overlap(span, bin)).sum();
            served * self.ranks as f64 / bin.1.since(bin.0).0.max(1) as f64
        };
        bins.iter().map(mean).collect()
    }

    /// What became of the replicas, with the levels in `bins`; `None` if nothing could.
    pub fn report(&self, scenario: &Scenario, bins: &[(Time, Time)]) -> Option<report::Fleet> {
        let history = self.history?;
        let dynamics = scenario.cluster.dynamics.as_ref()?;
        let gpu_hours = history.node_ps as f64 / 3.6e15 * f64::from(scenario.deployment.gpus());
        let ready = |count: &Count| u64::from(count.ready);
        let ups = history.scalings.iter().filter(|s| s.to > s.from).count() as u64;
        let starts = &history.starts_s;
        let level = |of: fn(&Count) -> u32| bins.iter().map(|&bin| self.mean_of(history, of, bin)).collect::<Vec<f64>>();
        Some(report::Fleet {
            autoscaler: dynamics.autoscaler.as_ref().map(|a| a.name.clone()),
            ready_min: history.counts.iter().map(ready).min().unwrap_or(0),
            ready_max: history.counts.iter().map(ready).max().unwrap_or(0),
            ready_mean: self.mean_of(history, |count| count.ready, (Time::ZERO, self.end)),
            gpu_hours,
            usd: gpu_hours * scenario.deployment.gpu.price_per_hour,
            scale_ups: ups,
            scale_downs: history.scalings.len() as u64 - ups,
            flaps: flaps(history),
            start_mean_s: (!starts.is_empty()).then(|| starts.iter().sum::<f64>() / starts.len() as f64),
            start_max_s: starts.iter().copied().reduce(f64::max),
            interrupted_by_failure: history.interrupted_by_failure,
            interrupted_by_scaling: history.interrupted_by_scaling,
            retried: history.retried,
            unrouted: history.unrouted,
            slo_missed_s: None,
            wanted: level(|count| count.wanted),
            ready: level(|count| count.ready),
            starting: level(|count| count.starting),
            draining: level(|count| count.draining),
            scalings: history
                .scalings
                .iter()
                .map(|s| report::Scaling { at_s: s.at.as_secs_f64(), from: s.from, to: s.to, why: s.why.clone() })
                .collect(),
        })
    }

    /// Mean of a number of replicas over a span.
    fn mean_of(&self, history: &History, of: fn(&Count) -> u32, (from, to): (Time, Time)) -> f64 {
        let ends = history.counts.iter().skip(1).map(|count| count.at).chain([self.end.max(to)]);
        let spans = history.counts.iter().zip(ends);
        let part = |(count, end): (&Count, Time)| f64::from(of(count)) * end.min(to).since(count.at.max(from)).0 as f64;
        spans.map(part).sum::<f64>() / to.since(from).0.max(1) as f64
    }
}

/// Changes that took back the one before them soon.
fn flaps(history: &History) -> u64 {
    let up = |s: &crate::cluster::Scaling| s.to > s.from;
    let flap = |pair: &&[crate::cluster::Scaling]| up(&pair[0]) != up(&pair[1]) && pair[1].at.since(pair[0].at).0 <= FLAP;
    history.scalings.windows(2).filter(flap).count() as u64
}
