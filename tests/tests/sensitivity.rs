//! The swarm sees what it is meant to see: change one flag or one time by the least amount and some seed's answer changes.
//!
//! A flag that changed nothing on any seed could be ignored by an engine and the keystone would not notice.

use tokentide_models::units::Duration;
use tokentide_sim::engine::{EngineTotals, Outcome};
use tokentide_sim::scenario::{Dynamics, Interrupted, Policy, Router};
use tokentide_tests::engine::Reference;
use tokentide_tests::recorder::Recorder;
use tokentide_tests::swarm::Case;

/// Seeds tried for each change.
const SEEDS: u64 = 600;

type Change = (&'static str, fn(&mut Case));

const CHANGES: &[Change] = &[
    ("max_num_seqs", |case| case.engine.max_num_seqs += 1),
    ("max_num_batched_tokens", |case| case.engine.max_num_batched_tokens += 1),
    ("max_model_len", |case| {
        case.engine.max_model_len += 1;
        case.kv_blocks += 1;
    }),
    ("block_size", |case| {
        case.engine.block_size += 1;
    }),
    ("kv_blocks", |case| case.kv_blocks += 1),
    ("enable_prefix_caching", |case| case.engine.enable_prefix_caching ^= true),
    ("enable_chunked_prefill", |case| case.engine.enable_chunked_prefill = true),
    ("policy", |case| case.engine.policy = if case.engine.policy == Policy::Fcfs { Policy::Priority } else { Policy::Fcfs }),
    ("async_scheduling", |case| case.engine.async_scheduling ^= true),
    ("long_prefill_token_threshold", |case| {
        if case.engine.long_prefill_token_threshold > 0 {
            case.engine.long_prefill_token_threshold += 1;
        }
    }),
    ("lone_prefill_uncapped", |case| case.engine.lone_prefill_uncapped ^= true),
    ("reserve_full_isl", |case| case.engine.reserve_full_isl ^= true),
    ("watermark", |case| case.engine.watermark = 0.0),
    ("free_unhashed_first", |case| case.engine.free_unhashed_first ^= true),
    ("max_num_queued_reqs", |case| case.engine.max_num_queued_reqs = case.engine.max_num_queued_reqs.map(|limit| limit + 1)),
    ("ingress", |case| case.ingress.request += Duration(1)),
    ("ingress of a token", |case| case.ingress.prompt_token += Duration(1)),
    ("egress", |case| case.egress += Duration(1)),
    ("seed of the router", |case| case.seed += 1),
    ("ranks", |case| case.layout.ranks += 1),
    ("stages", |case| {
        if case.layout.stages > 1 {
            case.layout.stages += 1;
        }
    }),
    ("lockstep", |case| case.layout.lockstep ^= case.layout.stages == 1),
    ("ties of least-tokens", |case| {
        if case.cluster.router == Router::LeastTokens {
            case.cluster.router = Router::LeastRequests;
        }
    }),
];

type OfDynamics = (&'static str, fn(&mut Dynamics));

const CHANGES_OF_DYNAMICS: &[OfDynamics] = &[
    ("a phase of the start less", |dynamics| _ = dynamics.startup.pop()),
    ("warm_nodes", |dynamics| dynamics.warm_nodes += 1),
    ("node_keep", |dynamics| dynamics.node_keep += Duration(1)),
    ("termination_grace", |dynamics| dynamics.termination_grace += Duration(1)),
    ("zones", |dynamics| dynamics.zones += 1),
    ("interrupted", |dynamics| {
        dynamics.interrupted = match dynamics.interrupted {
            Interrupted::Lost => Interrupted::Retried,
            Interrupted::Retried => Interrupted::Lost,
        };
    }),
    ("hold", |dynamics| dynamics.hold += Duration(1)),
    ("time of failures", |dynamics| dynamics.failures.iter_mut().for_each(|failure| failure.at += Duration(1))),
    ("a failure less", |dynamics| _ = dynamics.failures.pop()),
    ("time of the schedule", |dynamics| dynamics.schedule.iter_mut().for_each(|entry| entry.at += Duration(1))),
    ("replicas of the schedule", |dynamics| dynamics.schedule.iter_mut().for_each(|entry| entry.replicas += 1)),
];

/// Everything that an engine reports.
fn answer(case: &Case) -> (Vec<EngineTotals>, Vec<String>, String) {
    let mut recorder = Recorder::outcomes();
    let (totals, history) = case.run_all(&Reference, &mut recorder);
    let line = |o: &Outcome| {
        let times = (o.scheduled, o.first_token, o.ended);
        format!("{} {} {:?} {times:?} {} {} {}", o.request.id, o.replica, o.finish, o.output_tokens, o.cached_tokens, o.preemptions)
    };
    (totals, recorder.sorted().outcomes.iter().map(line).collect(), format!("{history:?}"))
}

#[test]
fn every_setting_matters_to_some_seed() {
    let plain: Vec<_> = (0..SEEDS).map(|seed| answer(&Case::draw(seed))).collect();
    for (name, change) in CHANGES {
        let differs = |seed: &u64| {
            let mut case = Case::draw(*seed);
            change(&mut case);
            case.kv_blocks = case.kv_blocks.max(case.engine.max_model_len.div_ceil(case.engine.block_size));
            answer(&case) != plain[*seed as usize]
        };
        let first = (0..SEEDS).find(differs);
        assert!(first.is_some(), "no seed below {SEEDS} answers differently when {name} changes");
        println!("{name}: seed {} answers differently", first.unwrap_or_default());
    }
}

#[test]
fn every_setting_of_replicas_that_change_matters_to_some_seed() {
    let plain: Vec<_> = (0..SEEDS).map(|seed| answer(&Case::draw_changing(seed))).collect();
    for (name, change) in CHANGES_OF_DYNAMICS {
        let differs = |seed: &u64| {
            let mut case = Case::draw_changing(*seed);
            case.cluster.dynamics.iter_mut().for_each(|dynamics| change(dynamics));
            answer(&case) != plain[*seed as usize]
        };
        let first = (0..SEEDS).find(differs);
        assert!(first.is_some(), "no seed below {SEEDS} answers differently when {name} changes");
        println!("{name}: seed {} answers differently", first.unwrap_or_default());
    }
}
