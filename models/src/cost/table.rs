//! Cost from a profile of grids.

use crate::cost::calibrated::{PS_PER_MS, token_curve};
use crate::cost::curve::{Curve, interpolate, round};
use crate::cost::form::table_limits;
use crate::cost::{BatchShape, CostError, CostModel, DecodeGrid, DecodePiece, Floor, PrefillGrid, Profile};
use crate::deployment::Deployment;
use crate::units::Duration;

/// Interpolated tables: non-attention linear in tokens, prefill attention bilinear in a chunk's (tokens, history), decode
/// attention bilinear in (decodes, mean context), and so piecewise affine in total context: a decode piece ends at the next grid
/// point.
///
/// Below a grid's first tokens, decodes or context the first value holds; beyond its last the last segment's line. Chunks of one
/// step are priced as equal ones with the same tokens, query-key pairs and at least the same history.
#[derive(Clone, Debug)]
pub struct Table {
    tokens: Curve,
    decode: DecodeRows,
    prefill: Grid,
    floor: Floor,
}

impl Table {
    /// The model of a profile on a deployment.
    ///
    /// # Errors
    ///
    /// As in [`super::Calibrated::new`], with grids in place of coefficients.
    pub fn new(profile: &Profile, deployment: &Deployment) -> Result<Table, CostError> {
        profile.matches(deployment)?;
        let (Some(decode), Some(prefill)) = (&profile.decode_grid, &profile.prefill_grid) else {
            return Err(CostError::Invalid { name: profile.name.clone(), message: "is no table".into() });
        };
        let (max_tokens, max_sequences) = table_limits(deployment.max_num_batched_tokens, deployment.max_num_seqs);
        let tokens = token_curve(&profile.nonattention, deployment, max_tokens);
        let (decode, prefill) = (DecodeRows::new(decode, max_sequences), Grid::new(prefill));
        let floor = Floor::new(deployment)?;
        let below = |message| CostError::BelowFloor { name: profile.name.clone(), message };
        floor.check_tokens(&tokens, 0, max_tokens).map_err(below)?;
        decode.check(&floor).map_err(below)?;
        prefill.check(&floor).map_err(below)?;
        Ok(Table { tokens, decode, prefill, floor })
    }
}

impl CostModel for Table {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        let mut ps = self.tokens.at(batch.tokens());
        if batch.decodes > 0 {
            ps = ps.saturating_add(self.decode.at(u64::from(batch.decodes), batch.decode_context).0);
        }
        if batch.prefill_tokens > 0 {
            ps = ps.saturating_add(self.prefill.chunks(batch));
        }
        self.floor.hold(batch, Duration(ps))
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        let (attention, slope_ps, until) = self.decode.at(u64::from(batch.decodes), batch.decode_context);
        let first = Duration(self.tokens.at(batch.tokens()).saturating_add(attention));
        DecodePiece::by_context(batch, self.floor.hold(batch, first), slope_ps, until)
    }
}

/// A segment of decode attention at some number of decodes.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Total context at which it begins [tokens].
    start: u64,
    /// Time there [ps].
    value: u64,
    /// Picoseconds per token.
    slope: u64,
}

impl Segment {
    /// Time at a total context.
    #[inline]
    fn at(&self, context: u64) -> u64 {
        self.value.saturating_add(self.slope.saturating_mul(context - self.start))
    }
}

/// Decode attention, one row of segments per number of decodes.
#[derive(Clone, Debug)]
struct DecodeRows {
    rows: Vec<Box<[Segment]>>,
    sequences: Vec<f64>,
    contexts: Vec<u64>,
    /// Milliseconds by context, then sequences.
    columns: Vec<Vec<f64>>,
}

impl DecodeRows {
    fn new(grid: &DecodeGrid, max_sequences: u64) -> DecodeRows {
        let columns = (0..grid.context_tokens.len()).map(|j| grid.ms.iter().map(|row| row[j]).collect()).collect();
        let mut rows = DecodeRows {
            rows: Vec::new(),
            sequences: grid.sequences.iter().map(|&n| f64::from(n)).collect(),
            contexts: grid.context_tokens.iter().map(|&c| u64::from(c)).collect(),
            columns,
        };
        rows.rows = (0..=max_sequences).map(|n| rows.row(n.max(1))).collect();
        rows
    }

