//! Keeps all that an engine tells its observer.

use std::collections::BTreeMap;

use tokentide_models::units::Time;
use tokentide_sim::engine::{CoreId, Gaps, Observer, Outcome, StepView};

/// A [`StepView`] that owns its lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// Replica.
    pub replica: u32,
    /// Its data-parallel rank.
    pub rank: u32,
    /// Index of the step on its replica.
    pub step: u64,
    /// Time of `schedule()`.
    pub scheduled: Time,
    /// From when on it adds to the time covered.
    pub start: Time,
    /// End of execution.
    pub end: Time,
    /// Request id, computed tokens before, tokens.
    pub batch: Vec<(u64, u32, u32)>,
    /// Ids preempted.
    pub preempted: Vec<u64>,
    /// Length of `running`.
    pub running: u32,
    /// Length of `waiting`.
    pub waiting: u32,
    /// Free KV blocks.
    pub free_blocks: u32,
}

/// An observer that keeps everything.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Whether it asks the engine for every step.
    wants_steps: bool,
    /// In the order of the calls.
    pub outcomes: Vec<Outcome>,
    /// In the order of the calls; empty unless steps were asked for.
    pub steps: Vec<Step>,
    /// Tokens by class and gap before them [ps].
    gaps: BTreeMap<(u16, u64), u64>,
}

impl Recorder {
    /// Keeps outcomes only, so that an engine may leap.
    pub fn outcomes() -> Recorder {
        Recorder::default()
    }

    /// Keeps outcomes and every step.
    pub fn steps() -> Recorder {
        Recorder { wants_steps: true, ..Recorder::default() }
    }

    /// Class, gap before a token [ps], and number of such tokens; ascending.
    pub fn gaps(&self) -> Vec<((u16, u64), u64)> {
        self.gaps.iter().map(|(&gap, &count)| (gap, count)).collect()
    }

    /// Sorts outcomes by id, and steps by replica and index.
    pub fn sorted(mut self) -> Recorder {
        self.outcomes.sort_by_key(|outcome| outcome.request.id);
        self.steps.sort();
        self
    }
}

impl Observer for Recorder {
    fn gaps(&mut self, _core: CoreId, class: u16, gaps: Gaps) {
        for step in 0..gaps.steps {
            *self.gaps.entry((class, gaps.first.0 + gaps.slope_ps * step)).or_default() += u64::from(gaps.count);
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    fn wants_steps(&self) -> bool {
        self.wants_steps
    }

    fn step(&mut self, view: &StepView<'_>) {
        if !self.wants_steps {
            return;
        }
        self.steps.push(Step {
            replica: view.replica,
            rank: view.rank,
            step: view.step,
            scheduled: view.scheduled,
            start: view.start,
            end: view.end,
            batch: view.batch.to_vec(),
            preempted: view.preempted.to_vec(),
            running: view.running,
            waiting: view.waiting,
            free_blocks: view.free_blocks,
        });
    }
}
