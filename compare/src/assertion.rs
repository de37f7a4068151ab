//! Assertions: `ttft.p95 <= 800ms`, `input_tokens.p95 <= +10%`.
//!
//! `metric[.statistic] op limit`. The limit is a number with a unit; a sign makes it relative to the base: `+10%` is a relative
//! change, `+50ms`, `+1` and `+1pp` (points of a share) are differences.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;
use tokentide_sim::scenario::did_you_mean;
use winnow::ascii::multispace0;
use winnow::combinator::{opt, preceded};
use winnow::prelude::*;
use winnow::token::{one_of, take_while};

use crate::metric::{ALL, Definition, Figure, Metric, Stat, Unit};

/// How value and limit are to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Op {
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// Below.
    #[serde(rename = "<")]
    Below,
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// Above.
    #[serde(rename = ">")]
    Above,
}

impl Op {
    /// Whether `value` is within `limit`. Values are computed: what differs by rounding alone is equal.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        let slack = 1e-9 * limit.abs().max(1e-3);
        match self {
            Op::AtMost => value <= limit + slack,
            Op::Below => value < limit - slack,
            Op::AtLeast => value >= limit - slack,
            Op::Above => value > limit + slack,
        }
    }

    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            Op::AtMost => "<=",
            Op::Below => "<",
            Op::AtLeast => ">=",
            Op::Above => ">",
        }
    }
}

/// What a limit is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The head's value, in the metric's unit.
    Value,
    /// Head less base, in the metric's unit.
    Difference,
    /// Head over base, less 1.
    Change,
}

/// An assertion, understood.
#[derive(Clone, Copy, Debug)]
pub struct Assertion {
    /// What is measured.
    pub figure: Figure,
    /// How it is to stand to the limit.
    pub op: Op,
    /// What the limit is of.
    pub against: Against,
    /// The limit, in the metric's unit [ms for times] or as a share.
    pub limit: f64,
}

/// Why a text is no assertion.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct AssertionError {
    /// What is wrong.
    pub message: String,
    /// Where in the text [bytes].
    pub span: Range<usize>,
    /// What was probably meant.
    pub help: Option<String>,
}

/// A text cut into what it consists of.
struct Pieces<'a> {
    metric: &'a str,
    stat: Option<&'a str>,
    op: &'a str,
    limit: Written<'a>,
}

/// A limit as written.
struct Written<'a> {
    sign: Option<char>,
    dollar: bool,
    number: f64,
    unit: &'a str,
}

fn word<'a>(input: &mut &'a str) -> ModalResult<&'a str> {
    take_while(1.., |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-').parse_next(input)
}

fn limit<'a>(input: &mut &'a str) -> ModalResult<Written<'a>> {
    let sign = opt(one_of(['+', '-'])).parse_next(input)?;
    let dollar = opt('$').parse_next(input)?.is_some();
    // Digits alone: no second sign, `inf` or `nan`.
    let digits = take_while(1.., |c: char| c.is_ascii_digit() || c == '.' || c == '_');
    let number = digits.verify_map(|text: &str| text.replace('_', "").parse().ok()).parse_next(input)?;
    let unit = preceded(multispace0, take_while(0.., |c: char| !c.is_whitespace())).parse_next(input)?;
    Ok(Written { sign, dollar, number, unit })
}

fn pieces<'a>(input: &mut &'a str) -> ModalResult<Pieces<'a>> {
    let metric = preceded(multispace0, word).parse_next(input)?;
    let stat = opt(preceded('.', word)).parse_next(input)?;
    let op = preceded(multispace0, take_while(1..=2, ['<', '>', '='])).parse_next(input)?;
    let limit = preceded(multispace0, limit).parse_next(input)?;
    multispace0.parse_next(input)?;
    Ok(Pieces { metric, stat, op, limit })
}

