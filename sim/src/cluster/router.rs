//! Who gets a request: see the module's text for what each router reads.

use rand::RngExt;
use tokentide_models::units::Time;

use super::fleet::Fleet;
use crate::scenario::Router;
use crate::stream::{Purpose, Stream, mix};
use crate::workload::{Prefix, Request};

/// Whether a router reads the state of every replica.
pub fn reads(router: Router) -> bool {
    !matches!(router, Router::RoundRobin | Router::Random)
}

/// The place of the replica for `request` at `now`; routers that count take it for the `turn`-th of all.
pub fn route(router: Router, seed: u64, request: &Request, turn: u64, now: Time, fleet: &Fleet<'_>) -> usize {
    let n = fleet.len();
    if n == 1 {
        return 0;
    }
    match router {
        Router::RoundRobin => (turn % n as u64) as usize,
        Router::Random => stream(seed, request).random_range(0..n as u32) as usize,
        Router::PowerOfTwo => power_of_two(stream(seed, request), fleet),
        Router::LeastRequests => least_requests(fleet),
        Router::LeastTokens => least_tokens(now, fleet),
        Router::PrefixAffinity => match prefix_key(&request.prefix) {
            Some(key) => bounded_hash(mix(key), fleet),
            None => least_requests(fleet),
        },
        Router::SessionAffinity => match request.session {
            Some((session, _)) => (mix(session) % n as u64) as usize,
            None => least_requests(fleet),
        },
    }
}

fn stream(seed: u64, request: &Request) -> Stream {
    Stream::new(seed, Purpose::Route, 0, request.id)
}

fn power_of_two(mut stream: Stream, fleet: &Fleet<'_>) -> usize {
    let n = fleet.len() as u32;
    let a = stream.random_range(0..n) as usize;
    let b = stream.random_range(0..n - 1) as usize;
    let b = b + usize::from(b >= a);
    if fleet.requests(b) < fleet.requests(a) { b } else { a }
}

fn least_requests(fleet: &Fleet<'_>) -> usize {
    (0..fleet.len()).min_by_key(|&i| fleet.requests(i)).expect("a cluster has replicas")
}

fn least_tokens(now: Time, fleet: &Fleet<'_>) -> usize {
    let mut best = (u64::MAX, u32::MAX, 0);
    for i in 0..fleet.len() {
        // How far a leap has got takes a square root: only those that can win are asked.
        if fleet.tokens_so_far(i) <= best.0 {
            best = best.min((fleet.tokens(i, now), fleet.requests(i), i));
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
fn bounded_hash(hash: u64, fleet: &Fleet<'_>) -> usize {
    let n = fleet.len() as u64;
    let total: u64 = (0..fleet.len()).map(|i| u64::from(fleet.requests(i))).sum();
    let bound = (5 * (total + 1)).div_ceil(4 * n);
    let home = hash % n;
    (0..n)
        .map(|k| ((home + k) % n) as usize)
        .find(|&i| u64::from(fleet.requests(i)) < bound)
        .expect("the bound exceeds the mean, so some replica is below it")
}
