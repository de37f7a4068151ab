//! Runs of Vidur as an oracle: with its tables, its requests and its two schedulers, every batch must have the same members at the
//! same time and last as long.
//!
//! Seven runs of Vidur at commit 7d47513 on Llama-3-8B and A100 tables (`data/vidur` of the shared data, whose README says how they
//! were made). They say nothing about real GPUs; they hold scheduling and arithmetic to account.
//!
//! Deliberate differences, and why they are not seen here or how far they go:
//!
//! * Time is in picoseconds, a batch's time is rounded to the nearest; Vidur adds up floats. After 20,000 batches the two clocks
//!   may be [`CLOCK`] apart; members are equal, so no decision hangs on it.
//! * Vidur counts blocks in floats, here they are whole; the watermark is rounded down in both.
//! * What [`tokentide_sim::engine::batchwise`] does otherwise when blocks run short: no run restarts a request.

use std::path::Path;

use tokentide_calibrate::{VidurSelection, import_vidur};
use tokentide_models::architecture::Architecture;
use tokentide_models::cost::{BatchShape, CostModel, VidurTables};
use tokentide_models::deployment::Deployment;
use tokentide_models::gpu::Gpu;
use tokentide_models::units::{Duration, Time};
use tokentide_sim::engine::{Finish, Layout};
use tokentide_sim::scenario::{Batchwise, EngineConfig, Scheduler};
use tokentide_sim::workload::Request;
use tokentide_tests::engine::Fast;
use tokentide_tests::real_run::{Row, number, rows};
use tokentide_tests::recorder::Recorder;
use tokentide_tests::shared::shared;
use tokentide_tests::small;

/// Folder, scheduler, stages, blocks, batches and requests.
const RUNS: [(&str, Batchwise, u32, u32, usize, usize); 7] = [
    ("sarathi_fixed_qps1", Batchwise::Sarathi, 1, 30_208, 19_479, 300),
    ("sarathi_fixed_qps5", Batchwise::Sarathi, 1, 30_208, 3_353, 300),
    ("sarathi_pp2_qps5", Batchwise::Sarathi, 2, 67_072, 7_529, 300),
    ("sarathi_trace500", Batchwise::Sarathi, 1, 30_208, 7_766, 500),
    ("vllm_fixed_qps1", Batchwise::Vllm2023, 1, 30_208, 18_870, 300),
    ("vllm_fixed_qps5", Batchwise::Vllm2023, 1, 30_208, 2_714, 300),
    ("vllm_fixed_qps9", Batchwise::Vllm2023, 1, 30_208, 528, 300),
];

/// How far the two clocks may be apart [s].
const CLOCK: f64 = 1e-9;
/// Half a picosecond, and the rounding of floats [s].
const ROUNDING: f64 = 0.5e-12 + 1e-15;

/// A count, which Vidur may print as a float.
fn count(text: &str) -> u32 {
    let value: f64 = text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"));
    assert!(value >= 0.0 && value.fract() == 0.0, "{text:?} is no count");
    value as u32
}

fn deployment(stages: u32) -> Deployment {
    let (model, gpu) = (Architecture::find("llama-3.1-8b"), Gpu::find("a100-80gb"));
    Deployment {
        pipeline_parallel: stages,
        max_model_len: 4096,
        max_num_batched_tokens: 4096,
        max_num_seqs: 128,
        cuda_graphs: false,
        ..Deployment::plain(model.expect("in the catalogue"), gpu.expect("in the catalogue"), 1)
    }
}

/// Vidur's tables on one or several stages.
fn tables(data: &Path, stages: u32) -> VidurTables {
    let selection = VidurSelection { gpu: "a100-80gb", model: "llama-3.1-8b", tensor_parallel: 1 };
    let profile = import_vidur(&data.join("cost_model"), &selection, "2026-01-01").expect("sound tables");
    VidurTables::new(&profile, &deployment(stages)).expect("possible times")
}

/// The aggregates of a recorded batch. Decodes are given by their number and mean.
fn shape(row: &Row) -> BatchShape {
    let mut shape = BatchShape::default();
    let decodes = count(&row["decode_requests"]);
    if decodes > 0 {
        let mean = number(row, "decode_avg_context");
        shape = BatchShape { decodes, decode_context: (mean * f64::from(decodes)).round() as u64, sampled: decodes, ..shape };
    }
    for chunk in row["prefill_ctx_plus_chunk"].split(';').filter(|text| !text.is_empty()) {
        let (history, tokens) = chunk.split_once('+').expect("history + chunk");
        shape.add_chunk(count(history).into(), count(tokens).into(), false);
    }
    shape
}

