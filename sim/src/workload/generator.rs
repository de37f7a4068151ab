//! The requests of all classes, merged in time order.
//!
//! Everything random about a request depends on (seed, purpose, class index, index within the class) alone: a class that is added
//! behind the others changes none of them, and neither does the order in which requests end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokentide_models::units::{Duration, Time};

use super::arrivals::ArrivalTimes;
use super::labels::Labels;
use super::prompt::Composer;
use super::sessions::{Clients, Sessions, private_identity, session_id, session_index};
use super::{Request, RequestSource};
use crate::engine::Outcome;
use crate::scenario::{Arrivals, Class, Horizon, Scenario};

/// Generates the requests of a scenario's classes.
#[derive(Clone, Debug)]
pub struct Generator {
    classes: Vec<ClassSource>,
    pending: BinaryHeap<Reverse<Pending>>,
    horizon: Horizon,
    feedback: bool,
    sent: u64,
    labels: Labels,
}

/// What comes next of a class. Ordered by time; ties by class, then by number in the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    time: Time,
    class: u16,
    /// Of the request, or of its session, in the class.
    index: u64,
    /// Whether the arrival process brought it, and its successor is to be drawn.
    open: bool,
}

#[derive(Clone, Debug)]
struct ClassSource {
    tenant: u16,
    route: u16,
    priority: i32,
    max_tokens: u32,
    timeout: Option<Duration>,
    composer: Composer,
    arrivals: Option<ArrivalTimes>,
    clients: Option<Clients>,
    sessions: Option<Sessions>,
}

impl Generator {
    /// The generator of `scenario`'s classes, at time zero. A class without arrivals sends nothing.
    pub fn new(scenario: &Scenario) -> Generator {
        Generator::of(&scenario.classes, scenario.seed, scenario.horizon, scenario.engine.max_model_len)
    }

    /// The generator of `classes`. Conversations keep within `context`, prompt and answer [tokens].
    pub fn of(classes: &[Class], seed: u64, horizon: Horizon, context: u32) -> Generator {
        let mut labels = Labels::default();
        let mut sources = Vec::with_capacity(classes.len());
        let mut pending = BinaryHeap::new();
        for (class, index) in classes.iter().zip(0u16..) {
            let mut source = ClassSource::new(class, index, seed, context, &mut labels);
            if let Some(time) = source.arrivals.as_mut().and_then(Iterator::next) {
                pending.push(Reverse(Pending { time, class: index, index: 0, open: true }));
            }
            for (time, client) in source.clients.iter().flat_map(Clients::first) {
                pending.push(Reverse(Pending { time, class: index, index: client, open: false }));
            }
            sources.push(source);
        }
        let feedback = sources.iter().any(|c| c.clients.is_some() || c.sessions.is_some());
        Generator { classes: sources, pending, horizon, feedback, sent: 0, labels }
    }

    /// Names that the requests' `tenant` and `route` index.
    pub fn labels(&self) -> &[String] {
        self.labels.names()
    }

    /// How many draws so far a bound of their distribution (or the least of one token) has changed.
    pub fn clamped(&self) -> u64 {
        self.classes.iter().map(|c| c.composer.clamped()).sum()
    }

    /// The earliest pending request that lies within the horizon.
    fn head(&self) -> Option<Pending> {
        let &Reverse(head) = self.pending.peek()?;
        let in_time = self.horizon.duration.is_none_or(|end| head.time < end);
        let in_number = self.horizon.requests.is_none_or(|most| self.sent < most);
        (in_time && in_number).then_some(head)
    }
}

impl RequestSource for Generator {
    fn peek(&mut self) -> Option<Time> {
        self.head().map(|p| p.time)
    }

    fn next(&mut self) -> Option<Request> {
        let head = self.head()?;
        let class = &mut self.classes[usize::from(head.class)];
        let successor = if head.open { class.arrivals.as_mut().and_then(Iterator::next) } else { None };
        match successor {
            // Replacing the head costs half of a pop and a push.
            Some(time) => {
                if let Some(mut top) = self.pending.peek_mut() {
                    *top = Reverse(Pending { time, index: head.index + 1, ..head });
                }
            }
            None => {
                self.pending.pop();
            }
        }
        let request = class.request(head, self.sent);
        self.sent += 1;
        Some(request)
    }

    fn feedback(&self) -> bool {
        self.feedback
    }

    fn ended(&mut self, outcome: &Outcome, known: Time) {
        let class = outcome.request.class;
        let Some(source) = self.classes.get_mut(usize::from(class)) else { return };
        if let Some((time, index)) = source.follow_up(outcome, known) {
            self.pending.push(Reverse(Pending { time, class, index, open: false }));
        }
    }
}

impl ClassSource {
    fn new(class: &Class, index: u16, seed: u64, context: u32, labels: &mut Labels) -> ClassSource {
        let (mut arrivals, mut clients) = (None, None);
        match &class.arrivals {
            Some(Arrivals::Open { gaps, rate }) => arrivals = Some(ArrivalTimes::new(*gaps, rate, seed, index)),
            Some(Arrivals::Closed { concurrency, think }) => clients = Some(Clients::new(*concurrency, think, index, seed)),
            None => {}
        }
        ClassSource {
            tenant: labels.of(class.tenant.as_deref()),
            route: labels.of(class.route.as_deref()),
            priority: class.priority,
            max_tokens: class.output.max_tokens.unwrap_or(u32::MAX),
            timeout: class.timeout,
            composer: Composer::new(class, index, seed),
            arrivals,
            clients,
            sessions: class.session.as_ref().map(|session| Sessions::new(class, session, index, seed, context)),
        }
    }

    fn request(&mut self, pending: Pending, id: u64) -> Request {
        let (text, private, private_reused, session) = match &mut self.sessions {
            Some(sessions) => {
                let turn = sessions.next(pending.index, &mut self.composer);
                (turn.text, turn.private, turn.private_reused, Some((session_id(pending.class, pending.index), turn.turn)))
            }
            None => {
                if let Some(clients) = &mut self.clients {
                    clients.sent(id, pending.index);
                }
                let private = private_identity(pending.class, pending.index, 0);
                (self.composer.compose(pending.index, None), private, false, None)
            }
        };
        Request {
            id,
            arrival: pending.time,
            class: pending.class,
            tenant: self.tenant,
            route: self.route,
            priority: self.priority,
            input_tokens: text.shared.tokens + text.private_tokens,
            output_tokens: text.output_tokens,
            max_tokens: self.max_tokens,
            deadline: self.timeout.map_or(Time::NEVER, |timeout| pending.time + timeout),
            session,
            prefix: text.shared.prefix,
            private,
            private_reused,
            sources: text.sources,
        }
    }

    /// What the end of a request brings, as (time, index in the class).
    fn follow_up(&mut self, outcome: &Outcome, known: Time) -> Option<(Time, u64)> {
        let index = match (&mut self.sessions, outcome.request.session) {
            (Some(sessions), Some((id, _))) => {
                let index = session_index(id);
                if let Some(time) = sessions.ended(index, outcome, known) {
                    return Some((time, index));
                }
                index
            }
            _ => self.clients.as_mut()?.returned(outcome.request.id)?,
        };
        self.clients.as_ref().map(|clients| clients.after(index, outcome, known))
    }
}
