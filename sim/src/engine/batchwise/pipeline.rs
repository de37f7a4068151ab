//! Pipeline stages in time, and the batches in flight.

use std::collections::VecDeque;

use tokentide_models::cost::{BatchShape, CostModel};
use tokentide_models::units::{Duration, Time};

use crate::engine::pipeline::Stages;

/// Requests of a batch: slot, tokens.
pub(super) type Members = Vec<(u32, u32)>;

/// A batch on its way.
struct InFlight {
    end: Time,
    members: Members,
}

/// When a batch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Start in the first stage.
    pub(super) start: Time,
    /// End in the last.
    pub(super) end: Time,
}

/// The stages, each of one batch at a time, first in, first out.
pub(super) struct Pipeline {
    stages: Stages,
    inflight: VecDeque<InFlight>,
}

impl Pipeline {
    /// `stages` idle stages, at least 1.
    pub(super) fn new(stages: u32) -> Pipeline {
        Pipeline { stages: Stages::new(stages), inflight: VecDeque::new() }
    }

    /// Whether a stage's worth of batches is still missing.
    pub(super) fn has_room(&self) -> bool {
        self.inflight.len() < self.stages.len()
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.inflight.is_empty()
    }

    /// End of the first batch in flight; never if there is none.
    pub(super) fn next_end(&self) -> Time {
        self.inflight.front().map_or(Time::NEVER, |batch| batch.end)
    }

    /// When a batch of this shape would run if it were sent at `now`.
    pub(super) fn run(&mut self, shape: &BatchShape, cost: &dyn CostModel, now: Time) -> Run {
        match self.stages.times() {
            [only] => *only = cost.iteration(shape),
            times => cost.stages(shape, times),
        }
        let end = self.stages.push(now);
        Run { start: self.stages.started(), end }
    }

    /// Puts a batch that ends at `end` in flight.
    pub(super) fn send(&mut self, members: Members, end: Time) {
        assert!(self.inflight.back().is_none_or(|before| before.end <= end), "batches end in order");
        self.inflight.push_back(InFlight { end, members });
    }

    /// The first batch in flight, if it has ended by `now`.
    pub(super) fn ended(&mut self, now: Time) -> Option<Members> {
        self.inflight.pop_front_if(|batch| batch.end <= now).map(|batch| batch.members)
    }

    /// From the start of a batch, what was not yet counted as busy by the one before, which ended at `before`.
    pub(super) fn busy(run: Run, before: Time) -> Duration {
        run.end.since(run.start.max(before))
    }
}

#[cfg(test)]
mod tests {
    use tokentide_models::cost::DecodePiece;

    use super::*;

    /// Stage 0 takes 10 ps a token, stage 1 takes 3.
    struct Uneven;

    impl CostModel for Uneven {
        fn iteration(&self, batch: &BatchShape) -> Duration {
            Duration(13 * batch.tokens())
        }

        fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
            DecodePiece::by_context(batch, self.iteration(batch), 0, u64::MAX)
        }

        fn stages(&self, batch: &BatchShape, times: &mut [Duration]) {
            times.copy_from_slice(&[10, 3].map(|ps| Duration(ps * batch.tokens())));
        }
    }

    fn tokens(n: u64) -> BatchShape {
        BatchShape { prefill_tokens: n, ..BatchShape::default() }
    }

    #[test]
    fn stages_overlap_and_wait_for_each_other() {
        let mut pipeline = Pipeline::new(2);
        let mut run = |n, now| pipeline.run(&tokens(n), &Uneven, Time(now));
        // 0-10 and 10-13; the next one waits for the first stage: 10-20, then a bubble before 20-23.
        assert_eq!(run(1, 0), Run { start: Time(0), end: Time(13) });
        assert_eq!(run(1, 0), Run { start: Time(10), end: Time(23) });
        // A long batch 20-120, 120-150; a short one is ready for the second stage at 130 and waits for it until 150.
        assert_eq!(run(10, 0), Run { start: Time(20), end: Time(150) });
        assert_eq!(run(1, 100), Run { start: Time(120), end: Time(153) });
        assert_eq!(run(1, 500), Run { start: Time(500), end: Time(513) });
    }

    #[test]
    fn one_stage_is_an_iteration() {
        let mut pipeline = Pipeline::new(1);
        assert_eq!(pipeline.run(&tokens(2), &Uneven, Time(5)), Run { start: Time(5), end: Time(31) });
        assert!(pipeline.has_room() && pipeline.is_empty());
        pipeline.send(vec![(0, 2)], Time(31));
        assert!(!pipeline.has_room() && pipeline.next_end() == Time(31));
        assert_eq!(pipeline.ended(Time(30)), None);
        assert_eq!(pipeline.ended(Time(31)), Some(vec![(0, 2)]));
    }

    #[test]
    fn overlapping_batches_are_busy_once() {
        let run = Run { start: Time(10), end: Time(23) };
        assert_eq!(Pipeline::busy(run, Time(13)), Duration(10));
        assert_eq!(Pipeline::busy(run, Time(5)), Duration(13));
    }
}
