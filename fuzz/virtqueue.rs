//! Split virtqueues and what drivers put into them: virtio functions with hostile memory, registers and configuration space.

use crate::Seeds;
use crate::input::Input;
use crate::memory::Memory;
use std::sync::Arc;
use undercroft_platform::backend::{BlankImage, Disk, DiskMode};
use undercroft_platform::clock::Tick;
use undercroft_platform::device::{Context, Msi};
use undercroft_platform::pci::PciFunction;
use undercroft_platform::virtio::transport::{NOTIFY_OFFSET, STRUCTURES_BAR};
use undercroft_platform::virtio::{Block, BlockConfig, Entropy, VirtioPci};
use undercroft_spec::pci::virtio::{common, feature, status};

/// Steps of one case at most.
const MOST_STEPS: u32 = 64;
/// Accesses to memory that one step may make: a chain of 1,024 segments, each moved in parts.
const MOST_ACCESSES: u64 = 100_000;
/// Interrupt messages that one step may send.
const MOST_MESSAGES: usize = 64;
/// Bytes of the disk.
const DISK_BYTES: u64 = 1 << 20;
/// The queue, as it is set up where a case begins with one.
const QUEUE_SIZE: u64 = 4;
const DESC: u16 = 0x1000;
const AVAIL: u16 = 0x1100;
const USED: u16 = 0x1200;

/// A function, its memory and the time.
struct Case {
    function: Box<dyn PciFunction>,
    memory: Memory,
    messages: Vec<Msi>,
    now: u64,
}

impl Case {
    fn new(choice: u8) -> Self {
        let function: Box<dyn PciFunction> = match choice & 1 {
            0 => {
                let mode = [DiskMode::Overlay, DiskMode::ReadOnly][usize::from(choice >> 1 & 1)];
                let disk = Disk::new(Arc::new(BlankImage { bytes: DISK_BYTES }), mode);
                Box::new(VirtioPci::new(Block::new(disk, &BlockConfig { id: "a disk".into() })))
            }
            _ => Box::new(VirtioPci::new(Entropy::new(1))),
        };
        let mut case = Case { function, memory: Memory::default(), messages: Vec::new(), now: 1000 };
        if choice & 0x80 == 0 {
            let mut features = feature::VERSION_1;
            for (bit, feature) in [(4, feature::RING_INDIRECT_DESC), (8, feature::RING_EVENT_IDX)] {
                if choice & bit != 0 {
                    features |= feature;
                }
            }
            case.set_up(features);
        }
        case
    }

