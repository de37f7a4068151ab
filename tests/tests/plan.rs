//! Plans against what queueing theory, brute force and arithmetic say.

use std::sync::Arc;

use rayon::ThreadPoolBuilder;
use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::plan::{ArrivalCounts, Bench, Candidate, Plan, Questions, Settings, Verdict, plan};
use tokentide_sim::scenario::{Scenario, Serves};
use tokentide_tests::scenarios::{inline, report, shipped};

fn planned(scenarios: &[Scenario], settings: &Settings, questions: &Questions) -> Plan {
    let name = |scenario: &Scenario| scenario.name.clone();
    let candidates: Vec<Candidate> = scenarios.iter().map(|s| Candidate { name: name(s), scenario: Ok(s.clone()) }).collect();
    plan(&candidates, None, settings, questions, &|_| {}).expect("no trace to fail")
}

fn replicas(scenario: &Scenario) -> Option<u32> {
    let settings = Settings::default();
    Bench::new(scenario, None, &settings, &ArrivalCounts::default()).size().expect("no trace to fail").replicas
}

/// One request at a time, all alike, sent at random: each replica is an M/D/1 queue.
fn single_servers(rate: f64, limit: &str) -> Scenario {
    let text = format!(
        r#"
requests = 60000
model = {{ name = "llama-3.1-8b" }}
gpu = {{ name = "h100-sxm" }}
engine = {{ max_num_seqs = 1, async_scheduling = false, enable_prefix_caching = false }}
host = {{ request_us = 0, prompt_token_us = 0, token_us = 0 }}
cluster = {{ router = "random" }}
[[class]]
name = "all"
arrivals = {{ process = "poisson", rate = {rate} }}
slo = {{ queue_p90 = "{limit}" }}
prompt = {{ user = 2000 }}
output = {{ tokens = 1 }}
"#
    );
    inline(&text, &[])
}

/// Share of requests that wait at most `t` [s] in an M/D/1 queue of service time `d` [s] (Erlang, 1909).
fn waits_at_most(t: f64, d: f64, rate: f64) -> f64 {
    if rate * d >= 1.0 {
        return 0.0;
    }
    let mut sum = 0.0;
    for k in 0..=(t / d) as u32 {
        let x = rate * (f64::from(k) * d - t);
        let factorial: f64 = (1..=k).map(f64::from).product();
        sum += x.powi(k as i32) / factorial * (-x).exp();
    }
    (1.0 - rate * d) * sum
}

#[test]
fn single_servers_are_as_many_as_queueing_theory_says() {
    let service = {
        let alone = report(&Scenario { horizon: shipped("batch", &[]).horizon, ..single_servers(0.01, "1s") }.with_load(1.0));
        alone.summary.ttft_ms.p50.expect("a median") / 1e3
    };
    let mut checked = 0;
    for (rate, services) in
        [(20.0, 0.5), (45.0, 1.0), (60.0, 1.5), (80.0, 2.0), (100.0, 4.0), (130.0, 0.8), (150.0, 2.5), (170.0, 6.0), (200.0, 3.0)]
    {
        let limit = services * service;
        let share = |n: u32| waits_at_most(limit, service, rate / f64::from(n));
        let least = (1..500).find(|&n| share(n) >= 0.9).expect("enough of them");
        // Where theory itself is on the edge, a sample may fall on either side.
        if share(least) < 0.903 || least > 1 && share(least - 1) > 0.897 {
            continue;
        }
        checked += 1;
        let scenario = single_servers(rate, &format!("{:.6}ms", limit * 1e3));
        assert_eq!(replicas(&scenario), Some(least), "{rate}/s, {:.4} and {:.4}", share(least), share(least - 1));
    }
    assert!(checked >= 3, "only {checked} loads were off the edge");
}

