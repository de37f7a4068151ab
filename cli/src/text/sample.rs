//! Reports made by hand, for tests: plausible figures, each one different, so that a swapped column shows.

use std::collections::BTreeMap;

use tokentide_models::cost::{CostInfo, HostOverhead, Ranges};
use tokentide_sim::report::*;

/// Quantiles around a median.
pub fn quantiles(p50: f64, p95: f64, p99: f64, mean: f64, max: f64) -> Quantiles {
    Quantiles {
        count: 12_000,
        mean: Some(mean),
        p50: Some(p50),
        p90: Some(p95 * 0.8),
        p95: Some(p95),
        p99: Some(p99),
        max: Some(max),
    }
}

/// A stable, uncalibrated run of two classes on four replicas.
pub fn stable() -> Report {
    Report {
        schema_version: 1,
        scenario: "support-rag".to_owned(),
        summary: summary(),
        classes: vec![group("rag-chat", 8_000, 1.0), group("summarise-long-documents", 4_000, 3.0)],
        buckets: vec![
            group("1-512", 2_000, 0.1),
            group("513-2048", 3_000, 0.4),
            group("2049-8192", 5_000, 1.0),
            group("8193-", 2_000, 3.1),
        ],
        output_buckets: vec![group("1-256", 7_000, 0.5), group("257-", 5_000, 1.4)],
        replicas: (0..4).map(replica).collect(),
        timeline: timeline(),
        fleet: None,
        model: ModelInfo {
            name: "llama-3.1-8b".to_owned(),
            gpu: "h100-sxm".to_owned(),
            layout: "tp1".to_owned(),
            replicas: 4,
            router: "least-tokens".to_owned(),
            cost: cost_info(),
            out_of_range: Vec::new(),
        },
        ci95: None,
        fingerprint: Fingerprint {
            version: "0.1.0".to_owned(),
            scenario: "9f86d081884c7d659a2feaa0c55ad015".to_owned(),
            profile: "60303ae22b998861".to_owned(),
            trace: None,
            tokenizer: None,
            seeds: vec![42],
        },
        notes: vec![
            "speculative decoding is not modelled".to_owned(),
            "the price of h100-sxm is an on-demand list price; a committed or a spot price \
             changes every figure under Cost in proportion"
                .to_owned(),
        ],
        distributions: Vec::new(),
    }
}

fn cost_info() -> CostInfo {
    CostInfo {
        kind: "roofline",
        calibrated: false,
        profile: None,
        engine: None,
        error: None,
        source: "data sheet peaks with 0.7 of the bandwidth".to_owned(),
        hash: "60303ae22b998861".to_owned(),
        ranges: None,
        host: HostOverhead {
            step_us: 0.0,
            layer_us: 0.0,
            sync_us: 0.0,
            schedule_us: 1000.0,
            schedule_sequence_us: 5.0,
            request_us: 2000.0,
            arrival_us: 0.0,
            prompt_token_us: 0.0,
            token_us: 100.0,
        },
    }
}

fn summary() -> Summary {
    let by_source =
        [("system", 8_400_000), ("history", 18_000_000), ("retrieved", 72_000_000), ("user", 144_000), ("metadata", 7_200_000)];
    Summary {
        ttft_ms: quantiles(412.3, 812.6, 1_240.0, 455.1, 2_310.0),
        tpot_ms: quantiles(11.4, 19.8, 24.3, 12.6, 31.2),
        itl_ms: quantiles(9.61, 22.7, 61.4, 12.2, 214.0),
        e2e_ms: quantiles(3_120.0, 11_400.0, 16_800.0, 4_210.0, 24_600.0),
        queue_ms: quantiles(0.42, 96.3, 310.0, 18.4, 980.0),
        requests: RequestCounts {
            total: 12_000,
            completed: 11_988,
            by_finish: [("stop", 10_944), ("length", 1_044), ("rejected_context", 12), ("timed_out", 0)]
                .map(|(k, v)| (k.to_owned(), v))
                .into(),
        },
        input_length: quantiles(8_420.0, 14_900.0, 18_200.0, 8_812.0, 30_100.0),
        output_length: quantiles(220.0, 900.0, 1_024.0, 304.0, 1_024.0),
        input_tokens: 105_744_000,
        output_tokens: 3_644_000,
        cached_tokens: 13_200_000,
        input_tokens_by_source: by_source.map(|(k, v)| (k.to_owned(), v)).into(),
        duration_s: 2_004.0,
        output_tokens_per_s: 1_818.0,
        input_tokens_per_s: 52_766.0,
        requests_per_s: 5.982,
        iterations: 412_000,
        preemptions: 0,
        kv_blocks: 27_848,
        kv_use_peak: 0.6132,
        kv_use_mean: 0.2411,
        waiting_requests_peak: 31,
        waiting_tokens_peak: 212_400,
        utilisation: 0.7143,
        capacity: Capacity {
            offered_requests_per_s: 5.99,
            knee_requests_per_s: 9.68,
            knee_output_tokens_per_s: 2_943.0,
            load: 0.6188,
            headroom: 0.3812,
            prefill_tokens_per_s: 15_928.0,
            state: "stable".to_owned(),
        },
        slo: slo(),
        near_context_limit: 0.0031,
        output_cap_hit: 0.0871,
        cost: Cost {
            gpus: 4,
            usd_per_gpu_hour: 3.99,
            price_source: "list price, 2026-11".to_owned(),
            usd_per_hour: 15.96,
            usd_per_million_output_tokens: Some(2.4385),
            usd_per_million_tokens: Some(0.0812),
            usd_per_thousand_requests: Some(0.7411),
        },
    }
}

