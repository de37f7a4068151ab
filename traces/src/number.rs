//! Numbers and times as text, read exactly: no float on the way.

use tokentide_models::units::PS_PER_S;

use super::error::{Fault, FaultKind};

/// How arrival times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds from any origin (`s`, `unix_s`).
    Seconds,
    /// Milliseconds (`ms`, `unix_ms`).
    Milliseconds,
    /// Microseconds (`us`).
    Microseconds,
    /// Nanoseconds (`ns`, `unix_ns`).
    Nanoseconds,
    /// Date and time of day, as in ISO 8601 or with a blank; UTC unless an offset is given (`iso8601`).
    Calendar,
}

impl Unit {
    /// Names that a column map may use.
    pub const NAMES: [&'static str; 8] = ["s", "ms", "us", "ns", "unix_s", "unix_ms", "unix_ns", "iso8601"];

    /// The unit of this name.
    pub fn named(name: &str) -> Option<Unit> {
        match name {
            "s" | "unix_s" => Some(Unit::Seconds),
            "ms" | "unix_ms" => Some(Unit::Milliseconds),
            "us" => Some(Unit::Microseconds),
            "ns" | "unix_ns" => Some(Unit::Nanoseconds),
            "iso8601" => Some(Unit::Calendar),
            _ => None,
        }
    }

    /// Its plain name.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::Milliseconds => "ms",
            Unit::Microseconds => "us",
            Unit::Nanoseconds => "ns",
            Unit::Calendar => "iso8601",
        }
    }

    /// Picoseconds of a time from the unit's origin (1970 for calendar times).
    pub fn parse(self, text: &str) -> Result<i128, Fault> {
        let power = match self {
            Unit::Seconds => 12,
            Unit::Milliseconds => 9,
            Unit::Microseconds => 6,
            Unit::Nanoseconds => 3,
            Unit::Calendar => {
                return calendar(text).ok_or_else(|| {
                    Fault::new(FaultKind::BadTime, "expected a date and time such as 2024-05-10 00:00:00.009930+00:00").text(text)
                });
            }
        };
        let decimal = Decimal::parse(text)?;
        decimal.scaled(power).ok_or_else(|| Fault::new(FaultKind::TooLarge, "expected a time in the chosen unit").text(text))
    }
}

/// A decimal number: `(-1)^negative * digits * 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    digits: u128,
    exponent: i32,
}

impl Decimal {
    /// Reads `12`, `-0.5`, `1e3`, `5.8926549999999995`. Digits beyond the 30th are dropped.
    pub fn parse(text: &str) -> Result<Decimal, Fault> {
        let bad = || Fault::new(FaultKind::NotANumber, "expected a number").text(text);
        let (negative, body) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        if ["nan", "inf", "infinity"].iter().any(|word| body.eq_ignore_ascii_case(word)) {
            return Err(Fault::new(FaultKind::NotFinite, "expected a finite number").text(text));
        }
        let (mantissa, power) = match body.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.parse::<i16>().map_err(|_| bad())?),
            None => (body, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // Nearly all numbers: few digits, in 64 bits.
        if power == 0 && (1..=18).contains(&(whole.len() + fraction.len())) {
            let mut digits = 0u64;
            for byte in whole.bytes().chain(fraction.bytes()) {
                if !byte.is_ascii_digit() {
                    return Err(bad());
                }
                digits = digits * 10 + u64::from(byte - b'0');
            }
            return Ok(Decimal { negative, digits: digits.into(), exponent: -(fraction.len() as i32) });
        }
        if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let (mut digits, mut exponent) = (0u128, i32::from(power));
        for (i, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
            let in_fraction = i >= whole.len();
            if digits < 10u128.pow(30) {
                digits = digits * 10 + u128::from(byte - b'0');
                exponent -= i32::from(in_fraction);
            } else {
                exponent += i32::from(!in_fraction);
            }
        }
        Ok(Decimal { negative, digits, exponent })
    }

