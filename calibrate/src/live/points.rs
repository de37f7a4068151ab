//! Points: samples of like steps put together, without those that stand out.

use std::collections::BTreeMap;

use super::basis::Basis;
use super::sample::{Sample, SampleKind};
use crate::solve::OUTLIER_DEVIATIONS;

/// The mean of a point's samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// What its steps do.
    pub kind: SampleKind,
    /// Mean amount of each term.
    pub row: Vec<f64>,
    /// Mean of the part of the time that is known [ms].
    pub known_ms: f64,
    /// Mean time [ms].
    pub ms: f64,
    /// Samples in the mean.
    pub samples: usize,
    /// Samples that stood out, and are not in it.
    pub left_out: usize,
    /// Standard error of the mean, relative; of a single sample unknown.
    pub spread: Option<f64>,
}

/// A sample that is nearer than this to its point's median never stands out.
const OUTLIER_LEAST: f64 = 0.05;

/// By this factor no model is wrong: a step that takes so much more or less than predicted was not what it seemed to be.
const MISTAKEN: f64 = 2.0;

/// The points of samples. `predicted` gives a sample's time by an earlier fit [ms], so that steps whose context grew are compared
/// by their ratio to it; without one by their times.
pub fn points(samples: &[Sample], basis: &Basis, predicted: Option<&dyn Fn(&Sample) -> f64>) -> Vec<Point> {
    let mut named: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    let mistaken = |sample: &&Sample| predicted.is_some_and(|f| !(1.0 / MISTAKEN..MISTAKEN).contains(&(sample.ms / f(sample))));
    for sample in samples.iter().filter(|sample| !mistaken(sample)) {
        named.entry(&sample.point).or_default().push(sample);
    }
    named.into_iter().map(|(name, members)| point(name, &members, basis, predicted)).collect()
}

fn point(name: &str, members: &[&Sample], basis: &Basis, predicted: Option<&dyn Fn(&Sample) -> f64>) -> Point {
    let ratios: Vec<f64> = members.iter().map(|s| s.ms / predicted.map_or(per_step(s), |f| f(s))).collect();
    let middle = median(&ratios);
    let deviation = median(&ratios.iter().map(|r| (r / middle - 1.0).abs()).collect::<Vec<_>>());
    let limit = (OUTLIER_DEVIATIONS * deviation).max(OUTLIER_LEAST);
    let kept: Vec<(&Sample, f64)> =
        members.iter().copied().zip(ratios.iter().copied()).filter(|(_, r)| (r / middle - 1.0).abs() <= limit).collect();
    let n = kept.len() as f64;
    let mean = |f: &dyn Fn(&Sample) -> f64| kept.iter().map(|(s, _)| f(s)).sum::<f64>() / n;
    let rows: Vec<Vec<f64>> = kept.iter().map(|(s, _)| basis.row(s)).collect();
    let level = kept.iter().map(|(_, r)| r / middle).sum::<f64>() / n;
    let squares = kept.iter().map(|(_, r)| (r / middle - level).powi(2)).sum::<f64>();
    Point {
        name: name.to_owned(),
        kind: members[0].kind,
        row: (0..rows[0].len()).map(|j| rows.iter().map(|row| row[j]).sum::<f64>() / n).collect(),
        known_ms: mean(&|s| basis.known_ms(s)),
        ms: mean(&|s| s.ms),
        samples: kept.len(),
        left_out: members.len() - kept.len(),
        spread: (kept.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt() / level),
    }
}

/// Samples of one point may have different numbers of steps.
fn per_step(sample: &Sample) -> f64 {
    sample.steps.len() as f64
}

/// The middle value; of none not a number.
pub fn median(values: &[f64]) -> f64 {
    crate::solve::median(values).unwrap_or(f64::NAN)
}
