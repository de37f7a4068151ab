//! Who gets a request: the routers, as the text of [`tokentide_sim::cluster`] has them.

use rand::RngExt;
use tokentide_sim::cluster::Cluster;
use tokentide_sim::scenario::Router;
use tokentide_sim::stream::{Purpose, Stream, mix};
use tokentide_sim::workload::{Prefix, Request};

use super::group::Group;

/// The place among `replicas`, which are there and in order of their start, that the request goes to.
pub fn route(cluster: &Cluster<'_>, replicas: &[&Group<'_>], request: &Request) -> usize {
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

fn least_requests(replicas: &[&Group<'_>]) -> usize {
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
fn bounded(replicas: &[&Group<'_>], hash: u64) -> usize {
    let n = replicas.len() as u64;
    let total: u64 = replicas.iter().map(|replica| replica.load_requests()).sum();
    let bound = (5 * (total + 1)).div_ceil(4 * n);
    (0..n)
        .map(|step| ((hash % n + step) % n) as usize)
        .find(|&i| replicas[i].load_requests() < bound)
        .expect("not all replicas can lie above their mean")
}
