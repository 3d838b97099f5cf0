//! A descriptor chain: the buffers of one request, after every rule about them was checked. VIRTIO 1.2, "Message Framing".

use crate::device::{Dma, DmaFault};
use serde::{Deserialize, Serialize};
use undercroft_spec::DmaAddr;

/// Why a queue cannot be served any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum RingFault {
    /// The ring, a table or a status byte is not in memory that the device may reach.
    #[error("memory of the queue at {0:#x} cannot be reached")]
    Unreachable(DmaAddr),
    /// The driver made more requests available than the queue has entries.
    #[error("available index {index} is more than {size} entries ahead of {next}")]
    AvailableIndex {
        /// The driver's index.
        index: u16,
        /// The device's index.
        next: u16,
        /// Entries of the queue.
        size: u16,
    },
    /// A descriptor names one that is not there.
    #[error("descriptor {index} is beyond the table of {entries}")]
    DescriptorIndex {
        /// The number.
        index: u32,
        /// Entries of the table.
        entries: u32,
    },
    /// A chain is longer than the table it lies in: it has a loop.
    #[error("the descriptor chain has a loop")]
    Loop,
    /// An indirect table that is empty, not a multiple of a descriptor, too long, nested, followed by another descriptor, or not negotiated.
    #[error("the indirect descriptor table is malformed")]
    Indirect,
    /// A buffer that is empty or wraps around the address space, or a device-readable buffer after a device-writable one.
    #[error("a buffer is empty, wraps around, or is out of order")]
    Buffer,
    /// The chain is too short for what the device's requests hold at least.
    #[error("the request is too short")]
    Request,
}

impl From<DmaFault> for RingFault {
    fn from(fault: DmaFault) -> Self {
        RingFault::Unreachable(fault.addr)
    }
}

/// A buffer: never empty, never wrapping around.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// Its first byte.
    pub addr: DmaAddr,
    /// Its bytes.
    pub len: u32,
}

/// The buffers of a request.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// Index of the first descriptor, by which the driver knows the request.
    pub head: u16,
    /// Buffers that the device reads.
    pub readable: Vec<Segment>,
    /// Buffers that the device writes.
    pub writable: Vec<Segment>,
}

impl Chain {
    /// Bytes that the device may read.
    pub fn readable_bytes(&self) -> u64 {
        self.readable.iter().map(|segment| u64::from(segment.len)).sum()
    }

    /// Bytes that the device may write.
    pub fn writable_bytes(&self) -> u64 {
        self.writable.iter().map(|segment| u64::from(segment.len)).sum()
    }

    /// Reads from `offset` of the device-readable bytes. False, with nothing promised about `data`, when there are not enough.
    pub fn read(&self, dma: &mut dyn Dma, offset: u64, data: &mut [u8]) -> Result<bool, DmaFault> {
        let mut done = 0;
        for (addr, bytes) in pieces(&self.readable, offset, data.len()) {
            dma.read(addr, &mut data[done..done + bytes])?;
            done += bytes;
        }
        Ok(done == data.len())
    }

    /// Writes to `offset` of the device-writable bytes. False when there is not enough room; what fits was written.
    pub fn write(&self, dma: &mut dyn Dma, offset: u64, data: &[u8]) -> Result<bool, DmaFault> {
        let mut done = 0;
        for (addr, bytes) in pieces(&self.writable, offset, data.len()) {
            dma.write(addr, &data[done..done + bytes])?;
            done += bytes;
        }
        Ok(done == data.len())
    }
}

/// The parts of `segments` that hold `bytes` bytes from `offset`.
fn pieces(segments: &[Segment], offset: u64, bytes: usize) -> impl Iterator<Item = (DmaAddr, usize)> + '_ {
    let mut skip = offset;
    let mut left = bytes;
    segments.iter().filter_map(move |segment| {
        let len = u64::from(segment.len);
        if skip >= len {
            skip -= len;
            return None;
        }
        let here = left.min((len - skip) as usize);
        let addr = segment.addr.wrapping_add(skip);
        skip = 0;
        left -= here;
        (here != 0).then_some((addr, here))
    })
}
