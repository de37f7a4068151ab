//! Timelines as a viewer would take them: every slice ends, none overlaps another, everything has a name.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use common::{chats, watched};
use serde_json::Value;
use tokentide_models::units::Time;
use tokentide_sim::report::Report;
use tokentide_sim::scenario::Scenario;
use tokentide_views::{Drawn, Timeline, ViewError, Window};

fn draw(scenario: &Scenario, name: &str, window: Option<(f64, f64)>, most: u64) -> (Result<Drawn, ViewError>, String, Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    let window = window.map(|(from, until)| Window { from: Time::from_secs_f64(from), until: Time::from_secs_f64(until) });
    let mut timeline = Timeline::create(&path, scenario, window).expect("a file").with_events_max(most);
    let report = watched(scenario, &mut timeline).0;
    let drawn = timeline.finish();
    // Of one that could not be drawn nothing is left.
    let bytes = if drawn.is_ok() { std::fs::read(&path).expect("a file") } else { Vec::new() };
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), usize::from(drawn.is_ok()));
    let mut text = String::new();
    match name.ends_with(".gz") {
        true => flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).map(|_| ()).expect("gzip"),
        false => text = String::from_utf8(bytes).expect("text"),
    }
    (drawn, text, report)
}

/// The events of a trace that holds together.
fn events(text: &str) -> Vec<Value> {
    let trace: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(trace["displayTimeUnit"], "ms");
    let events = trace["traceEvents"].as_array().expect("a list").clone();
    let int = |event: &Value, key: &str| event[key].as_u64().unwrap_or_else(|| panic!("{key} of {event}"));
    let mut open: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    let mut steps: BTreeMap<(u64, u64), Vec<(u64, u64)>> = BTreeMap::new();
    let (mut named, mut used) = (BTreeSet::new(), BTreeSet::new());
    for event in &events {
        let (ph, ts, pid, tid) = (event["ph"].as_str().expect("ph"), int(event, "ts"), int(event, "pid"), int(event, "tid"));
        let name = event["name"].as_str().expect("a name").to_owned();
        assert!(pid > 0 && tid > 0, "{event}");
        if ph == "M" {
            assert!(named.insert((name, pid, tid)), "{event} twice");
            continue;
        }
        if ph != "i" {
            used.insert((pid, tid));
        }
        match ph {
            "X" => steps.entry((pid, tid)).or_default().push((ts, ts + int(event, "dur"))),
            "b" | "e" => {
                let id = event["id2"]["local"].as_str().expect("an id").to_owned();
                assert_eq!(event["cat"], "request");
                let stack = open.entry(id).or_default();
                assert!(stack.last().is_none_or(|(_, before)| *before <= ts), "{event} goes back");
                match ph {
                    "b" => stack.push((name, ts)),
                    _ => assert_eq!(stack.pop().map(|(began, _)| began), Some(name), "{event} ends another"),
                }
            }
            "C" => assert!(event["args"]["value"].as_f64().is_some_and(|value| value >= 0.0), "{event}"),
            "i" => assert_eq!(event["s"], "g"),
            _ => panic!("{event}"),
        }
    }
    assert!(open.values().all(Vec::is_empty), "a request without an end");
    for track in steps.values() {
        assert!(track.is_sorted_by(|a, b| a.1 <= b.0), "steps overlap");
    }
    for (pid, tid) in used {
        let named = |what: &str| named.contains(&(what.to_owned(), pid, tid));
        assert!(named("process_name") && named("thread_name"), "{pid} {tid} has no name");
    }
    events
}

fn count(events: &[Value], key: &str, value: &str) -> u64 {
    events.iter().filter(|event| event[key] == value).count() as u64
}

fn sum(events: &[Value], ph: &str, argument: &str) -> u64 {
    events.iter().filter(|event| event["ph"] == ph).filter_map(|event| event["args"][argument].as_u64()).sum()
}

