//! What any right simulation of a server conserves, whatever its details: tokens, requests, blocks, time; and the queues that have
//! closed forms.

use std::collections::HashMap;

use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::{Duration, PS_PER_S, Time};
use tokentide_sim::cluster::{Cluster, Ingress};
use tokentide_sim::engine::{EngineTotals, Finish, Layout, Outcome};
use tokentide_sim::scenario::{ClusterConfig, EngineConfig, Policy, Router, Scheduler};
use tokentide_sim::workload::{Listed, Request};
use tokentide_tests::engine::{Engine, Fast};
use tokentide_tests::recorder::{Recorder, Step};
use tokentide_tests::small;
use tokentide_tests::swarm::Case;
use tokentide_tests::swarm::draw::Draw;
use tokentide_tests::swarm::load::Load;

/// The engine under test.
const ENGINE: Fast = Fast;

/// `base + token * prefill tokens + context * decode context` [ps].
#[derive(Clone, Copy)]
struct Affine {
    base: u64,
    token: u64,
    context: u64,
}

impl CostModel for Affine {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        Duration(self.base + self.token * batch.prefill_tokens + self.context * batch.decode_context)
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece::by_context(batch, self.iteration(batch), self.context, u64::MAX)
    }
}

/// About an 8B model on one GPU: 8 ms a step, 30 us a prompt token, 0.1 us a token of context.
const GPU: Affine = Affine { base: 8_000_000_000, token: 30_000_000, context: 100_000 };

/// A server with plenty of everything; tests narrow what they are about.
struct Server {
    engine: EngineConfig,
    kv_blocks: u32,
    cluster: ClusterConfig,
    cost: Affine,
    ingress: Ingress,
    egress: Duration,
}

impl Server {
    fn new(cost: Affine) -> Server {
        let engine = EngineConfig {
            max_num_seqs: 32,
            max_num_batched_tokens: 512,
            max_model_len: 4096,
            block_size: 16,
            enable_prefix_caching: false,
            enable_chunked_prefill: true,
            policy: Policy::Fcfs,
            async_scheduling: false,
            long_prefill_token_threshold: 0,
            lone_prefill_uncapped: true,
            reserve_full_isl: true,
            watermark: 0.0,
            free_unhashed_first: true,
            max_num_queued_reqs: None,
            scheduler: Scheduler::Vllm,
        };
        let cluster = ClusterConfig::fixed(1, Router::RoundRobin);
        Server { engine, kv_blocks: 4096, cluster, cost, ingress: Ingress::default(), egress: Duration::ZERO }
    }

    fn run(&self, requests: &[Request], recorder: Recorder) -> (Vec<EngineTotals>, Recorder) {
        let cluster = Cluster {
            config: &self.cluster,
            engine: &self.engine,
            layout: Layout::ONE,
            kv_blocks: self.kv_blocks,
            cost: &self.cost,
            ingress: self.ingress,
            egress: self.egress,
            seed: 1,
        };
        let mut recorder = recorder;
        let totals = ENGINE.run(&cluster, &mut Listed::new(requests.to_vec()), &mut recorder);
        let recorder = recorder.sorted();
        assert_eq!(recorder.outcomes.len(), requests.len(), "one outcome per request");
        (totals, recorder)
    }
}

fn request(id: u64, arrival: Time, input_tokens: u32, output_tokens: u32) -> Request {
    Request { arrival, max_tokens: u32::MAX, ..small::request(id, input_tokens, output_tokens) }
}

/// Poisson arrivals at `rate` [1/s]; lengths are drawn by `lengths`.
fn poisson(seed: u64, n: u64, rate: f64, mut lengths: impl FnMut(&mut Draw) -> (u32, u32)) -> Vec<Request> {
    let mut draw = Draw::new(seed);
    let mut now = 0;
    let mut one = |id| {
        now += (exponential(&mut draw, PS_PER_S as f64 / rate)) as u64;
        let (input, output) = lengths(&mut draw);
        request(id, Time(now), input, output)
    };
    (0..n).map(&mut one).collect()
}

fn exponential(draw: &mut Draw, mean: f64) -> f64 {
    -draw.unit().ln() * mean
}

