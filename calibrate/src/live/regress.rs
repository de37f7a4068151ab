//! Non-negative regression on points, relative and robust, with what it is worth.

use super::points::{Point, median};
use crate::solve::{NORMAL_95, non_negative_gram};

/// A regression of points' times on their terms.
#[derive(Clone, Debug)]
pub struct Regression {
    /// One coefficient per term [ms].
    pub coefficients: Vec<f64>,
    /// Half the 95 % interval of each, by leaving out one point at a time (jackknife) [ms].
    pub half_widths: Vec<f64>,
    /// By how much each coefficient's variance is blown up since its term goes with others (variance inflation); infinite for a
    /// term that no point has.
    pub inflation: Vec<f64>,
    /// Time of each point as predicted without it [ms].
    pub held_out: Vec<f64>,
}

/// Relative error that the best model of a real server's steps still has: points measured more exactly than this count no more.
const LACK_OF_FIT: f64 = 0.02;
/// Residuals beyond so many typical ones count in proportion, not in square (Huber).
const HUBER: f64 = 2.0;
/// Rounds of reweighting.
const ROUNDS: usize = 12;

/// Fits `points`, at least one.
pub fn regress(points: &[Point]) -> Regression {
    let noise = single_sample_noise(points);
    let exact: Vec<f64> = points
        .iter()
        .map(|p| {
            let error = p.spread.unwrap_or(noise);
            1.0 / (p.ms * p.ms * (error * error + LACK_OF_FIT * LACK_OF_FIT))
        })
        .collect();
    let mut weights = exact.clone();
    let mut coefficients = solve(points, &weights);
    for _ in 0..ROUNDS {
        let residuals: Vec<f64> =
            points.iter().zip(&exact).map(|(p, w)| (predict(&coefficients, p) - p.ms).abs() * w.sqrt()).collect();
        let typical = median(&residuals).max(f64::MIN_POSITIVE) * 1.4826;
        weights = exact.iter().zip(&residuals).map(|(w, r)| w * (HUBER * typical / r).min(1.0)).collect();
        coefficients = solve(points, &weights);
    }
    let left_out = without_each(points, &weights);
    Regression {
        half_widths: jackknife(&left_out, coefficients.len()),
        inflation: inflation(points, &weights),
        held_out: points.iter().zip(&left_out).map(|(p, x)| predict(x, p)).collect(),
        coefficients,
    }
}

/// Mean absolute relative error at points left out.
pub fn held_out_error(points: &[Point], held_out: &[f64]) -> f64 {
    points.iter().zip(held_out).map(|(p, ms)| (ms / p.ms - 1.0).abs()).sum::<f64>() / points.len() as f64
}

/// Time of a point [ms].
pub fn predict(coefficients: &[f64], point: &Point) -> f64 {
    point.known_ms + point.row.iter().zip(coefficients).map(|(a, x)| a * x).sum::<f64>()
}

/// Relative noise of one sample, from points that have several.
fn single_sample_noise(points: &[Point]) -> f64 {
    let all: Vec<f64> = points.iter().filter_map(|p| Some(p.spread? * (p.samples as f64).sqrt())).collect();
    if all.is_empty() { 0.0 } else { median(&all) }
}

fn solve(points: &[Point], weights: &[f64]) -> Vec<f64> {
    let (gram, rhs) = normal(points, weights);
    non_negative_gram(&gram, &rhs)
}

/// The coefficients without each of the points.
fn without_each(points: &[Point], weights: &[f64]) -> Vec<Vec<f64>> {
    let (gram, rhs) = normal(points, weights);
    let without = |(point, weight): (&Point, &f64)| {
        let (mut gram, mut rhs) = (gram.clone(), rhs.clone());
        add(&mut gram, &mut rhs, point, -weight);
        non_negative_gram(&gram, &rhs)
    };
    points.iter().zip(weights).map(without).collect()
}

/// Weighted normal equations.
fn normal(points: &[Point], weights: &[f64]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let n = points[0].row.len();
    let (mut gram, mut rhs) = (vec![vec![0.0; n]; n], vec![0.0; n]);
    points.iter().zip(weights).for_each(|(point, &weight)| add(&mut gram, &mut rhs, point, weight));
    (gram, rhs)
}

fn add(gram: &mut [Vec<f64>], rhs: &mut [f64], point: &Point, weight: f64) {
    for ((i, a), row) in point.row.iter().enumerate().zip(gram) {
        for (b, sum) in point.row.iter().zip(row) {
            *sum += weight * a * b;
        }
        rhs[i] += weight * a * (point.ms - point.known_ms);
    }
}

/// Half-widths of 95 % intervals.
fn jackknife(left_out: &[Vec<f64>], terms: usize) -> Vec<f64> {
    let n = left_out.len() as f64;
    let half = |j: usize| {
        let mean = left_out.iter().map(|x| x[j]).sum::<f64>() / n;
        let squares = left_out.iter().map(|x| (x[j] - mean).powi(2)).sum::<f64>();
        NORMAL_95 * (squares * (n - 1.0) / n).sqrt()
    };
    (0..terms).map(half).collect()
}

/// Variance inflation of each term: one over the part of it that the others do not explain.
fn inflation(points: &[Point], weights: &[f64]) -> Vec<f64> {
    let (gram, _) = normal(points, weights);
    let scale: Vec<f64> = (0..gram.len()).map(|i| gram[i][i].sqrt()).collect();
    let known: Vec<usize> = (0..gram.len()).filter(|&i| scale[i] > 0.0).collect();
    let unexplained = |j: usize| {
        let others: Vec<usize> = known.iter().copied().filter(|&i| i != j).collect();
        remainder(&gram, &scale, j, &others)
    };
    (0..gram.len()).map(|j| if scale[j] > 0.0 { 1.0 / unexplained(j).max(1e-15) } else { f64::INFINITY }).collect()
}

/// The part of the scaled column `j` that is orthogonal to `others`, squared, by Gram and Schmidt on the Gram matrix (Cholesky).
fn remainder(gram: &[Vec<f64>], scale: &[f64], j: usize, others: &[usize]) -> f64 {
    let order: Vec<usize> = others.iter().copied().chain([j]).collect();
    let mut lower = vec![vec![0.0; order.len()]; order.len()];
    for (r, &a) in order.iter().enumerate() {
        for (c, &b) in order.iter().enumerate().take(r + 1) {
            let sum: f64 = (0..c).map(|k| lower[r][k] * lower[c][k]).sum();
            let value = gram[a][b] / scale[a] / scale[b] - sum;
            lower[r][c] = match (r == c, lower[c][c]) {
                (true, _) => value.max(0.0).sqrt(),
                (false, pivot) if pivot > 1e-8 => value / pivot,
                _ => 0.0,
            };
        }
    }
    lower[order.len() - 1][order.len() - 1].powi(2)
}
