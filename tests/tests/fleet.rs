//! Replicas that come and go, on examples worked out by hand (a step takes 10 ps) and on shipped scenarios.

use std::collections::BTreeMap;

use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::{Cluster, Count, History};
use tokentide_sim::engine::{Finish, Layout, Outcome};
use tokentide_sim::run::{RunOptions, simulate};
use tokentide_sim::scenario::{
    ClusterConfig, Distribution, Dynamics, Failing, Failure, Interrupted, Phase, Router, Scenario, Scheduled, When,
};
use tokentide_sim::workload::{Listed, Request};
use tokentide_tests::recorder::Recorder;
use tokentide_tests::scenarios::shipped;
use tokentide_tests::small::{Ten, engine, replica, request};

/// A second.
const S: u64 = 1_000_000_000_000;
/// A client's pause before it sends again.
const PAUSE: u64 = S / 2;

/// A node takes 100 s, a container 10 s.
fn quiet() -> Dynamics {
    let phase = |name: &str, when, seconds| Phase { name: name.to_owned(), when, time: Distribution::Fixed(seconds) };
    Dynamics {
        startup: vec![phase("node", When::Node, 100.0), phase("container", When::Container, 10.0)],
        warm_nodes: 0,
        node_keep: Duration(600 * S),
        termination_grace: Duration(30 * S),
        zones: 1,
        interrupted: Interrupted::Lost,
        hold: Duration(1000 * S),
        failures: Vec::new(),
        schedule: Vec::new(),
        autoscaler: None,
        slos: Vec::new(),
    }
}

fn fails(at: u64, what: Failing) -> Vec<Failure> {
    vec![Failure { at: Time(at), what }]
}

fn scheduled(entries: &[(u64, u32)]) -> Vec<Scheduled> {
    entries.iter().map(|&(at, replicas)| Scheduled { at: Time(at), replicas }).collect()
}

fn run(replicas: u32, dynamics: Dynamics, requests: &[Request]) -> (Vec<Outcome>, History) {
    let engine = engine();
    let config = ClusterConfig { dynamics: Some(Box::new(dynamics)), ..ClusterConfig::fixed(replicas, Router::LeastRequests) };
    let cluster = Cluster { config: &config, ..replica(&engine, Layout::ONE, 100, &Ten) };
    let mut recorder = Recorder::steps();
    let (_, history) = cluster.run(&mut Listed::new(requests.to_vec()), &mut recorder);
    (recorder.sorted().outcomes, history.expect("the replicas can change"))
}

fn ends(outcomes: &[Outcome]) -> Vec<(u64, Finish)> {
    outcomes.iter().map(|outcome| (outcome.ended.0, outcome.finish)).collect()
}

fn at(time: u64, id: u64, output_tokens: u32) -> Request {
    Request { arrival: Time(time), ..request(id, 4, output_tokens) }
}

/// Alone it takes a step for the prompt and the first token, and four for the others: 50 ps.
#[test]
fn a_crash_loses_what_runs_and_what_comes_waits_for_the_restart() {
    let crash = Dynamics { failures: fails(25, Failing::Container(0)), ..quiet() };
    let requests = [at(0, 0, 5), at(30, 1, 5)];
    let (outcomes, history) = run(1, crash.clone(), &requests);
    assert_eq!(ends(&outcomes), [(25, Finish::Lost), (25 + 10 * S + 50, Finish::Length)]);
    assert_eq!((outcomes[1].replica, outcomes[1].first_token), (1, Some(Time(25 + 10 * S + 10))));
    assert_eq!((history.interrupted_by_failure, history.retried, history.unrouted), (1, 0, 1));
    assert_eq!(history.serving, [(Time(0), Time(25)), (Time(25 + 10 * S), Time(25 + 10 * S + 50))]);
    // A restart is not a replica's start, and its node is there all the time.
    assert_eq!((history.starts_s.len(), history.node_ps), (0, u128::from(25 + 10 * S + 50)));

    let (outcomes, history) = run(1, Dynamics { interrupted: Interrupted::Retried, ..crash }, &requests);
    // Sent again after half a second, it is held, behind the other one; both then run together.
    assert_eq!(ends(&outcomes), [(25 + 10 * S + 50, Finish::Length), (25 + 10 * S + 50, Finish::Length)]);
    assert_eq!((history.retried, history.unrouted), (1, 2));
    assert_eq!(outcomes[0].request.arrival, Time(0), "its latency counts from its first arrival");
}

