//! The engine cores of one replica: one, or its data-parallel ranks with the balancer in front of them.
//!
//! # Semantics
//!
//! **Balance.** A delivered request goes to the rank with the least `4 * waiting + running`, the lowest on a tie, as the front
//! end sees them: as they were after the last event before the latest multiple of 100 ms, `waiting` raised by one for every
//! request that it has sent there since. (vLLM's `DPLBAsyncMPClient` with one front end; its coordinator publishes counts at
//! most every 100 ms, from when they change on. `waiting` is the engine's queue: what is not yet visible to the engine is not in
//! it.)
//!
//! **Ranks of a dense model** know nothing of each other: each is an engine core as in [`super`], and at equal times the lowest
//! rank comes first.
//!
//! **Ranks of a mixture** run in lockstep, since every layer needs all of them. The group has one loop, that of [`super`], with
//! `drain`, `schedule()` and `apply` done by every rank in order: if any rank finds work, a step of the group starts, and ranks
//! that found none run a dummy step, which computes nothing that matters and counts nowhere but in its duration,
//! [`CostModel::lockstep`](tokentide_models::cost::CostModel::lockstep) of all ranks' batches. A decision that only preempted is
//! made again at once if no rank found work and no step of the group is in flight; with work elsewhere its rank runs a dummy
//! step. An idle group wakes with the first request. (vLLM stops idling ranks every 32 steps only: it runs up to 31 dummy steps
//! after the last request, and a request that comes meanwhile waits for the end of one.)

use std::collections::VecDeque;
use std::sync::Arc;

use tokentide_models::cost::BatchShape;
use tokentide_models::units::Time;

use super::replica::{Replica, Settings};
use super::{EngineTotals, Levels, Observer};
use crate::workload::Request;

/// How often the front end learns the ranks' counts [ps].
const PUBLISH_PS: u64 = 100_000_000_000;

/// How a replica's engine cores and their workers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Data-parallel ranks.
    pub ranks: u32,
    /// Whether they run every step together; not with pipeline stages.
    pub lockstep: bool,
    /// Pipeline stages of a rank; not with asynchronous scheduling.
    pub stages: u32,
}

impl Layout {
    /// Neither data nor pipeline parallelism.
    pub const ONE: Layout = Layout { ranks: 1, lockstep: false, stages: 1 };
}

/// The engine cores of one replica.
pub struct Group<'a> {
    ranks: Vec<Replica<'a>>,
    balancer: Balancer,
    lockstep: Option<Lockstep>,
    /// Rank of the latest event.
    latest: usize,
}

