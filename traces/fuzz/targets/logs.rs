//! Fuzzes LiteLLM's and SGLang's logs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokentide_traces_fuzz::logs(data));
