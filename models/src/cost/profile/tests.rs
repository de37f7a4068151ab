//! Tests of profiles, and one to test with.

use super::*;
use crate::cost::testing::{h100, llama_8b, on};

/// A sound profile near the H100's, with round numbers.
pub(crate) const EXAMPLE: &str = r#"
schema = 1
name = "example"
kind = "calibrated"
gpu = "h100-sxm"
model = "llama-3.1-8b"
weights = "bf16"
kv = "bf16"
tensor_parallel = 1
engine = "vllm"
engine_version = "0.24.0"
date = "2026-01-31"
source = "made up"
licence = "CC0"
attribution = ""
ranges = { decodes_max = 512, context_max = 32768, prefill_tokens_max = 8192 }

[errors]
decode = { points = 10, mean_percent = 1.25, p95_percent = 3.0, worst_percent = 4.0 }
prefill = { points = 10, mean_percent = 2.0, p95_percent = 3.0, worst_percent = 5.0 }

[nonattention]
tokens = [1, 256, 8192]
ms = [5.75, 8.0, 170.0]

[decode_attention]
sequences = [1, 64, 512]
fixed_ms = [0.4, 1.0, 1.0]
ms_per_context_token = [5e-5, 4.2e-5, 4.2e-5]

[prefill_attention]
ms_per_step = 0.5
ms_per_token = 1e-4
ms_per_pair = 8e-7
ms_per_history_token = 4.2e-5
"#;

pub(crate) fn calibrated_profile() -> Profile {
    Profile::parse("example", EXAMPLE).unwrap()
}

pub(crate) fn on_profile() -> Deployment {
    on(h100(), llama_8b(), 1)
}

fn error(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from));
    Profile::parse("example", &EXAMPLE.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn survives_a_round_trip() {
    let profile = calibrated_profile();
    assert_eq!(Profile::parse("again", &profile.to_toml().unwrap()).unwrap(), profile);
    assert_eq!(profile.error_line(), "decode 1.2 % mean, 4.0 % worst; prefill 2.0 % mean, 5.0 % worst");
}

#[test]
fn errors_name_the_key() {
    for (from, to, expected) in [
        ("engine = \"vllm\"\n", "", "missing field `engine`"),
        ("engine = \"vllm\"", "engin = \"vllm\"", "unknown field `engin`"),
        ("schema = 1", "schema = 2", "schema = 2"),
        ("ms_per_pair = 8e-7", "ms_per_pair = -8e-7", "prefill_attention holds -0.0000008"),
        ("ms_per_pair = 8e-7", "ms_per_pair = nan", "prefill_attention holds NaN"),
        ("ms = [5.75, 8.0, 170.0]", "ms = [5.75, 8.0, inf]", "nonattention.ms holds inf"),
        ("ms = [5.75, 8.0, 170.0]", "ms = [8.75, 8.0, 170.0]", "nonattention.ms falls from 8.75 to 8 between 1 and 256 tokens"),
        ("ms = [5.75, 8.0, 170.0]", "ms = [5.75, 170.0]", "tokens has 3 values, ms 2"),
        ("tokens = [1, 256, 8192]", "tokens = [1, 256, 256]", "must increase strictly: 256 is followed by 256"),
        ("tokens = [1, 256, 8192]", "tokens = [0, 256, 8192]", "must begin with 1 or more, not 0"),
        ("fixed_ms = [0.4, 1.0, 1.0]", "fixed_ms = [1.4, 1.0, 1.0]", "decode_attention.fixed_ms falls"),
        ("[5e-5, 4.2e-5, 4.2e-5]", "[5e-5, 4.2e-5, 4e-7]", "* sequences falls"),
        ("kind = \"calibrated\"", "kind = \"table\"", "decode_attention does not belong"),
        ("kind = \"calibrated\"", "kind = \"guess\"", "unknown variant `guess`"),
        ("name = \"example\"", "name = \" \"", "name must not be empty"),
    ] {
        let message = error(from, to);
        assert!(message.contains(expected), "{to}: {message}");
    }
    let without = EXAMPLE.split("[prefill_attention]").next().unwrap();
    assert!(Profile::parse("x", without).unwrap_err().to_string().contains("missing field `prefill_attention`"));
    assert!(Profile::parse("x", "schema = ").unwrap_err().to_string().contains("line 1"));
}

#[test]
fn names_say_what_the_profile_is_for() {
    assert_eq!(profile_name("h100-sxm", "llama-3.1-8b", "bf16", "bf16", 1), "h100-sxm_llama-3.1-8b_bf16_tp1");
    assert_eq!(profile_name("b200", "m", "fp8", "fp8", 4), "b200_m_fp8_kv-fp8_tp4");
}