impl<'a> Group<'a> {
    /// Idle engine cores of replica `index`.
    pub fn new(settings: Settings<'a>, index: u32) -> Group<'a> {
        let Layout { ranks, lockstep, stages } = settings.layout;
        assert!(stages == 1 || !(lockstep || settings.engine.async_scheduling), "stages with what is not modelled together");
        Group {
            ranks: (0..ranks).map(|rank| Replica::new(settings, index, rank)).collect(),
            balancer: Balancer::new(ranks),
            lockstep: (lockstep && ranks > 1).then(|| Lockstep::new(ranks)),
            latest: 0,
        }
    }

    /// Time of its next event; never if it is idle.
    pub fn next_event(&self) -> Time {
        match &self.lockstep {
            Some(group) => group.next_event,
            None => self.next_rank().0,
        }
    }

    fn next_rank(&self) -> (Time, usize) {
        let events = self.ranks.iter().enumerate().map(|(i, rank)| (rank.next_event(), i));
        events.min().expect("a replica has an engine core")
    }

    /// Requests delivered and not running.
    pub fn waiting_requests(&self) -> u32 {
        self.ranks.iter().map(Replica::waiting_requests).sum()
    }

    /// Requests delivered and not ended.
    pub fn requests(&self) -> u32 {
        self.ranks.iter().map(Replica::requests).sum()
    }

    /// Tokens of those after the latest step run, as the router counts them.
    pub fn tokens_so_far(&self) -> u64 {
        self.ranks.iter().map(Replica::tokens_so_far).sum()
    }

    /// The same at `now`: planned leaps have gone on meanwhile.
    pub fn tokens(&self, now: Time) -> u64 {
        self.ranks.iter().map(|rank| rank.tokens(now)).sum()
    }

    /// What each rank did in all.
    pub fn totals(&self) -> impl Iterator<Item = EngineTotals> {
        self.ranks.iter().map(Replica::totals)
    }

    /// Levels since the latest events, summed over the ranks.
    pub fn levels(&self) -> Levels {
        let sum = |a: Levels, b: Levels| Levels {
            running: a.running + b.running,
            waiting: a.waiting + b.waiting,
            waiting_tokens: a.waiting_tokens + b.waiting_tokens,
            kv_used_from: a.kv_used_from + b.kv_used_from,
            kv_used_to: a.kv_used_to + b.kv_used_to,
            tokens: a.tokens + b.tokens,
            preemptions: a.preemptions + b.preemptions,
        };
        self.ranks.iter().map(Replica::levels).fold(Levels::default(), sum)
    }

    /// Tells `observer` all that it has done until `now`, all events before which must have been run.
    pub fn settle<O: Observer>(&mut self, now: Time, observer: &mut O) {
        self.ranks.iter_mut().for_each(|rank| rank.settle(now, observer));
    }

    /// Time of the latest event, or delivery.
    pub fn latest_event(&self) -> Time {
        self.ranks.iter().map(Replica::latest_event).max().expect("a replica has an engine core")
    }

    /// Ends it at `now`, all events before which must have been run: the requests that it had, in no order.
    pub fn crash<O: Observer>(&mut self, now: Time, observer: &mut O) -> Vec<Request> {
        self.ranks.iter_mut().flat_map(|rank| rank.crash(now, observer)).collect()
    }

    /// Asserts that whatever went in has come out.
    pub fn assert_drained(&self) {
        self.ranks.iter().for_each(Replica::assert_drained);
    }

    /// Hands a request over at `now`, to the rank that the balancer picks; the engine sees it from `visible` on. All events before
    /// `now` must have been run. `keys` are those of its shared blocks, if caching is on.
    pub fn deliver<O: Observer>(&mut self, request: Request, now: Time, visible: Time, keys: Option<Arc<[u64]>>, observer: &mut O) {
        let rank = match self.ranks.len() {
            1 => 0,
            _ => {
                self.balancer.publish_before(now, &self.ranks);
                self.balancer.pick()
            }
        };
        self.ranks[rank].deliver(request, now, visible, keys, observer);
        if let Some(group) = &mut self.lockstep {
            group.wake(&mut self.ranks);
        }
    }

    /// Runs all events before `until`.
    pub fn advance<O: Observer>(&mut self, until: Time, observer: &mut O) {
        match &mut self.ranks[..] {
            [only] => only.advance(until, observer),
            _ => {
                while self.next_event() < until {
                    self.event(observer);
                }
            }
        }
    }

    /// Runs the next event.
    pub fn event<O: Observer>(&mut self, observer: &mut O) {
        let (now, rank) = match &self.lockstep {
            Some(group) => (group.next_event, self.ranks.len() - 1),
            None => self.next_rank(),
        };
        if self.ranks.len() > 1 {
            self.balancer.publish_before(now, &self.ranks);
        }
        self.latest = rank;
        match &mut self.lockstep {
            Some(group) => group.event(&mut self.ranks, observer),
            None => self.ranks[rank].event(observer),
        }
    }

    /// Cuts planned leaps short: only their steps scheduled before `time` are run.
    pub fn cut_leap<O: Observer>(&mut self, time: Time, observer: &mut O) {
        self.ranks.iter_mut().for_each(|rank| rank.cut_leap(time, observer));
    }

    /// The same, on ranks below that of the latest event only.
    pub fn cut_lower_leaps<O: Observer>(&mut self, time: Time, observer: &mut O) {
        self.ranks[..self.latest].iter_mut().for_each(|rank| rank.cut_leap(time, observer));
    }
}

/// The front end's picture of the ranks.
struct Balancer {
    /// Waiting and running requests of each rank.
    seen: Vec<(u32, u32)>,
    /// When the counts are published next.
    due: Time,
}

impl Balancer {
    fn new(ranks: u32) -> Balancer {
        Balancer { seen: vec![(0, 0); ranks as usize], due: Time::ZERO }
    }

