//! libFuzzer target: device registers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| undercroft_fuzz::device_registers::fuzz_one(data));
