//! Routed experts in block fp8 as vLLM 0.12 to 0.14 computes them by DeepGEMM: one product over the rows of all experts.
//!
//! Each expert's rows begin at a multiple of 128, and how many tokens it gets is not known when the step is launched, so there is
//! room for the worst split: 127 rows of padding an expert. The kernel does no arithmetic for rows that nobody filled, but loads
//! their tiles, which is what bounds it: a step of one token takes as long as thousands of rows, with any number of clients.
//!
//! Source: vLLM 0.12, `deep_gemm_moe.py`, `deep_gemm_utils.py` (`compute_aligned_M`) and `fp8.py`. It is what the engine picks by
//! itself since pull request 26197, no longer leaving small batches to Triton, except for experts in 8 slices and more (29346),
//! until it prefers other kernels (0.15).

use crate::deployment::{ACTIVATION_BYTES, Deployment, WeightDtype};
use crate::engine_defaults::EngineVersion;
use crate::gpu::{Gpu, elementwise_seconds};

/// Rows, inputs and outputs of a tile.
const BLOCK: u32 = 128;
/// Releases that compute experts so: from the first to before the second.
const RELEASES: [EngineVersion; 2] = [EngineVersion::new(0, 12), EngineVersion::new(0, 15)];
/// Slices of an expert from which on they are left to Triton.
const SLICES_MAX: u32 = 8;
/// Kernels beside the two products: choice of experts, quantisation, count of the experts' tokens, clearing of the rows' experts,
/// two that scatter tokens, activation, quantisation, gathering.
const SMALL_KERNELS: f64 = 9.0;

/// The experts of a layer on a rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaddedExperts {
    /// Experts that the rank holds.
    experts: u32,
    /// Ranks that the experts of the model are dealt out to.
    spread: u32,
    /// Experts of the model, and how many of them a token is routed to.
    total: u32,
    top_k: u32,
    hidden: u32,
    /// Width of an expert on the rank.
    inner: u32,
    /// Memory and level-2 cache [bytes/s].
    memory_bandwidth: f64,
    l2_bandwidth: f64,
}

impl PaddedExperts {
    /// Those of a deployment, if that is how its engine computes them, as far as it is known: the level-2 cache must have been
    /// measured.
    pub fn of(deployment: &Deployment) -> Option<PaddedExperts> {
        let [first, end] = RELEASES;
        let release = first <= deployment.engine_version && deployment.engine_version < end;
        if release { PaddedExperts::of_layout(deployment) } else { None }
    }

    /// [`PaddedExperts::of`] in whatever release.
    pub fn of_layout(deployment: &Deployment) -> Option<PaddedExperts> {
        let Deployment { model, gpu, .. } = deployment;
        let Gpu { memory_bandwidth, l2_bandwidth: Some(l2_bandwidth), .. } = *gpu else { return None };
        let moe = model.moe.as_ref().filter(|_| model.fp8_blocks && deployment.weights == WeightDtype::Fp8)?;
        let ranks = deployment.expert_ranks();
        let (slices, spread) = if deployment.expert_parallel { (1, ranks) } else { (ranks, 1) };
        let (experts, inner) = (moe.experts.div_ceil(spread), moe.intermediate / slices);
        let whole_blocks = inner.is_multiple_of(BLOCK) && model.hidden.is_multiple_of(BLOCK) && inner > 0;
        (whole_blocks && slices < SLICES_MAX).then_some(PaddedExperts {
            experts,
            spread,
            total: moe.experts,
            top_k: moe.top_k,
            hidden: model.hidden,
            inner,
            memory_bandwidth,
            l2_bandwidth,
        })
    }

    /// Rows of the products for `tokens` tokens of all data-parallel ranks: the padding, and their choices of the rank's experts.
    ///
    /// The engine makes room for the choices of other ranks' experts as well ([`PaddedExperts::workspace_bytes`]). They come
    /// last and are not counted here: prompts on ranks with whole experts take no longer than on ranks with slices (Qwen3-235B in
    /// 2 and 4 ranks, H200, vLLM 0.12; inferred).
    pub fn rows(&self, tokens: f64) -> f64 {
        self.padded(self.choices(tokens))
    }

    /// Choices of the rank's experts, on average.
    fn choices(&self, tokens: f64) -> f64 {
        tokens * f64::from(self.top_k) / f64::from(self.spread)
    }

    fn padded(&self, choices: f64) -> f64 {
        let (padding, block) = (f64::from(self.experts * (BLOCK - 1)), f64::from(BLOCK));
        ((choices + padding) / block).ceil() * block
    }

