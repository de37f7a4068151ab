//! A page, a series and a timeline, word for word: `TOKENTIDE_BLESS=1 cargo test --release -p tokentide-views --test golden` writes
//! them anew.

mod common;

use std::path::Path;

use common::{chats, measured, watched};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::scenario::Scenario;
use tokentide_views::{Sampling, Timeline, Window};

const S: u64 = 1_000_000_000_000;

fn held(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TOKENTIDE_BLESS").is_some() {
        std::fs::write(&path, text).expect("written");
    }
    let expected = std::fs::read_to_string(&path).expect("a golden file");
    let line = text.lines().zip(expected.lines()).position(|(a, b)| a != b).unwrap_or(0) + 1;
    assert!(text == expected, "{name} differs, first in line {line}: TOKENTIDE_BLESS=1 writes it anew");
}

fn short() -> Scenario {
    chats(&[("requests", "12")])
}

#[test]
fn a_page() {
    held("page.prom", &measured(&short(), Sampling::At(Time(S))).0.expect("a page"));
}

#[test]
fn series() {
    let text = measured(&short(), Sampling::Every(Duration(2 * S))).0.expect("series");
    let families = ["num_requests_running", "request_success", "time_to_first_token_seconds", "iteration_tokens_total"];
    let of = |line: &&str| families.iter().any(|family| line.contains(&format!("vllm:{family}"))) || *line == "# EOF";
    held("series.om", &text.lines().filter(of).map(|line| format!("{line}\n")).collect::<String>());
}

#[test]
fn a_timeline() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("timeline.json");
    let scenario = short();
    let window = Some(Window { from: Time(S), until: Time(S + S / 5) });
    let mut timeline = Timeline::create(&path, &scenario, window).expect("a file");
    watched(&scenario, &mut timeline);
    timeline.finish().expect("it is written");
    held("timeline.json", &std::fs::read_to_string(&path).expect("a file"));
}
