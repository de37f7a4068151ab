//! The analytic knee of the report against the simulation: what an overloaded cluster completes, and whether one at 70 % keeps up.

use tokentide_models::units::Time;
use tokentide_sim::engine::Outcome;
use tokentide_sim::run::{RunOptions, simulate};
use tokentide_sim::scenario::{Arrivals, Horizon, Rate, Scenario};
use tokentide_tests::scenarios::{inline, shipped};

/// How far the saturated rate may lie from the knee.
const TOLERANCE: f64 = 0.05;
/// Offered load of an overloaded run, as a multiple of the knee.
const OVERLOAD: f64 = 1.5;

struct Case {
    name: &'static str,
    /// TOML of model, GPU and engine.
    replica: &'static str,
    /// TOML of prompt and output.
    lengths: &'static str,
}

const CASES: [Case; 6] = [
    Case {
        name: "prefill-heavy",
        replica: "model = { name = \"llama-3.1-8b\" }\ngpu = { name = \"h100-sxm\" }",
        lengths: "prompt = { user = 4000 }\noutput = { tokens = 10 }",
    },
    Case {
        name: "prefill-heavy, spread",
        replica: "model = { name = \"llama-3.1-8b\" }\ngpu = { name = \"h100-sxm\" }",
        lengths: "prompt = { user = { median = 1500, p95 = 7000, max = 30000 } }\noutput = { tokens = { median = 13, p95 = 90 } }",
    },
    Case {
        name: "decode-heavy",
        replica: "model = { name = \"llama-3.1-8b\" }\ngpu = { name = \"h100-sxm\" }",
        lengths: "prompt = { user = 100 }\noutput = { tokens = 600 }",
    },
    Case {
        name: "decode-heavy, spread",
        replica: "model = { name = \"llama-3.1-8b\" }\ngpu = { name = \"h200-sxm\" }",
        lengths: "prompt = { user = { median = 100, p95 = 500 } }\noutput = { tokens = { median = 400, p95 = 1500 } }",
    },
    Case {
        name: "KV-bound",
        replica: "model = { name = \"llama-3.1-8b\" }\ngpu = { name = \"l40s\" }",
        lengths: "prompt = { user = 3000 }\noutput = { tokens = 800 }",
    },
    Case {
        name: "KV-bound, spread",
        replica: "model = { name = \"llama-3.1-8b\" }\ngpu = { name = \"l40s\" }",
        lengths: "prompt = { user = { median = 2000, p95 = 8000, max = 30000 } }\noutput = { tokens = { median = 400, p95 = 1500 } }",
    },
];

fn scenario(case: &Case, rate: f64, seconds: f64) -> Scenario {
    let text = format!(
        "duration = \"{seconds}s\"\n{}\n[engine]\nmax_model_len = 32768\n[[class]]\nname = \"all\"\narrivals = {{ rate = {rate} }}\n{}\n",
        case.replica, case.lengths
    );
    inline(&text, &[])
}

/// Outcomes and the knee [1/s].
fn run(scenario: &Scenario) -> (Vec<Outcome>, f64) {
    let mut outcomes = Vec::new();
    let mut keep = |outcome: &Outcome, _: &[String]| outcomes.push(outcome.clone());
    let report = simulate(scenario, None, RunOptions::default(), &|_| {}, Some(&mut keep)).expect("runs");
    (outcomes, report.summary.capacity.knee_requests_per_s)
}

/// Requests that a run's arrivals last for, whatever the rate.
const REQUESTS: f64 = 20_000.0;

fn knee(case: &Case) -> f64 {
    // At any load: the mix of lengths is what counts.
    run(&scenario(case, 10.0, REQUESTS / 10.0)).1
}

/// Completions per second in the second half of `seconds` of overload: batches are full, and arrivals still come.
fn saturated(outcomes: &[Outcome], seconds: f64) -> f64 {
    let half = seconds / 2.0..seconds;
    outcomes.iter().filter(|outcome| half.contains(&outcome.ended.as_secs_f64())).count() as f64 / (seconds / 2.0)
}

