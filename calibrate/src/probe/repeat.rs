//! One repeat of a point: sends what is planned, watches the server meanwhile, and writes what came of it.

use std::time::{Duration, Instant};

use super::client::Client;
use super::clock::Clock;
use super::error::Halt;
use super::figure::{Figure, figure};
use super::flight::{Bench, Flight};
use super::marks::{Seen, marks};
use super::metrics::Scrape;
use super::point::{Plan, Shape};
use super::watch::{Sample, Watch};
use crate::observation::{PointKind, PointRecord, Record, RequestRecord};

/// A reading of the counters is good for the next point as well, if that begins so soon.
const FRESH: Duration = Duration::from_millis(500);
/// The server counts the last tokens after it has sent them: so long is waited for that.
const SETTLE: Duration = Duration::from_millis(300);
/// From the beginning of an open-loop point to its first request [ns].
const LEAD_NS: u64 = 20_000_000;
/// How often it is looked whether all decodes have begun.
const LOOK: Duration = Duration::from_millis(1);

/// What a repeat gave.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// As it is in the log.
    pub record: PointRecord,
    /// In order of sending.
    pub requests: Vec<RequestRecord>,
    /// Its figure, if enough of it went well.
    pub figure: Option<Figure>,
    /// What `/metrics` told meanwhile.
    pub samples: Vec<Sample>,
}

/// Runs repeats.
pub struct Runner {
    /// What requests need.
    pub bench: Bench,
    /// Of the log.
    pub clock: Clock,
    /// Reads `/metrics`, if there is one.
    pub watch: Option<Watch>,
    /// Counters after the last repeat.
    pub last: Option<(Instant, Scrape)>,
}

impl Runner {
    /// Runs a repeat of `plan`; `others` are the figures of those before.
    ///
    /// # Errors
    /// If the user interrupts, or the log cannot be written.
    pub fn run(&mut self, plan: &Plan, rep: u32, others: &[Figure]) -> Result<Repeat, Halt> {
        let clock = self.clock;
        self.run_with(plan, rep, others, |flight| send(flight, plan, clock))
    }

    /// The same, sending what `send` sends.
    ///
    /// # Errors
    /// If the user interrupts, or the log cannot be written.
    pub fn run_with(
        &mut self,
        plan: &Plan,
        rep: u32,
        others: &[Figure],
        send: impl FnOnce(&mut Flight<'_>) -> Result<(), Halt>,
    ) -> Result<Repeat, Halt> {
        let before = self.watch.is_some().then(|| self.before()).flatten();
        if let Some(watch) = &self.watch {
            watch.begin(matches!(plan.kind, PointKind::Rehearsal | PointKind::Open));
        }
        let start_ns = self.clock.now();
        let mut flight = Flight::new(&mut self.bench, &plan.name, rep);
        send(&mut flight)?;
        let requests = flight.land()?;
        let end_ns = self.clock.now();
        let samples = self.watch.as_ref().map(Watch::end).unwrap_or_default();
        let growth = before.and_then(|before| {
            let after = settled(&self.bench.client, &before, &requests)?;
            let growth = after.since(&before);
            self.last = Some((Instant::now(), after));
            Some(growth)
        });
        let figure = figure(plan.kind, plan.batch, &requests);
        let growth = growth.unwrap_or_default();
        let seen = Seen { plan, requests: &requests, growth: &growth, samples: &samples, figure, others };
        let record = PointRecord {
            point: plan.name.clone(),
            rep,
            kind: plan.kind,
            batch: plan.batch,
            context: plan.context,
            rate: plan.rate,
            start_ns,
            end_ns,
            marks: marks(&seen),
            counters: growth.by_name,
        };
        self.bench.log.write(&Record::Point(Box::new(record.clone())))?;
        Ok(Repeat { record, requests, figure, samples })
    }

    /// Counters before a repeat: those after the last one, if that is not long ago.
    fn before(&self) -> Option<Scrape> {
        let fresh = self.last.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        fresh.map(|(_, scrape)| scrape.clone()).or_else(|| scrape(&self.bench.client))
    }
}

fn scrape(client: &Client) -> Option<Scrape> {
    client.get("/metrics").ok().filter(|answer| answer.status == 200).map(|answer| Scrape::parse(&answer.body))
}

/// Counters after a repeat, when all of its tokens are counted.
fn settled(client: &Client, before: &Scrape, requests: &[RequestRecord]) -> Option<Scrape> {
    let good = || requests.iter().filter(|r| r.error.is_none());
    let (input, output) = (good().map(|r| f64::from(r.input)).sum::<f64>(), good().map(|r| f64::from(r.output)).sum::<f64>());
    let begun = Instant::now();
    loop {
        let after = scrape(client)?;
        let growth = after.since(before);
        let counted = growth.prompt.is_none_or(|n| n >= input) && growth.generation.is_none_or(|n| n >= output);
        if counted && after.running().is_none_or(|n| n == 0.0) || begun.elapsed() > SETTLE {
            return Some(after);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends what a shape says.
///
/// # Errors
/// If the user interrupts, or the log cannot be written.
pub fn send(flight: &mut Flight<'_>, plan: &Plan, clock: Clock) -> Result<(), Halt> {
    let (batch, context) = (plan.batch as usize, plan.context);
    match &plan.shape {
        Shape::Alone { count } => {
            for index in 0..*count as usize {
                flight.send(&[(context, 1)], None)?;
                flight.wait_for(index)?;
            }
            Ok(())
        }
        Shape::Together { output } => flight.send(&vec![(context, *output); batch], None),
        Shape::Injected { output, prompts, pause } => {
            flight.send(&vec![(context, *output); batch], None)?;
            flight.wait(None, LOOK, |flight| flight.begun(batch))?;
            flight.pause(Instant::now() + *pause)?;
            for &prompt in prompts {
                // Without the decodes a prompt would be alone.
                if flight.any_ended(batch) {
                    break;
                }
                let index = flight.sent();
                flight.send(&[(prompt, 1)], None)?;
                flight.wait_for(index)?;
                flight.pause(Instant::now() + *pause)?;
            }
            Ok(())
        }
        Shape::Closed { lengths, time } => closed(flight, batch, lengths, Instant::now() + *time),
        Shape::Open { requests } => {
            let begin = clock.now() + LEAD_NS;
            for &(at, input, output) in requests {
                flight.pause(clock.moment(begin + at))?;
                flight.send(&[(input, output)], Some(begin + at))?;
            }
            Ok(())
        }
    }
}

/// `clients` that send again as soon as they have their answer, until a moment or until all lengths are used.
fn closed(flight: &mut Flight<'_>, clients: usize, lengths: &[(u32, u32)], until: Instant) -> Result<(), Halt> {
    let first = clients.min(lengths.len());
    flight.send(&lengths[..first], None)?;
    for (taken, &next) in lengths[first..].iter().enumerate() {
        flight.wait(Some(until), Duration::from_millis(20), |flight| flight.ended.len() > taken)?;
        // A server that refuses requests would be asked again at once, without end.
        let failed = flight.ended.iter().filter(|request| request.error.is_some()).count();
        if failed > 4 && failed * 2 > flight.ended.len() || Instant::now() >= until {
            break;
        }
        flight.send(&[next], None)?;
    }
    Ok(())
}
