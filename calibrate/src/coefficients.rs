//! The fit of a profile's coefficients to points.

use std::collections::BTreeMap;

use tokentide_models::cost::{DecodeAttention, Knots, PrefillAttention, SequenceKnots, interpolate};

use crate::op_tables::{DecodePoint, MixedPoint, OpTables, PrefillPoint, Structure};
use crate::predict::{Coefficients, floats, head_ms};
use crate::solve::{isotonic, non_negative, significant};

/// Steps of more tokens than this take no part in the fit of prefill attention: engines cut prompts into chunks.
const FIT_TOKENS_MAX: u32 = 16_384;
/// Significant digits of times, and of slopes, which are multiplied by large counts.
const DIGITS: usize = 6;
const SLOPE_DIGITS: usize = 9;
/// Rounds in which slopes and intercepts are fitted in turn; the change is far below the written digits by then.
const ROUNDS: usize = 50;
/// Rounds in which prefill attention and the non-attention times of prompts are fitted in turn.
const PREFILL_ROUNDS: usize = 4;

/// What is known of attention beside the points.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Constant of the decode attention kernels, used where no table splits it off [ms].
    pub launch_ms: f64,
    /// Least time to read one token of KV cache [ms]: slopes are kept a hundredth above it.
    pub kv_token_ms: f64,
    /// Least time of a query-key pair of a prompt, in all layers that see the whole context, at the share of the peak that very
    /// long prompts reach [ms].
    pub pair_ms: f64,
}

/// Share that slopes keep above the physical floor, since catalogues differ in the last digit of bandwidths.
const MARGIN: f64 = 1.01;

/// Fits all coefficients.
pub fn fit_coefficients(tables: &OpTables, known: Known) -> Coefficients {
    let head = head(&tables.head);
    let tables = without(tables, &head);
    let (launch_ms, least) = (known.launch_ms, known.kv_token_ms * MARGIN);
    let batches = batches(&tables.decode);
    let through = |anchors: Vec<(u32, f64)>| match &tables.structure {
        Structure::None => knots(anchors.into_iter()),
        Structure::Form(form) => knots(bent(&anchors, form).into_iter()),
        Structure::Exact(times) => knots(times.iter().copied()),
    };
    let mixed = [tables.mixed.as_slice(), &tables.mixed_elsewhere].concat();
    let mut nonattention = match mixed.is_empty() {
        false => through(nonattention_of_mixed(&mixed, &[])),
        true => through(nonattention_of_sums(&batches, &tables.prefill, launch_ms)),
    };
    // A token of history is read like one of a decode's context.
    let slope = |decode: &DecodeAttention| decode.ms_per_context_token.iter().copied().fold(f64::INFINITY, f64::min);
    for _ in 0..if mixed.is_empty() { 0 } else { PREFILL_ROUNDS } {
        let history = slope(&decode_attention(&batches, &nonattention, least));
        let attention = prefill_attention(&tables.prefill, &nonattention, history, known.pair_ms);
        nonattention = through(nonattention_of_mixed(&mixed, &left_by(&attention, &tables.prefill)));
    }
    let decode = decode_attention(&batches, &nonattention, least);
    let prefill = prefill_attention(&tables.prefill, &nonattention, slope(&decode), known.pair_ms);
    Coefficients { nonattention, head, decode, prefill }
}

/// Knots of the LM head.
fn head(times: &[(u32, f64)]) -> SequenceKnots {
    let Knots { tokens, ms } = knots(times.iter().copied());
    SequenceKnots { sequences: tokens, ms }
}

/// The points less the LM head, of one row per sequence; the tables' mixed steps contain one row of it.
fn without(tables: &OpTables, head: &SequenceKnots) -> OpTables {
    let of = |sequences: u32| head_ms(head, f64::from(sequences));
    let mut tables = tables.clone();
    tables.decode.iter_mut().for_each(|p| p.ms -= of(p.batch));
    tables.prefill.iter_mut().for_each(|p| p.ms -= of(p.batch));
    for p in tables.mixed.iter_mut().chain(&mut tables.mixed_elsewhere) {
        p.ms -= of(1);
        p.nonattention_ms -= of(1);
        p.decode_only_ms -= of(p.decodes);
    }
    tables
}

/// Anchors and, between them, what `form` has: it is scaled by its ratio to the anchors on either side, linear in the logarithm of
/// the tokens. So steps of a kernel's tiles, which anchors at round numbers do not show, are kept.
fn bent(anchors: &[(u32, f64)], form: &[(u32, f64)]) -> Vec<(u32, f64)> {
    let (Some(&(first, _)), Some(&(last, _))) = (anchors.first(), anchors.last()) else { return Vec::new() };
    let (xs, ys): (Vec<f64>, Vec<f64>) = form.iter().map(|&(tokens, ms)| (f64::from(tokens), ms)).unzip();
    let (at, ratios): (Vec<f64>, Vec<f64>) =
        anchors.iter().map(|&(tokens, ms)| (f64::from(tokens).ln(), ms / interpolate(&xs, &ys, f64::from(tokens)))).unzip();
    let mut points: BTreeMap<u32, f64> = form
        .iter()
        .filter(|(tokens, _)| (first..last).contains(tokens))
        .map(|&(tokens, ms)| (tokens, ms * interpolate(&at, &ratios, f64::from(tokens).ln())))
        .collect();
    points.extend(anchors.iter().copied());
    points.into_iter().collect()
}