#[test]
fn a_request_that_is_sent_again_takes_its_pause() {
    let failures = fails(25, Failing::Replica(0));
    let dynamics = Dynamics { failures, interrupted: Interrupted::Retried, ..quiet() };
    let (outcomes, history) = run(2, dynamics, &[at(0, 0, 5)]);
    assert_eq!(ends(&outcomes), [(25 + PAUSE + 50, Finish::Length)]);
    assert_eq!((outcomes[0].replica, outcomes[0].request.id), (1, 0));
    // The replica that failed is not replaced.
    let last = history.counts.last().expect("counts");
    assert_eq!((last.wanted, last.ready, last.starting), (1, 1, 0));
}

#[test]
fn patience_at_the_gateway_ends() {
    let dynamics = Dynamics { failures: fails(25, Failing::Container(0)), hold: Duration(7), ..quiet() };
    let impatient = Request { deadline: Time(34), ..at(31, 2, 5) };
    let (outcomes, _) = run(1, dynamics, &[at(0, 0, 5), at(30, 1, 5), impatient]);
    assert_eq!(ends(&outcomes), [(25, Finish::Lost), (37, Finish::Unavailable), (34, Finish::TimedOut)]);
}

#[test]
fn the_newest_replica_drains_first_and_finishes_what_it_has() {
    let dynamics = Dynamics { schedule: scheduled(&[(15, 1)]), ..quiet() };
    let requests = [at(0, 0, 5), at(0, 1, 5), at(20, 2, 2)];
    let (outcomes, history) = run(2, dynamics, &requests);
    assert_eq!(outcomes.iter().map(|o| o.replica).collect::<Vec<_>>(), [0, 1, 0], "no request for a replica that is to go");
    assert_eq!(ends(&outcomes), [(50, Finish::Length), (50, Finish::Length), (40, Finish::Length)]);
    assert_eq!(history.serving, [(Time(0), Time(50)), (Time(0), Time(50))]);
    assert_eq!((history.interrupted_by_scaling, history.scalings.len()), (0, 1));
    let count = |at, wanted, ready, draining| Count { at: Time(at), wanted, ready, starting: 0, draining };
    assert_eq!(history.counts, [count(0, 2, 2, 0), count(15, 1, 1, 1)], "the end is that of the run, before the grace is over");
}

#[test]
fn the_end_of_its_grace_cuts_a_replica_off() {
    let dynamics = Dynamics { schedule: scheduled(&[(15, 1)]), termination_grace: Duration(20), ..quiet() };
    let (outcomes, history) = run(2, dynamics, &[at(0, 0, 8), at(0, 1, 8)]);
    assert_eq!(ends(&outcomes), [(80, Finish::Length), (35, Finish::Lost)]);
    assert_eq!((history.interrupted_by_scaling, history.serving[1].1), (1, Time(35)));
}

#[test]
fn a_start_takes_its_phases_and_a_free_node_saves_one() {
    // To two, which needs a node; back to one, whose node is kept; to two again, on the kept node.
    let schedule = scheduled(&[(S, 2), (200 * S, 1), (300 * S, 2)]);
    let dynamics = Dynamics { schedule, ..quiet() };
    let requests = [at(0, 0, 5), at(400 * S, 1, 5)];
    let (_, history) = run(1, dynamics.clone(), &requests);
    let ready: Vec<Time> = history.serving.iter().map(|span| span.0).collect();
    assert_eq!(ready, [Time(0), Time(111 * S), Time(310 * S)]);
    assert_eq!(history.starts_s, [110.0, 10.0]);
    let end = 400 * S + 50;
    assert_eq!(history.node_ps, u128::from(end + end - S), "both nodes until the end");

    let spare = Dynamics { warm_nodes: 1, ..dynamics.clone() };
    assert_eq!(run(1, spare, &requests).1.starts_s, [10.0, 10.0]);
    let hasty = Dynamics { node_keep: Duration(50 * S), ..dynamics };
    let (_, history) = run(1, hasty, &requests);
    // Given back at 250 s; the third start needs another node, and is not ready by the end.
    assert_eq!(history.node_ps, u128::from(end + 249 * S + (end - 300 * S)));
    assert_eq!(history.starts_s, [110.0]);
}

