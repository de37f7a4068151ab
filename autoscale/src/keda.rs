//! KEDA above an HPA: at each poll it takes the number of replicas from and to zero (or the idle count); between, the HPA decides,
//! with metrics that KEDA may have cached or replaced.

use tokentide_models::units::Time;

use crate::config::{Fallback, Keda, Target};

/// A `ScaledObject` with what it remembers.
#[derive(Clone, Debug)]
pub struct KedaState {
    config: Keda,
    /// When a trigger was last active.
    active: Option<Time>,
    /// Latest reading of each trigger, at a poll [1/1000].
    cached: Vec<Result<i64, String>>,
    /// Failed readings in a row, of each trigger.
    failures: Vec<u32>,
}

impl KedaState {
    /// One that has not polled yet, for `triggers` metrics.
    pub fn new(config: &Keda, triggers: usize) -> KedaState {
        let cached = vec![Err("not polled yet".to_owned()); triggers];
        KedaState { config: config.clone(), active: None, cached, failures: vec![0; triggers] }
    }

    /// What the HPA is given for a trigger that reads `fresh`, at `target`.
    ///
    /// # Errors
    /// As the reading, unless the fallback stands in for it.
    pub fn reading(&mut self, trigger: usize, fresh: Result<i64, String>, target: Target) -> Result<i64, String> {
        let reading = match self.config.cached.get(trigger) {
            Some(true) => self.cached[trigger].clone(),
            _ => fresh,
        };
        self.failures[trigger] = if reading.is_ok() { 0 } else { self.failures[trigger] + 1 };
        match (reading, self.config.fallback, target) {
            (Err(_), Some(Fallback { failures, replicas }), Target::AverageValue(target)) if self.failures[trigger] > failures => {
                Ok(target * i64::from(replicas))
            }
            (reading, ..) => reading,
        }
    }

    /// A poll at `now` with `current` replicas wanted and the triggers' readings, `None` for those of CPU, which KEDA leaves to the
    /// HPA: another number of replicas, and why.
    pub fn poll(&mut self, now: Time, current: u32, readings: Vec<Option<Result<i64, String>>>) -> Option<(u32, String)> {
        let over = |(reading, threshold): (&Option<Result<i64, String>>, &f64)| {
            reading.as_ref().is_some_and(|reading| reading.as_ref().is_ok_and(|v| *v as f64 / 1000.0 > *threshold))
        };
        // CPU alone cannot wake anything, so that it never sleeps.
        let active = readings.iter().all(Option::is_none) || readings.iter().zip(&self.config.activation).any(over);
        let failed = readings.iter().flatten().any(Result::is_err);
        for (cached, reading) in self.cached.iter_mut().zip(readings) {
            if let Some(reading) = reading {
                *cached = reading;
            }
        }
        let Keda { min_replicas, idle, .. } = self.config;
        if active {
            let first = min_replicas.max(1);
            let asleep = current == 0 || idle.is_some() && current < min_replicas;
            // While it is awake, a poll of which some trigger failed does not put off the cooldown.
            if asleep || !failed {
                self.active = Some(now);
            }
            return asleep.then(|| (first, "a trigger is active".to_owned()));
        }
        // A failed reading is no sign of rest, unless the fallback is to have no replicas.
        if failed && self.config.fallback.is_none_or(|fallback| fallback.replicas > 0) {
            return None;
        }
        let rest = idle.unwrap_or(min_replicas);
        if current < rest && idle.is_none() {
            return Some((rest, "fewer than minReplicaCount".to_owned()));
        }
        let sleeps = current > rest && (idle.is_some() || min_replicas == 0);
        (sleeps && self.has_cooled_down(now)).then(|| (rest, "no trigger was active for the cooldown".to_owned()))
    }

