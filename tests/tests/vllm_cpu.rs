//! Recorded runs of a real vLLM server as an oracle: with the recorded step boundaries, an engine must take every decision that the
//! server took. Each step's ordered batch, free blocks, running, waiting, preempted and finished requests are compared.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::Cluster;
use tokentide_sim::scenario::{ClusterConfig, EngineConfig, Policy, Router};
use tokentide_sim::stream::mix;
use tokentide_sim::workload::{Layer, Listed, Prefix, Request};
use tokentide_tests::engine::{Engine, Fast, Reference};
use tokentide_tests::recorder::Recorder;
use tokentide_tests::shared::shared;

/// Steps of all runs together (the data's README).
const STEPS: usize = 22_676;

type Row = HashMap<String, String>;

fn rows(path: &Path) -> Vec<Row> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = csv::Reader::from_reader(GzDecoder::new(file));
    reader.deserialize().map(|row| row.unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect()
}

fn int<T: std::str::FromStr>(row: &Row, column: &str) -> T {
    row[column].parse().unwrap_or_else(|_| panic!("{column}: {:?} is no integer", row[column]))
}

/// Picoseconds of a decimal number of seconds, digit by digit: nothing is rounded.
fn time(row: &Row, column: &str) -> Time {
    let (whole, fraction) = row[column].split_once('.').unwrap_or((&row[column], ""));
    assert!(fraction.len() <= 12, "{column}: finer than a picosecond");
    let digits = format!("{whole}{fraction:0<12}");
    Time(digits.parse().unwrap_or_else(|_| panic!("{column}: {:?} is no time", row[column])))
}

fn ids(text: &str) -> Vec<u64> {
    let mut ids: Vec<u64> = text.split_whitespace().map(|id| id.parse().expect("an id")).collect();
    ids.sort_unstable();
    ids
}

/// Plays the recorded duration of each step.
struct Recorded(Vec<Duration>);

impl CostModel for Recorded {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        // Beyond the record lies a difference that the comparison will show.
        self.0.get(batch.step as usize).copied().unwrap_or(Duration(1))
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), slope_ps: 0, until: batch.decode_context }
    }
}

/// From each step's start to the next one's; a step after which nothing is left lasts until its own end, and the next arrival wakes
/// the engine.
fn durations(steps: &[Row]) -> Recorded {
    let duration = |(i, step): (usize, &Row)| {
        let running: usize = int(step, "running");
        let idle = int::<usize>(step, "waiting") == 0 && running == ids(&step["finished"]).len();
        let end = match steps.get(i + 1) {
            Some(next) if !idle => time(next, "sched_start_s"),
            _ => time(step, "update_end_s"),
        };
        end - time(step, "sched_start_s")
    };
    Recorded(steps.iter().enumerate().map(duration).collect())
}

/// The requests in queue order; each arrives at the start of the first step that the server could see it in. Also the ids on file.
fn requests(rows: &mut [Row], steps: &[Row]) -> (Vec<Request>, Vec<u64>) {
    rows.sort_by_key(|row| int::<u64>(row, "queue_order"));
    let starts: Vec<Time> = steps.iter().map(|step| time(step, "sched_start_s")).collect();
    let request = |(i, row): (usize, &Row)| {
        let queued = time(row, "queued_s");
        let shared: u32 = if row["prefix_tokens"].is_empty() { 0 } else { int(row, "prefix_tokens") };
        let prefix = match shared {
            0 => Prefix::None,
            end => {
                // A block's key is symmetric in `content` and `mix(block)`: contents must not be `mix` of small numbers.
                Prefix::Layers(Arc::new([Layer { content: mix(mix(int(row, "prefix_group"))), end }]))
            }
        };
        Request {
            id: i as u64,
            arrival: starts[starts.partition_point(|&start| start < queued)],
            class: 0,
            tenant: u16::MAX,
            route: u16::MAX,
            priority: 0,
            input_tokens: int(row, "input_tokens"),
            output_tokens: int(row, "output_tokens"),
            max_tokens: int(row, "output_tokens"),
            deadline: Time::NEVER,
            session: None,
            prefix,
            private: i as u64,
            private_reused: false,
            sources: [0; 8],
        }
    };
    (rows.iter().enumerate().map(request).collect(), rows.iter().map(|row| int(row, "id")).collect())
}