fn slo() -> SloSummary {
    let target = |target: &str, limit_ms: f64, value_ms: f64, attainment: f64| SloResult {
        class: "rag-chat".to_owned(),
        target: target.to_owned(),
        quantile: 0.95,
        limit_ms,
        value_ms: Some(value_ms),
        attainment,
        met: value_ms <= limit_ms,
    };
    SloSummary {
        requests: 8_000,
        good: 7_512,
        attainment: Some(0.939),
        goodput_requests_per_s: Some(3.749),
        met: Some(false),
        targets: vec![target("ttft_p95", 800.0, 812.6, 0.9461), target("tpot_p95", 50.0, 19.8, 0.99991)],
    }
}

fn group(name: &str, requests: u64, size: f64) -> Group {
    let scaled = |q: Quantiles, by: f64| Quantiles {
        count: requests,
        mean: q.mean.map(|v| v * by),
        p50: q.p50.map(|v| v * by),
        p90: q.p90.map(|v| v * by),
        p95: q.p95.map(|v| v * by),
        p99: q.p99.map(|v| v * by),
        max: q.max.map(|v| v * by),
    };
    let whole = summary();
    Group {
        name: name.to_owned(),
        requests,
        completed: requests - 3,
        input_tokens: (requests as f64 * 8_812.0 * size) as u64,
        output_tokens: requests * 304,
        cached_tokens: requests * 1_100,
        input_tokens_by_source: BTreeMap::new(),
        input_length: scaled(whole.input_length, size),
        output_length: scaled(whole.output_length, size.sqrt()),
        ttft_ms: scaled(whole.ttft_ms, size),
        tpot_ms: scaled(whole.tpot_ms, 1.0),
        itl_ms: None,
        e2e_ms: scaled(whole.e2e_ms, size.sqrt()),
        queue_ms: scaled(whole.queue_ms, size),
    }
}

fn replica(i: u32) -> ReplicaSummary {
    let more = f64::from(i) * 0.01;
    ReplicaSummary {
        requests: 3_000 + u64::from(i),
        iterations: 103_000,
        preemptions: 0,
        utilisation: 0.70 + more,
        kv_use_peak: 0.58 + more,
        load: 0.61 + more,
    }
}

fn timeline() -> Timeline {
    let wave = |i: usize| 0.5 + 0.5 * (i as f64 / 9.0).sin();
    let levels: Vec<f64> = (0..120).map(wave).collect();
    Timeline {
        bin_s: 16.7,
        arrivals: vec![100; 120],
        input_tokens: vec![881_200; 120],
        cached_tokens: levels.iter().map(|v| (v * 400_000.0) as u64).collect(),
        output_tokens: vec![30_366; 120],
        running: levels.iter().map(|v| v * 20.0).collect(),
        waiting_requests: levels.iter().map(|v| (v * 31.0 - 8.0).max(0.0)).collect(),
        waiting_tokens: levels.iter().map(|v| (v * 212_400.0 - 80_000.0).max(0.0)).collect(),
        kv_use: levels.iter().map(|v| v * 0.4).collect(),
        kv_use_max: levels.iter().map(|v| v * 0.6132).collect(),
        slo_requests: vec![100; 120],
        slo_good: vec![98; 120],
    }
}

/// A run whose replicas an autoscaler changed, and a failure.
pub fn scaled() -> Report {
    let wave = |i: usize| (i as f64 / 20.0).floor();
    let scaling = |at_s, from, to, why: &str| Scaling { at_s, from, to, why: why.to_owned() };
    let mut scaled = stable();
    scaled.fleet = Some(Fleet {
        autoscaler: Some("token-rate".to_owned()),
        ready_min: 2,
        ready_max: 7,
        ready_mean: 4.25,
        gpu_hours: 2.93,
        usd: 8.79,
        scale_ups: 4,
        scale_downs: 1,
        flaps: 1,
        start_mean_s: Some(212.4),
        start_max_s: Some(418.0),
        interrupted_by_failure: 31,
        interrupted_by_scaling: 2,
        retried: 12,
        unrouted: 3,
        slo_missed_s: Some(96.5),
        wanted: (0..120).map(|i| 2.0 + wave(i)).collect(),
        ready: (0..120).map(|i| 2.0 + wave(i.max(9) - 9)).collect(),
        starting: (0..120).map(|i| wave(i) - wave(i.max(9) - 9)).collect(),
        draining: vec![0.0; 120],
        scalings: vec![
            scaling(333.0, 2, 3, "token-rate 40631.276 against 12000 per replica: 4"),
            scaling(
                1800.0,
                7,
                6,
                "token-rate 61000 against 12000 per replica: 2, held at 6 by stabilisation, held at 6 by the rate",
            ),
        ],
    });
    scaled
}

