//! What a calibrated profile says of a step, in milliseconds and without an engine's padding: for comparing with measurements.

use tokentide_models::cost::{
    BatchShape, DecodeAttention, Knots, PrefillAttention, Profile, SequenceKnots, StatedError, interpolate,
};

/// Sizes as numbers.
pub(crate) fn floats(values: &[u32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Time of the LM head [ms]; 0 without knots.
pub fn head_ms(head: &SequenceKnots, sequences: f64) -> f64 {
    if head.sequences.is_empty() { 0.0 } else { interpolate(&floats(&head.sequences), &head.ms, sequences) }
}

/// Coefficients of a calibrated profile.
#[derive(Clone, Debug)]
pub struct Coefficients {
    /// Everything but attention and LM head.
    pub nonattention: Knots,
    /// The LM head, by sequences; empty if it is in `nonattention`.
    pub head: SequenceKnots,
    /// Attention of decodes.
    pub decode: DecodeAttention,
    /// Attention of chunks.
    pub prefill: PrefillAttention,
}

impl Coefficients {
    /// Those of a profile; none of a table.
    pub fn of(profile: &Profile) -> Option<Coefficients> {
        let (decode, prefill) = (profile.decode_attention.clone()?, profile.prefill_attention?);
        let head = profile.lm_head.clone().unwrap_or_default();
        Some(Coefficients { nonattention: profile.nonattention.clone(), head, decode, prefill })
    }

    /// Time of a step [ms].
    pub fn predict(&self, batch: &BatchShape) -> f64 {
        let mut ms = self.nonattention_ms(batch.tokens() as f64) + head_ms(&self.head, f64::from(batch.sequences()));
        if batch.decodes > 0 {
            let (xs, n) = (floats(&self.decode.sequences), f64::from(batch.decodes));
            let all: Vec<f64> = xs.iter().zip(&self.decode.ms_per_context_token).map(|(n, slope)| n * slope).collect();
            let inside = n.min(xs[xs.len() - 1]);
            let slope = interpolate(&xs, &all, inside) / inside;
            ms += interpolate(&xs, &self.decode.fixed_ms, n) + slope * batch.decode_context as f64;
        }
        if batch.prefill_chunks > 0 {
            ms += self.prefill.ms_per_step
                + self.prefill.ms_per_token * batch.prefill_tokens as f64
                + self.prefill.ms_per_pair * batch.prefill_pairs as f64
                + self.prefill.ms_per_history_token * batch.prefill_history as f64;
        }
        ms
    }

    /// Everything but attention and LM head, for some tokens [ms].
    pub fn nonattention_ms(&self, tokens: f64) -> f64 {
        interpolate(&floats(&self.nonattention.tokens), &self.nonattention.ms, tokens)
    }
}

/// Errors of predictions: absolute, relative to the measurement.
pub fn stated_error(pairs: impl Iterator<Item = (f64, f64)>) -> StatedError {
    let mut errors: Vec<f64> = pairs.map(|(predicted, measured)| (predicted / measured - 1.0).abs() * 100.0).collect();
    errors.sort_by(f64::total_cmp);
    let round = |x: f64| (x * 100.0).round() / 100.0;
    let count = errors.len();
    let Some(&worst) = errors.last() else {
        return StatedError { points: 0, mean_percent: 0.0, p95_percent: 0.0, worst_percent: 0.0 };
    };
    StatedError {
        points: u32::try_from(count).unwrap_or(u32::MAX),
        mean_percent: round(errors.iter().sum::<f64>() / count as f64),
        p95_percent: round(errors[(0.95 * (count - 1) as f64).ceil() as usize]),
        worst_percent: round(worst),
    }
}
