//! The keystone: the fast engine and the reference give the same outcomes, totals and steps on configurations drawn from a seed.
//!
//! `TOKENTIDE_SWARM=n` tries n seeds (2,000 without it); `TOKENTIDE_SEED=s` replays one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokentide_models::units::Time;
use tokentide_sim::engine::{Finish, Observer, Outcome};
use tokentide_sim::scenario::{Policy, Router};
use tokentide_sim::workload::Listed;
use tokentide_tests::engine::{Engine, Fast, Reference};
use tokentide_tests::recorder::{Recorder, Step};
use tokentide_tests::reference::{self, Counts};
use tokentide_tests::swarm::Case;
use tokentide_tests::swarm::load::{Clients, Load};
use tokentide_tests::swarm::settings::ROUTERS;

/// Seeds tried unless the environment says otherwise.
const SEEDS: u64 = 2_000;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value:?} is no number")))
}

/// Everything in an outcome that an engine decides, and enough of the request to see that it is the same one.
type Fields = (u64, Time, u64, u32, Finish, [Option<Time>; 3], [u32; 3]);

fn fields(o: &Outcome) -> Fields {
    let r = &o.request;
    let times = [o.scheduled, o.first_token, Some(o.ended)];
    (r.id, r.arrival, r.private, o.replica, o.finish, times, [o.output_tokens, o.cached_tokens, o.preemptions])
}

/// The first place where two lists differ.
fn differ<T: PartialEq + std::fmt::Debug>(what: &str, left: &[T], right: &[T]) -> Result<(), String> {
    if let Some((l, r)) = left.iter().zip(right).find(|(l, r)| l != r) {
        return Err(format!("{what} differ\n  left  {l:?}\n  right {r:?}"));
    }
    if left.len() != right.len() {
        return Err(format!(
            "{} and {} {what}; more: {:?}",
            left.len(),
            right.len(),
            left.get(right.len()).or(right.get(left.len()))
        ));
    }
    Ok(())
}

/// Holds an engine to the reference on one case: every step first, since it says most about what went wrong, then without asking for
/// steps. Returns what the case met.
fn compare(engine: &impl Engine, seed: u64) -> Result<Vec<String>, String> {
    let case = Case::draw(seed);
    let mut theirs = Recorder::steps();
    let (totals, counts) = match &case.load {
        Load::Open(requests) => reference::run_counted(&case.cluster(), &mut Listed::new(requests.clone()), &mut theirs),
        Load::Clients(clients) => reference::run_counted(&case.cluster(), &mut Clients::new(clients), &mut theirs),
    };
    let theirs = theirs.sorted();
    let outcomes: Vec<Fields> = theirs.outcomes.iter().map(fields).collect();
    for recorder in [Recorder::steps(), Recorder::outcomes()] {
        let stepping = if recorder.wants_steps() { " (stepping)" } else { "" };
        let mut mine = recorder;
        let my_totals = case.run(engine, &mut mine);
        let mine = mine.sorted();
        if mine.wants_steps() {
            differ("steps", &mine.steps, &theirs.steps)?;
        }
        let my_outcomes: Vec<Fields> = mine.outcomes.iter().map(fields).collect();
        differ(&format!("outcomes{stepping}"), &my_outcomes, &outcomes)?;
        differ(&format!("totals{stepping}"), &my_totals, &totals)?;
    }
    Ok(met(&case, &theirs, &counts))
}

/// The names of what a case met.
fn met(case: &Case, run: &Recorder, counts: &Counts) -> Vec<String> {
    let ended = |finish| run.outcomes.iter().any(|o| o.finish == finish);
    let engine = &case.engine;
    let gated = |flag: bool, count: u64| flag && count > 0;
    let mut met: Vec<String> = [
        ("preemptions", counts.preemptions > 0),
        ("preemptions, asynchronous", gated(engine.async_scheduling, counts.preemptions)),
        ("preemptions, priority", gated(engine.policy == Policy::Priority, counts.preemptions)),
        ("preemptions of scheduled requests", counts.unscheduled > 0),
        ("prefix hits", counts.hits > 0),
        ("prefix hits after preemption", gated(engine.enable_prefix_caching, counts.preemptions.min(counts.hits))),
        ("evictions", counts.evictions > 0),
        ("evictions, unhashed last", gated(!engine.free_unhashed_first, counts.evictions)),
        ("partial prefills", counts.partial > 0),
        ("partial prefills, threshold", gated(engine.long_prefill_token_threshold > 0, counts.partial)),
        ("blocked heads", counts.blocked > 0),
        ("blocked heads, watermark", gated(engine.watermark > 0.0, counts.blocked)),
        ("blocked heads, no chunks", gated(!engine.enable_chunked_prefill, counts.blocked)),
        ("discarded tokens", counts.discarded > 0),
        ("tokens for the preempted", counts.given_to_preempted > 0),
        ("ends while waiting", counts.ended_waiting > 0),
        ("aborts", counts.aborts > 0),
        ("finished late", counts.finished_late > 0),
        ("asynchronous", engine.async_scheduling),
        ("feedback", matches!(case.load, Load::Clients(_))),
        ("passed over behind a victim", counts.shifted > 0),
        ("preempted without scheduling", counts.empty_preempting > 0),
        ("20 and more running", run.steps.iter().any(|step| step.running >= 20)),
        ("100 steps of the same batch", longest_steady(&run.steps) >= 100),
    ]
    .iter()
    .filter(|(_, met)| *met)
    .map(|(name, _)| (*name).to_string())
    .collect();
    met.extend(Finish::ALL.into_iter().filter(|&finish| ended(finish)).map(|finish| format!("end {}", finish.name())));
    if case.cluster.replicas > 1 {
        met.push(router(case.cluster.router));
    }
    met
}

