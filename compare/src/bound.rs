//! What the replicas can carry at most of the work that arrives: a bound from means, before any simulation.

use tokentide_models::units::Time;
use tokentide_sim::metrics::{Core, Mix};
use tokentide_sim::scenario::Scenario;
use tokentide_sim::workload::{Prefix, Request};

/// Sums over the requests of a run, with an unlimited and warm prefix cache.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    requests: u64,
    first: Option<Time>,
    last: Time,
    prefill: u64,
    pairs: u128,
    input: u64,
    output: u64,
    contexts_twice: u128,
    shared: u128,
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
        let (input, output, computed) = (u64::from(request.input_tokens), u64::from(answer), u64::from(prefill));
        let cached = input - computed;
        self.requests += 1;
        self.first = Some(self.first.unwrap_or(request.arrival));
        self.last = request.arrival;
        self.prefill += computed;
        self.pairs += u128::from(computed * cached + computed * (computed + 1) / 2);
        self.input += input;
        self.output += output;
        self.contexts_twice += u128::from(output) * u128::from(2 * input + output);
        if matches!(request.prefix, Prefix::Layers(_)) {
            let shared = u64::from(request.shared_tokens() / block_size * block_size);
            self.shared += u128::from(output) * u128::from(shared.min(cached));
        }
    }

    /// Held against the replicas that `scenario` configures; `None` without requests, or without any time between them.
    pub fn bound(&self, scenario: &Scenario) -> Option<Bound> {
        let n = self.requests as f64;
        let span = self.last.since(self.first?).as_secs_f64();
        if self.requests < 2 || span <= 0.0 {
            return None;
        }
        let output = self.output as f64;
        let mix = Mix {
            prefill: (self.prefill as f64 / n).max(1.0),
            pairs: self.pairs as f64 / n,
            input: self.input as f64 / n,
            output: output / n,
            context: self.contexts_twice as f64 / 2.0 / output,
            shared: self.shared as f64 / output,
        };
        let core = Core {
            engine: &scenario.engine,
            kv_blocks: scenario.kv_blocks,
            cost: scenario.cost.as_ref(),
            stages: scenario.deployment.pipeline_parallel,
        };
        let cores = f64::from(scenario.cluster.replicas) * f64::from(scenario.deployment.data_parallel);
        let knee = core.throughput_bound(&mix) * cores;
        Some(Bound { knee, load: (n - 1.0) / span / knee })
    }
}
