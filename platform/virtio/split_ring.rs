//! A split virtqueue, from the device's side. VIRTIO 1.2, "Split Virtqueues".

use super::chain::{Chain, RingFault, Segment};
use crate::device::{Dma, DmaFault};
use serde::{Deserialize, Serialize};
use undercroft_spec::DmaAddr;
use undercroft_spec::pci::virtio::{feature, split};

/// Most descriptors of an indirect table that the device takes.
pub const MAX_INDIRECT: u32 = 1024;

/// A queue that the driver has set up, and how far the device has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SplitRing {
    /// Entries: a power of two.
    pub size: u16,
    /// Address of the descriptor area.
    pub desc: u64,
    /// Address of the driver area: the available ring.
    pub driver: u64,
    /// Address of the device area: the used ring.
    pub device: u64,
    next_avail: u16,
    next_used: u16,
}

/// Whether the driver wants to know of a used buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notification {
    /// It does.
    Wanted,
    /// It does not.
    Suppressed,
}

struct Descriptor {
    segment: Segment,
    flags: u16,
    next: u16,
}

/// A descriptor table and how many of its entries the walk may still visit: a longer walk has a loop.
struct Table {
    addr: DmaAddr,
    entries: u32,
    left: u32,
}

impl SplitRing {
    /// A queue of `size` entries that nothing was taken from.
    pub fn new(size: u16) -> Self {
        SplitRing { size, desc: 0, driver: 0, device: 0, next_avail: 0, next_used: 0 }
    }

    /// Takes the next available request, if there is one. With VIRTIO_F_EVENT_IDX an empty ring asks for a notification of the next.
    pub fn pop(&mut self, dma: &mut dyn Dma, features: u64) -> Result<Option<Chain>, RingFault> {
        let index = read_u16(dma, self.driver_at(split::RING_IDX))?;
        let waiting = index.wrapping_sub(self.next_avail);
        if waiting == 0 {
            if features & feature::RING_EVENT_IDX != 0 {
                let avail_event = split::RING_ENTRIES + split::USED_ENTRY_BYTES * u64::from(self.size);
                dma.write(self.device_at(avail_event), &self.next_avail.to_le_bytes())?;
            }
            return Ok(None);
        }
        if waiting > self.size || self.size == 0 {
            return Err(RingFault::AvailableIndex { index, next: self.next_avail, size: self.size });
        }
        let slot = u64::from(self.next_avail % self.size);
        let head = read_u16(dma, self.driver_at(split::RING_ENTRIES + split::AVAIL_ENTRY_BYTES * slot))?;
        let chain = self.walk(dma, head, features)?;
        self.next_avail = self.next_avail.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Gives a request back, with the number of bytes that were written into it, and tells whether the driver wants to know.
    pub fn push(
        &mut self,
        dma: &mut dyn Dma,
        features: u64,
        head: u16,
        written: u32,
    ) -> Result<Notification, RingFault> {
        let mut entry = [0; split::USED_ENTRY_BYTES as usize];
        entry[..4].copy_from_slice(&u32::from(head).to_le_bytes());
        entry[4..].copy_from_slice(&written.to_le_bytes());
        let slot = u64::from(self.next_used.checked_rem(self.size).unwrap_or(0));
        dma.write(self.device_at(split::RING_ENTRIES + split::USED_ENTRY_BYTES * slot), &entry)?;
        let old = self.next_used;
        self.next_used = old.wrapping_add(1);
        dma.write(self.device_at(split::RING_IDX), &self.next_used.to_le_bytes())?;
        // "Used Buffer Notification Suppression". One buffer at a time: the event is crossed exactly when it is this one.
        let wanted = if features & feature::RING_EVENT_IDX != 0 {
            let used_event = split::RING_ENTRIES + split::AVAIL_ENTRY_BYTES * u64::from(self.size);
            read_u16(dma, self.driver_at(used_event))? == old
        } else {
            read_u16(dma, self.driver_at(0))? & split::AVAIL_NO_INTERRUPT == 0
        };
        Ok(if wanted { Notification::Wanted } else { Notification::Suppressed })
    }

    /// Collects the chain that begins at `head`. "The Virtqueue Descriptor Table", "Indirect Descriptors".
    fn walk(&self, dma: &mut dyn Dma, head: u16, features: u64) -> Result<Chain, RingFault> {
        let mut chain = Chain { head, ..Chain::default() };
        let mut table = Table { addr: DmaAddr(self.desc), entries: u32::from(self.size), left: u32::from(self.size) };
        let mut index = head;
        let mut is_indirect = false;
        loop {
            let descriptor = table.fetch(dma, index)?;
            if descriptor.flags & split::INDIRECT != 0 {
                let entries = descriptor.segment.len / split::DESCRIPTOR_BYTES as u32;
                let is_whole = descriptor.segment.len.is_multiple_of(split::DESCRIPTOR_BYTES as u32);
                let is_allowed =
                    features & feature::RING_INDIRECT_DESC != 0 && !is_indirect && descriptor.flags & split::NEXT == 0;
                if !is_allowed || !is_whole || !(1..=MAX_INDIRECT).contains(&entries) {
                    return Err(RingFault::Indirect);
                }
                table = Table { addr: descriptor.segment.addr, entries, left: entries };
                index = 0;
                is_indirect = true;
                continue;
            }
            chain.append(&descriptor)?;
            if descriptor.flags & split::NEXT == 0 {
                return Ok(chain);
            }
            index = descriptor.next;
        }
    }

    fn driver_at(&self, offset: u64) -> DmaAddr {
        DmaAddr(self.driver).wrapping_add(offset)
    }

    fn device_at(&self, offset: u64) -> DmaAddr {
        DmaAddr(self.device).wrapping_add(offset)
    }
}

impl Table {
    fn fetch(&mut self, dma: &mut dyn Dma, index: u16) -> Result<Descriptor, RingFault> {
        if u32::from(index) >= self.entries {
            return Err(RingFault::DescriptorIndex { index: u32::from(index), entries: self.entries });
        }
        self.left = self.left.checked_sub(1).ok_or(RingFault::Loop)?;
        let mut raw = [0; split::DESCRIPTOR_BYTES as usize];
        dma.read(self.addr.wrapping_add(split::DESCRIPTOR_BYTES * u64::from(index)), &mut raw)?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = raw;
        let segment = Segment {
            addr: DmaAddr(u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7])),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
        };
        Ok(Descriptor { segment, flags: u16::from_le_bytes([f0, f1]), next: u16::from_le_bytes([n0, n1]) })
    }
}

impl Chain {
    fn append(&mut self, descriptor: &Descriptor) -> Result<(), RingFault> {
        let segment = descriptor.segment;
        let wraps = segment.len == 0 || segment.addr.get().checked_add(u64::from(segment.len) - 1).is_none();
        let is_writable = descriptor.flags & split::WRITE != 0;
        if wraps || (!is_writable && !self.writable.is_empty()) {
            return Err(RingFault::Buffer);
        }
        let list = if is_writable { &mut self.writable } else { &mut self.readable };
        list.push(segment);
        Ok(())
    }
}

fn read_u16(dma: &mut dyn Dma, addr: DmaAddr) -> Result<u16, DmaFault> {
    let mut raw = [0; 2];
    dma.read(addr, &mut raw)?;
    Ok(u16::from_le_bytes(raw))
}