/// The longest run of steps on one replica that compute one token each of the same requests: what a fast engine leaps over.
fn longest_steady(steps: &[Step]) -> usize {
    let same = |pair: &&[Step]| {
        let decodes = |step: &Step| step.batch.iter().all(|part| part.2 == 1);
        let ids = |step: &Step| step.batch.iter().map(|part| part.0).collect::<Vec<_>>();
        pair[0].replica == pair[1].replica && decodes(&pair[0]) && decodes(&pair[1]) && ids(&pair[0]) == ids(&pair[1])
    };
    let (mut longest, mut now) = (0, 0);
    for pair in steps.windows(2) {
        now = if same(&pair) { now + 1 } else { 0 };
        longest = longest.max(now);
    }
    longest
}

fn router(router: Router) -> String {
    format!("router {router:?}")
}

/// Everything that must occur in at least one of a hundred seeds.
fn expected() -> Vec<String> {
    let mut names: Vec<String> = [
        "preemptions",
        "preemptions, asynchronous",
        "preemptions, priority",
        "preemptions of scheduled requests",
        "prefix hits",
        "prefix hits after preemption",
        "evictions",
        "evictions, unhashed last",
        "partial prefills",
        "partial prefills, threshold",
        "blocked heads",
        "blocked heads, watermark",
        "blocked heads, no chunks",
        "discarded tokens",
        "tokens for the preempted",
        "ends while waiting",
        "aborts",
        "finished late",
        "asynchronous",
        "feedback",
        "20 and more running",
        "100 steps of the same batch",
        "preempted without scheduling",
    ]
    .map(String::from)
    .to_vec();
    names.extend(Finish::ALL.into_iter().map(|finish| format!("end {}", finish.name())));
    names.extend(ROUTERS.into_iter().map(router));
    names
}

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()));
    format!("panicked: {}", text.unwrap_or_default())
}

/// Runs the swarm on an engine. `test` is the name of the test that calls it.
fn swarm(engine: &impl Engine, test: &str) {
    let run = |seed| catch_unwind(AssertUnwindSafe(|| compare(engine, seed))).unwrap_or_else(|panic| Err(message(panic)));
    let fail = |seed: u64, error: &str| {
        let replay = format!(
            "TOKENTIDE_SEED={seed} cargo test --release -p tokentide-tests --test keystone {test} -- --exact --include-ignored"
        );
        panic!("seed {seed}: {error}\nreplay: {replay}");
    };
    if let Some(seed) = variable("TOKENTIDE_SEED") {
        match run(seed) {
            Ok(met) => println!("seed {seed}: no difference; met {met:?}"),
            Err(error) => fail(seed, &error),
        }
        return;
    }
    let seeds = variable("TOKENTIDE_SWARM").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let (failed, counts) = (Mutex::new(BTreeMap::new()), Mutex::new(BTreeMap::<String, u64>::new()));
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || !failed.lock().expect("no panics outside of run").is_empty() {
                break;
            }
            match run(seed) {
                Ok(met) => met.into_iter().for_each(|name| *counts.lock().expect("see above").entry(name).or_default() += 1),
                Err(error) => drop(failed.lock().expect("see above").insert(seed, error)),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    if let Some((&seed, error)) = failed.lock().expect("all workers are done").first_key_value() {
        fail(seed, error);
    }
    let counts = counts.into_inner().expect("all workers are done");
    println!("{seeds} seeds, no difference; share of the seeds that met");
    for (name, count) in &counts {
        println!("  {:5.1} %  {name}", 100.0 * *count as f64 / seeds as f64);
    }
    if seeds >= 1000 {
        for name in expected() {
            let count = counts.get(&name).copied().unwrap_or(0);
            assert!(count * 100 >= seeds, "the swarm has gone blind: only {count} of {seeds} seeds met {name:?}");
        }
    }
}

#[test]
fn keystone_self() {
    swarm(&Reference, "keystone_self");
}

#[test]
#[ignore = "waits for the fast engine"]
fn keystone() {
    swarm(&Fast, "keystone");
}
