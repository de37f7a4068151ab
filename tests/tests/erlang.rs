//! Plans of servers with several slots, against Erlang C.

use std::sync::Arc;

use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::plan::{ArrivalCounts, Bench, Settings};
use tokentide_sim::scenario::Scenario;
use tokentide_tests::scenarios::inline;

/// Time of a step [s].
const STEP: f64 = 0.02;
/// Mean tokens of an answer, each a step.
const TOKENS: f64 = 500.0;
/// Mean time of service [s].
const SERVICE: f64 = STEP * TOKENS;

/// Every step takes as long, whatever is in it.
struct Constant;

impl CostModel for Constant {
    fn iteration(&self, _: &BatchShape) -> Duration {
        Time::from_secs_f64(STEP) - Time(0)
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: u32::MAX.into() }
    }
}

/// A target: the share of requests, and the time that they may wait for a slot [s].
#[derive(Clone, Copy)]
struct Limit {
    percentile: u32,
    wait: f64,
}

/// Short prompts, exponential answers, `slots` at a time and replica: behind the random router each replica is an M/M/c queue, as a
/// Poisson stream split at random is Poisson streams.
fn servers(slots: u32, rate: f64, limit: Limit, router: &str) -> Scenario {
    let text = format!(
        r#"
requests = 40000
model = {{ name = "llama-3.1-8b" }}
gpu = {{ name = "h100-sxm" }}
engine = {{ max_num_seqs = {slots}, async_scheduling = false, enable_prefix_caching = false, max_model_len = 32768 }}
host = {{ request_us = 0, prompt_token_us = 0, token_us = 0 }}
cluster = {{ router = "{router}" }}
[[class]]
name = "all"
arrivals = {{ process = "poisson", rate = {rate} }}
slo = {{ queue_p{} = "{:.6}s" }}
prompt = {{ user = 16 }}
output = {{ tokens = {{ mean = {TOKENS} }} }}
"#,
        limit.percentile, limit.wait
    );
    Scenario { cost: Arc::new(Constant), ..inline(&text, &[]) }
}

fn replicas(scenario: &Scenario) -> u32 {
    let settings = Settings::default();
    let size = Bench::new(scenario, None, &settings, &ArrivalCounts::default()).size().expect("no trace to fail");
    size.replicas.expect("an answer")
}

/// Share of requests that wait at most `t` [s] in an M/M/c queue: Erlang C by the recursion of Erlang B, and the exponential tail
/// of the wait (Erlang, 1917; Gross and Harris, Fundamentals of Queueing Theory, section 2.3).
fn waits_at_most(t: f64, slots: u32, rate: f64) -> f64 {
    let offered = rate * SERVICE;
    let servers = f64::from(slots);
    if offered >= servers {
        return 0.0;
    }
    let blocked = (1..=slots).fold(1.0, |b, k| offered * b / (f64::from(k) + offered * b));
    let waits = servers * blocked / (servers - offered * (1.0 - blocked));
    1.0 - waits * (-(servers - offered) * t / SERVICE).exp()
}

#[test]
fn erlang_c_is_that_of_the_tables() {
    // One server: the share that waits is the load. Two: a^2 / (2 + a) (the closed form for c = 2).
    assert!((1.0 - waits_at_most(0.0, 1, 0.7 / SERVICE) - 0.7).abs() < 1e-12);
    assert!((1.0 - waits_at_most(0.0, 2, 1.5 / SERVICE) - 2.25 / 3.5).abs() < 1e-12);
}

/// The limits are many steps long: a request that finds a slot free still waits for the step that runs, which Erlang's queue does
/// not have, so a limit of about a step would measure that. Loads at which theory is within a percent of the edge are left out,
/// since a sample of waits, which depend on each other, may fall on either side there.
#[test]
fn servers_with_several_slots_are_as_many_as_erlang_c_says() {
    let mut checked = Vec::new();
    for (slots, percentile, wait) in [(4, 90, 0.8), (4, 95, 0.3), (8, 95, 0.2), (8, 99, 0.5), (16, 95, 0.1), (16, 99, 0.2)] {
        let limit = Limit { percentile, wait: wait * SERVICE };
        let wanted = f64::from(percentile) / 100.0;
        for load in [2.6, 3.7, 5.3] {
            let rate = load * f64::from(slots) / SERVICE;
            let share = |n: u32| waits_at_most(limit.wait, slots, rate / f64::from(n));
            let least = (1..100).find(|&n| share(n) >= wanted).expect("enough of them");
            let edge = 0.01_f64.min((1.0 - wanted) / 2.0);
            if share(least) < wanted + edge || share(least - 1) > wanted - edge {
                continue;
            }
            let random = replicas(&servers(slots, rate, limit, "random"));
            assert_eq!(random, least, "{slots} slots, load {load}: {:.4} and {:.4}", share(least), share(least - 1));
            let shortest = replicas(&servers(slots, rate, limit, "least-requests"));
            assert!(shortest <= random && f64::from(shortest) > load, "{shortest} where the random router needs {random}");
            checked.push((slots, random, shortest));
        }
    }
    println!("(slots, replicas behind random, behind least-requests): {checked:?}");
    for slots in [4, 8, 16] {
        assert!(checked.iter().filter(|c| c.0 == slots).count() >= 2, "too few loads are off the edge: {checked:?}");
    }
    assert!(checked.iter().any(|(_, random, shortest)| shortest < random), "knowing the queues is worth a replica: {checked:?}");
}
