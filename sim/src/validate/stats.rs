//! Figures of samples, and errors of predictions.

use serde::Serialize;

/// Mean and percentiles of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Observations.
    pub count: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl Stats {
    /// Those of `values`; `None` of an empty sample. Percentiles are interpolated linearly between order statistics, as numpy does
    /// by default and with it `vllm bench serve`.
    pub fn of(values: &[f64]) -> Option<Stats> {
        let mean = mean(values)?;
        let sorted = sorted(values);
        let at = |q| quantile(&sorted, q);
        Some(Stats { count: values.len(), mean, p50: at(0.5), p90: at(0.9), p99: at(0.99) })
    }
}

/// Arithmetic mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Median; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| quantile(&sorted(values), 0.5))
}

/// The values in ascending order.
fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The `q` quantile, 0 to 1, of an ascending, non-empty sample.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = q * (sorted.len() - 1) as f64;
    let below = rank.floor();
    let (low, high) = (sorted[below as usize], sorted[(below as usize + 1).min(sorted.len() - 1)]);
    low + (high - low) * (rank - below)
}

/// Signed error of a prediction in percent of what was measured; `None` where nothing above zero was measured.
pub fn error_percent(predicted: f64, measured: f64) -> Option<f64> {
    (measured > 0.0).then(|| (predicted / measured - 1.0) * 100.0)
}

/// Summary of signed errors, one per measurement [%].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ErrorSummary {
    /// Measurements.
    pub count: usize,
    /// Mean of the absolute errors (MAPE) [%].
    pub mean_absolute: f64,
    /// Median of the absolute errors [%].
    pub median_absolute: f64,
    /// Median of the signed errors: the bias [%].
    pub median_signed: f64,
}

impl ErrorSummary {
    /// Of signed errors; `None` of none.
    pub fn of(errors: &[f64]) -> Option<ErrorSummary> {
        let absolute: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
        Some(ErrorSummary {
            count: errors.len(),
            mean_absolute: mean(&absolute)?,
            median_absolute: median(&absolute)?,
            median_signed: median(errors)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.percentile([4, 1, 3, 2, 10], [50, 90, 99])` is 3, 7.6, 9.76.
    #[test]
    fn percentiles_are_those_of_numpy() {
        let stats = Stats::of(&[4.0, 1.0, 3.0, 2.0, 10.0]).unwrap();
        assert_eq!((stats.count, stats.mean, stats.p50), (5, 4.0, 3.0));
        assert!((stats.p90 - 7.6).abs() < 1e-12 && (stats.p99 - 9.76).abs() < 1e-12, "{stats:?}");
        assert_eq!(Stats::of(&[7.0]).map(|s| (s.p50, s.p99)), Some((7.0, 7.0)));
        assert_eq!(Stats::of(&[]), None);
    }

    #[test]
    fn errors_are_relative_to_what_was_measured() {
        assert_eq!(error_percent(90.0, 120.0), Some(-25.0));
        assert_eq!(error_percent(1.0, 0.0), None);
        let summary = ErrorSummary::of(&[-10.0, 30.0, 20.0]).unwrap();
        assert_eq!((summary.count, summary.mean_absolute, summary.median_absolute, summary.median_signed), (3, 20.0, 20.0, 20.0));
        assert_eq!(ErrorSummary::of(&[-10.0, -30.0]).map(|s| s.median_signed), Some(-20.0));
    }
}
