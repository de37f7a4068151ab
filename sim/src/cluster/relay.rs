//! What happens on the engines, on its way to the observer.

use tokentide_models::cost::BatchShape;
use tokentide_models::units::Time;

use super::meter::Meter;
use crate::engine::{CoreId, Gaps, Levels, Observer, Outcome, StepView};
use crate::workload::Request;

/// Passes everything on; counts outcomes and, if the source waits for them, keeps a copy for it.
pub struct Relay<'o, O> {
    observer: &'o mut O,
    /// Outcomes so far.
    pub outcomes: u64,
    /// The latest end of any.
    pub last_end: Time,
    feedback: bool,
    ended: Vec<Outcome>,
    /// What replicas say of themselves, if anybody asks.
    pub meter: Option<Meter<'o>>,
}

impl<'o, O> Relay<'o, O> {
    /// To `observer`; with `feedback`, outcomes are kept for the source.
    pub fn new(observer: &'o mut O, feedback: bool, meter: Option<Meter<'o>>) -> Self {
        Relay { observer, outcomes: 0, last_end: Time::ZERO, feedback, ended: Vec::new(), meter }
    }

    /// Outcomes since the last call.
    pub fn take_ended(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.ended)
    }
}

impl<O: Observer> Observer for Relay<'_, O> {
    fn outcome(&mut self, outcome: Outcome) {
        self.outcomes += 1;
        self.last_end = self.last_end.max(outcome.ended);
        if let Some(meter) = &mut self.meter {
            meter.outcome(&outcome);
        }
        if self.feedback {
            self.ended.push(outcome.clone());
        }
        self.observer.outcome(outcome);
    }

    fn wants_steps(&self) -> bool {
        self.observer.wants_steps()
    }

    fn step(&mut self, step: &StepView<'_>) {
        self.observer.step(step);
    }

    fn first_token(&mut self, core: CoreId, at: Time, request: &Request, cached: u32) {
        if let Some(meter) = &mut self.meter {
            meter.first_token(core.replica, at, request, cached);
        }
        self.observer.first_token(core, at, request, cached);
    }

    fn gaps(&mut self, core: CoreId, class: u16, gaps: Gaps) {
        self.observer.gaps(core, class, gaps);
    }

    fn batch(&mut self, core: CoreId, shape: &BatchShape, steps: u64) {
        self.observer.batch(core, shape, steps);
    }

    fn levels(&mut self, core: CoreId, from: Time, to: Time, levels: &Levels) {
        if let Some(meter) = &mut self.meter {
            meter.levels(core.replica, levels);
        }
        self.observer.levels(core, from, to, levels);
    }

    fn served(&mut self, replica: u32, from: Time, until: Time, end: Time) {
        self.observer.served(replica, from, until, end);
    }
}
