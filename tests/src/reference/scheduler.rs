//! `schedule()`: running requests first, then waiting ones, under one token budget.

use std::collections::{BTreeMap, VecDeque};

use tokentide_sim::scenario::{EngineConfig, Policy};

use super::Counts;
use super::live::Live;
use super::pool::Pool;

/// One request's part of a step.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The request.
    pub id: u64,
    /// Tokens computed before the step.
    pub computed: u32,
    /// Tokens computed in the step.
    pub tokens: u32,
    /// Whether its prompt was complete before the step.
    pub decode: bool,
    /// Whether the step gives it a token.
    pub samples: bool,
}

/// What one call decided.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The batch, in order.
    pub batch: Vec<Part>,
    /// Who was preempted, in order.
    pub preempted: Vec<u64>,
}

/// Queues and blocks of one replica.
pub struct Scheduler<'a> {
    config: &'a EngineConfig,
    /// Whether steps go through pipeline stages.
    pipelined: bool,
    /// The KV blocks.
    pub pool: Pool,
    /// Every delivered request that has not ended.
    pub requests: BTreeMap<u64, Live>,
    /// Waiting requests, next first.
    pub waiting: VecDeque<u64>,
    /// Running requests, in order of admission.
    pub running: Vec<u64>,
    /// How often the rare paths were taken.
    pub counts: Counts,
}

