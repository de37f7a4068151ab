//! What is drawn at random: prompts, lengths, arrivals, order. One stream of numbers for each purpose.

use std::convert::Infallible;

use rand::seq::SliceRandom;
use rand::{RngExt, TryRng};
use rand_distr::{Distribution, Exp, LogNormal};

/// What a stream is drawn for. The numbers are part of reproducibility: never reuse or renumber one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Ids of one prompt.
    Prompt = 1,
    /// Order of points.
    Order = 2,
    /// Lengths of a load.
    Lengths = 3,
    /// Arrivals of a load.
    Arrivals = 4,
}

/// A stream of random bits: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Stream(u64);

impl Stream {
    /// The stream of `seed` for `purpose` and `index`.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Stream {
        Stream(mix(mix(mix(seed) ^ purpose as u64) ^ index))
    }
}

/// SplitMix64's finaliser after one increment.
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let out = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        Ok(out)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(8) {
            let bytes = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

/// Prompts of random token ids, no two alike.
#[derive(Clone, Debug)]
pub struct Prompts {
    key: u64,
    vocab: (u32, u32),
    drawn: u64,
}

impl Prompts {
    /// Of ids from `vocab.0` up to, not including, `vocab.1`. `salt` differs between probes with one seed: a server that was probed
    /// before must not find their prompts in its prefix cache.
    pub fn new(seed: u64, salt: u64, vocab: (u32, u32)) -> Prompts {
        Prompts { key: mix(seed) ^ salt, vocab, drawn: 0 }
    }

    /// The next one.
    pub fn next(&mut self, tokens: u32) -> Vec<u32> {
        let mut stream = Stream::new(self.key, Purpose::Prompt, self.drawn);
        self.drawn += 1;
        (0..tokens).map(|_| stream.random_range(self.vocab.0..self.vocab.1)).collect()
    }
}

/// `items` in an order of the seed's.
pub fn shuffled<T>(mut items: Vec<T>, seed: u64, index: u64) -> Vec<T> {
    items.shuffle(&mut Stream::new(seed, Purpose::Order, index));
    items
}

/// A distribution of lengths: lognormal, cut off at both ends [tokens].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    /// Mean before it is cut off.
    pub mean: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
    /// Least and greatest.
    pub range: (u32, u32),
}

impl Lengths {
    /// `count` of them, from the stream of `index`.
    pub fn draw(&self, seed: u64, index: u64, count: usize) -> Vec<u32> {
        let mut stream = Stream::new(seed, Purpose::Lengths, index);
        let mu = self.mean.max(1.0).ln() - self.sigma * self.sigma / 2.0;
        let normal = LogNormal::new(mu, self.sigma).expect("a finite spread");
        let (low, high) = self.range;
        (0..count).map(|_| (normal.sample(&mut stream).round() as u32).clamp(low, high)).collect()
    }
}

/// Times of `count` Poisson arrivals at `rate` [1/s], from the first one at 0 [ns].
pub fn arrivals(seed: u64, stream: u64, rate: f64, count: usize) -> Vec<u64> {
    let mut stream = Stream::new(seed, Purpose::Arrivals, stream);
    let gap = Exp::new(rate).expect("a positive rate");
    let mut at = 0.0;
    let mut next = || {
        let now = at;
        at += gap.sample(&mut stream);
        (now * 1e9) as u64
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_unlike_and_within_the_vocabulary() {
        let mut prompts = Prompts::new(1, 7, (1000, 4000));
        let (a, b) = (prompts.next(64), prompts.next(64));
        assert!(a != b && a.iter().chain(&b).all(|id| (1000..4000).contains(id)));
        assert_eq!(Prompts::new(1, 7, (1000, 4000)).next(64), a);
        assert_ne!(Prompts::new(1, 8, (1000, 4000)).next(64), a);
    }

    #[test]
    fn lengths_and_arrivals_have_their_means() {
        let lengths = Lengths { mean: 512.0, sigma: 0.7, range: (8, 100_000) }.draw(3, 0, 4000);
        let mean = lengths.iter().map(|&n| f64::from(n)).sum::<f64>() / 4000.0;
        assert!((mean / 512.0 - 1.0).abs() < 0.05, "{mean}");
        let last = *arrivals(3, 0, 10.0, 4001).last().expect("asked for many") as f64 / 1e9;
        assert!((last / 400.0 - 1.0).abs() < 0.05, "{last}");
        assert!(Lengths { mean: 512.0, sigma: 0.7, range: (8, 20) }.draw(3, 0, 9).iter().all(|n| (8..=20).contains(n)));
    }

    #[test]
    fn order_is_the_seeds() {
        let items: Vec<u32> = (0..20).collect();
        let (a, b) = (shuffled(items.clone(), 1, 0), shuffled(items.clone(), 2, 0));
        assert!(a != b && a == shuffled(items, 1, 0));
    }
}