/// The server's settings, and its usable KV blocks.
fn settings(path: &Path) -> (EngineConfig, u32) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let value: serde_json::Value = serde_json::from_reader(file).expect("JSON");
    let number = |key: &str| value[key].as_u64().unwrap_or_else(|| panic!("{key} is no integer")) as u32;
    let flag = |key: &str| value[key].as_bool().unwrap_or_else(|| panic!("{key} is no bool"));
    assert_eq!(value["policy"], "fcfs");
    let engine = EngineConfig {
        max_num_seqs: number("max_num_seqs"),
        max_num_batched_tokens: number("max_num_batched_tokens"),
        max_model_len: number("max_model_len"),
        block_size: number("block_size"),
        enable_prefix_caching: flag("prefix_caching"),
        enable_chunked_prefill: true,
        policy: Policy::Fcfs,
        async_scheduling: flag("async_scheduling"),
        long_prefill_token_threshold: number("long_prefill"),
        lone_prefill_uncapped: true,
        reserve_full_isl: flag("reserve_full_isl"),
        watermark: value["watermark"].as_f64().expect("a number"),
        free_unhashed_first: true,
        max_num_queued_reqs: None,
    };
    (engine, number("num_gpu_blocks") - 1)
}

/// Replays a run. Returns the number of steps; panics at the first difference.
fn replay(engine: &impl Engine, run: &Path) -> usize {
    let name = run.file_name().expect("a folder").to_string_lossy().into_owned();
    let steps = rows(&run.join("steps.csv.gz"));
    let mut listed = rows(&run.join("requests.csv.gz"));
    let (requests, on_file) = requests(&mut listed, &steps);
    let (config, kv_blocks) = settings(&run.join("scheduler_config.json"));
    let cluster = Cluster {
        config: &ClusterConfig { replicas: 1, router: Router::RoundRobin },
        engine: &config,
        kv_blocks,
        cost: &durations(&steps),
        ingress: Duration::ZERO,
        egress: Duration::ZERO,
        seed: 0,
    };
    let mut recorder = Recorder::steps();
    let totals = engine.run(&cluster, &mut Listed::new(requests), &mut recorder);
    let Recorder { outcomes, steps: mine, .. } = recorder.sorted();

    let name_of = |id: u64| on_file[id as usize];
    for (step, row) in mine.iter().zip(&steps) {
        let at = format!("{name}, step {}", row["step"]);
        assert_eq!(step.scheduled, time(row, "sched_start_s"), "{at}: time");
        let batch: Vec<String> = step.batch.iter().map(|&(id, computed, n)| format!("{}:{computed}:{n}", name_of(id))).collect();
        assert_eq!(batch.join(" "), row["batch"], "{at}: batch");
        let mut preempted: Vec<u64> = step.preempted.iter().map(|&id| name_of(id)).collect();
        preempted.sort_unstable();
        assert_eq!(preempted, ids(&row["preempted"]), "{at}: preempted");
        let queues = (step.free_blocks, step.running, step.waiting);
        assert_eq!(queues, (int(row, "free_blocks"), int(row, "running"), int(row, "waiting")), "{at}: free, running, waiting");
        let mut finished: Vec<u64> = outcomes.iter().filter(|o| o.ended == step.end).map(|o| name_of(o.request.id)).collect();
        finished.sort_unstable();
        assert_eq!(finished, ids(&row["finished"]), "{at}: finished");
    }
    assert_eq!(mine.len(), steps.len(), "{name}: steps");
    assert_eq!(totals[0].steps as usize, steps.len(), "{name}: steps in total");
    assert_eq!(outcomes.len(), listed.len(), "{name}: requests");
    for (outcome, row) in outcomes.iter().zip(&listed) {
        let mine = (outcome.output_tokens, outcome.cached_tokens, outcome.preemptions);
        let theirs = (int(row, "output_tokens"), int(row, "cached_tokens"), int(row, "preemptions"));
        assert_eq!(mine, theirs, "{name}: tokens, cached, preemptions of request {}", row["id"]);
        assert_eq!(outcome.scheduled, Some(time(row, "scheduled_s")), "{name}: first scheduling of request {}", row["id"]);
    }
    steps.len()
}

/// Replays all runs.
fn replay_all(engine: &impl Engine) {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/vllm_cpu");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut runs: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    runs.retain(|path| path.join("steps.csv.gz").is_file());
    runs.sort();
    let steps: usize = runs.iter().map(|run| replay(engine, run)).sum();
    println!("{} runs, {steps} steps, no mismatch", runs.len());
    assert!(steps >= STEPS, "only {steps} of {STEPS} recorded steps were found");
}

#[test]
fn reference_takes_every_decision_of_the_server() {
    replay_all(&Reference);
}

#[test]
fn fast_engine_takes_every_decision_of_the_server() {
    replay_all(&Fast);
}