/// Small and quick, with a target that a few replicas meet.
fn small(settings: &[(&str, &str)]) -> Scenario {
    let text = r#"
duration = "60s"
warmup = "5s"
model = { name = "llama-3.1-8b" }
gpu = { name = "l40s" }
cluster = { router = "least-requests" }
[[class]]
name = "chat"
arrivals = { process = "gamma", rate = 8.0, cv = 1.5 }
slo = { ttft_p90 = "700ms", tpot_p90 = "60ms" }
prompt = { system = 300, user = { median = 300, p95 = 2500 } }
output = { tokens = { median = 120, p95 = 500 } }
[[class]]
name = "search"
arrivals = { rate = 4.0 }
slo = { e2e_p95 = "12s" }
prompt = { retrieved = { top_k = 4, chunk = 300 } }
output = { tokens = { median = 60, p95 = 150 } }
"#;
    inline(text, settings)
}

/// A run that ends early comes to the verdict of the whole run, whatever the number of replicas; the search finds the first that
/// holds.
#[test]
fn the_search_is_that_of_whole_runs_one_by_one() {
    let settings = Settings::default();
    for seed in ["1", "2", "3", "4", "5", "6"] {
        for rate in ["3.0", "9.0", "20.0"] {
            let scenario = small(&[("seed", seed), ("class.chat.arrivals.rate", rate)]);
            let counts = ArrivalCounts::default();
            let mut bench = Bench::new(&scenario, None, &settings, &counts);
            let whole = |n: u32| {
                let summary = report(&scenario.with_replicas(n)).summary;
                summary.slo.met == Some(true) && summary.capacity.state != "overloaded"
            };
            for n in 1..=10 {
                assert_eq!(bench.screen(n).expect("no trace"), whole(n), "seed {seed}, {rate}/s, {n} replicas");
            }
        }
    }
}

#[test]
fn more_load_never_takes_fewer_replicas_and_keeps_them_busier() {
    let settings = Settings::default();
    let mut last = (0, 0.0);
    for factor in [0.25, 0.5, 1.0, 2.0, 4.0] {
        let scenario = small(&[]).with_load(factor);
        let n = replicas(&scenario).expect("an answer");
        // The last answers, which few replicas give, still weigh a little: hence the two hundredths.
        let long = small(&[("duration", "10m")]).with_replicas(12);
        let busy = report(&long.with_load(factor)).summary.utilisation;
        assert!(n >= last.0 && busy >= last.1 - 0.02, "{factor}: {n} after {}, {busy} after {}", last.0, last.1);
        last = (n, busy);
    }
    assert!(last.0 > 4, "{} replicas for 16 times the least load", last.0);
    let row = &planned(&[small(&[])], &settings, &Questions::default()).options[0];
    let room = row.room.as_ref().expect("an answer");
    let (n, headroom) = (row.replicas.expect("an answer"), room.headroom.expect("a limit"));
    let met = |factor: f64| {
        let summary = report(&small(&[]).with_replicas(n).with_load(factor)).summary;
        summary.slo.met == Some(true) && summary.capacity.state != "overloaded"
    };
    assert_eq!((met(1.0 + headroom), met((1.0 + headroom) * 1.06)), (true, false), "the headroom is {headroom}");
}

#[test]
fn an_answer_is_proved_on_both_sides_and_threads_change_nothing() {
    let scenarios =
        [small(&[]), small(&[("gpu.name", "h100-sxm"), ("name", "h100")]), small(&[("class.chat.slo.tpot_p90", "1ms")])];
    let settings = Settings { zones: Some(3), ..Settings::default() };
    let json = |threads: usize| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let plan = pool.install(|| planned(&scenarios, &settings, &Questions::default()));
        (serde_json::to_string(&plan).expect("is JSON"), plan)
    };
    let (one, plan) = json(1);
    assert!(one == json(4).0);
    for row in plan.options.iter().filter(|row| row.replicas.is_some()) {
        let n = row.replicas.expect("an answer");
        assert!(row.targets.iter().all(|t| t.attainment - t.half_width.expect("several seeds") > t.quantile), "{n} is not proved");
        let failures = row.failures.as_ref().expect("an answer");
        let zones = failures.zones.as_ref().and_then(|zones| zones.replicas).expect("three zones");
        assert!(zones - zones.div_ceil(3) >= n && failures.replicas_for_one_down == n + 1);
    }
    let hopeless = plan.options.last().expect("three options");
    assert_eq!((hopeless.verdict, hopeless.replicas), (Verdict::OutOfReach, None));
    assert!(hopeless.reason.as_ref().is_some_and(|why| why.starts_with("no count helps")), "{:?}", hopeless.reason);
    assert!(plan.options[0].pareto, "the cheapest is never beaten in price");
}

