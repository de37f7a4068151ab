//! Nodes: what a replica runs on, and what is paid for.

use tokentide_models::units::{Duration, Time};
use tokentide_sim::scenario::Dynamics;

/// What a node is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// A replica is on it.
    Taken,
    /// Nothing has been on it since then.
    Free(Time),
    /// It was lost or given back then.
    Over(Time),
}

/// A node.
#[derive(Clone, Copy, Debug)]
struct Node {
    zone: u32,
    /// It is never given back.
    warm: bool,
    /// Paid for from then on.
    made: Time,
    /// It can be used from then on.
    usable: Time,
    used: Use,
}

/// All nodes that ever were.
pub struct Nodes {
    list: Vec<Node>,
    keep: Duration,
    /// Outages: zone and end.
    down: Vec<(u32, Time)>,
    zones: u32,
    /// How many were given back.
    pub given_back: u64,
    /// How often one that had been used before was used again.
    pub reused: u64,
}

impl Nodes {
    /// Nodes for `n` replicas, which are on them, and those that wait.
    pub fn new(config: &Dynamics, n: u32) -> Nodes {
        let mut nodes =
            Nodes { list: Vec::new(), keep: config.node_keep, down: Vec::new(), zones: config.zones, given_back: 0, reused: 0 };
        for i in 0..n + config.warm_nodes {
            let node = nodes.make(Time::ZERO).expect("no zone is down");
            nodes.list[node].usable = Time::ZERO;
            nodes.list[node].warm = i >= n;
            nodes.list[node].used = if i >= n { Use::Free(Time::ZERO) } else { Use::Taken };
        }
        nodes
    }

    /// It is `now`: what was free for too long is given back.
    pub fn pass(&mut self, now: Time) {
        for node in self.list.iter_mut().filter(|node| !node.warm) {
            if let Use::Free(since) = node.used
                && since + self.keep <= now
            {
                node.used = Use::Over(since + self.keep);
                self.given_back += 1;
            }
        }
    }

    /// A free node that can be used soonest, and when.
    pub fn take_free(&mut self, now: Time) -> Option<(usize, Time)> {
        let free = self.list.iter().enumerate().filter(|(_, node)| matches!(node.used, Use::Free(_)));
        let (usable, node) = free.map(|(i, node)| (node.usable.max(now), i)).min()?;
        self.reused += u64::from(self.list[node].used != Use::Free(Time::ZERO));
        self.list[node].used = Use::Taken;
        Some((node, usable))
    }

    /// A new node in the zone with the fewest, unless all are down.
    pub fn make(&mut self, now: Time) -> Option<usize> {
        let there = |zone: u32| self.list.iter().filter(|node| node.zone == zone && !matches!(node.used, Use::Over(_))).count();
        let up = (0..self.zones).filter(|zone| self.down.iter().all(|(down, _)| down != zone));
        let zone = up.min_by_key(|&zone| (there(zone), zone))?;
        self.list.push(Node { zone, warm: false, made: now, usable: now, used: Use::Taken });
        Some(self.list.len() - 1)
    }

    /// The making of a node takes until then.
    pub fn made_by(&mut self, node: usize, time: Time) {
        self.list[node].usable = time;
    }

    /// Nothing is on a node any more.
    pub fn free(&mut self, node: usize, now: Time) {
        if self.list[node].used == Use::Taken {
            self.list[node].used = Use::Free(now);
        }
    }

    /// A node is lost.
    pub fn lose(&mut self, node: usize, now: Time) {
        self.list[node].used = Use::Over(now);
    }

    /// A zone is lost with all that is in it, until `back` at least.
    pub fn lose_zone(&mut self, zone: u32, now: Time, back: Time) {
        self.down.push((zone, back));
        for node in self.list.iter_mut().filter(|node| node.zone == zone && !matches!(node.used, Use::Over(_))) {
            node.used = Use::Over(now);
        }
    }

    /// A zone is there again, unless another outage goes on.
    pub fn restore(&mut self, zone: u32, now: Time) {
        self.down.retain(|&(down, back)| down != zone || back > now);
    }

    /// Whether a node is no more.
    pub fn is_over(&self, node: usize) -> bool {
        matches!(self.list[node].used, Use::Over(_))
    }

    /// What is paid for in a run that ended at `end` [ps].
    pub fn total_ps(&self, end: Time) -> u128 {
        let paid = |node: &Node| {
            let until = match node.used {
                Use::Over(at) => at.min(end),
                Use::Free(since) if !node.warm => (since + self.keep).min(end),
                _ => end,
            };
            u128::from((until - node.made).0)
        };
        self.list.iter().map(paid).sum()
    }
}
