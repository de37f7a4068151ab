//! Swarm testing: a whole configuration from one seed.
//!
//! Each feature is on or off by a draw of its own and each parameter comes from a wide or from a nasty small range, so that a few
//! thousand seeds meet combinations that nobody would think of (Groce et al., "Swarm testing", ISSTA 2012).

pub mod cost;
pub mod draw;
pub mod dynamics;
pub mod load;
pub mod settings;

use tokentide_models::units::Duration;
use tokentide_sim::cluster::{Cluster, Ingress};
use tokentide_sim::engine::{EngineTotals, Layout, Observer};
use tokentide_sim::scenario::{ClusterConfig, EngineConfig};
use tokentide_sim::workload::Listed;

use crate::engine::{Engine, Ran};
use cost::Synthetic;
use draw::Draw;
use load::{Clients, Load};

/// A configuration with its requests.
pub struct Case {
    /// What it was drawn from.
    pub seed: u64,
    /// Replicas and router.
    pub cluster: ClusterConfig,
    /// Engine cores of a replica, and their stages.
    pub layout: Layout,
    /// Flags of the engine.
    pub engine: EngineConfig,
    /// KV blocks of an engine core: one sequence of `max_model_len` fits.
    pub kv_blocks: u32,
    /// Durations.
    pub cost: Synthetic,
    /// Host time before a request is visible.
    pub ingress: Ingress,
    /// Host time after a step.
    pub egress: Duration,
    /// The requests.
    pub load: Load,
}

impl Case {
    /// The case of a seed, with replicas that stay.
    pub fn draw(seed: u64) -> Case {
        let mut draw = Draw::new(seed);
        // Many requests on one replica at once would otherwise be rare: each of several draws has to allow it.
        let heavy = draw.chance(10);
        let (mut engine, kv_blocks) = settings::engine(&mut draw, heavy);
        let cluster = settings::cluster(&mut draw, heavy);
        let cost = Synthetic::draw(&mut draw);
        let host = |draw: &mut Draw| match draw.below(4) {
            0 | 1 => Duration::ZERO,
            2 => Duration(draw.upto(2 * cost.typical())),
            _ => Duration(cost.typical() * draw.upto(3)),
        };
        let (request, egress) = (host(&mut draw), host(&mut draw));
        let prompt_token = Duration(host(&mut draw).0 / 64);
        let ingress = Ingress { request, prompt_token };
        let load = load::draw(&mut draw, &engine, cost.typical(), heavy);
        let layout = settings::layout(&mut draw, &mut engine);
        Case { seed, cluster, layout, engine, kv_blocks, cost, ingress, egress, load }
    }

    /// The case of a seed; in most of them the replicas come and go.
    pub fn draw_changing(seed: u64) -> Case {
        let mut case = Case::draw(seed);
        let mut draw = Draw::new(seed ^ 0x6479_6e61_6d69_6373);
        if draw.chance(65) {
            let dynamics = dynamics::draw(&mut draw, case.cluster.replicas, &case.load, case.cost.typical());
            case.cluster.dynamics = Some(Box::new(dynamics));
        }
        case
    }

    /// The cluster to run it on.
    pub fn cluster(&self) -> Cluster<'_> {
        Cluster {
            config: &self.cluster,
            engine: &self.engine,
            layout: self.layout,
            kv_blocks: self.kv_blocks,
            cost: &self.cost,
            ingress: self.ingress,
            egress: self.egress,
            seed: self.seed,
        }
    }

    /// Runs it.
    pub fn run(&self, engine: &impl Engine, observer: &mut impl Observer) -> Vec<EngineTotals> {
        self.run_all(engine, observer).0
    }

    /// The same; what became of replicas that can change as well.
    pub fn run_all(&self, engine: &impl Engine, observer: &mut impl Observer) -> Ran {
        match &self.load {
            Load::Open(requests) => engine.run_all(&self.cluster(), &mut Listed::new(requests.clone()), observer),
            Load::Clients(clients) => engine.run_all(&self.cluster(), &mut Clients::new(clients), observer),
        }
    }
}