/// Understands an assertion.
///
/// # Errors
/// What is not understood, with its place.
pub fn parse(text: &str) -> Result<Assertion, AssertionError> {
    let cut = pieces.parse(text).map_err(|error| AssertionError {
        message: format!("\"{text}\" is no assertion: expected metric.statistic, <=, <, >= or >, and a limit"),
        span: error.offset().min(text.len())..text.len(),
        help: Some("such as ttft.p95 <= 800ms, input_tokens.p95 <= +10% or replicas.required <= +1".to_owned()),
    })?;
    let place = |part: &str| {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        start..start + part.len()
    };
    let wrong = |part: &str, message: String, help: Option<String>| AssertionError { message, span: place(part), help };
    let of = metric(cut.metric).map_err(|(message, help)| wrong(cut.metric, message, help))?;
    let stat = stat(of, cut.stat).map_err(|(message, help)| wrong(cut.stat.unwrap_or(cut.metric), message, help))?;
    let op = match cut.op {
        "<=" => Op::AtMost,
        "<" => Op::Below,
        ">=" => Op::AtLeast,
        ">" => Op::Above,
        other => return Err(wrong(other, format!("`{other}` is no comparison"), Some("expected <=, <, >= or >".to_owned()))),
    };
    let figure = Figure { of, stat };
    let (against, limit) = meaning(&figure, &cut.limit).map_err(|(message, help)| {
        let end = text.trim_end().len();
        let start = place(cut.op).end;
        let start = start + text[start..].len() - text[start..].trim_start().len();
        AssertionError { message, span: start..end, help: Some(help) }
    })?;
    Ok(Assertion { figure, op, against, limit })
}

type Complaint = (String, Option<String>);

fn metric(name: &str) -> Result<&'static Definition, Complaint> {
    ALL.iter().find(|d| d.name == name).ok_or_else(|| {
        let help = match did_you_mean(name, ALL.iter().map(|d| d.name)) {
            Some(best) => format!("did you mean `{best}`?"),
            None => "`tokentide explain checks` lists the metrics".to_owned(),
        };
        (format!("there is no metric `{name}`"), Some(help))
    })
}

fn stat(of: &Definition, name: Option<&str>) -> Result<Stat, Complaint> {
    let known: Vec<&str> = of.stats.iter().map(|s| s.name()).collect();
    let Some(name) = name else {
        return match of.stats {
            [only] if matches!(only, Stat::Value) => Ok(*only),
            _ => Err((format!("`{}` needs a statistic", of.name), Some(format!("one of {}", known.join(", "))))),
        };
    };
    of.stats.iter().copied().find(|s| s.name() == name && !name.is_empty()).ok_or_else(|| {
        let help = if known == [""] { format!("write `{}` alone", of.name) } else { format!("it has {}", known.join(", ")) };
        (format!("`{}` has no statistic `{name}`", of.name), Some(help))
    })
}

/// What the limit is of, and its value in the metric's unit.
fn meaning(figure: &Figure, written: &Written<'_>) -> Result<(Against, f64), (String, String)> {
    let (unit, name) = (figure.of.unit, figure.name());
    let signed = written.sign.map(|sign| if sign == '-' { -written.number } else { written.number });
    let number = signed.unwrap_or(written.number);
    match (signed, written.unit) {
        (Some(_), "%") if !written.dollar => return Ok((Against::Change, number / 100.0)),
        (Some(_), "pp") if unit == Unit::Share => return Ok((Against::Difference, number / 100.0)),
        (_, "pp") => {
            return Err(("points are a difference of shares".to_owned(), "such as near_context_limit.frac <= +1pp".to_owned()));
        }
        _ => {}
    }
    let against = if signed.is_some() { Against::Difference } else { Against::Value };
    scale(unit, written).map(|scale| (against, number * scale)).ok_or_else(|| {
        let told = format!("{}{}", if written.dollar { "$" } else { "" }, written.unit);
        let message = match told.as_str() {
            "" => format!("`{name}` needs a unit"),
            told => format!("`{told}` is no unit of `{name}`"),
        };
        (message, format!("{}, or relative to the base: {}", examples(unit), relative_examples(unit)))
    })
}

