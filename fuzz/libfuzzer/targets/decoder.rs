//! libFuzzer target: instruction bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| undercroft_fuzz::decoder::fuzz_one(data));
