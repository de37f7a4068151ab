//! The semantics of [`tokentide_sim::engine::batchwise`], written the obvious way: lists of ids, blocks held by name, and stages
//! that pass batches on as time goes by.

use std::collections::{BTreeMap, VecDeque};

use tokentide_models::cost::{BatchShape, CostModel};
use tokentide_models::units::Duration;
use tokentide_sim::scenario::{Batchwise, EngineConfig, Scheduler};

/// A batch as it was sent: time, then id, computed tokens and tokens of each member.
pub type Sent = (u64, Vec<(u64, u32, u32)>);

/// A request's first token, end and evictions.
pub type Ended = (u64, u64, u32);

#[derive(Clone, Debug)]
struct Live {
    arrival: u64,
    input: u32,
    out: u32,
    given: u32,
    target: u32,
    computed: u32,
    first: u64,
    end: u64,
    evictions: u32,
}

impl Live {
    fn decodes(&self) -> bool {
        self.computed >= self.target
    }
}

/// A stage: batches that wait for it, and the one in it with its end.
#[derive(Default)]
struct Stage {
    queue: VecDeque<usize>,
    busy: Option<(u64, usize)>,
}

struct Replica<'a> {
    config: &'a EngineConfig,
    scheduler: Batchwise,
    kv_blocks: u32,
    places: usize,
    live: Vec<Live>,
    held: BTreeMap<usize, u32>,
    waiting: VecDeque<usize>,
    running: Vec<usize>,
    batches: Vec<Vec<(usize, u32)>>,
    evicted: bool,
}

/// Runs requests of (arrival, input, output), in order of arrival, on one replica of `stages` pipeline stages without host time.
pub fn run(
    config: &EngineConfig,
    stages: u32,
    kv_blocks: u32,
    cost: &dyn CostModel,
    of: &[(u64, u32, u32)],
) -> (Vec<Sent>, Vec<Ended>) {
    let Scheduler::Batchwise(scheduler) = config.scheduler else { panic!("another engine's scheduler") };
    let live = |&(arrival, input, out): &(u64, u32, u32)| Live {
        arrival,
        input,
        out,
        given: 0,
        target: input,
        computed: 0,
        first: 0,
        end: 0,
        evictions: 0,
    };
    let mut replica = Replica {
        config,
        scheduler,
        kv_blocks,
        places: (config.max_num_seqs / stages).max(1) as usize,
        live: of.iter().map(live).collect(),
        held: BTreeMap::new(),
        waiting: VecDeque::new(),
        running: Vec::new(),
        batches: Vec::new(),
        evicted: false,
    };
    let sent = replica.run(stages, cost);
    assert!(replica.held.is_empty() && replica.waiting.is_empty() && replica.running.is_empty(), "something is left over");
    (sent, replica.live.iter().map(|live| (live.first, live.end, live.evictions)).collect())
}

