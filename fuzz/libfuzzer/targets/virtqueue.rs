//! libFuzzer target: virtqueues.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| undercroft_fuzz::virtqueue::fuzz_one(data));