/// More work than the replicas can do; calibrated, but outside its ranges.
pub fn overloaded() -> Report {
    let mut report = stable();
    let capacity = &mut report.summary.capacity;
    (capacity.load, capacity.headroom, capacity.state) = (1.374, -0.374, "overloaded".to_owned());
    capacity.offered_requests_per_s = 13.3;
    report.summary.utilisation = 1.0;
    report.summary.ttft_ms = quantiles(284_000.0, 611_000.0, 702_000.0, 301_000.0, 7_810_000.0);
    report.summary.preemptions = 21_412;
    report.summary.kv_use_peak = 0.99961;
    report.summary.slo.targets[0].value_ms = None;
    report.summary.input_tokens_by_source.clear();
    report.summary.cached_tokens = 0;
    report.model.cost.calibrated = true;
    report.model.cost.kind = "calibrated";
    report.model.cost.ranges = Some(Ranges { decodes_max: 256, context_max: 8_192, prefill_tokens_max: 16_384 });
    report.model.cost.profile = Some("h100-llama-3.1-8b-vllm-0.24".to_owned());
    report.model.cost.error = Some("decode 1.4 % mean, 5.1 % worst".to_owned());
    report.model.out_of_range = vec!["18,200 tokens of context in a decode (measured to 8,192)".to_owned()];
    report
}

/// A closed loop at its knee.
pub fn saturated() -> Report {
    let mut report = stable();
    let capacity = &mut report.summary.capacity;
    capacity.offered_requests_per_s = 9.78;
    (capacity.load, capacity.headroom, capacity.state) = (1.0103, -0.0103, "saturated by design".to_owned());
    report
}

/// Near the knee, means of eight replications with their intervals.
pub fn replicated() -> Report {
    let mut report = stable();
    let capacity = &mut report.summary.capacity;
    (capacity.load, capacity.headroom, capacity.state) = (0.931, 0.069, "near the knee".to_owned());
    capacity.offered_requests_per_s = 9.01;
    report.fingerprint.seeds = (42..50).collect();
    let mut ci = BTreeMap::new();
    let summary = &report.summary;
    for (metric, q) in [
        ("ttft", summary.ttft_ms),
        ("tpot", summary.tpot_ms),
        ("itl", summary.itl_ms),
        ("e2e", summary.e2e_ms),
        ("queue", summary.queue_ms),
    ] {
        for (stat, value, share) in [("p50", q.p50, 0.012), ("p95", q.p95, 0.031), ("p99", q.p99, 0.084), ("mean", q.mean, 0.017)] {
            ci.insert(format!("summary.{metric}_ms.{stat}"), value.unwrap_or(0.0) * share);
        }
    }
    ci.insert("summary.utilisation".to_owned(), 0.0122);
    ci.insert("summary.capacity.load".to_owned(), 0.0213);
    ci.insert("summary.requests_per_s".to_owned(), 0.061);
    ci.insert("summary.slo.attainment".to_owned(), 0.0034);
    report.ci95 = Some(ci);
    report
}

/// One replica, one class, nothing completed: every figure that may be absent is.
pub fn empty() -> Report {
    let mut report = stable();
    let summary = &mut report.summary;
    let none = Quantiles::default();
    (summary.ttft_ms, summary.tpot_ms, summary.itl_ms, summary.e2e_ms, summary.queue_ms) = (none, none, none, none, none);
    (summary.input_length, summary.output_length) = (none, none);
    summary.requests = RequestCounts::default();
    (summary.input_tokens, summary.output_tokens, summary.cached_tokens) = (0, 0, 0);
    summary.input_tokens_by_source.clear();
    summary.slo = SloSummary::default();
    (summary.waiting_requests_peak, summary.waiting_tokens_peak) = (0, 0);
    summary.cost.usd_per_million_output_tokens = None;
    summary.cost.usd_per_million_tokens = None;
    summary.cost.usd_per_thousand_requests = None;
    report.timeline = Timeline::default();
    report.classes.truncate(1);
    report.buckets.clear();
    report.replicas.truncate(1);
    report.model.replicas = 1;
    report.notes.clear();
    report
}
