//! The experiment: what is measured in which order, within a budget of time.

mod begin;
mod measure;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::design::{self, Bounds};
use super::error::{Halt, ProbeError};
use super::limits;
use super::load;
use super::options::ProbeOptions;
use super::pace::Pace;
use super::repeat::Runner;
use super::summary::{Summary, bunched, drift, kinds};
use super::tally::Tallies;
use crate::observation::{Record, ServerRecord};

/// Shares of the budget. What a part does not need goes to the repeats at the end.
const OF_PREFILL: f64 = 0.12;
const OF_DECODE: f64 = 0.25;
const OF_MIXED: f64 = 0.12;
const OF_BURST: f64 = 0.07;
const OF_REHEARSAL: f64 = 0.13;
const OF_OPEN: f64 = 0.25;
/// What a beat between two parts may take.
const OF_BEAT: f64 = 0.03;
/// Share of tokens in bunches that is worth a word.
const BUNCHED: f64 = 0.1;
/// Times that the server is warmed up with one kind of work, at most.
const WARMUPS: u32 = 4;

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// What is being measured.
    pub what: &'a str,
    /// Of the budget.
    pub spent: Duration,
    /// All of it.
    pub budget: Duration,
}

/// Probes a server. `stop` ends it early, keeping what was measured; `report` is told what is being measured.
///
/// # Errors
/// If the server cannot be probed, or stops answering, or the log cannot be written: what was tried and what to change.
pub fn probe(options: &ProbeOptions, stop: &Arc<AtomicBool>, report: &mut dyn FnMut(&Progress<'_>)) -> Result<Summary, ProbeError> {
    let begun = Instant::now();
    let mut experiment = Experiment::begin(options, stop, report)?;
    let interrupted = match experiment.run() {
        Ok(()) => false,
        Err(Halt::Interrupted) => true,
        Err(Halt::Failed(error)) => {
            let log = options.log.display();
            let help = format!("{}; what was measured is kept in {log}, and --resume goes on from there", error.help);
            return Err(ProbeError::new(error.message, help));
        }
    };
    if let Some(share) = bunched(&experiment.tallies).filter(|share| *share > BUNCHED) {
        experiment.notes.push(format!(
            "{:.0} % of tokens came in bunches: the server's front end or this machine is too busy, or something \
             on the way gathers them; times of single steps are not to be trusted",
            100.0 * share
        ));
    }
    Ok(Summary {
        kinds: kinds(&experiment.tallies),
        drift: drift(&experiment.tallies),
        server: experiment.server,
        log: options.log.clone(),
        time: begun.elapsed(),
        left_out: experiment.left_out,
        failed: experiment.failed,
        notes: experiment.notes,
        capacity: experiment.capacity,
        interrupted,
    })
}

struct Experiment<'a> {
    options: &'a ProbeOptions,
    report: &'a mut dyn FnMut(&Progress<'_>),
    runner: Runner,
    server: ServerRecord,
    bounds: Bounds,
    tallies: Tallies,
    pace: Pace,
    begun: Instant,
    last_beat: Instant,
    /// How much longer points take than was reckoned.
    slower: f64,
    failed_in_row: usize,
    left_out: Vec<String>,
    failed: Vec<(String, String)>,
    notes: Vec<String>,
    capacity: Option<f64>,
}

impl<'a> Experiment<'a> {
    fn run(&mut self) -> Result<(), Halt> {
        self.warm_up()?;
        self.beat()?;
        self.find_limits()?;
        let budget = self.options.budget.as_secs_f64();
        let plans = design::prefills(&self.bounds, &self.pace);
        self.pass(plans, OF_PREFILL * budget, 0)?;
        self.beat_between()?;
        let plans = design::decodes(&self.bounds, &self.pace);
        self.pass(plans, OF_DECODE * budget, 1)?;
        self.beat_between()?;
        let plans = design::mixed(&self.bounds, &self.pace);
        self.pass(plans, OF_MIXED * budget, 2)?;
        self.beat_between()?;
        self.loads()?;
        self.beat_between()?;
        self.repeat()?;
        self.beat()
    }

