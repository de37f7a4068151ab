//! Fuzzes `vllm bench serve`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokentide_traces_fuzz::vllm_bench(data));
