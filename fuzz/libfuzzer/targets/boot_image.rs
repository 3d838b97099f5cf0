//! libFuzzer target: boot images.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| undercroft_fuzz::boot_image::fuzz_one(data));
