//! The boundaries at which hostile bytes come in, each as one function `fuzz_one(data)`: it must return for every `data`, and panics
//! where a promise of the code under test does not hold.
//!
//! The same functions serve two drivers: the libFuzzer targets in `libfuzzer/` (a workspace of its own, since they need a nightly
//! compiler's coverage), and [`run_cases`] over a seeded sequence, which runs with all other tests.

pub mod boot_image;
pub mod decoder;
pub mod device_registers;
pub mod input;
pub mod memory;
mod sequence;
pub mod virtqueue;

pub use sequence::{Seeds, run_cases};

/// A boundary, for the drivers.
pub struct Boundary {
    /// Its name, which is its module's.
    pub name: &'static str,
    /// Bytes of a case made from nothing, at most.
    pub longest: usize,
    /// Samples to begin with.
    pub seeds: fn() -> Seeds,
    /// Returns for every data, and panics where a promise does not hold.
    pub fuzz_one: fn(&[u8]),
}

/// All boundaries.
pub const BOUNDARIES: &[Boundary] = &[
    Boundary { name: "boot_image", longest: 600, seeds: boot_image::seeds, fuzz_one: boot_image::fuzz_one },
    Boundary { name: "decoder", longest: 48, seeds: decoder::seeds, fuzz_one: decoder::fuzz_one },
    Boundary {
        name: "device_registers",
        longest: 300,
        seeds: device_registers::seeds,
        fuzz_one: device_registers::fuzz_one,
    },
    Boundary { name: "virtqueue", longest: 300, seeds: virtqueue::seeds, fuzz_one: virtqueue::fuzz_one },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of each boundary. Small enough for every run of the tests; a fuzzer does the rest.
    const CASES: u32 = 10_000;

    fn run(name: &str) {
        let boundary = BOUNDARIES.iter().find(|boundary| boundary.name == name).expect("a boundary");
        run_cases(CASES, boundary.longest, &(boundary.seeds)(), boundary.fuzz_one);
    }

    #[test]
    fn decoder_hostile_bytes_keep_its_promises() {
        run("decoder");
    }

    #[test]
    fn device_registers_hostile_accesses_keep_time_and_bounds() {
        run("device_registers");
    }

    #[test]
    fn boot_image_hostile_header_writes_usable_ram_only() {
        run("boot_image");
    }

    #[test]
    fn virtqueue_hostile_driver_keeps_time_and_bounds() {
        run("virtqueue");
    }
}
