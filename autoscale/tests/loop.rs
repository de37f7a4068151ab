//! The whole loop against a fake workload: series of replicas worked out by hand.
//!
//! Loads change at multiples of 15 s, which are syncs: scrapes, of whatever phase, see the change behind one and before the next.

use tokentide_autoscale::config::{Autoscaler, Flags, Hpa, Keda, Metric, MetricSource, Target};
use tokentide_autoscale::pods::{GatewayMetrics, Pod, PodMetrics};
use tokentide_autoscale::{Controller, Workload};
use tokentide_models::units::{Duration, Time};

fn s(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000_000)
}

fn span(seconds: u64) -> Duration {
    Duration(s(seconds).0)
}

/// Pods that share the requests in flight evenly, run ten at most each, and use 0.8 of a core while they are ready.
struct Pool {
    pods: Vec<Pod>,
    /// From the creation of a pod to its readiness.
    start: Duration,
    /// Requests in flight, by time.
    load: fn(u64) -> u32,
    /// From when on no pod is ready.
    outage: Time,
    next: u32,
}

impl Pool {
    fn new(n: u32, start: u64, load: fn(u64) -> u32) -> Pool {
        let mut pool = Pool { pods: Vec::new(), start: span(start), load, outage: Time::NEVER, next: 0 };
        pool.scale(s(0), n);
        pool.pods.iter_mut().for_each(|pod| pod.ready = Some(s(0)));
        pool
    }

    /// Creates pods, or takes away the youngest.
    fn scale(&mut self, now: Time, n: u32) {
        self.pods.truncate(n as usize);
        while self.pods.len() < n as usize {
            self.pods.push(Pod { id: self.next, created: now, running: Some(now), ready: None, terminating: false });
            self.next += 1;
        }
    }

    fn next(&self) -> Time {
        let starting = self.pods.iter().filter(|pod| pod.ready.is_none()).map(|pod| pod.created + self.start);
        starting.filter(|at| *at < self.outage).min().unwrap_or(Time::NEVER)
    }

    /// Pods become ready, or none is.
    fn turn(&mut self, now: Time) {
        let (start, outage) = (self.start, self.outage);
        for pod in &mut self.pods {
            let due = pod.created + start;
            pod.ready = pod.ready.or((due <= now).then_some(due)).filter(|_| now < outage);
        }
    }
}

impl Workload for Pool {
    fn pods(&self) -> Vec<Pod> {
        self.pods.clone()
    }

    fn pod_metrics(&mut self, pod: u32, now: Time) -> PodMetrics {
        let ready: Vec<&Pod> = self.pods.iter().filter(|pod| pod.ready.is_some()).collect();
        let place = ready.iter().position(|other| other.id == pod).expect("only pods that are ready are read") as u32;
        let (load, n) = ((self.load)(now.0 / s(1).0), ready.len() as u32);
        let share = load / n + u32::from(place < load % n);
        let up = now.since(ready[place as usize].ready.expect("it is ready")).as_secs_f64();
        PodMetrics {
            running: share.min(10),
            waiting: share.saturating_sub(10),
            prompt_tokens: (up * 100.0) as u64,
            cpu_s: up * 0.8,
            ..PodMetrics::new()
        }
    }

    fn gateway_metrics(&mut self, now: Time) -> GatewayMetrics {
        GatewayMetrics { in_flight: (self.load)(now.0 / s(1).0), ..GatewayMetrics::default() }
    }
}

/// Lets the loop run until `until`: at which second how many replicas were wanted.
fn run(config: &Autoscaler, seed: u64, mut pool: Pool, until: u64) -> Vec<(u64, u32)> {
    let mut controller = Controller::new(config, seed, "m").unwrap_or_else(|error| panic!("{error}"));
    controller.discover(s(0), &pool.pods);
    let (mut wanted, mut series, mut down) = (pool.pods.len() as u32, Vec::new(), false);
    loop {
        let outage = if down { Time::NEVER } else { pool.outage };
        let now = controller.next().min(pool.next()).min(outage);
        if now > s(until) {
            return series;
        }
        down |= outage <= now;
        if now == pool.next() || now == outage {
            pool.turn(now);
            controller.discover(now, &pool.pods);
        }
        if let Some(change) = controller.act(now, wanted, &mut pool) {
            assert_eq!(now.0 % s(15).0, 0, "decisions are made at syncs and polls only");
            wanted = change.to;
            series.push((now.0 / s(1).0, wanted));
            pool.scale(now, wanted);
            controller.discover(now, &pool.pods);
        }
    }
}

const IN_FLIGHT: &str = "sum(vllm:num_requests_running + vllm:num_requests_waiting)";

fn of(metrics: Vec<(MetricSource, Target)>) -> Autoscaler {
    let named = |(i, (source, target))| Metric { name: format!("m{i}"), source, target };
    let metrics = metrics.into_iter().enumerate().map(named).collect();
    Autoscaler {
        name: "loop".to_owned(),
        hpa: Hpa { min_replicas: 1, max_replicas: 100, metrics, behavior: None },
        flags: Flags::default(),
        keda: None,
        prometheus: tokentide_autoscale::config::Prometheus::default(),
        notes: Vec::new(),
    }
}

