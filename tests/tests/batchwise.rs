//! The schedulers that walk their requests in every batch: each rule of [`tokentide_sim::engine::batchwise`] on the smallest case,
//! worked out by hand; then random cases against an engine written the obvious way.

use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::engine::{EngineTotals, Layout};
use tokentide_sim::scenario::{Batchwise, EngineConfig, Scheduler};
use tokentide_sim::workload::Request;
use tokentide_tests::engine::Fast;
use tokentide_tests::recorder::{Recorder, Step};
use tokentide_tests::reference::batchwise as reference;
use tokentide_tests::small::{self, recorded, replica};
use tokentide_tests::swarm::draw::Draw;

/// Ten picoseconds a token, or ten a batch.
struct Ten {
    per_token: bool,
}

impl CostModel for Ten {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        Duration(if self.per_token { 10 * batch.tokens() } else { 10 })
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: 0 }
    }
}

fn engine(scheduler: Batchwise) -> EngineConfig {
    EngineConfig {
        max_num_batched_tokens: 100,
        max_model_len: 100,
        enable_chunked_prefill: scheduler == Batchwise::Sarathi,
        reserve_full_isl: true,
        scheduler: Scheduler::Batchwise(scheduler),
        ..small::engine()
    }
}

/// Requests of (arrival, input, output).
fn requests(of: &[(u64, u32, u32)]) -> Vec<Request> {
    let request = |(id, &(arrival, input_tokens, output_tokens)): (u64, &(u64, u32, u32))| Request {
        arrival: Time(arrival),
        ..small::request(id, input_tokens, output_tokens)
    };
    (0..).zip(of).map(request).collect()
}

fn run(engine: &EngineConfig, stages: u32, kv_blocks: u32, per_token: bool, of: &[(u64, u32, u32)]) -> (EngineTotals, Recorder) {
    let cost = Ten { per_token };
    let cluster = replica(engine, Layout { stages, ..Layout::ONE }, kv_blocks, &cost);
    let (totals, recorder) = recorded(&Fast, &cluster, &requests(of));
    (totals[0], recorder)
}

/// Each step as `scheduled-end: id:computed+tokens ...; evicted ids`.
fn shown(steps: &[Step]) -> Vec<String> {
    let member = |&(id, computed, tokens): &(u64, u32, u32)| format!(" {id}:{computed}+{tokens}");
    let one = |step: &Step| {
        let members: String = step.batch.iter().map(member).collect();
        let evicted: String = step.preempted.iter().map(|id| format!(" -{id}")).collect();
        format!("{}-{}:{members}{evicted}", step.scheduled.0, step.end.0)
    };
    steps.iter().map(one).collect()
}

#[test]
fn sarathi_decodes_first_and_fills_up_with_chunks() {
    let config = EngineConfig { max_num_batched_tokens: 10, ..engine(Batchwise::Sarathi) };
    let (_, recorder) = run(&config, 1, 50, false, &[(0, 8, 3), (0, 14, 2), (5, 3, 1)]);
    let expected = [
        "0-10: 0:0+8 1:0+2",
        "10-20: 0:8+1 1:2+9",
        // The rest of request 1, and what is left for the next: request 2 arrived at 5.
        "20-30: 0:9+1 1:11+3 2:0+3",
        "30-40: 1:14+1",
    ];
    assert_eq!(shown(&recorder.steps), expected);
    let ends: Vec<_> = recorder.outcomes.iter().map(|o| (o.first_token.map(|t| t.0), o.ended.0)).collect();
    assert_eq!(ends, [(Some(10), 30), (Some(30), 40), (Some(30), 30)]);
}

#[test]
fn a_request_is_in_one_batch_at_a_time() {
    let config = EngineConfig { max_num_batched_tokens: 4, max_num_seqs: 4, ..engine(Batchwise::Sarathi) };
    let (_, recorder) = run(&config, 2, 50, false, &[(0, 6, 2), (0, 4, 2)]);
    // Two batches in flight: request 0 has more to compute, but it is in the first, so the second has request 1.
    assert_eq!(shown(&recorder.steps)[..3], ["0-10: 0:0+4", "0-15: 1:0+4", "10-20: 0:4+2"]);
}