    /// The nearest integer to the number times `10^power`; `None` beyond 1e30.
    pub fn scaled(self, power: i32) -> Option<i128> {
        let exponent = self.exponent + power;
        let value = match (self.digits, exponent) {
            (0, _) => 0,
            (_, 31..) => return None,
            (_, 0..) => self.digits.checked_mul(10u128.pow(exponent as u32))?,
            (_, -38..0) => {
                let unit = 10u128.pow(exponent.unsigned_abs());
                self.digits / unit + u128::from(self.digits % unit >= unit / 2)
            }
            _ => 0,
        };
        let value = i128::try_from(value).ok().filter(|v| *v < 10i128.pow(30))?;
        Some(if self.negative { -value } else { value })
    }

    /// Whether it has no fraction.
    pub fn is_whole(self) -> bool {
        match self.exponent {
            0.. => true,
            -38..0 => self.digits.is_multiple_of(10u128.pow(self.exponent.unsigned_abs())),
            _ => self.digits == 0,
        }
    }
}

/// A count of tokens: whole, not negative, in 32 bits (`12.0` is whole: tables with gaps write counts so).
pub fn count(text: &str) -> Result<u32, Fault> {
    if let Ok(count) = text.parse::<u32>()
        && count < u32::MAX
    {
        return Ok(count);
    }
    let expected = "expected a whole number of tokens";
    let decimal = Decimal::parse(text)?;
    if !decimal.is_whole() {
        return Err(Fault::new(FaultKind::NotInteger, expected).text(text));
    }
    match decimal.scaled(0) {
        Some(value) if value < 0 => Err(Fault::new(FaultKind::Negative, expected).text(text)),
        Some(value) if value < i128::from(u32::MAX) => Ok(value as u32),
        _ => Err(Fault::new(FaultKind::TooLarge, "expected less than 4,294,967,295 tokens").text(text)),
    }
}

/// `YYYY-MM-DD[T ]hh:mm:ss[.fraction][Z|+hh:mm|+hhmm|+hh]` in picoseconds since 1970, UTC.
fn calendar(text: &str) -> Option<i128> {
    let (date, rest) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes()[10], b'T' | b't' | b' ') {
        return None;
    }
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(i) => (&rest[..i], zone(&rest[i..])?),
        None => (rest, 0),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (whole, fraction) = clock.split_once('.').map_or((clock, None), |(whole, fraction)| (whole, Some(fraction)));
    let [hour, minute, second] = numbers(whole, ':', [2, 2, 2])?;
    let days_in_month = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    // 60 is a leap second.
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction = match fraction {
        Some(digits) if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => return None,
        Some(digits) => fraction_ps(digits),
        None => 0,
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * i128::from(PS_PER_S) + fraction)
}

/// Picoseconds of the digits behind a point, rounded.
fn fraction_ps(digits: &str) -> i128 {
    let places = digits.bytes().chain(std::iter::repeat(b'0')).take(12);
    let ps = places.fold(0u64, |ps, digit| ps * 10 + u64::from(digit - b'0'));
    i128::from(ps + u64::from(digits.as_bytes().get(12).is_some_and(|digit| *digit >= b'5')))
}

/// Seconds that a zone is ahead of UTC.
fn zone(text: &str) -> Option<i64> {
    let sign = match text.as_bytes() {
        [b'Z' | b'z'] => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let digits = text[1..].replace(':', "");
    let [hours, minutes] = match digits.len() {
        2 => [digits.get(..2)?, "0"],
        4 => [digits.get(..2)?, digits.get(2..)?],
        _ => return None,
    };
    Some(sign * (i64::from(hours.parse::<u8>().ok()?) * 3600 + i64::from(minutes.parse::<u8>().ok()?) * 60))
}

/// Three numbers of fixed widths.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut out = [0; 3];
    for (number, width) in out.iter_mut().zip(widths) {
        let part = parts.next().filter(|p| p.len() == width && p.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