    /// Takes in what was published by `now`. Must be called before anything changes at `now`: between events nothing does, so the
    /// counts as they are were those of the latest multiple of the interval.
    fn publish_before(&mut self, now: Time, ranks: &[Replica<'_>]) {
        if now < self.due {
            return;
        }
        self.seen.clear();
        self.seen.extend(ranks.iter().map(Replica::queues));
        self.due = Time((now.0 / PUBLISH_PS + 1).saturating_mul(PUBLISH_PS));
    }

    fn pick(&mut self) -> usize {
        let score = |&(waiting, running): &(u32, u32)| 4 * u64::from(waiting) + u64::from(running);
        let rank = (0..self.seen.len()).min_by_key(|&rank| score(&self.seen[rank])).expect("there are ranks");
        self.seen[rank].0 += 1;
        rank
    }
}

/// The loop that ranks in lockstep share.
struct Lockstep {
    /// Ends of the scheduled steps whose results are not yet applied.
    inflight: VecDeque<Time>,
    /// End of the latest scheduled step.
    last_end: Time,
    next_event: Time,
    /// The ranks' batches in the step being scheduled; of an idle rank an empty one.
    shapes: Vec<BatchShape>,
    found: Vec<bool>,
}

impl Lockstep {
    fn new(ranks: u32) -> Lockstep {
        Lockstep {
            inflight: VecDeque::with_capacity(2),
            last_end: Time::ZERO,
            next_event: Time::NEVER,
            shapes: vec![BatchShape::default(); ranks as usize],
            found: vec![false; ranks as usize],
        }
    }

    /// Something was delivered: an idle group wakes for it.
    fn wake(&mut self, ranks: &mut [Replica<'_>]) {
        if self.inflight.is_empty() {
            self.next_event = ranks.iter_mut().map(Replica::next_wake).min().expect("there are ranks");
        }
    }

    fn event<O: Observer>(&mut self, ranks: &mut [Replica<'_>], observer: &mut O) {
        let now = self.next_event;
        if self.inflight.front().is_some_and(|&end| end <= now) {
            self.inflight.pop_front();
        }
        ranks.iter_mut().for_each(|rank| rank.take_in(now, observer));
        let depth = ranks[0].settings.steps_in_flight();
        while self.inflight.len() < depth {
            for (found, rank) in self.found.iter_mut().zip(&mut *ranks) {
                *found = rank.decide(now);
            }
            if self.found.contains(&true) {
                self.step(ranks, now, observer);
            } else if !self.inflight.is_empty() || ranks.iter().all(|rank| rank.decision.preempted.is_empty()) {
                break;
            }
        }
        self.next_event = match self.inflight.front() {
            Some(&end) => end,
            None => ranks.iter_mut().map(Replica::next_wake).min().expect("there are ranks"),
        };
        ranks.iter_mut().for_each(|rank| rank.set_levels(now));
    }

    /// A step of the group: all ranks start together and end with the slowest.
    fn step<O: Observer>(&mut self, ranks: &mut [Replica<'_>], now: Time, observer: &mut O) {
        for ((shape, &found), rank) in self.shapes.iter_mut().zip(&self.found).zip(&mut *ranks) {
            *shape = if found { rank.decided_shape() } else { BatchShape::default() };
        }
        let start = now.max(self.last_end);
        let duration = ranks[0].settings.cost.lockstep(&self.shapes);
        for ((shape, _), rank) in self.shapes.iter().zip(&self.found).zip(ranks).filter(|((_, found), _)| **found) {
            rank.run(shape, now, start, duration, observer);
        }
        self.last_end = start + duration;
        self.inflight.push_back(self.last_end);
    }
}