/// Cancelled while its node is made, and wanted again: the node is there no sooner.
#[test]
fn a_node_that_is_still_made_saves_no_time() {
    let dynamics = Dynamics { schedule: scheduled(&[(S, 2), (2 * S, 1), (3 * S, 2)]), ..quiet() };
    let (_, history) = run(1, dynamics, &[at(0, 0, 5), at(400 * S, 1, 5)]);
    assert_eq!(history.serving.iter().map(|span| span.0).collect::<Vec<_>>(), [Time(0), Time(111 * S)]);
    assert_eq!(history.node_ps, u128::from(2 * (400 * S + 50) - S), "one node more, from the first time that it was wanted");
}

/// Held at 30 ps until 15 s, served at 10 s, interrupted, and held again from 10.5 s on: until 25.5 s.
#[test]
fn a_second_wait_at_the_gateway_has_its_own_patience() {
    let failures = [25, 10 * S + 40].map(|at| Failure { at: Time(at), what: Failing::Container(0) }).to_vec();
    let dynamics = Dynamics { failures, interrupted: Interrupted::Retried, hold: Duration(15 * S), ..quiet() };
    let (outcomes, history) = run(1, dynamics, &[at(30, 0, 5)]);
    assert_eq!(ends(&outcomes), [(20 * S + 40 + 50, Finish::Length)]);
    assert_eq!((history.retried, history.unrouted), (1, 2));
}

/// Its client gives up within the half second before it would send again.
#[test]
fn a_client_that_gives_up_does_not_wait_to_send_again() {
    let dynamics = Dynamics { failures: fails(25, Failing::Replica(0)), interrupted: Interrupted::Retried, ..quiet() };
    let (outcomes, _) = run(2, dynamics, &[Request { deadline: Time(60), ..at(0, 0, 5) }]);
    assert_eq!(ends(&outcomes), [(60, Finish::TimedOut)]);
}

/// The one that drains is done at 20 ps, and paid for until then, though nothing happens to the replicas any more.
#[test]
fn a_drained_replica_is_gone_when_it_is_done() {
    let dynamics = Dynamics { schedule: scheduled(&[(15, 1)]), node_keep: Duration(0), ..quiet() };
    let (_, history) = run(2, dynamics, &[at(0, 0, 8), at(0, 1, 2)]);
    assert_eq!(history.serving, [(Time(0), Time(80)), (Time(0), Time(20))]);
    assert_eq!(history.node_ps, 80 + 20);
}

#[test]
fn a_zone_that_is_lost_takes_its_replicas_with_it() {
    let lost = |back: Option<u64>| Failing::Zone { zone: 0, back: back.map(Time) };
    let two_zones = Dynamics { zones: 2, failures: fails(25, lost(None)), ..quiet() };
    let requests = [at(0, 0, 5), at(0, 1, 5), at(200 * S, 2, 5)];
    let (outcomes, history) = run(2, two_zones, &requests);
    assert_eq!(ends(&outcomes)[..2], [(25, Finish::Lost), (50, Finish::Length)]);
    assert_eq!(history.starts_s, [110.0], "elsewhere, on a new node");
    // With one zone, nothing can be started until it is back.
    let one_zone = Dynamics { failures: fails(25, lost(Some(50 * S))), ..quiet() };
    let (outcomes, history) = run(1, one_zone, &[at(0, 0, 5), at(30, 1, 5)]);
    assert_eq!(ends(&outcomes), [(25, Finish::Lost), (160 * S + 50, Finish::Length)]);
    assert_eq!(history.node_ps, u128::from(25 + 110 * S + 50), "the lost one, and from 50 s on another one");
}

/// The report as JSON without what the dynamics add, and without the scenario's identity.
fn figures(scenario: &Scenario, seed: u64) -> serde_json::Value {
    let scenario = Scenario { seed, ..scenario.clone() };
    let report = simulate(&scenario, None, RunOptions::default(), &|_| {}, None).expect("runs");
    let mut value = serde_json::to_value(report).expect("is JSON");
    for key in ["fleet", "fingerprint", "notes"] {
        value.as_object_mut().expect("an object").remove(key);
    }
    value
}

