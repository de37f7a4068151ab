//! Replicas as Kubernetes has them: pods of a Deployment, which start in phases on nodes, drain and go.

use tokentide_autoscale::pods::Pod as Seen;
use tokentide_models::units::{Duration, Time};

use super::nodes::Nodes;
use crate::scenario::{Dynamics, When};
use crate::stream::{Purpose, Stream};
use crate::workload::distribution::Sampler;

/// Where a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No zone is up: it has no node.
    Unplaced,
    /// On its way; `running`: when its container starts.
    Starting {
        /// When its container starts.
        running: Time,
        /// When it will be ready.
        ready: Time,
    },
    /// It gets requests.
    Ready {
        /// Since when.
        since: Time,
        /// Its engine.
        engine: usize,
    },
    /// It finishes what it has.
    Draining {
        /// Since when.
        since: Time,
        /// Its engine.
        engine: usize,
    },
    /// It is no more.
    Gone,
}

/// A pod.
#[derive(Clone, Copy, Debug)]
pub struct Pod {
    /// Where it is.
    pub state: State,
    created: Time,
    node: Option<usize>,
    /// Starts of its container.
    starts: u64,
}

/// What changing the wanted number brings.
#[derive(Debug, Default)]
pub struct Scaled {
    /// Pods created, and when each will be ready; never if it has no node.
    pub created: Vec<(usize, Time)>,
    /// Engines that get no further requests, with their pods.
    pub closed: Vec<(usize, usize)>,
}

/// The pods of a Deployment.
pub struct Pods {
    /// Phases of a start.
    phases: Vec<(When, Sampler)>,
    seed: u64,
    pods: Vec<Pod>,
    /// The nodes that they run on.
    pub nodes: Nodes,
    /// How many there should be.
    pub wanted: u32,
}

impl Pods {
    /// `n` pods that are ready from the start, on engines 0 to `n - 1`.
    pub fn new(config: &Dynamics, seed: u64, n: u32) -> Pods {
        let nodes = Nodes::new(n, config.warm_nodes, config.zones, config.node_keep);
        let pod =
            |i: usize| Pod { state: State::Ready { since: Time::ZERO, engine: i }, created: Time::ZERO, node: Some(i), starts: 1 };
        let phases = config.startup.iter().map(|phase| (phase.when, Sampler::new(&phase.time))).collect();
        Pods { phases, seed, pods: (0..n as usize).map(pod).collect(), nodes, wanted: n }
    }

    /// A pod.
    pub fn get(&self, pod: usize) -> &Pod {
        &self.pods[pod]
    }

