//! Fuzzes AIPerf's results.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokentide_traces_fuzz::aiperf_export(data));
