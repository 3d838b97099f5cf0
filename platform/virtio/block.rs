//! The block device. VIRTIO 1.2, "Block Device".

use super::chain::{Chain, RingFault};
use super::transport::VirtioDevice;
use crate::backend::{Disk, DiskMode};
use crate::device::Dma;
use serde::{Deserialize, Serialize};
use undercroft_spec::pci::class;
use undercroft_spec::pci::virtio::{self, block};

/// Entries of the queue.
const QUEUE_SIZE: u16 = 256;
/// Most data buffers of a request: the queue less the header's and the status's.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;
/// Largest data buffer in bytes.
const SIZE_MAX: u32 = 64 * 1024;
/// Most data bytes of a request. A driver that keeps to the limits above stays below.
const MOST_BYTES: u64 = 32 << 20;
/// Most sectors of a discard or write zeroes request.
const MAX_ZEROES_SECTORS: u32 = 32 << 11;
/// Bytes that are moved at a time.
const CHUNK_BYTES: u64 = 64 * 1024;

/// What distinguishes a block device from others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockConfig {
    /// Identification string, of which the first 20 bytes count.
    pub id: String,
}

/// A block device. Its capacity is the disk's, in whole sectors; it is read-only when the disk is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Block {
    // Configuration.
    id: [u8; block::ID_BYTES],
    // State.
    /// The disk. Its image is to be attached again after a restore.
    pub disk: Disk,
}

/// Why a request fails. "Device Operation".
enum Failure {
    /// VIRTIO_BLK_S_IOERR.
    Device,
    /// VIRTIO_BLK_S_UNSUPP.
    Unsupported,
}

impl Block {
    /// A block device for a disk.
    pub fn new(disk: Disk, config: &BlockConfig) -> Self {
        let mut id = [0; block::ID_BYTES];
        for (byte, from) in id.iter_mut().zip(config.id.bytes()) {
            *byte = from;
        }
        Block { id, disk }
    }

    fn capacity(&self) -> u64 {
        self.disk.bytes() / block::SECTOR_BYTES
    }

    /// Carries a request out and gives the data bytes that were written into it.
    fn execute(&mut self, kind: u32, sector: u64, chain: &Chain, dma: &mut dyn Dma) -> Result<u64, Failure> {
        let outward = chain.readable_bytes().saturating_sub(block::HEADER_BYTES as u64);
        let inward = chain.writable_bytes().saturating_sub(1);
        match kind {
            block::T_IN => self.read(sector, inward, chain, dma),
            block::T_OUT => self.write(sector, outward, chain, dma),
            block::T_FLUSH => self.disk.flush().map(|()| 0).map_err(|_| Failure::Device),
            block::T_GET_ID => {
                let bytes = inward.min(self.id.len() as u64);
                let id = &self.id[..bytes as usize];
                chain.write(dma, 0, id).map(|_| bytes).map_err(|_| Failure::Device)
            }
            block::T_DISCARD | block::T_WRITE_ZEROES => self.zero(kind, outward, chain, dma),
            _ => Err(Failure::Unsupported),
        }
    }

    /// The place on the disk of `bytes` bytes from `sector`: whole sectors within the capacity, and not too many.
    fn locate(&self, sector: u64, bytes: u64) -> Result<u64, Failure> {
        let end = sector.checked_add(bytes / block::SECTOR_BYTES);
        let is_within = end.is_some_and(|end| end <= self.capacity());
        if !is_within || !bytes.is_multiple_of(block::SECTOR_BYTES) || bytes > MOST_BYTES {
            return Err(Failure::Device);
        }
        Ok(sector * block::SECTOR_BYTES)
    }

    fn read(&mut self, sector: u64, bytes: u64, chain: &Chain, dma: &mut dyn Dma) -> Result<u64, Failure> {
        let base = self.locate(sector, bytes)?;
        let mut buffer = vec![0; bytes.min(CHUNK_BYTES) as usize];
        for (offset, part) in chunks(bytes) {
            let data = &mut buffer[..part];
            self.disk.read_at(base + offset, data).map_err(|_| Failure::Device)?;
            chain.write(dma, offset, data).map_err(|_| Failure::Device)?;
        }
        Ok(bytes)
    }

    fn write(&mut self, sector: u64, bytes: u64, chain: &Chain, dma: &mut dyn Dma) -> Result<u64, Failure> {
        let base = self.locate(sector, bytes)?;
        let mut buffer = vec![0; bytes.min(CHUNK_BYTES) as usize];
        for (offset, part) in chunks(bytes) {
            let data = &mut buffer[..part];
            chain.read(dma, block::HEADER_BYTES as u64 + offset, data).map_err(|_| Failure::Device)?;
            self.disk.write_at(base + offset, data).map_err(|_| Failure::Device)?;
        }
        Ok(0)
    }

