//! Times as typed: `"800ms"`, `"1h30m"`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};
use tokentide_models::units::{Duration, PS_PER_S, Time};

/// Longest time that can be typed [s]: 100 days, well within the 213 days of the clock.
pub const TIME_MAX_S: f64 = 8_640_000.0;

/// Units and their length [s], in the order in which a time may name them.
const UNITS: [(&str, f64); 7] =
    [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)];

/// A span of time as typed: numbers with units, such as `"800ms"`, `"2.5s"` or `"1h30m"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

impl TimeSpan {
    /// Seconds.
    pub fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// The same span after the start of a run.
    pub fn time(self) -> Time {
        Time(self.0.0)
    }
}

/// Parses a time. Units are `d h m s ms us ns`, each at most once, the longest first.
///
/// # Errors
/// Says what is wrong with the text: no unit, an unknown unit, a negative or too long time.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("a time is missing: write a number with a unit, such as \"800ms\"".to_owned());
    }
    if rest.starts_with('-') {
        return Err(format!("a time cannot be negative: \"{text}\""));
    }
    let (mut seconds, mut first_unit) = (0.0, 0);
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let tail = tail.trim_start();
        let unit_end = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        if number.is_empty() {
            return Err(format!("\"{text}\" is not a time: expected a number before \"{tail}\""));
        }
        let value: f64 = number.replace('_', "").parse().map_err(|_| format!("\"{number}\" is not a number"))?;
        if unit.is_empty() {
            return Err(format!("\"{text}\" has no unit: write \"{text}s\" or \"{text}ms\""));
        }
        let unit = if unit == "µs" || unit == "μs" { "us" } else { unit };
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("\"{unit}\" is not a unit of time: expected d, h, m, s, ms, us or ns"));
        };
        if index < first_unit {
            return Err(format!("\"{text}\" names its units out of order: the longest comes first, each once"));
        }
        first_unit = index + 1;
        seconds += value * UNITS[index].1;
        rest = next.trim_start();
    }
    if seconds > TIME_MAX_S {
        return Err(format!("\"{text}\" is longer than 100 days"));
    }
    Ok(Duration((seconds * PS_PER_S as f64).round() as u64))
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TimeSpan, D::Error> {
        struct TimeVisitor;

        impl Visitor<'_> for TimeVisitor {
            type Value = TimeSpan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with a unit, such as \"800ms\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TimeSpan, E> {
                parse_duration(text).map(TimeSpan).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<TimeSpan, E> {
                Err(no_unit(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<TimeSpan, E> {
                Err(no_unit(value))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<TimeSpan, E> {
                Err(no_unit(value))
            }
        }

        deserializer.deserialize_any(TimeVisitor)
    }
}

/// What is wrong with a bare number where a time belongs.
fn no_unit<E: Error>(value: impl fmt::Display) -> E {
    E::custom(format!("a time needs a unit: write \"{value}s\" or \"{value}ms\", not {value}"))
}

impl Serialize for TimeSpan {
    /// As picoseconds, so that `"60s"` and `"1m"` are the same.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.0)
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time: numbers with units d, h, m, s, ms, us or ns, the longest first.",
            "pattern": r"^\s*([0-9][0-9._]*\s*(d|h|m|s|ms|us|µs|ns)\s*)+$",
            "examples": ["800ms", "2s", "10m", "1h30m", "50us"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_combinations() {
        for (text, ps) in [
            ("800ms", 800_000_000_000),
            ("2s", 2 * PS_PER_S),
            ("10m", 600 * PS_PER_S),
            ("1h30m", 5_400 * PS_PER_S),
            ("50us", 50_000_000),
            ("50µs", 50_000_000),
            ("7ns", 7_000),
            ("1d", 86_400 * PS_PER_S),
            ("2.5 s", 2_500_000_000_000),
            ("1h 2m 3s 4ms", 3_723_004 * PS_PER_S / 1_000),
            ("0s", 0),
            ("1_000ms", PS_PER_S),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration(ps)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("", "missing"),
            ("5", "no unit"),
            ("-5s", "negative"),
            ("5 minutes", "\"minutes\" is not a unit"),
            ("5s3m", "out of order"),
            ("5s5s", "out of order"),
            ("ms", "expected a number"),
            ("1.2.3s", "not a number"),
            ("101d", "longer than 100 days"),
            ("5s x", "expected a number"),
        ] {
            let message = parse_duration(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
