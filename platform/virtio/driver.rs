//! A driver for tests: memory, a function, and what the specification asks of a driver. VIRTIO 1.2, "Device Initialization".

use super::split_ring::Notification;
use super::transport::*;
use crate::clock::Tick;
pub use crate::device::conformance::TestMemory as Memory;
use crate::device::{Context, Dma, Msi};
use crate::pci::PciFunction;
use undercroft_spec::DmaAddr;
use undercroft_spec::pci::header::{self, command};
use undercroft_spec::pci::virtio::{capability, common, feature, split, status};

impl Memory {
    /// Writes within memory.
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        self.write(DmaAddr(at), bytes).expect("within memory");
    }

    /// Reads within memory.
    pub fn get<const N: usize>(&mut self, at: u64) -> [u8; N] {
        let mut data = [0; N];
        self.read(DmaAddr(at), &mut data).expect("within memory");
        data
    }
}

pub const MEMORY_BYTES: usize = 1 << 20;
pub const DESC: u64 = 0x1000;
pub const AVAIL: u64 = 0x3000;
pub const USED: u64 = 0x5000;
pub const INDIRECT: u64 = 0x7000;
pub const DATA: u64 = 0x1_0000;
/// MSI-X messages carry this address and, as data, their vector.
pub const MSI_ADDRESS: u64 = 0xfee0_0000;

/// A buffer of a request.
#[derive(Clone, Copy)]
pub enum Buffer {
    /// The device reads it.
    Out(u64, u32),
    /// The device writes it.
    In(u64, u32),
}

pub struct Driver<D> {
    pub function: VirtioPci<D>,
    pub memory: Memory,
    pub now: Tick,
    pub messages: Vec<Msi>,
    pub size: u16,
    avail_idx: u16,
    used_seen: u16,
}

impl<D: VirtioDevice> Driver<D> {
    /// A function with its ranges decoded and bus mastering on.
    pub fn new(device: D) -> Self {
        let mut driver = Driver {
            function: VirtioPci::new(device),
            memory: Memory(vec![0; MEMORY_BYTES]),
            now: Tick(1000),
            messages: Vec::new(),
            size: 8,
            avail_idx: 0,
            used_seen: 0,
        };
        driver.config_write(header::COMMAND, 2, u32::from(command::MEMORY_SPACE | command::BUS_MASTER));
        driver
    }

    pub fn call<R>(&mut self, f: impl FnOnce(&mut VirtioPci<D>, &mut Context<'_>) -> R) -> R {
        let mut cx = Context { now: self.now, dma: &mut self.memory, msi: &mut self.messages };
        f(&mut self.function, &mut cx)
    }

    pub fn config_read(&mut self, offset: u16, size: u8) -> u32 {
        self.call(|function, cx| function.config_read(cx, offset, size))
    }

    pub fn config_write(&mut self, offset: u16, size: u8, value: u32) {
        self.call(|function, cx| function.config_write(cx, offset, size, value));
    }

    pub fn read(&mut self, offset: u64, size: u8) -> u64 {
        self.call(|function, cx| function.bar_read(cx, STRUCTURES_BAR, offset, size))
    }

    pub fn write(&mut self, offset: u64, size: u8, value: u64) {
        self.call(|function, cx| function.bar_write(cx, STRUCTURES_BAR, offset, size, value));
    }

    pub fn status(&mut self) -> u8 {
        self.read(common::DEVICE_STATUS, 1) as u8
    }

    pub fn device_features(&mut self) -> u64 {
        self.write(common::DEVICE_FEATURE_SELECT, 4, 1);
        let high = self.read(common::DEVICE_FEATURE, 4);
        self.write(common::DEVICE_FEATURE_SELECT, 4, 0);
        high << 32 | self.read(common::DEVICE_FEATURE, 4)
    }

    /// Negotiates features; tells whether the device accepted them.
    pub fn negotiate(&mut self, features: u64) -> bool {
        self.write(common::DEVICE_STATUS, 1, 0);
        self.write(common::DEVICE_STATUS, 1, u64::from(status::ACKNOWLEDGE));
        self.write(common::DEVICE_STATUS, 1, u64::from(status::ACKNOWLEDGE | status::DRIVER));
        for (select, half) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
            self.write(common::DRIVER_FEATURE_SELECT, 4, select);
            self.write(common::DRIVER_FEATURE, 4, half);
        }
        self.write(common::DEVICE_STATUS, 1, u64::from(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK));
        self.status() & status::FEATURES_OK != 0
    }

    pub fn set_up_queue(&mut self) {
        self.memory.0[DESC as usize..DATA as usize].fill(0);
        (self.avail_idx, self.used_seen) = (0, 0);
        self.write(common::QUEUE_SELECT, 2, 0);
        self.write(common::QUEUE_SIZE, 2, u64::from(self.size));
        self.write(common::QUEUE_MSIX_VECTOR, 2, 1);
        self.write(common::CONFIG_MSIX_VECTOR, 2, 0);
        for (field, address) in
            [(common::QUEUE_DESC, DESC), (common::QUEUE_DRIVER, AVAIL), (common::QUEUE_DEVICE, USED)]
        {
            self.write(field, 4, address);
            self.write(field + 4, 4, address >> 32);
        }
        self.write(common::QUEUE_ENABLE, 2, 1);
    }

