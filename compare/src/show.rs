//! Values for people, by their unit.

use tokentide_models::show;

use crate::assertion::Against;
use crate::metric::Unit;
use crate::report::{CheckReport, Row};

/// What stands where there is no steady value.
pub const UNSTEADY: &str = "unstable";

/// A value in its unit: `812 ms`, `9,512`, `62 %`, `$4,380`.
pub fn value(unit: Unit, value: f64) -> String {
    match unit {
        _ if value.is_infinite() => "none suffices".to_owned(),
        Unit::Milliseconds => show::time(value),
        Unit::Tokens if value.abs() < 99_999.5 => show::exact_rounded(value),
        Unit::Tokens => show::count(value),
        Unit::Count => show::count(value),
        Unit::Share => show::percent(value),
        Unit::TokensPerSecond => format!("{} tok/s", show::rate(value)),
        Unit::RequestsPerSecond => format!("{} req/s", show::rate(value)),
        Unit::Usd => show::usd(value),
    }
}

/// A difference with its sign; of shares in points.
pub fn difference(unit: Unit, difference: f64) -> String {
    let sign = if difference < 0.0 { "-" } else { "+" };
    match unit {
        Unit::Share => format!("{sign}{} pp", show::digits((difference * 100.0).abs())),
        _ => format!("{sign}{}", value(unit, difference.abs())),
    }
}

/// A relative change: `+73 %`, from twice on `3.0x`.
pub fn change(change: f64) -> String {
    match change {
        c if c >= 1.0 => format!("{}x", show::digits(1.0 + c)),
        c => format!("{}{}", if c < 0.0 { "" } else { "+" }, show::percent(c)),
    }
}

/// How a row changed: relatively, or in points.
pub fn row_change(row: &Row) -> String {
    match (row.unit, row.difference, row.change) {
        (Unit::Share, Some(points), _) => difference(Unit::Share, points),
        (Unit::Count, Some(by), _) if by.abs() < 100.0 => difference(Unit::Count, by),
        (_, _, Some(share)) => change(share),
        (unit, Some(by), None) => difference(unit, by),
        _ => show::NONE.to_owned(),
    }
}

/// A side's value of a figure that exists: one that is absent is not steady.
pub fn side(unit: Unit, of: Option<f64>, overloaded: bool) -> String {
    match of {
        Some(of) => value(unit, of),
        None if overloaded && unit == Unit::Milliseconds => UNSTEADY.to_owned(),
        None => show::NONE.to_owned(),
    }
}

/// A limit as it is held against: `<= 800 ms`, `<= +10 %`.
pub fn limit(check: &CheckReport) -> String {
    let limit = match check.against {
        Against::Value => value(check.unit, check.limit),
        Against::Difference => difference(check.unit, check.limit),
        Against::Change => format!("{}{}", if check.limit < 0.0 { "" } else { "+" }, show::percent(check.limit)),
    };
    format!("{} {limit}", check.op.symbol())
}

/// What is held against a limit, in the limit's terms.
pub fn held(against: Against, unit: Unit, of: f64) -> String {
    match against {
        Against::Difference | Against::Change if of == 0.0 => "no change".to_owned(),
        Against::Value => value(unit, of),
        Against::Difference => difference(unit, of),
        Against::Change => format!("{}{}", if of < 0.0 { "" } else { "+" }, show::percent(of)),
    }
}
