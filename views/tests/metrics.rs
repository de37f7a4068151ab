//! Pages and series against the obvious count, against the report, and against each other.

mod common;

use std::collections::BTreeMap;

use common::{Page, chats, measured, parse, total, watched};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::engine::{CoreId, Finish, Levels, Observer, Outcome, StepView};
use tokentide_sim::scenario::Scenario;
use tokentide_views::{Meter, Sampling, ViewError};

const S: u64 = 1_000_000_000_000;

fn every(ms: u64) -> Sampling {
    Sampling::Every(Duration(ms * S / 1000))
}

/// A batch: request, tokens computed before, tokens.
type Batch = Vec<(u64, u32, u32)>;

/// Keeps all that happens, step by step.
#[derive(Default)]
struct Slow {
    steps: Vec<(CoreId, Time, Batch)>,
    levels: Vec<(CoreId, Time, Time, Levels)>,
}

impl Observer for Slow {
    fn outcome(&mut self, _: Outcome) {}

    fn wants_steps(&self) -> bool {
        true
    }

    fn step(&mut self, step: &StepView<'_>) {
        assert!(step.preempted.is_empty(), "this count knows no preemptions");
        self.steps.push((CoreId { replica: step.replica, rank: step.rank }, step.end, step.batch.to_vec()));
    }

    fn levels(&mut self, core: CoreId, from: Time, to: Time, levels: &Levels) {
        self.levels.push((core, from, to, *levels));
    }
}