    /// Until a warm-up is not faster than the one before by a tenth.
    fn warm_up(&mut self) -> Result<(), Halt> {
        for plan in design::warmup(&self.bounds) {
            let mut before = f64::INFINITY;
            for _ in 0..WARMUPS {
                let Some(repeat) = self.measure(&plan)? else { break };
                let time = (repeat.record.end_ns - repeat.record.start_ns) as f64 / 1e9;
                if time > 0.9 * before {
                    break;
                }
                before = time;
            }
        }
        Ok(())
    }

    /// A beat between two parts, unless the budget is so short that beats would take much of it.
    fn beat_between(&mut self) -> Result<(), Halt> {
        let beats: f64 = design::beats(&self.bounds).iter().map(|plan| self.reckon(plan)).sum();
        if beats <= OF_BEAT * self.options.budget.as_secs_f64() { self.beat() } else { Ok(()) }
    }

    fn beat(&mut self) -> Result<(), Halt> {
        self.last_beat = Instant::now();
        for plan in design::beats(&self.bounds) {
            self.measure(&plan)?;
        }
        Ok(())
    }

    /// Measures the limits that neither the server nor the user told.
    fn find_limits(&mut self) -> Result<(), Halt> {
        let (before, metrics) = (self.server.clone(), self.runner.watch.is_some());
        if self.server.max_num_batched_tokens.is_none() {
            self.tell("tokens of a step");
            self.server.max_num_batched_tokens =
                limits::batched_tokens(&mut self.runner, &self.server, self.bounds.prompt, self.pace.step(1, 64))?;
            if self.server.max_num_batched_tokens.is_none() {
                self.notes.push("no prompt was cut into chunks: --max-num-batched-tokens tells the tokens of a step".to_owned());
            }
        }
        if self.server.max_num_seqs.is_none() && metrics {
            self.tell("running requests");
            let step = self.pace.step(8, 64);
            let kv = self.bounds.kv_tokens;
            self.server.max_num_seqs = limits::running_requests(&mut self.runner, kv, self.options.max_batch, step)?;
            if self.server.max_num_seqs.is_none() {
                self.notes.push("more requests run at once than were tried: --max-num-seqs tells how many".to_owned());
            }
        }
        if self.server != before {
            self.runner.bench.log.write(&Record::Server(Box::new(self.server.clone())))?;
        }
        self.bounds = Bounds::new(&self.server, self.options.max_batch, self.options.max_prompt);
        if self.server.max_num_seqs.is_none() && metrics {
            self.bounds.batch = self.options.max_batch;
        }
        Ok(())
    }

    /// The burst and the open-loop runs, whose lengths are alike: all or none.
    fn loads(&mut self) -> Result<(), Halt> {
        if self.reserve() == 0.0 {
            return Ok(());
        }
        let budget = self.options.budget.as_secs_f64();
        let seconds = (OF_OPEN * budget).min(self.left() * 0.5).max(0.5);
        let means = load::means(self.options, &self.bounds, &self.pace, seconds);
        if means.input < self.options.input_mean.min(f64::from(self.bounds.model_len) / 6.0) {
            let (input, output) = (means.input, means.output);
            self.notes
                .push(format!("requests of the loads are shorter than asked, for enough of them: {input:.0} in, {output:.0} out"));
        }
        let residence = self.pace.residence(self.bounds.batch, means.input as u32, means.output as u32);
        let time = (OF_BURST * budget).max(1.5 * residence).min(0.3 * self.left()).max(0.3);
        let plan = load::burst(&means, &self.bounds, self.options.seed, time);
        if let Some(repeat) = self.measure(&plan)? {
            self.capacity = load::capacity(&repeat.requests, repeat.record.start_ns, time);
        }
        let Some(capacity) = self.capacity else {
            self.left_out.push("open".to_owned());
            return Ok(());
        };
        let rehearsed = (OF_REHEARSAL * budget).min(0.2 * self.left());
        self.measure(&load::rehearsal(self.options, &means, &self.bounds, capacity, rehearsed))?;
        self.measure(&load::open(self.options, &means, &self.bounds, capacity, seconds))?;
        Ok(())
    }

    fn tell(&mut self, what: &str) {
        (self.report)(&Progress { what, spent: self.begun.elapsed(), budget: self.options.budget });
    }
}