/// Non-attention times of single whole prompts, which attention of these coefficients leaves.
fn left_by(attention: &PrefillAttention, prefill: &[PrefillPoint]) -> Vec<(u32, f64)> {
    let whole = prefill.iter().filter(|p| p.batch == 1 && p.history == 0 && p.tokens <= FIT_TOKENS_MAX);
    let left = whole.map(|p| {
        let tokens = f64::from(p.tokens);
        let attention = attention.ms_per_step + attention.ms_per_token * tokens + attention.ms_per_pair * pairs(tokens);
        (p.tokens, p.ms - attention)
    });
    left.filter(|&(_, ms)| ms > 0.0).collect()
}

/// (context, time) by batch size.
type Batches = BTreeMap<u32, Vec<(f64, f64)>>;

fn batches(points: &[DecodePoint]) -> Batches {
    let mut batches = Batches::new();
    for p in points {
        batches.entry(p.batch).or_default().push((f64::from(p.context), p.ms));
    }
    batches
}

/// Non-attention times that the mixed table states (at chunk + batch tokens, and at the batch's tokens for decodes alone), and of
/// prompts. The two differ: kernels are faster at powers of two, which prompts of the tables are and chunks with decodes are not.
fn nonattention_of_mixed(mixed: &[MixedPoint], prompts: &[(u32, f64)]) -> Vec<(u32, f64)> {
    let mut at: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for &(tokens, ms) in prompts {
        at.entry(tokens).or_default().push(ms);
    }
    for p in mixed {
        at.entry(p.chunk + p.decodes).or_default().push(p.nonattention_ms);
        at.entry(p.decodes).or_default().push(p.decode_only_ms - p.decode_attention_ms);
    }
    at.into_iter().map(|(tokens, ms)| (tokens, ms.iter().sum::<f64>() / ms.len() as f64)).collect()
}

/// Non-attention times from decode and prefill sums: see the steps in [`crate::fit`].
fn nonattention_of_sums(batches: &Batches, prefill: &[PrefillPoint], launch_ms: f64) -> Vec<(u32, f64)> {
    let intercepts = batches.iter().map(|(&n, points)| {
        let line: Vec<_> = points.iter().map(|&(context, ms)| ([1.0 / ms, context / ms], 1.0)).collect();
        let intercept = non_negative(&line)[0];
        (n, (intercept - launch_ms).max(intercept / 2.0))
    });
    let small: Vec<(u32, f64)> = intercepts.collect();
    let largest = small.last().map_or(0, |&(tokens, _)| tokens);
    let single: Vec<(u32, f64, f64)> =
        prefill.iter().filter(|p| p.batch == 1 && p.history == 0).map(|p| (p.tokens, pairs(f64::from(p.tokens)), p.ms)).collect();
    let long: Vec<_> = single
        .iter()
        .filter(|(tokens, ..)| *tokens > largest)
        .map(|&(tokens, pairs, ms)| ([1.0 / ms, f64::from(tokens) / ms, pairs / ms], 1.0))
        .collect();
    let [.., per_pair] = non_negative(&long);
    let (xs, ys): (Vec<f64>, Vec<f64>) = small.iter().map(|&(tokens, ms)| (f64::from(tokens), ms)).unzip();
    let mut steps: Vec<f64> = single
        .iter()
        .filter(|(tokens, ..)| *tokens <= largest)
        .map(|&(tokens, pairs, ms)| ms - per_pair * pairs - interpolate(&xs, &ys, f64::from(tokens)))
        .collect();
    steps.sort_by(f64::total_cmp);
    let step = steps.get(steps.len() / 2).copied().unwrap_or(0.0).max(0.0);
    let long = single.into_iter().filter(|(tokens, ..)| *tokens > largest);
    let long = long.map(|(tokens, pairs, ms)| (tokens, ms - per_pair * pairs - step));
    small.into_iter().chain(long).collect()
}

/// Causal pairs of a whole prompt.
fn pairs(tokens: f64) -> f64 {
    tokens * (tokens + 1.0) / 2.0
}