/// One observation: family, engine core, when, value.
type Seen = (&'static str, CoreId, Time, u64);

/// All observations of a run, and all increments of counters, one by one.
fn observations(scenario: &Scenario, slow: &Slow, outcomes: &[Outcome]) -> (Vec<Seen>, Vec<Seen>) {
    let requests: BTreeMap<u64, &Outcome> = outcomes.iter().map(|outcome| (outcome.request.id, outcome)).collect();
    let (mut seen, mut counted): (Vec<Seen>, Vec<Seen>) = Default::default();
    let mut last: BTreeMap<u64, Time> = BTreeMap::new();
    for (core, end, batch) in &slow.steps {
        let (mut tokens, shown) = (0, *end + scenario.egress());
        for &(id, computed, more) in batch {
            let outcome = requests[&id];
            let input = outcome.request.input_tokens;
            // A step that is scheduled for a request that has stopped gives it nothing.
            if computed + more < input || computed + more - input >= outcome.output_tokens {
                continue;
            }
            tokens += 1;
            counted.push(("vllm:generation_tokens", *core, shown, 1));
            if let Some(before) = last.insert(id, *end) {
                seen.push(("vllm:inter_token_latency_seconds", *core, shown, (*end - before).0));
                continue;
            }
            tokens += u64::from(input - outcome.cached_tokens);
            seen.push(("vllm:time_to_first_token_seconds", *core, shown, (shown - outcome.request.arrival).0));
            counted.push(("vllm:prompt_tokens", *core, shown, input.into()));
            counted.push(("vllm:prompt_tokens_cached", *core, shown, outcome.cached_tokens.into()));
            counted.push(("vllm:prefix_cache_hits", *core, shown, outcome.cached_tokens.into()));
            counted.push(("vllm:prefix_cache_queries", *core, shown, input.into()));
        }
        if tokens > 0 {
            seen.push(("vllm:iteration_tokens_total", *core, shown, tokens));
        }
    }
    for outcome in outcomes {
        seen.extend(finished(scenario, outcome));
    }
    (seen, counted)
}

fn finished(scenario: &Scenario, outcome: &Outcome) -> Vec<Seen> {
    let (request, tokens) = (&outcome.request, u64::from(outcome.output_tokens));
    let (scheduled, first) = (outcome.scheduled.expect("it ran"), outcome.first_token.expect("it ran").0 - scenario.egress().0);
    let last = outcome.ended.0 - scenario.egress().0;
    let core = CoreId { replica: outcome.replica, rank: outcome.rank };
    let limit = u64::from(request.max_tokens).min(u64::from(scenario.engine.max_model_len - request.input_tokens));
    [
        ("vllm:e2e_request_latency_seconds", (outcome.ended - request.arrival).0),
        ("vllm:request_queue_time_seconds", (scheduled - outcome.queued.expect("it ran")).0),
        ("vllm:request_prefill_time_seconds", first - scheduled.0),
        ("vllm:request_decode_time_seconds", last - first),
        ("vllm:request_inference_time_seconds", last - scheduled.0),
        ("vllm:request_time_per_output_token_seconds", if tokens == 1 { 0 } else { (last - first) / (tokens - 1) }),
        ("vllm:request_prompt_tokens", request.input_tokens.into()),
        ("vllm:request_prefill_kv_computed_tokens", (request.input_tokens - outcome.cached_tokens).into()),
        ("vllm:request_generation_tokens", tokens),
        ("vllm:request_max_num_generation_tokens", tokens),
        ("vllm:request_params_max_tokens", limit),
        ("vllm:request_num_preemptions", 0),
    ]
    .map(|(name, value)| (name, core, outcome.ended, value))
    .to_vec()
}

fn labels(core: CoreId, replicas: u32) -> String {
    let pod = if replicas > 1 { format!(",pod=\"replica-{}\"", core.replica) } else { String::new() };
    format!("engine=\"{}\",model_name=\"llama-3.1-8b\"{pod}", core.rank)
}

/// Every number of every sample.
#[test]
fn samples_are_what_the_obvious_count_gives() {
    for changes in [
        &[("engine.async_scheduling", "false")][..],
        &[("cluster.replicas", "2"), ("engine.max_num_batched_tokens", "512"), ("gpu.name", "\"h100-sxm\"")],
        &[("engine.enable_prefix_caching", "false"), ("class.chat.arrivals.rate", "1.0")],
    ] {
        let scenario = chats(changes);
        let replicas = scenario.cluster.replicas;
        let mut slow = Slow::default();
        let outcomes = watched(&scenario, &mut slow).1;
        assert!(outcomes.iter().all(|outcome| outcome.finish.completed()), "this count knows no others");
        let (seen, counted) = observations(&scenario, &slow, &outcomes);
        let page = parse(&measured(&scenario, every(700)).0.expect("a page"), true);
        let mut compared = 0;
        for (sample, series) in &page {
            for (text, values) in series {
                for (&ms, &value) in values {
                    let at = Time(ms as u64 * S / 1000);
                    if let Some(expected) = expected(sample, text, at, (&seen, &counted), &scenario) {
                        assert!((value - expected).abs() <= 1e-9 * expected, "{sample}{{{text}}} at {ms} ms: {value}, {expected}");
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 8_000, "{compared} numbers");
        levels_agree(&page, &slow, replicas, scenario.kv_blocks);
    }
}

/// What a number must be; `None` of those that are not counted here.
fn expected(sample: &str, text: &str, at: Time, (seen, counted): (&[Seen], &[Seen]), scenario: &Scenario) -> Option<f64> {
    let of = |(name, core, when, _): &&Seen, family: &str| {
        *name == family && *when <= at && text.starts_with(&labels(*core, scenario.cluster.replicas))
    };
    if let Some(family) = sample.strip_suffix("_total").filter(|family| counted.iter().any(|(name, ..)| name == family)) {
        let caching = scenario.engine.enable_prefix_caching || family != "vllm:prefix_cache_queries";
        let sum: u64 = counted.iter().filter(|seen| of(seen, family)).map(|seen| seen.3).sum();
        return Some(if caching { sum as f64 } else { 0.0 });
    }
    let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.strip_suffix(end))?;
    let values = seen.iter().filter(|seen| of(seen, family)).map(|seen| seen.3);
    let unit = if family.ends_with("_seconds") { S as f64 } else { 1.0 };
    Some(match text.split_once(",le=\"") {
        Some((_, le)) => {
            let bound = le.trim_end_matches('"').parse::<f64>().map_or(u64::MAX, |le| (le * unit).round() as u64);
            values.filter(|&value| value <= bound).count() as f64
        }
        None if sample.ends_with("_sum") => values.map(u128::from).sum::<u128>() as f64 / unit,
        None => values.count() as f64,
    })
}

/// Requests exactly; blocks to within one of each request, as they grow steadily within a leap.
fn levels_agree(page: &Page, slow: &Slow, replicas: u32, kv_blocks: u32) {
    let mut busy = 0;
    for (core, from, to, levels) in &slow.levels {
        let text = labels(*core, replicas);
        for (&ms, &running) in &page["vllm:num_requests_running"][&text] {
            let at = Time(ms as u64 * S / 1000);
            if *from <= at && at < *to {
                assert_eq!(
                    (running, page["vllm:num_requests_waiting"][&text][&ms]),
                    (levels.running.into(), levels.waiting.into())
                );
                let blocks = (page["vllm:kv_cache_usage_perc"][&text][&ms] * f64::from(kv_blocks)).round();
                assert!((blocks - f64::from(levels.kv_used_from)).abs() <= running, "{blocks} {levels:?}");
                busy += u32::from(running > 0.0);
            }
        }
    }
    assert!(busy > 10, "samples that show something");
}

/// The page at the end says what the report says.
#[test]
fn a_page_adds_up_to_the_report() {
    let crowded =
        [("engine.num_gpu_blocks_override", "300"), ("engine.max_model_len", "2048"), ("class.chat.arrivals.rate", "9.0")];
    let ranks = [("gpu.data_parallel", "2"), ("cluster.replicas", "2"), ("class.chat.arrivals.rate", "20.0")];
    let batchwise = [("engine.scheduler", "\"sarathi\""), ("engine.enable_prefix_caching", "false")];
    let stages = [("gpu.pipeline_parallel", "2"), ("engine.async_scheduling", "false")];
    for (changes, preempts) in [(&crowded[..], true), (&ranks, false), (&batchwise, false), (&stages, false)] {
        let scenario = chats(changes);
        let (text, report) = measured(&scenario, Sampling::End);
        let page = parse(&text.expect("a page"), false);
        let summary = &report.summary;
        assert_eq!(summary.preemptions > 0, preempts, "{changes:?}");
        let of = |name: &str| total(&page, name, 0) as u64;
        let finished = |reason: &str| {
            let series = page["vllm:request_success_total"].iter().filter(|(labels, _)| labels.contains(reason));
            series.map(|(_, samples)| samples[&0] as u64).sum::<u64>()
        };
        let ended = |finish: Finish| summary.requests.by_finish.get(finish.name()).copied().unwrap_or(0);
        let computed = total(&page, "vllm:request_prefill_kv_computed_tokens_sum", 0) as u64;
        assert_eq!(of("vllm:prompt_tokens_total"), summary.input_tokens);
        assert_eq!(of("vllm:prompt_tokens_cached_total"), summary.cached_tokens);
        assert_eq!(computed, summary.input_tokens - summary.cached_tokens);
        assert_eq!(of("vllm:prompt_tokens_by_source_total"), summary.input_tokens);
        assert_eq!(of("vllm:generation_tokens_total"), summary.output_tokens);
        assert_eq!(of("vllm:num_preemptions_total"), summary.preemptions);
        assert_eq!(of("vllm:request_num_preemptions_sum"), summary.preemptions);
        assert_eq!(finished("\"stop\""), ended(Finish::Stop));
        assert_eq!(finished("\"length\""), ended(Finish::Length) + ended(Finish::Truncated));
        assert_eq!(of("vllm:iteration_tokens_total_sum"), summary.output_tokens + summary.input_tokens - summary.cached_tokens);
        assert!(of("vllm:iteration_tokens_total_count") <= summary.iterations);
        for (name, quantiles) in [
            ("time_to_first_token", &summary.ttft_ms),
            ("inter_token_latency", &summary.itl_ms),
            ("e2e_request_latency", &summary.e2e_ms),
        ] {
            let count = of(&format!("vllm:{name}_seconds_count"));
            let mean = total(&page, &format!("vllm:{name}_seconds_sum"), 0) / count as f64 * 1e3;
            assert_eq!(count, quantiles.count, "{name}");
            assert!((mean - quantiles.mean.expect("some")).abs() < 1e-9 * mean, "{name}: {mean}");
        }
        let engines = page["vllm:num_requests_running"].len();
        assert_eq!(engines as u32, scenario.cluster.replicas * scenario.deployment.data_parallel);
    }
}

/// One page is one sample of the series, and the last sample is the page at the end.
#[test]
fn pages_are_samples_of_the_series() {
    let scenario = chats(&[("cluster.replicas", "2")]);
    let series = parse(&measured(&scenario, every(1000)).0.expect("series"), true);
    let last = *series["vllm:num_requests_running"].values().next().expect("a replica").keys().last().expect("a sample");
    for (sampling, ms) in [(Sampling::At(Time(7 * S)), 7000), (Sampling::At(Time::ZERO), 0), (Sampling::End, last)] {
        let page = parse(&measured(&scenario, sampling).0.expect("a page"), false);
        assert!(page.keys().eq(series.keys()));
        for (name, samples) in &page {
            for (labels, values) in samples {
                assert_eq!(values[&0], series[name][labels][&ms], "{name}{{{labels}}} at {ms} ms");
            }
        }
    }
    let (error, report) = measured(&scenario, Sampling::At(Time(3600 * S)));
    assert!(matches!(error, Err(ViewError::AfterTheEnd { .. })) && report.summary.requests.total > 0);
    assert!(
        matches!(measured(&scenario, Sampling::Every(Duration(S / 1000))).0, Err(ViewError::TooManySamples { .. }))
            == (last > 25_000)
    );
}

/// Series of a replica that fails end with it; those of the one that comes begin at nothing.
#[test]
fn series_come_and_go_with_their_replica() {
    let scenario = chats(&[
        ("cluster.replicas", "2"),
        ("cluster.failure", "[{ at = \"8s\", what = \"container\", index = 0 }]"),
        ("cluster.startup", "[{ phase = \"weights\", when = \"container\", time = \"4s\" }]"),
        ("cluster.interrupted", "\"retried\""),
    ]);
    let text = measured(&scenario, every(1000)).0.expect("series");
    assert_eq!(text, measured(&scenario, every(1000)).0.expect("series"), "the same bytes each time");
    let page = parse(&text, true);
    let times = |replica: u32| {
        let samples = &page["vllm:generation_tokens_total"][&labels(CoreId { replica, rank: 0 }, 3)];
        (*samples.keys().next().expect("a sample"), *samples.keys().last().expect("a sample"), samples.clone())
    };
    let (first, second, third) = (times(0), times(1), times(2));
    assert_eq!((first.0, first.1), (0, 7000), "gone at 8 s");
    assert_eq!((second.0, third.0, second.1), (0, 12_000, third.1), "ready after 4 s");
    assert_eq!(third.2[&12_000], 0.0);
    assert!(third.2[&15_000] > 0.0 && second.1 >= 20_000);
    // At the end only those are there that still are.
    let page = parse(&measured(&scenario, Sampling::End).0.expect("a page"), false);
    assert_eq!(page["vllm:num_requests_running"].len(), 2);
    let page = parse(&measured(&scenario, Sampling::At(Time(10 * S))).0.expect("a page"), false);
    assert!(page["vllm:num_requests_running"].keys().eq([&labels(CoreId { replica: 1, rank: 0 }, 3)]));
}

/// Clients that give up are aborts, and no latencies.
#[test]
fn aborts_are_counted_apart() {
    let scenario = chats(&[("class.chat.timeout", "\"1500ms\""), ("class.chat.arrivals.rate", "30.0")]);
    let (text, report) = measured(&scenario, Sampling::End);
    let page = parse(&text.expect("a page"), false);
    let summary = &report.summary;
    let aborted =
        page["vllm:request_success_total"].iter().find(|(labels, _)| labels.contains("\"abort\"")).expect("a series").1[&0];
    assert!(aborted > 0.0 && aborted as u64 <= summary.requests.by_finish["timed_out"]);
    assert_eq!(total(&page, "vllm:e2e_request_latency_seconds_count", 0) as u64, summary.requests.completed);
}

/// A meter changes nothing, to the last bit.
#[test]
fn the_report_is_the_same() {
    let scenario = chats(&[]);
    let plain = tokentide_sim::run::simulate(&scenario, None, Default::default(), &|_| {}, None).expect("it runs");
    let report = watched(&scenario, &mut Meter::new(&scenario, every(100))).0;
    assert_eq!(serde_json::to_string(&report).expect("JSON"), serde_json::to_string(&plain).expect("JSON"));
}
