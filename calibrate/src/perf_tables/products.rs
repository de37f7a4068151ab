//! Matrix products by shape.

use std::collections::BTreeMap;

use crate::CalibrateError;
use crate::perf_tables::line::Line;
use crate::perf_tables::plausible::{Least, check, check_launch};
use crate::perf_tables::rows::Rows;

/// Shapes whose times per weight are blended where a shape was not measured.
const NEIGHBOURS: usize = 4;
/// A shape that is further away than this factor, in outputs and inputs together, says nothing about another.
const FARTHEST: f64 = 16.0;

/// Peaks of a GPU that products are held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peaks {
    /// Of the arithmetic used [FLOP/s].
    pub flops: f64,
    /// Memory [bytes/s].
    pub bandwidth: f64,
    /// Level-2 cache [bytes].
    pub cache: f64,
}

/// Times of products by (outputs `n`, inputs `k`), over tokens `m`.
#[derive(Clone, Debug)]
pub(super) struct Products {
    path: String,
    shapes: BTreeMap<(u32, u32), Line>,
}

/// The time of one product over tokens: that of its shape, or blended from near ones.
#[derive(Clone, Debug)]
pub(super) struct Product {
    /// Weight and times.
    parts: Vec<(f64, Line)>,
}

impl Product {
    /// Time for `m` tokens [ms].
    pub(super) fn at(&self, m: f64) -> f64 {
        self.parts.iter().map(|(weight, line)| weight * line.at(m)).sum()
    }

    /// Token counts measured, of the nearest shape.
    pub(super) fn sizes(&self) -> Vec<u32> {
        self.parts[0].1.sizes().collect()
    }
}

impl Products {
    /// Those of one number format: `bfloat16` or `fp8`. Returns what is odd in them as well.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Value`] if there are none, or for rows that cannot be: see [`check`] and [`check_launch`].
    pub(super) fn new(rows: &Rows, dtype: &str, bytes: f64, peaks: Peaks) -> Result<(Products, Vec<String>), CalibrateError> {
        let all = rows.different("gemm_dtype")?;
        let rows = rows.texts("gemm_dtype", |found| found == dtype)?;
        if rows.is_empty() {
            let known = all.into_iter().collect::<Vec<_>>().join(", ");
            let blocks = if known.contains("fp8_block") {
                "; fp8_block is not taken for it: its collection waited for the host"
            } else {
                ""
            };
            return Err(rows.bad(format!("has no products in {dtype}; formats there are: {known}{blocks}")));
        }
        let (m, n, k, ms) = (rows.counts("m")?, rows.counts("n")?, rows.counts("k")?, rows.ms());
        let least: Vec<Least> = (0..ms.len())
            .map(|i| {
                let [m, n, k] = [m[i], n[i], k[i]].map(f64::from);
                let (weights, flops) = (n * k * bytes, 2.0 * m * n * k);
                let (arithmetic, memory) = (flops / peaks.flops * 1e3, weights / peaks.bandwidth * 1e3);
                Least { arithmetic, memory, cached: weights < peaks.cache }
            })
            .collect();
        let flags = check(&rows, &format!("a {dtype} product"), &least)?;
        check_launch(&rows, dtype)?;
        let mut points: BTreeMap<(u32, u32), Vec<(u32, f64)>> = BTreeMap::new();
        for i in 0..ms.len() {
            points.entry((n[i], k[i])).or_default().push((m[i], ms[i]));
        }
        let shapes = points.into_iter().filter_map(|(shape, line)| Some((shape, Line::new(line)?))).collect();
        Ok((Products { path: rows.path().to_owned(), shapes }, flags))
    }

    /// The product with `outputs` and `inputs`. Of a shape that was not measured: the nearest ones' time per weight, weighted by
    /// the inverse square of their distance in the logarithms of both.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Value`] if no shape is near.
    pub(super) fn product(&self, outputs: u32, inputs: u32) -> Result<Product, CalibrateError> {
        if let Some(line) = self.shapes.get(&(outputs, inputs)) {
            return Ok(Product { parts: vec![(1.0, line.clone())] });
        }
        let ratio = |a: u32, b: u32| (f64::from(a) / f64::from(b)).ln().abs();
        let mut near: Vec<(f64, (u32, u32), &Line)> =
            self.shapes.iter().map(|(&(n, k), line)| (ratio(n, outputs) + ratio(k, inputs), (n, k), line)).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(NEIGHBOURS);
        near.retain(|&(distance, ..)| distance < FARTHEST.ln());
        if near.is_empty() {
            let message = format!("has no product near {outputs} outputs x {inputs} inputs");
            return Err(CalibrateError::Value { path: self.path.clone(), message });
        }
        let total: f64 = near.iter().map(|(distance, ..)| distance.powi(-2)).sum();
        let weights = f64::from(outputs) * f64::from(inputs);
        let part = |(distance, (n, k), line): (f64, (u32, u32), &Line)| {
            (distance.powi(-2) / total * weights / (f64::from(n) * f64::from(k)), line.clone())
        };
        Ok(Product { parts: near.into_iter().map(part).collect() })
    }
}
