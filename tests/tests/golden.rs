//! Every shipped scenario against what it gave before, and against the numbers it is there to show.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tokentide_sim::report::{Report, Summary};
use tokentide_tests::digest::{diff, digest};
use tokentide_tests::scenarios::{folder, names, report, shipped, stems};

/// Where the golden files lie.
fn golden() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/golden")).to_owned()
}

fn blessing() -> bool {
    std::env::var_os("TOKENTIDE_BLESS").is_some_and(|value| value == "1")
}

/// How to accept what is found.
const HOW: &str = "if this is meant: TOKENTIDE_BLESS=1 cargo test --release -p tokentide-tests --test golden";

#[test]
fn scenarios_give_what_they_gave() {
    let mut wrong = String::new();
    for name in names() {
        let start = Instant::now();
        let found = digest(&report(&shipped(&name, &[])));
        println!("{name}: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
        let path = golden().join(format!("{name}.txt"));
        if blessing() {
            std::fs::write(&path, &found).expect("golden file can be written");
        }
        match std::fs::read_to_string(&path) {
            Ok(expected) if expected == found => {}
            Ok(expected) => wrong += &format!("{name} differs:\n{}", diff(&expected, &found)),
            Err(error) => wrong += &format!("{name} has no golden file: {error}\n"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}{HOW}");
}

#[test]
fn golden_files_and_scenarios_come_in_pairs() {
    assert!(names().len() >= 10, "the scenarios were not found: {:?}", names());
    let orphans: Vec<String> = stems(&golden(), "txt").into_iter().filter(|name| !names().contains(name)).collect();
    assert!(orphans.is_empty(), "golden files without a scenario: {orphans:?}");
}

/// All but the batch, whose clients keep it at its knee on purpose, the pool that an autoscaler lets drown, and the mixture on
/// data-parallel ranks, a layout that no profile was measured on.
#[test]
fn scenarios_are_calibrated_and_stable() {
    for name in names() {
        let report = run(&name, &[]);
        let capacity = &report.summary.capacity;
        assert!(report.model.cost.calibrated == (name != "moe-dp-ep"), "{name} runs on {}", report.model.cost.kind);
        let on_purpose = name == "batch";
        let expected = match name.as_str() {
            "batch" => "saturated by design",
            "kv-only" => "overloaded",
            _ => "stable",
        };
        assert!(capacity.state == expected, "{name}: {} at {}", capacity.state, capacity.load);
        let knee = report.summary.requests_per_s / capacity.knee_requests_per_s;
        assert!(!on_purpose || (knee - 1.0).abs() < 0.1, "{name} runs at {knee} of its knee");
    }
}

/// Every `--set path=value` in a scenario's comment changes its result.
#[test]
fn what_the_comments_say_to_try_changes_the_result() {
    let mut tried = 0;
    for name in names() {
        let text = std::fs::read_to_string(folder().join(format!("{name}.toml"))).expect("is readable");
        for change in text.split("--set ").skip(1) {
            let change = change.split([',', ' ', '\n']).next().unwrap_or_default();
            let (path, value) = change.split_once('=').unwrap_or_else(|| panic!("{name}: {change}"));
            let base = if text.contains("on top-k-4.toml") { "top-k-4" } else { name.as_str() };
            let (before, after) = (run(base, &[]).summary, run(base, &[(path, value)]).summary);
            let of = |s: &Summary| {
                let hits = 100.0 * s.cached_tokens as f64 / s.input_tokens as f64;
                let ttft = s.ttft_ms.p95.unwrap_or(f64::NAN);
                format!("load {:.2} {}, ttft p95 {ttft:.0} ms, {hits:.0} % cached", s.capacity.load, s.capacity.state)
            };
            println!("{base} with {path}={value}: {} -> {}", of(&before), of(&after));
            let same = before.ttft_ms == after.ttft_ms && before.tpot_ms == after.tpot_ms;
            assert!(!same, "{name}: {change} changes nothing");
            tried += 1;
        }
    }
    assert!(tried >= 6, "{tried}");
}

fn run(name: &str, overrides: &[(&str, &str)]) -> Report {
    report(&shipped(name, overrides))
}

fn all_completed(summary: &Summary) {
    assert_eq!(summary.requests.completed, summary.requests.total);
}

/// The same 1,000 requests, 13.8 times the tokens, whatever the seed.
#[test]
fn windows_have_their_totals() {
    for seed in ["42", "7"] {
        let total = |name: &str| {
            let summary = run(name, &[("seed", seed)]).summary;
            assert_eq!(summary.requests.total, 1000);
            all_completed(&summary);
            (summary.input_tokens, summary.output_tokens)
        };
        let (a, b) = (total("window-a"), total("window-b"));
        assert_eq!(a, (500_000, 150_000));
        assert_eq!(b, (8_000_000, 1_000_000));
        let ratio = (b.0 + b.1) as f64 / (a.0 + a.1) as f64;
        assert_eq!(format!("{ratio:.3}"), "13.846");
    }
}

/// 9,512 tokens in every prompt, 0.13 % of them typed and 63 % retrieved.
#[test]
fn the_prompt_has_9512_tokens() {
    let summary = run("prompt-9512", &[]).summary;
    let n = summary.requests.total;
    assert!(n > 500);
    assert_eq!(summary.input_tokens, 9512 * n);
    assert_eq!(summary.input_length.max, Some(9512.0));
    let parts = ["system", "developer", "history", "retrieved", "metadata", "user", "formatting"];
    let each = parts.map(|source| summary.input_tokens_by_source[source] / n);
    assert_eq!(each, [700, 400, 1500, 6000, 600, 12, 300]);
    let share = |source: &str| 100.0 * summary.input_tokens_by_source[source] as f64 / summary.input_tokens as f64;
    assert_eq!(format!("{:.2} {:.0}", share("user"), share("retrieved")), "0.13 63");
}

/// top_k 4 -> 12: prompts grow by 73 %, what has to be prefilled by 90 %. Of the 1,100 shared tokens the engine finds 1,088, which
/// is 68 whole blocks of 16, so 4,424 and 8,424 tokens are prefilled where the article counts 4,412 and 8,412.
#[test]
fn top_k_moves_the_prefill() {
    let per_request = |name: &str| {
        let summary = run(name, &[]).summary;
        all_completed(&summary);
        let n = summary.requests.total;
        assert_eq!((summary.input_tokens % n, summary.cached_tokens % n), (0, 0), "after warm-up all requests are alike");
        (summary.input_tokens / n, summary.cached_tokens / n)
    };
    let (base, head) = (per_request("top-k-4"), per_request("top-k-12"));
    let shared = 1_100;
    let cached = shared / 16 * 16;
    assert_eq!((base, head), ((5_512, cached), (9_512, cached)));
    assert_eq!((base.0 - shared, head.0 - shared), (4_412, 8_412));
    assert_eq!((base.0 - base.1, head.0 - head.1), (4_424, 8_424));
}

/// The same 4,000 tokens more: nearly free in a cached system prompt, not so as retrieved text.
#[test]
fn a_longer_system_prompt_costs_far_less_than_longer_retrieval() {
    let ttft = |overrides: &[(&str, &str)]| {
        let summary = run("top-k-4", overrides).summary;
        (summary.input_tokens / summary.requests.total, summary.ttft_ms.p50.expect("a median"))
    };
    let base = ttft(&[]);
    let system = ttft(&[("class.rag.prompt.system", "4700")]);
    let retrieved = ttft(&[("class.rag.prompt.retrieved.top_k", "12")]);
    assert_eq!((base.0, system.0, retrieved.0), (5_512, 9_512, 9_512));
    let (by_system, by_retrieval) = (system.1 - base.1, retrieved.1 - base.1);
    println!("TTFT p50 {:.0} ms; +4,000 tokens: system {:+.0} ms, retrieved {:+.0} ms", base.1, by_system, by_retrieval);
    assert!(by_system > 0.0, "attention to 4,000 tokens more is not free");
    // The tokenizer reads the longer prompt whole, cached or not.
    assert!(by_system * 4.0 < by_retrieval, "{by_system} against {by_retrieval}");
    let uncached = ttft(&[("class.rag.prompt.system", "4700"), ("engine.enable_prefix_caching", "false")]);
    assert!(uncached.1 > 0.9 * retrieved.1, "without the cache a system prompt is like any other text");
}
