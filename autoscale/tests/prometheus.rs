//! A Prometheus over time, with pods that come and go: values worked out by hand.

use tokentide_autoscale::Workload;
use tokentide_autoscale::config::{self, RecordingRule};
use tokentide_autoscale::pods::{GatewayMetrics, Pod, PodMetrics};
use tokentide_autoscale::prometheus::Prometheus;
use tokentide_autoscale::promql::{Labels, Query, Series, Source, Value};
use tokentide_models::units::{Duration, Time};

/// Pods of which number `i` runs `i + 1` requests and gives ten tokens a second.
struct Steady(Vec<u32>);

impl Workload for Steady {
    fn pods(&self) -> Vec<Pod> {
        let zero = Some(Time::ZERO);
        self.0.iter().map(|&id| Pod { id, created: Time::ZERO, running: zero, ready: zero, terminating: false }).collect()
    }

    fn pod_metrics(&mut self, pod: u32, now: Time) -> PodMetrics {
        let tokens = (now.as_secs_f64() * 10.0) as u64;
        PodMetrics { running: pod + 1, generation_tokens: tokens, ..PodMetrics::new() }
    }

    fn gateway_metrics(&mut self, _: Time) -> GatewayMetrics {
        GatewayMetrics { queued: 7, ..GatewayMetrics::default() }
    }
}

fn s(seconds: f64) -> Time {
    Time::from_secs_f64(seconds)
}

/// Lets a Prometheus run until `until`.
fn run(prometheus: &mut Prometheus, workload: &mut Steady, until: f64) {
    while prometheus.next() <= s(until) {
        prometheus.act(prometheus.next(), workload);
    }
}

