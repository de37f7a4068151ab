//! Measured times along one axis.

use std::collections::BTreeMap;

use tokentide_models::cost::interpolate;

/// Times [ms] over sizes, ascending. Not empty.
#[derive(Clone, Debug)]
pub(super) struct Line {
    xs: Vec<f64>,
    ys: Vec<f64>,
}

impl Line {
    /// None if there is no point. Where a size was measured several times, with several kernels, the fastest counts: an engine
    /// would take it.
    pub(super) fn new(points: impl IntoIterator<Item = (u32, f64)>) -> Option<Line> {
        let mut best: BTreeMap<u32, f64> = BTreeMap::new();
        for (x, y) in points {
            best.entry(x).and_modify(|known| *known = known.min(y)).or_insert(y);
        }
        let (xs, ys) = best.into_iter().map(|(x, y)| (f64::from(x), y)).unzip();
        let line = Line { xs, ys };
        (!line.xs.is_empty()).then_some(line)
    }

    /// Sizes measured.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u32> + '_ {
        self.xs.iter().map(|&x| x as u32)
    }

    /// The largest size measured.
    pub(super) fn end(&self) -> f64 {
        self.xs[self.xs.len() - 1]
    }

    /// Linear between sizes, the first time before the first, the last segment's line beyond the last but never falling.
    pub(super) fn at(&self, x: f64) -> f64 {
        let last = self.ys[self.ys.len() - 1];
        if x > self.end() { interpolate(&self.xs, &self.ys, x).max(last) } else { interpolate(&self.xs, &self.ys, x) }
    }

    /// As [`Line::at`], but in proportion to the size beyond the last: a kernel that is bound by the bytes it reads.
    pub(super) fn proportional(&self, x: f64) -> f64 {
        if x > self.end() { self.ys[self.ys.len() - 1] * x / self.end() } else { self.at(x) }
    }
}

/// Times [ms] by batch size, then length. Not empty.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    batches: Vec<f64>,
    lines: Vec<Line>,
}

impl Grid {
    /// From (batch, length, time); none if there is no point.
    pub(super) fn new(points: impl IntoIterator<Item = (u32, u32, f64)>) -> Option<Grid> {
        let mut by_batch: BTreeMap<u32, Vec<(u32, f64)>> = BTreeMap::new();
        for (batch, length, ms) in points {
            by_batch.entry(batch).or_default().push((length, ms));
        }
        let (batches, lines): (Vec<f64>, Vec<Line>) =
            by_batch.into_iter().filter_map(|(batch, line)| Some((f64::from(batch), Line::new(line)?))).unzip();
        (!batches.is_empty()).then_some(Grid { batches, lines })
    }

    /// Linear between batches and lengths, in proportion beyond either.
    pub(super) fn at(&self, batch: f64, length: f64) -> f64 {
        let ys: Vec<f64> = self.lines.iter().map(|line| line.proportional(length)).collect();
        let last = self.batches[self.batches.len() - 1];
        let inside = interpolate(&self.batches, &ys, batch.min(last));
        if batch > last { inside * batch / last } else { inside }
    }

    /// The pairs measured.
    pub(super) fn points(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.batches.iter().zip(&self.lines).flat_map(|(&batch, line)| line.sizes().map(move |length| (batch as u32, length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_of_several_rows_counts_and_times_go_on_beyond_the_last() {
        let line = Line::new([(4, 2.0), (2, 1.0), (4, 3.0)]).unwrap();
        assert_eq!([1.0, 2.0, 3.0, 4.0, 6.0].map(|x| line.at(x)), [1.0, 1.0, 1.5, 2.0, 3.0]);
        assert_eq!((line.proportional(3.0), line.proportional(8.0)), (1.5, 4.0));
        assert_eq!(Line::new([(2, 3.0), (4, 2.0)]).unwrap().at(8.0), 2.0);
        assert!(Line::new([]).is_none());
    }

    #[test]
    fn a_grid_is_bilinear_within_and_proportional_beyond() {
        let grid = Grid::new([(1, 10, 1.0), (1, 20, 2.0), (2, 10, 3.0)]).unwrap();
        assert_eq!(grid.at(1.0, 15.0), 1.5);
        assert_eq!(grid.at(1.5, 10.0), 2.0);
        assert_eq!(grid.at(2.0, 20.0), 6.0);
        assert_eq!(grid.at(4.0, 10.0), 6.0);
        assert_eq!(grid.points().collect::<Vec<_>>(), [(1, 10), (1, 20), (2, 10)]);
    }
}