#[test]
fn every_batch_lasts_as_long() {
    let Some(data) = shared().map(|shared| shared.join("data/vidur")) else { return };
    let [one, two] = [1, 2].map(|stages| tables(&data, stages));
    let mut worst: f64 = 0.0;
    for (run, _, stages, ..) in RUNS {
        let tables = if stages == 1 { &one } else { &two };
        let batches = rows(&data.join(run).join("batches.csv.gz"));
        for row in &batches {
            let mut times = vec![Duration::ZERO; stages as usize];
            tables.stages(&shape(row), &mut times);
            let mine = times[count(&row["stage_id"]) as usize].as_secs_f64();
            let off = (mine - number(row, "execution_time_s")).abs();
            worst = worst.max(off);
            let at = format!("{run}, batch {}, stage {}", row["batch_id"], row["stage_id"]);
            assert!(off <= ROUNDING, "{at}: {mine} s, not {}", row["execution_time_s"]);
        }
        println!("{run}: {} batch-stages", batches.len());
    }
    println!("largest difference {worst:e} s");
}

fn engine(scheduler: Batchwise) -> EngineConfig {
    EngineConfig {
        max_num_seqs: 128,
        max_num_batched_tokens: if scheduler == Batchwise::Sarathi { 512 } else { 4096 },
        max_model_len: 4096,
        block_size: 16,
        enable_chunked_prefill: scheduler == Batchwise::Sarathi,
        reserve_full_isl: true,
        watermark: 0.01,
        scheduler: Scheduler::Batchwise(scheduler),
        ..small::engine()
    }
}

fn request(id: usize, row: &Row) -> Request {
    let (input, output) = (count(&row["num_prefill_tokens"]), count(&row["num_decode_tokens"]));
    Request { arrival: Time::from_secs_f64(number(row, "arrived_at")), ..small::request(id as u64, input, output) }
}

/// Asserts that two times are the same but for the clocks' drift; the difference [s].
fn same(mine: Time, theirs: f64, at: &str) -> f64 {
    let off = (mine.as_secs_f64() - theirs).abs();
    assert!(off <= CLOCK, "{at}: {} s, not {theirs}", mine.as_secs_f64());
    off
}

#[test]
fn every_batch_has_the_same_members_at_the_same_time() {
    let Some(data) = shared().map(|shared| shared.join("data/vidur")) else { return };
    for (run, scheduler, stages, kv_blocks, batches, requests) in RUNS {
        let folder = data.join(run);
        let recorder = simulate(&folder, &tables(&data, stages), &engine(scheduler), stages, kv_blocks);
        let theirs: Vec<Row> = rows(&folder.join("batches.csv.gz")).into_iter().filter(|row| row["stage_id"] == "0").collect();
        let mut worst: f64 = 0.0;
        for (step, row) in recorder.steps.iter().zip(&theirs) {
            let at = format!("{run}, batch {}", row["batch_id"]);
            let ids: Vec<String> = step.batch.iter().map(|&(id, ..)| id.to_string()).collect();
            assert_eq!(ids.join(" "), row["request_ids"], "{at}: members");
            let prefill: u32 = step.batch.iter().map(|&(_, _, tokens)| tokens).sum::<u32>() - count(&row["decode_requests"]);
            assert_eq!(prefill, count(&row["prefill_tokens"]), "{at}: prefill tokens");
            worst = worst.max(same(step.scheduled, number(row, "scheduled_at"), &at));
        }
        assert_eq!((recorder.steps.len(), theirs.len()), (batches, batches), "{run}: batches");
        let theirs = rows(&folder.join("requests.csv"));
        assert_eq!((recorder.outcomes.len(), theirs.len()), (requests, requests), "{run}: requests");
        for (outcome, row) in recorder.outcomes.iter().zip(&theirs) {
            let at = format!("{run}, request {}", row["request_id"]);
            assert_eq!((outcome.finish, outcome.preemptions), (Finish::Length, count(&row["num_restarts"])), "{at}");
            for (mine, column) in [
                (outcome.scheduled, "scheduled_at"),
                (outcome.first_token, "prefill_completed_at"),
                (Some(outcome.ended), "completed_at"),
            ] {
                worst = worst.max(same(mine.expect("it ran"), number(row, column), &format!("{at}: {column}")));
            }
        }
        println!("{run}: {batches} batches and {requests} requests, times within {worst:.1e} s");
    }
}

/// Our run of Vidur's requests.
fn simulate(folder: &Path, tables: &VidurTables, engine: &EngineConfig, stages: u32, kv_blocks: u32) -> Recorder {
    let requests: Vec<Request> = rows(&folder.join("trace.csv")).iter().enumerate().map(|(id, row)| request(id, row)).collect();
    let cluster = small::replica(engine, Layout { stages, ..Layout::ONE }, kv_blocks, tables);
    small::recorded(&Fast, &cluster, &requests).1
}
