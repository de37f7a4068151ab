//! How long points will take, from those that were measured: for planning only, so rough is good enough.

use std::collections::BTreeMap;
use std::time::Duration;

use super::point::{Plan, Shape};
use crate::solve::non_negative;

/// What was measured so far [s].
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// TTFT of a prompt alone, by its length.
    ttfts: BTreeMap<u32, f64>,
    /// Step of so many decodes of such a context.
    steps: BTreeMap<(u32, u32), f64>,
}

impl Pace {
    /// Takes a TTFT of a prompt alone.
    pub fn learn_ttft(&mut self, length: u32, seconds: f64) {
        self.ttfts.insert(length, seconds);
    }

    /// Takes a step of `batch` decodes.
    pub fn learn_step(&mut self, batch: u32, context: u32, seconds: f64) {
        self.steps.insert((batch, context), seconds);
    }

    /// TTFT of a prompt alone: between what was measured, and beyond it along the last piece.
    pub fn ttft(&self, length: u32) -> f64 {
        let points: Vec<(f64, f64)> = self.ttfts.iter().map(|(&n, &t)| (f64::from(n), t)).collect();
        let x = f64::from(length);
        match points.as_slice() {
            [] => 0.1,
            // One point does not tell what a token costs: the better part of it is taken for that.
            [(n, t)] => t * (x / n).max(0.5),
            points => {
                let upper = points.iter().position(|p| p.0 >= x).unwrap_or(points.len() - 1).max(1);
                let ((x0, y0), (x1, y1)) = (points[upper - 1], points[upper]);
                (y0 + (y1 - y0) * (x - x0) / (x1 - x0)).max(y0.min(y1) / 2.0)
            }
        }
    }

    /// A token of such a prompt among many prompts, which share what a step costs anyway.
    fn token(&self, length: u32) -> f64 {
        match self.ttfts.iter().next() {
            Some((&shortest, &least)) if length > shortest => ((self.ttft(length) - least) / f64::from(length - shortest)).max(0.0),
            Some((&shortest, &least)) => least / f64::from(shortest),
            None => 1e-4,
        }
    }

    /// A step of `batch` decodes whose contexts are `context`.
    pub fn step(&self, batch: u32, context: u32) -> f64 {
        let terms = |b: u32, c: u32| [1.0, f64::from(b), f64::from(b) * f64::from(c)];
        // Relative residuals: short steps count as much as long ones.
        let rows: Vec<([f64; 3], f64)> = self.steps.iter().map(|(&(b, c), &t)| (terms(b, c).map(|x| x / t), 1.0)).collect();
        let of = non_negative(&rows);
        let step: f64 = of.iter().zip(terms(batch, context)).map(|(a, x)| a * x).sum();
        if step > 0.0 { step } else { 0.02 }
    }

    /// From sending a request of such lengths to its end among `batch` others.
    pub fn residence(&self, batch: u32, input: u32, output: u32) -> f64 {
        // Among decodes there are the prompts that follow those that ended.
        let mixed = self.step(batch, input) + f64::from(batch) / f64::from(output.max(1)) * f64::from(input) * self.token(input);
        self.ttft(input) + f64::from(output) * mixed
    }

    /// How long a repeat will take [s].
    pub fn seconds(&self, plan: &Plan) -> f64 {
        let (batch, context) = (plan.batch, plan.context);
        let prompts = f64::from(batch) * f64::from(context) * self.token(context);
        match &plan.shape {
            Shape::Alone { count } => f64::from(*count) * self.ttft(context),
            Shape::Together { output } => prompts + f64::from(*output) * self.step(batch, context + output / 2),
            Shape::Injected { output, prompts: injected, .. } => {
                let injected: f64 = injected.iter().map(|&n| f64::from(n) * self.token(n)).sum();
                prompts + injected + f64::from(*output) * self.step(batch, context + output / 2)
            }
            Shape::Closed { lengths, time } => {
                let (input, output) = lengths.first().copied().unwrap_or((1, 1));
                time.as_secs_f64() + self.residence(batch, input, output)
            }
            Shape::Open { requests } => {
                let (last, input, output) = requests.last().copied().unwrap_or((0, 1, 1));
                Duration::from_nanos(last).as_secs_f64() + self.residence(batch.max(1), input, output)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::PointKind;

    fn pace() -> Pace {
        let mut pace = Pace::default();
        [(100, 0.020), (1000, 0.110)].into_iter().for_each(|(n, t)| pace.learn_ttft(n, t));
        [(1, 100, 0.0101), (8, 100, 0.0108), (8, 1000, 0.018)].into_iter().for_each(|(b, c, t)| pace.learn_step(b, c, t));
        pace
    }

    #[test]
    fn times_are_between_those_measured_and_beyond() {
        let pace = pace();
        for (n, t) in [(550, 0.065), (2000, 0.21), (50, 0.015)] {
            assert!((pace.ttft(n) - t).abs() < 1e-9, "{n}: {}", pace.ttft(n));
        }
        assert!((pace.step(16, 1000) - 0.026).abs() < 1e-4, "{}", pace.step(16, 1000));
    }

    #[test]
    fn a_plan_takes_its_prompts_and_its_steps() {
        let shape = Shape::Together { output: 40 };
        let plan = Plan { name: "decode/8x1000".into(), kind: PointKind::Decode, batch: 8, context: 1000, rate: None, shape };
        let seconds = pace().seconds(&plan);
        assert!((seconds - (0.8 + 40.0 * 0.01816)).abs() < 0.01, "{seconds}");
    }
}
