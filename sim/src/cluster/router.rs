//! Who gets a request: see the module's text for what each router reads.

use rand::RngExt;
use tokentide_models::units::Time;

use crate::engine::Replica;
use crate::scenario::Router;
use crate::stream::{Purpose, Stream, mix};
use crate::workload::{Prefix, Request};

/// Whether a router reads the state of every replica.
pub fn reads(router: Router) -> bool {
    !matches!(router, Router::RoundRobin | Router::Random)
}

/// The replica for `request`, the `arrival`-th of all.
pub fn route(router: Router, seed: u64, request: &Request, arrival: u64, replicas: &[Replica<'_>]) -> usize {
    let n = replicas.len();
    if n == 1 {
        return 0;
    }
    match router {
        Router::RoundRobin => (arrival % n as u64) as usize,
        Router::Random => stream(seed, request).random_range(0..n as u32) as usize,
        Router::PowerOfTwo => power_of_two(stream(seed, request), replicas),
        Router::LeastRequests => least_requests(replicas),
        Router::LeastTokens => least_tokens(request.arrival, replicas),
        Router::PrefixAffinity => match prefix_key(&request.prefix) {
            Some(key) => bounded_hash(mix(key), replicas),
            None => least_requests(replicas),
        },
        Router::SessionAffinity => match request.session {
            Some((session, _)) => (mix(session) % n as u64) as usize,
            None => least_requests(replicas),
        },
    }
}

fn stream(seed: u64, request: &Request) -> Stream {
    Stream::new(seed, Purpose::Route, 0, request.id)
}

fn power_of_two(mut stream: Stream, replicas: &[Replica<'_>]) -> usize {
    let n = replicas.len() as u32;
    let a = stream.random_range(0..n) as usize;
    let b = stream.random_range(0..n - 1) as usize;
    let b = b + usize::from(b >= a);
    if replicas[b].requests() < replicas[a].requests() { b } else { a }
}

fn least_requests(replicas: &[Replica<'_>]) -> usize {
    (0..replicas.len()).min_by_key(|&i| replicas[i].requests()).expect("a cluster has replicas")
}

fn least_tokens(now: Time, replicas: &[Replica<'_>]) -> usize {
    let mut best = (u64::MAX, u32::MAX, 0);
    for (i, replica) in replicas.iter().enumerate() {
        // How far a leap has got takes a square root: only those that can win are asked.
        if replica.tokens_so_far() <= best.0 {
            best = best.min((replica.tokens(now), replica.requests(), i));
        }
    }
    best.2
}

fn prefix_key(prefix: &Prefix) -> Option<u64> {
    match prefix {
        Prefix::None => None,
        Prefix::Layers(layers) => layers.first().map(|l| l.content),
        Prefix::Hashes { ids, .. } => ids.first().copied(),
    }
}

/// Consistent hashing with bounded loads, load factor 1.25.
fn bounded_hash(hash: u64, replicas: &[Replica<'_>]) -> usize {
    let n = replicas.len() as u64;
    let total: u64 = replicas.iter().map(|r| u64::from(r.requests())).sum();
    let bound = (5 * (total + 1)).div_ceil(4 * n);
    let home = hash % n;
    (0..n)
        .map(|k| ((home + k) % n) as usize)
        .find(|&i| u64::from(replicas[i].requests()) < bound)
        .expect("the bound exceeds the mean, so some replica is below it")
}