fn chat(draw: &mut Draw) -> (u32, u32) {
    (1 + exponential(draw, 250.0) as u32 % 2000, 1 + exponential(draw, 60.0) as u32 % 500)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (n, sum) = values.fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    sum / n
}

/// (1) Every prompt token is computed once, or found in the cache, or lost to a preemption and computed again; the answer's tokens
/// follow one another. Every arrival has one end, and nothing is given beyond what was asked for.
#[test]
fn tokens_in_are_tokens_out() {
    let mut restarted = 0;
    for seed in 0..400 {
        let case = Case::draw(seed);
        let mut recorder = Recorder::steps();
        let totals = case.run(&ENGINE, &mut recorder);
        let Recorder { outcomes, steps, .. } = recorder.sorted();
        let arrived = match &case.load {
            Load::Open(requests) => requests.len(),
            Load::Clients(clients) => clients.iter().map(|client| client.turns.len()).sum(),
        };
        assert_eq!(outcomes.len(), arrived, "seed {seed}: one end per arrival");
        assert!(outcomes.windows(2).all(|pair| pair[0].request.id + 1 == pair[1].request.id), "seed {seed}: ids");
        let rejected = outcomes.iter().filter(|o| matches!(o.finish, Finish::RejectedContext | Finish::RejectedQueue)).count();
        assert_eq!(totals.iter().map(|t| t.requests).sum::<u64>() as usize, arrived - rejected, "seed {seed}: delivered");

        let mut parts: HashMap<u64, Vec<(u32, u32)>> = HashMap::new();
        for step in &steps {
            for &(id, computed, tokens) in &step.batch {
                parts.entry(id).or_default().push((computed, tokens));
            }
        }
        for outcome in &outcomes {
            let parts = parts.remove(&outcome.request.id).unwrap_or_default();
            restarted += check_work(&case, outcome, &parts);
        }
        assert!(parts.is_empty(), "seed {seed}: work for nobody");
    }
    assert!(restarted > 100, "only {restarted} restarts: the test does not see preemption");
}

/// Checks the chain of a request's chunks. Returns how often it started over.
fn check_work(case: &Case, outcome: &Outcome, parts: &[(u32, u32)]) -> u32 {
    let (r, what) = (&outcome.request, format!("seed {}, request {}", case.seed, outcome.request.id));
    assert_eq!(outcome.scheduled.is_some(), !parts.is_empty(), "{what}: scheduled");
    let Some(&(first, _)) = parts.first() else {
        assert_eq!(outcome.output_tokens, 0, "{what}: tokens without work");
        return 0;
    };
    assert_eq!(first, outcome.cached_tokens, "{what}: cached");
    // Work done again, less what the cache saved since: others may have computed more of a shared prefix in the meantime.
    let (mut restarts, mut lost) = (0, 0);
    for pair in parts.windows(2) {
        let (next, computed) = (pair[0].0 + pair[0].1, pair[1].0);
        if computed != next {
            assert_eq!(computed % case.engine.block_size, 0, "{what}: from {next} to {computed}");
            restarts += 1;
            lost += i64::from(next) - i64::from(computed);
        }
    }
    assert!(restarts <= outcome.preemptions, "{what}: {restarts} restarts, {} preemptions", outcome.preemptions);
    let reached = parts.last().map_or(0, |part| part.0 + part.1);
    let yields = r.output_tokens.min(r.max_tokens).min(case.engine.max_model_len - r.input_tokens);
    assert!(outcome.output_tokens <= yields, "{what}: too many tokens");
    if outcome.finish.completed() {
        assert_eq!(outcome.output_tokens, yields, "{what}: tokens");
        // The last token is never computed, but a stop is only noticed after the next step has been scheduled.
        let discarded = reached - (r.input_tokens + yields - 1);
        assert!(
            discarded <= u32::from(case.engine.async_scheduling && outcome.finish == Finish::Stop),
            "{what}: reached {reached}"
        );
        let work: u32 = parts.iter().map(|part| part.1).sum();
        let out = r.input_tokens + yields - 1;
        assert_eq!(i64::from(work + outcome.cached_tokens), i64::from(out + discarded) + lost, "{what}: work");
    } else {
        assert!(reached <= r.input_tokens + yields, "{what}: reached {reached}");
    }
    restarts
}

