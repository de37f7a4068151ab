//! Fuzzes GuideLLM's reports.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokentide_traces_fuzz::guidellm(data));
