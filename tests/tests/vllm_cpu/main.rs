//! Recorded runs of a real vLLM as an oracle: with the recorded step boundaries, an engine must take every decision that vLLM
//! took. Each step's ordered batch, free blocks, running, waiting, preempted and finished requests are compared.
//!
//! The runs of the shared data are of a server that has blocks to spare; those of `tests/data/vllm_cpu` are about what happens when
//! blocks run short (its README says what they are).

mod metrics;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::{Cluster, Ingress};
use tokentide_sim::engine::{Finish, Layout};
use tokentide_sim::scenario::{ClusterConfig, EngineConfig, Policy, Router, Scheduler};
use tokentide_sim::stream::mix;
use tokentide_sim::workload::{Layer, Listed, Prefix, Request};
use tokentide_tests::engine::{Engine, Fast, Reference};
use tokentide_tests::recorder::Recorder;
use tokentide_tests::shared::shared;

/// Steps of all shared runs together (the data's README).
const STEPS: usize = 22_676;

/// Steps and preemptions of all runs of `tests/data/vllm_cpu` together.
const OWN: (usize, usize) = (7_328, 786);

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

/// An integer of a column that not all runs have.
fn int_or<T: std::str::FromStr>(row: &Row, column: &str, otherwise: T) -> T {
    if row.get(column).is_none_or(String::is_empty) { otherwise } else { int(row, column) }
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
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: 0 }
    }
}

/// From each step's start to the next one's; a step after which nothing is left lasts until its own end, and the next arrival wakes
/// the engine.
fn durations(steps: &[Row], virtual_clock: bool) -> Recorded {
    if virtual_clock {
        return busy(steps);
    }
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

/// On a virtual clock a step starts when it is scheduled or, if that is later, when the one before has ended.
fn busy(steps: &[Row]) -> Recorded {
    let mut free = Time::ZERO;
    let duration = |step: &Row| {
        let start = time(step, "sched_start_s").max(free);
        free = time(step, "exec_end_s");
        free - start
    };
    Recorded(steps.iter().map(duration).collect())
}

/// The requests in queue order; each arrives at the start of the first step that the server could see it in, unless the clock is
/// virtual. Also the ids on file.
fn requests(rows: &mut [Row], steps: &[Row], virtual_clock: bool) -> (Vec<Request>, Vec<u64>) {
    rows.sort_by_key(|row| int::<u64>(row, "queue_order"));
    let starts: Vec<Time> = steps.iter().map(|step| time(step, "sched_start_s")).collect();
    let request = |(i, row): (usize, &Row)| {
        let queued = time(row, "queued_s");
        let prefix = match int_or(row, "prefix_tokens", 0) {
            0 => Prefix::None,
            end => {
                // A block's key is symmetric in `content` and `mix(block)`: contents must not be `mix` of small numbers.
                Prefix::Layers(Arc::new([Layer { content: mix(mix(int(row, "prefix_group"))), end }]))
            }
        };
        Request {
            id: i as u64,
            arrival: if virtual_clock { queued } else { starts[starts.partition_point(|&start| start < queued)] },
            class: 0,
            tenant: u16::MAX,
            route: u16::MAX,
            priority: int_or(row, "priority", 0),
            input_tokens: int(row, "input_tokens"),
            output_tokens: int(row, "output_tokens"),
            max_tokens: int_or(row, "max_tokens", int(row, "output_tokens")),
            deadline: if row.get("deadline_s").is_none_or(String::is_empty) { Time::NEVER } else { time(row, "deadline_s") },
            session: None,
            prefix,
            private: i as u64,
            private_reused: false,
            sources: [0; 8],
        }
    };
    (rows.iter().enumerate().map(request).collect(), rows.iter().map(|row| int(row, "id")).collect())
}

/// The recorded engine's settings, its usable KV blocks, and whether its clock was virtual.
fn settings(path: &Path) -> (EngineConfig, u32, bool) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let value: serde_json::Value = serde_json::from_reader(file).expect("JSON");
    let number = |key: &str| value[key].as_u64().unwrap_or_else(|| panic!("{key} is no integer")) as u32;
    let flag = |key: &str| value[key].as_bool().unwrap_or_else(|| panic!("{key} is no bool"));
    let policy = match value["policy"].as_str() {
        Some("fcfs") => Policy::Fcfs,
        Some("priority") => Policy::Priority,
        other => panic!("policy {other:?}"),
    };
    let engine = EngineConfig {
        max_num_seqs: number("max_num_seqs"),
        max_num_batched_tokens: number("max_num_batched_tokens"),
        max_model_len: number("max_model_len"),
        block_size: number("block_size"),
        enable_prefix_caching: flag("prefix_caching"),
        enable_chunked_prefill: value["chunked_prefill"].as_bool().unwrap_or(true),
        policy,
        async_scheduling: flag("async_scheduling"),
        long_prefill_token_threshold: number("long_prefill"),
        lone_prefill_uncapped: true,
        reserve_full_isl: flag("reserve_full_isl"),
        watermark: value["watermark"].as_f64().expect("a number"),
        free_unhashed_first: true,
        max_num_queued_reqs: None,
        scheduler: Scheduler::Vllm,
    };
    (engine, number("num_gpu_blocks") - 1, value["clock"] == "virtual")
}

/// A recorded run, ready to be replayed.
struct Recording {
    steps: Vec<Row>,
    listed: Vec<Row>,
    requests: Vec<Request>,
    /// Ids on file, by those of the requests.
    on_file: Vec<u64>,
    config: EngineConfig,
    kv_blocks: u32,
    durations: Recorded,
}

