//! The keystone: the fast engine and the reference give the same outcomes, totals and steps on configurations drawn from a seed.
//!
//! `TOKENTIDE_SWARM=n` tries n seeds (2,000 without it); `TOKENTIDE_SEED=s` replays one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokentide_models::cost::CostModel;
use tokentide_models::units::Time;
use tokentide_sim::cluster::History;
use tokentide_sim::engine::{Finish, Observer, Outcome};
use tokentide_sim::scenario::Policy;
use tokentide_sim::workload::Listed;
use tokentide_tests::engine::{Engine, Fast};
use tokentide_tests::recorder::{Recorder, Step};
use tokentide_tests::reference::{self, Changes, Counts};
use tokentide_tests::swarm::Case;
use tokentide_tests::swarm::load::{Clients, Load};
use tokentide_tests::swarm::settings::ROUTERS;

/// Seeds tried unless the environment says otherwise.
const SEEDS: u64 = 2_000;

/// What need not occur in one of a hundred seeds: it takes priorities, asynchronous scheduling and a full cache at the right
/// moment.
const RARE: [&str; 1] = ["victims in front that wanted nothing"];

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value:?} is no number")))
}

/// Everything in an outcome that an engine decides, and enough of the request to see that it is the same one.
type Fields = (u64, Time, u64, (u32, u32), Finish, [Option<Time>; 4], [u32; 3]);

