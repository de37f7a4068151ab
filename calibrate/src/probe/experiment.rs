//! The experiment: what is measured in which order, within a budget of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::client::Client;
use super::clock::Clock;
use super::design::{self, Bounds};
use super::discover::{Discovered, discover, try_one};
use super::error::{Halt, ProbeError};
use super::flight::Bench;
use super::limits;
use super::load;
use super::log::Log;
use super::options::ProbeOptions;
use super::pace::Pace;
use super::point::{Plan, Shape};
use super::prompts::{Prompts, shuffled};
use super::repeat::{Repeat, Runner};
use super::summary::{Summary, drift, kinds};
use super::tally::{self, Tallies};
use super::watch::Watch;
use crate::observation::{Observations, PointKind, Record, ServerRecord};

/// Shares of the budget. What a part does not need goes to the repeats at the end.
const OF_PREFILL: f64 = 0.12;
const OF_DECODE: f64 = 0.25;
const OF_MIXED: f64 = 0.12;
const OF_BURST: f64 = 0.07;
const OF_OPEN: f64 = 0.25;
/// From one beat to the next while points are repeated.
const BEAT_EVERY: Duration = Duration::from_secs(30);
/// Times that a repeat in which requests failed is tried again, and the pause before the first of them.
const RETRIES: u32 = 2;
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// Points in a row that may fail.
const FAILED_POINTS: usize = 3;
/// Steps together that a decode point must have to say anything.
const FEW_STEPS: u32 = 12;
/// Nothing is repeated more often.
const REPEATS_MAX: u32 = 60;

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
    /// Finds the server, tries it, and opens the log.
    fn begin(
        options: &'a ProbeOptions,
        stop: &Arc<AtomicBool>,
        report: &'a mut dyn FnMut(&Progress<'_>),
    ) -> Result<Experiment<'a>, ProbeError> {
        let clock = Clock::start();
        let client = Client::new(&options.url, options.api_key.clone(), clock, options.patience)?;
        report(&Progress { what: "the server", spent: Duration::ZERO, budget: options.budget });
        let Discovered { mut server, metrics, notes } = discover(&client, options)?;
        let mut prompts = Prompts::new(options.seed, clock.salt(), options.vocab);
        try_one(&client, &server.model, &mut prompts)?;
        let (mut log, before) = Log::open(&options.log, options.resume)?;
        if let Some(before) = &before {
            same(&before.server, &server, options)?;
            server.max_num_batched_tokens = server.max_num_batched_tokens.or(before.server.max_num_batched_tokens);
            server.max_num_seqs = server.max_num_seqs.or(before.server.max_num_seqs);
        }
        server.started = clock.started();
        log.write(&Record::Server(Box::new(server.clone())))?;
        let in_flight = Arc::new(AtomicU32::new(0));
        let watch = metrics.then(|| Watch::start(client.clone(), clock, in_flight.clone()));
        let bench = Bench { client, model: server.model.clone(), prompts, log, stop: stop.clone(), in_flight };
        let mut experiment = Experiment {
            options,
            report,
            runner: Runner { bench, clock, watch, last: None },
            bounds: Bounds::new(&server, options.max_batch, options.max_prompt),
            server,
            tallies: Tallies::new(),
            pace: Pace::default(),
            begun: Instant::now(),
            last_beat: Instant::now(),
            slower: 1.0,
            failed_in_row: 0,
            left_out: Vec::new(),
            failed: Vec::new(),
            notes,
            capacity: None,
        };
        if let Some(before) = &before {
            experiment.take_up(before);
        }
        Ok(experiment)
    }

    /// Takes up what a log holds.
    fn take_up(&mut self, before: &Observations) {
        self.tallies = tally::from_log(before);
        for (point, requests) in &before.points {
            if let Some(value) = self.tallies[&point.point].value() {
                self.learn(point.kind, point.batch, point.context, value);
            }
            if point.kind == PointKind::Burst {
                let seconds = requests.iter().map(|r| r.sent_ns).max().unwrap_or(0).saturating_sub(point.start_ns) as f64 / 1e9;
                self.capacity = load::capacity(requests, point.start_ns, seconds).or(self.capacity);
            }
        }
    }

    fn run(&mut self) -> Result<(), Halt> {
        self.warm_up()?;
        self.beat()?;
        self.find_limits()?;
        let budget = self.options.budget.as_secs_f64();
        let plans = design::prefills(&self.bounds, &self.pace);
        self.pass(plans, OF_PREFILL * budget, 0)?;
        self.beat()?;
        let plans = design::decodes(&self.bounds, &self.pace);
        self.pass(plans, OF_DECODE * budget, 1)?;
        self.beat()?;
        let plans = design::mixed(&self.bounds, &self.pace);
        self.pass(plans, OF_MIXED * budget, 2)?;
        self.beat()?;
        self.loads()?;
        self.beat()?;
        self.repeat()?;
        self.beat()
    }

    /// Until a warm-up is not faster than the one before by a tenth.
    fn warm_up(&mut self) -> Result<(), Halt> {
        for plan in design::warmup(&self.bounds) {
            let mut before = f64::INFINITY;
            for _ in 0..4 {
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

    /// Measures each of `plans` once, the more important first in them, as many as fit into `seconds`.
    fn pass(&mut self, plans: Vec<Plan>, seconds: f64, stream: u64) -> Result<(), Halt> {
        let mut left = seconds;
        let mut chosen = Vec::new();
        for plan in plans {
            if self.tallies.get(&plan.name).is_some_and(|tally| !tally.figures.is_empty()) {
                let tally = tally::of(&mut self.tallies, &plan.name, plan.kind);
                tally.plan = Some(plan);
                continue;
            }
            let time = self.reckon(&plan);
            if time <= left {
                left -= time;
                chosen.push(plan);
            } else {
                self.left_out.push(plan.name);
            }
        }
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        for plan in shuffled(chosen, self.options.seed, stream) {
            // A pass may take somewhat longer than reckoned, but not what belongs to the loads.
            let over = self.reckon(&plan) > (end.saturating_duration_since(Instant::now()).as_secs_f64() + 0.2 * seconds);
            if over || self.reckon(&plan) > self.left() - self.reserve() {
                self.left_out.push(plan.name);
                continue;
            }
            self.measure(&plan)?;
            self.lengthen(&plan)?;
        }
        Ok(())
    }

    /// Measures a decode point again, with longer answers, if its decodes were hardly together.
    fn lengthen(&mut self, plan: &Plan) -> Result<(), Halt> {
        if plan.kind != PointKind::Decode {
            return Ok(());
        }
        for _ in 0..2 {
            let tally = tally::of(&mut self.tallies, &plan.name, plan.kind);
            let steps = tally.figures.last().map_or(0, |figure| figure.steps);
            if steps >= FEW_STEPS || self.failed_in_row > 0 {
                break;
            }
            tally.more += 2 * FEW_STEPS + 8 - steps;
            let Some(longer) = design::decode(&self.bounds, &self.pace, plan.batch, plan.context, tally.more) else { break };
            if self.reckon(&longer) > self.left() - self.reserve() {
                break;
            }
            self.measure(&longer)?;
        }
        Ok(())
    }

    /// The burst and the open-loop run.
    fn loads(&mut self) -> Result<(), Halt> {
        let budget = self.options.budget.as_secs_f64();
        let seconds = (OF_OPEN * budget).min(self.left() * 0.6).max(1.0);
        let means = load::means(self.options, &self.bounds, &self.pace, seconds);
        if means.input < self.options.input_mean.min(f64::from(self.bounds.model_len) / 6.0) {
            let (input, output) = (means.input, means.output);
            self.notes
                .push(format!("requests of the loads are shorter than asked, for enough of them: {input:.0} in, {output:.0} out"));
        }
        if self.capacity.is_none() {
            let residence = self.pace.residence(self.bounds.batch, means.input as u32, means.output as u32);
            let time = (OF_BURST * budget).max(1.5 * residence).min(0.3 * self.left()).max(0.5);
            let plan = load::burst(&means, &self.bounds, self.options.seed, time);
            if let Some(repeat) = self.measure(&plan)? {
                self.capacity = load::capacity(&repeat.requests, repeat.record.start_ns, time);
            }
        }
        let Some(capacity) = self.capacity else {
            self.left_out.push("open".to_owned());
            return Ok(());
        };
        let plan = load::open(self.options, &means, &self.bounds, capacity, seconds);
        if !self.tallies.contains_key(&plan.name) {
            self.measure(&plan)?;
        }
        Ok(())
    }

    /// Repeats the least certain point until all are certain enough or the time is over.
    fn repeat(&mut self) -> Result<(), Halt> {
        let last_beat: f64 = design::beats(&self.bounds).iter().map(|plan| self.reckon(plan)).sum();
        loop {
            let time = self.left() - last_beat;
            let next = self.least_certain(time);
            let Some(plan) = next else { return Ok(()) };
            if self.last_beat.elapsed() > BEAT_EVERY {
                self.beat()?;
            }
            self.measure(&plan)?;
        }
    }

    /// The next repeat of the point whose figure is least certain, of those that fit into `time` [s].
    fn least_certain(&self, time: f64) -> Option<Plan> {
        let open = self.tallies.iter().filter(|(_, tally)| {
            let kind = matches!(tally.kind, PointKind::Prefill | PointKind::Decode | PointKind::Mixed);
            kind && tally.repeats < REPEATS_MAX && tally.interval() > self.options.precision
        });
        let fits = open.filter_map(|(name, tally)| {
            let plan = tally.plan.as_ref()?;
            (self.reckon(plan) <= time).then_some((tally.interval(), std::cmp::Reverse(tally.repeats), name, plan))
        });
        let worst = fits.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)).then_with(|| b.2.cmp(a.2)))?;
        let (.., plan) = worst;
        let mut plan = plan.clone();
        if let Shape::Injected { prompts, .. } = &mut plan.shape {
            let repeats = self.tallies[&plan.name].repeats;
            *prompts = shuffled(std::mem::take(prompts), self.options.seed, 16 + u64::from(repeats));
        }
        Some(plan)
    }

    /// One repeat, again if requests failed; nothing if they failed every time.
    fn measure(&mut self, plan: &Plan) -> Result<Option<Repeat>, Halt> {
        let load = matches!(plan.kind, PointKind::Burst | PointKind::Open);
        let retries = if load { 0 } else { RETRIES };
        for attempt in 0..=retries {
            let tally = tally::of(&mut self.tallies, &plan.name, plan.kind);
            tally.plan = Some(plan.clone());
            let (rep, others) = (tally.repeats, tally.figures.clone());
            self.tell(&plan.name);
            let reckoned = self.pace.seconds(plan);
            let repeat = self.runner.run(plan, rep, &others)?;
            let took = (repeat.record.end_ns - repeat.record.start_ns) as f64 / 1e9;
            self.slower = (0.7 * self.slower + 0.3 * (took / reckoned).min(4.0)).max(0.7);
            let tally = tally::of(&mut self.tallies, &plan.name, plan.kind);
            tally.add(&repeat.record, &repeat.requests, repeat.figure);
            let value = tally.value();
            let errors: Vec<&String> = repeat.requests.iter().filter_map(|r| r.error.as_ref()).collect();
            let Some(error) = errors.first().map(|error| (*error).clone()) else {
                if let Some(value) = value {
                    self.learn(plan.kind, plan.batch, plan.context, value);
                }
                self.failed_in_row = 0;
                return Ok(Some(repeat));
            };
            // A load with a few failures is still a load.
            if load && errors.len() * 4 < repeat.requests.len() {
                self.failed.push((plan.name.clone(), format!("{} of {} requests: {error}", errors.len(), repeat.requests.len())));
                return Ok(Some(repeat));
            }
            if attempt == retries {
                self.fail(plan, &error)?;
            } else {
                self.sleep(RETRY_PAUSE * (1 << attempt))?;
            }
        }
        Ok(None)
    }

    /// A point failed for good; an error if it is one too many.
    fn fail(&mut self, plan: &Plan, error: &str) -> Result<(), Halt> {
        self.failed.push((plan.name.clone(), error.to_owned()));
        self.failed_in_row += 1;
        if self.failed_in_row < FAILED_POINTS {
            return Ok(());
        }
        let names: Vec<&str> = self.failed.iter().rev().take(FAILED_POINTS).map(|(name, _)| name.as_str()).collect();
        let message = format!("{FAILED_POINTS} points in a row failed ({}): {error}", names.join(", "));
        Err(ProbeError::new(message, "look into the server's log, and let it rest if it refuses requests").into())
    }

    fn sleep(&self, time: Duration) -> Result<(), Halt> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.runner.bench.stop.load(Ordering::Relaxed) {
                return Err(Halt::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn learn(&mut self, kind: PointKind, batch: u32, context: u32, value: f64) {
        match kind {
            PointKind::Prefill => self.pace.learn_ttft(context, value),
            PointKind::Warmup if batch == 0 => self.pace.learn_ttft(context, value),
            PointKind::Decode | PointKind::Beat => self.pace.learn_step(batch, context, value),
            PointKind::Warmup | PointKind::Mixed | PointKind::Burst | PointKind::Open => {}
        }
    }

    fn tell(&mut self, what: &str) {
        (self.report)(&Progress { what, spent: self.begun.elapsed(), budget: self.options.budget });
    }

    /// How long a repeat will take, as others took [s].
    fn reckon(&self, plan: &Plan) -> f64 {
        self.pace.seconds(plan) * self.slower + 0.02
    }

    /// Of the budget [s].
    fn left(&self) -> f64 {
        self.options.budget.saturating_sub(self.begun.elapsed()).as_secs_f64()
    }

    /// What the loads will need [s].
    fn reserve(&self) -> f64 {
        let done = self.tallies.values().any(|tally| tally.kind == PointKind::Open);
        if done { 0.0 } else { (OF_BURST + OF_OPEN) * self.options.budget.as_secs_f64() }
    }
}

/// An error if a log is of another server, or was asked for otherwise.
fn same(before: &ServerRecord, now: &ServerRecord, options: &ProbeOptions) -> Result<(), ProbeError> {
    let log = options.log.display();
    let pairs = [
        ("URL", before.url.clone(), now.url.clone()),
        ("model", before.model.clone(), now.model.clone()),
        ("seed", before.seed.to_string(), now.seed.to_string()),
    ];
    match pairs.into_iter().find(|(_, before, now)| before != now) {
        Some((what, before, now)) => {
            let message = format!("cannot resume {log}: its {what} is {before}, now it is {now}");
            Err(ProbeError::new(message, "ask for the same as then, or name another file: -o"))
        }
        None => Ok(()),
    }
}
