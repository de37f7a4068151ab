//! Small runs, and a parser of pages that forgives nothing.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tokentide_sim::engine::{Observer, Outcome};
use tokentide_sim::report::Report;
use tokentide_sim::run::{RunOptions, observe};
use tokentide_sim::scenario::{self, Scenario};
use tokentide_views::{DEFAULT_START_MS, Format, Meter, Sampling, ViewError, write_metrics};

/// A scenario of chats with a shared start, so short that a test can count everything; `changes` are lines such as
/// `cluster.replicas = 2`.
pub fn chats(changes: &[(&str, &str)]) -> Scenario {
    let text = r#"
        name = "views"
        duration = "20s"
        seed = 5
        [model]
        name = "llama-3.1-8b"
        [gpu]
        name = "l40s"
        [engine]
        max_model_len = 4096
        max_num_seqs = 64
        [cluster]
        replicas = 1
        [[class]]
        name = "chat"
        arrivals = { process = "poisson", rate = 6.0 }
        prompt = { system = 200, user = { median = 300, p95 = 1400, max = 1500 } }
        output = { tokens = { median = 60, p95 = 400 }, max_tokens = 300 }
        [[class]]
        name = 'say "yes"'
        arrivals = { process = "poisson", rate = 1.0 }
        prompt = { user = 100 }
        output = { tokens = 1 }
    "#;
    let changes: Vec<(String, String)> = changes.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    scenario::parse(text, "views.toml", Path::new("."), &changes).unwrap_or_else(|e| panic!("{e}")).scenario
}

/// A run with an observer beside it.
pub fn watched(scenario: &Scenario, observer: &mut dyn Observer) -> (Report, Vec<Outcome>) {
    let mut outcomes = Vec::new();
    let mut keep = |outcome: &Outcome, _: &[String]| outcomes.push(outcome.clone());
    let report = observe(scenario, None, RunOptions::default(), &|_| {}, Some(&mut keep), Some(observer)).expect("it runs");
    (report, outcomes)
}

/// What is written of a run, and its report.
pub fn measured(scenario: &Scenario, sampling: Sampling) -> (Result<String, ViewError>, Report) {
    let mut meter = Meter::new(scenario, sampling);
    let report = watched(scenario, &mut meter).0;
    let format = if matches!(sampling, Sampling::Every(_)) { Format::OpenMetrics } else { Format::Prometheus };
    let mut text = Vec::new();
    let written = write_metrics(meter, format, DEFAULT_START_MS, Path::new("page"), &mut text);
    (written.map(|()| String::from_utf8(text).expect("it is text")), report)
}

/// A page: by the name of a sample, by its labels, value by time [ms since the start of the run]; without times at 0.
pub type Page = BTreeMap<String, BTreeMap<String, BTreeMap<i64, f64>>>;

/// Reads a page; panics at whatever the format does not allow.
pub fn parse(text: &str, openmetrics: bool) -> Page {
    assert!(text.ends_with('\n') && text.ends_with("# EOF\n") == openmetrics);
    let mut page = Page::new();
    let (mut name, mut kind, mut seen) = (String::new(), String::new(), BTreeSet::new());
    let mut group = (String::new(), i64::MIN);
    let mut groups: BTreeSet<String> = BTreeSet::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(meta) = line.strip_prefix("# ") {
            let [what, of, value] = meta.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            match what {
                "HELP" => {
                    assert!(seen.insert(of.to_owned()) && !value.is_empty(), "{line}");
                    of.clone_into(&mut name);
                    (group, groups) = ((String::new(), i64::MIN), BTreeSet::new());
                }
                "TYPE" => value.clone_into(&mut kind),
                "UNIT" => assert!(openmetrics && of.ends_with(value), "{line}"),
                _ => panic!("{line}"),
            }
            assert_eq!(of, name);
            continue;
        }
        let (sample, rest) = line.split_once('{').expect("labels");
        let (labels, rest) = rest.rsplit_once("} ").expect("labels end");
        let suffixes: &[&str] = match kind.as_str() {
            "gauge" => &[""],
            "counter" => &[if openmetrics { "_total" } else { "" }],
            _ => &["_bucket", "_sum", "_count"],
        };
        assert!(suffixes.iter().any(|suffix| sample == format!("{name}{suffix}")), "{line} of {name}");
        let mut numbers = rest.split(' ').map(|number| number.parse::<f64>().expect("a number"));
        let value = numbers.next().expect("a value");
        let time = numbers.next().map(|s| (s * 1e3).round() as i64 - DEFAULT_START_MS);
        assert!(time.is_some() == openmetrics && numbers.next().is_none() && value >= 0.0, "{line}");
        // Samples of one metric, `le` apart, stand together, in order of time.
        let metric = labels.split(",le=").next().expect("labels").to_owned();
        let time = time.unwrap_or(0);
        if group.0 != metric {
            assert!(groups.insert(metric.clone()), "{line} comes back");
        } else {
            assert!(time >= group.1, "{line} goes back");
        }
        group = (metric, time);
        let series = page.entry(sample.to_owned()).or_default().entry(labels.to_owned()).or_default();
        assert!(series.insert(time, value).is_none(), "{line} twice");
    }
    check_histograms(&page);
    page
}

/// Counters do not fall; buckets are cumulative, and the last one is the count.
fn check_histograms(page: &Page) {
    for (name, series) in page {
        for (labels, samples) in series {
            let counts = ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
            assert!(!counts || samples.values().is_sorted(), "{name}{{{labels}}} falls");
        }
        let Some(family) = name.strip_suffix("_bucket") else { continue };
        let mut metrics: BTreeMap<(&str, i64), Vec<(f64, f64)>> = BTreeMap::new();
        for (labels, samples) in series {
            let (metric, le) = labels.split_once(",le=\"").expect("a bucket has its bound");
            let le = le.trim_end_matches('"').replace("+Inf", "inf").parse().expect("a bound");
            for (&time, &value) in samples {
                metrics.entry((metric, time)).or_default().push((le, value));
            }
        }
        for ((metric, time), mut buckets) in metrics {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{name}{{{metric}}} is not cumulative");
            let last = buckets.last().expect("a bucket");
            assert_eq!((last.0, last.1), (f64::INFINITY, page[&format!("{family}_count")][metric][&time]), "{name}{{{metric}}}");
        }
    }
}

/// Of a counter or gauge, the sum over its series at `time`.
pub fn total(page: &Page, name: &str, time: i64) -> f64 {
    page[name].values().filter_map(|samples| samples.get(&time)).sum()
}