fn query(text: &str) -> MetricSource {
    MetricSource::External { query: text.to_owned() }
}

/// `AverageValue` of a query, per replica.
fn average(text: &str, target: i64) -> (MetricSource, Target) {
    (query(text), Target::AverageValue(target * 1000))
}

#[test]
fn replicas_follow_the_requests_in_flight() {
    let load = |at| if (60..300).contains(&at) { 40 } else { 10 };
    // 60 s: 10 over 10 is 1. 75 s: 40 / 10 = 4, and max(2 * 1, 4) allows it. Until 180 s one pod serves all 40; the three on
    // their way count among the four that share them: 40 / (10 * 4) = 1, so nothing is done. 300 s: 4 is proposed for the last
    // time; from 315 s on it is 1, held while 300 s is within 300 s: through 600 s.
    for seed in 0..20 {
        let series = run(&of(vec![average(IN_FLIGHT, 10)]), seed, Pool::new(1, 105, load), 1200);
        assert_eq!(series, [(75, 4), (615, 1)], "seed {seed}");
    }
}

#[test]
fn a_mean_of_each_pod_says_the_same_while_pods_load() {
    let load = |at| if at < 60 { 10 } else { 40 };
    let source = MetricSource::Pods { query: "vllm:num_requests_running + vllm:num_requests_waiting".to_owned() };
    // 75 s: 40 over 10 of one pod: 4. Then 40, 0, 0 and 0 of four, of which three are missing: 10 over 10.
    assert_eq!(run(&of(vec![(source, Target::AverageValue(10_000))]), 1, Pool::new(1, 105, load), 900), [(75, 4)]);
}

#[test]
fn scrapes_of_unlike_times_count_requests_twice() {
    // Ready at 175 s, the three take 30 of the 40. Where one of them is scraped before the sync at 180 s and the first one is
    // not, the sum is 40 and 10 for each of the three that was: 5 to 7 replicas. Where it is the other way round, it is at most
    // 40.
    let load = |at| if at < 60 { 10 } else { 40 };
    let at_180 = |seed| run(&of(vec![average(IN_FLIGHT, 10)]), seed, Pool::new(1, 100, load), 180)[1..].to_vec();
    let found: Vec<Vec<(u64, u32)>> = (0..20).map(at_180).collect();
    assert!(found.iter().all(|series| series.iter().all(|(at, n)| *at == 180 && (5..=7).contains(n))), "{found:?}");
    assert!(found.iter().any(Vec::is_empty) && found.iter().any(|series| !series.is_empty()), "phases decide: {found:?}");
}

#[test]
fn a_queue_alone_flaps() {
    // 30 in flight, ten run in a pod: one has a queue of 20 (over 5: 4 replicas), four have none (0, held at 4, then at the least
    // 1). 15 s: 4, ready at 75 s. The sync at 75 s still has the scrape before, and proposes 4 for the last time: held through
    // 375 s. 390 s: 1. 405 s: 20 wait again: 4, ready at 465 s, proposed for the last time then: 780 s. So every 390 s.
    let config = of(vec![average("sum(vllm:num_requests_waiting)", 5)]);
    let expected = [(15, 4), (390, 1), (405, 4), (780, 1), (795, 4), (1170, 1), (1185, 4)];
    assert_eq!(run(&config, 3, Pool::new(1, 60, |_| 30), 1200), expected);
    // In steady state the requests in flight ask for the same number all the time.
    assert_eq!(run(&of(vec![average(IN_FLIGHT, 8)]), 3, Pool::new(1, 60, |_| 30), 1200), [(15, 4)]);
}

#[test]
fn scrapes_that_are_further_apart_see_later() {
    let load = |at| if at < 60 { 10 } else { 40 };
    let mut config = of(vec![average(IN_FLIGHT, 10)]);
    let first = |config: &Autoscaler, seed| run(config, seed, Pool::new(1, 100, load), 600)[0];
    assert!((0..20).all(|seed| first(&config, seed) == (75, 4)));
    // A scrape each minute comes 0 to 60 s after 60 s, by its phase: seen at the sync after it.
    config.prometheus.scrape = span(60);
    let found: Vec<(u64, u32)> = (0..20).map(|seed| first(&config, seed)).collect();
    assert!(found.iter().all(|(at, n)| (75..=120).contains(at) && *n == 4), "{found:?}");
    assert!(found.iter().any(|(at, _)| *at > 90) && found.iter().any(|(at, _)| *at <= 90), "phases differ: {found:?}");
}