impl<'a> Scheduler<'a> {
    /// Nothing waits, nothing runs.
    pub fn new(config: &'a EngineConfig, kv_blocks: u32, pipelined: bool) -> Scheduler<'a> {
        Scheduler {
            config,
            pipelined,
            pool: Pool::new(kv_blocks, config.free_unhashed_first),
            requests: BTreeMap::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// A request that the engine sees for the first time.
    pub fn enqueue(&mut self, id: u64) {
        match self.config.policy {
            Policy::Fcfs => self.waiting.push_back(id),
            Policy::Priority => self.insert_by_rank(id),
        }
    }

    fn insert_by_rank(&mut self, id: u64) {
        let rank = self.requests[&id].rank();
        let place = self.waiting.iter().take_while(|other| self.requests[other].rank() < rank).count();
        self.waiting.insert(place, id);
    }

    /// One decision. Computed tokens of the batch are counted at once, its sampled tokens as pending.
    pub fn schedule(&mut self) -> Decision {
        let mut decision = Decision::default();
        let budget = self.schedule_running(&mut decision);
        if decision.preempted.is_empty() {
            self.schedule_waiting(budget, &mut decision);
        }
        for part in &mut decision.batch {
            let live = self.requests.get_mut(&part.id).expect("scheduled requests are alive");
            live.computed = part.computed + part.tokens;
            assert!(live.computed <= live.num_tokens() + live.pending, "computed beyond what is known");
            part.samples = live.computed == live.num_tokens() + live.pending;
            live.pending += u32::from(part.samples);
            self.counts.partial += u64::from(!part.samples);
        }
        self.counts.empty_preempting += u64::from(decision.batch.is_empty() && !decision.preempted.is_empty());
        self.check(&decision);
        decision
    }

    /// The chunk that the threshold leaves of `wanted`.
    fn capped(&self, wanted: u32) -> u32 {
        let threshold = self.config.long_prefill_token_threshold;
        let alone = self.running.len() + self.waiting.len() == 1;
        if threshold == 0 || (self.config.lone_prefill_uncapped && alone) { wanted } else { wanted.min(threshold) }
    }

    /// Loop A. Returns the budget left.
    fn schedule_running(&mut self, decision: &mut Decision) -> u32 {
        let mut budget = self.config.max_num_batched_tokens;
        let mut i = 0;
        while i < self.running.len() && budget > 0 {
            let id = self.running[i];
            let live = &self.requests[&id];
            let wants = if self.pipelined { live.wants_of_known() } else { live.wants() };
            self.counts.in_other_batches += u64::from(self.pipelined && wants == 0);
            let (computed, held) = (live.computed, live.blocks.len() as u32);
            let room = (self.config.max_model_len - 1).saturating_sub(computed);
            let tokens = self.capped(wants).min(budget).min(room);
            if tokens == 0 {
                i += 1;
                continue;
            }
            let need = (computed + tokens).div_ceil(self.config.block_size).saturating_sub(held);
            let mut preempted_itself = false;
            while need > self.pool.free() && !preempted_itself {
                let victim = self.choose_victim();
                // Behind a victim that stood in front, the request in need moves up: also if the victim wanted nothing.
                let in_front = self.running[..i].contains(&victim);
                i -= usize::from(in_front);
                if let Some(place) = decision.batch.iter().position(|part| part.id == victim) {
                    budget += decision.batch.remove(place).tokens;
                    self.counts.unscheduled += 1;
                } else if in_front {
                    self.counts.shifted += 1;
                }
                self.preempt(victim, decision);
                preempted_itself = victim == id;
            }
            if preempted_itself {
                break;
            }
            self.assign(id, computed, tokens, need, decision);
            budget -= tokens;
            i += 1;
        }
        budget
    }

    fn choose_victim(&self) -> u64 {
        match self.config.policy {
            Policy::Fcfs => *self.running.last().expect("somebody holds the blocks"),
            Policy::Priority => *self.running.iter().max_by_key(|id| self.requests[id].rank()).expect("somebody holds the blocks"),
        }
    }

    fn preempt(&mut self, id: u64, decision: &mut Decision) {
        self.running.retain(|&r| r != id);
        self.release(id);
        let live = self.requests.get_mut(&id).expect("running requests are alive");
        live.computed = 0;
        live.preemptions += 1;
        match self.config.policy {
            Policy::Fcfs => self.waiting.push_front(id),
            Policy::Priority => self.insert_by_rank(id),
        }
        decision.preempted.push(id);
        self.counts.preemptions += 1;
    }

    /// Loop B.
    fn schedule_waiting(&mut self, mut budget: u32, decision: &mut Decision) {
        while budget > 0 && self.running.len() < self.config.max_num_seqs as usize {
            let Some(&id) = self.waiting.front() else { break };
            let live = &self.requests[&id];
            if self.pipelined && live.pending > 0 {
                self.counts.awaited += 1;
                break;
            }
            assert_eq!((live.pending, live.computed), (0, 0), "a waiting request has nothing in flight when it is admitted");
            let hits = self.lookup(live);
            let hit_blocks = hits.len() as u32;
            let computed = hit_blocks * self.config.block_size;
            let num_tokens = live.num_tokens();
            let wanted = self.capped(num_tokens - computed);
            if (!self.config.enable_chunked_prefill && wanted > budget)
                || !self.fits(num_tokens, computed, wanted.min(budget), &hits)
            {
                self.counts.blocked += 1;
                break;
            }
            let tokens = wanted.min(budget);
            self.waiting.pop_front();
            self.running.push(id);
            self.pool.touch(&hits);
            self.counts.hits += u64::from(hit_blocks);
            let live = self.requests.get_mut(&id).expect("waiting requests are alive");
            if live.admitted_tokens == 0 {
                live.cached = computed;
            }
            live.admitted_tokens = num_tokens;
            live.keyed = hits.len();
            live.blocks = hits;
            let need = (computed + tokens).div_ceil(self.config.block_size) - hit_blocks;
            self.assign(id, computed, tokens, need, decision);
            budget -= tokens;
        }
    }

    /// The longest run of cached full blocks; the last token is always computed anew.
    fn lookup(&self, live: &Live) -> Vec<u32> {
        if !self.config.enable_prefix_caching {
            return Vec::new();
        }
        let most = (live.num_tokens() - 1) / self.config.block_size;
        (0..most as usize).map_while(|i| self.pool.find(live.key(i))).collect()
    }

    /// The admission gate: all its tokens (if reserved), then the chunk.
    fn fits(&self, num_tokens: u32, computed: u32, tokens: u32, hits: &[u32]) -> bool {
        let idle = hits.iter().filter(|&&b| self.pool.idle(b)).count() as u32;
        let watermark =
            if self.running.is_empty() { 0 } else { (self.config.watermark * f64::from(self.pool.size() + 1)).floor() as u32 };
        let fits = |tokens: u32| tokens.div_ceil(self.config.block_size) - hits.len() as u32 + idle + watermark <= self.pool.free();
        (!self.config.reserve_full_isl || fits(num_tokens)) && fits(computed + tokens)
    }

    /// Takes the blocks, keys those that get filled, and puts the request into the batch.
    fn assign(&mut self, id: u64, computed: u32, tokens: u32, need: u32, decision: &mut Decision) {
        let blocks = self.pool.take(need);
        let live = self.requests.get_mut(&id).expect("running requests are alive");
        live.blocks.extend(blocks);
        let decode = computed >= live.admitted_tokens;
        let known = (computed + tokens).min(live.num_tokens());
        self.set_keys(id, known);
        decision.batch.push(Part { id, computed, tokens, decode, samples: false });
    }

    /// Keys the request's full blocks among its first `tokens` tokens.
    pub fn set_keys(&mut self, id: u64, tokens: u32) {
        if !self.config.enable_prefix_caching {
            return;
        }
        let live = self.requests.get_mut(&id).expect("running requests are alive");
        let full = (tokens / self.config.block_size) as usize;
        for i in live.keyed..full {
            self.pool.set_key(live.blocks[i], live.key(i));
        }
        live.keyed = live.keyed.max(full);
    }

    fn release(&mut self, id: u64) {
        let live = self.requests.get_mut(&id).expect("alive");
        self.pool.release(&live.blocks);
        live.blocks.clear();
        live.keyed = 0;
    }

    /// Takes a request that has ended off the replica.
    pub fn remove(&mut self, id: u64) -> Live {
        self.release(id);
        self.running.retain(|&r| r != id);
        self.waiting.retain(|&r| r != id);
        self.requests.remove(&id).expect("ends once")
    }

    /// The invariants that hold after every decision.
    fn check(&self, decision: &Decision) {
        let tokens: u64 = decision.batch.iter().map(|part| u64::from(part.tokens)).sum();
        assert!(tokens <= u64::from(self.config.max_num_batched_tokens), "{tokens} tokens exceed the budget");
        assert!(self.running.len() <= self.config.max_num_seqs as usize, "too many running");
        for part in &decision.batch {
            let live = &self.requests[&part.id];
            assert!(self.running.contains(&part.id), "scheduled but not running");
            assert!(part.tokens > 0 && (!part.decode || part.tokens == 1), "a decode is one token");
            assert_eq!(live.blocks.len() as u32, live.computed.div_ceil(self.config.block_size), "blocks of {}", part.id);
        }
        let mut queued: Vec<u64> = self.running.iter().chain(&self.waiting).copied().collect();
        queued.sort_unstable();
        assert!(queued.windows(2).all(|pair| pair[0] < pair[1]), "a request is in two places");
        assert!(self.waiting.iter().all(|id| self.requests[id].blocks.is_empty()), "a waiting request holds blocks");
        self.pool.check(self.requests.values().map(|live| live.blocks.as_slice()));
    }
}
