//! The horizontal pod autoscaler of `autoscaling/v2`, as kube-controller-manager runs it: at each sync every metric proposes a
//! number of replicas ([`propose`]), the largest wins, and limits of time and rate are put on it ([`limit`]).
//!
//! Values are integer thousandths, ratios doubles, as in the controller, so that what is on the edge there is on the edge here.
//!
//! * No replicas: it is off. More than the most or fewer than the fewest: it goes there at once, whatever the metrics say.
//! * A metric that fails proposes nothing. If one fails, there is no scaling down; if all fail, none at all.

mod limit;
mod propose;
#[cfg(test)]
mod tests;

use tokentide_models::units::{Duration, Time};

use crate::config::{Flags, Hpa, MetricSource, Target};
use crate::pods::Pod;

use limit::Limits;
use propose::Census;

/// What is read at a sync. An error is the reason why a metric fails.
pub trait Readings {
    /// The number of an external metric, by its index [1/1000].
    ///
    /// # Errors
    /// If there is none.
    fn external(&mut self, metric: usize) -> Result<i64, String>;

    /// The number of each pod that has one, by pod [1/1000].
    ///
    /// # Errors
    /// If it cannot be read at all.
    fn pods(&mut self, metric: usize) -> Result<Vec<(u32, i64)>, String>;

    /// CPU of each pod that has a sample.
    ///
    /// # Errors
    /// If it cannot be read at all.
    fn cpu(&mut self, metric: usize) -> Result<Vec<CpuSample>, String>;
}

/// CPU of a pod, as metrics-server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuSample {
    /// The pod.
    pub pod: u32,
    /// Mean over the window [millicores].
    pub millicores: i64,
    /// End of the window.
    pub at: Time,
    /// Its length.
    pub window: Duration,
}

/// What a sync came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Replicas there should be.
    pub desired: u32,
    /// The metric that decided, with its value, and what held its proposal back.
    pub why: String,
}

/// A proposal, and the value that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proposal {
    replicas: u32,
    why: String,
}

/// An HPA with what it remembers.
#[derive(Clone, Debug)]
pub struct HpaState {
    hpa: Hpa,
    flags: Flags,
    limits: Limits,
}

impl HpaState {
    /// One that has never decided.
    pub fn new(hpa: &Hpa, flags: &Flags) -> HpaState {
        HpaState { hpa: hpa.clone(), flags: *flags, limits: Limits::new(flags.downscale_stabilization) }
    }

    /// Decides at `now`: `current` are the replicas wanted so far, `status` those that there are, `pods` all that exist.
    pub fn sync(&mut self, now: Time, current: u32, status: u32, pods: &[Pod], readings: &mut dyn Readings) -> Decision {
        let stay = |why: &str| Decision { desired: current, why: why.to_owned() };
        self.limits.begin(now, current);
        if current == 0 {
            return stay("off: there are no replicas");
        }
        let (min, max) = (self.hpa.min_replicas, self.hpa.max_replicas);
        let decision = if current > max {
            Decision { desired: max, why: format!("over maxReplicas, {max}") }
        } else if current < min {
            Decision { desired: min, why: format!("under minReplicas, {min}") }
        } else {
            match self.largest(now, current, status, pods, readings) {
                Err(why) => stay(&why),
                Ok(proposal) => self.limits.apply(now, current, proposal, &self.hpa),
            }
        };
        if self.hpa.behavior.is_some() && decision.desired != current {
            self.limits.changed(now, current, decision.desired);
        }
        decision
    }

    /// The largest proposal of the metrics; an error says why there is none.
    fn largest(&self, now: Time, current: u32, status: u32, pods: &[Pod], readings: &mut dyn Readings) -> Result<Proposal, String> {
        let mut largest: Option<Proposal> = None;
        let mut failed = None;
        for metric in 0..self.hpa.metrics.len() {
            match self.proposal(metric, now, current, status, pods, readings) {
                Ok(proposal) if largest.as_ref().is_some_and(|best| best.replicas >= proposal.replicas) => {}
                Ok(proposal) => largest = Some(proposal),
                Err(why) => _ = failed.get_or_insert(format!("{} failed: {why}", self.hpa.metrics[metric].name)),
            }
        }
        match (largest, failed) {
            (Some(proposal), Some(failed)) if proposal.replicas < current => Err(format!("{failed}, so no scaling down")),
            (Some(proposal), _) => Ok(proposal),
            (None, failed) => Err(failed.unwrap_or_else(|| "no metric".to_owned())),
        }
    }

    fn proposal(
        &self,
        index: usize,
        now: Time,
        current: u32,
        status: u32,
        pods: &[Pod],
        readings: &mut dyn Readings,
    ) -> Result<Proposal, String> {
        let metric = &self.hpa.metrics[index];
        let tolerance = |up: bool| {
            let rules = self.hpa.behavior.as_ref().map(|b| if up { &b.scale_up } else { &b.scale_down });
            rules.and_then(|rules| rules.tolerance).unwrap_or(self.flags.tolerance) as f64 / 1000.0
        };
        let census = Census { now, current, status, pods, flags: &self.flags, up: tolerance(true), down: tolerance(false) };
        let (replicas, value, per) = match (&metric.source, metric.target) {
            (MetricSource::External { .. }, Target::AverageValue(target)) => {
                let value = readings.external(index)?;
                (census.external_average(value, target), decimal(value), format!("{} per replica", decimal(target)))
            }
            (MetricSource::External { .. }, Target::Value(target)) => {
                let value = readings.external(index)?;
                (census.external_value(value, target)?, decimal(value), decimal(target))
            }
            (MetricSource::Pods { .. }, Target::AverageValue(target)) => {
                let (replicas, mean) = census.pods(&readings.pods(index)?, target)?;
                (replicas, decimal(mean), format!("{} per pod", decimal(target)))
            }
            (MetricSource::Cpu { request }, Target::Utilization(target)) => {
                let (replicas, percent) = census.cpu_share(&readings.cpu(index)?, *request, target)?;
                (replicas, format!("{percent} %"), format!("{target} %"))
            }
            (MetricSource::Cpu { .. }, Target::AverageValue(target)) => {
                let (replicas, mean) = census.cpu_average(&readings.cpu(index)?, target)?;
                (replicas, format!("{mean}m"), format!("{target}m"))
            }
            _ => return Err("this kind of metric has no such target".to_owned()),
        };
        Ok(Proposal { replicas, why: format!("{} {value} against {per}: {replicas}", metric.name) })
    }
}

/// Thousandths as a decimal number of at most three places.
fn decimal(thousandths: i64) -> String {
    let text = format!("{:.3}", thousandths as f64 / 1000.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
