//! `arrivals = { process = "gamma", rate = 6.0, cv = 1.5 }`

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::distribution::DistributionFile;
use super::union::{Either, scalar_or_table};
use crate::scenario::at::At;
use crate::scenario::duration::TimeSpan;

/// When requests come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArrivalsFile {
    /// How gaps between requests vary; "poisson" by default.
    pub process: Option<At<Process>>,
    /// Requests per second [1/s]: a number, or a curve over time such as { base = 6.0, amplitude = 0.5, period = "24h" }.
    pub rate: Option<At<RateFile>>,
    /// Coefficient of variation of the gaps, for "gamma" and "weibull": standard deviation over mean; 1 is Poisson.
    pub cv: Option<At<f64>>,
    /// Clients, for "closed".
    #[schemars(range(min = 1))]
    pub concurrency: Option<At<u32>>,
    /// From an answer to the client's next request, for "closed"; "0s" by default.
    pub think: Option<At<DistributionFile<TimeSpan>>>,
}

/// How gaps between requests vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// Exponential gaps: many independent users.
    Poisson,
    /// Equal gaps.
    Constant,
    /// Gamma gaps with `cv`: bursty above 1.
    Gamma,
    /// Weibull gaps with `cv`: bursty above 1, with a heavier tail.
    Weibull,
    /// Each of `concurrency` clients sends its next request `think` after its last answer.
    Closed,
}

/// A rate: a number, or a curve over time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum RateFile {
    /// The same all the time [1/s].
    Constant(f64),
    /// A curve.
    Table(Box<RateTable>),
}

impl<'de> Deserialize<'de> for RateFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(
            match scalar_or_table(
                deserializer,
                "requests per second, or a curve such as { base = 6.0, amplitude = 0.5, period = \"24h\" }",
            )? {
                Either::Scalar(value) => RateFile::Constant(value),
                Either::Table(table) => RateFile::Table(Box::new(table)),
            },
        )
    }
}

/// A rate over time, one of: a day (`base`, `amplitude`, `period`, `phase`), points (`points`, `period`), bursts (`base`, `peak`,
/// `every`, `length`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateTable {
    /// Mean rate of a day, or rate between bursts [1/s].
    #[schemars(range(min = 0))]
    pub base: Option<At<f64>>,
    /// Day: the rate swings by this share of `base`, 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub amplitude: Option<At<f64>>,
    /// Day: length of the cycle, "24h" by default. Points: the curve repeats after this long.
    pub period: Option<At<TimeSpan>>,
    /// Day: where in the cycle the run starts, 0 to 1; 0 (default) is the mean on its way up, 0.25 the peak.
    #[schemars(range(min = 0, max = 1))]
    pub phase: Option<At<f64>>,
    /// Points: [[time, rate], ...] such as [["0s", 2.0], ["10m", 8.0]], linear between them and constant after the last.
    pub points: Option<At<Vec<(TimeSpan, f64)>>>,
    /// Bursts: rate within a burst [1/s].
    #[schemars(range(min = 0))]
    pub peak: Option<At<f64>>,
    /// Bursts: from the start of one to the start of the next; the first starts at this time.
    pub every: Option<At<TimeSpan>>,
    /// Bursts: length of one.
    pub length: Option<At<TimeSpan>>,
}
