//! Distributions: exactly one form, every number possible.

use std::ops::Range;

use super::Context;
use crate::scenario::Distribution;
use crate::scenario::at::At;
use crate::scenario::file::distribution::{DistributionFile, DistributionTable, Quantity};

/// Resolves a value or distribution of draws of at least `floor`. What is wrong is noted; the result is then of no use.
pub(super) fn distribution<Q: Quantity>(
    key: &str,
    file: &At<DistributionFile<Q>>,
    floor: f64,
    context: &mut Context<'_>,
) -> Distribution {
    let span = file.span();
    match file.get() {
        DistributionFile::Fixed(value) => fixed(key, *value, span, floor, context),
        DistributionFile::Table(table) => distribution_table(key, table, span, floor, context),
    }
}

/// Resolves a plain value at `span`.
pub(super) fn fixed<Q: Quantity>(key: &str, value: Q, span: Range<usize>, floor: f64, context: &mut Context<'_>) -> Distribution {
    Distribution::Fixed(Checker { key, floor, context }.value(value, &span))
}

/// Resolves a distribution's table at `span`.
pub(super) fn distribution_table<Q: Quantity>(
    key: &str,
    table: &DistributionTable<Q>,
    span: Range<usize>,
    floor: f64,
    context: &mut Context<'_>,
) -> Distribution {
    let forms: Vec<&str> = [
        ("fixed", table.fixed.is_some()),
        ("uniform", table.uniform.is_some()),
        ("median", table.median.is_some() || table.p95.is_some()),
        ("mean", table.mean.is_some()),
        ("quantiles", table.quantiles.is_some()),
        ("pmf", table.pmf.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect();
    let mut checker = Checker { key, floor, context };
    match forms.as_slice() {
        [form] => {
            if *form != "median" {
                for (name, bound) in [("min", &table.min), ("max", &table.max)] {
                    if let Some(bound) = bound {
                        checker.note(bound.span(), format!("`{name}` goes with `median` and `p95` only"));
                    }
                }
            }
            checker.form(form, table, span)
        }
        [] => {
            let message =
                format!("`{key}` has no distribution: expected one of fixed, uniform, median with p95, mean, quantiles or pmf");
            let unreadable = &checker.context.problems.unreadable;
            let forms = ["fixed", "uniform", "median", "p95", "mean", "quantiles", "pmf"];
            if !unreadable.iter().any(|k| forms.contains(&k.as_str())) {
                checker.note(span, message);
            }
            Distribution::Fixed(floor)
        }
        several => {
            checker.note(span, format!("`{key}` has more than one distribution: {}", several.join(" and ")));
            Distribution::Fixed(floor)
        }
    }
}

/// Checks the numbers of one distribution.
struct Checker<'a, 'b> {
    key: &'a str,
    floor: f64,
    context: &'a mut Context<'b>,
}

impl Checker<'_, '_> {
    fn note(&mut self, span: Range<usize>, message: String) {
        self.context.problems.at(span, message);
    }

    /// A value that can be drawn.
    fn value<Q: Quantity>(&mut self, quantity: Q, span: &Range<usize>) -> f64 {
        let value = quantity.value();
        if !(value >= self.floor && value <= Q::MAX) {
            let what = if self.floor > 0.0 { "between 1" } else { "between 0" };
            self.note(span.clone(), format!("`{}` must be {what} and {}, not {value}", self.key, Q::MAX));
        }
        value
    }

    /// The only form given.
    fn form<Q: Quantity>(&mut self, form: &str, table: &DistributionTable<Q>, span: Range<usize>) -> Distribution {
        match form {
            "fixed" => {
                table.fixed.as_ref().map_or(Distribution::Fixed(self.floor), |v| Distribution::Fixed(self.value(**v, &v.span())))
            }
            "uniform" => table.uniform.as_ref().map_or(Distribution::Fixed(self.floor), |v| self.uniform(v)),
            "mean" => table.mean.as_ref().map_or(Distribution::Fixed(self.floor), |v| self.exponential(v)),
            "quantiles" => table.quantiles.as_ref().map_or(Distribution::Fixed(self.floor), |v| self.quantiles(v)),
            "pmf" => table.pmf.as_ref().map_or(Distribution::Fixed(self.floor), |v| self.pmf(v)),
            _ => self.log_normal(table, span),
        }
    }

    fn uniform<Q: Quantity>(&mut self, given: &At<(Q, Q)>) -> Distribution {
        let span = given.span();
        let (min, max) = (self.value(given.0, &span), self.value(given.1, &span));
        if min > max {
            self.note(span, format!("`uniform` of `{}` must be [lowest, highest], not [{min}, {max}]", self.key));
        }
        Distribution::Uniform { min, max }
    }

    fn exponential<Q: Quantity>(&mut self, mean: &At<Q>) -> Distribution {
        let value = self.value(**mean, &mean.span());
        if value == 0.0 {
            self.note(mean.span(), format!("`mean` of `{}` must be above 0", self.key));
        }
        Distribution::Exponential { mean: value }
    }

    fn log_normal<Q: Quantity>(&mut self, table: &DistributionTable<Q>, span: Range<usize>) -> Distribution {
        let (median, p95) = match (&table.median, &table.p95) {
            (Some(median), Some(p95)) => (median, p95),
            (given, _) => {
                let (there, missing) = if given.is_some() { ("median", "p95") } else { ("p95", "median") };
                let message = format!("`{}` has `{there}` without `{missing}`", self.key);
                self.context.problems.missing(Some(span), missing, message, None);
                return Distribution::Fixed(self.floor);
            }
        };
        let middle = self.value(**median, &median.span());
        let high = self.value(**p95, &p95.span());
        if middle == 0.0 {
            self.note(median.span(), format!("`median` of `{}` must be above 0", self.key));
        } else if high < middle {
            self.note(p95.span(), format!("`p95` of `{}` must be at least its median, {middle}, not {high}", self.key));
        }
        let min = table.min.as_ref().map_or(self.floor, |min| self.value(**min, &min.span()));
        let max = table.max.as_ref().map_or(Q::MAX, |max| self.value(**max, &max.span()));
        for (bound, wrong, side) in [(&table.min, min > middle, "most"), (&table.max, max < middle, "least")] {
            if let (Some(bound), true) = (bound, wrong) {
                let name = if side == "most" { "min" } else { "max" };
                self.note(bound.span(), format!("`{name}` of `{}` must be at {side} the median, {middle}", self.key));
            }
        }
        Distribution::LogNormal { median: middle, p95: high, min, max }
    }

    fn quantiles<Q: Quantity>(&mut self, given: &At<Vec<(f64, Q)>>) -> Distribution {
        let span = given.span();
        let points: Vec<(f64, f64)> = given.iter().map(|(p, v)| (*p, self.value(*v, &span))).collect();
        let ends = points.len() >= 2 && points[0].0 == 0.0 && points[points.len() - 1].0 == 1.0;
        // Written so that NaN is wrong as well.
        let ascending = points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        if !ends {
            self.note(span, format!("`quantiles` of `{}` must begin at probability 0 and end at 1", self.key));
        } else if !ascending {
            self.note(span, format!("`quantiles` of `{}` must ascend in probability, and not descend in value", self.key));
        }
        Distribution::Quantiles(points)
    }

    fn pmf<Q: Quantity>(&mut self, given: &At<Vec<(Q, f64)>>) -> Distribution {
        let span = given.span();
        let values: Vec<(f64, f64)> = given.iter().map(|(v, w)| (self.value(*v, &span), *w)).collect();
        let total: f64 = values.iter().map(|(_, w)| w).sum();
        if values.iter().any(|(_, w)| !(w.is_finite() && *w >= 0.0)) {
            self.note(span, format!("the weights of `{}` must be 0 or more", self.key));
        } else if !(total > 0.0 && total.is_finite()) {
            self.note(span, format!("the weights of `{}` must sum to more than 0", self.key));
        }
        Distribution::Pmf(values)
    }
}
