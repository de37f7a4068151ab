//! Kubernetes quantities (`500m`, `1k`, `1Gi`, `1e3`), in thousandths.
//!
//! Source: `apimachinery/pkg/api/resource`, whose `MilliValue` the HPA controller counts in; it rounds away from zero.

/// Suffixes and the power of 1,000 or 1,024 that they stand for, in thousandths: numerator and denominator.
const SUFFIXES: [(&str, i128, i128); 16] = [
    ("n", 1, 1_000_000),
    ("u", 1, 1_000),
    ("m", 1, 1),
    ("", 1_000, 1),
    ("k", 1_000_000, 1),
    ("M", 1_000_000_000, 1),
    ("G", 1_000_000_000_000, 1),
    ("T", 1_000_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000_000, 1),
    ("Ki", 1_000 << 10, 1),
    ("Mi", 1_000 << 20, 1),
    ("Gi", 1_000 << 30, 1),
    ("Ti", 1_000 << 40, 1),
    ("Pi", 1_000 << 50, 1),
    ("Ei", 1_000 << 60, 1),
];

/// Digits that fit the arithmetic, more than any real quantity has.
const DIGITS_MAX: usize = 18;

/// A quantity in thousandths, rounded away from zero.
///
/// # Errors
/// Why it is none, to be said after the text itself.
pub fn thousandths(text: &str) -> Result<i64, String> {
    let form = || "is no quantity: a number, with a suffix or not (500m, 0.5, 1k, 1Gi, 1e3)".to_owned();
    let range = || "is too long or too large a quantity".to_owned();
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.contains('.') || whole.len() + part.len() == 0 {
        return Err(form());
    }
    if whole.len() + part.len() > DIGITS_MAX {
        return Err(range());
    }
    let digits: i128 = format!("{whole}{part}").parse().map_err(|_| form())?;
    let (up, down) = scale(suffix).ok_or_else(form)?.ok_or_else(range)?;
    // At most 18 decimals.
    let divisor = down.checked_mul(10i128.pow(part.len() as u32)).ok_or_else(range)?;
    let scaled = digits.checked_mul(up).ok_or_else(range)?;
    let rounded = scaled / divisor + i128::from(scaled % divisor != 0);
    i64::try_from(if negative { -rounded } else { rounded }).map_err(|_| range())
}

/// What the digits are to be multiplied with and divided by; the inner `None`: an exponent beyond all range.
fn scale(suffix: &str) -> Option<Option<(i128, i128)>> {
    if let Some((_, up, down)) = SUFFIXES.iter().find(|(name, ..)| *name == suffix) {
        return Some(Some((*up, *down)));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = || u32::try_from(exponent.abs()).ok().filter(|e| *e <= 18).map(|e| 10i128.pow(e));
    Some(power().map(|power| if exponent < 0 { (1_000, power) } else { (1_000 * power, 1) }))
}

/// The canonical text of thousandths: whole where it can be, else with `m`.
pub fn text(thousandths: i64) -> String {
    if thousandths % 1_000 == 0 { (thousandths / 1_000).to_string() } else { format!("{thousandths}m") }
}

/// What KEDA makes of a threshold: a float times 1,000, cut.
pub fn of_threshold(threshold: f64) -> i64 {
    (threshold * 1_000.0) as i64
}

/// The shortest decimal that KEDA reads as these thousandths.
pub fn threshold(thousandths: i64) -> String {
    let plain = (thousandths as f64 / 1_000.0).to_string();
    if plain.parse().is_ok_and(|read: f64| of_threshold(read) == thousandths) {
        return plain;
    }
    // The product of the float with 1,000 fell just short, and would be cut to one less.
    let sign = if thousandths < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}0001", thousandths.abs() / 1_000, thousandths.abs() % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly() {
        let cases = [
            ("0", 0),
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("5.", 5_000),
            ("+2", 2_000),
            ("-250m", -250),
            ("1k", 1_000_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("25e-1", 2_500),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("2M", 2_000_000_000),
            ("1n", 1),
            ("1001u", 2),
            ("0.0001", 1),
            ("9223372036854775", 9_223_372_036_854_775_000),
        ];
        for (text, expected) in cases {
            assert_eq!(thousandths(text), Ok(expected), "{text}");
        }
        for wrong in ["", "m", ".", "1.2.3", "1 k", "1K", "1kk", "ten", "1e", "0x10", "--1", "1e99", "9E", "12345678901234567890"] {
            assert!(thousandths(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for value in (-3_000..20_000).chain((0..60).map(|n| 1i64 << n)) {
            assert_eq!(thousandths(&text(value)), Ok(value));
        }
        for value in (-3_000..200_000).chain((0..45).map(|n| 1i64 << n)) {
            let written = threshold(value);
            assert_eq!(of_threshold(written.parse().unwrap()), value, "{written}");
        }
        assert_eq!(threshold(38_000), "38");
        assert_eq!(threshold(290), "0.29");
    }
}
