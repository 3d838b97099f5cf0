//! Tests of the transport and the devices through the driver's side.

use super::driver::*;
use super::transport::*;
use super::*;
use crate::backend::{BlankImage, Disk, DiskMode, MemoryImage};
use crate::device::conformance::Sequence;
use crate::pci::PciFunction;
use std::sync::Arc;
use undercroft_spec::pci::header::{self, command};
use undercroft_spec::pci::virtio::{block, capability, common, feature, split, status};

const HEADER: u64 = DATA;
const STATUS: u64 = DATA + 0x20;
const PAYLOAD: u64 = DATA + 0x1000;
const SECTORS: u64 = 64;

fn pattern() -> Vec<u8> {
    (0..SECTORS * 512).map(|at| (at / 512 + at) as u8).collect()
}

fn block_driver(mode: DiskMode) -> Driver<Block> {
    let disk = Disk::new(Arc::new(MemoryImage(pattern())), mode);
    Driver::new(Block::new(disk, &BlockConfig { id: "undercroft-test".into() }))
}

fn started(mode: DiskMode) -> Driver<Block> {
    let mut driver = block_driver(mode);
    driver.start(feature::RING_INDIRECT_DESC | block::F_FLUSH);
    driver
}

/// Sends a block request with one data buffer and gives status and bytes written.
fn request(driver: &mut Driver<Block>, kind: u32, sector: u64, data: Option<Buffer>) -> (u8, u32) {
    driver.memory.put(HEADER, &kind.to_le_bytes());
    driver.memory.put(HEADER + 8, &sector.to_le_bytes());
    driver.memory.put(STATUS, &[0xff]);
    let mut buffers = vec![Buffer::Out(HEADER, 16)];
    buffers.extend(data);
    buffers.push(Buffer::In(STATUS, 1));
    let written = driver.request(&buffers);
    (driver.memory.get::<1>(STATUS)[0], written)
}

fn zero_request(driver: &mut Driver<Block>, kind: u32, sector: u64, sectors: u32, flags: u32) -> u8 {
    driver.memory.put(PAYLOAD, &sector.to_le_bytes());
    driver.memory.put(PAYLOAD + 8, &sectors.to_le_bytes());
    driver.memory.put(PAYLOAD + 12, &flags.to_le_bytes());
    request(driver, kind, 0, Some(Buffer::Out(PAYLOAD, 16))).0
}

#[test]
fn features_refused_without_version_1_or_with_unknown_ones() {
    let mut driver = block_driver(DiskMode::Overlay);
    let offered = driver.device_features();
    assert_eq!(offered & feature::VERSION_1, feature::VERSION_1);
    assert_eq!(offered & feature::RING_PACKED, 0);
    assert_eq!(offered & block::F_RO, 0);
    assert!(!driver.negotiate(0));
    assert!(!driver.negotiate(feature::VERSION_1 | feature::RING_PACKED));
    assert!(driver.negotiate(offered));
    // Settled: a later write changes nothing.
    driver.write(common::DRIVER_FEATURE, 4, 0);
    assert_eq!(driver.read(common::DRIVER_FEATURE, 4), offered >> 32);
    assert_eq!(block_driver(DiskMode::ReadOnly).device_features() & block::F_RO, block::F_RO);
}

#[test]
fn capabilities_describe_structures_within_the_bar() {
    let mut driver = block_driver(DiskMode::Overlay);
    assert_eq!(driver.config_read(header::VENDOR_ID, 4), 0x1042_1af4);
    let kinds = [capability::COMMON_CFG, capability::NOTIFY_CFG, capability::ISR_CFG, capability::DEVICE_CFG];
    let places = kinds.map(|kind| {
        let at = driver.find_capability(9, Some(kind));
        assert_eq!(driver.config_read(at + capability::BAR, 1), 0);
        (driver.config_read(at + capability::OFFSET, 4), driver.config_read(at + capability::LENGTH, 4))
    });
    assert_eq!(places, [(0, 0x3c), (0x3000, 4), (0x1000, 1), (0x2000, 0x3c)]);
    let notify = driver.find_capability(9, Some(capability::NOTIFY_CFG));
    assert_eq!(driver.config_read(notify + capability::NOTIFY_OFF_MULTIPLIER, 4), 4);
}

