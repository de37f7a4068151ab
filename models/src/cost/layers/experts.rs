//! The expert block of a mixture.

use crate::cost::curve::interpolate;
use crate::cost::profile::{ExpertTable, Gating};

/// Times of one layer's experts by the tokens of the step.
#[derive(Clone, Debug)]
pub(super) struct Experts {
    gating: Gating,
    /// Experts of the model, and how many a token is routed to.
    total: f64,
    top_k: f64,
    /// Experts woken, ascending, with times by tokens.
    activated: Vec<f64>,
    rows: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Experts {
    /// From a checked table, for a model of `total` experts of which a token wakes `top_k`.
    pub(super) fn new(table: &ExpertTable, total: u32, top_k: u32) -> Experts {
        let row = |row: &crate::cost::profile::ExpertRow| (row.tokens.iter().map(|&t| f64::from(t)).collect(), row.us.clone());
        Experts {
            gating: table.gating,
            total: f64::from(total),
            top_k: f64::from(top_k),
            activated: table.rows.iter().map(|row| f64::from(row.activated)).collect(),
            rows: table.rows.iter().map(row).collect(),
        }
    }

    /// One rank's time for the `tokens` of all ranks [us], where each of `ranks` holds its share of the experts whole.
    ///
    /// Uniform gating: the rank wakes `E/ranks (1 - ((E-k)/E)^T)` experts and computes `T k / ranks` rows, as many as `T / ranks`
    /// tokens have where all experts are on one rank, which is how they were measured. Balanced gating: LLMServingSim's
    /// `min(round(T k / ranks), E / ranks)` experts and `round(T (1 - ((ranks-1)/ranks)^k))` tokens.
    pub(super) fn us(&self, tokens: f64, ranks: f64) -> f64 {
        let (activated, tokens) = match self.gating {
            Gating::Uniform => {
                let missed = ((self.total - self.top_k) / self.total).powf(tokens);
                (self.total / ranks * (1.0 - missed), tokens / ranks)
            }
            Gating::Balanced => {
                let activated = (tokens * self.top_k / ranks).round_ties_even().min(self.total / ranks);
                (activated, (tokens * (1.0 - ((ranks - 1.0) / ranks).powf(self.top_k))).round_ties_even())
            }
        };
        let at = |row: &(Vec<f64>, Vec<f64>)| interpolate(&row.0, &row.1, tokens.max(1.0));
        let times: Vec<f64> = self.rows.iter().map(at).collect();
        interpolate(&self.activated, &times, activated.max(1.0)).max(0.0)
    }
}
