//! The batch sizes of the CUDA graphs that the engine captures.

use crate::deployment::Deployment;
use crate::engine_defaults::EngineVersion;
use crate::gpu::Gpu;

/// The batch sizes for which the engine captures CUDA graphs: 1, 2, 4, then 8 to 248 in steps of 8, then 256 up in steps of 16.
///
/// Source: vLLM 0.32, `cudagraph_mode` FULL_AND_PIECEWISE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureSizes {
    /// The largest captured size [tokens]; 0 if there is none.
    largest: u64,
}

impl CaptureSizes {
    /// The largest size by default [tokens]: 1,024 on Blackwell since 0.30, else 512.
    pub fn limit(version: EngineVersion, gpu: &Gpu) -> u32 {
        if version.since(30) && gpu.is_blackwell() { 1024 } else { 512 }
    }

    /// No graphs at all (`--enforce-eager`).
    pub const NONE: CaptureSizes = CaptureSizes { largest: 0 };

    /// Sizes up to `min(2 * max_num_seqs, limit, max_num_batched_tokens)`.
    pub fn new(max_num_seqs: u32, max_num_batched_tokens: u32, limit: u32) -> CaptureSizes {
        CaptureSizes::up_to(max_num_seqs.saturating_mul(2).min(limit).min(max_num_batched_tokens))
    }

    /// Sizes up to `bound`.
    fn up_to(bound: u32) -> CaptureSizes {
        let bound = u64::from(bound);
        let largest = match bound {
            0..=2 => bound,
            3 => 2,
            4..8 => 4,
            8..256 => bound / 8 * 8,
            _ => bound / 16 * 16,
        };
        CaptureSizes { largest }
    }

    /// The sizes a deployment runs with.
    pub fn of(deployment: &Deployment) -> CaptureSizes {
        if !deployment.cuda_graphs {
            CaptureSizes::NONE
        } else if let Some(largest) = deployment.max_cudagraph_capture_size {
            CaptureSizes::up_to(largest.min(deployment.max_num_batched_tokens))
        } else {
            let limit = CaptureSizes::limit(deployment.engine_version, &deployment.gpu);
            CaptureSizes::new(deployment.max_num_seqs, deployment.max_num_batched_tokens, limit)
        }
    }

    /// The largest captured size [tokens]; 0 if there is none.
    pub fn largest(self) -> u64 {
        self.largest
    }

    /// Whether a step of `tokens` runs as a graph.
    pub fn captured(self, tokens: u64) -> bool {
        (1..=self.largest).contains(&tokens)
    }

    /// The number of tokens at which the linear layers of a step of `tokens` run: the next captured size, or `tokens` itself
    /// where no graph is that large.
    pub fn padded(self, tokens: u64) -> u64 {
        match tokens {
            _ if tokens > self.largest => tokens,
            0..=2 => tokens,
            3..=4 => 4,
            5..=248 => tokens.next_multiple_of(8),
            _ => tokens.next_multiple_of(16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The engine's own list, written out as its source builds it.
    fn captured(bound: u64) -> Vec<u64> {
        let mut sizes: Vec<u64> = [1, 2, 4].into_iter().filter(|size| *size <= bound).collect();
        sizes.extend((8..256).step_by(8).filter(|size| *size <= bound));
        sizes.extend((256..=bound).step_by(16));
        sizes
    }

    #[test]
    fn padding_is_the_next_captured_size() {
        for max_num_seqs in (1..=300).chain([512, 1024, u32::MAX]) {
            for (budget, limit) in [(8192, 512), (100, 512), (250, 512), (300, 512), (8192, 1024), (3, 512), (0, 512)] {
                let sizes = CaptureSizes::new(max_num_seqs, budget, limit);
                let list = captured(u64::from(max_num_seqs.saturating_mul(2).min(budget).min(limit)));
                assert_eq!(sizes.largest(), list.last().copied().unwrap_or(0));
                for tokens in 1..1100 {
                    assert_eq!(sizes.captured(tokens), list.last().is_some_and(|&largest| tokens <= largest));
                    let next = list.iter().copied().find(|size| *size >= tokens).unwrap_or(tokens);
                    assert_eq!(sizes.padded(tokens), next, "{tokens} of {max_num_seqs} {budget} {limit}");
                }
            }
        }
        assert_eq!(CaptureSizes::NONE.padded(3), 3);
        assert_eq!(CaptureSizes::new(1024, 8192, 512).padded(0), 0);
    }
}