#[test]
fn metrics_of_pods_that_are_gone_block_the_way_down_only() {
    let fall = |at| if at < 60 { 40 } else { 10 };
    let pool = |load| Pool { outage: s(61), ..Pool::new(4, 100, load) };
    let gateway = average("sum(tokentide_requests_in_flight)", 10);
    // The gateway's 10 are 1 replica from 75 s on; 60 s proposed 4 for the last time.
    assert_eq!(run(&of(vec![gateway.clone()]), 1, pool(fall), 900), [(375, 1)]);
    // With a metric of pods beside it, of which none is ready: it fails, and nothing goes down.
    let both = of(vec![average(IN_FLIGHT, 10), gateway]);
    assert_eq!(run(&both, 1, pool(fall), 900), []);
    // Up it goes all the same: 80 / 10.
    assert_eq!(run(&both, 1, pool(|at| if at < 60 { 40 } else { 80 }), 900), [(75, 8)]);
    // Alone it stays for good, whatever the load.
    assert_eq!(run(&of(vec![average(IN_FLIGHT, 10)]), 1, pool(|at| if at < 60 { 40 } else { 80 }), 900), []);
}

#[test]
fn cpu_waits_for_two_readings_of_a_pod() {
    // Every pod that is ready uses 80 % of its request, against 50. 15 s: metrics-server has read once: no sample. 30 s: 1.6 * 1:
    // 2. The second pod loads until 90 s, and is read then and at 105 s; until it has a sample it counts as idle: 80 / 2 = 40 %
    // turns round what was to go up. 105 s: 1.6 * 2 = 3.2: 4, ready at 165 s, sampled at 180 s: 1.6 * 4 = 6.4: 7, and 11.2 at 255
    // s.
    let config = of(vec![(MetricSource::Cpu { request: 1000 }, Target::Utilization(50))]);
    assert_eq!(run(&config, 1, Pool::new(1, 60, |_| 0), 260), [(30, 2), (105, 4), (180, 7), (255, 12)]);
}

#[test]
fn keda_takes_it_to_zero_and_back() {
    let keda = Keda {
        polling: span(30),
        cooldown: span(300),
        initial_cooldown: Duration::ZERO,
        min_replicas: 0,
        idle: None,
        activation: vec![0.0],
        cached: vec![false],
        fallback: None,
    };
    let config = Autoscaler { keda: Some(keda), ..of(vec![average("sum(tokentide_requests_in_flight)", 10)]) };
    // 30 s: the first poll finds nothing. 120 s: the poll wakes one, and the sync right behind it asks for 25 / 10, rounded up: 3.
    // 390 s: the last active poll, and the last proposal of 3. The cooldown of 300 s ends at 690 s, with the HPA still holding 3.
    let load = |at| if (105..390).contains(&at) { 25 } else { 0 };
    assert_eq!(run(&config, 1, Pool::new(1, 60, load), 1200), [(30, 0), (120, 3), (690, 0)]);
}

/// Requests in flight that jump about every 37 s, from a hash.
fn jumps(at: u64) -> u32 {
    ((at / 37).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u32
}

#[test]
fn the_same_seed_gives_the_same_series() {
    let config = of(vec![average(IN_FLIGHT, 10), average("sum(rate(vllm:prompt_tokens_total[2m]))", 150)]);
    let hours = |seed| run(&config, seed, Pool::new(3, 90, jumps), 4 * 3600);
    let series = hours(7);
    assert!(series.len() > 10, "{series:?}");
    assert_eq!(series, hours(7));
    assert!((8..12).any(|seed| hours(seed) != series), "phases of scrapes matter under such a load");
}

#[test]
fn a_day_of_a_hundred_pods_takes_seconds() {
    let config = of(vec![average(IN_FLIGHT, 10), average("sum(rate(vllm:prompt_tokens_total[2m]))", 150)]);
    let began = std::time::Instant::now();
    // 1,000 in flight keep 100 pods of ten each; for one hour they are 400, which 300 s later are 40.
    let load = |at| if (36_000..39_600).contains(&at) { 400 } else { 1000 };
    let series = run(&config, 1, Pool::new(100, 60, load), 86_400);
    let took = began.elapsed();
    println!("a day took {took:?}");
    assert_eq!(series.first().map(|(at, _)| *at), Some(36_315), "36,000 s proposed 100 for the last time: {series:?}");
    assert_eq!(series.last().map(|(_, n)| *n), Some(100), "{series:?}");
    assert!(cfg!(debug_assertions) || took.as_secs() < 20, "{took:?}");
}

#[test]
fn a_cpu_trigger_does_not_keep_it_awake() {
    let keda = Keda {
        polling: span(30),
        cooldown: span(60),
        initial_cooldown: span(0),
        min_replicas: 0,
        idle: None,
        activation: vec![0.0; 2],
        cached: vec![false; 2],
        fallback: None,
    };
    let cpu = (MetricSource::Cpu { request: 1_000 }, Target::Utilization(80));
    let config = Autoscaler { keda: Some(keda), ..of(vec![average(IN_FLIGHT, 10), cpu]) };
    // CPU is at its 80 %. The load ends at 120 s, after that second's poll has still seen it: 60 s later it sleeps.
    let load = |at| if at < 120 { 10 } else { 0 };
    assert_eq!(run(&config, 1, Pool::new(1, 30, load), 3_600), [(180, 0)]);
}
