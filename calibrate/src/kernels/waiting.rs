//! How long ranks wait for one another in their exchanges.
//!
//! An exchange ends when all ranks have come; the rank that came last is in it for the shortest time. What the others are in it
//! longer is waiting. Clocks of ranks need not agree for that.

use super::steps::{Step, Steps};

/// Fills in [`Step::waiting`] of all ranks' steps, and says what could not be told. With one rank nothing can.
pub fn tell(ranks: &mut [&mut Steps]) -> Option<String> {
    if ranks.len() < 2 {
        return None;
    }
    let least = ranks.iter().map(|rank| rank.steps.len()).min().unwrap_or(0);
    // Profilers of ranks start and stop a step apart: steps are matched from the end, else from the beginning.
    let from_end = |rank: &Steps| rank.steps.len() - least;
    let offsets = [ranks.iter().map(|rank| from_end(rank)).collect::<Vec<_>>(), vec![0; ranks.len()]];
    let agree = |offsets: &Vec<usize>| {
        let composition = |rank: usize, at: usize| ranks[rank].steps[offsets[rank] + at].composition;
        (1..ranks.len()).all(|rank| (0..least).all(|at| composition(rank, at) == composition(0, at)))
    };
    let Some(offsets) = offsets.into_iter().find(agree) else {
        return Some("the ranks' steps differ, as data-parallel ranks' do: how long they wait for one another is not told".into());
    };
    let mut unmatched = 0;
    for at in 0..least {
        let step = |rank: usize| -> &Step { &ranks[rank].steps[offsets[rank] + at] };
        let count = step(0).collectives.len();
        if (1..ranks.len()).any(|rank| step(rank).collectives.len() != count) {
            unmatched += 1;
            continue;
        }
        let shortest: Vec<u64> =
            (0..count).map(|i| (0..ranks.len()).map(|rank| step(rank).collectives[i]).min().unwrap_or(0)).collect();
        for (rank, offset) in ranks.iter_mut().zip(&offsets) {
            let step = &mut rank.steps[offset + at];
            step.waiting = Some(step.collectives.iter().zip(&shortest).map(|(time, shortest)| time - shortest).sum());
        }
    }
    (unmatched > 0).then(|| format!("in {unmatched} steps the ranks have different numbers of exchanges: no waiting is told there"))
}
