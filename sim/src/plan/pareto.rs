//! Which options are worth a look: the order by cost, and those that no other beats.

use super::option::OptionRow;

/// What options are compared by; less is better.
fn costs(row: &OptionRow) -> Option<[f64; 3]> {
    let headroom = row.room.as_ref()?.headroom.unwrap_or(f64::INFINITY);
    let tightest = row.targets.iter().map(|t| t.value_ms.map_or(f64::INFINITY, |v| v / t.limit_ms)).fold(0.0, f64::max);
    Some([row.usd_per_hour?, -headroom, tightest])
}

/// Marks the options that no other dominates, and gives the order of all: answers first, the cheapest first, those without a price
/// behind those with one; ties by GPUs, then as given.
pub fn order(rows: &mut [OptionRow]) -> Vec<usize> {
    let all: Vec<Option<[f64; 3]>> = rows.iter().map(costs).collect();
    let beats = |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).all(|(a, b)| a <= b) && a != b;
    for (row, mine) in rows.iter_mut().zip(&all) {
        row.pareto = mine.is_some_and(|mine| !all.iter().flatten().any(|other| beats(other, &mine)));
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let key = |i: usize| {
        let row = &rows[i];
        let price = row.usd_per_hour.unwrap_or(f64::INFINITY);
        (row.replicas.is_none(), price, row.gpus.unwrap_or(u32::MAX))
    };
    order.sort_by(|&a, &b| {
        let (a, b) = (key(a), key(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
    });
    order
}
