//! How a budget stands.
//!
//! | point estimate | confidence interval | inside the band of the model's error | verdict |
//! |---|---|---|---|
//! | within the limit | excludes the limit | stays within | pass |
//! | beyond | excludes the limit | stays beyond | fail, or warn by its level |
//! | either | straddles the limit | any | inconclusive |
//! | either | excludes the limit | flips | fragile |
//!
//! Token counts are exact: they have neither interval nor band.

use schemars::JsonSchema;
use serde::Serialize;
use tokentide_sim::scenario::file::check::Level;

use crate::assertion::{Against, Assertion};
use crate::budget::Budget;
use crate::estimate::{Estimate, compared};
use crate::metric::{Figure, Stage};
use crate::side::{Side, Speed};

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Within the limit, surely.
    Pass,
    /// There is nothing to hold it against, such as a relative limit without a base.
    Skipped,
    /// The interval straddles the limit.
    Inconclusive,
    /// It depends on how fast the server really is, within the model's error.
    Fragile,
    /// Beyond the limit, surely, and its level is `warn`.
    Warn,
    /// Beyond the limit, surely.
    Fail,
}

impl Verdict {
    /// As written.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Skipped => "skipped",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Fragile => "fragile",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// A budget, judged on one scenario.
#[derive(Clone, Debug)]
pub struct Judged {
    /// How it stands.
    pub verdict: Verdict,
    /// Base and head, means over the seeds in the metric's unit; `None` where there is no value, infinite where none is steady.
    pub sides: [Option<f64>; 2],
    /// What is held against the limit.
    pub estimate: Option<Estimate>,
    /// The same on a faster and a slower server; `None` for what does not depend on it.
    pub band: Option<[Option<f64>; 2]>,
    /// Base and head by seed; one value if it is exact.
    pub by_seed: [Vec<Option<f64>>; 2],
    /// Why, where the figures do not say it.
    pub reason: Option<String>,
}

/// Judges `budget`; `None` if this scenario has nothing that it could be measured of.
pub fn judge(budget: &Budget, base: Option<&Side<'_>>, head: &Side<'_>, confidence: f64) -> Option<Judged> {
    let (assertion, figure) = (&budget.assertion, &budget.assertion.figure);
    let index = |side: &Side<'_>| side.index(&budget.selection);
    let at = index(head)?;
    if head.tokens.selections[at].requests() == 0 {
        return None;
    }
    let values = |speed: Speed| -> [Vec<Option<f64>>; 2] {
        let of = |side: &Side<'_>| index(side).map(|i| by_seed(side, figure, i, speed)).unwrap_or_default();
        [base.map(of).unwrap_or_default(), of(head)]
    };
    let by_seed = values(Speed::Nominal);
    let sides = [mean(&by_seed[0]), mean(&by_seed[1])];
    sides[1]?;
    let nothing = Judged { verdict: Verdict::Skipped, sides, estimate: None, band: None, by_seed: by_seed.clone(), reason: None };
    if assertion.is_relative() && sides[0].is_none() {
        let reason = if base.is_some() { "the base has no such requests" } else { "there is no base to compare with" };
        return Some(Judged { reason: Some(reason.to_owned()), ..nothing });
    }
    let Some(nominal) = estimate(assertion, base, head, &by_seed, Speed::Nominal, confidence) else {
        let reason = "no steady state on either side: the difference of two queues that grow says nothing".to_owned();
        return Some(Judged { verdict: Verdict::Inconclusive, reason: Some(reason), ..nothing });
    };
    let band = (figure.stage() != Stage::Tokens)
        .then(|| [Speed::Faster, Speed::Slower].map(|speed| estimate(assertion, base, head, &values(speed), speed, confidence)));
    let (verdict, reason) = verdict(budget, &nominal, band.as_ref());
    let band = band.map(|ends| ends.map(|end| end.map(|e| e.value)));
    Some(Judged { verdict, estimate: Some(nominal), band, reason, ..nothing })
}

/// What is held against the limit, at a speed.
fn estimate(
    assertion: &Assertion,
    base: Option<&Side<'_>>,
    head: &Side<'_>,
    values: &[Vec<Option<f64>>; 2],
    speed: Speed,
    confidence: f64,
) -> Option<Estimate> {
    let figure = &assertion.figure;
    match figure.stage() {
        Stage::Sized => {
            let (value, low) = head.sized_value(figure, speed)?;
            if assertion.against == Against::Value {
                return Some(Estimate { value, low, high: value });
            }
            let (base, base_low) = base?.sized_value(figure, speed)?;
            let of = |base: f64, head: f64| Some(compared(assertion.against, Some(base), Some(head))).filter(|v| !v.is_nan());
            Some(Estimate { value: of(base, value)?, low: of(base, low)?, high: of(base_low, value)? })
        }
        Stage::Tokens => {
            let value = compared(assertion.against, values[0].first().copied().flatten(), values[1].first().copied().flatten());
            (!value.is_nan()).then(|| Estimate::exact(value))
        }
        _ => Estimate::paired(assertion.against, &values[0], &values[1], confidence),
    }
}

/// The table above.
fn verdict(budget: &Budget, nominal: &Estimate, band: Option<&[Option<Estimate>; 2]>) -> (Verdict, Option<String>) {
    let (op, limit) = (budget.assertion.op, budget.assertion.limit);
    let within = op.holds(nominal.value, limit);
    let decided = op.holds(nominal.low, limit) == within && op.holds(nominal.high, limit) == within;
    if !decided {
        let reason = match nominal.value.is_infinite() {
            true => Some("some of the runs had more work than could be done, others had not".to_owned()),
            false => None,
        };
        return (Verdict::Inconclusive, reason);
    }
    let flips = |end: &Option<Estimate>| end.is_none_or(|e| op.holds(e.value, limit) != within);
    if band.is_some_and(|ends| ends.iter().any(flips)) {
        return (Verdict::Fragile, None);
    }
    match (within, budget.level) {
        (true, _) => (Verdict::Pass, None),
        (false, Level::Warn) => (Verdict::Warn, None),
        (false, _) => (Verdict::Fail, None),
    }
}

/// Values by seed, those of replicas as one.
fn by_seed(side: &Side<'_>, figure: &Figure, selection: usize, speed: Speed) -> Vec<Option<f64>> {
    match figure.stage() {
        Stage::Sized => side.sized_value(figure, speed).map(|(value, _)| Some(value)).into_iter().collect(),
        _ => side.values(figure, selection, speed),
    }
}

/// Mean of the values; infinite if any is, `None` if any is missing or there is none.
pub fn mean(values: &[Option<f64>]) -> Option<f64> {
    let all: Option<Vec<f64>> = values.iter().copied().collect();
    all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    fn budget(assert: &str, level: &str) -> Budget {
        let text = format!("[[check]]\nassert = \"{assert}\"\nlevel = \"{level}\"\n");
        let mut budgets = Project::parse(&text, "t.toml").unwrap_or_else(|e| panic!("{e}")).budgets;
        budgets.pop().expect("a budget")
    }

    /// The table at the head of this file, row by row.
    #[test]
    fn verdicts_are_those_of_the_table() {
        let (error, warn) = (budget("ttft.p95 <= 800ms", "error"), budget("ttft.p95 <= 800ms", "warn"));
        let estimate = |value: f64, half: f64| Estimate { value, low: value - half, high: value + half };
        let band = |faster: f64, slower: f64| [Some(estimate(faster, 1.0)), Some(estimate(slower, 1.0))];
        let never = || [Some(Estimate::exact(f64::INFINITY)); 2];
        for (budget, value, half, ends, expected) in [
            (&error, 700.0, 50.0, band(600.0, 790.0), Verdict::Pass),
            (&error, 900.0, 50.0, band(820.0, 1000.0), Verdict::Fail),
            (&warn, 900.0, 50.0, band(820.0, 1000.0), Verdict::Warn),
            (&error, 790.0, 50.0, band(600.0, 900.0), Verdict::Inconclusive),
            (&error, 810.0, 50.0, band(700.0, 900.0), Verdict::Inconclusive),
            (&error, 700.0, 50.0, band(600.0, 850.0), Verdict::Fragile),
            (&warn, 900.0, 50.0, band(700.0, 1000.0), Verdict::Fragile),
            (&error, 900.0, 50.0, [Some(estimate(850.0, 1.0)), None], Verdict::Fragile),
            (&error, f64::INFINITY, 0.0, never(), Verdict::Fail),
        ] {
            let nominal = if value.is_infinite() { Estimate::exact(value) } else { estimate(value, half) };
            assert_eq!(verdict(budget, &nominal, Some(&ends)).0, expected, "{value} +- {half}, {ends:?}");
        }
        // Counted values have neither interval nor band, and the limit itself is within.
        let tokens = budget("input_tokens.p95 <= 800", "error");
        assert_eq!(verdict(&tokens, &Estimate::exact(800.0), None).0, Verdict::Pass);
        assert_eq!(verdict(&tokens, &Estimate::exact(801.0), None).0, Verdict::Fail);
        let mixed = Estimate { value: f64::INFINITY, low: f64::NEG_INFINITY, high: f64::INFINITY };
        let (found, reason) = verdict(&error, &mixed, Some(&never()));
        assert!(found == Verdict::Inconclusive && reason.is_some_and(|r| r.contains("more work than could be done")));
    }
}
