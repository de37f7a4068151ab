//! What the replicas can carry at most of the work that arrives: a bound from means, before any simulation.

use tokentide_models::units::Time;
use tokentide_sim::metrics::{Core, Sums};
use tokentide_sim::scenario::Scenario;
use tokentide_sim::workload::{Prefix, Request};

/// The requests of a run, with an unlimited and warm prefix cache.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    sums: Sums,
    first: Option<Time>,
    last: Time,
}

/// Load against capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// What all replicas can carry of this mix [requests/s].
    pub knee: f64,
    /// Offered over knee.
    pub load: f64,
}

impl Work {
    /// Counts a request of which `prefill` tokens are left to compute.
    pub fn add(&mut self, request: &Request, answer: Option<u32>, prefill: u32, block_size: u32) {
        let Some(answer) = answer else { return };
        let shared = match request.prefix {
            Prefix::Layers(_) => request.shared_tokens() / block_size * block_size,
            _ => 0,
        };
        self.sums.add(request.input_tokens, request.input_tokens - prefill, answer, shared.into());
        self.first = Some(self.first.unwrap_or(request.arrival));
        self.last = request.arrival;
    }

    /// Held against the replicas that `scenario` configures; `None` without requests, or without any time between them.
    pub fn bound(&self, scenario: &Scenario) -> Option<Bound> {
        let span = self.last.since(self.first?).as_secs_f64();
        let mix = self.sums.mix().filter(|_| self.sums.requests() > 1 && span > 0.0)?;
        let core = Core {
            engine: &scenario.engine,
            kv_blocks: scenario.kv_blocks,
            cost: scenario.cost.as_ref(),
            stages: scenario.deployment.pipeline_parallel,
        };
        let cores = f64::from(scenario.cluster.replicas) * f64::from(scenario.deployment.data_parallel);
        let knee = core.throughput_bound(&mix) * cores;
        Some(Bound { knee, load: (self.sums.requests() - 1) as f64 / span / knee })
    }
}