fn fields(o: &Outcome) -> Fields {
    let r = &o.request;
    let times = [o.queued, o.scheduled, o.first_token, Some(o.ended)];
    (r.id, r.arrival, r.private, (o.replica, o.rank), o.finish, times, [o.output_tokens, o.cached_tokens, o.preemptions])
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

/// Holds an engine to the reference on one case: every step first, since it says most about what went wrong, then without asking
/// for steps. Returns what the case met.
fn compare(engine: &impl Engine, seed: u64) -> Result<Vec<(String, bool)>, String> {
    let case = Case::draw_changing(seed);
    let mut theirs = Recorder::steps();
    let (totals, history, counts) = match &case.load {
        Load::Open(requests) => reference::run_counted(&case.cluster(), &mut Listed::new(requests.clone()), &mut theirs),
        Load::Clients(clients) => reference::run_counted(&case.cluster(), &mut Clients::new(clients), &mut theirs),
    };
    let theirs = theirs.sorted();
    let outcomes: Vec<Fields> = theirs.outcomes.iter().map(fields).collect();
    for recorder in [Recorder::steps(), Recorder::outcomes()] {
        let stepping = if recorder.wants_steps() { " (stepping)" } else { "" };
        let mut mine = recorder;
        let (my_totals, my_history) = case.run_all(engine, &mut mine);
        let mine = mine.sorted();
        if mine.wants_steps() {
            differ("steps", &mine.steps, &theirs.steps)?;
        }
        let my_outcomes: Vec<Fields> = mine.outcomes.iter().map(fields).collect();
        differ(&format!("outcomes{stepping}"), &my_outcomes, &outcomes)?;
        differ(&format!("totals{stepping}"), &my_totals, &totals)?;
        same_history(stepping, my_history.as_ref(), history.as_ref())?;
        // The token of a step in flight when a client leaves, or when a replica fails, counts as a gap for the fast engine only.
        let interrupted = history.as_ref().is_some_and(|h| h.interrupted_by_failure + h.interrupted_by_scaling > 0);
        if !interrupted && theirs.outcomes.iter().all(|o| o.finish != Finish::TimedOut) {
            differ(&format!("gaps{stepping}"), &mine.gaps(), &theirs.gaps())?;
        }
    }
    Ok(met(&case, &theirs, &counts))
}

/// Holds what became of the replicas to what the reference says of it.
fn same_history(stepping: &str, mine: Option<&History>, theirs: Option<&History>) -> Result<(), String> {
    let (Some(mine), Some(theirs)) = (mine, theirs) else {
        return if mine.is_none() && theirs.is_none() { Ok(()) } else { Err("only one engine has a history".to_owned()) };
    };
    differ(&format!("counts of replicas{stepping}"), &mine.counts, &theirs.counts)?;
    differ(&format!("scalings{stepping}"), &mine.scalings, &theirs.scalings)?;
    differ(&format!("spans{stepping}"), &mine.serving, &theirs.serving)?;
    differ(&format!("starts{stepping}"), &mine.starts_s, &theirs.starts_s)?;
    let numbers = |h: &History| {
        let requests = [h.interrupted_by_failure, h.interrupted_by_scaling, h.retried, h.unrouted].map(u128::from);
        [&[h.node_ps, h.end.0.into()], &requests[..]].concat()
    };
    differ(
        &format!("numbers{stepping} (node time, end; interrupted by failure, by scaling; retried, unrouted)"),
        &[numbers(mine)],
        &[numbers(theirs)],
    )
}

/// What a case met, by name. All names are given for every case.
fn met(case: &Case, run: &Recorder, counts: &Counts) -> Vec<(String, bool)> {
    let engine = &case.engine;
    let named = [
        ("preemptions", counts.preemptions > 0),
        ("preemptions, asynchronous", engine.async_scheduling && counts.preemptions > 0),
        ("preemptions, priority", engine.policy == Policy::Priority && counts.preemptions > 0),
        ("preemptions of scheduled requests", counts.unscheduled > 0),
        ("preemptions with hits", counts.preemptions > 0 && counts.hits > 0),
        ("preempted without scheduling", counts.empty_preempting > 0),
        ("victims in front that wanted nothing", counts.shifted > 0),
        ("prefix hits", counts.hits > 0),
        ("evictions", counts.evictions > 0),
        ("evictions, unhashed last", !engine.free_unhashed_first && counts.evictions > 0),
        ("partial prefills", counts.partial > 0),
        ("partial prefills, threshold", engine.long_prefill_token_threshold > 0 && counts.partial > 0),
        ("blocked heads", counts.blocked > 0),
        ("blocked heads, watermark", engine.watermark > 0.0 && counts.blocked > 0),
        ("blocked heads, no chunks", !engine.enable_chunked_prefill && counts.blocked > 0),
        ("discarded tokens", counts.discarded > 0),
        ("tokens for the preempted", counts.given_to_preempted > 0),
        ("ends while waiting", counts.ended_waiting > 0),
        ("aborts", counts.aborts > 0),
        ("finished late", counts.finished_late > 0),
        ("ranks on their own", case.layout.ranks > 1 && !case.layout.lockstep),
        ("ranks in lockstep", case.layout.lockstep),
        ("ranks in lockstep, asynchronous", case.layout.lockstep && engine.async_scheduling),
        ("ranks in lockstep, feedback", case.layout.lockstep && matches!(case.load, Load::Clients(_))),
        ("ranks in lockstep, preemptions", case.layout.lockstep && counts.preemptions > 0),
        ("pipeline stages", case.layout.stages > 1),
        ("pipeline stages, preemptions", case.layout.stages > 1 && counts.preemptions > 0),
        ("decodes in other stages", counts.in_other_batches > 0),
        ("victims with a token in another stage", counts.awaited > 0),
        ("dummy steps", counts.dummies > 0),
        ("asynchronous", engine.async_scheduling),
        ("a cost that reads the spread of contexts", case.cost.reads_spread()),
        ("preemptions under such a cost", case.cost.reads_spread() && counts.preemptions > 0),
        ("feedback", matches!(case.load, Load::Clients(_))),
        ("20 and more running", run.steps.iter().any(|step| step.running >= 20)),
        ("100 steps of the same batch", longest_steady(&run.steps) >= 100),
    ];
    let ends =
        Finish::ALL.into_iter().map(|finish| (format!("end {}", finish.name()), run.outcomes.iter().any(|o| o.finish == finish)));
    let routers = ROUTERS.map(|r| (format!("router {r:?}"), case.cluster.replicas > 1 && case.cluster.router == r));
    let named = named.into_iter().chain(met_by_replicas(case, run, &counts.changes));
    named.map(|(name, met)| (name.to_string(), met)).chain(ends).chain(routers).collect()
}

/// What happened to replicas that come and go.
fn met_by_replicas(case: &Case, run: &Recorder, changes: &Changes) -> [(&'static str, bool); 27] {
    let dynamics = case.cluster.dynamics.as_deref();
    let ranks = case.layout.ranks > 1 && dynamics.is_some();
    let started = run.steps.iter().any(|step| step.replica >= case.cluster.replicas);
    let ended = |finish: Finish| run.outcomes.iter().any(|outcome| outcome.finish == finish);
    let [container, node, replica] = changes.failed.map(|count| count > 0);
    [
        ("replicas that can change", dynamics.is_some()),
        ("replicas: steps on a new engine", started),
        ("replicas: a container failed", container),
        ("replicas: a node failed", node),
        ("replicas: one failed for good", replica),
        ("replicas: lost with their zone", changes.with_zone > 0),
        ("replicas: placed when a zone was back", changes.placed_late > 0),
        ("replicas: went before they were ready", changes.never_ready > 0),
        ("replicas: drained, had nothing", changes.drained[0] > 0),
        ("replicas: drained, finished what they had", changes.drained[1] > 0),
        ("replicas: killed by grace", changes.cut_off > 0),
        ("replicas: all gone by schedule", changes.to_none > 0),
        ("replicas: on a node that carried another", changes.reused > 0),
        ("replicas: on a node still being made", changes.inherited > 0),
        ("replicas: a node given back", changes.given_back > 0),
        ("replicas: lost requests, feedback", matches!(case.load, Load::Clients(_)) && ended(Finish::Lost)),
        ("replicas: lost requests, stages", case.layout.stages > 1 && ended(Finish::Lost)),
        ("replicas: lost requests, ranks", ranks && ended(Finish::Lost)),
        ("replicas: lost requests, lockstep", case.layout.lockstep && ended(Finish::Lost)),
        ("replicas: interrupted after its client left", changes.interrupted_late > 0),
        ("replicas: sent again and served", changes.retried_served > 0),
        ("replicas: sent again too late", changes.retried_late > 0),
        ("replicas: sent again and held", changes.held_again > 0),
        ("replicas: held and served", changes.held_served > 0),
        ("replicas: refused at once", changes.refused[0] > 0),
        ("replicas: refused after a while", changes.refused[1] > 0),
        ("replicas: client left while held", changes.left_held > 0),
    ]
}

/// The longest run of steps on one replica that compute one token each of the same requests: what a fast engine leaps over.
fn longest_steady(steps: &[Step]) -> usize {
    let same = |pair: &&[Step]| {
        let decodes = |step: &Step| step.batch.iter().all(|part| part.2 == 1);
        let ids = |step: &Step| step.batch.iter().map(|part| part.0).collect::<Vec<_>>();
        (pair[0].replica, pair[0].rank) == (pair[1].replica, pair[1].rank)
            && decodes(&pair[0])
            && decodes(&pair[1])
            && ids(&pair[0]) == ids(&pair[1])
    };
    let (mut longest, mut now) = (0, 0);
    for pair in steps.windows(2) {
        now = if same(&pair) { now + 1 } else { 0 };
        longest = longest.max(now);
    }
    longest
}

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()));
    format!("panicked: {}", text.unwrap_or_default())
}

