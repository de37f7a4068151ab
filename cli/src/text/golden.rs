//! The report against files of what it looked like when somebody last looked.

use std::path::PathBuf;

use anstream::adapter::strip_str;

use super::{Layout, UNSTABLE, report, sample};

/// Compares with `tests/golden/<name>.txt`; writes it instead if `TOKENTIDE_BLESS` is 1.
fn check(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("TOKENTIDE_BLESS").is_some_and(|v| v == "1") {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("can make the folder");
        std::fs::write(&path, text).expect("can write the golden file");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if golden == text {
        return;
    }
    let mut diff = String::new();
    let (old, new): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), text.lines().collect());
    for i in 0..old.len().max(new.len()) {
        let (was, is) = (old.get(i), new.get(i));
        if was != is {
            was.iter().for_each(|l| diff += &format!("-{l}\n"));
            is.iter().for_each(|l| diff += &format!("+{l}\n"));
        }
    }
    panic!("{name}.txt differs:\n{diff}\nIf the new text is right: TOKENTIDE_BLESS=1 cargo test -p tokentide");
}

fn plain(of: &tokentide_sim::report::Report, width: usize, verbose: bool) -> String {
    strip_str(&report(of, Layout::new(width, verbose))).to_string()
}

#[test]
fn reports_look_as_they_did() {
    for (name, sample) in [
        ("stable", sample::stable()),
        ("overloaded", sample::overloaded()),
        ("replicated", sample::replicated()),
        ("saturated", sample::saturated()),
        ("scaled", sample::scaled()),
        ("empty", sample::empty()),
    ] {
        check(&format!("{name}-100"), &plain(&sample, 100, false));
        check(&format!("{name}-80"), &plain(&sample, 80, false));
    }
    check("stable-verbose", &plain(&sample::stable(), 100, true));
}

#[test]
fn no_line_is_wider_than_asked() {
    for sample in
        [sample::stable(), sample::overloaded(), sample::saturated(), sample::replicated(), sample::scaled(), sample::empty()]
    {
        for width in [80, 100] {
            for line in plain(&sample, width, true).lines() {
                assert!(line.chars().count() <= width, "{} characters at {width}: {line}", line.chars().count());
                assert_eq!(line, line.trim_end(), "space at the end");
            }
        }
    }
}

#[test]
fn latencies_of_an_overloaded_run_never_stand_alone() {
    let text = plain(&sample::overloaded(), 100, true);
    for heading in ["Latency", "By class", "By input tokens", "By output tokens", "Service levels"] {
        let line = text.lines().find(|l| l.starts_with(heading)).unwrap_or_else(|| panic!("no heading {heading}"));
        assert!(line.contains(UNSTABLE), "{line}");
    }
    assert!(!plain(&sample::stable(), 100, true).contains(UNSTABLE));
    let saturated = plain(&sample::saturated(), 100, true);
    assert!(!saturated.contains(UNSTABLE) && !saturated.contains("too many"), "a closed loop is meant to be there");
}

#[test]
fn load_stands_before_latency_and_notes_last() {
    let text = plain(&sample::stable(), 100, false);
    let at = |heading: &str| text.find(&format!("\n{heading}")).unwrap_or_else(|| panic!("no {heading}"));
    let order = [
        "Load",
        "Latency",
        "By class",
        "By input tokens",
        "Tokens",
        "Queue and KV cache",
        "Requests",
        "Service levels",
        "Cost",
        "Notes",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])));
    assert!(text.contains("UNCALIBRATED"));
    assert!(!plain(&sample::overloaded(), 100, false).contains("UNCALIBRATED"));
}
