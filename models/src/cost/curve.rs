//! Functions of a token or sequence count, tabulated at every integer in picoseconds.

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
pub fn interpolate(xs: &[f64], ys: &[f64], x: f64) -> f64 {
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
