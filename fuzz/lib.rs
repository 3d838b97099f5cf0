//! The boundaries at which hostile bytes come in, each as one function `fuzz_one(data)`: it must return for every `data`, and panics
//! where a promise of the code under test does not hold.
//!
//! The same functions serve two drivers: the libFuzzer targets in `libfuzzer/` (a workspace of its own, since they need a nightly
//! compiler's coverage), and [`run_cases`] over a seeded sequence, which runs with all other tests.

pub mod decoder;
pub mod input;
mod sequence;

pub use sequence::{Seeds, run_cases};

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of each boundary. Small enough for every run of the tests; a fuzzer does the rest.
    const CASES: u32 = 10_000;

    #[test]
    fn decoder_hostile_bytes_keep_its_promises() {
        run_cases(CASES, 48, &decoder::seeds(), decoder::fuzz_one);
    }
}