#[test]
fn common_config_queue_fields_read_back() {
    let mut driver = block_driver(DiskMode::Overlay);
    assert!(driver.negotiate(feature::VERSION_1));
    assert_eq!(driver.read(common::NUM_QUEUES, 2), 1);
    assert_eq!(driver.read(common::QUEUE_SIZE, 2), 256);
    driver.write(common::QUEUE_SIZE, 2, 3);
    assert_eq!(driver.read(common::QUEUE_SIZE, 2), 256);
    driver.write(common::QUEUE_MSIX_VECTOR, 2, 7);
    assert_eq!(driver.read(common::QUEUE_MSIX_VECTOR, 2), 0xffff);
    driver.set_up_queue();
    assert_eq!(driver.read(common::QUEUE_SIZE, 2), 8);
    assert_eq!(driver.read(common::QUEUE_DRIVER, 8), AVAIL);
    assert_eq!(driver.read(common::QUEUE_ENABLE, 2), 1);
    // Enabled: its addresses stay.
    driver.write(common::QUEUE_DESC, 8, 0x1234_0000);
    assert_eq!(driver.read(common::QUEUE_DESC, 8), DESC);
    driver.write(common::QUEUE_RESET, 2, 1);
    assert_eq!((driver.read(common::QUEUE_ENABLE, 2), driver.read(common::QUEUE_RESET, 2)), (0, 0));
    driver.write(common::QUEUE_SELECT, 2, 1);
    assert_eq!(driver.read(common::QUEUE_SIZE, 2), 0);
}

#[test]
fn block_read_gives_the_image_after_the_service_time() {
    let mut driver = started(DiskMode::Overlay);
    let before = driver.now;
    let result = request(&mut driver, block::T_IN, 3, Some(Buffer::In(PAYLOAD, 1024)));
    assert_eq!(result, (block::S_OK, 1025));
    assert_eq!(driver.memory.get::<1024>(PAYLOAD), pattern()[1536..2560]);
    assert_eq!(driver.now.0 - before.0, 20_000 + 520);
}

#[test]
fn block_write_reads_back_and_survives_reset_and_restore() {
    let mut driver = started(DiskMode::Overlay);
    driver.memory.put(PAYLOAD, &[0x5a; 512]);
    assert_eq!(request(&mut driver, block::T_OUT, 63, Some(Buffer::Out(PAYLOAD, 512))), (block::S_OK, 1));
    assert_eq!(request(&mut driver, block::T_FLUSH, 0, None), (block::S_OK, 1));
    let saved = postcard::to_stdvec(&driver.function).unwrap();
    let image = driver.function.device.disk.image().unwrap();
    driver.function = postcard::from_bytes(&saved).unwrap();
    assert_eq!(postcard::to_stdvec(&driver.function).unwrap(), saved);
    assert_eq!(request(&mut driver, block::T_IN, 63, Some(Buffer::In(PAYLOAD, 512))).0, block::S_IOERR);
    driver.function.device.disk.attach(image).unwrap();
    driver.function.reset();
    driver.config_write(header::COMMAND, 2, u32::from(command::MEMORY_SPACE | command::BUS_MASTER));
    driver.start(0);
    driver.memory.put(PAYLOAD, &[0; 512]);
    assert_eq!(request(&mut driver, block::T_IN, 63, Some(Buffer::In(PAYLOAD, 512))), (block::S_OK, 513));
    assert_eq!(driver.memory.get::<512>(PAYLOAD), [0x5a; 512]);
}

#[test]
fn block_request_outside_the_rules_fails_with_its_status() {
    let mut driver = started(DiskMode::Overlay);
    for (kind, sector, data, expected) in [
        (block::T_IN, 64, Buffer::In(PAYLOAD, 512), block::S_IOERR),
        (block::T_IN, 63, Buffer::In(PAYLOAD, 1024), block::S_IOERR),
        (block::T_IN, u64::MAX, Buffer::In(PAYLOAD, 512), block::S_IOERR),
        (block::T_IN, 0, Buffer::In(PAYLOAD, 100), block::S_IOERR),
        (block::T_IN, 0, Buffer::In(MEMORY_BYTES as u64, 512), block::S_IOERR),
        (block::T_OUT, 0, Buffer::Out(MEMORY_BYTES as u64 - 256, 512), block::S_IOERR),
        (99, 0, Buffer::In(PAYLOAD, 512), block::S_UNSUPP),
    ] {
        assert_eq!(request(&mut driver, kind, sector, Some(data)).0, expected, "type {kind} sector {sector}");
    }
    assert_eq!(driver.function.fault(), None);
    let mut driver = started(DiskMode::ReadOnly);
    assert_eq!(request(&mut driver, block::T_OUT, 0, Some(Buffer::Out(PAYLOAD, 512))).0, block::S_IOERR);
    assert_eq!(driver.function.device.disk.last_error(), Some("the image is read-only"));
}

