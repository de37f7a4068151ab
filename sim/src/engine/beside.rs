//! One observer beside another.

use tokentide_models::cost::BatchShape;
use tokentide_models::units::Time;

use super::{CoreId, Gaps, Levels, Observer, Outcome, StepView};
use crate::workload::Request;

/// Tells both all that happens.
pub struct Beside<'m, 'o, M> {
    /// The one, told last, so that it can keep what it is given.
    pub main: &'m mut M,
    /// The other, if there is one.
    pub other: Option<&'o mut dyn Observer>,
}

impl<M: Observer> Observer for Beside<'_, '_, M> {
    fn labels(&mut self, names: &[String]) {
        if let Some(other) = &mut self.other {
            other.labels(names);
        }
        self.main.labels(names);
    }

    fn outcome(&mut self, outcome: Outcome) {
        if let Some(other) = &mut self.other {
            other.outcome(outcome.clone());
        }
        self.main.outcome(outcome);
    }

    fn wants_steps(&self) -> bool {
        self.other.as_ref().is_some_and(|other| other.wants_steps()) || self.main.wants_steps()
    }

    fn step(&mut self, step: &StepView<'_>) {
        if let Some(other) = &mut self.other {
            other.step(step);
        }
        self.main.step(step);
    }

    fn first_token(&mut self, core: CoreId, at: Time, request: &Request, cached: u32) {
        if let Some(other) = &mut self.other {
            other.first_token(core, at, request, cached);
        }
        self.main.first_token(core, at, request, cached);
    }

    fn gaps(&mut self, core: CoreId, class: u16, gaps: Gaps) {
        if let Some(other) = &mut self.other {
            other.gaps(core, class, gaps);
        }
        self.main.gaps(core, class, gaps);
    }

    fn batch(&mut self, core: CoreId, shape: &BatchShape, steps: u64) {
        if let Some(other) = &mut self.other {
            other.batch(core, shape, steps);
        }
        self.main.batch(core, shape, steps);
    }

    fn levels(&mut self, core: CoreId, from: Time, to: Time, levels: &Levels) {
        if let Some(other) = &mut self.other {
            other.levels(core, from, to, levels);
        }
        self.main.levels(core, from, to, levels);
    }

    fn served(&mut self, replica: u32, from: Time, until: Time, end: Time) {
        if let Some(other) = &mut self.other {
            other.served(replica, from, until, end);
        }
        self.main.served(replica, from, until, end);
    }
}