/// Per replica, start times of its steps.
fn starts(steps: &[Step], replicas: u32) -> Vec<Vec<Time>> {
    let mut starts = vec![Vec::new(); replicas as usize];
    for step in steps {
        starts[step.replica as usize].push(step.scheduled);
    }
    starts
}

/// (2) Little's law, exactly: the time integral of the number waiting or running is the sum of the times spent there.
#[test]
fn littles_law_at_both_stages() {
    for (seed, kv_blocks, rate) in [(1, 4096, 4.0), (2, 4096, 20.0), (3, 260, 30.0)] {
        let mut server = Server::new(GPU);
        server.kv_blocks = kv_blocks;
        server.engine.reserve_full_isl = kv_blocks == 4096;
        server.cluster.replicas = 2;
        server.ingress = Ingress::fixed(Duration(3_000_000_001));
        let requests = poisson(seed, 500, rate, chat);
        let (totals, Recorder { outcomes, steps, .. }) = server.run(&requests, Recorder::steps());
        let starts = starts(&steps, 2);
        let drained = |o: &Outcome| {
            let starts = &starts[o.replica as usize];
            starts[starts.partition_point(|&start| start < o.request.arrival + server.ingress.request)]
        };
        let integral = |level: fn(&Step) -> u32| -> u128 {
            steps.iter().map(|s| u128::from(level(s)) * u128::from((s.end - s.scheduled).0)).sum()
        };
        let spent = |time: &dyn Fn(&Outcome) -> Duration| -> u128 { outcomes.iter().map(|o| u128::from(time(o).0)).sum() };
        let scheduled = |o: &Outcome| o.scheduled.expect("everybody runs");
        assert_eq!(integral(|s| s.running + s.waiting), spent(&|o| o.ended - drained(o)), "in the engine");
        let preemptions: u64 = totals.iter().map(|t| t.preemptions).sum();
        if kv_blocks == 4096 {
            assert_eq!(preemptions, 0);
            assert_eq!(integral(|s| s.running), spent(&|o| o.ended - scheduled(o)), "running");
            assert_eq!(integral(|s| s.waiting), spent(&|o| scheduled(o) - drained(o)), "waiting");
        } else {
            assert!(preemptions > 0, "the small cache is meant to preempt");
        }
    }
}

/// (3) Utilisation lies in [0, 1], grows with the load, and is the offered work where there is little of it.
#[test]
fn utilisation_grows_with_load() {
    let server = Server::new(GPU);
    let mut last = 0.0;
    let mut of_load = Vec::new();
    for rate in [0.05, 0.5, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0] {
        let requests = poisson(5, 600, rate, chat);
        let (totals, _) = server.run(&requests, Recorder::outcomes());
        let utilisation = totals[0].busy_ps as f64 / (totals[0].last_end - requests[0].arrival).0 as f64;
        assert!((0.0..=1.0).contains(&utilisation), "{rate}/s: {utilisation}");
        assert!(utilisation >= last - 0.005, "{rate}/s: {utilisation} after {last}");
        last = utilisation;
        of_load.push(utilisation);
    }
    assert!(of_load[0] < 0.05 && last > 0.99, "{of_load:?}");
}

/// (4) No more tokens per second than a full batch gives in the fastest step, and nearly as many under overload.
#[test]
fn throughput_stays_below_its_bound() {
    let server = Server::new(Affine { base: 8_000_000_000, token: 0, context: 0 });
    let requests = poisson(6, 2000, 1e6, |draw| (1 + draw.below(15) as u32, 40 + draw.below(80) as u32));
    let (totals, Recorder { outcomes, .. }) = server.run(&requests, Recorder::outcomes());
    let tokens: u64 = outcomes.iter().map(|o| u64::from(o.output_tokens)).sum();
    let rate = tokens as f64 / (totals[0].last_end - requests[0].arrival).as_secs_f64();
    let bound = f64::from(server.engine.max_num_seqs) / 8e-3;
    assert!(rate <= bound && rate > 0.95 * bound, "{rate} of {bound} tokens/s");
}

