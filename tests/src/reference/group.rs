//! The engine cores of a replica: one, or data-parallel ranks, each for itself or in lockstep.

use std::collections::VecDeque;

use tokentide_models::cost::{BatchShape, CostModel};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::{Cluster, Ingress};
use tokentide_sim::engine::{Observer, Outcome};
use tokentide_sim::workload::Request;

use super::replica::Replica;
use super::scheduler::Decision;

/// The front end learns the ranks' counts at multiples of this.
const PUBLISHING: Duration = Duration(100_000_000_000);

/// A replica.
pub struct Group<'a> {
    /// Its engine cores.
    pub ranks: Vec<Replica<'a>>,
    cost: &'a dyn CostModel,
    ingress: Ingress,
    /// Prompt tokens that the front end has yet to tokenise or has tokenised, with the time at which each request reached it.
    prompts: Vec<(Time, u32)>,
    lockstep: bool,
    queue_limit: Option<u32>,
    depth: usize,
    /// Waiting and running requests of each rank, as the front end believes.
    believed: Vec<[usize; 2]>,
    /// In which interval it learnt them.
    learnt: Option<u64>,
    /// Ends of the steps of a lockstep group in flight.
    inflight: VecDeque<Time>,
    last_end: Time,
    /// Steps in which a rank had no work while another had.
    pub dummies: u64,
}

impl<'a> Group<'a> {
    /// An empty replica.
    pub fn new(index: u32, cluster: &Cluster<'a>) -> Group<'a> {
        let count = cluster.layout.ranks;
        Group {
            ranks: (0..count).map(|rank| Replica::new(index, rank, cluster)).collect(),
            cost: cluster.cost,
            ingress: cluster.ingress,
            prompts: Vec::new(),
            lockstep: cluster.layout.lockstep && count > 1,
            queue_limit: cluster.engine.max_num_queued_reqs,
            depth: if cluster.engine.async_scheduling { 2 } else { 1 },
            believed: vec![[0, 0]; count as usize],
            learnt: None,
            inflight: VecDeque::new(),
            last_end: Time::ZERO,
            dummies: 0,
        }
    }

    /// Whether the queue limit lets one more request in.
    pub fn accepts(&self) -> bool {
        let queued: usize = self.ranks.iter().map(Replica::queued).sum();
        self.queue_limit.is_none_or(|limit| queued < limit as usize)
    }

    /// Delivered requests that have not ended, as a router sees them.
    pub fn load_requests(&self) -> u64 {
        self.ranks.iter().map(Replica::load_requests).sum()
    }

    /// Their tokens, as a router sees them.
    pub fn load_tokens(&self) -> u64 {
        self.ranks.iter().map(Replica::load_tokens).sum()
    }

    /// If a new interval has begun since the front end last learnt the counts, it learns those that stand before anything
    /// happens now.
    fn learn(&mut self, now: Time) {
        let interval = now.0 / PUBLISHING.0;
        if self.learnt != Some(interval) {
            self.learnt = Some(interval);
            let counts = |rank: &Replica<'_>| [rank.scheduler.waiting.len(), rank.scheduler.running.len()];
            self.believed = self.ranks.iter().map(counts).collect();
        }
    }

    /// A request that was routed here arrives at `now`.
    pub fn deliver(&mut self, request: Request, now: Time) {
        self.learn(now);
        let mut best = 0;
        for (rank, [waiting, running]) in self.believed.iter().enumerate() {
            let [least_waiting, least_running] = self.believed[best];
            if 4 * waiting + running < 4 * least_waiting + least_running {
                best = rank;
            }
        }
        self.believed[best][0] += 1;
        self.prompts.push((now + self.ingress.request, request.input_tokens));
        let visible = self.tokenised();
        self.ranks[best].deliver(request, visible);
    }

    /// When the tokeniser is done with all prompts it was ever given, one after the other.
    fn tokenised(&self) -> Time {
        let mut done = Time::ZERO;
        for &(reached, tokens) in &self.prompts {
            let begins = if reached > done { reached } else { done };
            done = begins + self.ingress.prompt_token * u64::from(tokens);
        }
        done
    }

    /// When it next does anything, and which rank; rank 0 for a group in lockstep.
    pub fn next_event(&self) -> Option<(Time, usize)> {
        if !self.lockstep {
            return self.ranks.iter().enumerate().filter_map(|(i, rank)| Some((rank.next_event()?, i))).min();
        }
        let message = || self.ranks.iter().filter_map(Replica::next_message).min();
        Some((self.inflight.front().copied().or_else(message)?, 0))
    }

    /// The event at `now` on `rank`. Returns who ended, in order.
    pub fn event(&mut self, now: Time, rank: usize, observer: &mut impl Observer) -> Vec<Outcome> {
        self.learn(now);
        if self.lockstep { self.together(now, observer) } else { self.ranks[rank].event(now, observer) }
    }

    fn together(&mut self, now: Time, observer: &mut impl Observer) -> Vec<Outcome> {
        if self.inflight.front() == Some(&now) {
            self.inflight.pop_front();
        }
        let ended = self.ranks.iter_mut().flat_map(|rank| rank.take_in(now, observer)).collect();
        while self.inflight.len() < self.depth {
            let decisions: Vec<Decision> = self.ranks.iter_mut().map(Replica::decide).collect();
            if decisions.iter().any(|decision| !decision.batch.is_empty()) {
                self.step(now, decisions, observer);
                continue;
            }
            let only_preempted = decisions.iter().any(|decision| !decision.preempted.is_empty());
            if !only_preempted || !self.inflight.is_empty() {
                break;
            }
        }
        ended
    }

    fn step(&mut self, now: Time, decisions: Vec<Decision>, observer: &mut impl Observer) {
        let shape = |(rank, decision): (&Replica<'_>, &Decision)| match decision.batch.is_empty() {
            true => BatchShape::default(),
            false => rank.shape(decision),
        };
        let shapes: Vec<BatchShape> = self.ranks.iter().zip(&decisions).map(shape).collect();
        let start = now.max(self.last_end);
        let duration = self.cost.lockstep(&shapes);
        for (rank, decision) in self.ranks.iter_mut().zip(decisions) {
            if decision.batch.is_empty() {
                self.dummies += 1;
            } else {
                rank.launch(now, start, duration, decision, observer);
            }
        }
        self.last_end = start + duration;
        self.inflight.push_back(self.last_end);
    }
}
