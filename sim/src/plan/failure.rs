//! One replica down, one zone gone: what is left, and what it takes to bear it.

use serde::Serialize;

use super::judge::{Judgement, TargetMargin};
use super::size::Sizing;

/// What losing replicas does to the targets, once those that are left carry the whole load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failures {
    /// Whether every target holds with one replica of the answer down. As the answer is the least number, it does only where one
    /// fewer could not be told from it.
    pub holds_with_one_down: Judgement,
    /// The targets then; empty if nothing is left.
    pub targets_with_one_down: Vec<TargetMargin>,
    /// More work than can be done then.
    pub unstable_with_one_down: bool,
    /// Replicas that bear the loss of one.
    pub replicas_for_one_down: u32,
    /// The loss of a zone, if zones were given.
    pub zones: Option<Zones>,
}

/// Replicas spread evenly over zones, of which the largest is lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Zones {
    /// How many zones.
    pub zones: u32,
    /// Replicas of the answer that are left.
    pub left: u32,
    /// Replicas that bear the loss; `None` with one zone.
    pub replicas: Option<u32>,
}

/// From what is known of the answer and of one replica fewer.
pub fn failures(sizing: &Sizing, zones: Option<u32>) -> Option<Failures> {
    let n = sizing.replicas?;
    let below = sizing.below.as_ref();
    Some(Failures {
        holds_with_one_down: below.map_or(Judgement::Misses, |below| below.judgement),
        targets_with_one_down: below.map(|below| below.targets.clone()).unwrap_or_default(),
        unstable_with_one_down: below.is_none_or(|below| below.unstable),
        replicas_for_one_down: n + 1,
        zones: zones.map(|zones| Zones { zones, left: n - n.div_ceil(zones), replicas: for_zones(n, zones) }),
    })
}

/// The least total, spread evenly over `zones`, of which `needed` are left when the largest zone is lost.
fn for_zones(needed: u32, zones: u32) -> Option<u32> {
    (zones > 1).then(|| (needed..).find(|total| total - total.div_ceil(zones) >= needed)).flatten()
}

#[cfg(test)]
mod tests {
    use super::for_zones;

    #[test]
    fn the_largest_zone_is_lost() {
        // 5 needed over 3 zones: 8 are 3 + 3 + 2, of which 5 are left; 7 are 3 + 2 + 2, of which 4 are.
        assert_eq!(for_zones(5, 3), Some(8));
        assert_eq!(for_zones(4, 3), Some(6));
        assert_eq!(for_zones(1, 2), Some(2));
        assert_eq!(for_zones(1, 1), None);
    }
}
