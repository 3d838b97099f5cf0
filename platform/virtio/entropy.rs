//! The entropy source. VIRTIO 1.2, "Entropy Device".
//!
//! Its bytes come from a generator that is part of the machine's state, so that runs repeat. They are well distributed and not secret.

use super::chain::{Chain, RingFault};
use super::transport::VirtioDevice;
use crate::device::Dma;
use serde::{Deserialize, Serialize};
use undercroft_spec::pci::{class, virtio};

/// Most bytes that one request gets.
const MOST_BYTES: u64 = 4096;

/// An entropy source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entropy {
    // Configuration.
    seed: u64,
    // State.
    counter: u64,
}

impl Entropy {
    /// A source whose bytes are a function of `seed` alone.
    pub fn new(seed: u64) -> Self {
        Entropy { seed, counter: seed }
    }

    /// The next eight bytes: a Weyl sequence through a mixing function (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
    /// Generators").
    fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.counter;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl VirtioDevice for Entropy {
    const DEVICE_ID: u16 = virtio::DEVICE_ENTROPY;
    const CLASS: u32 = class::ENCRYPTION_OTHER;
    const QUEUE_SIZES: &'static [u16] = &[64];

    fn serve(&mut self, _queue: u16, chain: &Chain, dma: &mut dyn Dma) -> Result<u32, RingFault> {
        let bytes = chain.writable_bytes().min(MOST_BYTES);
        if bytes == 0 {
            return Err(RingFault::Request);
        }
        let mut data = Vec::with_capacity(bytes as usize + 8);
        while (data.len() as u64) < bytes {
            data.extend_from_slice(&self.next().to_le_bytes());
        }
        data.truncate(bytes as usize);
        chain.write(dma, 0, &data)?;
        Ok(bytes as u32)
    }

    fn reset(&mut self) {
        let Entropy { seed, counter } = self;
        *counter = *seed;
    }
}
