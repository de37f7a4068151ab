//! A number, or a distribution of one.

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::union::{Either, scalar_or_table};
use crate::scenario::at::At;
use crate::scenario::duration::{TIME_MAX_S, TimeSpan};

/// What a distribution is of: tokens (or turns), or time.
pub(crate) trait Quantity: Copy {
    /// Largest value: of tokens 2^24, so that sums of some hundred draws stay within 32 bits.
    const MAX: f64;

    /// In tokens or seconds.
    fn value(self) -> f64;
}

impl Quantity for f64 {
    const MAX: f64 = 16_777_216.0;

    fn value(self) -> f64 {
        self
    }
}

impl Quantity for TimeSpan {
    const MAX: f64 = TIME_MAX_S;

    fn value(self) -> f64 {
        self.seconds()
    }
}

/// A fixed value, or a distribution.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum DistributionFile<Q> {
    /// Always this.
    Fixed(Q),
    /// A distribution.
    Table(DistributionTable<Q>),
}

impl<'de, Q: Deserialize<'de>> Deserialize<'de> for DistributionFile<Q> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match scalar_or_table(deserializer, "a value, or a distribution such as { median = ..., p95 = ... }")? {
            Either::Scalar(value) => DistributionFile::Fixed(value),
            Either::Table(table) => DistributionFile::Table(table),
        })
    }
}

/// A distribution, by exactly one of: `fixed`; `uniform`; `median` with `p95` (log-normal); `mean` (exponential); `quantiles`;
/// `pmf`.
#[derive(Clone, Debug, PartialEq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DistributionTable<Q> {
    /// Always this.
    pub fixed: Option<At<Q>>,
    /// Uniform between two values, both included.
    pub uniform: Option<At<(Q, Q)>>,
    /// Log-normal: its median, together with `p95`.
    pub median: Option<At<Q>>,
    /// Log-normal: its 95th percentile, at least the median.
    pub p95: Option<At<Q>>,
    /// Log-normal: draws below are raised to this.
    pub min: Option<At<Q>>,
    /// Log-normal: draws above are lowered to this.
    pub max: Option<At<Q>>,
    /// Exponential of this mean.
    pub mean: Option<At<Q>>,
    /// Inverse distribution function: [[probability, value], ...], ascending, the first probability 0, the last 1.
    pub quantiles: Option<At<Vec<(f64, Q)>>>,
    /// Values with weights: [[value, weight], ...].
    pub pmf: Option<At<Vec<(Q, f64)>>>,
}

impl<Q> Default for DistributionTable<Q> {
    fn default() -> Self {
        DistributionTable {
            fixed: None,
            uniform: None,
            median: None,
            p95: None,
            min: None,
            max: None,
            mean: None,
            quantiles: None,
            pmf: None,
        }
    }
}
