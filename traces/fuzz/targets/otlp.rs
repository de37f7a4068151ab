//! Fuzzes OTLP spans.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokentide_traces_fuzz::otlp(data));
