//! What follows the LM head: the ranks' logits come together, and a token of the largest is picked for each sequence.

use crate::cost::Efficiency;
use crate::deployment::Deployment;
use crate::gpu::elementwise_seconds;

/// Bytes of a logit as the LM head writes it, and as it is compared.
const LOGIT_BYTES: f64 = 2.0;
const COMPARED_BYTES: f64 = 4.0;
/// Kernels: to the wider format, and the search.
const KERNELS: f64 = 2.0;

/// Seconds that the logits of `sequences` sequences take after the LM head, as vLLM treats them: gathered from the tensor-parallel
/// ranks, turned to 4 bytes, searched for the largest. Tokens drawn by a temperature, with penalties or the largest `p`, read them
/// several times more, which is not in it.
pub(super) fn sampling_seconds(deployment: &Deployment, efficiency: &Efficiency, sequences: f64) -> f64 {
    let logits = sequences * f64::from(deployment.model.vocab);
    let gathered = efficiency.exchange_seconds(deployment.tensor_parallel, logits * LOGIT_BYTES);
    let read = logits * (LOGIT_BYTES + 2.0 * COMPARED_BYTES);
    gathered + elementwise_seconds(read, KERNELS, deployment.gpu.memory_bandwidth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::testing::{h100, llama_8b, on};

    /// By hand: 64 x 128,256 logits of 10 bytes at 0.8 of 3.35 TB/s, two constants; over two ranks half of 2 bytes each crosses.
    #[test]
    fn logits_are_gathered_widened_and_searched() {
        let efficiency = Efficiency::of(&h100()).0;
        let us = |ranks, n: f64| sampling_seconds(&on(h100(), llama_8b(), ranks), &efficiency, n) * 1e6;
        let alone = 64.0 * 128_256.0 * 10.0 / (0.8 * h100().memory_bandwidth) * 1e6 + 6.0;
        assert!((us(1, 64.0) / alone - 1.0).abs() < 1e-12 && (30.0..40.0).contains(&alone), "{alone}");
        assert!(us(2, 64.0) > us(1, 64.0) + 20.0 && us(8, 64.0) > us(2, 64.0));
    }
}