#[test]
fn sarathi_evicts_the_last_and_computes_its_tokens_again() {
    let (totals, recorder) = run(&engine(Batchwise::Sarathi), 1, 6, false, &[(0, 4, 5), (0, 4, 5)]);
    let expected = [
        "0-10: 0:0+4 1:0+4",
        "10-20: 0:4+1 1:4+1",
        // No block is free, and request 0 wants one though its last has room: request 1 goes, and fits again with its 6 tokens.
        "20-30: 0:5+1 1:0+6 -1",
        // Now request 0 needs its fourth block, and the 7 tokens of request 1 do not fit the 2 that are left.
        "30-40: 0:6+1 -1",
        "40-50: 0:7+1",
        "50-60: 1:0+7",
        "60-70: 1:7+1",
    ];
    assert_eq!(shown(&recorder.steps), expected);
    let ends: Vec<_> = recorder.outcomes.iter().map(|o| (o.first_token.map(|t| t.0), o.ended.0, o.preemptions)).collect();
    assert_eq!(ends, [(Some(10), 50, 0), (Some(10), 70, 2)]);
    assert_eq!((totals.preemptions, totals.kv_blocks_peak, totals.steps, totals.busy_ps), (2, 6, 7, 70));
    // Gaps of request 0, and of request 1, which paused from 30 to 60.
    assert_eq!(recorder.gaps(), [((0, 10), 7), ((0, 30), 1)]);
}

#[test]
fn a_lone_request_without_a_free_block_evicts_itself_and_goes_on() {
    for scheduler in [Batchwise::Sarathi, Batchwise::Vllm2023] {
        let config = EngineConfig { max_model_len: 7, watermark: 0.5, ..engine(scheduler) };
        let (totals, recorder) = run(&config, 1, 3, false, &[(0, 4, 3)]);
        assert_eq!(shown(&recorder.steps), ["0-10: 0:0+4", "10-20: 0:4+1", "20-30: 0:0+6 -0"], "{scheduler:?}");
        assert_eq!((totals.preemptions, recorder.outcomes[0].output_tokens), (1, 3));
    }
}

#[test]
fn the_watermark_holds_while_somebody_has_blocks_and_blocks_the_queue() {
    let config = EngineConfig { block_size: 1, watermark: 0.1, max_model_len: 100, ..engine(Batchwise::Sarathi) };
    let first = |of: &[(u64, u32, u32)]| shown(&run(&config, 1, 100, false, of).1.steps)[0].clone();
    assert_eq!(first(&[(0, 80, 1), (0, 10, 1), (0, 1, 1)]), "0-10: 0:0+80 1:0+10");
    // Eleven would leave 9 of the 10 that are to stay free, and the one behind is not let past.
    assert_eq!(first(&[(0, 80, 1), (0, 11, 1), (0, 1, 1)]), "0-10: 0:0+80");
    // Nobody has blocks: more than 90 may be taken.
    assert_eq!(first(&[(0, 95, 1), (0, 1, 1)]), "0-10: 0:0+95");
}

#[test]
fn vllm_2023_pads_its_prompts_and_serves_them_before_decodes() {
    let (_, recorder) = run(&engine(Batchwise::Vllm2023), 1, 100, false, &[(0, 30, 2), (0, 40, 2), (0, 20, 1), (0, 10, 2)]);
    let expected = [
        // Twice 40 fit 100, three times do not.
        "0-10: 0:0+30 1:0+40",
        "10-20: 2:0+20 3:0+10",
        "20-30: 0:30+1 1:40+1 3:10+1",
    ];
    assert_eq!(shown(&recorder.steps), expected);
    // Exactly the limit.
    let (_, recorder) = run(&engine(Batchwise::Vllm2023), 1, 100, false, &[(0, 50, 1), (0, 3, 1), (0, 1, 1)]);
    assert_eq!(shown(&recorder.steps), ["0-10: 0:0+50 1:0+3", "10-20: 2:0+1"]);
}

#[test]
fn vllm_2023_evicts_by_arrival() {
    // Five blocks of two: both prompts of 4 take two each. Request 1 arrives later and is the victim.
    let (_, recorder) = run(&engine(Batchwise::Vllm2023), 1, 5, false, &[(0, 4, 3), (5, 4, 3)]);
    let expected = [
        "0-10: 0:0+4",
        "10-20: 1:0+4",
        // Request 0 takes the last block; request 1 finds none, and nobody behind it: it goes itself.
        "20-30: 0:4+1 -1",
        // Its 5 tokens need three blocks, two are free. Request 0 has room in its last one.
        "30-40: 0:5+1",
        "40-50: 1:0+5",
        "50-60: 1:5+1",
    ];
    assert_eq!(shown(&recorder.steps), expected);
}