/// Open loop, sessions, closed loop, ranks in lockstep.
#[test]
fn replicas_that_could_change_but_do_not_change_nothing() {
    for name in ["support-rag", "agents", "batch", "moe-dp-ep"] {
        let fixed = shipped(name, &[]);
        let same = format!("[{{ at = \"20s\", replicas = {} }}]", fixed.cluster.replicas);
        let dynamic = shipped(name, &[("cluster.schedule", same.as_str())]);
        assert!(dynamic.cluster.dynamics.is_some() && fixed.cluster.dynamics.is_none());
        let (mut fixed, mut dynamic) = (figures(&fixed, 7), figures(&dynamic, 7));
        // Paid by node time instead of by replicas: equal but for rounding.
        let cost = |value: &mut serde_json::Value| value["summary"].as_object_mut().and_then(|s| s.remove("cost")).expect("a cost");
        let costs = [cost(&mut fixed), cost(&mut dynamic)].map(|cost| cost["usd_per_hour"].as_f64().expect("a price"));
        assert!((costs[0] / costs[1] - 1.0).abs() < 1e-9, "{name}: {costs:?}");
        assert!(fixed == dynamic, "{name}");
    }
}

const TROUBLE: [(&str, &str); 3] = [
    (
        "cluster.failure",
        r#"[{ at = "100s", what = "container" }, { at = "110s", what = "node" },
            { at = "130s", what = "zone", index = 2, back = "200s" }]"#,
    ),
    ("cluster.schedule", r#"[{ at = "2m", replicas = 5 }, { at = "150s", replicas = 1 }, { at = "4m", replicas = 3 }]"#),
    (
        "cluster.startup",
        r#"[{ phase = "node", when = "node", time = "30s" },
            { phase = "engine", when = "container", time = { median = "20s", p95 = "30s" } }]"#,
    ),
];

#[test]
fn whatever_fails_every_request_has_one_outcome_and_tokens_are_conserved() {
    for name in ["support-rag", "agents", "batch"] {
        for interrupted in ["lost", "retried"] {
            let settings = [TROUBLE.as_slice(), &[("cluster.zones", "3"), ("cluster.interrupted", interrupted)]].concat();
            let scenario = shipped(name, &settings);
            let mut outcomes: BTreeMap<u64, (Finish, u32, u32)> = BTreeMap::new();
            let mut keep = |outcome: &Outcome, _: &[String]| {
                let tokens = (outcome.finish, outcome.output_tokens, outcome.request.output_tokens.min(outcome.request.max_tokens));
                assert!(outcomes.insert(outcome.request.id, tokens).is_none(), "{name}: a second outcome");
            };
            let options = RunOptions { replications: 1, threads: Some(1) };
            let report = simulate(&scenario, None, options, &|_| {}, Some(&mut keep)).expect("runs");
            assert!(outcomes.keys().copied().eq(0..outcomes.len() as u64), "{name}: a request without an outcome");
            let complete = outcomes.values().filter(|(finish, ..)| matches!(finish, Finish::Stop | Finish::Length));
            assert!(complete.clone().count() > 0 && complete.clone().all(|(_, given, wanted)| given == wanted), "{name}");
            let fleet = report.fleet.expect("replicas change");
            // All of them, those of the warm-up included.
            let lost = outcomes.values().filter(|(finish, ..)| *finish == Finish::Lost).count() as u64;
            let cut = fleet.interrupted_by_failure + fleet.interrupted_by_scaling;
            assert!(cut > 0, "{name}: nothing was interrupted");
            assert_eq!((lost, fleet.retried), if interrupted == "lost" { (cut, 0) } else { (0, cut) }, "{name}");
            let hours = f64::from(scenario.deployment.gpus()) * fleet.ready_mean * report.summary.duration_s / 3600.0;
            assert!(fleet.gpu_hours >= hours * 0.95, "{name}: {} GPU-hours for {hours} served", fleet.gpu_hours);
        }
    }
}

#[test]
fn trouble_is_reproducible_at_any_number_of_threads() {
    let scenario = shipped("support-rag", &TROUBLE.into_iter().chain([("cluster.zones", "3")]).collect::<Vec<_>>());
    let json = |threads| {
        let options = RunOptions { replications: 3, threads: Some(threads) };
        serde_json::to_string(&simulate(&scenario, None, options, &|_| {}, None).expect("runs")).expect("is JSON")
    };
    assert!(json(1) == json(3));
}