#[test]
fn block_get_id_gives_the_string() {
    let mut driver = started(DiskMode::Overlay);
    assert_eq!(request(&mut driver, block::T_GET_ID, 0, Some(Buffer::In(PAYLOAD, 20))), (block::S_OK, 21));
    assert_eq!(&driver.memory.get::<20>(PAYLOAD), b"undercroft-test\0\0\0\0\0");
}

#[test]
fn block_discard_and_write_zeroes_make_zeroes() {
    let mut driver = started(DiskMode::Overlay);
    assert_eq!(zero_request(&mut driver, block::T_WRITE_ZEROES, 1, 2, block::SEGMENT_UNMAP), block::S_OK);
    assert_eq!(zero_request(&mut driver, block::T_DISCARD, 8, 16, 0), block::S_OK);
    assert_eq!(zero_request(&mut driver, block::T_DISCARD, 8, 16, block::SEGMENT_UNMAP), block::S_UNSUPP);
    assert_eq!(zero_request(&mut driver, block::T_WRITE_ZEROES, 63, 2, 0), block::S_IOERR);
    assert_eq!(zero_request(&mut driver, block::T_WRITE_ZEROES, 0, u32::MAX, 0), block::S_IOERR);
    let mut expected = pattern();
    expected[512..1536].fill(0);
    expected[4096..12288].fill(0);
    assert_eq!(request(&mut driver, block::T_IN, 0, Some(Buffer::In(PAYLOAD, 16384))).0, block::S_OK);
    assert_eq!(driver.memory.get::<16384>(PAYLOAD), expected[..16384]);
}

#[test]
fn block_request_framing_does_not_matter() {
    let mut driver = started(DiskMode::Overlay);
    driver.memory.put(HEADER, &block::T_IN.to_le_bytes());
    driver.memory.put(HEADER + 8, &2u64.to_le_bytes());
    // The header in three parts, data and status in three others, through an indirect table.
    let buffers = [
        Buffer::Out(HEADER, 1),
        Buffer::Out(HEADER + 1, 14),
        Buffer::Out(HEADER + 15, 1),
        Buffer::In(PAYLOAD, 100),
        Buffer::In(PAYLOAD + 100, 400),
        Buffer::In(PAYLOAD + 500, 13),
    ];
    driver.put_chain(INDIRECT, 0, &buffers);
    driver.put_descriptor(DESC, 5, INDIRECT, 16 * buffers.len() as u32, split::INDIRECT, 0);
    driver.make_available(5);
    driver.notify();
    driver.step();
    assert_eq!(driver.take_used(), Some((5, 513)));
    assert_eq!(driver.memory.get::<512>(PAYLOAD), pattern()[1024..1536]);
    assert_eq!(driver.memory.get::<1>(PAYLOAD + 512), [block::S_OK]);
}

#[test]
fn queue_of_several_requests_completes_in_order_with_one_notification_to_the_device() {
    let mut driver = started(DiskMode::Overlay);
    driver.memory.put(HEADER, &block::T_GET_ID.to_le_bytes());
    driver.put_chain(DESC, 0, &[Buffer::Out(HEADER, 16), Buffer::In(PAYLOAD, 21)]);
    driver.put_chain(DESC, 2, &[Buffer::Out(HEADER, 16), Buffer::In(PAYLOAD + 64, 21)]);
    driver.make_available(2);
    driver.make_available(0);
    driver.notify();
    let first = driver.step().unwrap();
    assert_eq!((driver.take_used(), driver.take_used()), (Some((2, 21)), None));
    let second = driver.step().unwrap();
    assert_eq!(driver.take_used(), Some((0, 21)));
    assert_eq!(second.0 - first.0, 20_000 + 18);
    assert_eq!(driver.step(), None);
}

#[test]
fn interrupt_by_msix_carries_the_queue_vector() {
    let mut driver = block_driver(DiskMode::Overlay);
    driver.enable_msix();
    driver.start(0);
    request(&mut driver, block::T_FLUSH, 0, None);
    assert_eq!(driver.messages, [crate::device::Msi { address: MSI_ADDRESS, data: 1 }]);
    assert!(!driver.function.config().is_intx_asserted());
    assert_eq!(driver.read(ISR_OFFSET, 1), 0);
}