    /// The segments of `n` decodes: continuous, since each begins where the one before ends.
    fn row(&self, n: u64) -> Box<[Segment]> {
        let times: Vec<f64> = self.columns.iter().map(|c| interpolate(&self.sequences, c, n as f64) * PS_PER_MS).collect();
        let starts: Vec<u64> = self.contexts.iter().map(|c| n.saturating_mul(*c)).collect();
        let slope = |j: usize| match starts.get(j + 1) {
            Some(next) => round((times[j + 1] - times[j]) / (next - starts[j]) as f64),
            None => 0,
        };
        // Before the first grid point the first value holds.
        let mut segments = vec![Segment { start: 0, value: round(times[0]), slope: 0 }];
        let (mut value, last) = (round(times[0]), starts.len().saturating_sub(2));
        for (j, &start) in starts.iter().enumerate().take(last + 1) {
            segments.push(Segment { start, value, slope: slope(j) });
            let length = starts.get(j + 1).map_or(0, |next| next - start);
            value = value.saturating_add(slope(j).saturating_mul(length));
        }
        segments.into()
    }

    /// Time, slope and end of the piece.
    #[inline]
    fn at(&self, n: u64, context: u64) -> (u64, u64, u64) {
        match self.rows.get(n as usize) {
            Some(row) => find(row, context),
            None => find(&self.row(n), context),
        }
    }

    fn check(&self, floor: &Floor) -> Result<(), String> {
        let per_token = floor.context_token();
        for (n, row) in self.rows.iter().enumerate().skip(1) {
            let slow = row.windows(2).map(|pair| (pair[1].start, pair[0].at(pair[1].start)));
            for (context, value) in slow {
                if value < per_token.saturating_mul(context) {
                    let (found, least) = (Duration(value), Duration(per_token.saturating_mul(context)));
                    return Err(format!(
                        "decode attention of {n} sequences, {context} tokens in all, in {found}; reading takes {least}"
                    ));
                }
            }
        }
        floor.check_context(self.rows.iter().enumerate().skip(1).map(|(n, row)| (n as u64, row[row.len() - 1].slope)))
    }
}

#[inline]
fn find(row: &[Segment], context: u64) -> (u64, u64, u64) {
    let next = row.iter().skip(1).position(|s| s.start > context).map_or(row.len(), |i| i + 1);
    let segment = row[next - 1];
    (segment.at(context), segment.slope, row.get(next).map_or(u64::MAX, |s| s.start))
}

/// Prefill attention.
#[derive(Clone, Debug)]
struct Grid {
    chunk: Vec<f64>,
    history: Vec<f64>,
    /// Picoseconds by chunk, then history.
    ps: Vec<Vec<f64>>,
}

impl Grid {
    fn new(grid: &PrefillGrid) -> Grid {
        let axis = |values: &[u32]| values.iter().map(|&v| f64::from(v)).collect();
        let ps = grid.ms.iter().map(|row| row.iter().map(|ms| ms * PS_PER_MS).collect()).collect();
        Grid { chunk: axis(&grid.chunk_tokens), history: axis(&grid.history_tokens), ps }
    }

    /// One chunk [ps].
    fn at(&self, tokens: f64, history: f64) -> f64 {
        let column = |row: &Vec<f64>| interpolate(&self.history, row, history);
        let right = self.chunk.partition_point(|&k| k < tokens).min(self.chunk.len() - 1);
        let left = right.saturating_sub(1);
        let (a, b) = (column(&self.ps[left]), column(&self.ps[right]));
        if left == right || tokens <= self.chunk[left] {
            return a;
        }
        a + (b - a) * (tokens - self.chunk[left]) / (self.chunk[right] - self.chunk[left])
    }

