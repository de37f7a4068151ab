//! How far off interpolation is: every second value of one axis is left out, and the steps at what was left out are compared with
//! what was measured there.
//!
//! Interpolating between neighbours twice as far apart errs about four times as much as the profile itself does.

use std::collections::BTreeSet;

use tokentide_models::cost::{AttentionBlock, BatchShape, CostModel, Errors, Layers, Profile};
use tokentide_models::deployment::Deployment;

use crate::CalibrateError;
use crate::predict::stated_error;

/// The axes, by how a block reads on them.
const AXES: [fn(&AttentionBlock) -> Vec<u32>; 4] =
    [|b| vec![b.chunk], |b| b.decodes.clone(), |b| b.history.clone(), |b| b.context.clone()];

/// Errors of whole steps, by kind of step.
///
/// # Errors
///
/// [`CalibrateError::Profile`] if the profile, or what is left of it, is no valid one.
pub fn errors(profile: &Profile, deployment: &Deployment) -> Result<Errors, CalibrateError> {
    let measured = Layers::new(profile, deployment)?;
    let blocks = &profile.layers.as_ref().map(|layers| layers.attention.clone()).unwrap_or_default();
    let mut pairs: [Vec<(f64, f64)>; 3] = Default::default();
    for (axis, values) in AXES.iter().enumerate() {
        let left_out = alternate(blocks.iter().flat_map(values));
        let mut thin = profile.clone();
        if let Some(layers) = &mut thin.layers {
            layers.attention = blocks.iter().filter_map(|block| without(block, axis, &left_out)).collect();
        }
        let interpolated = Layers::new(&thin, deployment)?;
        for shape in blocks.iter().flat_map(|block| shapes(block, axis, &left_out)) {
            let kind = match (shape.prefill_tokens, shape.decodes) {
                (0, _) => 0,
                (_, 0) => 1,
                _ => 2,
            };
            let ms = |model: &Layers| model.iteration(&shape).as_millis_f64();
            pairs[kind].push((ms(&interpolated), ms(&measured)));
        }
    }
    let [decode, prefill, mixed] = pairs;
    let mixed = (!mixed.is_empty()).then(|| stated_error(mixed.into_iter()));
    Ok(Errors { decode: stated_error(decode.into_iter()), prefill: stated_error(prefill.into_iter()), mixed })
}

/// Every second of the values that are not zero, but neither the first nor the last.
fn alternate(values: impl Iterator<Item = u32>) -> BTreeSet<u32> {
    let all: BTreeSet<u32> = values.filter(|&value| value > 0).collect();
    let last = all.last().copied();
    all.into_iter().skip(1).step_by(2).filter(|&value| Some(value) != last).collect()
}

/// The block without those values of the axis; nothing if none are left.
fn without(block: &AttentionBlock, axis: usize, left_out: &BTreeSet<u32>) -> Option<AttentionBlock> {
    let keep = |of: usize, value: u32| axis != of || !left_out.contains(&value);
    let filter = |of: usize, values: &[u32]| values.iter().copied().filter(|&value| keep(of, value)).collect::<Vec<_>>();
    let (decodes, history, context) = (filter(1, &block.decodes), filter(2, &block.history), filter(3, &block.context));
    if !keep(0, block.chunk) || decodes.is_empty() || history.is_empty() || context.is_empty() {
        return None;
    }
    let outer = block.decodes.iter().flat_map(|&n| block.history.iter().map(move |&h| (n, h)));
    let row = |row: &Vec<f64>| row.iter().zip(&block.context).filter(|(_, k)| keep(3, **k)).map(|(us, _)| *us).collect();
    let us = outer.zip(&block.us).filter(|((n, h), _)| keep(1, *n) && keep(2, *h)).map(|(_, us)| row(us)).collect();
    Some(AttentionBlock { chunk: block.chunk, decodes, history, context, us })
}

/// The batches of a block at values of the axis that were left out.
fn shapes(block: &AttentionBlock, axis: usize, left_out: &BTreeSet<u32>) -> Vec<BatchShape> {
    let mut shapes = Vec::new();
    for &n in &block.decodes {
        for &history in &block.history {
            for &context in &block.context {
                let point = [block.chunk, n, history, context];
                if left_out.contains(&point[axis]) {
                    shapes.push(shape(point));
                }
            }
        }
    }
    shapes
}

/// A step of one chunk and decodes of equal context.
fn shape([chunk, n, history, context]: [u32; 4]) -> BatchShape {
    let mut shape = BatchShape {
        decodes: n,
        decode_context: u64::from(n) * (u64::from(context) + 1),
        decode_longest: u64::from(context) + 1,
        decode_shortest: u64::from(context) + 1,
        sampled: n,
        ..BatchShape::default()
    };
    if chunk > 0 {
        shape.add_chunk(history.into(), chunk.into(), true);
    }
    shape
}
