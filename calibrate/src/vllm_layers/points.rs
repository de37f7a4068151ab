//! Rows of measurements, each held against what the GPU can do.

use std::collections::BTreeMap;

use tokentide_models::cost::{CLOCK_MARGIN, ExpertRow, ExpertTable, Gating, SequenceTable, TokenTable};
use tokentide_models::deployment::Deployment;

use super::{DIGITS, FALL};
use crate::CalibrateError;
use crate::frame::Frame;
use crate::solve::significant;

/// One measured batch of attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionPoint {
    /// Tokens of the chunk.
    pub chunk: u32,
    /// Tokens computed before the chunk.
    pub history: u32,
    /// Decodes.
    pub decodes: u32,
    /// Context of each decode [tokens].
    pub context: u32,
    /// Time of one layer [us].
    pub us: f64,
}

/// A time this many times the floor is in another unit.
const SLOW: f64 = 1000.0;
/// Added to a floor before a time is held against [`SLOW`] of it: launching and finishing any kernel [us].
const KERNEL_US: f64 = 10.0;

/// What one layer's kernels cannot be faster than on one rank.
#[derive(Clone, Debug)]
pub struct Limits {
    bandwidth: f64,
    flops: f64,
    l2_bytes: f64,
    /// Weight matrices: inputs and outputs.
    products: BTreeMap<&'static str, (f64, f64)>,
    kv_bytes: f64,
    /// FLOP of attention per query and key.
    pair_flops: f64,
    expert_bytes: f64,
}

impl Limits {
    /// Of a bf16 deployment.
    pub fn of(deployment: &Deployment) -> Limits {
        let (model, ranks) = (&deployment.model, f64::from(deployment.tensor_parallel));
        let [hidden, head, width, vocab] = [model.hidden, model.head_dim, model.intermediate, model.vocab].map(f64::from);
        let (heads, kv_heads) = (f64::from(model.heads) / ranks, (f64::from(model.kv_heads) / ranks).max(1.0));
        let products = BTreeMap::from([
            ("qkv_proj", (hidden, (heads + 2.0 * kv_heads) * head)),
            ("o_proj", (heads * head, hidden)),
            ("gate_up_proj", (hidden, 2.0 * width / ranks)),
            ("down_proj", (width / ranks, hidden)),
            ("lm_head", (hidden, vocab / ranks)),
        ]);
        Limits {
            bandwidth: deployment.gpu.memory_bandwidth,
            flops: deployment.gpu.bf16_flops,
            l2_bytes: deployment.gpu.l2_bytes as f64,
            products,
            kv_bytes: 4.0 * kv_heads * head,
            pair_flops: 4.0 * heads * head,
            expert_bytes: model.moe.as_ref().map_or(0.0, |moe| 6.0 * hidden * f64::from(moe.intermediate)),
        }
    }

    /// Least time of so much arithmetic and reading, and the same without what the level-2 cache may have kept [us].
    fn least(&self, flops: f64, bytes: f64) -> (f64, f64) {
        let compute = flops / self.flops;
        let read = |bytes: f64| bytes.max(0.0) / self.bandwidth;
        (compute.max(read(bytes - self.l2_bytes)) * 1e6, compute.max(read(bytes)) * 1e6)
    }

    /// Refuses a time below its floor or so far above it that it is in another unit. Without a floor of its own a kernel is only
    /// held against the latter.
    fn hold(&self, us: f64, flops: f64, bytes: f64) -> Result<(), String> {
        if !(us.is_finite() && us > 0.0) {
            return Err(format!("time_us is {us}: a time must be a positive number"));
        }
        let (least, full) = self.least(flops, bytes);
        if us * CLOCK_MARGIN < least {
            return Err(format!("time_us is {us}, and memory and arithmetic need {least:.3} us: is the column in milliseconds?"));
        }
        if us > SLOW * (full + KERNEL_US) {
            return Err(format!(
                "time_us is {us}, over {SLOW} times the {full:.3} us that it takes at least: is it in nanoseconds?"
            ));
        }
        Ok(())
    }
}