    pub fn driver_ok(&mut self) {
        let settled = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK;
        self.write(common::DEVICE_STATUS, 1, u64::from(settled));
    }

    /// Everything up to a working queue, with these features besides VERSION_1.
    pub fn start(&mut self, features: u64) {
        assert!(self.negotiate(features | feature::VERSION_1));
        self.set_up_queue();
        self.driver_ok();
    }

    /// Switches MSI-X on, both vectors unmasked.
    pub fn enable_msix(&mut self) {
        for vector in 0..2 {
            for (field, value) in [(0, MSI_ADDRESS), (8, vector), (12, 0)] {
                let at = 16 * vector + field;
                self.call(|function, cx| function.bar_write(cx, MSIX_BAR, at, 4, value));
            }
        }
        let at = self.find_capability(0x11, None);
        self.config_write(at + 2, 2, 0x8000);
    }

    /// A capability by its identifier and, for virtio's, the type of its structure.
    pub fn find_capability(&mut self, id: u8, kind: Option<u8>) -> u16 {
        let mut at = self.config_read(header::CAPABILITIES_POINTER, 1) as u16;
        while at != 0 {
            let is_kind =
                kind.is_none_or(|kind| self.function.config().read(at + capability::CFG_TYPE, 1) as u8 == kind);
            if self.config_read(at, 1) as u8 == id && is_kind {
                return at;
            }
            at = self.config_read(at + 1, 1) as u16;
        }
        panic!("no capability {id:#x} {kind:?}");
    }

    pub fn put_descriptor(&mut self, table: u64, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        let at = table + split::DESCRIPTOR_BYTES * u64::from(index);
        self.memory.put(at, &addr.to_le_bytes());
        self.memory.put(at + 8, &len.to_le_bytes());
        self.memory.put(at + 12, &flags.to_le_bytes());
        self.memory.put(at + 14, &next.to_le_bytes());
    }

    pub fn put_chain(&mut self, table: u64, head: u16, buffers: &[Buffer]) {
        for (index, buffer) in (head..).zip(buffers) {
            let more = if usize::from(index - head) + 1 < buffers.len() { split::NEXT } else { 0 };
            let (addr, len, flags) = match *buffer {
                Buffer::Out(addr, len) => (addr, len, 0),
                Buffer::In(addr, len) => (addr, len, split::WRITE),
            };
            self.put_descriptor(table, index, addr, len, flags | more, index + 1);
        }
    }

    /// Makes a head available without notifying.
    pub fn make_available(&mut self, head: u16) {
        let slot = u64::from(self.avail_idx % self.size);
        self.memory.put(AVAIL + 4 + 2 * slot, &head.to_le_bytes());
        self.avail_idx = self.avail_idx.wrapping_add(1);
        self.memory.put(AVAIL + 2, &self.avail_idx.to_le_bytes());
    }

    pub fn notify(&mut self) {
        self.write(NOTIFY_OFFSET, 2, 0);
    }

    /// Jumps to the next event and lets the device do it. None when it waits for nothing.
    pub fn step(&mut self) -> Option<Tick> {
        let due = self.function.next_event()?;
        assert!(due >= self.now);
        self.now = due;
        self.call(|function, cx| function.advance(cx));
        assert!(self.function.next_event().is_none_or(|next| next > due));
        Some(due)
    }

    /// The next used entry, if the device has put one there.
    pub fn take_used(&mut self) -> Option<(u32, u32)> {
        let index = u16::from_le_bytes(self.memory.get(USED + 2));
        if index == self.used_seen {
            return None;
        }
        let at = USED + 4 + 8 * u64::from(self.used_seen % self.size);
        self.used_seen = self.used_seen.wrapping_add(1);
        Some((u32::from_le_bytes(self.memory.get(at)), u32::from_le_bytes(self.memory.get(at + 4))))
    }

    /// Sends one chain and waits for it: the bytes written.
    pub fn request(&mut self, buffers: &[Buffer]) -> u32 {
        self.put_chain(DESC, 0, buffers);
        self.make_available(0);
        self.notify();
        self.step().expect("the device took the request");
        let (head, written) = self.take_used().expect("the device finished the request");
        assert_eq!(head, 0);
        written
    }

    pub fn queue_messages(&mut self) -> usize {
        std::mem::take(&mut self.messages).iter().filter(|msi| msi.data == 1).count()
    }
}

#[test]
fn ring_used_event_index_decides_the_notification() {
    let mut memory = Memory(vec![0; MEMORY_BYTES]);
    let mut ring = super::split_ring::SplitRing::new(8);
    (ring.desc, ring.driver, ring.device) = (DESC, AVAIL, USED);
    memory.put(AVAIL + 4 + 2 * 8, &2u16.to_le_bytes());
    let notified: Vec<bool> = (0..5)
        .map(|head| ring.push(&mut memory, feature::RING_EVENT_IDX, head, 0).unwrap() == Notification::Wanted)
        .collect();
    assert_eq!(notified, [false, false, true, false, false]);
    memory.put(AVAIL, &split::AVAIL_NO_INTERRUPT.to_le_bytes());
    assert_eq!(ring.push(&mut memory, 0, 0, 0), Ok(Notification::Suppressed));
}