impl Recording {
    fn read(run: &Path) -> Recording {
        let steps = rows(&run.join("steps.csv.gz"));
        let mut listed = rows(&run.join("requests.csv.gz"));
        let (config, kv_blocks, virtual_clock) = settings(&run.join("scheduler_config.json"));
        let (requests, on_file) = requests(&mut listed, &steps, virtual_clock);
        let durations = durations(&steps, virtual_clock);
        Recording { steps, listed, requests, on_file, config, kv_blocks, durations }
    }

    fn cluster(&self) -> Cluster<'_> {
        const ONE: &ClusterConfig = &ClusterConfig::fixed(1, Router::RoundRobin);
        Cluster {
            config: ONE,
            engine: &self.config,
            layout: Layout::ONE,
            kv_blocks: self.kv_blocks,
            cost: &self.durations,
            ingress: Ingress::default(),
            egress: Duration::ZERO,
            seed: 0,
        }
    }
}

/// Replays a run. Returns the numbers of steps and of preemptions; panics at the first difference.
fn replay(engine: &impl Engine, run: &Path) -> (usize, usize) {
    let name = run.file_name().expect("a folder").to_string_lossy().into_owned();
    let recording = Recording::read(run);
    let mut recorder = Recorder::steps();
    let totals = engine.run(&recording.cluster(), &mut Listed::new(recording.requests.clone()), &mut recorder);
    let Recording { steps, listed, on_file, .. } = &recording;
    let Recorder { outcomes, steps: mine, .. } = recorder.sorted();

    let name_of = |id: u64| on_file[id as usize];
    for (step, row) in mine.iter().zip(steps) {
        let at = format!("{name}, step {}", row["step"]);
        assert_eq!(step.scheduled, time(row, "sched_start_s"), "{at}: time");
        let batch: Vec<String> = step.batch.iter().map(|&(id, computed, n)| format!("{}:{computed}:{n}", name_of(id))).collect();
        assert_eq!(batch.join(" "), row["batch"], "{at}: batch");
        let mut preempted: Vec<u64> = step.preempted.iter().map(|&id| name_of(id)).collect();
        preempted.sort_unstable();
        assert_eq!(preempted, ids(&row["preempted"]), "{at}: preempted");
        let queues = (step.free_blocks, step.running, step.waiting);
        assert_eq!(queues, (int(row, "free_blocks"), int(row, "running"), int(row, "waiting")), "{at}: free, running, waiting");
        let mut finished: Vec<u64> =
            outcomes.iter().filter(|o| o.finish.completed() && o.ended == step.end).map(|o| name_of(o.request.id)).collect();
        finished.sort_unstable();
        assert_eq!(finished, ids(&row["finished"]), "{at}: finished");
    }
    assert_eq!(mine.len(), steps.len(), "{name}: steps");
    assert_eq!(totals[0].steps as usize, steps.len(), "{name}: steps in total");
    assert_eq!(outcomes.len(), listed.len(), "{name}: requests");
    for (outcome, row) in outcomes.iter().zip(listed) {
        let mine = (outcome.output_tokens, outcome.cached_tokens, outcome.preemptions);
        let theirs =
            (outcome.request.output_tokens, int_or(row, "cached_tokens", mine.1), int_or(row, "preemptions", outcome.preemptions));
        let cut = matches!(outcome.finish, Finish::Truncated | Finish::TimedOut);
        assert!(mine == theirs || cut, "{name}: tokens, cached, preemptions of request {}: {mine:?}, {theirs:?}", row["id"]);
        if row.contains_key("scheduled_s") {
            assert_eq!(outcome.scheduled, Some(time(row, "scheduled_s")), "{name}: first scheduling of request {}", row["id"]);
        }
    }
    (steps.len(), mine.iter().map(|step| step.preempted.len()).sum())
}

/// Replays all runs of a folder. Returns the numbers of steps and of preemptions.
fn replay_all(engine: &impl Engine, folder: &Path) -> (usize, usize) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut runs: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    runs.retain(|path| path.join("steps.csv.gz").is_file());
    runs.sort();
    let all = runs.iter().map(|run| replay(engine, run)).fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
    println!("{} runs, {} steps, {} preemptions, no mismatch", runs.len(), all.0, all.1);
    all
}

/// Replays the shared runs.
fn replay_shared(engine: &impl Engine) {
    let Some(shared) = shared() else { return };
    let (steps, _) = replay_all(engine, &shared.join("data/vllm_cpu"));
    assert!(steps >= STEPS, "only {steps} of {STEPS} recorded steps were found");
}

/// Replays the runs of this repository, or of another folder of the kind.
fn replay_own(engine: &impl Engine) {
    match std::env::var_os("TOKENTIDE_RECORDINGS") {
        Some(folder) => _ = replay_all(engine, Path::new(&folder)),
        None => assert_eq!(replay_all(engine, Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/vllm_cpu"))), OWN),
    }
}

#[test]
fn reference_takes_every_decision_of_the_server() {
    replay_shared(&Reference);
}

#[test]
fn fast_engine_takes_every_decision_of_the_server() {
    replay_shared(&Fast);
}

#[test]
fn reference_takes_every_decision_when_blocks_run_short() {
    replay_own(&Reference);
}

#[test]
fn fast_engine_takes_every_decision_when_blocks_run_short() {
    replay_own(&Fast);
}
