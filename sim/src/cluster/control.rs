//! What happens to the replicas, at its time: failures, starts, ends of patience, and what the autoscaler decides.
//!
//! At one time the order is that of [`Event`]'s variants, then the autoscaler; all of it before arrivals and engine events.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tokentide_autoscale::Controller;
use tokentide_models::units::{Duration, Time};

use super::history::{Count, History};
use super::pods::Pods;
use crate::scenario::Dynamics;
use crate::workload::Request;

/// Name of the served model in metrics; queries that name another are taken to mean this one.
const MODEL: &str = "model";
/// How long a client waits before it sends an interrupted request again: the first back-off of common client libraries.
pub const RETRY: Duration = Duration(500_000_000_000);

/// Something that happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A failure of the scenario, by index.
    Failure(usize),
    /// An entry of the schedule, by index.
    Scheduled(usize),
    /// A zone is there again.
    ZoneBack(u32),
    /// A pod's start is over, unless it was put off.
    Ready(usize),
    /// A draining pod's grace is over.
    GraceOver(usize),
    /// An interrupted request is sent again, by index into the retries.
    Retry(usize),
    /// A held request is refused, by its id.
    HoldOver(u64),
}

/// All that is to come, and what it is done to.
pub struct Control<'a> {
    /// The scenario's part.
    pub config: &'a Dynamics,
    /// The pods.
    pub pods: Pods,
    queue: BinaryHeap<Reverse<(Time, Event)>>,
    /// Requests that wait at the gateway for a replica, in order, and until when.
    pub held: VecDeque<(Request, Time)>,
    /// Interrupted requests that will be sent again; taken out when they are.
    retries: Vec<Option<Request>>,
    waiting_retries: usize,
    /// What has become of the replicas.
    pub history: History,
    /// The autoscaler at work.
    pub scaler: Option<Controller>,
}

impl<'a> Control<'a> {
    /// With `n` pods that are ready from the start.
    ///
    /// # Panics
    /// If a query of the autoscaler cannot be read, which the scenario has made sure of.
    pub fn new(config: &'a Dynamics, seed: u64, n: u32) -> Control<'a> {
        let failures = config.failures.iter().enumerate().map(|(i, failure)| Reverse((failure.at, Event::Failure(i))));
        let scheduled = config.schedule.iter().enumerate().map(|(i, entry)| Reverse((entry.at, Event::Scheduled(i))));
        let first = Count { at: Time::ZERO, wanted: n, ready: n, starting: 0, draining: 0 };
        let pods = Pods::new(config, seed, n);
        let scaler = config.autoscaler.as_ref().map(|autoscaler| {
            let mut scaler = Controller::new(autoscaler, seed, MODEL).expect("the scenario has read its queries");
            scaler.discover(Time::ZERO, &pods.seen());
            scaler
        });
        Control {
            config,
            pods,
            scaler,
            queue: failures.chain(scheduled).collect(),
            held: VecDeque::new(),
            retries: Vec::new(),
            waiting_retries: 0,
            history: History { counts: vec![first], serving: vec![(Time::ZERO, Time::NEVER); n as usize], ..History::default() },
        }
    }

    /// When something happens next.
    pub fn next(&self) -> Time {
        let event = self.queue.peek().map_or(Time::NEVER, |Reverse((time, _))| *time);
        event.min(self.scaler.as_ref().map_or(Time::NEVER, Controller::next))
    }

    /// The next of what happens at `now`.
    pub fn pop(&mut self, now: Time) -> Option<Event> {
        match self.queue.peek() {
            Some(Reverse((time, _))) if *time <= now => self.queue.pop().map(|Reverse((_, event))| event),
            _ => None,
        }
    }

    /// It will happen at this time; not at all if that is never.
    pub fn schedule(&mut self, at: Time, event: Event) {
        if at != Time::NEVER {
            self.queue.push(Reverse((at, event)));
        }
    }

    /// Whether no request waits for anything here.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && self.waiting_retries == 0
    }

    /// The request is sent again after a while.
    pub fn retry(&mut self, request: Request, now: Time) {
        self.history.retried += 1;
        self.waiting_retries += 1;
        self.schedule((now + RETRY).min(request.deadline), Event::Retry(self.retries.len()));
        self.retries.push(Some(request));
    }

    /// A request that is sent again now.
    pub fn take_retry(&mut self, index: usize) -> Request {
        self.waiting_retries -= 1;
        self.retries[index].take().expect("it is sent once")
    }

    /// The request waits for a replica.
    pub fn hold(&mut self, request: Request, now: Time) {
        let until = (now + self.config.hold).min(request.deadline);
        self.schedule(until, Event::HoldOver(request.id));
        self.held.push_back((request, until));
    }

    /// Takes a held request out, if it still waits and its time is up; it may have been served, and be held anew.
    pub fn give_up(&mut self, id: u64, now: Time) -> Option<Request> {
        let place = self.held.iter().position(|(request, until)| request.id == id && *until <= now)?;
        self.held.remove(place).map(|(request, _)| request)
    }

    /// Notes how many replicas there are from `at` on, if that has changed.
    pub fn count(&mut self, at: Time) {
        let (ready, starting, draining) = self.pods.counts();
        let at = self.history.counts.last().map_or(at, |last| at.max(last.at));
        let count = Count { at, wanted: self.pods.wanted, ready, starting, draining };
        match self.history.counts.last_mut() {
            Some(last) if Count { at, ..*last } == count => {}
            Some(last) if last.at == at => *last = count,
            _ => self.history.counts.push(count),
        }
    }
}