impl Replica<'_> {
    fn run(&mut self, count: u32, cost: &dyn CostModel) -> Vec<Sent> {
        let (mut stages, mut sent): (Vec<Stage>, Vec<Sent>) = ((0..count).map(|_| Stage::default()).collect(), Vec::new());
        let (mut arrived, mut in_flight) = (0, 0);
        loop {
            let ends = stages.iter().filter_map(|stage| stage.busy).map(|(end, _)| end);
            let arrivals = self.live.get(arrived).map(|live| live.arrival);
            let Some(now) = ends.chain(arrivals).min() else { return sent };
            let mut event = arrivals == Some(now);
            for at in 0..stages.len() {
                let Some((_, batch)) = stages[at].busy.filter(|&(end, _)| end == now) else { continue };
                stages[at].busy = None;
                match stages.get_mut(at + 1) {
                    Some(next) => next.queue.push_back(batch),
                    None => {
                        event = true;
                        in_flight -= 1;
                        self.ended(batch, now);
                    }
                }
            }
            while self.live.get(arrived).is_some_and(|live| live.arrival == now) {
                self.waiting.push_back(arrived);
                arrived += 1;
            }
            // That a batch moves on to the next stage is no event.
            while event && in_flight < count {
                self.evicted = false;
                let batch = self.decide();
                if !batch.is_empty() {
                    sent.push((now, batch.iter().map(|&(id, tokens)| (id as u64, self.before(id), tokens)).collect()));
                    stages[0].queue.push_back(self.batches.len());
                    self.batches.push(batch);
                    in_flight += 1;
                } else if !self.evicted || in_flight > 0 {
                    break;
                }
            }
            for (at, stage) in stages.iter_mut().enumerate().filter(|(_, stage)| stage.busy.is_none()) {
                stage.busy = stage.queue.pop_front().map(|batch| (now + self.time(batch, at as u32, count, cost), batch));
            }
        }
    }

    /// Tokens computed before the next batch.
    fn before(&self, id: usize) -> u32 {
        let live = &self.live[id];
        if live.decodes() { live.input + live.given - 1 } else { live.computed }
    }

    fn time(&self, batch: usize, stage: u32, stages: u32, cost: &dyn CostModel) -> u64 {
        let mut shape = BatchShape::default();
        for &(id, tokens) in &self.batches[batch] {
            let live = &self.live[id];
            match live.decodes() {
                true => shape.add_decode(u64::from(live.input + live.given)),
                false => shape.add_chunk(live.computed.into(), tokens.into(), live.computed + tokens == live.target),
            }
        }
        let mut times = vec![Duration::ZERO; stages as usize];
        cost.stages(&shape, &mut times);
        times[stage as usize].0
    }

    fn ended(&mut self, batch: usize, now: u64) {
        for (id, tokens) in self.batches[batch].clone() {
            let live = &mut self.live[id];
            if !live.decodes() {
                live.computed += tokens;
                if !live.decodes() {
                    self.running.push(id);
                    continue;
                }
            }
            if live.given == 0 {
                live.first = now;
            }
            live.given += 1;
            if live.given == live.out {
                live.end = now;
                self.held.remove(&id);
            } else {
                self.running.push(id);
            }
        }
    }

    fn free(&self) -> u32 {
        self.kv_blocks - self.held.values().sum::<u32>()
    }

    fn decide(&mut self) -> Vec<(usize, u32)> {
        let budget = self.config.max_num_batched_tokens;
        let total = |batch: &[(usize, u32)]| batch.iter().map(|&(_, tokens)| tokens).sum::<u32>();
        if self.scheduler == Batchwise::Sarathi {
            let mut batch = self.decodes_and_chunks();
            while let Some(&id) = self.waiting.front() {
                let left = budget.saturating_sub(total(&batch));
                if left == 0 || !self.admit(batch.len()) {
                    break;
                }
                batch.push((id, self.live[id].target.min(left)));
            }
            return batch;
        }
        let mut batch: Vec<(usize, u32)> = Vec::new();
        while let Some(&id) = self.waiting.front() {
            let target = self.live[id].target;
            let longest = batch.iter().map(|&(_, tokens)| tokens).max().unwrap_or(0).max(target);
            if longest * (batch.len() as u32 + 1) > budget || !self.admit(batch.len()) {
                break;
            }
            batch.push((id, target));
        }
        if batch.is_empty() {
            self.running.sort_by_key(|&id| self.live[id].arrival);
            batch = self.decodes_and_chunks();
        }
        batch
    }

    fn decodes_and_chunks(&mut self) -> Vec<(usize, u32)> {
        let (mut batch, mut aside): (Vec<(usize, u32)>, Vec<usize>) = (Vec::new(), Vec::new());
        while batch.len() < self.places && !self.running.is_empty() {
            let id = self.running.remove(0);
            if !self.live[id].decodes() {
                aside.push(id);
                continue;
            }
            while self.free() == 0 && self.held.contains_key(&id) {
                let victim = self.running.pop().unwrap_or(id);
                self.evict(victim);
            }
            if let Some(blocks) = self.held.get_mut(&id) {
                *blocks = (*blocks).max((self.live[id].input + self.live[id].given).div_ceil(self.config.block_size));
                batch.push((id, 1));
            }
        }
        for id in aside {
            let used: u32 = batch.iter().map(|&(_, tokens)| tokens).sum();
            let chunk =
                (self.live[id].target - self.live[id].computed).min(self.config.max_num_batched_tokens.saturating_sub(used));
            if chunk == 0 || batch.len() == self.places {
                self.running.insert(0, id);
            } else {
                batch.push((id, chunk));
            }
        }
        self.running.sort_by_key(|&id| self.live[id].arrival);
        batch
    }

    fn evict(&mut self, id: usize) {
        self.evicted = true;
        self.held.remove(&id);
        self.waiting.push_front(id);
        let live = &mut self.live[id];
        (live.target, live.computed, live.evictions) = (live.input + live.given, 0, live.evictions + 1);
    }

    /// Admits the front of the queue to a batch of so many, if it can.
    fn admit(&mut self, members: usize) -> bool {
        let Some(&id) = self.waiting.front() else { return false };
        let needed = self.live[id].target.div_ceil(self.config.block_size);
        let watermark = (self.config.watermark * f64::from(self.kv_blocks)).floor() as u32;
        let kept = if self.held.is_empty() { 0 } else { watermark };
        let fits = i64::from(self.free()) - i64::from(needed) >= i64::from(kept);
        let room = self.held.len() < self.config.max_num_seqs as usize && members < self.places;
        if fits && room {
            self.waiting.pop_front();
            self.held.insert(id, needed);
        }
        fits && room
    }
}
