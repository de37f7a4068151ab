//! The engine: decides, sleeps as long as the step lasts, and tells the tokens.
//!
//! Time is kept by absolute deadlines. A step begins when the one before ended by the clock of deadlines, not when the thread woke
//! up, so what the operating system adds to one step is not carried into the next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::faults::Faults;
use super::gauges::Gauges;
use super::{Coefficients, Limits};

/// Sleeping is exact to about this; the rest is spun.
const SPIN: Duration = Duration::from_micros(120);

/// A request in the engine.
pub struct Job {
    /// Prompt [tokens].
    pub input: u32,
    /// Answer [tokens].
    pub output: u32,
    /// When it reaches the queue.
    pub ready: Instant,
    /// Where its tokens are told: how many so far. Nobody is told of somebody else's.
    pub told: Option<Sender<u32>>,
    computed: u32,
    generated: u32,
    blocks: u32,
}

impl Job {
    /// A new one.
    pub fn new(input: u32, output: u32, ready: Instant, told: Option<Sender<u32>>) -> Job {
        Job { input, output, ready, told, computed: 0, generated: 0, blocks: 0 }
    }

    /// Tokens without a place in the KV cache.
    fn left(&self) -> u32 {
        self.input + self.generated - self.computed
    }
}

/// Of one step: who takes part, with how many tokens.
#[derive(Default)]
struct Step {
    /// Tokens of each running request, in order.
    tokens: Vec<u32>,
    total: u32,
    decodes: u32,
    context: u64,
    pairs: f64,
    prefill: bool,
}

#[derive(Default)]
struct State {
    /// Not yet in the queue.
    coming: Vec<Job>,
    waiting: VecDeque<Job>,
    running: Vec<Job>,
    free: u32,
    gauges: Gauges,
}

/// The engine, shared by its own thread and those of connections.
pub struct Engine {
    coefficients: Coefficients,
    /// Its limits.
    pub limits: Limits,
    faults: Faults,
    state: Mutex<State>,
    changed: Condvar,
}

impl Engine {
    /// An empty one.
    pub fn new(coefficients: Coefficients, limits: Limits, faults: Faults) -> Engine {
        let state = State { free: limits.num_gpu_blocks, ..State::default() };
        Engine { coefficients, limits, faults, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panicked with the state")
    }

    /// Takes a request that arrived at `arrival`; its tokens are told to `told`.
    pub fn add(&self, input: u32, output: u32, arrival: Instant, told: Option<Sender<u32>>) {
        let ready = arrival + milliseconds(self.coefficients.request);
        self.lock().coming.push(Job::new(input, output, ready, told));
        self.changed.notify_all();
    }

    /// As they are now.
    pub fn gauges(&self) -> Gauges {
        self.lock().gauges
    }

    /// Ends a wait for requests.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// Steps until it is stopped.
    pub fn run(&self, stopping: &AtomicBool) {
        let mut clock = Instant::now();
        let mut foreign = clock;
        while !stopping.load(Ordering::Relaxed) {
            let mut state = self.lock();
            if let Some(load) = self.faults.foreign.filter(|_| clock >= foreign) {
                state.coming.push(Job::new(load.input, load.output, clock, None));
                foreign = clock + load.every;
            }
            state.arrive(clock);
            let step = state.schedule(&self.limits);
            if step.total == 0 {
                clock = self.idle(state, clock, self.faults.foreign.map(|_| foreign));
                continue;
            }
            let end = clock + self.duration(&step, &state.gauges);
            drop(state);
            sleep_until(end);
            clock = end;
            self.lock().finish(&step);
        }
        // Whoever waits for tokens waits no longer.
        *self.lock() = State::default();
    }

    /// Nothing to do: waits for the next request, and gives the time at which it reaches the queue.
    fn idle(&self, state: MutexGuard<'_, State>, clock: Instant, foreign: Option<Instant>) -> Instant {
        let next = state.coming.iter().map(|job| job.ready).chain(foreign).min();
        let wait = next.map_or(Duration::from_millis(50), |ready| ready.saturating_duration_since(Instant::now()));
        if wait.is_zero() {
            return next.map_or(clock, |ready| ready.max(clock));
        }
        // A request that is ready earlier may come meanwhile, so the caller looks again.
        drop(self.changed.wait_timeout(state, wait).expect("no thread panicked with the state"));
        clock
    }

    fn duration(&self, step: &Step, gauges: &Gauges) -> Duration {
        let of = &self.coefficients;
        let mut ms = of.step
            + of.per_token * f64::from(step.total)
            + of.hinge * f64::from(step.total.saturating_sub(of.hinge_at))
            + of.per_decode * f64::from(step.decodes)
            + of.per_context * step.context as f64
            + of.per_pair * step.pairs
            + if step.prefill { of.any_prefill } else { 0.0 };
        if let Some(outliers) = self.faults.outliers.filter(|o| share(gauges.steps) < o.share) {
            ms *= outliers.factor;
        }
        if let Some((_, factor)) = self.faults.slow_from.filter(|&(from, _)| gauges.finished >= u64::from(from)) {
            ms *= factor;
        }
        milliseconds(ms)
    }
}

impl State {
    /// Takes into the queue what has reached it.
    fn arrive(&mut self, clock: Instant) {
        self.coming.sort_by_key(|job| job.ready);
        let ready = self.coming.partition_point(|job| job.ready <= clock);
        self.gauges.prefix_queries += self.coming[..ready].iter().map(|job| u64::from(job.input)).sum::<u64>();
        self.waiting.extend(self.coming.drain(..ready));
    }