/// Runs the swarm on an engine. `test` is the name of the test that calls it.
fn swarm(engine: &impl Engine, test: &str) {
    let run = |seed| catch_unwind(AssertUnwindSafe(|| compare(engine, seed))).unwrap_or_else(|panic| Err(message(panic)));
    let fail = |seed: u64, error: &str| {
        let replay = format!("TOKENTIDE_SEED={seed} cargo test --release -p tokentide-tests --test keystone {test} -- --exact");
        panic!("seed {seed}: {error}\nreplay: {replay}");
    };
    if let Some(seed) = variable("TOKENTIDE_SEED") {
        match run(seed) {
            Ok(mut met) => {
                met.retain(|(_, met)| *met);
                println!("seed {seed}: no difference; met {:?}", met.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
            }
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
                Ok(met) => {
                    let mut counts = counts.lock().expect("no panics outside of run");
                    met.into_iter().for_each(|(name, met)| *counts.entry(name).or_default() += u64::from(met));
                }
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
    for (name, count) in counts.iter().filter(|(name, _)| seeds >= SEEDS && !RARE.contains(&name.as_str())) {
        assert!(count * 100 >= seeds, "the swarm has gone blind: only {count} of {seeds} seeds met {name:?}");
    }
}

#[test]
fn keystone() {
    swarm(&Fast, "keystone");
}
