//! Fuzzes dumps of spans.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokentide_traces_fuzz::span_dump(data));
