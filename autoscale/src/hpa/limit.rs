//! Limits on a proposal: how long it must have stood, how fast it may go, and the fewest and most replicas.

use std::collections::VecDeque;

use tokentide_models::units::{Duration, Time};

use super::{Decision, Proposal};
use crate::config::{Behavior, Hpa, Policy, Rules, Select};

/// What an HPA remembers.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Stabilisation without `behavior`.
    downscale: Duration,
    /// Proposals, in order of time.
    proposals: VecDeque<(Time, u32)>,
    /// Replicas added and removed, in order of time.
    events: VecDeque<(Time, i64)>,
}

impl Limits {
    /// Nothing yet; without `behavior` it stabilises for `downscale`.
    pub fn new(downscale: Duration) -> Limits {
        Limits { downscale, proposals: VecDeque::new(), events: VecDeque::new() }
    }

    /// A sync begins: the first one finds the current number as if it had been proposed.
    pub fn begin(&mut self, now: Time, current: u32) {
        if self.proposals.is_empty() {
            self.proposals.push_back((now, current));
        }
    }

    /// The number of replicas has been changed.
    pub fn changed(&mut self, now: Time, from: u32, to: u32) {
        self.events.push_back((now, i64::from(to) - i64::from(from)));
    }

    /// The decision that a proposal comes to.
    pub fn apply(&mut self, now: Time, current: u32, proposal: Proposal, hpa: &Hpa) -> Decision {
        let wanted = proposal.replicas;
        let (stable, limited) = match &hpa.behavior {
            None => {
                let stable = self.highest(now, wanted);
                (stable, stable.min(current.saturating_mul(2).max(4)))
            }
            Some(behavior) => {
                let stable = self.stabilised(now, current, wanted, behavior);
                (stable, self.limited(now, current, stable, behavior))
            }
        };
        self.remember(now, wanted, hpa);
        let desired = limited.clamp(hpa.min_replicas, hpa.max_replicas);
        let mut why = proposal.why;
        for (held, reason) in [
            (stable != wanted, format!("held at {stable} by stabilisation")),
            (limited != stable, format!("held at {limited} by the rate of change")),
            (desired > limited, format!("raised to minReplicas, {desired}")),
            (desired < limited, format!("cut to maxReplicas, {desired}")),
        ] {
            if held {
                why = format!("{why}, {reason}");
            }
        }
        Decision { desired, why }
    }

    /// Without `behavior`: the highest proposal of the window, both of its ends included.
    fn highest(&self, now: Time, wanted: u32) -> u32 {
        let within = self.proposals.iter().filter(|(at, _)| now.since(*at) <= self.downscale);
        within.map(|(_, replicas)| *replicas).fold(wanted, u32::max)
    }

    /// With it: up to the lowest proposal of its window, down to the highest of its own, the windows' beginnings left out.
    fn stabilised(&self, now: Time, current: u32, wanted: u32, behavior: &Behavior) -> u32 {
        let within = |rules: &Rules| {
            let window = rules.stabilization;
            self.proposals.iter().filter(move |(at, _)| now.since(*at) < window).map(|(_, replicas)| *replicas)
        };
        let up = within(&behavior.scale_up).fold(wanted, u32::min);
        let down = within(&behavior.scale_down).fold(wanted, u32::max);
        current.max(up).min(down)
    }

    /// Keeps to the policies of the direction that is taken.
    fn limited(&self, now: Time, current: u32, wanted: u32, behavior: &Behavior) -> u32 {
        let start = |policy: &Policy| {
            let within = self.events.iter().filter(|(at, _)| now.since(*at) < policy.period);
            // Below zero if another than the HPA, such as KEDA, has taken away what it had added.
            i64::from(current) - within.map(|(_, change)| *change).sum::<i64>()
        };
        let clamp = |replicas: i64| u32::try_from(replicas.max(0)).unwrap_or(u32::MAX);
        if wanted > current {
            let rules = &behavior.scale_up;
            let limit = |policy: &Policy| match policy.percent {
                true => clamp((start(policy) as f64 * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i64),
                false => clamp(start(policy) + i64::from(policy.value)),
            };
            let limits = rules.policies.iter().map(limit);
            let most = match rules.select {
                Select::Disabled => None,
                Select::Max => limits.max(),
                Select::Min => limits.min(),
            };
            return wanted.min(most.unwrap_or(current).max(current));
        }
        if wanted < current {
            let rules = &behavior.scale_down;
            let limit = |policy: &Policy| match policy.percent {
                true => clamp((start(policy) as f64 * (1.0 - f64::from(policy.value) / 100.0)) as i64),
                false => clamp(start(policy) - i64::from(policy.value)),
            };
            let limits = rules.policies.iter().map(limit);
            let fewest = match rules.select {
                Select::Disabled => None,
                Select::Max => limits.min(),
                Select::Min => limits.max(),
            };
            return wanted.max(fewest.unwrap_or(current).min(current));
        }
        wanted
    }

    /// Adds a proposal, and forgets what no window reaches.
    fn remember(&mut self, now: Time, wanted: u32, hpa: &Hpa) {
        self.proposals.push_back((now, wanted));
        let directions = || hpa.behavior.iter().flat_map(|b| [&b.scale_up, &b.scale_down]);
        let window = directions().map(|rules| rules.stabilization).chain([self.downscale]).max().unwrap_or(self.downscale);
        while self.proposals.len() > 1 && self.proposals.front().is_some_and(|(at, _)| now.since(*at) > window) {
            self.proposals.pop_front();
        }
        let period = directions().flat_map(|rules| &rules.policies).map(|policy| policy.period).max().unwrap_or(Duration::ZERO);
        while self.events.front().is_some_and(|(at, _)| now.since(*at) > period) {
            self.events.pop_front();
        }
    }
}