/// A size: an integer from `least` on.
fn size(frame: &Frame, row: usize, column: &str, value: f64, least: u32) -> Result<u32, CalibrateError> {
    let whole = value.fract() == 0.0 && (f64::from(least)..=f64::from(1u32 << 30)).contains(&value);
    if whole {
        Ok(value as u32)
    } else {
        Err(frame.bad_row(row, format!("{column} is {value}, expected an integer from {least} on")))
    }
}

/// Times by kernel and size [us].
type ByKernel = BTreeMap<String, BTreeMap<u32, f64>>;
/// Sizes that all kernels share, and the kernels' times along them [us].
type Axis = (Vec<u32>, BTreeMap<String, Vec<f64>>);

/// Times by kernel and size, from rows of `layer`, `axis` and `time_us`.
fn by_kernel(frame: &Frame, axis: &str, limits: &Limits) -> Result<ByKernel, CalibrateError> {
    let (kernels, sizes, times) = (frame.texts("layer")?, frame.numbers(axis)?, frame.numbers("time_us")?);
    let mut all = ByKernel::new();
    for row in 0..frame.len() {
        let (kernel, us) = (&kernels[row], times[row]);
        let rows = size(frame, row, axis, sizes[row], 1)?;
        let (flops, bytes) = limits
            .products
            .get(kernel.as_str())
            .map_or((0.0, 0.0), |&(inputs, outputs)| (2.0 * f64::from(rows) * inputs * outputs, 2.0 * inputs * outputs));
        limits.hold(us, flops, bytes).map_err(|message| frame.bad_row(row, format!("{kernel} at {rows} {axis}: {message}")))?;
        if all.entry(kernel.clone()).or_default().insert(rows, us).is_some() {
            return Err(frame.bad_row(row, format!("{kernel} at {rows} {axis} was given before")));
        }
    }
    Ok(all)
}

/// The axis that all kernels share, and their times along it.
fn table(frame: &Frame, axis: &str, kernels: &[&str], mut all: ByKernel, flags: &mut Vec<String>) -> Result<Axis, CalibrateError> {
    let bad = |message: String| CalibrateError::Value { path: frame.path().into(), message };
    if let Some(missing) = kernels.iter().find(|kernel| !all.contains_key(**kernel)) {
        let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(bad(format!("has no rows of the layer {missing}; its layers are {known}")));
    }
    all.retain(|kernel, _| kernels.contains(&kernel.as_str()));
    let sizes: Vec<u32> = all.values().next().into_iter().flat_map(|times| times.keys().copied()).collect();
    let mut us = BTreeMap::new();
    for (kernel, times) in all {
        if let Some(odd) = sizes.iter().find(|size| !times.contains_key(size)).or(times.keys().find(|size| !sizes.contains(size))) {
            return Err(bad(format!("{kernel} and another layer differ in whether {axis} = {odd} was measured")));
        }
        flag_falls(&format!("{}: {kernel}", frame.path()), axis, times.iter().map(|(&size, &us)| (size, us)), flags);
        us.insert(kernel, times.values().map(|&us| significant(us, DIGITS)).collect());
    }
    Ok((sizes, us))
}

/// Tells of times that fall below that of a smaller size: how many, and which falls most.
pub(super) fn flag_falls(what: &str, axis: &str, times: impl Iterator<Item = (u32, f64)>, flags: &mut Vec<String>) {
    let (mut most, mut falls, mut worst) = ((0, 0.0), 0, (0.0, (0, 0.0), (0, 0.0)));
    for (size, us) in times {
        let fall = if most.1 > 0.0 { 1.0 - us / most.1 } else { 0.0 };
        if fall > FALL {
            falls += 1;
            if fall > worst.0 {
                worst = (fall, most, (size, us));
            }
        }
        if us > most.1 {
            most = (size, us);
        }
    }
    if falls > 0 {
        let (fall, (from, before), (to, after)) = worst;
        let share = fall * 100.0;
        flags.push(format!(
            "{what}: {falls} times fall, most from {before} us at {from} {axis} to {after} us at {to} ({share:.0} %)"
        ));
    }
}