    fn call<R>(&mut self, f: impl FnOnce(&mut dyn PciFunction, &mut Context<'_>) -> R) -> R {
        let before = self.memory.accesses;
        let mut cx = Context { now: Tick(self.now), dma: &mut self.memory, msi: &mut self.messages };
        let result = f(self.function.as_mut(), &mut cx);
        let accesses = self.memory.accesses - before;
        assert!(accesses <= MOST_ACCESSES, "{accesses} accesses to memory in one step");
        assert!(self.messages.len() <= MOST_MESSAGES, "{} messages in one step", self.messages.len());
        self.messages.clear();
        let next = self.function.next_event();
        assert!(next.is_none_or(|event| event.0 >= self.now), "at {} the next event is {next:?}", self.now);
        result
    }

    fn write(&mut self, offset: u64, size: u8, value: u64) {
        self.call(|function, cx| function.bar_write(cx, STRUCTURES_BAR, offset, size, value));
    }

    fn advance(&mut self) {
        self.call(|function, cx| function.advance(cx));
        let next = self.function.next_event();
        assert!(next.is_none_or(|event| event.0 > self.now) || self.now == u64::MAX, "{next:?} at {}", self.now);
    }

    /// What a driver does before the first request.
    fn set_up(&mut self, features: u64) {
        self.call(|function, cx| function.config_write(cx, 4, 2, 6));
        let steps = [status::ACKNOWLEDGE, status::DRIVER, status::FEATURES_OK, status::DRIVER_OK];
        let mut reached = 0;
        for step in steps {
            if step == status::FEATURES_OK {
                for (half, value) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
                    self.write(common::DRIVER_FEATURE_SELECT, 4, half);
                    self.write(common::DRIVER_FEATURE, 4, value);
                }
            }
            if step == status::DRIVER_OK {
                self.write(common::QUEUE_SELECT, 2, 0);
                self.write(common::QUEUE_SIZE, 2, QUEUE_SIZE);
                let places = [(common::QUEUE_DESC, DESC), (common::QUEUE_DRIVER, AVAIL), (common::QUEUE_DEVICE, USED)];
                for (register, place) in places {
                    self.write(register, 4, u64::from(place));
                }
                self.write(common::QUEUE_ENABLE, 2, 1);
            }
            reached |= step;
            self.write(common::DEVICE_STATUS, 1, u64::from(reached));
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let size = 1 << (what >> 6);
        match what & 7 {
            // The driver changes memory, which it may at any time.
            0 | 1 => {
                let place = usize::from(input.number(2) as u16);
                for index in 0..usize::from(input.byte() % 33) {
                    let at = (place + index) % self.memory.bytes.len();
                    self.memory.bytes[at] = input.byte();
                }
            }
            2 => self.write(NOTIFY_OFFSET, 2, u64::from(what >> 7)),
            3 => {
                self.now = self.function.next_event().map_or(self.now, |event| event.0);
                self.advance();
            }
            4 => {
                let (bar, offset, value) = (input.byte() % 6, input.number(2), input.number(8));
                self.call(|function, cx| function.bar_write(cx, bar, offset, size, value));
            }
            5 => {
                let (bar, offset) = (input.byte() % 6, input.number(2));
                self.call(|function, cx| function.bar_read(cx, bar, offset, size));
            }
            6 => {
                let (offset, value) = (input.number(2) as u16, input.number(4) as u32);
                self.call(|function, cx| function.config_write(cx, offset, size.min(4), value));
                self.call(|function, cx| function.config_read(cx, offset, size.min(4)));
            }
            _ => {
                self.now = self.now.saturating_add(input.number(3));
                self.advance();
            }
        }
    }
}

/// The first byte chooses the function and what it has been set up with; then come steps.
pub fn fuzz_one(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let mut case = Case::new(choice);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            return;
        }
        case.step(&mut input);
    }
}

/// A step that puts bytes into memory.
fn poke(place: u16, bytes: &[u8]) -> Vec<u8> {
    let [low, high] = place.to_le_bytes();
    [&[0, low, high, bytes.len() as u8], bytes].concat()
}

/// A descriptor: VIRTIO 1.2, "The Virtqueue Descriptor Table".
fn descriptor(place: u16, address: u64, len: u32, flags: u16, next: u16) -> Vec<u8> {
    let mut bytes = address.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(next.to_le_bytes());
    poke(place, &bytes)
}

/// Requests that work, for cases to be made from.
pub fn seeds() -> Seeds {
    let request = |choice: u8, kind: u32, data_flags: u16| {
        let mut header = kind.to_le_bytes().to_vec();
        header.extend([0; 12]);
        let steps = [
            vec![choice],
            poke(0x2000, &header),
            descriptor(DESC, 0x2000, 16, 1, 1),
            descriptor(DESC + 16, 0x3000, 1024, 1 | data_flags, 2),
            descriptor(DESC + 32, 0x2800, 1, 2, 0),
            poke(AVAIL + 2, &[1, 0, 0, 0]),
            vec![2, 3, 3],
        ];
        steps.concat()
    };
    let indirect = [
        vec![4],
        poke(0x2000, &[0; 16]),
        descriptor(0x4000, 0x2000, 16, 1, 1),
        descriptor(0x4010, 0x3000, 512, 3, 2),
        descriptor(0x4020, 0x2800, 1, 2, 0),
        descriptor(DESC, 0x4000, 48, 4, 0),
        poke(AVAIL + 2, &[1, 0, 0, 0]),
        vec![2, 3, 3],
    ];
    let entropy = [vec![9], descriptor(DESC, 0x3000, 64, 2, 0), poke(AVAIL + 2, &[1, 0, 0, 0]), vec![2, 3, 3]];
    vec![request(0, 0, 2), request(8, 1, 0), request(0, 13, 0), request(2, 1, 0), indirect.concat(), entropy.concat()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed is only worth something if its request is carried out.
    #[test]
    fn seed_request_reaches_the_used_ring() {
        for seed in seeds() {
            let mut input = Input::new(&seed);
            let mut case = Case::new(input.byte());
            while !input.is_empty() {
                case.step(&mut input);
            }
            assert_eq!(case.memory.bytes[usize::from(USED) + 2], 1, "used.idx after {seed:02x?}");
        }
    }
}