/// Monotone knots nearest to points (ascending in tokens) in relative squares, without those that a line through their neighbours
/// gives anyway.
fn knots(points: impl Iterator<Item = (u32, f64)>) -> Knots {
    let (tokens, ms): (Vec<u32>, Vec<f64>) = points.unzip();
    let weights: Vec<f64> = ms.iter().map(|ms| 1.0 / (ms * ms)).collect();
    let ms: Vec<f64> = isotonic(&ms, &weights).into_iter().map(|ms| significant(ms, DIGITS)).collect();
    let kept = sparse(&floats(&tokens), &ms);
    Knots { tokens: kept.iter().map(|&i| tokens[i]).collect(), ms: kept.iter().map(|&i| ms[i]).collect() }
}

/// Relative error that leaving out knots may cause.
const KNOT_TOLERANCE: f64 = 1e-3;

/// The points to keep so that lines between them pass all others within [`KNOT_TOLERANCE`]: from each, the farthest that will do.
fn sparse(xs: &[f64], ys: &[f64]) -> Vec<usize> {
    let passes = |from: usize, to: usize| {
        let slope = (ys[to] - ys[from]) / (xs[to] - xs[from]);
        (from + 1..to).all(|i| ((ys[from] + slope * (xs[i] - xs[from])) / ys[i] - 1.0).abs() < KNOT_TOLERANCE)
    };
    let mut kept = Vec::new();
    let mut from = 0;
    while from < xs.len() {
        kept.push(from);
        from = (from + 2..xs.len()).take_while(|&to| passes(from, to)).last().unwrap_or(from + 1);
    }
    kept
}

/// Intercepts and slopes of decode attention, both monotone in the batch, fitted in turn; slopes are at least `least` per token.
fn decode_attention(batches: &Batches, nonattention: &Knots, least: f64) -> DecodeAttention {
    let (xs, ys) = (floats(&nonattention.tokens), &nonattention.ms);
    // Per batch: (context, attention time, weight).
    let data: Vec<Vec<(f64, f64, f64)>> = batches
        .iter()
        .map(|(&n, points)| {
            let rest = interpolate(&xs, ys, f64::from(n));
            points.iter().map(|&(context, ms)| (context, ms - rest, 1.0 / (ms * ms))).collect()
        })
        .collect();
    let sums = |f: &dyn Fn(&(f64, f64, f64)) -> f64| data.iter().map(|b| b.iter().map(f).sum()).collect::<Vec<f64>>();
    let (mass, mass_context) = (sums(&|p| p.2), sums(&|p| p.2 * p.0 * p.0));
    let mut fixed = vec![0.0; data.len()];
    let mut slope = vec![0.0; data.len()];
    for _ in 0..ROUNDS {
        slope = data.iter().zip(&fixed).map(|(b, f)| b.iter().map(|p| p.2 * p.0 * (p.1 - f)).sum::<f64>()).collect();
        slope = slope.iter().zip(&mass_context).map(|(s, mass)| (s / mass).max(0.0)).collect();
        slope = isotonic(&slope, &mass_context);
        slope.iter_mut().zip(batches.keys()).for_each(|(s, &n)| *s = s.max(least * f64::from(n)));
        fixed = data.iter().zip(&slope).map(|(b, s)| b.iter().map(|p| p.2 * (p.1 - s * p.0)).sum::<f64>()).collect();
        fixed = fixed.iter().zip(&mass).map(|(f, mass)| (f / mass).max(0.0)).collect();
        fixed = isotonic(&fixed, &mass);
    }
    DecodeAttention {
        sequences: batches.keys().copied().collect(),
        fixed_ms: fixed.into_iter().map(|ms| significant(ms, DIGITS)).collect(),
        ms_per_context_token: slope.iter().zip(batches.keys()).map(|(s, &n)| significant(s / f64::from(n), SLOPE_DIGITS)).collect(),
    }
}

/// Non-negative relative least squares on what non-attention times, the reading of the history and the least time of the pairs
/// leave.
fn prefill_attention(points: &[PrefillPoint], nonattention: &Knots, history_ms: f64, pair_ms: f64) -> PrefillAttention {
    let (xs, ys) = (floats(&nonattention.tokens), &nonattention.ms);
    let rows: Vec<_> = points
        .iter()
        .filter(|p| p.step_tokens() <= FIT_TOKENS_MAX)
        .map(|p| {
            let shape = p.shape();
            let tokens = shape.prefill_tokens as f64;
            let pairs = shape.prefill_pairs as f64;
            let left = p.ms - interpolate(&xs, ys, tokens) - history_ms * shape.prefill_history as f64 - pair_ms * pairs;
            ([1.0 / p.ms, tokens / p.ms, pairs / p.ms], left / p.ms)
        })
        .collect();
    let [step, token, pair] = non_negative(&rows);
    PrefillAttention {
        ms_per_step: significant(step, DIGITS),
        ms_per_token: significant(token, DIGITS),
        ms_per_pair: significant(pair_ms + pair, DIGITS),
        ms_per_history_token: significant(history_ms, DIGITS),
    }
}
