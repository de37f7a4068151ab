//! Nodes: what a replica runs on, all of its GPUs. Their time is what is paid for.

use tokentide_models::units::{Duration, Time};

/// A node, as large as a replica.
#[derive(Clone, Copy, Debug)]
struct Node {
    zone: u32,
    made: Time,
    /// From when on it can be used: its making takes time.
    usable: Time,
    /// Since when nothing runs on it; `None`: a pod does.
    free: Option<Time>,
    /// Given back or lost.
    gone: Option<Time>,
    /// Never given back.
    warm: bool,
}

/// All nodes of a run.
pub struct Nodes {
    nodes: Vec<Node>,
    keep: Duration,
    /// By zone: until when it is lost; zero if it is there.
    lost_until: Vec<Time>,
}

impl Nodes {
    /// `busy` nodes with a replica and `warm` ones without, spread over `zones`; a node that nothing runs on is given back after
    /// `keep`, but for the warm ones.
    pub fn new(busy: u32, warm: u32, zones: u32, keep: Duration) -> Nodes {
        let mut nodes = Nodes { nodes: Vec::new(), keep, lost_until: vec![Time::ZERO; zones.max(1) as usize] };
        for i in 0..busy + warm {
            let zone = nodes.emptiest_zone().expect("all zones are up");
            let free = (i >= busy).then_some(Time::ZERO);
            nodes.nodes.push(Node { zone, made: Time::ZERO, usable: Time::ZERO, free, gone: None, warm: i >= busy });
        }
        nodes
    }

    /// The zone with the fewest nodes of those that are up, the lowest on a tie.
    fn emptiest_zone(&self) -> Option<u32> {
        let count = |zone: u32| self.nodes.iter().filter(|n| n.zone == zone && n.gone.is_none()).count();
        let up = (0..self.lost_until.len() as u32).filter(|&zone| self.lost_until[zone as usize] == Time::ZERO);
        up.min_by_key(|&zone| (count(zone), zone))
    }

    /// A node for a replica from `now` on, and when it can be used, the soonest of those that are free; without a time it has to be
    /// made ([`Nodes::usable_from`]). `None` while no zone is up.
    pub fn occupy(&mut self, now: Time) -> Option<(usize, Option<Time>)> {
        self.expire(now);
        let free = self.nodes.iter().enumerate().filter(|(_, node)| node.free.is_some() && node.gone.is_none());
        if let Some((usable, node)) = free.map(|(i, node)| (node.usable.max(now), i)).min() {
            self.nodes[node].free = None;
            return Some((node, Some(usable)));
        }
        let zone = self.emptiest_zone()?;
        self.nodes.push(Node { zone, made: now, usable: Time::NEVER, free: None, gone: None, warm: false });
        Some((self.nodes.len() - 1, None))
    }

    /// When a node that is being made will be there.
    pub fn usable_from(&mut self, node: usize, time: Time) {
        self.nodes[node].usable = time;
    }

    /// Nothing runs on the node from `now` on.
    pub fn free(&mut self, node: usize, now: Time) {
        self.expire(now);
        if self.nodes[node].gone.is_none() {
            self.nodes[node].free = Some(now);
        }
    }

    /// The node is lost at `now`.
    pub fn lose(&mut self, node: usize, now: Time) {
        self.nodes[node].gone.get_or_insert(now);
    }

    /// The nodes of a zone are lost at `now`, and none is made there until `back` and it is [`Nodes::restore`]d.
    pub fn lose_zone(&mut self, zone: u32, now: Time, back: Time) {
        self.expire(now);
        if let Some(until) = self.lost_until.get_mut(zone as usize) {
            *until = back.max(*until);
        }
        self.nodes.iter_mut().filter(|n| n.zone == zone).for_each(|n| _ = n.gone.get_or_insert(now));
    }

    /// The zone is there again, unless another outage of it goes on.
    pub fn restore(&mut self, zone: u32, now: Time) {
        if let Some(until) = self.lost_until.get_mut(zone as usize).filter(|until| **until <= now) {
            *until = Time::ZERO;
        }
    }

