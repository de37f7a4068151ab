//! Queries worked out by hand.

use super::*;
use crate::policy::{Given, POLICIES};

fn s(seconds: f64) -> Time {
    Time::from_secs_f64(seconds)
}

/// Series by hand: name, labels, and samples as (seconds, value); a NaN ends a series.
struct Stored(Vec<(Labels, Points)>);

/// Samples of a series; `None`: it ends.
type Points = Vec<(Time, Option<f64>)>;
/// A series as written in a test.
type Written<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(f64, f64)]);

impl Stored {
    fn of(all: &[Written<'_>]) -> Stored {
        let series = |(name, labels, samples): &Written<'_>| {
            let named = [("__name__", *name)];
            let mut labels: Labels = labels.iter().chain(&named).map(|(name, value)| ((*name).into(), (*value).into())).collect();
            labels.sort();
            let sample = |&(at, value): &(f64, f64)| (s(at), (!value.is_nan()).then_some(value));
            (labels, samples.iter().map(sample).collect())
        };
        Stored(all.iter().map(series).collect())
    }
}

impl Source for Stored {
    fn series(&self, name: &str, each: &mut dyn FnMut(Series<'_>)) {
        for (labels, samples) in &self.0 {
            if labels.iter().any(|(label, value)| &**label == "__name__" && &**value == name) {
                each(Series { labels, samples: &mut samples.iter().copied() });
            }
        }
    }

    fn lookback(&self) -> Duration {
        Duration::from_secs_f64(300.0)
    }
}

fn query(text: &str) -> Query {
    Query::parse(text, &["pool:slo_ratio".to_owned()]).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The one number of a query.
fn number(text: &str, stored: &Stored, at: f64) -> f64 {
    query(text).number(stored, s(at)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn close(text: &str, stored: &Stored, at: f64, expected: f64) {
    let found = number(text, stored, at);
    assert!((found - expected).abs() < 1e-9, "{text} is {found}, not {expected}");
}

const RUNNING: &str = "vllm:num_requests_running";
const WAITING: &str = "vllm:num_requests_waiting";

/// Two pods: 10 and 20 running, 3 and 5 waiting.
fn two_pods() -> Stored {
    Stored::of(&[
        (RUNNING, &[("pod", "replica-0")], &[(10.0, 10.0)]),
        (RUNNING, &[("pod", "replica-1")], &[(12.0, 20.0)]),
        (WAITING, &[("pod", "replica-0")], &[(10.0, 3.0)]),
        (WAITING, &[("pod", "replica-1")], &[(12.0, 5.0)]),
    ])
}

#[test]
fn vectors_are_matched_and_grouped() {
    let stored = two_pods();
    for (text, expected) in [
        (format!("sum({RUNNING} + {WAITING})"), 38.0),
        (format!("sum({RUNNING}) + sum({WAITING})"), 38.0),
        (format!("avg({RUNNING})"), 15.0),
        (format!("max({WAITING} / {RUNNING})"), 0.3),
        (format!("min({WAITING} / {RUNNING})"), 0.25),
        (format!("count({RUNNING})"), 2.0),
        (format!("sum({RUNNING}{{pod=\"replica-1\"}})"), 20.0),
        (format!("sum({RUNNING}{{pod!=\"replica-1\"}})"), 10.0),
        (format!("sum({RUNNING}{{pod=~\"replica-.\", namespace=\"prod\"}})"), 30.0),
        (format!("sum({RUNNING} > 15)"), 20.0),
        (format!("sum({RUNNING} > bool 15)"), 1.0),
        (format!("sum({RUNNING} and on(pod) ({WAITING} > 4))"), 20.0),
        (format!("sum({RUNNING} unless on(pod) ({WAITING} > 4))"), 10.0),
        (format!("sum({RUNNING} > 100) or vector(7)"), 7.0),
        (format!("scalar(sum({RUNNING})) * 2 - 5 % 3"), 58.0),
        (format!("sum(clamp_max({RUNNING}, 12))"), 22.0),
        (format!("sum(clamp({RUNNING}, 12, 15))"), 27.0),
        (format!("ceil(avg({WAITING}) / 3)"), 2.0),
        (format!("-sum({WAITING}) ^ 2"), -64.0),
        (format!("round(avg({RUNNING}) / 10)"), 2.0),
    ] {
        close(&text, &stored, 20.0, expected);
    }
    let by = query(&format!("sum by (pod) ({RUNNING})")).value(&stored, s(20.0)).expect("a vector");
    assert!(matches!(by, Value::Vector(samples) if samples.len() == 2 && samples[0].labels.len() == 1));
    let several = query(RUNNING).number(&stored, s(20.0)).map_err(|e| e.to_string());
    assert_eq!(several, Err("the query gives 2 samples, not one".to_owned()));
    let zero = query(&format!("sum({RUNNING}) / 0")).number(&stored, s(20.0)).map_err(|e| e.to_string());
    assert_eq!(zero, Err("the query gives inf".to_owned()));
}

#[test]
fn a_sample_counts_for_its_lookback_or_until_its_series_ends() {
    let stored = two_pods();
    close(&format!("sum({RUNNING})"), &stored, 309.0, 30.0);
    // 300 s after it, the first one no longer counts.
    close(&format!("sum({RUNNING})"), &stored, 310.0, 20.0);
    assert!(query(&format!("sum({RUNNING})")).number(&stored, s(9.0)).is_err(), "nothing is there yet");
    close(&format!("sum({RUNNING} offset 1m)"), &stored, 71.0, 10.0);
    let ended = Stored::of(&[(RUNNING, &[("pod", "a")], &[(10.0, 4.0), (20.0, f64::NAN)])]);
    close(&format!("sum({RUNNING})"), &ended, 19.0, 4.0);
    assert!(query(&format!("sum({RUNNING})")).number(&ended, s(20.0)).is_err());
}

#[test]
fn rates_are_extended_to_the_ends_of_their_range() {
    // 100 to 160 in 30 s, a sample each 15 s.
    let counter = [(5.0, 40.0), (20.0, 100.0), (35.0, 130.0), (50.0, 160.0)];
    let name = "vllm:prompt_tokens_total";
    let stored = Stored::of(&[(name, &[], &counter)]);
    // (10, 55]: 20 to 50 s, 60 more; 10 s before the first and 5 s behind the last, both less than 1.1 gaps: 60 * 45 / 30 = 90.
    close(&format!("increase({name}[45s])"), &stored, 55.0, 90.0);
    close(&format!("rate({name}[45s])"), &stored, 55.0, 2.0);
    // (5, 65]: the sample at 5 s is left out; 15 s before the first, and 15 s behind the last: 60 * 60 / 30 = 120.
    close(&format!("increase({name}[60s])"), &stored, 65.0, 120.0);
    // (-25, 95]: from 5 s on, 120 in 45 s; 30 s before is more than 16.5 s: half a gap. So is 45 s behind: 120 * 60 / 45 = 160.
    close(&format!("increase({name}[2m])"), &stored, 95.0, 160.0);
    close(&format!("irate({name}[45s])"), &stored, 55.0, 2.0);
    // A counter does not reach below zero: 3 in the first 15 s of 6 a gap is 7.5 s before at most.
    let young = Stored::of(&[(name, &[], &[(20.0, 3.0), (35.0, 9.0)])]);
    // 6 * (15 + 7.5 + 5) / 15 = 11; a gauge would reach 15 s back: 6 * (15 + 15 + 5) / 15 = 14.
    close(&format!("increase({name}[35s])"), &young, 40.0, 11.0);
    close(&format!("delta({name}[35s])"), &young, 40.0, 14.0);
    // It began anew at 35 s: 100 to 130 is 30, then 5, then 15 more: 50, in 45 s; 5 s and 5 s at the ends: 50 * 55 / 45.
    let reset = Stored::of(&[(name, &[], &[(5.0, 100.0), (20.0, 130.0), (35.0, 5.0), (50.0, 20.0)])]);
    close(&format!("increase({name}[55s])"), &reset, 55.0, 50.0 * 55.0 / 45.0);
    assert!(query(&format!("rate({name}[15s])")).number(&stored, s(20.0)).is_err(), "one sample has no rate");
}

#[test]
fn functions_over_time_look_at_every_sample() {
    let stored = Stored::of(&[("vllm:kv_cache_usage_perc", &[], &[(15.0, 0.2), (30.0, 0.6), (45.0, 0.4)])]);
    for (function, expected) in [("avg", 0.4), ("min", 0.2), ("max", 0.6), ("sum", 1.2), ("count", 3.0), ("last", 0.4)] {
        close(&format!("{function}_over_time(vllm:kv_cache_usage_perc[1m])"), &stored, 50.0, expected);
    }
    // At 15, 30 and 45 s, being the multiples of the step in (5, 50]: the same mean, of the doubled values.
    close("avg_over_time((vllm:kv_cache_usage_perc * 2)[45s:15s])", &stored, 50.0, 0.8);
}

#[test]
fn a_quantile_is_linear_within_its_bucket() {
    let name = "vllm:time_to_first_token_seconds_bucket";
    let bucket = |le: &'static str, count: f64| (name, le, count);
    let stored = |buckets: &[(&'static str, &'static str, f64)]| {
        let labels: Vec<[(&str, &str); 1]> = buckets.iter().map(|b| [("le", b.1)]).collect();
        let samples: Vec<[(f64, f64); 1]> = buckets.iter().map(|b| [(10.0, b.2)]).collect();
        let series: Vec<_> = (0..buckets.len()).map(|i| (buckets[i].0, labels[i].as_slice(), samples[i].as_slice())).collect();
        Stored::of(&series)
    };
    let some = stored(&[bucket("0.1", 20.0), bucket("0.5", 80.0), bucket("1.0", 95.0), bucket("+Inf", 100.0)]);
    // Rank 90 of 100: 10 of the 15 between 0.5 and 1.
    close(&format!("histogram_quantile(0.9, {name})"), &some, 20.0, 0.5 + 0.5 * 10.0 / 15.0);
    // Rank 10: half of the first bucket, from zero on.
    close(&format!("histogram_quantile(0.1, sum by (le) ({name}))"), &some, 20.0, 0.05);
    // In the open bucket it is the highest bound.
    close(&format!("histogram_quantile(0.99, {name})"), &some, 20.0, 1.0);
    let none = stored(&[bucket("0.1", 0.0), bucket("+Inf", 0.0)]);
    assert!(query(&format!("histogram_quantile(0.9, {name})")).number(&none, s(20.0)).is_err());
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (text, expected) in [
        ("sum(", "not PromQL"),
        ("sum(vllm:num_request_running)", "there is no metric `vllm:num_request_running`"),
        ("sum(vllm:num_request_running)", "`vllm:num_requests_running`"),
        ("topk(3, vllm:num_requests_running)", "`topk`"),
        ("predict_linear(vllm:num_requests_running[5m], 60)", "`predict_linear`"),
        ("vllm:num_requests_running offset -1m", "negative offset"),
        ("vllm:num_requests_running @ 100", "`@`"),
        ("vllm:num_requests_running * on(pod) group_left() vllm:num_requests_waiting", "group_left"),
        ("{pod=\"a\"}", "without a metric's name"),
    ] {
        let error = Query::parse(text, &[]).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let notes = query("sum(vllm:num_requests_running{model_name=\"m\", namespace=\"prod\"})").notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(query("rate(vllm:prompt_tokens_total[5m] offset 1m)").reach, Duration::from_secs_f64(360.0));
}

#[test]
fn every_policy_can_be_asked() {
    let given = Given {
        target: Some(1.0),
        min_replicas: 1,
        max_replicas: 9,
        prefill_tokens_per_s: 40_000.0,
        ttft_s: Some(0.8),
        tpot_s: Some(0.05),
        cpu_request: 8_000,
    };
    for policy in POLICIES {
        let autoscaler = policy.autoscaler(&given).unwrap_or_else(|error| panic!("{error}"));
        let controller = crate::Controller::new(&autoscaler, 1, "m");
        assert!(controller.is_ok(), "{}: {:?}", policy.name, controller.err());
    }
}
