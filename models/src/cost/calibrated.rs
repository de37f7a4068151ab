//! Cost from a profile of coefficients.

use crate::capture_sizes::CaptureSizes;
use crate::cost::curve::{Curve, interpolate, last_slope, round};
use crate::cost::floor::PS;
use crate::cost::form::{Form, PrefillForm, table_limits};
use crate::cost::profile::{DecodeAttention, SequenceKnots};
use crate::cost::sampling::sampling_seconds;
use crate::cost::{BatchShape, CostError, CostModel, DecodePiece, Efficiency, Floor, Knots, Profile};
use crate::deployment::Deployment;
use crate::units::Duration;

/// Picoseconds in a millisecond.
pub(crate) const PS_PER_MS: f64 = 1e9;

/// Times fitted to measurements, composed as an engine runs a step: one pass of the linear layers over the tokens of chunks and
/// decodes together (at the captured size, where CUDA graphs are on), attention of the chunks, attention of the decodes.
///
/// It is monotone in chunk tokens, history and context, and in the number of decodes at a given mean context.
#[derive(Clone, Debug)]
pub struct Calibrated {
    form: Form,
    floor: Floor,
}

impl Calibrated {
    /// The model of a profile on a deployment.
    ///
    /// # Errors
    ///
    /// [`CostError::Mismatch`] if the profile is for another deployment, [`CostError::Invalid`] if it is a table,
    /// [`CostError::BelowFloor`] if any coefficient is faster than the GPU can be: at every token count up to
    /// `max_num_batched_tokens` and number of decodes up to `max_num_seqs`.
    pub fn new(profile: &Profile, deployment: &Deployment) -> Result<Calibrated, CostError> {
        profile.matches(deployment)?;
        let (Some(decode), Some(prefill)) = (&profile.decode_attention, &profile.prefill_attention) else {
            return Err(CostError::Invalid { name: profile.name.clone(), message: "is a table".into() });
        };
        let (max_tokens, max_sequences) = table_limits(deployment.max_num_batched_tokens, deployment.max_num_seqs);
        let (decode_fixed, decode_slope) = decode_curves(decode, max_sequences);
        let [step, token, pair, history] =
            [prefill.ms_per_step, prefill.ms_per_token, prefill.ms_per_pair, prefill.ms_per_history_token].map(|ms| ms * PS_PER_MS);
        let form = Form {
            tokens: token_curve(&profile.nonattention, deployment, max_tokens),
            group: None,
            sequences: profile.lm_head.as_ref().map_or_else(Curve::zero, |head| sequence_curve(head, deployment, max_sequences)),
            decode_fixed,
            decode_slope,
            local: None,
            prefill: PrefillForm::new(step, token, pair, history),
        };
        let floor = Floor::new(deployment)?;
        let below = |message| CostError::BelowFloor { name: profile.name.clone(), message };
        floor.check_tokens(&form.tokens, form.sequences.at(1), max_tokens).map_err(below)?;
        floor.check_context((1..=max_sequences).map(|n| (n, form.decode_slope.at(n)))).map_err(below)?;
        floor.check_prefill(pair, history).map_err(below)?;
        Ok(Calibrated { form, floor })
    }
}

impl CostModel for Calibrated {
    #[inline]
    fn iteration(&self, batch: &BatchShape) -> Duration {
        self.floor.hold(batch, self.form.iteration(batch))
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        let piece = self.form.decode_piece(batch);
        DecodePiece { first: self.floor.hold(batch, piece.first), ..piece }
    }
}

/// Non-attention time by tokens, at the size that the engine pads them to.
pub(crate) fn token_curve(knots: &Knots, deployment: &Deployment, max_tokens: u64) -> Curve {
    let xs: Vec<f64> = knots.tokens.iter().map(|&t| f64::from(t)).collect();
    let graphs = CaptureSizes::of(deployment);
    Curve::tabulate(max_tokens, last_slope(&xs, &knots.ms) * PS_PER_MS, |tokens| match tokens {
        0 => 0.0,
        tokens => interpolate(&xs, &knots.ms, graphs.padded(tokens) as f64) * PS_PER_MS,
    })
}