    /// Pods that are there and not about to go, in order of creation.
    fn active(&self) -> impl Iterator<Item = usize> + '_ {
        let leaves = |state: State| matches!(state, State::Draining { .. } | State::Gone);
        self.pods.iter().enumerate().filter(move |(_, pod)| !leaves(pod.state)).map(|(i, _)| i)
    }

    /// The `index`-th pod that is ready, in order of creation.
    pub fn ready_at(&self, index: u32) -> Option<usize> {
        self.active().filter(|&pod| matches!(self.pods[pod].state, State::Ready { .. })).nth(index as usize)
    }

    /// The engine of a pod, if it has one.
    pub fn engine(&self, pod: usize) -> Option<usize> {
        match self.pods[pod].state {
            State::Ready { engine, .. } | State::Draining { engine, .. } => Some(engine),
            _ => None,
        }
    }

    /// Pods that drain: number, since when, engine.
    pub fn draining(&self) -> Vec<(usize, Time, usize)> {
        let draining = |(i, pod): (usize, &Pod)| match pod.state {
            State::Draining { since, engine } => Some((i, since, engine)),
            _ => None,
        };
        self.pods.iter().enumerate().filter_map(draining).collect()
    }

    /// Numbers of pods: ready, on their way, draining.
    pub fn counts(&self) -> (u32, u32, u32) {
        let count = |of: fn(State) -> bool| self.pods.iter().filter(|pod| of(pod.state)).count() as u32;
        (
            count(|s| matches!(s, State::Ready { .. })),
            count(|s| matches!(s, State::Starting { .. } | State::Unplaced)),
            count(|s| matches!(s, State::Draining { .. })),
        )
    }

    /// What an autoscaler sees of them.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = |(id, pod): (usize, &Pod)| {
            let (running, ready, terminating) = match pod.state {
                State::Unplaced => (None, None, false),
                State::Starting { running, .. } => (Some(running), None, false),
                State::Ready { since, .. } => (Some(since), Some(since), false),
                State::Draining { since, .. } => (Some(since), Some(since), true),
                State::Gone => return None,
            };
            Some(Seen { id: id as u32, created: pod.created, running, ready, terminating })
        };
        self.pods.iter().enumerate().filter_map(seen).collect()
    }

    /// Makes the number of pods what is wanted, at `now`. The first to go are those that are not ready, then those that became it
    /// last, as a ReplicaSet has it.
    pub fn reconcile(&mut self, now: Time) -> Scaled {
        let mut scaled = Scaled::default();
        let active: Vec<usize> = self.active().collect();
        for _ in active.len()..self.wanted as usize {
            let pod = self.pods.len();
            self.pods.push(Pod { state: State::Unplaced, created: now, node: None, starts: 0 });
            scaled.created.push((pod, self.place(pod, now)));
        }
        let mut victims = active;
        victims.sort_by_key(|&pod| match self.pods[pod].state {
            State::Ready { since, .. } => (1, std::cmp::Reverse((since, pod))),
            _ => (0, std::cmp::Reverse((self.pods[pod].created, pod))),
        });
        let surplus = victims.len().saturating_sub(self.wanted as usize);
        for &pod in &victims[..surplus] {
            match self.pods[pod].state {
                State::Ready { engine, .. } => {
                    self.pods[pod].state = State::Draining { since: now, engine };
                    scaled.closed.push((pod, engine));
                }
                _ => self.gone(pod, now),
            }
        }
        scaled
    }

    /// Puts pods on nodes that had none: those, and when each will be ready.
    pub fn place_all(&mut self, now: Time) -> Vec<(usize, Time)> {
        let unplaced: Vec<usize> = self.active().filter(|&pod| self.pods[pod].state == State::Unplaced).collect();
        unplaced.into_iter().map(|pod| (pod, self.place(pod, now))).filter(|(_, ready)| *ready != Time::NEVER).collect()
    }

    /// Puts a pod on a node, if there can be one: when it will be ready.
    fn place(&mut self, pod: usize, now: Time) -> Time {
        let Some((node, usable)) = self.nodes.occupy(now) else { return Time::NEVER };
        self.pods[pod].node = Some(node);
        match usable {
            Some(usable) => self.launch(pod, usable, When::Pod),
            None => self.launch(pod, now, When::Node),
        }
    }

    /// Its container starts again in its place: when it will be ready.
    pub fn restart(&mut self, pod: usize, now: Time) -> Time {
        self.launch(pod, now, When::Container)
    }

    /// Goes through the phases of the start from `first` on: when it will be ready.
    fn launch(&mut self, pod: usize, now: Time, first: When) -> Time {
        let (mut placed, mut running, mut ready) = (now, now, now);
        for (i, (when, time)) in self.phases.iter().enumerate() {
            let mut stream = Stream::new(self.seed, Purpose::Startup, i as u64, pod as u64 + (self.pods[pod].starts << 32));
            // A phase is drawn whether it is gone through or not: a free node changes no other draw.
            let time = Duration::from_secs_f64(time.real(&mut stream));
            if *when < first {
                continue;
            }
            ready += time;
            if *when < When::Container {
                running = ready;
            }
            if *when == When::Node {
                placed = ready;
            }
        }
        if let (When::Node, Some(node)) = (first, self.pods[pod].node) {
            self.nodes.usable_from(node, placed);
        }
        self.pods[pod].starts += 1;
        self.pods[pod].state = State::Starting { running, ready };
        ready
    }

    /// Whether the pod becomes ready at `now`, which another start may have put off.
    pub fn is_due(&self, pod: usize, now: Time) -> bool {
        matches!(self.pods[pod].state, State::Starting { ready, .. } if ready == now)
    }

    /// It gets requests from now on, on `engine`; from its creation on it took this long [s] if it is its first start.
    pub fn ready(&mut self, pod: usize, now: Time, engine: usize) -> Option<f64> {
        let Pod { state, created, starts, .. } = &mut self.pods[pod];
        *state = State::Ready { since: now, engine };
        (*starts == 1).then(|| now.since(*created).as_secs_f64())
    }

    /// It is gone; its node, if it still is there, is free.
    pub fn gone(&mut self, pod: usize, now: Time) {
        self.pods[pod].state = State::Gone;
        if let Some(node) = self.pods[pod].node.take() {
            self.nodes.free(node, now);
        }
    }

    /// It is gone with its node.
    pub fn gone_with_node(&mut self, pod: usize, now: Time) {
        if let Some(node) = self.pods[pod].node {
            self.nodes.lose(node, now);
        }
        self.gone(pod, now);
    }

    /// Pods whose node is lost, those that drain included.
    pub fn stranded(&self) -> Vec<usize> {
        let lost = |pod: &Pod| pod.node.is_some_and(|node| self.nodes.is_gone(node));
        (0..self.pods.len()).filter(|&i| lost(&self.pods[i])).collect()
    }
}
