//! Classes by size: bands of prompt lengths within which answers are alike.
//!
//! A rank correlation loses what is not monotone (short prompts with long answers, middling ones with longer ones, long ones with
//! short ones). Within a band, prompt and answer are drawn apart; between bands answers differ as they do in the trace.

/// Bands to begin with.
const BANDS: usize = 10;
/// Neighbours whose answers are nearer than this (Kolmogorov distance) are one band.
const ALIKE: f64 = 0.1;
/// Bands that are left at most.
const MOST: usize = 6;
/// Rows of a band at least.
const ROWS_MIN: usize = 100;

/// Upper bounds of the bands of (prompt, answer) pairs, ascending, the last one the longest prompt. One bound if all are alike.
pub fn bounds(pairs: &[(u32, u32)]) -> Vec<u32> {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let n = sorted.len();
    let Some(longest) = sorted.last().map(|pair| pair.0) else { return Vec::new() };
    let mut bounds: Vec<u32> = (1..=BANDS).map(|k| sorted[(n * k / BANDS).saturating_sub(1)].0).collect();
    bounds.dedup();
    let mut bands: Vec<Vec<u32>> = split(&sorted, &bounds);
    loop {
        let distance = |k: usize| match bands[k].len().min(bands[k + 1].len()) < ROWS_MIN {
            true => 0.0,
            false => kolmogorov(&bands[k], &bands[k + 1]),
        };
        let nearest = (0..bands.len() - 1).map(|k| (distance(k), k)).min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((distance, k)) = nearest else { break };
        if distance >= ALIKE && bands.len() <= MOST {
            break;
        }
        let mut next = bands.remove(k + 1);
        bands[k].append(&mut next);
        bands[k].sort_unstable();
        bounds.remove(k);
    }
    if let Some(last) = bounds.last_mut() {
        *last = longest;
    }
    bounds
}

/// Sorted answers of each band.
fn split(sorted: &[(u32, u32)], bounds: &[u32]) -> Vec<Vec<u32>> {
    let mut bands: Vec<Vec<u32>> = vec![Vec::new(); bounds.len()];
    for (input, output) in sorted {
        bands[bounds.partition_point(|bound| bound < input).min(bounds.len() - 1)].push(*output);
    }
    bands.iter_mut().for_each(|band| band.sort_unstable());
    bands
}

/// Largest distance of two empirical distribution functions.
pub fn kolmogorov(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut most) = (0, 0, 0.0f64);
    while i < a.len() && j < b.len() {
        let value = a[i].min(b[j]);
        i += a[i..].iter().take_while(|v| **v == value).count();
        j += b[j..].iter().take_while(|v| **v == value).count();
        most = most.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokentide_models::hash::mix;

    #[test]
    fn bands_are_where_answers_change() {
        let random = |i: u64, most: u64| (mix(i) % most) as u32;
        // Independent: one band.
        let alike: Vec<(u32, u32)> = (0..5000).map(|i| (random(i, 4000), 100 + random(i + 9_000_000, 400))).collect();
        assert_eq!(bounds(&alike).len(), 1);
        // Not monotone: long answers to middling prompts.
        let humped: Vec<(u32, u32)> = (0..5000)
            .map(|i| {
                let input = random(i, 3000);
                (input, if (1000..2000).contains(&input) { 400 } else { 50 } + random(i + 9_000_000, 40))
            })
            .collect();
        let found = bounds(&humped);
        assert!((3..=5).contains(&found.len()), "{found:?}");
        assert!(found.iter().any(|b| b.abs_diff(1000) < 200) && found.iter().any(|b| b.abs_diff(2000) < 200), "{found:?}");
        assert_eq!(kolmogorov(&[1, 2, 3, 4], &[3, 4, 5, 6]), 0.5);
        assert!(bounds(&[]).is_empty());
    }
}