    /// Whether the node is lost or given back.
    pub fn is_gone(&self, node: usize) -> bool {
        self.nodes[node].gone.is_some()
    }

    /// Gives back what was free for too long by `now`.
    fn expire(&mut self, now: Time) {
        let keep = self.keep;
        for node in self.nodes.iter_mut().filter(|n| n.gone.is_none() && !n.warm) {
            node.gone = node.free.map(|since| since + keep).filter(|given_back| *given_back <= now);
        }
    }

    /// Time of all nodes until `end` [ps].
    pub fn total_ps(&mut self, end: Time) -> u128 {
        self.expire(end);
        self.nodes.iter().map(|node| u128::from(node.gone.unwrap_or(end).min(end).since(node.made).0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000_000)
    }

    #[test]
    fn a_free_node_is_used_before_one_is_made() {
        let mut nodes = Nodes::new(2, 1, 1, Duration(s(600).0));
        assert_eq!(nodes.occupy(s(10)), Some((2, Some(s(10)))));
        assert_eq!(nodes.occupy(s(10)), Some((3, None)));
        nodes.usable_from(3, s(90));
        nodes.free(3, s(100));
        assert_eq!(nodes.occupy(s(200)), Some((3, Some(s(200)))));
        // Two for the whole 1,000 s, the warm one as well, and the one that was made at 10 s.
        assert_eq!(nodes.total_ps(s(1000)), u128::from(s(3 * 1000 + 990).0));
    }

    #[test]
    fn a_node_is_given_back_when_it_was_kept_long_enough() {
        let mut nodes = Nodes::new(1, 0, 1, Duration(s(600).0));
        assert_eq!(nodes.occupy(s(100)), Some((1, None)));
        nodes.free(1, s(200));
        assert_eq!(nodes.occupy(s(900)), Some((2, None)), "the other one was given back at 800 s");
        assert_eq!(nodes.total_ps(s(1000)), u128::from(s(1000 + 700 + 100).0));
    }

    #[test]
    fn a_warm_node_is_kept_and_stands_in_for_no_other() {
        let mut nodes = Nodes::new(1, 1, 1, Duration(s(600).0));
        assert_eq!(nodes.occupy(s(10)), Some((1, Some(s(10)))));
        nodes.free(0, s(100));
        nodes.free(1, s(900));
        assert!(nodes.is_gone(0), "it was given back at 700 s");
        assert_eq!(nodes.total_ps(s(5000)), u128::from(s(700 + 5000).0));
    }

    #[test]
    fn a_node_that_is_still_made_is_used_when_it_is_there() {
        let mut nodes = Nodes::new(0, 0, 1, Duration(s(600).0));
        assert_eq!(nodes.occupy(s(10)), Some((0, None)));
        nodes.usable_from(0, s(110));
        nodes.free(0, s(20));
        assert_eq!(nodes.occupy(s(30)), Some((0, Some(s(110)))));
    }

    #[test]
    fn zones_are_filled_evenly_and_left_when_they_are_down() {
        let mut nodes = Nodes::new(3, 0, 3, Duration(0));
        nodes.lose_zone(1, s(50), s(90));
        nodes.lose_zone(1, s(55), s(60));
        nodes.restore(1, s(60));
        assert_eq!((0..3).map(|node| nodes.is_gone(node)).collect::<Vec<_>>(), [false, true, false]);
        let (node, usable) = nodes.occupy(s(60)).expect("two zones are up");
        assert!(usable.is_none() && nodes.nodes[node].zone == 0);
        nodes.lose_zone(0, s(70), Time::NEVER);
        nodes.lose_zone(2, s(70), Time::NEVER);
        assert_eq!(nodes.occupy(s(80)), None);
        nodes.restore(1, s(90));
        assert!(nodes.occupy(s(90)).is_some_and(|(node, usable)| usable.is_none() && nodes.nodes[node].zone == 1));
    }
}
