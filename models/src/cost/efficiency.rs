//! How much of its peak a GPU reaches: measured constants, or those of a GPU that is alike.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::cost::work::Arithmetic;
use crate::gpu::Gpu;

const TEXT: &str = include_str!("../../data/efficiency.toml");

/// A matrix product of `m` rows and `n` outputs:
/// `max(FLOP / (peak * peak_fraction * m/(m + half_rows) * n/(n + half_outputs)), bytes / (HBM * bandwidth_fraction)) + launch`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GemmEfficiency {
    /// Share of the dense peak that large products reach.
    pub peak_fraction: f64,
    /// Rows at which half of that is reached.
    pub half_rows: f64,
    /// Outputs at which half of that is reached.
    #[serde(default)]
    pub half_outputs: f64,
    /// Share of the memory bandwidth that thin products reach.
    pub bandwidth_fraction: f64,
    /// Constant per product [us].
    pub launch_us: f64,
}

/// Attention kernels.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionEfficiency {
    /// Share of the dense bf16 peak that a very long prompt reaches.
    pub prefill_peak_fraction: f64,
    /// Prompt length at which half of that is reached [tokens].
    pub prefill_half_tokens: f64,
    /// Share of the memory bandwidth that reading the KV cache reaches.
    pub decode_bandwidth_fraction: f64,
    /// Constant per layer [us].
    pub decode_launch_us: f64,
}

/// A collective over some ranks: `alpha + f (n-1)/n * bytes / bus`, with `f = 2` for an all-reduce of `bytes`, 1 for an
/// all-gather to or a reduce-scatter from `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllReduce {
    /// Ranks.
    pub ranks: u32,
    /// Latency [us].
    pub alpha_us: f64,
    /// Bus bandwidth [GB/s].
    pub bus_gb_per_s: f64,
}

/// Constants of one GPU.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Efficiency {
    /// Where they were measured; for a GPU by analogy, which GPU was taken.
    pub source: String,
    /// Link that the all-reduce was measured on, one direction [bytes/s].
    pub link_bandwidth: f64,
    /// bf16 products.
    pub bf16: GemmEfficiency,
    /// fp8 products, taken for int8 as well; absent where the hardware has none.
    pub fp8: Option<GemmEfficiency>,
    /// fp4 products; absent where the hardware has none or they were not measured.
    #[serde(default)]
    pub fp4: Option<GemmEfficiency>,
    /// Grouped products of a mixture's experts in bf16: rows are those of one expert.
    pub experts: GemmEfficiency,
    /// The same with mxfp4 weights; absent where it was not measured.
    #[serde(default)]
    pub experts_mxfp4: Option<GemmEfficiency>,
    /// Attention.
    pub attention: AttentionEfficiency,
    /// All-reduce by ranks, ascending.
    pub all_reduce: Vec<AllReduce>,
    /// All-gather and reduce-scatter, which take the same time, by ranks, ascending.
    pub exchange: Vec<AllReduce>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gpu: BTreeMap<String, Efficiency>,
    analogy: BTreeMap<String, String>,
    /// All-reduce of GPUs of which nothing else was measured.
    all_reduce: BTreeMap<String, Vec<AllReduce>>,
    /// Exchange of the same.
    exchange: BTreeMap<String, Vec<AllReduce>>,
}

fn file() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| toml::from_str(TEXT).expect("efficiency.toml is part of the program and covered by a test"))
}

impl Efficiency {
    /// Constants measured on the GPU of this catalogue name, if they were.
    pub fn named(gpu: &str) -> Option<&'static Efficiency> {
        file().gpu.get(gpu)
    }

    /// Constants for a GPU and whether they were measured on it. Where they were not, they are those of the GPU named in
    /// `efficiency.toml` or, for a GPU it does not know, of the generation its arithmetic points to: fp4 B200, fp8 with HBM H100,
    /// fp8 without L40S, else A100.
    pub fn of(gpu: &Gpu) -> (Efficiency, bool) {
        if let Some(measured) = file().gpu.get(&gpu.name) {
            return (measured.clone(), true);
        }
        const HBM: f64 = 1.5e12;
        let by_generation = match (gpu.fp4_flops, gpu.fp8_flops) {
            (Some(_), _) if gpu.memory_bandwidth >= 2.0 * HBM => "b200",
            (_, Some(_)) if gpu.memory_bandwidth >= HBM && gpu.fp4_flops.is_none() => "h100-sxm",
            (_, Some(_)) => "l40s",
            _ => "a100-80gb",
        };
        let like = file().analogy.get(&gpu.name).map_or(by_generation, String::as_str);
        let measured = &file().gpu[like];
        let scale = gpu.link_bandwidth / measured.link_bandwidth;
        let scaled =
            |fits: &[AllReduce]| fits.iter().map(|a| AllReduce { bus_gb_per_s: a.bus_gb_per_s * scale, ..*a }).collect::<Vec<_>>();
        let all_reduce = file().all_reduce.get(&gpu.name).cloned().unwrap_or_else(|| scaled(&measured.all_reduce));
        let exchange = file().exchange.get(&gpu.name).cloned().unwrap_or_else(|| scaled(&measured.exchange));
        let source = format!("constants of {like}, taken for {} by analogy ({})", gpu.name, measured.source);
        (Efficiency { source, all_reduce, exchange, ..measured.clone() }, false)
    }

    /// Constants of products in some arithmetic.
    pub fn gemm(&self, arithmetic: Arithmetic) -> GemmEfficiency {
        match arithmetic {
            Arithmetic::Bf16 => self.bf16,
            Arithmetic::Fp8 | Arithmetic::Int8 => self.fp8.unwrap_or(self.bf16),
            Arithmetic::Fp4 => self.fp4.or(self.fp8).unwrap_or(self.bf16),
        }
    }

    /// Constants of a mixture's grouped products. mxfp4 weights were measured; other formats reach the bf16 share, scaled as the
    /// dense products of that format are.
    pub fn experts(&self, arithmetic: Arithmetic, weight_bytes: f64) -> GemmEfficiency {
        match self.experts_mxfp4 {
            Some(measured) if weight_bytes < 1.0 && arithmetic != Arithmetic::Fp4 => measured,
            _ => {
                let share = self.gemm(arithmetic).peak_fraction / self.bf16.peak_fraction;
                GemmEfficiency { peak_fraction: self.experts.peak_fraction * share, ..self.experts }
            }
        }
    }

    /// Seconds of an all-reduce of `bytes` over `ranks` GPUs: the fit of the smallest measured group that is not smaller, else of
    /// the largest.
    pub fn all_reduce_seconds(&self, ranks: u32, bytes: f64) -> f64 {
        collective_seconds(&self.all_reduce, ranks, 2.0 * bytes)
    }

    /// Seconds of an all-gather to `bytes` on each of `ranks` GPUs, or of a reduce-scatter of so much; the fit is chosen as for
    /// [`Efficiency::all_reduce_seconds`].
    pub fn exchange_seconds(&self, ranks: u32, bytes: f64) -> f64 {
        collective_seconds(&self.exchange, ranks, bytes)
    }
}