/// (5) The blocks in use are exactly those of the running requests, never more than there are.
#[test]
fn blocks_in_use_are_those_of_the_running() {
    let mut server = Server::new(GPU);
    server.kv_blocks = 256;
    server.engine.reserve_full_isl = false;
    let requests = poisson(7, 400, 30.0, chat);
    let (totals, Recorder { steps, .. }) = server.run(&requests, Recorder::steps());
    assert!(totals[0].preemptions > 0, "the small cache is meant to preempt");
    let mut held: HashMap<u64, u32> = HashMap::new();
    let mut peak = 0;
    for step in &steps {
        for id in &step.preempted {
            held.remove(id).expect("only running requests are preempted");
        }
        for &(id, computed, tokens) in &step.batch {
            held.insert(id, computed + tokens);
        }
        let used: u32 = held.values().map(|tokens| tokens.div_ceil(server.engine.block_size)).sum();
        assert_eq!((held.len() as u32, server.kv_blocks - step.free_blocks), (step.running, used), "step {}", step.step);
        peak = peak.max(used);
        held.retain(|id, tokens| {
            let request = &requests[*id as usize];
            *tokens < request.input_tokens + request.output_tokens - 1
        });
    }
    assert!(held.is_empty() && peak <= server.kv_blocks);
    assert_eq!(totals[0].kv_blocks_peak, peak);
}

/// (6) At zero load the time to first token is that of the chunks, and grows with the prompt.
#[test]
fn ttft_grows_with_the_prompt() {
    for async_scheduling in [false, true] {
        let mut server = Server::new(GPU);
        server.engine.async_scheduling = async_scheduling;
        server.ingress = Ingress { request: Duration(5_000_000_000), prompt_token: Duration(3_500_000) };
        server.egress = Duration(700_000_000);
        let inputs = || (1..4096).step_by(37).chain([511, 512, 513, 1024, 1025]);
        let requests: Vec<Request> =
            inputs().enumerate().map(|(i, input)| request(i as u64, Time(i as u64 * 100 * PS_PER_S), input, 20)).collect();
        let (_, Recorder { outcomes, .. }) = server.run(&requests, Recorder::outcomes());
        let mut by_input = Vec::new();
        for o in &outcomes {
            let input = u64::from(o.request.input_tokens);
            let steps = GPU.base * input.div_ceil(512) + GPU.token * input;
            let ttft = o.first_token.expect("everybody completes") - o.request.arrival;
            assert_eq!(ttft, server.ingress.alone(o.request.input_tokens) + Duration(steps) + server.egress, "{input} tokens");
            by_input.push((input, ttft));
        }
        by_input.sort_unstable();
        assert!(by_input.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }
}

/// Mean wait in units of the mean service time, one request at a time, at utilisation `rho`.
fn mean_wait(rho: f64, mut service_tokens: impl FnMut(&mut Draw) -> u32) -> f64 {
    const TOKENS: f64 = 20_000.0;
    let mut server = Server::new(Affine { base: 0, token: 1_000_000, context: 0 });
    server.engine.max_num_seqs = 1;
    server.engine.max_model_len = 1 << 24;
    server.engine.max_num_batched_tokens = 1 << 24;
    server.engine.block_size = 1 << 20;
    server.kv_blocks = 16;
    let service_s = TOKENS * 1e-6;
    let requests = poisson(8, 300_000, rho / service_s, |draw| (service_tokens(draw), 1));
    let (totals, Recorder { outcomes, .. }) = server.run(&requests, Recorder::outcomes());
    assert_eq!(totals[0].steps, requests.len() as u64);
    mean(outcomes.iter().map(|o| (o.scheduled.expect("everybody runs") - o.request.arrival).as_secs_f64())) / service_s
}

/// (7) M/D/1 and M/M/1: mean waits rho / (2 (1 - rho)) and rho / (1 - rho) service times (Pollaczek-Khinchine).
#[test]
fn waits_of_single_server_queues() {
    for rho in [0.3, 0.6, 0.8] {
        let deterministic = mean_wait(rho, |_| 20_000);
        let expected = rho / (2.0 * (1.0 - rho));
        assert!((deterministic / expected - 1.0).abs() < 0.03, "M/D/1 at {rho}: {deterministic}, not {expected}");
        let exponential = mean_wait(rho, |draw| exponential(draw, 20_000.0).ceil() as u32);
        let expected = rho / (1.0 - rho);
        assert!((exponential / expected - 1.0).abs() < 0.04, "M/M/1 at {rho}: {exponential}, not {expected}");
    }
}

/// (8) Twice the replicas never make the 99th percentile worse.
#[test]
fn doubling_replicas_helps() {
    for router in [Router::RoundRobin, Router::Random, Router::PowerOfTwo, Router::LeastRequests, Router::LeastTokens] {
        for seed in 0..2 {
            let requests = poisson(100 + seed, 800, 12.0, chat);
            let mut last = (f64::INFINITY, f64::INFINITY);
            for replicas in [1, 2, 4, 8] {
                let mut server = Server::new(GPU);
                server.kv_blocks = 512;
                server.cluster = ClusterConfig::fixed(replicas, router);
                let (_, Recorder { outcomes, .. }) = server.run(&requests, Recorder::outcomes());
                let mut e2e: Vec<u64> = outcomes.iter().map(|o| (o.ended - o.request.arrival).0).collect();
                e2e.sort_unstable();
                let now = (e2e[e2e.len() * 99 / 100] as f64, mean(e2e.iter().map(|&ps| ps as f64)));
                assert!(now.0 <= last.0 * 1.01 && now.1 < last.1, "{router:?}, {replicas} replicas: {now:?} after {last:?}");
                last = now;
            }
        }
    }
}

/// A cost model with another unit of time.
struct Scaled<'a>(&'a dyn CostModel, u64);