#[test]
fn interrupt_without_msix_is_a_level_until_isr_is_read() {
    let mut driver = started(DiskMode::Overlay);
    request(&mut driver, block::T_FLUSH, 0, None);
    assert!(driver.function.config().is_intx_asserted());
    assert_eq!(driver.read(ISR_OFFSET, 1), 1);
    assert!(!driver.function.config().is_intx_asserted());
    assert_eq!(driver.read(ISR_OFFSET, 1), 0);
    assert_eq!(driver.messages, []);
}

#[test]
fn event_index_suppresses_notifications_both_ways() {
    let mut driver = block_driver(DiskMode::Overlay);
    driver.enable_msix();
    driver.start(feature::RING_EVENT_IDX);
    let (avail_event, used_event) = (USED + 4 + 8 * 8, AVAIL + 4 + 2 * 8);
    // Interrupt only for the second used buffer.
    driver.memory.put(used_event, &1u16.to_le_bytes());
    request(&mut driver, block::T_FLUSH, 0, None);
    assert_eq!(driver.queue_messages(), 0);
    assert_eq!(driver.memory.get(avail_event), 1u16.to_le_bytes());
    request(&mut driver, block::T_FLUSH, 0, None);
    assert_eq!(driver.queue_messages(), 1);
    assert_eq!(driver.memory.get(avail_event), 2u16.to_le_bytes());
}

#[test]
fn ring_broken_makes_the_device_ask_for_reset_and_reset_heals_it() {
    let mut driver = block_driver(DiskMode::Overlay);
    driver.enable_msix();
    driver.start(0);
    driver.put_descriptor(DESC, 0, HEADER, 16, split::NEXT, 0);
    driver.make_available(0);
    driver.notify();
    assert_eq!(driver.function.fault(), Some(RingFault::Loop));
    assert_eq!(driver.status() & status::DEVICE_NEEDS_RESET, status::DEVICE_NEEDS_RESET);
    assert_eq!(driver.messages, [crate::device::Msi { address: MSI_ADDRESS, data: 0 }]);
    driver.notify();
    assert_eq!(driver.step(), None);
    driver.start(0);
    assert_eq!(request(&mut driver, block::T_FLUSH, 0, None), (block::S_OK, 1));
}

#[test]
fn ring_violations_are_told_apart() {
    type Spoil = fn(&mut Driver<Block>);
    let cases: [(RingFault, Spoil); 8] = [
        (RingFault::DescriptorIndex { index: 8, entries: 8 }, |driver| driver.make_available(8)),
        (RingFault::Buffer, |driver| {
            driver.put_chain(DESC, 0, &[Buffer::In(STATUS, 1), Buffer::Out(HEADER, 16)]);
            driver.make_available(0);
        }),
        (RingFault::Buffer, |driver| {
            driver.put_descriptor(DESC, 0, HEADER, 0, 0, 0);
            driver.make_available(0);
        }),
        (RingFault::Buffer, |driver| {
            driver.put_descriptor(DESC, 0, u64::MAX - 4, 16, 0, 0);
            driver.make_available(0);
        }),
        (RingFault::Indirect, |driver| {
            driver.put_descriptor(DESC, 0, INDIRECT, 24, split::INDIRECT, 0);
            driver.make_available(0);
        }),
        (RingFault::Indirect, |driver| {
            driver.put_descriptor(INDIRECT, 0, INDIRECT, 16, split::INDIRECT, 0);
            driver.put_descriptor(DESC, 0, INDIRECT, 16, split::INDIRECT, 0);
            driver.make_available(0);
        }),
        (RingFault::Unreachable(undercroft_spec::DmaAddr(1 << 40)), |driver| {
            driver.put_descriptor(DESC, 0, 1 << 40, 16, split::INDIRECT, 0);
            driver.make_available(0);
        }),
        (RingFault::AvailableIndex { index: 9, next: 0, size: 8 }, |driver| {
            driver.memory.put(AVAIL + 2, &9u16.to_le_bytes());
        }),
    ];
    for (expected, spoil) in cases {
        let mut driver = started(DiskMode::Overlay);
        spoil(&mut driver);
        driver.notify();
        assert_eq!(driver.function.fault(), Some(expected));
    }
}

#[test]
fn request_too_short_is_a_fault() {
    for buffers in [vec![Buffer::Out(HEADER, 16)], vec![Buffer::Out(HEADER, 15), Buffer::In(STATUS, 1)]] {
        let mut driver = started(DiskMode::Overlay);
        driver.put_chain(DESC, 0, &buffers);
        driver.make_available(0);
        driver.notify();
        driver.step();
        assert_eq!(driver.function.fault(), Some(RingFault::Request));
    }
}