fn collective_seconds(fits: &[AllReduce], ranks: u32, bytes: f64) -> f64 {
    match fits.iter().find(|a| a.ranks >= ranks).or(fits.last()) {
        Some(fit) if ranks > 1 => {
            let n = f64::from(ranks);
            fit.alpha_us * 1e-6 + (n - 1.0) / n * bytes / (fit.bus_gb_per_s * 1e9)
        }
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::testing::{gpu, h100};

    #[test]
    fn the_shipped_file_is_sound() {
        assert_eq!(file().gpu.len(), 5);
        for (name, e) in &file().gpu {
            for gemm in [Some(e.bf16), e.fp8, e.fp4, Some(e.experts), e.experts_mxfp4].into_iter().flatten() {
                assert!((0.0..=1.0).contains(&gemm.peak_fraction) && gemm.peak_fraction > 0.15, "{name}");
                assert!((0.0..=1.0).contains(&gemm.bandwidth_fraction) && gemm.bandwidth_fraction > 0.5, "{name}");
                assert!(gemm.half_rows >= 0.0 && gemm.half_outputs >= 0.0 && (0.0..13.0).contains(&gemm.launch_us), "{name}");
            }
            assert!(e.attention.prefill_peak_fraction < 1.0 && e.attention.decode_bandwidth_fraction < 1.0, "{name}");
            for collective in [&e.all_reduce, &e.exchange] {
                assert_eq!(collective.iter().map(|a| a.ranks).collect::<Vec<_>>(), [2, 4, 8], "{name}");
            }
        }
        assert!(file().analogy.values().all(|like| file().gpu.contains_key(like)));
    }

    /// Measured on H100, vLLM 0.24: 4 ranks, 8 KiB 4.8 us, 16 MiB 99 us. The fit is off by 9 % on average.
    #[test]
    fn all_reduce_is_near_the_measured_times() {
        let (e, measured) = Efficiency::of(&h100());
        assert!(measured);
        assert!((e.all_reduce_seconds(4, 8192.0) / 4.8e-6 - 1.0).abs() < 0.05);
        assert!((e.all_reduce_seconds(4, f64::from(16 << 20)) / 98.8e-6 - 1.0).abs() < 0.1);
        assert_eq!(e.all_reduce_seconds(1, 1e6), 0.0);
    }

    /// Measured with NCCL 2.29.2, all-gather and reduce-scatter to and from 1 MiB: H100, 2 ranks, 11.3 and 10.7 us; 8 ranks,
    /// 17.1 and 14.6 us; RTX PRO 6000, 2 ranks, both 31.2 us.
    #[test]
    fn exchange_is_near_the_measured_times() {
        let (e, _) = Efficiency::of(&h100());
        assert!((e.exchange_seconds(2, f64::from(1 << 20)) / 11.0e-6 - 1.0).abs() < 0.25);
        assert!((e.exchange_seconds(8, f64::from(1 << 20)) / 15.9e-6 - 1.0).abs() < 0.1);
        assert_eq!(e.exchange_seconds(1, 1e6), 0.0);
        let (e, _) = Efficiency::of(&gpu("rtx-pro-6000", 1.792e12, 467.8e12, Some(935.6e12)));
        assert!((e.exchange_seconds(2, f64::from(1 << 20)) / 31.2e-6 - 1.0).abs() < 0.25);
    }

    #[test]
    fn unknown_gpus_take_their_generation() {
        let (e, measured) = Efficiency::of(&gpu("h999", 5e12, 2e15, Some(4e15)));
        assert!(!measured && e.source.contains("h100-sxm"), "{}", e.source);
        let (e, _) = Efficiency::of(&gpu("v100", 0.9e12, 125e12, None));
        assert!(e.source.contains("a100-80gb") && e.fp8.is_none());
        let (e, _) = Efficiency::of(&gpu("rtx-4090", 1.0e12, 165e12, Some(330e12)));
        assert!(e.source.contains("l40s"));
    }
}