#[test]
fn pipeline_stages_overlap_and_leave_bubbles() {
    // Ten a token: each of the two stages takes five.
    let (totals, recorder) = run(&engine(Batchwise::Sarathi), 2, 50, true, &[(0, 8, 2), (1, 8, 2)]);
    let expected = [
        // First stage 0-40, second 40-80.
        "0-80: 0:0+8",
        // It arrives at 1 and is scheduled at once: first stage 40-80, second 80-120.
        "1-120: 1:0+8",
        // First stage 80-85; the second is not free before 120.
        "80-125: 0:8+1",
        // First stage 120-125, second 125-130.
        "120-130: 1:8+1",
    ];
    assert_eq!(shown(&recorder.steps), expected);
    let ends: Vec<_> =
        recorder.outcomes.iter().map(|o| (o.scheduled.map(|t| t.0), o.first_token.map(|t| t.0), o.ended.0)).collect();
    assert_eq!(ends, [(Some(0), Some(80), 125), (Some(1), Some(120), 130)]);
    assert_eq!(totals.busy_ps, 130, "batches that overlap are busy once");
}

#[test]
fn stages_share_the_places_of_a_batch() {
    let config = EngineConfig { max_num_seqs: 4, ..engine(Batchwise::Sarathi) };
    let (_, recorder) = run(&config, 2, 50, false, &[(0, 2, 1), (0, 2, 1), (0, 2, 1), (0, 2, 1), (0, 2, 1)]);
    assert_eq!(shown(&recorder.steps), ["0-10: 0:0+2 1:0+2", "0-15: 2:0+2 3:0+2", "10-20: 4:0+2"]);
}

/// Random settings, stages and blocks of the replica, and requests: some with hardly more blocks than one request needs.
fn random(seed: u64) -> (EngineConfig, u32, u32, Vec<(u64, u32, u32)>) {
    let mut draw = Draw::new(seed);
    let scheduler = draw.pick(&[Batchwise::Sarathi, Batchwise::Vllm2023]);
    let stages = draw.between(1, 3);
    let (block_size, max_model_len) = (draw.between(1, 8), draw.between(8, 60));
    let max_num_seqs = draw.between(1, 12);
    let budget = if scheduler == Batchwise::Sarathi { max_num_seqs.max(draw.between(1, 40)) } else { draw.between(60, 200) };
    let config = EngineConfig {
        max_num_seqs,
        max_num_batched_tokens: budget,
        max_model_len,
        block_size,
        watermark: f64::from(draw.between(0, 20)) / 100.0,
        ..engine(scheduler)
    };
    let kv_blocks = (max_model_len - 1).div_ceil(block_size) + draw.between(0, 20);
    let (mut arrival, gap) = (0, draw.pick(&[10, 40, 200]));
    let request = |_| {
        arrival += u64::from(draw.between(0, gap));
        let input = draw.between(1, max_model_len - 1);
        (arrival, input, draw.between(1, max_model_len - input))
    };
    (config, stages, kv_blocks, (0..30).map(request).collect())
}

#[test]
fn random_cases_are_those_of_the_obvious_engine() {
    let (mut evictions, mut steps) = (0, 0);
    for seed in 0..1000 {
        let (config, stages, kv_blocks, of) = random(seed);
        let per_token = seed % 2 == 0;
        let (sent, ended) = reference::run(&config, stages, kv_blocks, &Ten { per_token }, &of);
        let (totals, recorder) = run(&config, stages, kv_blocks, per_token, &of);
        let mine: Vec<_> = recorder.steps.iter().map(|step| (step.scheduled.0, step.batch.clone())).collect();
        assert_eq!(mine, sent, "seed {seed}");
        let ends = recorder.outcomes.iter().map(|o| (o.first_token.map_or(0, |t| t.0), o.ended.0, o.preemptions));
        assert_eq!(ends.collect::<Vec<_>>(), ended, "seed {seed}");
        assert!(recorder.outcomes.iter().zip(&of).all(|(o, of)| o.output_tokens == of.2), "seed {seed}");
        let told: usize = recorder.steps.iter().map(|step| step.preempted.len()).sum();
        assert_eq!(told as u64, totals.preemptions, "seed {seed}");
        assert!(recorder.steps.iter().all(|step| step.running <= config.max_num_seqs), "seed {seed}");
        evictions += totals.preemptions;
        steps += totals.steps;
    }
    println!("{steps} steps, {evictions} evictions");
    assert!(evictions > 2000, "{evictions} evictions are too few to test anything");
}