#[test]
fn bus_master_off_stops_service_and_on_resumes_it() {
    let mut driver = started(DiskMode::Overlay);
    driver.put_chain(DESC, 0, &[Buffer::Out(HEADER, 16), Buffer::In(STATUS, 1)]);
    driver.make_available(0);
    driver.notify();
    driver.config_write(header::COMMAND, 2, u32::from(command::MEMORY_SPACE));
    assert_eq!(driver.step(), None);
    driver.now.0 += 1_000_000;
    driver.config_write(header::COMMAND, 2, u32::from(command::MEMORY_SPACE | command::BUS_MASTER));
    assert_eq!(driver.step(), Some(driver.now));
    assert!(driver.take_used().is_some());
}

#[test]
fn notification_before_driver_ok_is_served_after_it() {
    let mut driver = block_driver(DiskMode::Overlay);
    assert!(driver.negotiate(feature::VERSION_1));
    driver.set_up_queue();
    driver.put_chain(DESC, 0, &[Buffer::Out(HEADER, 16), Buffer::In(STATUS, 1)]);
    driver.make_available(0);
    driver.notify();
    assert_eq!(driver.step(), None);
    driver.driver_ok();
    assert!(driver.step().is_some());
}

#[test]
fn pci_cfg_capability_reaches_the_structures() {
    let mut driver = block_driver(DiskMode::Overlay);
    let at = driver.find_capability(9, Some(capability::PCI_CFG));
    let data = at + capability::PCI_CFG_DATA;
    driver.config_write(at + capability::OFFSET, 4, common::DEVICE_STATUS as u32);
    driver.config_write(at + capability::LENGTH, 4, 1);
    driver.config_write(data, 1, 3);
    assert_eq!(driver.status(), 3);
    driver.config_write(at + capability::OFFSET, 4, DEVICE_OFFSET as u32);
    driver.config_write(at + capability::LENGTH, 4, 4);
    assert_eq!(u64::from(driver.config_read(data, 4)), SECTORS);
    driver.config_write(at + capability::BAR, 1, 2);
    driver.config_write(data, 4, 0x1234);
    assert_eq!(driver.config_read(data, 4), 0x1234);
}