    fn has_cooled_down(&self, now: Time) -> bool {
        match self.active {
            Some(since) => now.since(since) >= self.config.cooldown,
            None => now.since(Time::ZERO) >= self.config.initial_cooldown,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokentide_models::units::Duration;

    use super::*;

    fn s(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000_000)
    }

    fn keda() -> Keda {
        Keda {
            polling: Duration(s(30).0),
            cooldown: Duration(s(300).0),
            initial_cooldown: Duration::ZERO,
            min_replicas: 0,
            idle: None,
            activation: vec![2.0],
            cached: vec![false],
            fallback: None,
        }
    }

    fn poll(state: &mut KedaState, at: u64, current: u32, value: i64) -> Option<u32> {
        state.poll(s(at), current, vec![Some(Ok(value))]).map(|(replicas, _)| replicas)
    }

    #[test]
    fn it_wakes_above_the_threshold_and_sleeps_after_the_cooldown() {
        let mut state = KedaState::new(&keda(), 1);
        assert_eq!(poll(&mut state, 30, 0, 2_000), None, "at the threshold is not above it");
        assert_eq!(poll(&mut state, 60, 0, 2_001), Some(1));
        assert_eq!(poll(&mut state, 90, 3, 9_000), None, "between one and the most the HPA decides");
        assert_eq!(poll(&mut state, 360, 3, 0), None, "270 s after the last active poll");
        assert_eq!(poll(&mut state, 390, 3, 0), Some(0));
    }

    #[test]
    fn a_floor_keeps_it_awake_and_an_idle_count_is_where_it_rests() {
        let mut floor = KedaState::new(&Keda { min_replicas: 2, ..keda() }, 1);
        assert_eq!(poll(&mut floor, 900, 2, 0), None);
        let mut idle = KedaState::new(&Keda { min_replicas: 3, idle: Some(1), ..keda() }, 1);
        assert_eq!(poll(&mut idle, 30, 1, 5_000), Some(3));
        assert_eq!(poll(&mut idle, 329, 3, 0), None);
        assert_eq!(poll(&mut idle, 330, 3, 0), Some(1));
    }

    #[test]
    fn what_fails_does_not_put_it_to_sleep() {
        let mut state = KedaState::new(&keda(), 1);
        assert_eq!(state.poll(s(30), 4, vec![Some(Err("down".to_owned()))]), None);
        let mut late = KedaState::new(&Keda { initial_cooldown: Duration(s(120).0), ..keda() }, 1);
        assert_eq!((poll(&mut late, 90, 1, 0), poll(&mut late, 120, 1, 0)), (None, Some(0)));
    }

    #[test]
    fn the_fallback_stands_in_after_its_failures() {
        let target = Target::AverageValue(40_000);
        let mut state = KedaState::new(&Keda { fallback: Some(Fallback { failures: 2, replicas: 6 }), ..keda() }, 1);
        let mut fail = || state.reading(0, Err("down".to_owned()), target);
        assert!(fail().is_err() && fail().is_err());
        assert_eq!(fail(), Ok(240_000), "the third in a row");
        assert_eq!(state.reading(0, Ok(7), target), Ok(7));
        assert!(state.reading(0, Err("down".to_owned()), target).is_err(), "counted anew");
    }

    #[test]
    fn cached_metrics_are_those_of_the_latest_poll() {
        let mut state = KedaState::new(&Keda { cached: vec![true], ..keda() }, 1);
        assert!(state.reading(0, Ok(5), Target::Value(1)).is_err());
        poll(&mut state, 30, 2, 9_000);
        assert_eq!(state.reading(0, Ok(5), Target::Value(1)), Ok(9_000));
    }

    #[test]
    fn below_its_minimum_it_is_raised_whatever_its_triggers_say() {
        let mut state = KedaState::new(&Keda { min_replicas: 2, ..keda() }, 1);
        assert_eq!(poll(&mut state, 30, 0, 0), Some(2));
        let mut idle = KedaState::new(&Keda { min_replicas: 3, idle: Some(0), ..keda() }, 1);
        assert_eq!((poll(&mut idle, 30, 0, 0), poll(&mut idle, 60, 2, 9_000)), (None, Some(3)), "idle, it is where it rests");
    }

    #[test]
    fn an_active_poll_with_a_failing_trigger_does_not_put_off_the_cooldown() {
        let two = Keda { activation: vec![2.0, 2.0], cached: vec![false, false], ..keda() };
        let mut state = KedaState::new(&two, 2);
        let mut at = |t, b| state.poll(s(t), 1, vec![Some(Ok(if t < 330 { 9_000 } else { 0 })), Some(b)]).map(|(n, _)| n);
        assert_eq!((at(30, Ok(0)), at(300, Err("down".to_owned()))), (None, None));
        assert_eq!(at(330, Ok(0)), Some(0), "300 s after 30 s");
    }

    #[test]
    fn a_fallback_to_nothing_lets_it_sleep() {
        let failing = |replicas| {
            let mut state = KedaState::new(&Keda { fallback: Some(Fallback { failures: 2, replicas }), ..keda() }, 1);
            state.poll(s(30), 4, vec![Some(Err("down".to_owned()))]).map(|(n, _)| n)
        };
        assert_eq!((failing(1), failing(0)), (None, Some(0)));
    }

    #[test]
    fn cpu_is_neither_active_nor_failed_and_alone_never_sleeps() {
        let mut beside = KedaState::new(&Keda { activation: vec![2.0, 0.0], cached: vec![false; 2], ..keda() }, 2);
        assert_eq!(beside.poll(s(30), 1, vec![Some(Ok(0)), None]).map(|(n, _)| n), Some(0));
        let mut alone = KedaState::new(&Keda { min_replicas: 3, idle: Some(1), ..keda() }, 1);
        assert_eq!(alone.poll(s(900), 4, vec![None]), None);
    }
}
