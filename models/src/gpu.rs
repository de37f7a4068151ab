//! GPUs: peak arithmetic, memory, links, power and price, each with its source.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::catalogue::{self, CatalogueError};

/// One GPU as a serving engine sees it. Rates are dense (no sparsity) peaks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Catalogue name, such as `h100-sxm`.
    pub name: String,
    /// The vendor's name.
    pub title: String,
    /// Memory the driver gives to a process [bytes].
    pub memory_bytes: u64,
    /// Memory bandwidth [bytes/s].
    pub memory_bandwidth: f64,
    /// bf16/fp16 tensor peak [FLOP/s].
    pub bf16_flops: f64,
    /// fp8 tensor peak [FLOP/s]; absent where the hardware has none.
    pub fp8_flops: Option<f64>,
    /// int8 tensor peak [op/s].
    pub int8_ops: Option<f64>,
    /// fp4 tensor peak [FLOP/s].
    pub fp4_flops: Option<f64>,
    /// Bandwidth to its peers in one node, one direction [bytes/s].
    pub link_bandwidth: f64,
    /// Level-2 cache [bytes]: working sets that fit it can beat the memory bandwidth.
    pub l2_bytes: u64,
    /// What the level-2 cache delivers, where it was measured [bytes/s].
    pub l2_bandwidth: Option<f64>,
    /// Board power [W].
    pub power_w: f64,
    /// On-demand price of one GPU [USD/h].
    pub price_per_hour: f64,
    /// Per field: where the number comes from, and when it was read.
    pub source: BTreeMap<String, String>,
}

/// Share of the memory bandwidth that element-wise kernels reach, and what each takes beside [s]. Source: AIConfigurator 0.12.0's
/// system files, for every GPU.
const ELEMENTWISE_BANDWIDTH: f64 = 0.8;
const ELEMENTWISE_S: f64 = 3e-6;

/// Time of `kernels` kernels that memory bounds, which read and write `bytes` in all, at a peak `memory_bandwidth` [bytes/s], [s].
pub fn elementwise_seconds(bytes: f64, kernels: f64, memory_bandwidth: f64) -> f64 {
    bytes / (ELEMENTWISE_BANDWIDTH * memory_bandwidth) + kernels * ELEMENTWISE_S
}

/// `data/gpus.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    aliases: BTreeMap<String, String>,
    gpu: Vec<Gpu>,
}

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    // The file is part of the program: the tests parse it, so the expectation cannot fail on a user's machine.
    CATALOGUE.get_or_init(|| toml::from_str(include_str!("../data/gpus.toml")).expect("data/gpus.toml is well formed"))
}