#[test]
fn entropy_bytes_repeat_with_the_seed_only() {
    let run = |seed| {
        let mut driver = Driver::new(Entropy::new(seed));
        driver.start(0);
        assert_eq!(driver.request(&[Buffer::In(PAYLOAD, 60), Buffer::In(PAYLOAD + 100, 4)]), 64);
        let first = driver.memory.get::<104>(PAYLOAD);
        assert_eq!(first[60..100], [0; 40]);
        assert_eq!(driver.request(&[Buffer::In(PAYLOAD, 1 << 16)]), 4096);
        (first, driver.memory.get::<4096>(PAYLOAD))
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    let (first, second) = run(7);
    assert_ne!(first[..32], second[..32]);
}

/// Fills the queue with descriptors that are mostly plausible and sometimes anything.
fn spoil_ring(driver: &mut Driver<Block>, numbers: &mut Sequence) {
    for table in [DESC, INDIRECT] {
        for index in 0..16 {
            let anything = numbers.below(12) == 0;
            let addr = if anything { numbers.bits() } else { DATA + numbers.below(0x8000) };
            let len = if anything { numbers.bits() as u32 } else { 1 + numbers.below(1024) as u32 };
            let (addr, len, flags) = match numbers.below(6) {
                0 => (INDIRECT, 16 * numbers.below(17) as u32, split::INDIRECT),
                1 | 2 => (addr, len, split::WRITE),
                3 => (addr, len, numbers.bits() as u16),
                _ => (addr, len, split::NEXT),
            };
            driver.put_descriptor(table, index, addr, len, flags, numbers.below(10) as u16);
        }
    }
    let header = [0, 1, 4, 8, 11, 13, numbers.bits() as u32][numbers.below(7) as usize];
    for at in 0..64 {
        driver.memory.put(DATA + 0x200 * at, &header.to_le_bytes());
        driver.memory.put(DATA + 0x200 * at + 8, &numbers.below(80).to_le_bytes());
    }
    for slot in 0..8 {
        driver.memory.put(AVAIL + 4 + 2 * slot, &(numbers.below(9) as u16).to_le_bytes());
    }
    driver.memory.put(AVAIL + 2, &(numbers.below(10) as u16).to_le_bytes());
}

#[test]
fn hostile_rings_neither_panic_nor_hang() {
    let mut numbers = Sequence::new(2);
    let (mut used, mut faults) = (0, 0);
    let mut driver = block_driver(DiskMode::Overlay);
    for _ in 0..10_000 {
        let event_idx = if numbers.below(2) == 0 { feature::RING_EVENT_IDX } else { 0 };
        driver.start(event_idx | feature::RING_INDIRECT_DESC);
        spoil_ring(&mut driver, &mut numbers);
        driver.notify();
        // Between its own completions, the queue may change under the device's hands: the bound is on what one index can announce.
        let mut steps = 0;
        while driver.step().is_some() {
            steps += 1;
            assert!(steps <= 8 * 2, "the device serves more than was made available");
            if steps == 4 {
                spoil_ring(&mut driver, &mut numbers);
            }
        }
        used += usize::from(driver.take_used().is_some());
        faults += usize::from(driver.function.fault().is_some());
    }
    assert!(used > 500 && faults > 500, "{used} served, {faults} refused");
}

#[test]
fn hostile_register_accesses_neither_panic_nor_outlive_a_reset() {
    let mut numbers = Sequence::new(3);
    let mut driver = block_driver(DiskMode::Overlay);
    let fresh = {
        let mut driver = block_driver(DiskMode::Overlay);
        driver.function.reset();
        postcard::to_stdvec(&driver.function).unwrap()
    };
    for round in 0..10_000 {
        if round % 100 == 0 {
            driver.config_write(header::COMMAND, 2, 7);
            driver.start(0);
        }
        let (value, size) = (numbers.bits(), 1 << numbers.below(4));
        let offset = match numbers.below(5) {
            0 => numbers.bits(),
            1 => numbers.below(0x1000) * 0x10,
            _ => numbers.below(0x40) + 0x1000 * numbers.below(4),
        };
        let bar = [0, 0, 0, 2, value as u8][numbers.below(5) as usize];
        let value = if numbers.below(2) == 0 { value } else { numbers.below(16) };
        driver.call(|function, cx| match value & 0x30 {
            0 => function.config_write(cx, offset as u16 & 0xfff, size.min(4), value as u32),
            _ => function.bar_write(cx, bar, offset, size, value),
        });
        driver.call(|function, cx| {
            function.bar_read(cx, bar, offset, size);
            function.config_read(cx, offset as u16, size.min(4))
        });
        driver.step();
    }
    let saved = postcard::to_stdvec(&driver.function).unwrap();
    let restored: VirtioBlock = postcard::from_bytes(&saved).unwrap();
    assert_eq!(postcard::to_stdvec(&restored).unwrap(), saved);
    let disk = Disk::new(Arc::new(MemoryImage(pattern())), DiskMode::Overlay);
    driver.function.device.disk = disk;
    driver.function.reset();
    assert_eq!(postcard::to_stdvec(&driver.function).unwrap(), fresh);
}

#[test]
fn functions_on_a_bus_are_found_and_served() {
    use crate::pci::{Bdf, FirmwareChoices, PciBus, Target};
    let mut bus = PciBus::new();
    let disk = Disk::new(Arc::new(BlankImage { bytes: 1 << 20 }), DiskMode::Overlay);
    let block = VirtioBlock::new(Block::new(disk, &BlockConfig { id: String::new() }));
    let (first, second) = (Bdf::new(0, 1, 0), Bdf::new(0, 2, 0));
    assert!(bus.insert(first, VirtioFunction::Block(Box::new(block))).is_ok());
    assert!(bus.insert(second, VirtioFunction::Entropy(Box::new(VirtioEntropy::new(Entropy::new(1))))).is_ok());
    bus.assign_resources(&FirmwareChoices::default()).unwrap();
    let base = bus.slot(second).unwrap().as_function().config().bar_address(0).unwrap();
    let target = bus.memory_target(undercroft_spec::PhysAddr(base + common::NUM_QUEUES)).unwrap();
    assert_eq!(target, Target::Bar { bdf: second, bar: 0, offset: common::NUM_QUEUES });
    let mut memory = Memory(Vec::new());
    let mut msi = Vec::new();
    let mut cx = crate::device::Context { now: crate::clock::Tick(0), dma: &mut memory, msi: &mut msi };
    assert_eq!(bus.read(&mut cx, target, 2), 1);
    assert_eq!((bus.next_event(), bus.next_due(crate::clock::Tick(u64::MAX))), (None, None));
}
