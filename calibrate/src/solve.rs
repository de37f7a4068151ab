//! Small numerical means: weighted isotonic regression and non-negative least squares.

/// The non-decreasing sequence nearest to `values` in weighted squares (pool adjacent violators). Weights are positive.
pub fn isotonic(values: &[f64], weights: &[f64]) -> Vec<f64> {
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (&value, &weight) in values.iter().zip(weights) {
        let mut block = (value, weight, 1);
        while let Some(&(before, mass, count)) = blocks.last() {
            if before <= block.0 {
                break;
            }
            blocks.pop();
            let total = mass + block.1;
            block = ((before * mass + block.0 * block.1) / total, total, count + block.2);
        }
        blocks.push(block);
    }
    blocks.into_iter().flat_map(|(value, _, count)| std::iter::repeat_n(value, count)).collect()
}

/// Coefficients `x >= 0` that minimise `|A x - b|^2`, for a few columns: the best of all subsets of columns whose unconstrained
/// solution is not negative, which is the exact answer. `rows` are the rows of `A` with `b` behind.
pub fn non_negative<const N: usize>(rows: &[([f64; N], f64)]) -> [f64; N] {
    let mut best = ([0.0; N], rows.iter().map(|(_, b)| b * b).sum::<f64>());
    for subset in 1_u32..1 << N {
        let columns: Vec<usize> = (0..N).filter(|j| subset & (1 << j) != 0).collect();
        let Some(solution) = least_squares(rows, &columns) else { continue };
        if solution.iter().any(|&x| x < 0.0) {
            continue;
        }
        let mut x = [0.0; N];
        columns.iter().zip(&solution).for_each(|(&j, &value)| x[j] = value);
        let residual = rows.iter().map(|(a, b)| (a.iter().zip(&x).map(|(a, x)| a * x).sum::<f64>() - b).powi(2)).sum();
        if residual < best.1 {
            best = (x, residual);
        }
    }
    best.0
}

/// Unconstrained least squares on some columns by the normal equations, scaled; none if they are singular.
fn least_squares<const N: usize>(rows: &[([f64; N], f64)], columns: &[usize]) -> Option<Vec<f64>> {
    let n = columns.len();
    let scale: Vec<f64> = columns.iter().map(|&j| rows.iter().map(|(a, _)| a[j] * a[j]).sum::<f64>().sqrt()).collect();
    if scale.contains(&0.0) {
        return None;
    }
    let mut m = vec![vec![0.0; n + 1]; n];
    for (a, b) in rows {
        for (i, &ci) in columns.iter().enumerate() {
            let ai = a[ci] / scale[i];
            for (j, &cj) in columns.iter().enumerate() {
                m[i][j] += ai * a[cj] / scale[j];
            }
            m[i][n] += ai * b;
        }
    }
    Some(eliminate(m)?.iter().zip(&scale).map(|(x, s)| x / s).collect())
}