/// The metric's unit per written one.
fn scale(unit: Unit, written: &Written<'_>) -> Option<f64> {
    if written.dollar {
        return (unit == Unit::Usd).then(|| thousands(written.unit)).flatten();
    }
    match (unit, written.unit) {
        (Unit::Milliseconds, "us") => Some(1e-3),
        (Unit::Milliseconds, "ms") => Some(1.0),
        (Unit::Milliseconds, "s") => Some(1e3),
        (Unit::Milliseconds, "min") => Some(60e3),
        (Unit::Share, "%") if written.sign.is_none() => Some(0.01),
        (Unit::Tokens, "tok" | "tokens") => Some(1.0),
        (Unit::Tokens, text) => thousands(text.strip_suffix("tok").unwrap_or(text)),
        (Unit::Count, "GPU" | "GPUs" | "replicas" | "requests") => Some(1.0),
        (Unit::Count, text) => thousands(text),
        (Unit::TokensPerSecond, text) => thousands(text.strip_suffix("tok/s")?),
        (Unit::RequestsPerSecond, "req/s" | "/s" | "rps") => Some(1.0),
        (Unit::Usd, "$" | "USD") => Some(1.0),
        _ => None,
    }
}

fn thousands(suffix: &str) -> Option<f64> {
    match suffix {
        "" => Some(1.0),
        "k" | "K" => Some(1e3),
        "M" => Some(1e6),
        _ => None,
    }
}

fn examples(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "800ms or 2s",
        Unit::Tokens => "6000 or 6k",
        Unit::Count => "4",
        Unit::Share => "90%",
        Unit::TokensPerSecond => "5000tok/s",
        Unit::RequestsPerSecond => "12req/s",
        Unit::Usd => "$5000",
    }
}

fn relative_examples(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "+10% or +50ms",
        Unit::Tokens => "+10% or +500",
        Unit::Count => "+10% or +1",
        Unit::Share => "+10% or, in points, +1pp",
        Unit::TokensPerSecond => "-10%",
        Unit::RequestsPerSecond => "-10%",
        Unit::Usd => "+10% or +$500",
    }
}

impl Assertion {
    /// Whether it is about how the head stands to the base.
    pub fn is_relative(&self) -> bool {
        self.against != Against::Value
    }

    /// Whether higher values are the ones that it forbids.
    pub fn caps(&self) -> bool {
        matches!(self.op, Op::AtMost | Op::Below)
    }

