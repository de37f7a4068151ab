//! Pipeline stages: when each of them is done with the latest step.

use tokentide_models::units::{Duration, Time};

/// The stages of one engine core. Stage `s` of a step starts when stage `s - 1` of the step and stage `s` of the step before are
/// done.
pub struct Stages {
    /// Of the step to come.
    times: Vec<Duration>,
    /// When each stage is done with the latest step.
    done: Vec<Time>,
    started: Time,
}

impl Stages {
    /// Idle stages.
    pub fn new(stages: u32) -> Stages {
        let stages = stages as usize;
        Stages { times: vec![Duration::ZERO; stages], done: vec![Time::ZERO; stages], started: Time::ZERO }
    }

    /// Number of stages.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Where the stages' times of the next step are to be put.
    pub fn times(&mut self) -> &mut [Duration] {
        &mut self.times
    }

    /// Sends the next step, decided at `now`, through the stages; the time at which the last one is done with it.
    pub fn push(&mut self, now: Time) -> Time {
        self.started = now.max(self.done[0]);
        self.done.iter_mut().zip(&self.times).fold(now, |before, (done, &time)| {
            *done = before.max(*done) + time;
            *done
        })
    }

    /// When the latest step started in the first stage.
    pub fn started(&self) -> Time {
        self.started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In steady state a step leaves per longest stage; the first takes them all.
    #[test]
    fn the_slowest_stage_is_the_period() {
        let mut pipeline = Stages::new(3);
        let ends = [0; 5].map(|now| {
            pipeline.times().copy_from_slice(&[Duration(10), Duration(30), Duration(20)]);
            pipeline.push(Time(now)).0
        });
        assert_eq!(ends, [60, 90, 120, 150, 180]);
        assert_eq!(pipeline.started(), Time(40));
        assert_eq!(pipeline.push(Time(1000)), Time(1060));
    }
}