/// Kernels by tokens.
///
/// # Errors
///
/// [`CalibrateError::Value`] with the row that is wrong, or the kernel that is missing.
pub fn token_table(
    frame: &Frame,
    kernels: &[&str],
    limits: &Limits,
    flags: &mut Vec<String>,
) -> Result<TokenTable, CalibrateError> {
    let (tokens, us) = table(frame, "tokens", kernels, by_kernel(frame, "tokens", limits)?, flags)?;
    Ok(TokenTable { tokens, us })
}

/// Kernels by sequences.
///
/// # Errors
///
/// As [`token_table`].
pub fn sequence_table(frame: &Frame, limits: &Limits, flags: &mut Vec<String>) -> Result<SequenceTable, CalibrateError> {
    let all = by_kernel(frame, "sequences", limits)?;
    let (sequences, us) = table(frame, "sequences", &["lm_head", "sampler"], all, flags)?;
    Ok(SequenceTable { sequences, us })
}

/// The expert block.
///
/// # Errors
///
/// As [`token_table`].
pub fn expert_table(frame: &Frame, gating: Gating, limits: &Limits) -> Result<ExpertTable, CalibrateError> {
    let (tokens, activated, times) = (frame.numbers("tokens")?, frame.numbers("activated_experts")?, frame.numbers("time_us")?);
    let mut rows: BTreeMap<u32, BTreeMap<u32, f64>> = BTreeMap::new();
    for row in 0..frame.len() {
        let (t, e) = (size(frame, row, "tokens", tokens[row], 1)?, size(frame, row, "activated_experts", activated[row], 1)?);
        limits.hold(times[row], 0.0, f64::from(e) * limits.expert_bytes).map_err(|message| frame.bad_row(row, message))?;
        if rows.entry(e).or_default().insert(t, times[row]).is_some() {
            return Err(frame.bad_row(row, format!("{t} tokens on {e} experts were given before")));
        }
    }
    let row = |(activated, times): (u32, BTreeMap<u32, f64>)| ExpertRow {
        activated,
        tokens: times.keys().copied().collect(),
        us: times.values().map(|&us| significant(us, DIGITS)).collect(),
    };
    Ok(ExpertTable { gating, rows: rows.into_iter().map(row).collect() })
}

/// Attention, sorted by chunk, decodes, history and context.
///
/// # Errors
///
/// As [`token_table`].
pub fn attention(frame: &Frame, limits: &Limits) -> Result<Vec<AttentionPoint>, CalibrateError> {
    let [chunks, histories] = [frame.numbers("prefill_chunk")?, frame.numbers("kv_prefill")?];
    let [decodes, contexts, times] = [frame.numbers("n_decode")?, frame.numbers("kv_decode")?, frame.numbers("time_us")?];
    let mut points = Vec::with_capacity(frame.len());
    for row in 0..frame.len() {
        let point = AttentionPoint {
            chunk: size(frame, row, "prefill_chunk", chunks[row], 0)?,
            history: size(frame, row, "kv_prefill", histories[row], 0)?,
            decodes: size(frame, row, "n_decode", decodes[row], 0)?,
            context: size(frame, row, "kv_decode", contexts[row], 0)?,
            us: times[row],
        };
        let AttentionPoint { chunk, history, decodes, context, us } = point;
        if (decodes == 0) != (context == 0) || (chunk == 0 && (decodes == 0 || history > 0)) {
            let what = format!("chunk {chunk} after {history} with {decodes} decodes of {context}");
            return Err(frame.bad_row(row, format!("{what} is no batch")));
        }
        let [c, h, n, k] = [chunk, history, decodes, context].map(f64::from);
        let flops = limits.pair_flops * (c * h + c * (c + 1.0) / 2.0 + n * k);
        limits.hold(us, flops, limits.kv_bytes * (h + n * k)).map_err(|message| frame.bad_row(row, message))?;
        points.push(point);
    }
    points.sort_by_key(|p| (p.chunk, p.decodes, p.history, p.context));
    let key = |p: &AttentionPoint| (p.chunk, p.decodes, p.history, p.context);
    match points.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
        Some(pair) => Err(CalibrateError::Value { path: frame.path().into(), message: format!("{:?} was given twice", pair[0]) }),
        None => Ok(points),
    }
}