    /// Whether it is about money or replicas, which take a search.
    pub fn is_sized(&self) -> bool {
        matches!(self.figure.of.metric, Metric::Replicas | Metric::Gpus) || self.figure.stat == Stat::Month
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> (String, Op, Against, f64) {
        let a = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        (a.figure.name(), a.op, a.against, a.limit)
    }

    #[test]
    fn assertions_are_understood() {
        for (text, name, op, against, limit) in [
            ("ttft.p95 <= 800ms", "ttft.p95", Op::AtMost, Against::Value, 800.0),
            ("e2e.p99<2s", "e2e.p99", Op::Below, Against::Value, 2000.0),
            ("ttft.p95 <= +50ms", "ttft.p95", Op::AtMost, Against::Difference, 50.0),
            ("input_tokens.p95 <= +10%", "input_tokens.p95", Op::AtMost, Against::Change, 0.1),
            ("input_tokens.p95 <= -5%", "input_tokens.p95", Op::AtMost, Against::Change, -0.05),
            ("retrieved_tokens.p99 <= 6_000", "retrieved_tokens.p99", Op::AtMost, Against::Value, 6000.0),
            ("total_tokens.sum < 1.5Mtok", "total_tokens.sum", Op::Below, Against::Value, 1.5e6),
            ("near_context_limit.frac <= 1%", "near_context_limit.frac", Op::AtMost, Against::Value, 0.01),
            ("near_context_limit.frac <= +1%", "near_context_limit.frac", Op::AtMost, Against::Change, 0.01),
            ("near_context_limit.frac <= +1pp", "near_context_limit.frac", Op::AtMost, Against::Difference, 0.01),
            ("replicas.required <= +1", "replicas.required", Op::AtMost, Against::Difference, 1.0),
            ("gpus.required <= 8 GPU", "gpus.required", Op::AtMost, Against::Value, 8.0),
            ("cost.month <= $5k", "cost.month", Op::AtMost, Against::Value, 5000.0),
            ("cost.month <= +$500", "cost.month", Op::AtMost, Against::Difference, 500.0),
            ("headroom >= 20%", "headroom", Op::AtLeast, Against::Value, 0.2),
            ("output_tokens_per_s > 5ktok/s", "output_tokens_per_s", Op::Above, Against::Value, 5000.0),
            ("goodput >= 12 req/s", "goodput", Op::AtLeast, Against::Value, 12.0),
        ] {
            let found = ok(text);
            assert_eq!((found.0.as_str(), found.1, found.2), (name, op, against), "{text}");
            assert!((found.3 - limit).abs() < 1e-9, "{text}: {}", found.3);
        }
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        for (text, place, message, help) in [
            ("tftt.p95 <= 1s", "tftt", "there is no metric `tftt`", "did you mean `ttft`?"),
            ("banana <= 1s", "banana", "there is no metric `banana`", "`tokentide explain checks` lists the metrics"),
            ("ttft <= 1s", "ttft", "`ttft` needs a statistic", "one of p50, p90, p95, p99, mean, max"),
            ("ttft.p96 <= 1s", "p96", "`ttft` has no statistic `p96`", "it has p50, p90, p95, p99, mean, max"),
            ("load.p95 <= 90%", "p95", "`load` has no statistic `p95`", "write `load` alone"),
            ("ttft.p95 == 1s", "==", "`==` is no comparison", "expected <=, <, >= or >"),
            ("ttft.p95 <= 800", "800", "`ttft.p95` needs a unit", "800ms or 2s, or relative to the base: +10% or +50ms"),
            ("ttft.p95 <= 5GiB", "5GiB", "`GiB` is no unit of `ttft.p95`", "800ms or 2s, or relative to the base: +10% or +50ms"),
            ("ttft.p95 <= 10%", "10%", "`%` is no unit of `ttft.p95`", "800ms or 2s, or relative to the base: +10% or +50ms"),
            ("cost.month <= 5000ms", "5000ms", "`ms` is no unit of `cost.month`", "$5000, or relative to the base: +10% or +$500"),
            ("ttft.p95 <= +1pp", "+1pp", "points are a difference of shares", "such as near_context_limit.frac <= +1pp"),
            ("slo.frac >= 0.95", "0.95", "`slo.frac` needs a unit", "90%, or relative to the base: +10% or, in points, +1pp"),
        ] {
            let error = parse(text).map(|_| ()).expect_err(text);
            assert_eq!((&text[error.span.clone()], error.message.as_str()), (place, message), "{text}");
            assert_eq!(error.help.as_deref(), Some(help), "{text}");
        }
        for text in
            ["", "ttft.p95", "ttft.p95 <=", "ttft.p95 <= ms", "ttft.p95 <= 1s 2", "ttft.p95 <= 1..2s", "<= 1s", "ttft.p95 <= ++1s"]
        {
            let error = parse(text).map(|_| ()).expect_err(text);
            assert!(error.message.contains("is no assertion") || error.message.contains("is no unit"), "{text}: {}", error.message);
        }
    }

    #[test]
    fn equal_is_within() {
        assert!(Op::AtMost.holds(0.1 + 0.2, 0.3) && Op::AtLeast.holds(0.3, 0.1 + 0.2));
        assert!(!Op::Below.holds(0.1 + 0.2, 0.3) && Op::Below.holds(0.2999, 0.3) && !Op::AtMost.holds(0.3001, 0.3));
        assert!(!Op::AtMost.holds(f64::INFINITY, 5.0) && Op::AtLeast.holds(f64::INFINITY, 5.0));
    }

    #[test]
    fn every_metric_can_be_asserted() {
        for definition in ALL {
            for &stat in definition.stats {
                let name = Figure { of: definition, stat }.name();
                let text = format!("{name} <= {}", examples(definition.unit).split(' ').next().unwrap_or_default());
                assert_eq!(ok(&text).0, name);
                assert!(!definition.text.is_empty() && !Figure { of: definition, stat }.label().is_empty());
            }
        }
    }
}
