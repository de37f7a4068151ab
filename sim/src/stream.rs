//! Order-free randomness: one short stream per (seed, purpose, index).
//!
//! A draw depends only on what it is for, never on how many draws were made before it, so results cannot depend on the
//! thread count, and a new consumer of randomness changes no other one. Generator: SplitMix64 (Steele, Lea and Flood,
//! "Fast splittable pseudorandom number generators", OOPSLA 2014) from a key mixed with the same finaliser.

use std::convert::Infallible;

use rand::TryRng;
pub use tokentide_models::hash::mix;

/// What a stream is drawn for. The numbers are part of reproducibility: never reuse or renumber one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Gaps between arrivals.
    Arrival = 1,
    /// Token counts of one request.
    Lengths = 2,
    /// Router choices of one request.
    Route = 3,
    /// Number of turns and think times of a session.
    Session = 4,
    /// Jitter of quantised trace timestamps, thinning of a trace.
    Trace = 5,
    /// Phases of a replica's start.
    Startup = 6,
    /// Points of a sweep that are drawn at random.
    Design = 7,
}

/// A stream of random bits.
#[derive(Clone, Debug)]
pub struct Stream(u64);

impl Stream {
    /// The stream of `seed` for `purpose`, entity `who` (a class, a trace: 0 where there is one) and `index` (a request).
    pub fn new(seed: u64, purpose: Purpose, who: u64, index: u64) -> Stream {
        Stream(mix(mix(mix(mix(seed) ^ purpose as u64) ^ who) ^ index))
    }
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
