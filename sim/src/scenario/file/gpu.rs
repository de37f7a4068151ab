//! `[gpu]`

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use crate::scenario::at::At;

/// The GPU, and how many of them hold one replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuFile {
    /// Catalogue name, such as "h100-sxm"; with `custom`, any other name.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// Tensor-parallel ranks of a replica; 1 by default.
    #[schemars(range(min = 1))]
    pub tensor_parallel: Option<At<u32>>,
    /// Pipeline stages of a replica; 1 by default.
    #[schemars(range(min = 1))]
    pub pipeline_parallel: Option<At<u32>>,
    /// Data-parallel ranks of a replica, engine cores with a scheduler and a KV cache each; 1 by default.
    #[schemars(range(min = 1))]
    pub data_parallel: Option<At<u32>>,
    /// Whether whole experts are spread over the tensor- and data-parallel ranks; false by default.
    pub expert_parallel: Option<At<bool>>,
    /// Price of one GPU [USD/h]; the catalogue's by default.
    #[schemars(range(min = 0))]
    pub price_per_hour: Option<At<f64>>,
    /// Memory of one GPU as the driver gives it, such as "79.2GiB"; the catalogue's by default, needed with `custom`.
    pub memory: Option<At<Bytes>>,
    /// Peaks of an accelerator that the catalogue lacks.
    pub custom: Option<At<CustomGpuFile>>,
}

/// Peaks of an accelerator that the catalogue lacks: what decides the roofline, and the floor below which no profile may be.
#[derive(Clone, Debug, PartialEq, Serialize, DeriveDeserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomGpuFile {
    /// Memory bandwidth [GB/s].
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub memory_gb_per_s: At<f64>,
    /// Dense bf16 peak [TFLOP/s].
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub bf16_tflops: At<f64>,
    /// Dense fp8 peak [TFLOP/s]; it has no fp8 arithmetic by default.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub fp8_tflops: Option<At<f64>>,
    /// Bandwidth to its peers in one node, one direction [GB/s]; 32 by default, PCIe 4.0 x16.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub link_gb_per_s: Option<At<f64>>,
    /// Last-level cache [MB]; 0 by default.
    #[schemars(range(min = 0))]
    pub cache_mb: Option<At<f64>>,
}

/// An amount of memory, such as "80GB" or "79.2GiB".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bytes(pub u64);

/// Parses an amount of memory. Units: B, MB, GB, TB (powers of 1000) and MiB, GiB, TiB (powers of 1024).
fn parse_bytes(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let number_end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(number_end);
    let factor = match unit.trim() {
        "B" => 1.0,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "MiB" => 1048576.0,
        "GiB" => 1073741824.0,
        "TiB" => 1099511627776.0,
        _ => return Err(format!("\"{text}\" is not an amount of memory: expected a number with MiB, GiB, TiB, MB, GB or TB")),
    };
    let value: f64 = number.parse().map_err(|_| format!("\"{number}\" is not a number"))?;
    let bytes = value * factor;
    if (1e6..=1e15).contains(&bytes) { Ok(bytes.round() as u64) } else { Err(format!("\"{text}\" is not a GPU's memory")) }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        parse_bytes(&text).map(Bytes).map_err(D::Error::custom)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An amount of memory: a number with MiB, GiB, TiB, MB, GB or TB.",
            "pattern": r"^\s*[0-9][0-9.]*\s*(B|MB|GB|TB|MiB|GiB|TiB)\s*$",
            "examples": ["80GB", "79.2GiB"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_units() {
        assert_eq!(parse_bytes("80GB"), Ok(80_000_000_000));
        assert_eq!(parse_bytes("79.5 GiB"), Ok(85_362_475_008));
        for wrong in ["80", "80gb", "GiB", "0GiB", "1.2.3GB", "-1GB", "9000TB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
