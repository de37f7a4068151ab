//! What is measured next, and whether there is time for it.

use std::time::{Duration, Instant};

use super::Experiment;
use crate::observation::PointKind;
use crate::probe::design;
use crate::probe::error::Halt;
use crate::probe::point::{Plan, Shape};
use crate::probe::prompts::shuffled;
use crate::probe::tally;

/// From one beat to the next while points are repeated.
const BEAT_EVERY: Duration = Duration::from_secs(30);
/// Steps together that a decode point must have to say anything.
const FEW_STEPS: u32 = 12;
/// Of a part's time, what a single point may take.
const POINT_MOST: f64 = 0.3;
/// Nothing is repeated more often.
const REPEATS_MAX: u32 = 60;

impl Experiment<'_> {
    /// Measures each of `plans` once, the more important first in them, as many as fit into `seconds`.
    pub(super) fn pass(&mut self, plans: Vec<Plan>, seconds: f64, stream: u64) -> Result<(), Halt> {
        let mut left = seconds;
        let mut chosen = Vec::new();
        for plan in plans {
            if self.tallies.get(&plan.name).is_some_and(|tally| !tally.figures.is_empty()) {
                let tally = tally::of(&mut self.tallies, &plan.name, plan.kind);
                tally.plan = Some(plan);
                continue;
            }
            let time = self.reckon(&plan);
            // The most important one is tried even if it takes more than its part.
            if time <= left.min(POINT_MOST * seconds) || chosen.is_empty() {
                left -= time;
                chosen.push(plan);
            } else {
                self.left_out.push(plan.name);
            }
        }
        let first = chosen.first().map_or(String::new(), |plan: &Plan| plan.name.clone());
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        for plan in shuffled(chosen, self.options.seed, stream) {
            // A pass may take somewhat longer than reckoned, but not what belongs to the loads.
            let rest = end.saturating_duration_since(Instant::now()).as_secs_f64() + 0.2 * seconds;
            let over = self.reckon(&plan) > rest && plan.name != first;
            if over || self.reckon(&plan) > self.left() - self.reserve() {
                self.left_out.push(plan.name);
                continue;
            }
            self.measure(&plan)?;
            self.lengthen(&plan, end)?;
        }
        Ok(())
    }

    /// Measures a decode point again, with longer answers, if its decodes were hardly together and there is time until `end`.
    fn lengthen(&mut self, plan: &Plan, end: Instant) -> Result<(), Halt> {
        if plan.kind != PointKind::Decode {
            return Ok(());
        }
        for _ in 0..2 {
            let tally = tally::of(&mut self.tallies, &plan.name, plan.kind);
            let steps = tally.figures.last().map_or(0, |figure| figure.steps);
            if steps >= FEW_STEPS || self.failed_in_row > 0 {
                break;
            }
            tally.more += 2 * FEW_STEPS + 8 - steps;
            let Some(longer) = design::decode(&self.bounds, &self.pace, plan.batch, plan.context, tally.more) else { break };
            let rest = end.saturating_duration_since(Instant::now()).as_secs_f64();
            if self.reckon(&longer) > rest {
                // Its next repeat, if there is one, will be as long.
                tally::of(&mut self.tallies, &plan.name, plan.kind).plan = Some(longer);
                break;
            }
            self.measure(&longer)?;
        }
        Ok(())
    }

    /// Repeats the least certain point until all are certain enough or the time is over.
    pub(super) fn repeat(&mut self) -> Result<(), Halt> {
        let last_beat: f64 = design::beats(&self.bounds).iter().map(|plan| self.reckon(plan)).sum();
        loop {
            let time = self.left() - last_beat;
            let next = self.least_certain(time);
            let Some(plan) = next else { return Ok(()) };
            if self.last_beat.elapsed() > BEAT_EVERY {
                self.beat()?;
            }
            self.measure(&plan)?;
        }
    }

    /// The next repeat of the point whose figure is least certain, of those that fit into `time` [s].
    fn least_certain(&self, time: f64) -> Option<Plan> {
        let open = self.tallies.iter().filter(|(_, tally)| {
            let kind = matches!(tally.kind, PointKind::Prefill | PointKind::Decode | PointKind::Mixed);
            kind && !tally.failed && tally.repeats < REPEATS_MAX && tally.interval() > self.options.precision
        });
        let fits = open.filter_map(|(name, tally)| {
            let plan = tally.plan.as_ref()?;
            (self.reckon(plan) <= time).then_some((tally.interval(), std::cmp::Reverse(tally.repeats), name, plan))
        });
        let worst = fits.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)).then_with(|| b.2.cmp(a.2)))?;
        let (.., plan) = worst;
        let mut plan = plan.clone();
        if let Shape::Injected { prompts, .. } = &mut plan.shape {
            let repeats = self.tallies[&plan.name].repeats;
            *prompts = shuffled(std::mem::take(prompts), self.options.seed, 16 + u64::from(repeats));
        }
        Some(plan)
    }

    /// How long a repeat will take, as others took [s].
    pub(super) fn reckon(&self, plan: &Plan) -> f64 {
        self.pace.seconds(plan) * self.slower + 0.02
    }

    /// Of the budget [s].
    pub(super) fn left(&self) -> f64 {
        self.options.budget.saturating_sub(self.begun.elapsed()).as_secs_f64()
    }

    /// What the loads will need [s].
    pub(super) fn reserve(&self) -> f64 {
        let done = self.tallies.values().any(|tally| tally.kind == PointKind::Open);
        if done { 0.0 } else { (super::OF_BURST + super::OF_REHEARSAL + super::OF_OPEN) * self.options.budget.as_secs_f64() }
    }
}
