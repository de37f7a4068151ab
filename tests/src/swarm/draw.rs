//! Draws for test cases: a sequence of integers from a seed.

use tokentide_sim::stream::mix;

/// A sequence of draws.
#[derive(Clone, Debug)]
pub struct Draw {
    key: u64,
    drawn: u64,
}

impl Draw {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Draw {
        Draw { key: mix(mix(seed)), drawn: 0 }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.key ^ mix(self.drawn))
    }

    /// Below `n`, which is positive. (The modulo's bias is of no concern here.)
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// From 0 to `max`.
    pub fn upto(&mut self, max: u64) -> u64 {
        self.bits() % (max + 1)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(u64::from(high - low) + 1) as u32
    }

    /// True in `percent` of 100 draws.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Uniform in (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}
