//! Routers and the global order of events: always the earliest of the next arrival and the replicas' next events; at equal
//! times arrivals come first, then the replica of the lowest index, and on it the lowest rank.

use rand::RngExt;
use tokentide_models::units::Time;
use tokentide_sim::cluster::Cluster;
use tokentide_sim::engine::{EngineTotals, Finish, Observer, Outcome};
use tokentide_sim::scenario::Router;
use tokentide_sim::stream::{Purpose, Stream, mix};
use tokentide_sim::workload::{Prefix, Request, RequestSource};

use super::Counts;
use super::group::Group;

/// Runs all requests of `source` to their end. Totals per engine core.
pub fn run(cluster: &Cluster<'_>, source: &mut impl RequestSource, observer: &mut impl Observer) -> Vec<EngineTotals> {
    run_counted(cluster, source, observer).0
}

/// The same, and how often the rare paths were taken, over all replicas.
pub fn run_counted(
    cluster: &Cluster<'_>,
    source: &mut impl RequestSource,
    observer: &mut impl Observer,
) -> (Vec<EngineTotals>, Counts) {
    let mut replicas: Vec<Group> = (0..cluster.config.replicas).map(|index| Group::new(index, cluster)).collect();
    let mut arrivals = 0;
    let mut clock = Time::ZERO;
    loop {
        let next = |(index, replica): (usize, &Group<'_>)| replica.next_event().map(|(time, rank)| (time, index, rank));
        let event = replicas.iter().enumerate().filter_map(next).min();
        match (source.peek(), event) {
            (None, None) => break,
            (Some(arrival), event) if event.is_none_or(|(time, ..)| arrival <= time) => {
                assert!(arrival >= clock, "an arrival lies in the past");
                clock = arrival;
                let request = source.next().expect("peeked");
                assert_eq!((request.arrival, request.id), (arrival, arrivals), "the source keeps its word");
                if let Some(outcome) = deliver(cluster, &mut replicas, request) {
                    tell(source, observer, outcome, arrival);
                }
                arrivals += 1;
            }
            (_, Some((now, index, rank))) => {
                assert!(now >= clock, "an event lies in the past");
                clock = now;
                for outcome in replicas[index].event(now, rank, observer) {
                    tell(source, observer, outcome, now);
                }
            }
            (Some(_), None) => unreachable!("an arrival without a competing event is taken above"),
        }
    }
    let mut counts = Counts { dummies: replicas.iter().map(|replica| replica.dummies).sum(), ..Counts::default() };
    let cores: Vec<_> = replicas.into_iter().flat_map(|replica| replica.ranks).collect();
    for core in &cores {
        assert!(core.scheduler.requests.is_empty() && core.scheduler.pool.free() == cluster.kv_blocks, "something is left over");
        counts.add(&core.scheduler.counts);
        counts.evictions += core.scheduler.pool.evictions;
    }
    (cores.into_iter().map(|core| core.totals).collect(), counts)
}

fn tell(source: &mut impl RequestSource, observer: &mut impl Observer, outcome: Outcome, known: Time) {
    if source.feedback() {
        source.ended(&outcome, known);
    }
    observer.outcome(outcome);
}

/// Rejects the request or hands it to a replica.
fn deliver(cluster: &Cluster<'_>, replicas: &mut [Group<'_>], request: Request) -> Option<Outcome> {
    if request.input_tokens >= cluster.engine.max_model_len {
        return Some(rejection(request, 0, Finish::RejectedContext));
    }
    let replica = route(cluster, replicas, &request);
    if !replicas[replica].accepts() {
        return Some(rejection(request, replica as u32, Finish::RejectedQueue));
    }
    replicas[replica].deliver(request);
    None
}

fn rejection(request: Request, replica: u32, finish: Finish) -> Outcome {
    Outcome {
        replica,
        finish,
        scheduled: None,
        first_token: None,
        ended: request.arrival,
        output_tokens: 0,
        cached_tokens: 0,
        preemptions: 0,
        request,
    }
}

/// Who gets the request.
fn route(cluster: &Cluster<'_>, replicas: &[Group<'_>], request: &Request) -> usize {
    let n = replicas.len();
    let mut stream = Stream::new(cluster.seed, Purpose::Route, 0, request.id);
    match cluster.config.router {
        // Ids count all arrivals from 0, rejected ones included.
        Router::RoundRobin => (request.id % n as u64) as usize,
        Router::Random => stream.random_range(0..n as u32) as usize,
        Router::PowerOfTwo if n == 1 => 0,
        Router::PowerOfTwo => {
            let a = stream.random_range(0..n as u32) as usize;
            let mut b = stream.random_range(0..n as u32 - 1) as usize;
            b += usize::from(b >= a);
            if replicas[b].load_requests() < replicas[a].load_requests() { b } else { a }
        }
        Router::LeastRequests => least_requests(replicas),
        Router::LeastTokens => {
            (0..n).min_by_key(|&i| (replicas[i].load_tokens(), replicas[i].load_requests(), i)).expect("at least one replica")
        }
        Router::PrefixAffinity => match affinity_key(&request.prefix) {
            Some(key) => bounded(replicas, mix(key)),
            None => least_requests(replicas),
        },
        Router::SessionAffinity => match request.session {
            Some((session, _)) => (mix(session) % n as u64) as usize,
            None => least_requests(replicas),
        },
    }
}

fn least_requests(replicas: &[Group<'_>]) -> usize {
    (0..replicas.len()).min_by_key(|&i| (replicas[i].load_requests(), i)).expect("at least one replica")
}

fn affinity_key(prefix: &Prefix) -> Option<u64> {
    match prefix {
        Prefix::None => None,
        Prefix::Layers(layers) => layers.first().map(|layer| layer.content),
        Prefix::Hashes { ids, .. } => ids.first().copied(),
    }
}

/// Consistent hashing with bounded loads: the first replica from `hash` on that would not exceed 1.25 times its even share.
fn bounded(replicas: &[Group<'_>], hash: u64) -> usize {
    let n = replicas.len() as u64;
    let total: u64 = replicas.iter().map(Group::load_requests).sum();
    let bound = (5 * (total + 1)).div_ceil(4 * n);
    (0..n)
        .map(|step| ((hash % n + step) % n) as usize)
        .find(|&i| replicas[i].load_requests() < bound)
        .expect("not all replicas can lie above their mean")
}
