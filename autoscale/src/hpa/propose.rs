//! What one metric proposes.
//!
//! For metrics of pods there are those that count as they are, those that are not ready, and those without a sample. A proposal
//! that would scale down takes the latter to be at the target; one that would scale up takes both to be at zero, so that they damp
//! it; and if that turns its direction round, nothing is done.

use std::collections::BTreeMap;

use tokentide_models::units::Time;

use super::CpuSample;
use crate::config::Flags;
use crate::pods::Pod;

/// What there is when a metric proposes.
pub struct Census<'a> {
    /// When.
    pub now: Time,
    /// Replicas wanted so far.
    pub current: u32,
    /// Replicas there are, on their way or not.
    pub status: u32,
    /// All pods.
    pub pods: &'a [Pod],
    /// The controller's.
    pub flags: &'a Flags,
    /// Tolerance of going up, as a share.
    pub up: f64,
    /// Of going down.
    pub down: f64,
}

/// Pods by what their metrics are worth.
struct Groups {
    ready: usize,
    unready: Vec<u32>,
    missing: Vec<u32>,
    ignored: Vec<u32>,
}

impl Census<'_> {
    fn tolerated(&self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }

    /// `AverageValue` of an external metric: pods on their way count among the replicas that share the load.
    pub fn external_average(&self, value: i64, target: i64) -> u32 {
        let ratio = value as f64 / (target as f64 * f64::from(self.status));
        if self.tolerated(ratio) { self.status } else { replicas(value as f64 / target as f64) }
    }

    /// `Value` of an external metric: the pods that are ready are multiplied, those that drain among them, as they stay ready until
    /// they end.
    ///
    /// # Errors
    /// If there is no pod at all; where there are some, none of them ready, the product is zero.
    pub fn external_value(&self, value: i64, target: i64) -> Result<u32, String> {
        let ratio = value as f64 / target as f64;
        if self.tolerated(ratio) {
            return Ok(self.current);
        }
        if self.pods.is_empty() {
            return Err("there is no pod".to_owned());
        }
        let ready = self.pods.iter().filter(|pod| pod.ready.is_some()).count();
        Ok(replicas(ratio * ready as f64))
    }

    /// A metric of each pod [1/1000]: replicas, and the mean.
    ///
    /// # Errors
    /// If no pod that counts has a sample.
    pub fn pods(&self, samples: &[(u32, i64)], target: i64) -> Result<(u32, i64), String> {
        let groups = self.groups(|pod| samples.iter().any(|(id, _)| *id == pod.id), |_| false);
        self.plain(samples.iter().copied().collect(), groups, target, |metrics| {
            let mean = metrics.values().sum::<i64>() / metrics.len() as i64;
            (mean as f64 / target as f64, mean)
        })
    }

    /// CPU against a mean [millicores]: replicas, and the mean.
    ///
    /// # Errors
    /// As of [`Census::pods`].
    pub fn cpu_average(&self, samples: &[CpuSample], target: i64) -> Result<(u32, i64), String> {
        let metrics = samples.iter().map(|sample| (sample.pod, sample.millicores)).collect();
        self.plain(metrics, self.cpu_groups(samples), target, |metrics| {
            let mean = metrics.values().sum::<i64>() / metrics.len() as i64;
            (mean as f64 / target as f64, mean)
        })
    }

    /// CPU against a share of the request [millicores, %]: replicas, and the share in whole percent.
    ///
    /// # Errors
    /// As of [`Census::pods`].
    pub fn cpu_share(&self, samples: &[CpuSample], request: i64, target: u32) -> Result<(u32, i64), String> {
        let metrics = samples.iter().map(|sample| (sample.pod, sample.millicores)).collect();
        // Scaling down, a pod without a sample is taken to use all of its request, or the target if that is more.
        let missing = request * i64::from(target.max(100)) / 100;
        self.plain(metrics, self.cpu_groups(samples), missing, |metrics| {
            let percent = metrics.values().sum::<i64>() * 100 / (request * metrics.len() as i64);
            (percent as f64 / f64::from(target), percent)
        })
    }

    fn plain(
        &self,
        mut metrics: BTreeMap<u32, i64>,
        groups: Groups,
        missing: i64,
        ratio: impl Fn(&BTreeMap<u32, i64>) -> (f64, i64),
    ) -> Result<(u32, i64), String> {
        metrics.retain(|pod, _| !groups.ignored.contains(pod) && !groups.unready.contains(pod));
        if metrics.is_empty() {
            return Err("no ready pod has a sample".to_owned());
        }
        let (first, value) = ratio(&metrics);
        let rising = first > 1.0;
        let damped = rising && !groups.unready.is_empty();
        if !damped && groups.missing.is_empty() {
            let proposed = if self.tolerated(first) { self.current } else { replicas(first * groups.ready as f64) };
            return Ok((proposed, value));
        }
        // Exactly at the target there is no direction to damp: what is missing stays out.
        if first != 1.0 {
            metrics.extend(groups.missing.iter().map(|pod| (*pod, if rising { 0 } else { missing })));
        }
        if damped {
            metrics.extend(groups.unready.iter().map(|pod| (*pod, 0)));
        }
        let (second, _) = ratio(&metrics);
        let turned = first < 1.0 && second > 1.0 || first > 1.0 && second < 1.0;
        if self.tolerated(second) || turned {
            return Ok((self.current, value));
        }
        let proposed = replicas(second * metrics.len() as f64);
        let contrary = second < 1.0 && proposed > self.current || second > 1.0 && proposed < self.current;
        Ok((if contrary { self.current } else { proposed }, value))
    }

    fn groups(&self, has: impl Fn(&Pod) -> bool, unready: impl Fn(&Pod) -> bool) -> Groups {
        let mut groups = Groups { ready: 0, unready: Vec::new(), missing: Vec::new(), ignored: Vec::new() };
        for pod in self.pods {
            match () {
                () if pod.terminating => groups.ignored.push(pod.id),
                () if pod.running.is_none_or(|running| running > self.now) => groups.unready.push(pod.id),
                () if !has(pod) => groups.missing.push(pod.id),
                () if unready(pod) => groups.unready.push(pod.id),
                () => groups.ready += 1,
            }
        }
        groups
    }

    /// For CPU a pod's first minutes are told apart: while it starts, its CPU says nothing of its load.
    fn cpu_groups(&self, samples: &[CpuSample]) -> Groups {
        let sample = |pod: &Pod| samples.iter().find(|sample| sample.pod == pod.id);
        let unready = |pod: &Pod| match pod.ready {
            // It has never been ready: its condition is as old as itself.
            None => true,
            Some(ready) => {
                let young = pod.created + self.flags.cpu_initialization > self.now;
                young && sample(pod).is_some_and(|sample| sample.at < ready + sample.window)
            }
        };
        // metrics-server has the CPU of a container that loads, too, so that such a pod is not ready rather than without a sample.
        self.groups(|pod| pod.ready.is_none() || sample(pod).is_some(), unready)
    }
}

/// A number of replicas of a quotient, rounded up.
fn replicas(quotient: f64) -> u32 {
    quotient.ceil().clamp(0.0, f64::from(i32::MAX)) as u32
}