#[test]
fn a_whole_run_is_all_of_it() {
    let fleet = [
        ("cluster.replicas", "2"),
        ("cluster.failure", "[{ at = \"8s\", what = \"container\", index = 0 }]"),
        ("cluster.startup", "[{ phase = \"weights\", when = \"container\", time = \"4s\" }]"),
    ];
    let ranks = [("gpu.data_parallel", "2"), ("class.chat.timeout", "\"1s\""), ("engine.max_num_seqs", "4")];
    let crowded =
        [("engine.num_gpu_blocks_override", "300"), ("engine.max_model_len", "2048"), ("class.chat.arrivals.rate", "9.0")];
    let stages = [("gpu.pipeline_parallel", "2"), ("engine.async_scheduling", "false")];
    let batchwise = [("engine.scheduler", "\"sarathi\""), ("engine.enable_prefix_caching", "false")];
    for changes in [&[][..], &fleet, &ranks, &crowded, &stages, &batchwise] {
        let (drawn, text, report) = draw(&chats(changes), "t.json", None, u64::MAX);
        let events = events(&text);
        let drawn = drawn.expect("it is written");
        assert_eq!((drawn.full, drawn.events), (None, events.len() as u64 - count(&events, "ph", "M")));
        assert_eq!(count(&events, "ph", "X"), report.summary.iterations, "{changes:?}");
        let requests = events.iter().filter(|event| event["args"].get("finish").is_some()).count() as u64;
        assert_eq!(requests, report.summary.requests.total, "{changes:?}");
        assert_eq!(sum(&events, "b", "output_tokens"), report.summary.output_tokens);
        assert_eq!(sum(&events, "b", "input_tokens"), report.summary.input_tokens);
        assert_eq!(sum(&events, "b", "preemptions") > 0, changes == crowded);
        for counter in ["running requests", "waiting requests", "waiting tokens", "KV use [%]"] {
            assert!(events.iter().any(|event| event["name"].as_str().is_some_and(|name| name.starts_with(counter))), "{counter}");
        }
        for name in ["queued", "prefill", "decode", "chat", "say \"yes\""] {
            assert!(events.iter().any(|event| event["ph"] == "b" && event["name"] == name), "{name}");
        }
        assert_eq!(text, draw(&chats(changes), "t.json.gz", None, u64::MAX).1, "zipped, and again");
    }
}

#[test]
fn drawing_changes_no_outcome() {
    let scenario = chats(&[("engine.num_gpu_blocks_override", "300"), ("engine.max_model_len", "2048")]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut timeline = Timeline::create(&folder.path().join("t.json"), &scenario, None).expect("a file");
    let (drawn, mut steps) = watched(&scenario, &mut timeline);
    let plain = tokentide_sim::run::simulate(&scenario, None, Default::default(), &|_| {}, None).expect("it runs");
    let mut leaps = watched(&scenario, &mut Nobody).1;
    steps.sort_by_key(|outcome| outcome.request.id);
    leaps.sort_by_key(|outcome| outcome.request.id);
    assert_eq!(format!("{steps:?}"), format!("{leaps:?}"));
    assert_eq!(format!("{:?}", drawn.summary.itl_ms), format!("{:?}", plain.summary.itl_ms));
    assert_eq!(drawn.summary.preemptions, plain.summary.preemptions);
}

struct Nobody;

impl tokentide_sim::engine::Observer for Nobody {
    fn outcome(&mut self, _: tokentide_sim::engine::Outcome) {}
}

#[test]
fn a_window_is_what_happens_in_it() {
    let scenario = chats(&[]);
    let (drawn, text, _) = draw(&scenario, "t.json", Some((5.0, 6.0)), u64::MAX);
    let some = events(&text);
    assert!(drawn.expect("it is written").events > 20);
    for event in some.iter().filter(|event| event["ph"] == "X") {
        let (ts, dur) = (event["ts"].as_u64().expect("ts"), event["dur"].as_u64().expect("dur"));
        assert!(ts < 6_000_000 && ts + dur >= 4_999_999, "{event}");
    }
    let began = |event: &&Value| event["ph"] == "C" && event["ts"].as_u64().is_some_and(|ts| ts < 5_000_000);
    assert_eq!(some.iter().filter(began).count(), 0, "counters begin with the window");
    let all = events(&draw(&scenario, "t.json", None, u64::MAX).1);
    let inside = |event: &&Value| event["ph"] == "X" && event["ts"].as_u64().is_some_and(|ts| (5_000_000..6_000_000).contains(&ts));
    assert!(all.iter().filter(inside).all(|event| some.contains(event)), "and nothing of it is missing");
    assert!(matches!(draw(&scenario, "t.json", Some((900.0, 901.0)), u64::MAX).0, Err(ViewError::EmptyWindow { .. })));
}

#[test]
fn a_full_timeline_says_so() {
    let (drawn, text, _) = draw(&chats(&[]), "t.json", None, 1000);
    let drawn = drawn.expect("it is written");
    assert!((1000..1010).contains(&drawn.events) && drawn.full.is_some_and(|at| at > Time::ZERO));
    let events = events(&text);
    assert_eq!(count(&events, "ph", "i"), 1);
    let trace: Value = serde_json::from_str(&text).expect("JSON");
    assert!(trace["otherData"]["stopped"].as_str().is_some_and(|why| why.starts_with("full after")), "{}", trace["otherData"]);
}

#[test]
fn files_that_cannot_be_are_refused() {
    let scenario = chats(&[]);
    let refused =
        |path: &str| Timeline::create(Path::new(path), &scenario, None).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused("t.txt").contains(".json.gz") && refused("json").contains(".json.gz"));
    assert!(refused("/nowhere/to/be/found/t.json").contains("cannot write"));
}