    /// A step's chunks as equal ones, none longer than the grid, with the same pairs: `history + (chunk + 1)/2` is the mean
    /// number of keys of a query.
    fn chunks(&self, batch: &BatchShape) -> u64 {
        let tokens = batch.prefill_tokens as f64;
        let longest = self.chunk[self.chunk.len() - 1];
        let count = f64::from(batch.prefill_chunks.max(1)).max(tokens / longest);
        let chunk = tokens / count;
        let keys = batch.prefill_pairs as f64 / tokens;
        let history = (keys - (chunk + 1.0) / 2.0).max(batch.prefill_history as f64 / count).max(0.0);
        (count * self.at(chunk, history)).ceil() as u64
    }

    /// Every grid point and the lines beyond the last history. Between points the floor is convex, so it needs no test.
    fn check(&self, floor: &Floor) -> Result<(), String> {
        let far = 16.0 * (self.history[self.history.len() - 1] + 1024.0);
        for &tokens in &self.chunk {
            for &history in self.history.iter().chain([&far]) {
                let (found, least) = (self.at(tokens, history), floor.chunk(tokens, history));
                if found < least {
                    let (found, least) = (Duration(found as u64), Duration(least as u64));
                    return Err(format!("prefill attention of {tokens} tokens after {history} in {found}; it needs {least}"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::profile::tests::{EXAMPLE, on_profile};
    use crate::cost::testing::{decodes, monotone, pieces_agree, prefill};

    fn profile() -> Profile {
        let head = EXAMPLE.split("[decode_attention]").next().unwrap().replace("\"calibrated\"", "\"table\"");
        let grids = r#"
[decode_grid]
sequences = [1, 64, 512]
context_tokens = [128, 1024, 8192]
ms = [[0.40, 0.5, 0.9], [0.5, 3.2, 24.0], [3.0, 24.0, 190.0]]

[prefill_grid]
chunk_tokens = [128, 1024, 8192]
history_tokens = [0, 1024, 16384]
ms = [[0.4, 0.5, 2.3], [1.4, 2.3, 16.0], [30.0, 37.0, 140.0]]
"#;
        Profile::parse("table", &(head + grids)).unwrap()
    }

    #[test]
    fn is_exact_on_grid_points_and_bilinear_between() {
        let table = Table::new(&profile(), &on_profile()).unwrap();
        let attention = |n: u32, context: u64| {
            let batch = decodes(n, context);
            (table.iteration(&batch).0 - table.tokens.at(u64::from(n))) as f64 / PS_PER_MS
        };
        for (n, context, expected) in
            [(1, 128, 0.4), (64, 1024, 3.2), (512, 8192, 190.0), (288, 1024, 13.6), (64, 4608, 13.6), (64, 15_360, 44.8)]
        {
            assert!((attention(n, context) / expected - 1.0).abs() < 1e-4, "{n} {context}: {} {expected}", attention(n, context));
        }
        let chunk = |tokens: u64, history: u64| {
            (table.iteration(&prefill(1, history, tokens)).0 - table.tokens.at(tokens)) as f64 / PS_PER_MS
        };
        for (tokens, history, expected) in [(1024, 0, 1.4), (8192, 1024, 37.0), (4608, 0, 15.7), (1024, 8704, 9.15), (64, 0, 0.4)] {
            assert!((chunk(tokens, history) - expected).abs() < 1e-6, "{tokens} {history}: {} {expected}", chunk(tokens, history));
        }
    }

    #[test]
    fn pieces_end_at_grid_points() {
        let table = Table::new(&profile(), &on_profile()).unwrap();
        assert_eq!(table.decode_piece(&decodes(64, 100)).steps, 28);
        assert_eq!(table.decode_piece(&decodes(64, 128)).steps, 1024 - 128);
        assert!(table.decode_piece(&decodes(64, 9000)).steps > 1 << 50);
        pieces_agree(&table, 5);
        monotone(&table, 6, 1e-4);
    }

    #[test]
    fn impossible_grids_are_refused() {
        let mut fast = profile();
        fast.decode_grid.as_mut().unwrap().ms[2][2] = 160.0;
        assert!(Table::new(&fast, &on_profile()).unwrap_err().to_string().contains("decode attention"));
        let mut fast = profile();
        fast.prefill_grid.as_mut().unwrap().ms[2] = vec![16.0, 37.0, 140.0];
        assert!(Table::new(&fast, &on_profile()).unwrap_err().to_string().contains("prefill attention of 8192 tokens after 0"));
    }
}