/// Coefficients `x >= 0` that minimise `x' G x / 2 - r' x`, for a positive semidefinite `G`: non-negative least squares by its
/// normal equations, as Lawson and Hanson do it (Solving Least Squares Problems, 1974, chapter 23), for any number of columns.
pub fn non_negative_gram(gram: &[Vec<f64>], rhs: &[f64]) -> Vec<f64> {
    let n = rhs.len();
    // Columns in units of their own length, or a threshold would mean something else for each.
    let scale: Vec<f64> = (0..n).map(|i| gram[i][i].sqrt()).collect();
    let usable = |i: usize| scale[i] > 0.0;
    let scaled = |i: usize, j: usize| gram[i][j] / scale[i] / scale[j];
    let size = (0..n).filter(|&i| usable(i)).map(|i| (rhs[i] / scale[i]).abs()).fold(0.0, f64::max);
    let (mut x, mut active, mut barred) = (vec![0.0; n], Vec::<usize>::new(), Vec::<usize>::new());
    for _ in 0..3 * n {
        let gradient = |j: usize| rhs[j] / scale[j] - active.iter().map(|&i| scaled(j, i) * x[i]).sum::<f64>();
        let enters = (0..n).filter(|j| usable(*j) && !active.contains(j) && !barred.contains(j)).map(|j| (gradient(j), j));
        let Some((steepest, enters)) = enters.max_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        if steepest <= 1e-10 * size {
            break;
        }
        active.push(enters);
        loop {
            let m: Vec<Vec<f64>> =
                active.iter().map(|&i| active.iter().map(|&j| scaled(i, j)).chain([rhs[i] / scale[i]]).collect()).collect();
            let Some(solution) = eliminate(m) else {
                // The last one says nothing that the others do not.
                barred.extend(active.pop());
                break;
            };
            let worst = active.iter().zip(&solution).filter(|(_, s)| **s <= 0.0).map(|(&i, s)| x[i] / (x[i] - s));
            let Some(part) = worst.min_by(f64::total_cmp) else {
                active.iter().zip(&solution).for_each(|(&i, &s)| x[i] = s);
                break;
            };
            active.iter().zip(&solution).for_each(|(&i, s)| x[i] += part * (s - x[i]));
            active.retain(|&i| x[i] > 1e-14);
            (0..n).filter(|i| !active.contains(i)).for_each(|i| x[i] = 0.0);
        }
    }
    x.iter().zip(&scale).map(|(x, s)| if *s > 0.0 { x / s } else { 0.0 }).collect()
}

/// Solution of linear equations, the right-hand side behind each row; none if they are singular.
fn eliminate(mut m: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let n = m.len();
    for pivot in 0..n {
        let row = (pivot..n).max_by(|&a, &b| m[a][pivot].abs().total_cmp(&m[b][pivot].abs()))?;
        m.swap(pivot, row);
        if m[pivot][pivot].abs() < 1e-12 {
            return None;
        }
        let lead = m[pivot].clone();
        for (i, row) in m.iter_mut().enumerate() {
            if i != pivot {
                let factor = row[pivot] / lead[pivot];
                row.iter_mut().zip(&lead).for_each(|(x, y)| *x -= factor * y);
            }
        }
    }
    Some((0..n).map(|i| m[i][n] / m[i][i]).collect())
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[half]),
        _ => Some((sorted[half - 1] + sorted[half]) / 2.0),
    }
}

/// Half the 95 % interval of a normal distribution, in standard deviations.
pub const NORMAL_95: f64 = 1.96;

/// Median absolute deviations beyond which a value stands out (about three standard deviations of a normal one).
pub const OUTLIER_DEVIATIONS: f64 = 4.5;

/// Mean of the values that do not stand out, and its standard error; none of fewer than two.
pub fn usual(values: &[f64]) -> Option<(f64, f64)> {
    let middle = median(values)?;
    let limit = OUTLIER_DEVIATIONS * median(&values.iter().map(|v| (v - middle).abs()).collect::<Vec<_>>())?;
    let kept: Vec<f64> = values.iter().copied().filter(|v| (v - middle).abs() <= limit).collect();
    let n = kept.len() as f64;
    let mean = kept.iter().sum::<f64>() / n;
    let squares: f64 = kept.iter().map(|v| (v - mean).powi(2)).sum();
    (kept.len() > 1).then(|| (mean, (squares / (n - 1.0) / n).sqrt()))
}