    /// Time of a layer, from the choice of experts to the sum of their outputs, for `tokens` tokens of all data-parallel ranks [s].
    ///
    /// Every tile of 128 x 128 outputs loads 128 rows of both operands from the level-2 cache; the experts chosen come from memory.
    pub fn seconds(&self, tokens: f64) -> f64 {
        let [hidden, inner] = [self.hidden, self.inner].map(f64::from);
        let (rows, weights) = (self.rows(tokens), 3.0 * hidden * inner);
        let tiles = rows / f64::from(BLOCK) * 2.0 * weights;
        let missed = (1.0 - f64::from(self.top_k) / f64::from(self.total)).powf(tokens);
        let read = f64::from(self.experts) * (1.0 - missed) * weights;
        let products = (tiles / self.l2_bandwidth).max(read / self.memory_bandwidth);
        // Gate and up are read, their product written, read again and written in fp8.
        let activation = rows * inner * (4.0 * ACTIVATION_BYTES + 1.0);
        // Tokens are quantised, their choices scattered in fp8, and the outputs gathered and summed.
        let moved = hidden * (tokens * (2.0 * ACTIVATION_BYTES + 1.0) + self.choices(tokens) * (2.0 + ACTIVATION_BYTES));
        products + elementwise_seconds(activation + moved, SMALL_KERNELS, self.memory_bandwidth)
    }

    /// Memory that the engine keeps for `tokens` tokens of all ranks: two buffers of all rows [bytes].
    pub fn workspace_bytes(&self, tokens: f64) -> u64 {
        let width = f64::from(self.hidden.max(2 * self.inner));
        (2.0 * self.padded(tokens * f64::from(self.top_k)) * width * ACTIVATION_BYTES) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;

    fn qwen(tensor_parallel: u32) -> Deployment {
        let (model, gpu) = (Architecture::find("qwen3-235b-a22b").unwrap(), Gpu::find("h200-sxm").unwrap());
        let engine_version = EngineVersion::new(0, 12);
        Deployment { weights: WeightDtype::Fp8, engine_version, ..Deployment::plain(model, gpu, tensor_parallel) }
    }

    #[test]
    fn rows_are_those_of_the_engine() {
        let sliced = PaddedExperts::of(&qwen(2)).unwrap();
        // 128 x 127 rows of padding and 8 choices, in blocks.
        assert_eq!([1.0, 16.0, 8192.0].map(|tokens| sliced.rows(tokens)), [16_384.0, 16_384.0, 81_792.0]);
        let whole = PaddedExperts::of(&Deployment { expert_parallel: true, ..qwen(4) }).unwrap();
        assert_eq!((whole.experts, whole.inner, whole.rows(1.0), whole.rows(8192.0)), (32, 1536, 4096.0, 20_480.0));
        assert_eq!(whole.workspace_bytes(8192.0), 2 * (8192 * 8 + 4096) * 4096 * 2);
        let ranks = PaddedExperts::of(&Deployment { data_parallel: 2, ..qwen(1) }).unwrap();
        assert_eq!((ranks.experts, ranks.inner), (128, 768));
    }

    /// The time hardly depends on the number of clients, and is that of loading the tiles: 128 blocks of rows, 12 and 32 of
    /// outputs, 256 rows of 4,096 and 768 bytes each, at 6.65 TB/s.
    #[test]
    fn one_token_takes_as_long_as_the_padding() {
        let experts = PaddedExperts::of(&qwen(2)).unwrap();
        let tiles = 128.0 * (12.0 * 4096.0 + 32.0 * 768.0) * 256.0 / 6.65e12;
        let one = experts.seconds(1.0);
        assert!((one - tiles - 27e-6 - 16_384.0 * 768.0 * 9.0 / 3.84e12).abs() < 1e-6, "{one} {tiles}");
        assert!(experts.seconds(32.0) / one < 1.03);
        assert!((4.0..6.0).contains(&(experts.seconds(8192.0) / one)));
        assert_eq!(experts.workspace_bytes(8192.0), 2 * 81_792 * 4096 * 2);
    }

    #[test]
    fn other_releases_formats_and_layouts_have_other_kernels() {
        let release = |minor| Deployment { engine_version: EngineVersion::new(0, minor), ..qwen(2) };
        assert_eq!(
            [11, 12, 14, 15, 24].map(|minor| PaddedExperts::of(&release(minor)).is_some()),
            [false, true, true, false, false]
        );
        assert!(PaddedExperts::of(&Deployment { weights: WeightDtype::Bf16, ..qwen(2) }).is_none());
        assert!(PaddedExperts::of(&Deployment { gpu: Gpu::find("b200").unwrap(), ..qwen(2) }).is_none());
        assert!(PaddedExperts::of(&qwen(8)).is_none());
        assert!(PaddedExperts::of(&Deployment { expert_parallel: true, ..qwen(8) }).is_some());
        let mixtral = Architecture::find("mixtral-8x7b").unwrap();
        assert!(PaddedExperts::of(&Deployment { model: mixtral, ..qwen(2) }).is_none());
    }
}