    /// Discard and write zeroes, of one segment (max_discard_seg and max_write_zeroes_seg are 1). A discarded range reads as zero.
    fn zero(&mut self, kind: u32, bytes: u64, chain: &Chain, dma: &mut dyn Dma) -> Result<u64, Failure> {
        if self.disk.mode() == DiskMode::ReadOnly || bytes != block::SEGMENT_BYTES as u64 {
            return Err(Failure::Device);
        }
        let mut raw = [0; block::SEGMENT_BYTES];
        chain.read(dma, block::HEADER_BYTES as u64, &mut raw).map_err(|_| Failure::Device)?;
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, f0, f1, f2, f3] = raw;
        let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
        let flags = u32::from_le_bytes([f0, f1, f2, f3]);
        let allowed = if kind == block::T_WRITE_ZEROES { block::SEGMENT_UNMAP } else { 0 };
        if flags & !allowed != 0 {
            return Err(Failure::Unsupported);
        }
        if sectors > MAX_ZEROES_SECTORS {
            return Err(Failure::Device);
        }
        let bytes = u64::from(sectors) * block::SECTOR_BYTES;
        let base = self.locate(sector, bytes)?;
        self.disk.write_zeroes_at(base, bytes).map(|()| 0).map_err(|_| Failure::Device)
    }
}

impl VirtioDevice for Block {
    const DEVICE_ID: u16 = virtio::DEVICE_BLOCK;
    const CLASS: u32 = class::STORAGE_OTHER;
    const QUEUE_SIZES: &'static [u16] = &[QUEUE_SIZE];

    fn features(&self) -> u64 {
        let changes = match self.disk.mode() {
            DiskMode::ReadOnly => block::F_RO,
            DiskMode::Overlay | DiskMode::WriteThrough => block::F_DISCARD | block::F_WRITE_ZEROES,
        };
        block::F_SIZE_MAX | block::F_SEG_MAX | block::F_BLK_SIZE | block::F_FLUSH | changes
    }

    fn device_config(&self) -> Vec<u8> {
        let mut config = vec![0; block::CONFIG_BYTES];
        let mut put = |at: usize, value: u32| config[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(block::CAPACITY, self.capacity() as u32);
        put(block::CAPACITY + 4, (self.capacity() >> 32) as u32);
        put(block::SIZE_MAX, SIZE_MAX);
        put(block::SEG_MAX, SEG_MAX);
        put(block::BLK_SIZE, block::SECTOR_BYTES as u32);
        if self.disk.mode() != DiskMode::ReadOnly {
            put(block::MAX_DISCARD_SECTORS, MAX_ZEROES_SECTORS);
            put(block::MAX_DISCARD_SEG, 1);
            put(block::DISCARD_SECTOR_ALIGNMENT, 1);
            put(block::MAX_WRITE_ZEROES_SECTORS, MAX_ZEROES_SECTORS);
            put(block::MAX_WRITE_ZEROES_SEG, 1);
            put(block::WRITE_ZEROES_MAY_UNMAP, 1);
        }
        config
    }

    fn serve(&mut self, _queue: u16, chain: &Chain, dma: &mut dyn Dma) -> Result<u32, RingFault> {
        let mut header = [0; block::HEADER_BYTES];
        let Some(status_at) = chain.writable_bytes().checked_sub(1) else { return Err(RingFault::Request) };
        if !chain.read(dma, 0, &mut header)? {
            return Err(RingFault::Request);
        }
        let [k0, k1, k2, k3, _, _, _, _, s0, s1, s2, s3, s4, s5, s6, s7] = header;
        let kind = u32::from_le_bytes([k0, k1, k2, k3]);
        let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let (status, data) = match self.execute(kind, sector, chain, dma) {
            Ok(data) => (block::S_OK, data),
            Err(Failure::Device) => (block::S_IOERR, 0),
            Err(Failure::Unsupported) => (block::S_UNSUPP, 0),
        };
        chain.write(dma, status_at, &[status])?;
        // The bytes that are written without a gap from the first on: the status counts when it follows them directly.
        let written = if data == status_at { data + 1 } else { data };
        Ok(u32::try_from(written).unwrap_or(u32::MAX))
    }

    fn reset(&mut self) {
        // What was written stays written over a reset of the machine.
    }
}

/// Offsets and lengths that cover `bytes` in pieces.
fn chunks(bytes: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..bytes.div_ceil(CHUNK_BYTES)).map(move |index| {
        let offset = index * CHUNK_BYTES;
        (offset, (bytes - offset).min(CHUNK_BYTES) as usize)
    })
}
