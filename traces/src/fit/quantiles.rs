//! Lengths as an inverse distribution function of few points, which a scenario interpolates in logarithms.

/// Largest error of an interpolated quantile: of its value, or this many tokens.
const RELATIVE: f64 = 0.01;
const TOKENS: f64 = 0.5;

/// Points (probability, value) of sorted `values`, at most `most` (two at least).
pub fn table(values: &[u32], most: usize) -> Vec<(f64, f64)> {
    let n = values.len();
    if n == 0 {
        return Vec::new();
    }
    let value = |i: usize| f64::from(values[i].max(1));
    let share = |i: usize| if n == 1 { 1.0 } else { i as f64 / (n - 1) as f64 };
    if values[0] == values[n - 1] {
        return vec![(0.0, value(0)), (1.0, value(0))];
    }
    let mut places = vec![0, n - 1];
    // The worst place of each piece is found again only when the piece is cut.
    let mut worst = vec![farthest(values, 0, n - 1)];
    while places.len() < most {
        let cut = (0..worst.len()).max_by(|a, b| worst[*a].1.total_cmp(&worst[*b].1)).filter(|piece| worst[*piece].1 > 1.0);
        let Some(piece) = cut else { break };
        let (from, to, at) = (places[piece], places[piece + 1], worst[piece].0);
        places.insert(piece + 1, at);
        worst[piece] = farthest(values, from, at);
        worst.insert(piece + 1, farthest(values, at, to));
    }
    places.into_iter().map(|i| (share(i), value(i))).collect()
}

/// The place between two where interpolation is most wrong, and by how many times what is allowed.
fn farthest(values: &[u32], from: usize, to: usize) -> (usize, f64) {
    let value = |i: usize| f64::from(values[i].max(1));
    let (low, ratio) = (value(from), (value(to) / value(from)).ln());
    let error = |i: usize| {
        let line = low * (ratio * (i - from) as f64 / (to - from) as f64).exp();
        (line - value(i)).abs() / (RELATIVE * value(i)).max(TOKENS)
    };
    (from + 1..to).map(|i| (i, error(i))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((from, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_come_out_again() {
        // Two humps and a wall.
        let mut values: Vec<u32> = (0..3000u64)
            .map(|i| {
                let u = (tokentide_models::hash::mix(i) % 10_000) as f64 / 10_000.0;
                match i % 10 {
                    0..5 => 50 + (u * 50.0) as u32,
                    5..9 => (350.0 * (u * 3.0).exp()) as u32,
                    _ => 7436,
                }
            })
            .collect();
        values.sort_unstable();
        let points = table(&values, 64);
        assert!(points.len() <= 64 && points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
        assert_eq!((points[0].0, points[points.len() - 1].0), (0.0, 1.0));
        for share in [0.01, 0.05, 0.25, 0.45, 0.55, 0.75, 0.9, 0.95, 0.99] {
            let place = points.partition_point(|p| p.0 < share).max(1);
            let (a, b) = (points[place - 1], points[place]);
            let found = a.1 * ((b.1 / a.1).ln() * (share - a.0) / (b.0 - a.0).max(1e-12)).exp();
            let want = f64::from(values[(share * 2999.0).round() as usize]);
            assert!((found / want - 1.0).abs() < 0.02, "{share}: {found} {want}");
        }
        assert_eq!(table(&[7, 7, 7], 64), [(0.0, 7.0), (1.0, 7.0)]);
        assert!(table(&[], 64).is_empty());
    }
}