/// Time of the LM head by sequences, and of sampling: where the LM head is given apart, the tables are of kernels of layers.
fn sequence_curve(head: &SequenceKnots, deployment: &Deployment, max_sequences: u64) -> Curve {
    let xs: Vec<f64> = head.sequences.iter().map(|&s| f64::from(s)).collect();
    let efficiency = Efficiency::of(&deployment.gpu).0;
    let sampling = |n: f64| sampling_seconds(deployment, &efficiency, n) * PS;
    let (one, two) = (sampling(max_sequences as f64), sampling(2.0 * max_sequences as f64));
    let beyond = last_slope(&xs, &head.ms) * PS_PER_MS + (two - one) / max_sequences.max(1) as f64;
    Curve::tabulate(max_sequences, beyond, |sequences| match sequences as f64 {
        0.0 => 0.0,
        n => interpolate(&xs, &head.ms, n) * PS_PER_MS + sampling(n),
    })
}

/// Fixed part and slope per context token, by decodes. Beyond the last knot the slope stays.
fn decode_curves(decode: &DecodeAttention, max_sequences: u64) -> (Curve, Curve) {
    let xs: Vec<f64> = decode.sequences.iter().map(|&n| f64::from(n)).collect();
    let all: Vec<f64> = xs.iter().zip(&decode.ms_per_context_token).map(|(n, slope)| n * slope).collect();
    let last = xs[xs.len() - 1];
    let fixed = Curve::tabulate(max_sequences, last_slope(&xs, &decode.fixed_ms) * PS_PER_MS, |n| {
        interpolate(&xs, &decode.fixed_ms, n as f64) * PS_PER_MS
    });
    let mut before = 0;
    let slope = Curve::tabulate(max_sequences, 0.0, |n| {
        if n == 0 {
            return 0.0;
        }
        let inside = (n as f64).min(last);
        let slope = round(interpolate(&xs, &all, inside) / inside * PS_PER_MS);
        // Rounding must not make a batch cheaper than a smaller one of the same mean context.
        before = slope.max((n - 1).saturating_mul(before).div_ceil(n));
        before as f64
    });
    (fixed, slope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::profile::tests::{calibrated_profile, on_profile};
    use crate::cost::testing::{decodes, monotone, pieces_agree, prefill};

    #[test]
    fn is_one_pass_over_chunks_and_decodes() {
        let profile = calibrated_profile();
        let model = Calibrated::new(&profile, &on_profile()).unwrap();
        let ms = |batch: &BatchShape| model.iteration(batch).as_millis_f64();
        // Knots of the example: 256 tokens 8 ms, 8,192 tokens 170 ms.
        assert!((ms(&decodes(256, 1000)) - (8.0 + 1.0 + 256_000.0 * 4.2e-5)).abs() < 1e-6);
        let mut batch = decodes(256, 1000);
        batch.add_chunk(100, 7936, true);
        let pairs = 7936.0 * 100.0 + 7936.0 * 7937.0 / 2.0;
        let attention = 0.5 + 7936.0 * 1e-4 + pairs * 8e-7 + 100.0 * 4.2e-5;
        assert!((ms(&batch) - (170.0 + 1.0 + 256_000.0 * 4.2e-5 + attention)).abs() < 1e-4);
        assert!(ms(&prefill(1, 0, 300)) > ms(&prefill(1, 0, 200)));
        assert_eq!(model.iteration(&BatchShape::default()), Duration::ZERO);
    }

    #[test]
    fn pieces_agree_and_costs_are_monotone() {
        let model = Calibrated::new(&calibrated_profile(), &on_profile()).unwrap();
        pieces_agree(&model, 1);
        monotone(&model, 2, 0.0);
    }

    #[test]
    fn impossible_times_are_refused() {
        let mut profile = calibrated_profile();
        profile.nonattention.ms = profile.nonattention.ms.iter().map(|ms| ms / 2.0).collect();
        let error = Calibrated::new(&profile, &on_profile()).unwrap_err().to_string();
        assert!(error.contains("faster than physics allows: nonattention"), "{error}");
        let mut profile = calibrated_profile();
        profile.decode_attention.as_mut().unwrap().ms_per_context_token = vec![3e-5; 3];
        let error = Calibrated::new(&profile, &on_profile()).unwrap_err().to_string();
        assert!(error.contains("context token"), "{error}");
        let mut profile = calibrated_profile();
        profile.prefill_attention.as_mut().unwrap().ms_per_pair = 5e-7;
        let error = Calibrated::new(&profile, &on_profile()).unwrap_err().to_string();
        assert!(error.contains("pair"), "{error}");
    }

    #[test]
    fn other_deployments_are_refused_by_field() {
        let mut deployment = on_profile();
        deployment.kv = crate::deployment::KvDtype::Fp8;
        let error = Calibrated::new(&calibrated_profile(), &deployment).unwrap_err().to_string();
        assert_eq!(error, "profile example is for kv bf16, the scenario has fp8");
    }
}
