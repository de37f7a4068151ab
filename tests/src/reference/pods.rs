//! Replicas from their creation until they are gone.

use std::cmp::Reverse;

use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::Count;
use tokentide_sim::scenario::{Dynamics, When};
use tokentide_sim::stream::{Purpose, Stream};
use tokentide_sim::workload::distribution::Sampler;

use super::nodes::Nodes;

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a zone.
    Nowhere,
    /// It will be ready then.
    Starting(Time),
    /// It gets requests, since then.
    Ready(Time),
    /// It is to go, by then at the latest.
    Draining(Time),
    /// It is gone.
    Gone,
}

/// A replica.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Where it is.
    pub stage: Stage,
    /// Its engine, once it had one; the latest, if it has started again.
    pub engine: Option<usize>,
    created: Time,
    node: Option<usize>,
    starts: u64,
}

impl Pod {
    /// Whether its engine is running.
    pub fn is_there(&self) -> bool {
        matches!(self.stage, Stage::Ready(_) | Stage::Draining(_))
    }

    fn is_wanted(&self) -> bool {
        !matches!(self.stage, Stage::Draining(_) | Stage::Gone)
    }
}

/// All replicas that ever were, in order of creation.
pub struct Pods<'c> {
    config: &'c Dynamics,
    seed: u64,
    /// The replicas.
    pub list: Vec<Pod>,
    /// What they run on.
    pub nodes: Nodes,
    /// How many there should be.
    pub wanted: u32,
    /// How many were put on a node that was still being made for another.
    pub inherited: u64,
}

impl<'c> Pods<'c> {
    /// `n` replicas that are ready, on engines 0 to `n - 1`.
    pub fn new(config: &'c Dynamics, seed: u64, n: u32) -> Pods<'c> {
        let pod =
            |i: usize| Pod { stage: Stage::Ready(Time::ZERO), engine: Some(i), created: Time::ZERO, node: Some(i), starts: 1 };
        Pods { config, seed, list: (0..n as usize).map(pod).collect(), nodes: Nodes::new(config, n), wanted: n, inherited: 0 }
    }

    fn those(&self, of: impl Fn(&Pod) -> bool) -> Vec<usize> {
        (0..self.list.len()).filter(|&i| of(&self.list[i])).collect()
    }

    /// Those that get requests, in order of creation.
    pub fn ready(&self) -> Vec<usize> {
        self.those(|pod| matches!(pod.stage, Stage::Ready(_)))
    }

    /// Those that are to go and are still there.
    pub fn draining(&self) -> Vec<usize> {
        self.those(|pod| matches!(pod.stage, Stage::Draining(_)))
    }

    /// Those whose node is no more.
    pub fn stranded(&self) -> Vec<usize> {
        self.those(|pod| pod.node.is_some_and(|node| self.nodes.is_over(node)))
    }

    /// How many there are of each kind.
    pub fn count(&self, at: Time) -> Count {
        let ready = self.ready().len() as u32;
        let starting = self.those(Pod::is_wanted).len() as u32 - ready;
        Count { at, wanted: self.wanted, ready, starting, draining: self.draining().len() as u32 }
    }

    /// Creates replicas, or lets some go, until they are as many as wanted.
    pub fn match_wanted(&mut self, now: Time) {
        let there = self.those(Pod::is_wanted);
        for _ in there.len()..self.wanted as usize {
            self.list.push(Pod { stage: Stage::Nowhere, engine: None, created: now, node: None, starts: 0 });
            self.place(self.list.len() - 1, now);
        }
        for _ in self.wanted as usize..there.len() {
            let ready = |i: &usize| match self.list[*i].stage {
                Stage::Ready(since) => (1, Reverse(since), Reverse(*i)),
                _ => (0, Reverse(self.list[*i].created), Reverse(*i)),
            };
            let first = self.those(Pod::is_wanted).into_iter().min_by_key(ready).expect("there are too many");
            match self.list[first].stage {
                Stage::Ready(_) => self.list[first].stage = Stage::Draining(now + self.config.termination_grace),
                _ => self.gone(first, now),
            }
        }
    }

    /// Puts those on nodes that wait for a zone; how many.
    pub fn place_waiting(&mut self, now: Time) -> u64 {
        let waiting = self.those(|pod| pod.stage == Stage::Nowhere);
        for &pod in &waiting {
            self.place(pod, now);
        }
        waiting.len() as u64
    }

    fn place(&mut self, pod: usize, now: Time) {
        if let Some((node, usable)) = self.nodes.take_free(now) {
            self.inherited += u64::from(usable > now);
            self.list[pod].node = Some(node);
            self.start(pod, usable, When::Pod);
        } else if let Some(node) = self.nodes.make(now) {
            self.list[pod].node = Some(node);
            self.start(pod, now, When::Node);
        }
    }

    /// The container of a replica starts again.
    pub fn restart(&mut self, pod: usize, now: Time) {
        self.start(pod, now, When::Container);
    }

    /// A start from `from` on, with the first phases left out.
    fn start(&mut self, pod: usize, from: Time, first: When) {
        let Pod { node, starts, .. } = self.list[pod];
        let time = |index: usize| {
            let mut stream = Stream::new(self.seed, Purpose::Startup, index as u64, pod as u64 + (starts << 32));
            Duration::from_secs_f64(Sampler::new(&self.config.startup[index].time).real(&mut stream))
        };
        let phases = || (0..self.config.startup.len()).filter(|&index| self.config.startup[index].when >= first);
        let ready = phases().fold(from, |at, index| at + time(index));
        let made = phases().filter(|&index| self.config.startup[index].when == When::Node).fold(from, |at, index| at + time(index));
        if first == When::Node {
            self.nodes.made_by(node.expect("it has one"), made);
        }
        self.list[pod].starts += 1;
        self.list[pod].stage = Stage::Starting(ready);
    }

    /// A replica gets requests from now on. How long its first start took from its creation on [s].
    pub fn is_ready(&mut self, pod: usize, now: Time, engine: usize) -> Option<f64> {
        let pod = &mut self.list[pod];
        pod.stage = Stage::Ready(now);
        pod.engine = Some(engine);
        (pod.starts == 1).then(|| (now - pod.created).as_secs_f64())
    }

    /// The node of a replica is lost.
    pub fn lose_node(&mut self, pod: usize, now: Time) {
        self.nodes.lose(self.list[pod].node.expect("it is ready"), now);
    }

    /// A replica is gone, and leaves its node.
    pub fn gone(&mut self, pod: usize, now: Time) {
        self.list[pod].stage = Stage::Gone;
        if let Some(node) = self.list[pod].node.take() {
            self.nodes.free(node, now);
        }
    }
}