/// Values that a query gives after two minutes with two pods, ascending.
fn values(text: &str) -> Vec<f64> {
    let query = Query::parse(text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut prometheus = Prometheus::new(&config::Prometheus::default(), 1, "m", &[&query]).unwrap();
    let mut workload = Steady(vec![0, 1]);
    prometheus.discover(Time::ZERO, &workload.pods());
    run(&mut prometheus, &mut workload, 120.0);
    match query.value(&prometheus, s(120.0)).unwrap() {
        Value::Scalar(value) => vec![value],
        Value::Vector(samples) => {
            let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
            values.sort_by(f64::total_cmp);
            values
        }
    }
}

#[test]
fn what_is_no_number_stays_none_under_clamps() {
    for text in ["clamp_min(0 * vllm:num_requests_waiting / 0, 1)", "clamp_max(0 * vllm:num_requests_waiting / 0, 1)"] {
        let found = values(text);
        assert!(found.len() == 2 && found.iter().all(|value| value.is_nan()), "{text}: {found:?}");
    }
    let bound = values("clamp(vllm:num_requests_running, scalar(vllm:num_requests_running), 1)");
    assert!(bound.len() == 2 && bound.iter().all(|value| value.is_nan()), "two samples are no scalar: {bound:?}");
    // Bounds the wrong way round leave nothing.
    assert_eq!(values("clamp(vllm:num_requests_running, 5, 1)"), [0.0; 0]);
    assert_eq!(values("clamp(vllm:num_requests_running, 1.5, 1.8)"), [1.5, 1.8]);
}

#[test]
fn rounding_to_a_multiple() {
    // The inverse of 0.8 is 1.25: 1 * 1.25 rounds to 1, over 1.25 = 0.8; 2 * 1.25 rounds up to 3, over 1.25 = 2.4.
    assert_eq!(values("round(vllm:num_requests_running, 0.8)"), [0.8, 2.4]);
}

#[test]
fn quantiles_of_samples() {
    // Of 1 and 2: rank 0.25 * (2 - 1), so 1 * 0.75 + 2 * 0.25.
    assert_eq!(values("quantile(0.25, vllm:num_requests_running)"), [1.25]);
    assert_eq!(values("quantile by (pod) (0.9, vllm:num_requests_running)"), [1.0, 2.0]);
    assert_eq!(values("quantile(1.5, vllm:num_requests_running)"), [f64::INFINITY]);
    assert_eq!(values("quantile(-1, vllm:num_requests_running)"), [f64::NEG_INFINITY]);
    assert_eq!(values("quantile(1, vllm:num_requests_running)"), [2.0]);
}

#[test]
fn a_filter_matched_on_labels_keeps_those_only() {
    // Both samples pass; they keep `pod` alone, so a grouping by `engine` finds one group without that label.
    assert_eq!(values("count by (engine) (vllm:num_requests_running > on (pod) vllm:num_requests_waiting)"), [2.0]);
    let query = Query::parse("vllm:num_requests_running > on (pod) vllm:num_requests_waiting", &[]).unwrap();
    let mut prometheus = Prometheus::new(&config::Prometheus::default(), 1, "m", &[&query]).unwrap();
    let mut workload = Steady(vec![0]);
    prometheus.discover(Time::ZERO, &workload.pods());
    run(&mut prometheus, &mut workload, 60.0);
    let Value::Vector(samples) = query.value(&prometheus, s(60.0)).unwrap() else { panic!("a vector") };
    assert_eq!(samples[0].labels, [("pod".into(), "replica-0".into())]);
}

#[test]
fn held_requests_and_names_of_pods() {
    assert_eq!(values("tokentide_requests_held"), [7.0]);
    let query = Query::parse("sum(vllm:num_requests_running{pod=~\"llama-.*\", namespace=\"a\"})", &[]).unwrap();
    assert!(query.notes[0].contains("replica-0") && query.notes[0].contains("llama-"), "{:?}", query.notes);
    assert!(query.notes[1].contains("`namespace`"), "{:?}", query.notes);
}

#[test]
fn a_recorded_series_ends_when_its_rule_gives_it_no_more() {
    let rules = vec![RecordingRule { record: "pod:running".into(), expr: "sum by (pod) (vllm:num_requests_running)".into() }];
    let config = config::Prometheus { rules, ..config::Prometheus::default() };
    let query = Query::parse("sum(pod:running)", &["pod:running".to_owned()]).unwrap();
    let mut prometheus = Prometheus::new(&config, 1, "m", &[&query]).unwrap();
    let mut workload = Steady(vec![0, 1]);
    prometheus.discover(Time::ZERO, &workload.pods());
    run(&mut prometheus, &mut workload, 60.0);
    assert_eq!(query.number(&prometheus, s(60.0)).unwrap(), 3.0);
    // Pod 1 goes. The rule still stands at what it gave at 60 s until it is evaluated again, and not for the lookback's 300 s.
    workload.0.pop();
    prometheus.discover(s(61.0), &workload.pods());
    assert_eq!(query.number(&prometheus, s(74.0)).unwrap(), 3.0);
    run(&mut prometheus, &mut workload, 75.0);
    assert_eq!(query.number(&prometheus, s(75.0)).unwrap(), 1.0);
    // It comes back, long after its series was let go of.
    run(&mut prometheus, &mut workload, 3600.0);
    workload.0.push(1);
    prometheus.discover(s(3600.0), &workload.pods());
    run(&mut prometheus, &mut workload, 3660.0);
    assert_eq!(query.number(&prometheus, s(3660.0)).unwrap(), 3.0);
}

#[test]
fn a_day_of_a_hundred_pods_is_the_same_twice() {
    let waiting = Query::parse("sum(vllm:num_requests_running + vllm:num_requests_waiting)", &[]).unwrap();
    let rate = Query::parse("sum(rate(vllm:generation_tokens_total[2m]))", &[]).unwrap();
    let day = || {
        let mut prometheus = Prometheus::new(&config::Prometheus::default(), 1, "m", &[&waiting, &rate]).unwrap();
        let mut workload = Steady((0..100).collect());
        prometheus.discover(Time::ZERO, &workload.pods());
        let (mut now, mut found) = (s(600.0), Vec::new());
        while now <= s(86_400.0) {
            run(&mut prometheus, &mut workload, now.as_secs_f64());
            found.push((waiting.number(&prometheus, now).unwrap(), rate.number(&prometheus, now).unwrap().to_bits()));
            now += Duration::from_secs_f64(15.0);
        }
        found
    };
    let began = std::time::Instant::now();
    let found = day();
    println!("a day took {:?}", began.elapsed());
    assert_eq!(found, day());
    // Pods run 1 + 2 + ... + 100 = 5050 requests and give 10 tokens a second each; tokens are whole, at most one off in 105 s.
    assert!(found.iter().all(|(running, rate)| *running == 5050.0 && (f64::from_bits(*rate) - 1000.0).abs() < 1.0));
}

/// Buckets at time zero, by their bounds.
struct Buckets(&'static [(&'static str, f64)]);

impl Source for Buckets {
    fn series(&self, _: &str, each: &mut dyn FnMut(Series<'_>)) {
        for (bound, count) in self.0 {
            let labels: Labels = vec![("le".into(), (*bound).into())];
            each(Series { labels: &labels, samples: &mut [(Time::ZERO, Some(*count))].into_iter() });
        }
    }

    fn lookback(&self) -> Duration {
        Duration::from_secs_f64(300.0)
    }
}

#[test]
fn a_bucket_below_the_one_before_it_counts_as_much() {
    let quantile = |q: &str, buckets| {
        let text = format!("histogram_quantile({q}, vllm:time_to_first_token_seconds_bucket)");
        Query::parse(&text, &[]).unwrap().number(&Buckets(buckets), Time::ZERO)
    };
    // Rank 0.9 * 10 = 9 lies in (2, 4], above the 5 up to 2 (not 4): 2 + 2 * (9 - 5) / (10 - 5).
    let dented = &[("1.0", 5.0), ("2.0", 4.0), ("4.0", 10.0), ("+Inf", 10.0)];
    assert_eq!(quantile("0.9", dented).unwrap(), 2.0 + 2.0 * (4.0 / 5.0));
    // Above all bounds: the last one. Without a bucket of all: nothing that is a number.
    assert_eq!(quantile("0.9", &[("1.0", 5.0), ("+Inf", 10.0)]).unwrap(), 1.0);
    assert!(quantile("0.9", &[("1.0", 5.0), ("2.0", 10.0)]).is_err());
}
