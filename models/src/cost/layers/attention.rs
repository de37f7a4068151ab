//! Attention of a step, from a grid of measured batches.

use std::collections::BTreeMap;

use crate::cost::curve::interpolate;
use crate::cost::profile::AttentionBlock;

/// Times of one decoder layer's attention kernel, called once for the whole batch, by tokens of the chunks, decodes, history of the
/// chunks and mean context of the decodes.
///
/// Linear on each axis between measured values, the first value below the first, the last segment's line beyond the last (in the
/// profiles of LLMServingSim 2 a point left out is met within 2-4 % so, and within 12-14 % on logarithmic axes). The grid need not
/// be full: each number of chunk tokens has numbers of decodes of its own, each of these its own histories, and each of those its
/// own contexts.
#[derive(Clone, Debug)]
pub(super) struct AttentionGrid {
    chunks: Vec<f64>,
    /// By chunk.
    rows: Vec<ChunkRow>,
}

/// The times at one number of chunk tokens, by decodes.
#[derive(Clone, Debug, Default)]
struct ChunkRow {
    decodes: Vec<f64>,
    slices: Vec<Slice>,
}

/// The times at one number of chunk tokens and one of decodes, by history.
#[derive(Clone, Debug, Default)]
struct Slice {
    history: Vec<f64>,
    rows: Vec<Row>,
}

/// Times by context [us].
#[derive(Clone, Debug, Default)]
struct Row {
    context: Vec<f64>,
    us: Vec<f64>,
}

impl AttentionGrid {
    /// From the blocks of a profile, which must have been checked.
    pub(super) fn new(blocks: &[AttentionBlock]) -> AttentionGrid {
        let mut points: ByU32<ByU32<ByU32<ByU32<f64>>>> = ByU32::new();
        for block in blocks {
            let outer = block.decodes.iter().flat_map(|&n| block.history.iter().map(move |&h| (n, h)));
            for ((n, history), row) in outer.zip(&block.us) {
                let contexts = points.entry(block.chunk).or_default().entry(n).or_default().entry(history).or_default();
                contexts.extend(block.context.iter().copied().zip(row.iter().copied()));
            }
        }
        let (chunks, rows) = axis(points, |decodes| {
            let (decodes, slices) = axis(decodes, |histories| {
                let (history, rows) = axis(histories, |contexts| {
                    let (context, us) = axis(contexts, |us| us);
                    Row { context, us }
                });
                Slice { history, rows }
            });
            ChunkRow { decodes, slices }
        });
        AttentionGrid { chunks, rows }
    }

    /// One layer's time of a batch [us].
    pub(super) fn at(&self, chunk: f64, decodes: f64, history: f64, context: f64) -> f64 {
        let (left, right, place) = bracket(&self.chunks, chunk);
        let row = |c: usize| self.rows[c].at(decodes, history, context);
        blend(place, || row(left), || row(right))
    }

    /// Contexts at which the line of `decodes` decodes alone may bend.
    pub(super) fn bends(&self, decodes: f64) -> Vec<u64> {
        let (left, right, _) = bracket(&self.rows[0].decodes, decodes);
        let slices = [left, right].into_iter().flat_map(|n| &self.rows[0].slices[n].rows);
        let mut bends: Vec<u64> = slices.flat_map(|row| row.context.iter().map(|&context| context as u64)).collect();
        bends.sort_unstable();
        bends.dedup();
        bends
    }
}

type ByU32<T> = BTreeMap<u32, T>;

/// Keys in order, and what is made of their values.
fn axis<V, T>(values: ByU32<V>, make: impl Fn(V) -> T) -> (Vec<f64>, Vec<T>) {
    values.into_iter().map(|(key, value)| (f64::from(key), make(value))).unzip()
}

impl ChunkRow {
    fn at(&self, decodes: f64, history: f64, context: f64) -> f64 {
        let (left, right, place) = bracket(&self.decodes, decodes);
        let slice = |n: usize| self.slices[n].at(history, context);
        blend(place, || slice(left), || slice(right))
    }
}

impl Slice {
    fn at(&self, history: f64, context: f64) -> f64 {
        let (h0, h1, ht) = bracket(&self.history, history);
        let row = |h: usize| interpolate(&self.rows[h].context, &self.rows[h].us, context);
        blend(ht, || row(h0), || row(h1))
    }
}

/// The values around `x` and its place between them: 0 at the left, 1 at the right, more beyond the last.
fn bracket(values: &[f64], x: f64) -> (usize, usize, f64) {
    let last = values.len() - 1;
    if last == 0 || x <= values[0] {
        return (0, 0, 0.0);
    }
    let right = values.partition_point(|&value| value <= x).min(last);
    (right - 1, right, (x - values[right - 1]) / (values[right] - values[right - 1]))
}

/// Between two values; the second is not asked for at place 0.
fn blend(place: f64, left: impl Fn() -> f64, right: impl Fn() -> f64) -> f64 {
    let from = left();
    if place == 0.0 { from } else { from + place * (right() - from) }
}

/// Attention of decodes alone: all layers, in integers, one row of segments for each number of decodes.
#[derive(Clone, Debug)]
pub(super) struct DecodeRows {
    rows: Vec<Box<[Segment]>>,
}

/// A segment of attention time over the context of a decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Context at which it begins [tokens].
    pub start: u64,
    /// Context at which the next one begins.
    pub end: u64,
    /// Time at its start [ps].
    pub value: u64,
    /// Picoseconds per token of context.
    pub slope: u64,
}

impl DecodeRows {
    /// Rows of 0 to `max_sequences` decodes; `ps` is what a microsecond of one layer adds to a step.
    pub(super) fn new(grid: &AttentionGrid, max_sequences: u64, ps: f64) -> DecodeRows {
        DecodeRows { rows: (0..=max_sequences).map(|n| row(grid, n.max(1), ps)).collect() }
    }

    /// The segment of `n` decodes that `context` lies in. Beyond the last row there is none: [`DecodeRows::of`].
    #[inline]
    pub(super) fn of(&self, n: u64) -> Option<&[Segment]> {
        self.rows.get(n as usize).map(|row| &**row)
    }
}

/// The segments of `n` decodes. Slopes are rounded down, so that no segment ends above the start of the next.
pub(super) fn row(grid: &AttentionGrid, n: u64, ps: f64) -> Box<[Segment]> {
    let bends = grid.bends(n as f64);
    let at = |context: u64| (grid.at(0.0, n as f64, 0.0, context as f64) * ps).max(0.0).round() as u64;
    let values: Vec<u64> = bends.iter().map(|&context| at(context)).collect();
    // Before the first measured context its value holds.
    let mut segments = vec![Segment { start: 0, end: bends[0], value: values[0], slope: 0 }];
    for i in 0..bends.len() {
        let slope = match bends.get(i + 1) {
            Some(end) => values[i + 1].saturating_sub(values[i]) / (end - bends[i]),
            None => segments[i].slope,
        };
        segments.push(Segment { start: bends[i], end: bends.get(i + 1).copied().unwrap_or(u64::MAX), value: values[i], slope });
    }
    segments.into()
}

/// The segment that holds at `context`.
#[inline]
pub(super) fn find(row: &[Segment], context: u64) -> Segment {
    row[row.partition_point(|segment| segment.start <= context) - 1]
}
