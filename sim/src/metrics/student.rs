//! Student's t distribution, for intervals of any confidence over few runs.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// The `t` that a variable with `freedom` degrees of freedom (at least 1) stays within, on both sides, with probability
/// `confidence`, by bisection of [`within`].
pub fn quantile(confidence: f64, freedom: u32) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while within(high, freedom) < confidence && high < 1e9 {
        high *= 2.0;
    }
    // 60 halvings are more than a float tells apart.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if within(middle, freedom) < confidence { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// P(|T| <= t), the finite series for whole degrees of freedom (Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3
/// and 26.7.4).
fn within(t: f64, freedom: u32) -> f64 {
    let theta = libm::atan(t / f64::from(freedom).sqrt());
    let (sine, cosine) = (libm::sin(theta), libm::cos(theta));
    let odd = freedom % 2 == 1;
    let (mut term, mut sum, mut k) = if odd { (cosine, cosine, 3) } else { (1.0, 1.0, 2) };
    while k < freedom {
        let (above, below) = (f64::from(k - 1), f64::from(k));
        term *= cosine * cosine * above / below;
        sum += term;
        k += 2;
    }
    match (odd, freedom) {
        (true, 1) => theta / FRAC_PI_2,
        (true, _) => FRAC_2_PI * (theta + sine * sum),
        (false, _) => sine * sum,
    }
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn it_is_the_table() {
        for (confidence, freedom, t) in [
            (0.95, 1, 12.706),
            (0.95, 2, 4.303),
            (0.95, 3, 3.182),
            (0.95, 5, 2.571),
            (0.95, 11, 2.201),
            (0.95, 30, 2.042),
            (0.90, 4, 2.132),
            (0.99, 7, 3.499),
            (0.99, 2, 9.925),
        ] {
            let found = quantile(confidence, freedom);
            assert!((found - t).abs() < 6e-4, "{confidence} {freedom}: {found}, not {t}");
        }
    }
}
