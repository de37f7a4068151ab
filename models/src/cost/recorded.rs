//! Recorded step durations, played back: the scheduler is tested against a real engine with the engine's own clock.

use crate::cost::{BatchShape, CostError, CostModel, DecodePiece};
use crate::units::Duration;

/// Plays recorded durations by [`BatchShape::step`], whatever the batch.
///
/// Beyond the end of the recording the last duration repeats. Recorded times are facts about some machine, so the physical floor
/// of a deployment does not apply to them.
#[derive(Clone, Debug)]
pub struct Recorded {
    steps: Box<[Duration]>,
}

impl Recorded {
    /// From the durations of steps 0, 1, 2, ...
    ///
    /// # Errors
    ///
    /// [`CostError::EmptyRecording`] if there is none.
    pub fn new(steps: Vec<Duration>) -> Result<Recorded, CostError> {
        if steps.is_empty() {
            return Err(CostError::EmptyRecording);
        }
        Ok(Recorded { steps: steps.into() })
    }

    /// Steps in the recording.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Never: an empty recording cannot be built.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl CostModel for Recorded {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        let index = usize::try_from(batch.step).unwrap_or(usize::MAX).min(self.steps.len() - 1);
        self.steps[index]
    }

    /// One step long: the next step has a duration of its own.
    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::testing::decodes;

    #[test]
    fn plays_by_index_and_repeats_the_last() {
        let model = Recorded::new([5, 7, 9].map(Duration).into()).unwrap();
        let at = |step| model.iteration(&BatchShape { step, ..decodes(3, 10) }).0;
        assert_eq!([0, 1, 2, 3, u64::MAX].map(at), [5, 7, 9, 9, 9]);
        assert_eq!(model.decode_piece(&decodes(3, 10)), DecodePiece { first: Duration(5), growth_ps: 0, steps: 0 });
        assert!(Recorded::new(Vec::new()).is_err());
    }
}
