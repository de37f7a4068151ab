//! The scheduler's rules on examples small enough to be worked out by hand. A step takes 10 ps; batches are `id:computed:tokens`.

use std::sync::Arc;

use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::Cluster;
use tokentide_sim::engine::{EngineTotals, Finish, Layout};
use tokentide_sim::scenario::{EngineConfig, Policy};
use tokentide_sim::workload::{Layer, Prefix, Request};
use tokentide_tests::engine::Fast;
use tokentide_tests::recorder::Recorder;
use tokentide_tests::small::{Ten, engine, line, recorded, replica, request};

/// The engine under test.
const ENGINE: Fast = Fast;

/// Runs one replica with an egress of 3 ps. Also `scheduled-end batch` of each step, with the preempted ids after a bar.
fn run(engine: &EngineConfig, kv_blocks: u32, requests: &[Request]) -> (EngineTotals, Recorder, Vec<String>) {
    let cluster = Cluster { egress: Duration(3), ..replica(engine, Layout::ONE, kv_blocks, &Ten) };
    let (totals, recorder) = recorded(&ENGINE, &cluster, requests);
    let lines = recorder.steps.iter().map(|step| {
        let preempted: Vec<String> = step.preempted.iter().map(|id| format!(" |{id}")).collect();
        line(step) + &preempted.concat()
    });
    let lines = lines.collect();
    (totals[0], recorder, lines)
}

#[test]
fn the_last_to_come_is_preempted_and_computes_its_tokens_again() {
    let (totals, recorder, steps) = run(&engine(), 6, &[request(0, 4, 5), request(1, 4, 5)]);
    let expected = [
        "0-10 0:0:4 1:0:4",
        "10-20 0:4:1 1:4:1",
        "20-30 0:5:1 1:5:1",
        "30-40 0:6:1 |1", // 0 needs a fourth block of six
        "40-50 0:7:1",    // 1 needs four again, and only two are free
        "50-60 1:0:7",    // four prompt tokens and the three given
        "60-70 1:7:1",
    ];
    assert_eq!(steps, expected);
    assert_eq!((totals.preemptions, totals.kv_blocks_peak, totals.busy_ps), (1, 6, 70));
    let ends: Vec<_> = recorder.outcomes.iter().map(|o| (o.ended.0, o.finish, o.preemptions)).collect();
    assert_eq!(ends, [(53, Finish::Length, 0), (73, Finish::Length, 1)]);
}

/// Request 0 of low priority, and 1 of high priority that comes while 0's first step runs.
fn low_and_high(input_of_high: u32) -> [Request; 2] {
    [Request { priority: 1, ..request(0, 4, 5) }, Request { arrival: Time(5), ..request(1, input_of_high, 4) }]
}

#[test]
fn a_victim_that_was_scheduled_gives_its_tokens_back() {
    let engine = EngineConfig { policy: Policy::Priority, ..engine() };
    let (_, recorder, steps) = run(&engine, 5, &low_and_high(4));
    let expected = [
        "0-10 0:0:4",
        "10-20 0:4:1 1:0:4",
        "20-30 1:4:1 |0", // 0 had been scheduled when 1 needed a third block
        "30-40 1:5:1",    // 0 needs three blocks for six tokens, and two are free
        "40-50 1:6:1",
        "50-60 0:0:6",
        "60-70 0:6:1",
        "70-80 0:7:1",
    ];
    assert_eq!(steps, expected);
    assert_eq!((recorder.outcomes[0].preemptions, recorder.outcomes[0].output_tokens), (1, 5));
}

#[test]
fn a_decision_that_only_preempts_is_no_step_and_the_next_is_taken_at_once() {
    let engine = EngineConfig { policy: Policy::Priority, ..engine() };
    let (totals, recorder, steps) = run(&engine, 5, &low_and_high(3));
    let expected = [
        "0-10 0:0:4",
        "10-20 0:4:1 1:0:3",
        "20-30 0:5:1 1:3:1",
        "30-40 1:4:1", // before: 0 needed a fourth block, was the victim itself, and the loop stopped before 1
        "40-50 1:5:1",
        "50-60 0:0:7",
        "60-70 0:7:1",
    ];
    assert_eq!(steps, expected);
    assert_eq!((totals.preemptions, recorder.outcomes[0].preemptions), (1, 1));
}

#[test]
fn asynchronous_scheduling_overruns_a_stop_but_no_length() {
    let mut engine = engine();
    engine.async_scheduling = true;
    let (totals, recorder, steps) = run(&engine, 6, &[request(0, 4, 2)]);
    assert_eq!(steps, ["0-10 0:0:4", "0-20 0:4:1"]);
    assert_eq!((totals.steps, recorder.outcomes[0].ended, recorder.outcomes[0].finish), (2, Time(23), Finish::Length));
    let stop = Request { max_tokens: 9, ..request(0, 4, 2) };
    let (totals, recorder, steps) = run(&engine, 6, &[stop]);
    assert_eq!(steps, ["0-10 0:0:4", "0-20 0:4:1", "10-30 0:5:1"]);
    assert_eq!((totals.last_end, recorder.outcomes[0].ended, recorder.outcomes[0].finish), (Time(30), Time(23), Finish::Stop));
}

#[test]
fn blocks_of_the_same_step_are_hits_and_the_last_token_is_computed_anew() {
    let mut engine = engine();
    engine.enable_prefix_caching = true;
    let shared = |id, input| Request { prefix: Prefix::Layers(Arc::new([Layer { content: 77, end: 6 }])), ..request(id, input, 1) };
    let (_, recorder, steps) = run(&engine, 8, &[shared(0, 6), shared(1, 6), shared(2, 7)]);
    assert_eq!(steps, ["0-10 0:0:6 1:4:2 2:6:1"]);
    assert_eq!(recorder.steps[0].free_blocks, 8 - 3 - 1 - 1);
    assert_eq!(recorder.outcomes.iter().map(|o| o.cached_tokens).collect::<Vec<_>>(), [0, 4, 6]);
}

#[test]
fn the_budget_and_the_threshold_cut_prompts() {
    let mut engine = engine();
    engine.max_num_batched_tokens = 8;
    engine.long_prefill_token_threshold = 5;
    let (_, _, steps) = run(&engine, 20, &[request(0, 7, 2), request(1, 9, 1)]);
    assert_eq!(steps, ["0-10 0:0:5 1:0:3", "10-20 0:5:2 1:3:5", "20-30 0:7:1 1:8:1"]);
    engine.lone_prefill_uncapped = true;
    let (_, _, steps) = run(&engine, 20, &[request(0, 9, 1)]);
    assert_eq!(steps, ["0-10 0:0:8", "10-20 0:8:1"]);
}

#[test]
fn an_answer_that_is_seen_after_the_deadline_is_a_timeout() {
    let with = |deadline| {
        let (totals, recorder, _) = run(&engine(), 6, &[Request { deadline: Time(deadline), ..request(0, 4, 3) }]);
        let o = &recorder.outcomes[0];
        (o.finish, o.ended.0, o.output_tokens, totals.steps)
    };
    assert_eq!(with(33), (Finish::Length, 33, 3, 3));
    assert_eq!(with(32), (Finish::TimedOut, 32, 3, 3)); // finished by the engine at 30, seen at 33
    // The third step is under way when the client leaves: its token was given for nothing.
    assert_eq!(with(29), (Finish::TimedOut, 29, 3, 3));
    assert_eq!(with(20), (Finish::TimedOut, 20, 2, 2)); // drained at 20, after the step that ends then is applied
    assert_eq!(with(0), (Finish::TimedOut, 0, 0, 0));
}
