//! Functions of a token or sequence count, tabulated at every integer in picoseconds.

/// Numbers of tokens at which the engine captured CUDA graphs: a step of fewer runs padded up to the next one.
///
/// Source: vLLM's default list: 1, 2, 4, then 8 to 248 in steps of 8, then 256 to the largest in steps of 16, where the largest is
/// `min(2 * max_num_seqs, 512, max_num_batched_tokens)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureSizes {
    largest: u64,
}

impl CaptureSizes {
    /// vLLM's default sizes for a server's limits.
    pub fn vllm(max_num_seqs: u32, max_num_batched_tokens: u32) -> CaptureSizes {
        let limit = (2 * u64::from(max_num_seqs)).min(512).min(u64::from(max_num_batched_tokens)).max(1);
        // The limit itself is captured only if it lies on the grid.
        let largest = (1..=limit).rev().find(|&t| Self::on_grid(t)).unwrap_or(1);
        CaptureSizes { largest }
    }

    /// No graphs: nothing is padded.
    pub const fn none() -> CaptureSizes {
        CaptureSizes { largest: 0 }
    }

    fn on_grid(tokens: u64) -> bool {
        match tokens {
            1 | 2 | 4 => true,
            8..=255 => tokens.is_multiple_of(8),
            256.. => tokens.is_multiple_of(16),
            _ => false,
        }
    }

    /// Whether a step of `tokens` tokens runs as a graph.
    pub fn captured(&self, tokens: u64) -> bool {
        (1..=self.largest).contains(&tokens)
    }

    /// The tokens that the linear layers run on when a step has `tokens` of them.
    pub fn pad(&self, tokens: u64) -> u64 {
        if !self.captured(tokens) {
            return tokens;
        }
        match tokens {
            1 | 2 => tokens,
            3 | 4 => 4,
            5..=248 => tokens.next_multiple_of(8),
            249..=256 => 256,
            _ => tokens.next_multiple_of(16),
        }
        .min(self.largest)
    }
}

/// A function of an integer: one value per argument from 0 to the largest tabulated, linear beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Curve {
    values: Box<[u64]>,
    /// Growth per argument beyond the table.
    beyond: u64,
}

impl Curve {
    /// Tabulates `f` on 0..=`max`; `beyond` is its growth per argument after that.
    pub(crate) fn tabulate(max: u64, beyond: f64, f: impl FnMut(u64) -> f64) -> Curve {
        let values = (0..=max).map(f).map(round).collect();
        Curve { values, beyond: round(beyond) }
    }

    /// Zero everywhere.
    pub(crate) fn zero() -> Curve {
        Curve { values: Box::new([0]), beyond: 0 }
    }

    /// The value at `x`.
    #[inline]
    pub(crate) fn at(&self, x: u64) -> u64 {
        match self.values.get(x as usize) {
            Some(&value) => value,
            None => self.extrapolate(x),
        }
    }

    #[cold]
    fn extrapolate(&self, x: u64) -> u64 {
        let last = self.values.len() as u64 - 1;
        self.values[last as usize].saturating_add(self.beyond.saturating_mul(x - last))
    }
}

/// The nearest integer; negative and NaN become zero, huge values saturate.
pub(crate) fn round(x: f64) -> u64 {
    x.round() as u64
}

/// Linear interpolation of `ys` over the strictly increasing `xs` (at least one): the first value below the first knot, the last
/// segment's line beyond the last knot.
pub(crate) fn interpolate(xs: &[f64], ys: &[f64], x: f64) -> f64 {
    let last = xs.len() - 1;
    if x <= xs[0] || last == 0 {
        return ys[0];
    }
    let right = xs.partition_point(|&knot| knot < x).min(last);
    let left = right - 1;
    ys[left] + (ys[right] - ys[left]) * (x - xs[left]) / (xs[right] - xs[left])
}

/// Growth per argument after the last knot.
pub(crate) fn last_slope(xs: &[f64], ys: &[f64]) -> f64 {
    match xs.len() {
        0 | 1 => 0.0,
        n => (ys[n - 1] - ys[n - 2]) / (xs[n - 1] - xs[n - 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_to_the_next_captured_size() {
        let sizes = CaptureSizes::vllm(256, 8192);
        let padded: Vec<u64> = [1, 2, 3, 5, 8, 9, 241, 248, 249, 256, 257, 500, 512, 513].map(|t| sizes.pad(t)).into();
        assert_eq!(padded, [1, 2, 4, 8, 8, 16, 248, 248, 256, 256, 272, 512, 512, 513]);
        assert!((0..2000).all(|t| sizes.pad(t) >= t && sizes.pad(t) <= sizes.pad(t + 1)));
    }

    #[test]
    fn small_servers_capture_fewer_sizes() {
        assert_eq!(CaptureSizes::vllm(2, 8192).pad(3), 4);
        assert_eq!(CaptureSizes::vllm(5, 8192).pad(9), 9, "10 is not on the grid, so 8 is the largest");
        assert_eq!(CaptureSizes::none().pad(3), 3);
    }

    #[test]
    fn curve_is_linear_beyond_its_table() {
        let curve = Curve::tabulate(3, 5.0, |x| 10.0 * x as f64);
        assert_eq!([0, 3, 4, 6].map(|x| curve.at(x)), [0, 30, 35, 45]);
    }

    #[test]
    fn interpolation_clamps_below_and_extrapolates_above() {
        let (xs, ys) = ([1.0, 3.0, 5.0], [10.0, 20.0, 60.0]);
        assert_eq!([0.0, 1.0, 2.0, 4.0, 6.0].map(|x| interpolate(&xs, &ys, x)), [10.0, 10.0, 15.0, 40.0, 80.0]);
    }
}