/// Whether knee and saturated rate agree to `tolerance`.
fn agrees(name: &str, knee: f64, served: f64, tolerance: f64) -> bool {
    let error = knee / served - 1.0;
    println!("{name:<22} knee {knee:>7.2}/s, saturated {served:>7.2}/s, {:+.1} %", 100.0 * error);
    error.abs() <= tolerance
}

#[test]
fn overloaded_clusters_complete_requests_at_the_knee() {
    let mut wrong = Vec::new();
    for case in &CASES {
        let knee = knee(case);
        let rate = OVERLOAD * knee;
        let seconds = REQUESTS / rate;
        let (outcomes, again) = run(&scenario(case, rate, seconds));
        assert!((again / knee - 1.0).abs() < 0.03, "{}: the knee moves with the load, {knee} to {again}", case.name);
        if !agrees(case.name, knee, saturated(&outcomes, seconds), TOLERANCE) {
            wrong.push(case.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn clusters_at_seventy_percent_keep_up() {
    for case in &CASES {
        let rate = 0.7 * knee(case);
        let seconds = REQUESTS / rate;
        let (outcomes, _) = run(&scenario(case, rate, seconds));
        let queue = |from: f64, to: f64| {
            let arrived = outcomes.iter().filter(|o| (from * seconds..to * seconds).contains(&o.request.arrival.as_secs_f64()));
            let waits: Vec<f64> = arrived.map(|o| o.scheduled.expect("scheduled").since(o.request.arrival).as_secs_f64()).collect();
            waits.iter().sum::<f64>() / waits.len() as f64
        };
        let (early, late) = (queue(0.2, 0.6), queue(0.6, 1.0));
        println!("{:<22} mean queue time {:.1} ms, then {:.1} ms", case.name, early * 1e3, late * 1e3);
        assert!(late < 3.0 * early, "{}: the queue grows, {early} s to {late} s", case.name);
        assert!(late < 0.05 * seconds, "{}: {late} s", case.name);
    }
}
/// `name` as shipped, with constant rates scaled to `load` times `knee`, for so many requests that the batch fills early.
fn scaled(name: &str, overrides: &[(&str, &str)], load: f64, knee: f64) -> (Scenario, f64) {
    let mut scenario = shipped(name, overrides);
    fn rates(scenario: &mut Scenario) -> impl Iterator<Item = &mut f64> {
        scenario.classes.iter_mut().filter_map(|class| match &mut class.arrivals {
            Some(Arrivals::Open { rate: Rate::Constant(rate), .. }) => Some(rate),
            _ => None,
        })
    }
    let offered: f64 = rates(&mut scenario).map(|rate| *rate).sum();
    rates(&mut scenario).for_each(|rate| *rate *= load * knee / offered);
    let seconds = REQUESTS * f64::from(scenario.cluster.replicas).min(3.0) / (load * knee);
    scenario.horizon = Horizon { duration: Some(Time::from_secs_f64(seconds)), requests: None };
    (scenario, seconds)
}

/// The shipped scenarios have wide spreads, several replicas and bursts, all of which cost throughput that the bound does not
/// know of.
#[test]
fn shipped_scenarios_saturate_at_their_knee() {
    let mut wrong = Vec::new();
    for name in ["support-rag", "prompt-9512", "window-a", "window-b", "top-k-4", "top-k-12", "long-context", "reasoning"] {
        let knee = run(&shipped(name, &[])).1;
        let (scenario, seconds) = scaled(name, &[], OVERLOAD, knee);
        let (outcomes, knee) = run(&scenario);
        if !agrees(name, knee, saturated(&outcomes, seconds), 0.12) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// A long system prompt is held once, not by every request, so that more of them fit.
#[test]
fn shared_text_leaves_room_for_others() {
    for tokens in ["4700", "16000"] {
        let overrides = [("class.rag.prompt.system", tokens)];
        let knee = run(&shipped("top-k-4", &overrides)).1;
        let (scenario, seconds) = scaled("top-k-4", &overrides, OVERLOAD, knee);
        let (outcomes, knee) = run(&scenario);
        assert!(agrees(&format!("system = {tokens}"), knee, saturated(&outcomes, seconds), TOLERANCE));
    }
}
