//! Numbers and times.

use crate::error::FaultKind;
use crate::number::{Decimal, Unit, count};

#[test]
fn decimals_are_exact() {
    let ps = |text: &str| Unit::Seconds.parse(text).map_err(|f| f.kind);
    assert_eq!(ps("5.8926549999999995"), Ok(5_892_655_000_000));
    assert_eq!(ps("0.046926808"), Ok(46_926_808_000));
    assert_eq!(ps("1e3"), Ok(1_000_000_000_000_000));
    assert_eq!(ps("2.5E-3"), Ok(2_500_000_000));
    assert_eq!(ps("-0.000000000001"), Ok(-1));
    assert_eq!(ps("0.0000000000005"), Ok(1));
    assert_eq!(ps("0.00000000000049"), Ok(0));
    assert_eq!(ps("1700000000.123456789"), Ok(1_700_000_000_123_456_789_000));
    assert_eq!(ps("0e-30000"), Ok(0));
    assert_eq!(ps(&format!("0.{}", "1".repeat(1000))), Ok(111_111_111_111));
    for (unit, want) in [(Unit::Milliseconds, 1_500 * 1_000_000), (Unit::Microseconds, 1_500_000), (Unit::Nanoseconds, 1_500)] {
        assert_eq!(unit.parse("1.5"), Ok(want));
    }
    for bad in ["", "-", ".", "1.2.3", "1e", "e5", "0x10", "1,5", "five", "1e99999", "--1", "1_000", "\u{0661}"] {
        assert_eq!(ps(bad), Err(FaultKind::NotANumber), "{bad}");
    }
    for bad in ["nan", "NaN", "inf", "-Infinity"] {
        assert_eq!(ps(bad), Err(FaultKind::NotFinite), "{bad}");
    }
    assert_eq!(ps("1e30"), Err(FaultKind::TooLarge));
    assert_eq!(ps(&"9".repeat(5000)), Err(FaultKind::TooLarge));
}

#[test]
fn counts_are_whole() {
    let tokens = |text: &str| count(text).map_err(|f| f.kind);
    assert_eq!(
        (tokens("374"), tokens("374.0"), tokens("3e2"), tokens("0"), tokens("-0")),
        (Ok(374), Ok(374), Ok(300), Ok(0), Ok(0))
    );
    assert_eq!((tokens("4294967294"), tokens("4294967295")), (Ok(u32::MAX - 1), Err(FaultKind::TooLarge)));
    assert_eq!(tokens("99999999999999999999999999999999999999999999"), Err(FaultKind::TooLarge));
    assert_eq!(
        (tokens("1.5"), tokens("-3"), tokens("-1.5")),
        (Err(FaultKind::NotInteger), Err(FaultKind::Negative), Err(FaultKind::NotInteger))
    );
    assert_eq!((tokens("NaN"), tokens("abc")), (Err(FaultKind::NotFinite), Err(FaultKind::NotANumber)));
    assert!(!Decimal::parse("1e-40").unwrap().is_whole());
}

#[test]
fn calendar_times_of_any_precision_and_zone() {
    let ps = |text: &str| Unit::Calendar.parse(text).map_err(|f| f.kind);
    // 1,700,158,546 s: 2023-11-16 18:15:46 UTC.
    assert_eq!(ps("2023-11-16 18:15:46.6805900"), Ok(1_700_158_546_680_590_000_000));
    assert_eq!(ps("2023-11-16T18:15:46Z"), Ok(1_700_158_546_000_000_000_000));
    for same in [
        "2024-05-12 00:00:00+00:00",
        "2024-05-12T02:00:00+0200",
        "2024-05-11 19:00:00.000-05",
        "2024-05-12 00:00:00",
        "2024-05-12t05:30:00+05:30",
    ] {
        assert_eq!(ps(same), Ok(1_715_472_000_000_000_000_000), "{same}");
    }
    assert_eq!(ps("1970-01-01 00:00:00.000000000001"), Ok(1));
    assert_eq!(ps("1969-12-31 23:59:59"), Ok(-1_000_000_000_000));
    assert_eq!(ps("2000-02-29 00:00:00"), Ok(951_782_400_000_000_000_000));
    let bad = [
        "",
        "2024-05-12",
        "2024-05-12 00:00",
        "2023-02-29 00:00:00",
        "1900-02-29 00:00:00",
        "2024-13-01 00:00:00",
        "2024-00-01 00:00:00",
        "2024-05-12 24:00:00",
        "2024-05-12 00:60:00",
        "2024-05-12 00:00:00.",
        "2024-05-12 00:00:00.x",
        "2024-05-12 00:00:00+1",
        "24-05-12 00:00:00",
        "2024-05-12 00:00:00 UTC",
        "2024/05/12 00:00:00",
        "1715472000",
        "2024-05-12_00:00:00",
        "2024-05-1\u{00fc} 00:00:00",
    ];
    for text in bad {
        assert_eq!(ps(text), Err(FaultKind::BadTime), "{text}");
    }
}
