//! The requests that a cluster serves, out of all that its workload sends.

use std::cell::Cell;

use tokentide_models::units::Time;

use super::{Request, RequestSource};
use crate::engine::Outcome;
use crate::scenario::Serves;

/// Passes on what is served, until it is told to stop.
pub struct Served<'a, S> {
    source: &'a mut S,
    serves: &'a Serves,
    stop: &'a Cell<bool>,
    ahead: Option<Request>,
}

impl<'a, S: RequestSource> Served<'a, S> {
    /// What `serves` admits of `source`; nothing more once `stop` is set.
    pub fn new(source: &'a mut S, serves: &'a Serves, stop: &'a Cell<bool>) -> Served<'a, S> {
        Served { source, serves, stop, ahead: None }
    }

    /// The next one that is admitted, out of the source.
    fn find(&mut self) -> Option<Request> {
        while !self.stop.get() {
            let request = self.source.next()?;
            if self.serves.admits(&request) {
                return Some(request);
            }
        }
        None
    }
}

impl<S: RequestSource> RequestSource for Served<'_, S> {
    fn peek(&mut self) -> Option<Time> {
        if self.stop.get() {
            return None;
        }
        if self.serves.everybody() || self.source.feedback() {
            return self.source.peek();
        }
        if self.ahead.is_none() {
            self.ahead = self.find();
        }
        self.ahead.as_ref().map(|request| request.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        if self.stop.get() {
            return None;
        }
        self.ahead.take().or_else(|| self.find())
    }

    fn feedback(&self) -> bool {
        self.source.feedback()
    }

    fn ended(&mut self, outcome: &Outcome, known: Time) {
        self.source.ended(outcome, known);
    }
}