impl CostModel for Scaled<'_> {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        self.0.iteration(batch) * self.1
    }

    fn stages(&self, batch: &BatchShape, times: &mut [Duration]) {
        self.0.stages(batch, times);
        times.iter_mut().for_each(|time| *time = *time * self.1);
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        let piece = self.0.decode_piece(batch);
        DecodePiece { first: piece.first * self.1, growth_ps: piece.growth_ps * self.1, steps: piece.steps }
    }

    fn reads_spread(&self) -> bool {
        self.0.reads_spread()
    }
}

/// (9) Nothing depends on when time starts or on its unit: every time becomes `time * factor + shift`. Data-parallel ranks are
/// left out: their balancer learns at multiples of 100 ms.
#[test]
fn time_has_no_origin_and_no_unit() {
    for seed in 0..300 {
        let mut case = Case::draw(seed);
        (case.layout.ranks, case.layout.lockstep) = (1, false);
        let Load::Open(requests) = &case.load else { continue };
        let mut plain = Recorder::steps();
        case.run(&ENGINE, &mut plain);
        let plain = plain.sorted();
        for (factor, shift) in [(1, 987_654_321_987), (3, 0), (7, 13)] {
            let moved = |time: Time| if time == Time::NEVER { time } else { Time(time.0 * factor + shift) };
            let requests = requests.iter().map(|r| Request { arrival: moved(r.arrival), deadline: moved(r.deadline), ..r.clone() });
            let cost = Scaled(&case.cost, factor);
            let Ingress { request, prompt_token } = case.ingress;
            let ingress = Ingress { request: request * factor, prompt_token: prompt_token * factor };
            let egress = case.egress * factor;
            let cluster = Cluster { cost: &cost, ingress, egress, ..case.cluster() };
            let mut recorder = Recorder::steps();
            ENGINE.run(&cluster, &mut Listed::new(requests.collect()), &mut recorder);
            let recorder = recorder.sorted();
            let steps: Vec<Step> = plain
                .steps
                .iter()
                .map(|s| Step { scheduled: moved(s.scheduled), start: moved(s.start), end: moved(s.end), ..s.clone() })
                .collect();
            assert_eq!(recorder.steps, steps, "seed {seed}, times {factor} plus {shift}");
            let decided = |o: &Outcome| (o.request.id, o.replica, o.finish, o.output_tokens, o.cached_tokens, o.preemptions);
            for (now, then) in recorder.outcomes.iter().zip(&plain.outcomes) {
                assert_eq!(decided(now), decided(then), "seed {seed}, times {factor} plus {shift}");
                let times = (then.scheduled.map(moved), then.first_token.map(moved), moved(then.ended));
                assert_eq!((now.scheduled, now.first_token, now.ended), times, "seed {seed}, times {factor} plus {shift}");
            }
        }
    }
}
