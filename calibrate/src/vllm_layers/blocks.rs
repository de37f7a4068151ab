//! Attention points as full grids.

use std::collections::BTreeMap;

use tokentide_models::cost::AttentionBlock;

use super::DIGITS;
use super::points::{AttentionPoint, flag_falls};
use crate::solve::{isotonic, significant};

/// Contexts by history: the shape of a slice.
type Shape = BTreeMap<u32, Vec<u32>>;
/// Slices of the same shape: the shape, and their numbers of decodes.
type Group = (Shape, Vec<u32>);

/// Lays sorted points out in blocks: of each number of chunk tokens, decodes with the same histories and contexts together, and
/// within them histories with the same contexts. Attention of decodes alone is made non-decreasing in the context.
pub fn blocks(points: &[AttentionPoint], flags: &mut Vec<String>) -> Vec<AttentionBlock> {
    let mut slices: BTreeMap<(u32, u32), BTreeMap<u32, BTreeMap<u32, f64>>> = BTreeMap::new();
    for p in points {
        slices.entry((p.chunk, p.decodes)).or_default().entry(p.history).or_default().insert(p.context, p.us);
    }
    for ((_, decodes), histories) in slices.iter_mut().filter(|((chunk, _), _)| *chunk == 0) {
        histories.values_mut().for_each(|times| raise(*decodes, times, flags));
    }
    let mut shapes: BTreeMap<(u32, bool), Vec<Group>> = BTreeMap::new();
    for (&(chunk, decodes), histories) in &slices {
        let shape: Shape = histories.iter().map(|(&h, contexts)| (h, contexts.keys().copied().collect())).collect();
        let known = shapes.entry((chunk, decodes > 0)).or_default();
        match known.iter_mut().find(|(other, _)| *other == shape) {
            Some((_, members)) => members.push(decodes),
            None => known.push((shape, vec![decodes])),
        }
    }
    let mut blocks = Vec::new();
    for ((chunk, _), groups) in shapes {
        for (shape, decodes) in groups {
            let mut by_context: BTreeMap<&Vec<u32>, Vec<u32>> = BTreeMap::new();
            shape.iter().for_each(|(&history, contexts)| by_context.entry(contexts).or_default().push(history));
            for (context, history) in by_context {
                let rows = decodes.iter().flat_map(|&n| history.iter().map(move |&h| (n, h)));
                let us = rows.map(|(n, h)| slices[&(chunk, n)][&h].values().map(|&us| significant(us, DIGITS)).collect()).collect();
                blocks.push(AttentionBlock { chunk, decodes: decodes.clone(), history, context: context.clone(), us });
            }
        }
    }
    blocks
}

/// Makes times non-decreasing in the context, by the least relative change.
fn raise(decodes: u32, times: &mut BTreeMap<u32, f64>, flags: &mut Vec<String>) {
    let what = format!("attention of {decodes} decodes, made non-decreasing");
    flag_falls(&what, "tokens of context", times.iter().map(|(&context, &us)| (context, us)), flags);
    let values: Vec<f64> = times.values().copied().collect();
    let weights: Vec<f64> = values.iter().map(|us| 1.0 / (us * us)).collect();
    times.values_mut().zip(isotonic(&values, &weights)).for_each(|(us, raised)| *us = raised);
}
