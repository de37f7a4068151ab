//! A cost model of random exact integers.

use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::Duration;
use tokentide_sim::stream::mix;

use super::draw::Draw;

/// Affine in the decode context with a base and a slope of their own for each number of decodes, jumps at multiples of
/// `jump_every` tokens of context, terms of the longest and the shortest context, with jumps of the former of their own, and terms
/// for prefill. Everything in picoseconds.
#[derive(Clone, Debug)]
pub struct Synthetic {
    key: u64,
    base: u64,
    base_spread: u64,
    slope_max: u64,
    jump_every: u64,
    jump_max: u64,
    token: u64,
    pair: u64,
    history: u64,
    chunk: u64,
    sampled: u64,
    /// Whether the longest and the shortest context count.
    spread: bool,
    longest: u64,
    gap_max: u64,
    longest_jump_max: u64,
    /// Pieces end after at most so many steps though the cost goes on as it was; 0: they do not.
    piece_max: u64,
}

impl Synthetic {
    /// Draws one: of single picoseconds, where events coincide all the time, or of milliseconds.
    pub fn draw(draw: &mut Draw) -> Synthetic {
        let tiny = draw.chance(35);
        let base = if tiny { 1 + draw.upto(4) } else { 1_000_000_007 + draw.upto(30_000_000_000) };
        let unit = if tiny { 1 } else { base / 1000 };
        let constant = draw.chance(25);
        let mut term = |percent, max: u64| if !constant && draw.chance(percent) { draw.upto(max) } else { 0 };
        let base_spread = term(60, base);
        let slope_max = term(70, unit);
        let jump_max = term(40, 10 * unit);
        let (token, pair, history) = (term(80, unit), term(50, unit / 100 + 1), term(30, unit / 10 + 1));
        let (chunk, sampled) = (term(50, 20 * unit), term(50, 5 * unit));
        let (longest, gap_max, longest_jump_max) = (term(80, unit), term(60, 10 * unit), term(50, 10 * unit));
        let spread = draw.chance(40);
        let jump_every = 1 + if draw.chance(50) { draw.upto(30) } else { draw.upto(5000) };
        let piece_max = if draw.chance(40) { 1 + draw.upto(40) } else { 0 };
        let key = draw.bits();
        Synthetic {
            key,
            base,
            base_spread,
            slope_max,
            jump_every,
            jump_max,
            token,
            pair,
            history,
            chunk,
            sampled,
            spread,
            longest,
            gap_max,
            longest_jump_max,
            piece_max,
        }
    }

    /// The order of a step's duration [ps].
    pub fn typical(&self) -> u64 {
        self.base
    }

    fn of(&self, what: u64, index: u64, max: u64) -> u64 {
        mix(self.key ^ mix(what) ^ index) % (max + 1)
    }

    fn slope(&self, batch: &BatchShape) -> u64 {
        self.of(1, u64::from(batch.decodes), self.slope_max)
    }

    /// What the ends of the contexts add.
    fn ends(&self, batch: &BatchShape) -> u64 {
        if !self.spread || batch.decodes == 0 {
            return 0;
        }
        let gap = self.of(5, batch.decode_longest - batch.decode_shortest, self.gap_max);
        self.longest * batch.decode_longest + gap + self.of(6, batch.decode_longest / self.jump_every, self.longest_jump_max)
    }

    /// Steps until `value`, which grows by `by` a step, would pass the next multiple of `jump_every`.
    fn before_jump(&self, value: u64, by: u64) -> u64 {
        ((value / self.jump_every + 1) * self.jump_every - 1 - value) / by
    }
}

impl CostModel for Synthetic {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        let decodes = u64::from(batch.decodes);
        let base = self.base + self.of(2, decodes, self.base_spread);
        let context = self.slope(batch) * batch.decode_context + self.of(3, batch.decode_context / self.jump_every, self.jump_max);
        let prefill = self.token * batch.prefill_tokens + self.pair * batch.prefill_pairs + self.history * batch.prefill_history;
        let sequences = self.chunk * u64::from(batch.prefill_chunks) + self.sampled * u64::from(batch.sampled);
        Duration(base + context + prefill + sequences + self.ends(batch))
    }

    /// The slowest rank, and a term that depends on every rank's tokens and on the order of the ranks.
    fn lockstep(&self, ranks: &[BatchShape]) -> Duration {
        let slowest = ranks.iter().map(|batch| self.iteration(batch)).max().unwrap_or_default();
        let shared = ranks.iter().fold(self.key, |key, batch| mix(key ^ batch.tokens()));
        slowest + Duration(shared % (self.jump_max + 1))
    }

    /// Unequal stages, each with a part of its own; not all of the iteration.
    fn stages(&self, batch: &BatchShape, times: &mut [Duration]) {
        let part = self.iteration(batch).0 / times.len() as u64;
        for (time, stage) in times.iter_mut().zip(5..) {
            *time = Duration(1 + part / 2 + self.of(stage, batch.tokens(), part));
        }
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        let (context, members) = (batch.decode_context, u64::from(batch.decodes));
        let mut steps = if self.jump_max == 0 { u64::MAX } else { self.before_jump(context, members) };
        if self.spread && self.longest_jump_max > 0 {
            steps = steps.min(self.before_jump(batch.decode_longest, 1));
        }
        if self.piece_max > 0 {
            steps = steps.min(self.of(4, context, self.piece_max));
        }
        let longest = if self.spread { self.longest } else { 0 };
        DecodePiece { first: self.iteration(batch), growth_ps: self.slope(batch) * members + longest, steps }
    }

    fn reads_spread(&self) -> bool {
        self.spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_agree_with_iterations() {
        for seed in 0..300 {
            let mut draw = Draw::new(seed);
            let cost = Synthetic::draw(&mut draw);
            let decodes = draw.between(1, 40);
            let mut batch = BatchShape::default();
            (0..decodes).for_each(|_| batch.add_decode(1 + draw.upto(3000)));
            let piece = cost.decode_piece(&batch);
            for step in 0..=piece.steps.min(100) {
                assert_eq!(cost.iteration(&batch.later(step)), piece.first + Duration(piece.growth_ps) * step, "seed {seed}");
            }
        }
    }
}