    /// One decision: running requests first, in order of admission, then waiting ones.
    fn schedule(&mut self, limits: &Limits) -> Step {
        let mut step = Step::default();
        let mut budget = limits.max_num_batched_tokens;
        let mut preempted = false;
        let mut at = 0;
        while at < self.running.len() && budget > 0 {
            let tokens = self.running[at].left().min(budget);
            while !self.take(at, tokens, limits) {
                preempted = true;
                self.preempt();
                if self.running.len() <= at {
                    break;
                }
            }
            if at < self.running.len() {
                step.add(&self.running[at], tokens);
                budget -= tokens;
            }
            at += 1;
        }
        while !preempted && budget > 0 && self.running.len() < limits.max_num_seqs as usize {
            let Some(job) = self.waiting.front() else { break };
            let tokens = job.left().min(budget);
            if (job.input + job.generated).div_ceil(limits.block_size) > self.free {
                break;
            }
            let job = self.waiting.pop_front().expect("looked at it");
            self.running.push(job);
            let last = self.running.len() - 1;
            assert!(self.take(last, tokens, limits), "the whole of it fits");
            step.add(&self.running[last], tokens);
            budget -= tokens;
        }
        step.tokens.resize(self.running.len(), 0);
        self.gauges.running = self.running.len() as u32;
        self.gauges.waiting = self.waiting.len() as u32;
        self.gauges.blocks = limits.num_gpu_blocks - self.free;
        step
    }

    /// Blocks for so many tokens more of a running request; `false` if there are too few.
    fn take(&mut self, at: usize, tokens: u32, limits: &Limits) -> bool {
        let job = &mut self.running[at];
        let need = (job.computed + tokens).div_ceil(limits.block_size).saturating_sub(job.blocks);
        let fits = need <= self.free;
        if fits {
            job.blocks += need;
            self.free -= need;
        }
        fits
    }

    /// The youngest goes back to the head of the queue and loses what was computed.
    fn preempt(&mut self) {
        let mut job = self.running.pop().expect("a running request needs blocks");
        self.free += std::mem::take(&mut job.blocks);
        job.computed = 0;
        self.waiting.push_front(job);
        self.gauges.preemptions += 1;
    }

    /// What the step gave: one token to each whose prompt is done, told to who asked.
    fn finish(&mut self, step: &Step) {
        let mut any = false;
        let mut free = 0;
        let gauges = &mut self.gauges;
        let mut tokens = step.tokens.iter();
        self.running.retain_mut(|job| {
            job.computed += tokens.next().copied().unwrap_or_default();
            if job.left() > 0 {
                return true;
            }
            any = true;
            gauges.prompt_tokens += if job.generated == 0 { u64::from(job.input) } else { 0 };
            gauges.generation_tokens += 1;
            job.generated += 1;
            let left = job.told.as_ref().is_some_and(|told| told.send(job.generated).is_err());
            let ends = left || job.generated >= job.output;
            if ends {
                free += job.blocks;
                gauges.finished += 1;
            }
            !ends
        });
        self.free += free;
        self.gauges.steps += 1;
        self.gauges.counted_steps += u64::from(any);
        self.gauges.running = self.running.len() as u32;
    }
}

impl Step {
    fn add(&mut self, job: &Job, tokens: u32) {
        self.tokens.push(tokens);
        self.total += tokens;
        // Also the first step of a prompt of one token is no decode.
        if job.computed >= job.input && tokens == 1 {
            self.decodes += 1;
            self.context += u64::from(job.computed + 1);
        } else {
            let (chunk, before) = (f64::from(tokens), f64::from(job.computed));
            self.pairs += chunk * before + chunk * (chunk + 1.0) / 2.0;
            self.prefill = true;
        }
    }
}

/// A number from 0 to 1 for each step, the same in every run (SplitMix64's finaliser).
fn share(step: u64) -> f64 {
    let mut z = step.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn milliseconds(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

/// Sleeps until shortly before, then spins.
pub fn sleep_until(end: Instant) {
    let left = end.saturating_duration_since(Instant::now());
    if left > SPIN {
        std::thread::sleep(left - SPIN);
    }
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
