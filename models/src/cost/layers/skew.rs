//! What unequal contexts cost.

use crate::cost::BatchShape;
use crate::cost::profile::SkewTable;

/// Steps in a bin's share are counted in percent.
const PERCENT: u64 = 100;

/// Looks alphas up: all comparisons are of integers, and of such as do not change from step to step where they can.
#[derive(Clone, Debug)]
pub(super) struct Skew {
    table: SkewTable,
}

/// The mean context, the longest one, and how far towards it the time of a batch lies. Contexts are those in the cache before the
/// step, without the new token, as the tables have them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    /// Mean context, rounded down [tokens].
    pub mean: u64,
    /// Longest context [tokens].
    pub longest: u64,
    /// Place between the times of `mean` and `longest`.
    pub alpha: f64,
    /// The longest context for which alpha is that [tokens].
    pub until: u64,
}

impl Skew {
    pub(super) fn new(table: &SkewTable) -> Skew {
        Skew { table: table.clone() }
    }

    /// The spread of a batch with decodes.
    #[inline]
    pub(super) fn of(skew: Option<&Skew>, batch: &BatchShape) -> Spread {
        let mean = (batch.decode_context / u64::from(batch.decodes.max(1))).saturating_sub(1);
        let longest = batch.decode_longest.saturating_sub(1);
        let even = Spread { mean, longest, alpha: 0.0, until: u64::MAX };
        match skew {
            Some(skew) if batch.decodes > 1 && longest > mean => {
                let (alpha, until) = skew.alpha(batch, mean, longest);
                Spread { alpha, until, ..even }
            }
            _ => even,
        }
    }

    fn alpha(&self, batch: &BatchShape, mean: u64, longest: u64) -> (f64, u64) {
        let table = &self.table;
        let Some(bins) = table.alphas.iter().find(|bins| batch.prefill_tokens <= u64::from(bins.chunk)) else {
            return (table.default, u64::MAX);
        };
        // Mean and ends all grow by one a step, so the rate stays.
        let shortest = batch.decode_shortest.saturating_sub(1);
        let (above, range) = (mean.saturating_sub(shortest), longest.saturating_sub(shortest));
        let within = |percent: u32| above * PERCENT <= u64::from(percent) * range;
        let first = |edges: &[u32], fits: &dyn Fn(u32) -> bool| edges.iter().position(|&edge| fits(edge)).unwrap_or(edges.len());
        let decodes = first(&table.decodes, &|edge| batch.decodes <= edge);
        let rate = first(&table.rate_percent, &within);
        let column = first(&table.longest, &|edge| longest <= u64::from(edge));
        let until = table.longest.get(column).map_or(u64::MAX, |&edge| u64::from(edge));
        (bins.alpha[decodes][rate * (table.longest.len() + 1) + column], until)
    }
}
