//! Fuzzes LLMServingSim's requests and sessions.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokentide_traces_fuzz::llmservingsim(data));