/// `x` to `digits` significant decimal digits.
pub fn significant(x: f64, digits: usize) -> f64 {
    format!("{x:.*e}", digits - 1).parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isotonic_pools_violators_by_weight() {
        assert_eq!(isotonic(&[1.0, 3.0, 2.0, 4.0], &[1.0; 4]), [1.0, 2.5, 2.5, 4.0]);
        assert_eq!(isotonic(&[4.0, 1.0], &[1.0, 3.0]), [1.75, 1.75]);
        assert_eq!(isotonic(&[3.0, 2.0, 1.0], &[1.0; 3]), [2.0; 3]);
        assert_eq!(isotonic(&[1.0, 2.0], &[1.0; 2]), [1.0, 2.0]);
    }

    #[test]
    fn what_stands_out_is_not_usual() {
        let (mean, error) = usual(&[1.0, 2.0, 3.0, 100.0]).unwrap();
        assert!(mean == 2.0 && (error - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12, "{mean} {error}");
        assert_eq!((usual(&[]), usual(&[1.0]), usual(&[5.0, 5.0, 9.0])), (None, None, Some((5.0, 0.0))));
    }

    #[test]
    fn recovers_exact_coefficients() {
        let row = |x: f64| ([1.0, x, x * x], 3.0 + 1e-3 * x + 2e-9 * x * x);
        let x = non_negative(&[1.0, 10.0, 1e3, 1e4, 1e5].map(row));
        assert!((x[0] - 3.0).abs() < 1e-6 && (x[1] / 1e-3 - 1.0).abs() < 1e-6 && (x[2] / 2e-9 - 1.0).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn leaves_out_columns_that_want_to_be_negative() {
        let row = |x: f64| ([1.0, x], 10.0 - x);
        let x = non_negative(&[1.0, 2.0, 3.0].map(row));
        assert_eq!(x[1], 0.0);
        assert!((x[0] - 8.0).abs() < 1e-9);
    }

    /// Normal equations of rows, for the solver by Gram matrix.
    fn normal<const N: usize>(rows: &[([f64; N], f64)]) -> (Vec<Vec<f64>>, Vec<f64>) {
        let (mut gram, mut rhs) = (vec![vec![0.0; N]; N], vec![0.0; N]);
        for (a, b) in rows {
            for i in 0..N {
                (0..N).for_each(|j| gram[i][j] += a[i] * a[j]);
                rhs[i] += a[i] * b;
            }
        }
        (gram, rhs)
    }

    /// The active-set solver finds what trying all subsets finds, also where some of the five columns want to be negative.
    #[test]
    fn both_solvers_agree() {
        let noise = |i: u32, k: u32| f64::from(i.wrapping_mul(2_654_435_761_u32.wrapping_mul(2 * k + 1)) >> 20) / 4096.0;
        for problem in 0..200_u32 {
            let row = |i: u32| {
                let a: [f64; 5] = std::array::from_fn(|k| noise(problem * 97 + i, k as u32) * [1.0, 50.0, 1e-3, 1.0, 1e4][k]);
                let signs: [f64; 5] = std::array::from_fn(|k| if problem >> k & 1 == 0 { 1.0 } else { -0.5 });
                let b = (0..5).map(|k| signs[k] * a[k] / [1.0, 50.0, 1e-3, 1.0, 1e4][k]).sum::<f64>() + 0.1 * noise(i, 9);
                (a, b)
            };
            let rows: Vec<_> = (1..=12).map(row).collect();
            let (gram, rhs) = normal(&rows);
            let (subsets, active) = (non_negative(&rows), non_negative_gram(&gram, &rhs));
            for (k, (a, b)) in subsets.iter().zip(&active).enumerate() {
                assert!(
                    (a - b).abs() <= 1e-6 * a.abs().max(1e-6 / [1.0, 50.0, 1e-3, 1.0, 1e4][k]),
                    "{problem}: {subsets:?} {active:?}"
                );
            }
        }
    }

    #[test]
    fn columns_without_anything_are_zero() {
        assert_eq!(non_negative_gram(&[vec![4.0, 0.0], vec![0.0, 0.0]], &[8.0, 0.0]), [2.0, 0.0]);
        // Two columns that are one and the same: either will do, their sum is determined.
        let twins = non_negative_gram(&[vec![1.0, 1.0], vec![1.0, 1.0]], &[3.0, 3.0]);
        assert!((twins[0] + twins[1] - 3.0).abs() < 1e-9, "{twins:?}");
    }

    #[test]
    fn rounds_to_significant_digits() {
        assert_eq!(significant(0.000_123_456_7, 4), 0.000_123_5);
        assert_eq!(significant(0.0, 4), 0.0);
    }
}