/// Every step twice as long, and no leaps.
struct Twice(Arc<dyn CostModel>);

impl CostModel for Twice {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        Duration(2 * self.0.iteration(batch).0)
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: 0 }
    }
}

/// Time that runs twice as fast is a server that is twice as slow.
#[test]
fn a_slower_server_is_the_same_one_on_a_faster_clock() {
    let scenario = small(&[]).with_replicas(3);
    let dilated = report(&scenario.with_cost_factor(2.0)).summary;
    let mut slow = Scenario { cost: Arc::new(Twice(scenario.cost.clone())), ..scenario };
    slow.cost_info.host.request_us *= 2.0;
    slow.cost_info.host.prompt_token_us *= 2.0;
    slow.cost_info.host.token_us *= 2.0;
    let slow = report(&slow).summary;
    assert_eq!((slow.requests.total, slow.output_tokens), (dilated.requests.total, dilated.output_tokens));
    for (a, b) in slow.slo.targets.iter().zip(&dilated.slo.targets) {
        assert!((a.attainment - b.attainment).abs() < 2.0 / slow.requests.total as f64, "{}: {a:?} {b:?}", a.target);
    }
    let ttft = |summary: &tokentide_sim::report::Summary| summary.ttft_ms.mean.expect("a mean");
    assert!((ttft(&slow) / (2.0 * ttft(&dilated)) - 1.0).abs() < 1e-6, "{} against twice {}", ttft(&slow), ttft(&dilated));
    assert!((slow.utilisation / dilated.utilisation - 1.0).abs() < 1e-6);
}

#[test]
fn pools_see_the_very_requests_of_the_whole() {
    let scenario = small(&[]).with_replicas(2);
    let ids = |scenario: &Scenario| {
        let mut ids = Vec::new();
        let mut keep = |outcome: &tokentide_sim::engine::Outcome, _: &[String]| {
            let request = &outcome.request;
            ids.push((request.id, request.arrival, request.input_tokens, request.output_tokens));
        };
        let options = tokentide_sim::run::RunOptions::default();
        tokentide_sim::run::simulate(scenario, None, options, &|_| {}, Some(&mut keep)).expect("runs");
        ids.sort();
        ids
    };
    let all = ids(&scenario);
    let pool = |low: u32, high: u32| ids(&scenario.serving(&Serves::lengths(low, high)).expect("open loops can be split"));
    let mut both = [pool(0, 900), pool(901, u32::MAX)].concat();
    both.sort();
    assert!(both == all && !pool(0, 900).is_empty());
    let agents = shipped("agents", &[]).serving(&Serves::lengths(0, 900));
    assert!(agents.is_err_and(|why| why.contains("sessions")));
}

#[test]
fn the_windows_of_a_curve_follow_it() {
    let curve = "{ points = [[\"0s\", 2.0], [\"60s\", 2.0], [\"61s\", 20.0], [\"120s\", 20.0], [\"121s\", 2.0]] }";
    let scenario = small(&[("class.chat.arrivals.rate", curve), ("duration", "3m"), ("warmup", "0s")]);
    let questions = Questions { window: Some(Time::from_secs_f64(60.0)), ..Questions::default() };
    let day = planned(&[scenario], &Settings::default(), &questions).day.expect("windows were asked for");
    let counts: Vec<u32> = day.windows.iter().map(|w| w.replicas.expect("an answer")).collect();
    assert!(counts.len() == 3 && counts[1] > counts[0] && counts[1] > counts[2], "{counts:?}");
    assert_eq!((day.peak_replicas, day.peak_start_s), (Some(counts[1]), Some(60.0)));
    let following = f64::from(counts.iter().sum::<u32>()) / 60.0;
    assert!((day.replica_hours_following.expect("all have one") - following).abs() < 1e-9);
}
