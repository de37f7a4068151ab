//! Numbers for people: three significant digits, a unit that fits, and a dash where there is no value.

/// What is printed for a value that does not exist.
pub const NONE: &str = "-";

/// Three significant digits without an exponent: `0.0123`, `12.3`, `1234`.
pub fn digits(value: f64) -> String {
    significant(value, 3)
}

fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let decimals = |v: f64| (digits - 1 - v.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.*}", decimals(value));
    // 9.999 rounds up to 10.00: a digit too many.
    let rounded = text.parse().unwrap_or(value);
    if rounded == 0.0 { text } else { format!("{value:.*}", decimals(rounded)) }
}

/// Half-width of an interval: two significant digits.
pub fn half_width(value: f64) -> String {
    significant(value, 2)
}

/// Unit of a time, and milliseconds per unit.
fn time_unit(ms: f64) -> (f64, &'static str) {
    match ms.abs() {
        m if m < 999.5 => (1.0, "ms"),
        m if m < 600e3 => (1e3, "s"),
        m if m < 7200e3 => (60e3, "min"),
        _ => (3600e3, "h"),
    }
}

/// A time given in milliseconds: `812 ms`, `1.24 s`, `33.4 min`.
pub fn time(ms: f64) -> String {
    let (scale, unit) = time_unit(ms);
    format!("{} {unit}", digits(ms / scale))
}

/// The same with the half-width of its confidence interval: `812 ± 14 ms`.
pub fn time_pm(ms: Option<f64>, half: Option<f64>) -> String {
    match (ms, half) {
        (None, _) => NONE.to_owned(),
        (Some(ms), None) => time(ms),
        (Some(ms), Some(half)) => {
            let (scale, unit) = time_unit(ms);
            format!("{} ± {} {unit}", digits(ms / scale), half_width(half / scale))
        }
    }
}

/// A count: exact to 9,999, then `12.3k`, `1.24M`, `3.10G`.
pub fn count(value: f64) -> String {
    let (scale, suffix) = match value.abs() {
        v if v < 9_999.5 => return if value.fract() == 0.0 { thousands(value) } else { digits_or_whole(value) },
        v if v < 999.5e3 => (1e3, "k"),
        v if v < 999.5e6 => (1e6, "M"),
        v if v < 999.5e9 => (1e9, "G"),
        _ => (1e12, "T"),
    };
    format!("{}{suffix}", digits(value / scale))
}

fn digits_or_whole(value: f64) -> String {
    if value.abs() >= 99.95 { thousands(value.round()) } else { digits(value) }
}

fn thousands(whole: f64) -> String {
    let sign = if whole < 0.0 { "-" } else { "" };
    format!("{sign}{}", exact(whole.abs() as u64))
}

/// A count with all its digits: `1,234,567`.
pub fn exact(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with all its digits, rounded to a whole number: `9,512`.
pub fn exact_rounded(value: f64) -> String {
    thousands(value.round())
}

/// A rate: `6.00`, `9.68k`.
pub fn rate(value: f64) -> String {
    if value.abs() < 999.5 { digits(value) } else { count(value.round()) }
}

/// A share of 1: `62 %`, `0.31 %`, `99.97 %`. Never rounded to 0 % or 100 % when it is neither.
pub fn percent(share: f64) -> String {
    format!("{} %", percent_digits(share))
}

fn percent_digits(share: f64) -> String {
    let p = share * 100.0;
    match p.abs() {
        0.0 => "0".to_owned(),
        v if v < 0.01 => if p < 0.0 { "> -0.01" } else { "< 0.01" }.to_owned(),
        v if v < 1.0 => format!("{p:.2}"),
        v if v < 10.0 => format!("{p:.1}"),
        v if (99.0..100.0).contains(&v) => format!("{:.2}", (p * 100.0).floor() / 100.0),
        _ => format!("{p:.0}"),
    }
}

/// A share against a target: to a tenth of a percent, rounded down, so that 94.96 % never looks like the 95 % that it misses.
pub fn percent_reached(share: f64) -> String {
    let p = share * 100.0;
    // The product of a share such as 0.95 and 100 may fall below 95 by its last bit.
    let floor = |steps: f64| (p * steps + 1e-9).floor() / steps;
    if (99.0..100.0).contains(&p) { format!("{:.2} %", floor(100.0)) } else { format!("{:.1} %", floor(10.0)) }
}

/// A share with the half-width of its confidence interval: `62 ± 1.4 %`.
pub fn percent_pm(share: f64, half: Option<f64>) -> String {
    match half {
        None => percent(share),
        Some(half) => format!("{} ± {} %", percent_digits(share), half_width(half * 100.0)),
    }
}

/// Money: `$12.34`, `$0.0123`.
pub fn usd(value: f64) -> String {
    match value.abs() {
        v if v >= 9_999.5 => format!("${}", count(value)),
        v if v >= 1000.0 => format!("${}", thousands(value.round())),
        v if v >= 1.0 || v == 0.0 => format!("${value:.2}"),
        // Whole cents, such as a price, without a third digit.
        v if v >= 0.01 && ((v * 100.0).round() - v * 100.0).abs() < 1e-6 => format!("${value:.2}"),
        _ => format!("${}", digits(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit_that_fits() {
        let cases = [
            (0.0, "0 ms"),
            (0.4204, "0.420 ms"),
            (12.345, "12.3 ms"),
            (812.3, "812 ms"),
            (999.7, "1.00 s"),
            (1_240.0, "1.24 s"),
            (9_999.0, "10.0 s"),
            (599_000.0, "599 s"),
            (2_004_000.0, "33.4 min"),
            (86_400_000.0, "24.0 h"),
        ];
        for (ms, text) in cases {
            assert_eq!(time(ms), text);
        }
        assert_eq!(time_pm(Some(1240.0), Some(52.0)), "1.24 ± 0.052 s");
        assert_eq!(time_pm(None, Some(1.0)), "-");
    }

    #[test]
    fn counts_are_exact_while_short() {
        let cases = [
            (0.0, "0"),
            (12.0, "12"),
            (9_512.0, "9,512"),
            (12_000.0, "12.0k"),
            (999_600.0, "1.00M"),
            (1.14e8, "114M"),
            (512.4, "512"),
        ];
        for (value, text) in cases {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn shares_never_round_to_all_or_nothing() {
        let cases = [
            (0.0, "0 %"),
            (0.00001, "< 0.01 %"),
            (0.0031, "0.31 %"),
            (0.062, "6.2 %"),
            (0.62, "62 %"),
            (0.99996, "99.99 %"),
            (1.0, "100 %"),
            (1.37, "137 %"),
            (-0.37, "-37 %"),
        ];
        for (share, text) in cases {
            assert_eq!(percent(share), text);
        }
        let reached = [0.9496, 0.95, 0.9461, 0.99996, 1.0].map(percent_reached);
        assert_eq!(reached, ["94.9 %", "95.0 %", "94.6 %", "99.99 %", "100.0 %"]);
        assert_eq!(exact(1_234_567), "1,234,567");
        assert_eq!(percent_pm(0.62, Some(0.014)), "62 ± 1.4 %");
        assert_eq!((usd(0.9).as_str(), usd(0.7411).as_str()), ("$0.90", "$0.741"));
        assert_eq!((usd(15.96).as_str(), usd(0.0123).as_str(), usd(1234.4).as_str()), ("$15.96", "$0.0123", "$1,234"));
    }
}
