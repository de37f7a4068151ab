//! One repeat of a point, and what is made of it: tried again where it failed, learned from where it did not.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Experiment;
use crate::observation::PointKind;
use crate::probe::error::{Halt, ProbeError};
use crate::probe::figure::ttft;
use crate::probe::point::Plan;
use crate::probe::repeat::Repeat;
use crate::probe::tally;

/// Times that a repeat in which requests failed is tried again, and the pause before the first of them.
const RETRIES: u32 = 2;
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// One repeat that took much longer than reckoned says little of the next.
const SLOWER_MAX: f64 = 3.0;
/// Points in a row that may fail.
const FAILED_POINTS: usize = 3;

impl Experiment<'_> {
    /// One repeat, again if requests failed; nothing if they failed every time.
    pub(super) fn measure(&mut self, plan: &Plan) -> Result<Option<Repeat>, Halt> {
        let load = plan.kind.is_load();
        let retries = if load { 0 } else { RETRIES };
        for attempt in 0..=retries {
            let tally = tally::of(&mut self.tallies, &plan.name, plan.kind);
            tally.plan = Some(plan.clone());
            let (rep, others) = (tally.repeats, tally.figures.clone());
            self.tell(&plan.name);
            let reckoned = self.pace.seconds(plan);
            let repeat = self.runner.run(plan, rep, &others)?;
            let took = (repeat.record.end_ns - repeat.record.start_ns) as f64 / 1e9;
            self.slower = (0.8 * self.slower + 0.2 * (took / reckoned).min(SLOWER_MAX)).max(0.7);
            let tally = tally::of(&mut self.tallies, &plan.name, plan.kind);
            tally.add(&repeat.record, &repeat.requests, repeat.figure);
            let errors: Vec<&String> = repeat.requests.iter().filter_map(|r| r.error.as_ref()).collect();
            let (count, all) = (errors.len(), repeat.requests.len());
            let Some(error) = errors.first().map(|error| (*error).clone()) else {
                self.learn_from(plan, &repeat);
                self.failed_in_row = 0;
                return Ok(Some(repeat));
            };
            // A load with a few failures is still a load.
            if load && count * 4 < all {
                self.failed.push((plan.name.clone(), format!("{count} of {all} requests: {error}")));
                return Ok(Some(repeat));
            }
            if attempt == retries || !transient(&error) {
                self.fail(plan, &error)?;
                break;
            }
            self.sleep(RETRY_PAUSE * (1 << attempt))?;
        }
        Ok(None)
    }

    fn learn_from(&mut self, plan: &Plan, repeat: &Repeat) {
        let value = tally::of(&mut self.tallies, &plan.name, plan.kind).value();
        if let Some(value) = value {
            self.learn(plan.kind, plan.batch, plan.context, value);
        }
        // A beat of one decode is a prompt alone, too.
        let alone = repeat.requests.first().filter(|_| plan.kind == PointKind::Beat && plan.batch == 1);
        if let Some(first) = alone.and_then(ttft) {
            self.pace.learn_ttft(plan.context, first);
        }
    }

    /// A point failed for good; an error if it is one too many.
    fn fail(&mut self, plan: &Plan, error: &str) -> Result<(), Halt> {
        self.failed.push((plan.name.clone(), error.to_owned()));
        tally::of(&mut self.tallies, &plan.name, plan.kind).failed = true;
        self.failed_in_row += 1;
        if self.failed_in_row < FAILED_POINTS {
            return Ok(());
        }
        let names: Vec<&str> = self.failed.iter().rev().take(FAILED_POINTS).map(|(name, _)| name.as_str()).collect();
        let message = format!("{FAILED_POINTS} points in a row failed ({}): {error}", names.join(", "));
        Err(ProbeError::new(message, "look into the server's log, and let it rest if it refuses requests").into())
    }

    fn sleep(&self, time: Duration) -> Result<(), Halt> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.runner.bench.stop.load(Ordering::Relaxed) {
                return Err(Halt::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(super) fn learn(&mut self, kind: PointKind, batch: u32, context: u32, value: f64) {
        match kind {
            PointKind::Prefill => self.pace.learn_ttft(context, value),
            PointKind::Warmup if batch == 0 => self.pace.learn_ttft(context, value),
            PointKind::Decode | PointKind::Beat => self.pace.learn_step(batch, context, value),
            PointKind::Warmup | PointKind::Mixed | PointKind::Burst | PointKind::Rehearsal | PointKind::Open => {}
        }
    }
}

/// Whether what failed may well go better in a moment: not if the server understood the request and refused it.
fn transient(error: &str) -> bool {
    let status = error.split(' ').next().and_then(|word| word.parse::<u16>().ok());
    !matches!(status, Some(400..=499)) || matches!(status, Some(408 | 425 | 429))
}
