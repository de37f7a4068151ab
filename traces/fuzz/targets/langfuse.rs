//! Fuzzes Langfuse observations.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokentide_traces_fuzz::langfuse(data));