impl Gpu {
    /// All GPUs of the catalogue, in its order.
    pub fn all() -> &'static [Gpu] {
        &catalogue().gpu
    }

    /// The GPU of this name or alias (`h100`, `h200`, `a100`, ...), whatever the case.
    ///
    /// # Errors
    /// [`CatalogueError::Unknown`], with the nearest name and all known ones.
    pub fn find(name: &str) -> Result<Gpu, CatalogueError> {
        let Catalogue { aliases, gpu } = catalogue();
        let key = catalogue::key(name);
        let canonical = aliases.get(&key).unwrap_or(&key);
        gpu.iter().find(|gpu| gpu.name == *canonical).cloned().ok_or_else(|| {
            let aliases = aliases.iter().map(|(alias, name)| (alias.as_str(), name.as_str()));
            CatalogueError::unknown("GPU", name, gpu.iter().map(|gpu| gpu.name.as_str()), aliases)
        })
    }

    /// Checks the numbers of a GPU that a user described or changed.
    ///
    /// # Errors
    /// [`CatalogueError::Invalid`] for a rate or size that is zero, negative or not finite, and for a negative price.
    pub fn check(&self) -> Result<(), CatalogueError> {
        let positive = [
            ("memory_bytes", Some(self.memory_bytes as f64)),
            ("memory_bandwidth", Some(self.memory_bandwidth)),
            ("bf16_flops", Some(self.bf16_flops)),
            ("fp8_flops", self.fp8_flops),
            ("int8_ops", self.int8_ops),
            ("fp4_flops", self.fp4_flops),
            ("link_bandwidth", Some(self.link_bandwidth)),
            ("power_w", Some(self.power_w)),
        ];
        let invalid =
            |field, must, value: f64| CatalogueError::Invalid { name: self.name.clone(), field, must, value: value.to_string() };
        for (field, value) in positive {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return Err(invalid(field, "positive", value));
            }
        }
        match self.price_per_hour {
            price if price.is_finite() && price >= 0.0 => Ok(()),
            price => Err(invalid("price_per_hour", "zero or more", price)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_catalogue_has_a_source_and_makes_sense() {
        assert_eq!(Gpu::all().len(), 14);
        for gpu in Gpu::all() {
            gpu.check().unwrap();
            let optional = [
                ("fp8_flops", gpu.fp8_flops),
                ("int8_ops", gpu.int8_ops),
                ("fp4_flops", gpu.fp4_flops),
                ("l2_bandwidth", gpu.l2_bandwidth),
            ];
            let always =
                ["memory_bytes", "memory_bandwidth", "bf16_flops", "link_bandwidth", "l2_bytes", "power_w", "price_per_hour"];
            let given = optional.iter().filter(|(_, value)| value.is_some()).map(|(field, _)| *field);
            let mut fields: Vec<&str> = always.into_iter().chain(given).collect();
            fields.sort_unstable();
            assert_eq!(gpu.source.keys().map(String::as_str).collect::<Vec<_>>(), fields, "{}", gpu.name);
            assert!(gpu.source.values().all(|source| source.len() > 5), "{}", gpu.name);
            assert!(gpu.source["price_per_hour"].contains("unverified, 2026-11"), "{}", gpu.name);
            // Half the width, twice the rate, within the rounding of data sheets.
            for (_, rate) in &optional[..2] {
                let ratio = rate.map_or(2.0, |rate| rate / gpu.bf16_flops);
                assert!((1.9..=4.1).contains(&ratio), "{}: {ratio}", gpu.name);
            }
            assert!((0.1e12..10e12).contains(&gpu.memory_bandwidth) && gpu.memory_bytes > 20 << 30, "{}", gpu.name);
        }
    }

    #[test]
    fn peaks_are_the_dense_ones_of_the_reference() {
        let h100 = Gpu::find("h100-sxm").unwrap();
        assert_eq!((h100.bf16_flops, h100.fp8_flops, h100.memory_bandwidth), (989e12, Some(1978e12), 3.35e12));
        assert_eq!(Gpu::find("rtx-4090").unwrap().memory_bytes, 25_250_627_584);
        assert_eq!(Gpu::find("a100").unwrap().fp8_flops, None);
        // The sparse figure, 1,466, is a known trap.
        assert_eq!(Gpu::find("l40s").unwrap().fp8_flops, Some(733e12));
    }

    #[test]
    fn names_and_aliases_are_found() {
        for gpu in Gpu::all() {
            assert_eq!(Gpu::find(&gpu.name.to_uppercase()).unwrap().name, gpu.name);
        }
        for (alias, name) in &catalogue().aliases {
            assert_eq!(&Gpu::find(alias).unwrap().name, name);
        }
        for (alias, name) in [("H100", "h100-sxm"), ("h200", "h200-sxm"), ("a100", "a100-80gb"), ("b200", "b200")] {
            assert_eq!(Gpu::find(alias).unwrap().name, name);
        }
        let error = Gpu::find("h100-smx").unwrap_err().to_string();
        assert!(error.contains("did you mean `h100-sxm`") && error.contains("mi300x"), "{error}");
        assert!(Gpu::find("").is_err());
    }

    #[test]
    fn a_users_gpu_is_checked() {
        let mut gpu = Gpu::find("l4").unwrap();
        gpu.price_per_hour = 0.0;
        assert_eq!(gpu.check(), Ok(()));
        gpu.price_per_hour = f64::NAN;
        assert!(gpu.check().is_err());
        gpu.price_per_hour = 1.0;
        gpu.fp8_flops = Some(-1.0);
        assert_eq!(gpu.check().unwrap_err().to_string(), "l4: `fp8_flops` must be positive, not -1");
    }
}
