//! Fuzzes any format, told by its content.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokentide_traces_fuzz::detected(data));
