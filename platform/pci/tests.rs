//! Tests of the bus, with a function that has one of everything.

use super::*;
use crate::device::conformance::{Bench, Sequence};
use crate::device::{Context, Msi};
use serde::{Deserialize, Serialize};
use undercroft_spec::PhysAddr;
use undercroft_spec::pci::header::{self, command};
use undercroft_spec::pci::{capability, ich9, mechanism, msi as layout, q35};

/// Runs `f` with a context and gives the messages that were sent.
fn with<R>(f: impl FnOnce(&mut Context<'_>) -> R) -> (R, Vec<Msi>) {
    let mut bench = Bench::new();
    let result = f(&mut bench.cx());
    (result, bench.msi)
}

/// A function with an I/O, a 32-bit and a 64-bit range, MSI, MSI-X, and a register that remembers the last write.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Example {
    config: ConfigSpace,
    msi: MsiCapability,
    msix: MsixTable,
    last: u64,
}

const IO_BAR: u8 = 0;
const MSIX_BAR: u8 = 1;
const WIDE_BAR: u8 = 2;

fn example() -> Example {
    let mut config = ConfigSpace::new(&Identity {
        vendor: 0x1234,
        device: 0x5678,
        subsystem_vendor: 1,
        subsystem: 2,
        revision: 3,
        class: 0x0880_00,
    });
    config.define_bar(IO_BAR, BarKind::Io, 32);
    config.define_bar(MSIX_BAR, BarKind::Memory32, 8192);
    config.define_bar(WIDE_BAR, BarKind::Prefetchable64, 1 << 20);
    config.define_interrupt_pin(2);
    config.define_express_endpoint();
    let msi = MsiCapability::define(&mut config, 4);
    let msix = MsixTable::define(&mut config, 70, MSIX_BAR, 4096);
    Example { config, msi, msix, last: 0 }
}

impl PciFunction for Example {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }
    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }
    fn config_write(&mut self, cx: &mut Context<'_>, offset: u16, size: u8, value: u32) {
        if self.config.asks_function_level_reset(offset, size, value) {
            return self.reset();
        }
        self.config.write(offset, size, value);
        self.msi.deliver(&mut self.config, cx.msi);
        self.msix.deliver(&self.config, cx.msi);
    }
    fn bar_read(&mut self, _cx: &mut Context<'_>, bar: u8, offset: u64, size: u8) -> u64 {
        if bar == MSIX_BAR { self.msix.read(offset, size) } else { self.last }
    }
    fn bar_write(&mut self, cx: &mut Context<'_>, bar: u8, offset: u64, size: u8, value: u64) {
        match bar {
            MSIX_BAR => self.msix.write(&self.config, offset, size, value, cx.msi),
            _ => self.last = offset << 32 | value & 0xffff_ffff,
        }
    }
    fn reset(&mut self) {
        self.config.reset();
        self.msix.reset();
        self.last = 0;
    }
}

impl PciSlot for Example {
    fn as_function(&self) -> &dyn PciFunction {
        self
    }
    fn as_function_mut(&mut self) -> &mut dyn PciFunction {
        self
    }
}

const PLACE: Bdf = Bdf::new(0, 3, 0);

fn bus() -> PciBus<Example> {
    let mut bus = PciBus::new();
    assert!(bus.insert(PLACE, example()).is_ok());
    bus
}

fn assigned_bus() -> PciBus<Example> {
    let mut bus = bus();
    bus.assign_resources(&FirmwareChoices::default()).unwrap();
    bus
}

fn config_read(bus: &mut PciBus<Example>, bdf: Bdf, offset: u16, size: u8) -> u32 {
    with(|cx| bus.config_read(cx, bdf, offset, size)).0
}

fn config_write(bus: &mut PciBus<Example>, offset: u16, size: u8, value: u32) -> Vec<Msi> {
    with(|cx| bus.config_write(cx, PLACE, offset, size, value)).1
}

fn memory_write(bus: &mut PciBus<Example>, addr: u64, size: u8, value: u64) -> Vec<Msi> {
    let target = bus.memory_target(PhysAddr(addr)).expect("claimed");
    with(|cx| bus.write(cx, target, size, value)).1
}

fn memory_read(bus: &mut PciBus<Example>, addr: u64, size: u8) -> u64 {
    let target = bus.memory_target(PhysAddr(addr)).expect("claimed");
    with(|cx| bus.read(cx, target, size)).0
}

fn find_capability(bus: &mut PciBus<Example>, id: u8) -> u16 {
    let mut at = config_read(bus, PLACE, header::CAPABILITIES_POINTER, 1) as u16;
    while at != 0 {
        if config_read(bus, PLACE, at, 1) as u8 == id {
            return at;
        }
        at = config_read(bus, PLACE, at + capability::NEXT, 1) as u16;
    }
    panic!("no capability {id:#x}");
}

#[test]
fn bar_written_with_ones_reads_back_its_size() {
    let mut bus = bus();
    for (register, expected) in [(0, 0xffff_ffe1u32), (1, 0xffff_e000), (2, 0xfff0_000c), (3, 0xffff_ffff), (4, 0)] {
        let at = header::BASE_ADDRESS_0 + 4 * register;
        config_write(&mut bus, at, 4, 0xffff_ffff);
        assert_eq!(config_read(&mut bus, PLACE, at, 4), expected, "register {register}");
    }
}

#[test]
fn bar_command_bit_clear_is_not_decoded() {
    let mut bus = assigned_bus();
    let base = bus.slot(PLACE).unwrap().config.bar_address(WIDE_BAR).unwrap();
    let port = bus.slot(PLACE).unwrap().config.bar_address(IO_BAR).unwrap() as u16;
    let memory = Target::Bar { bdf: PLACE, bar: WIDE_BAR, offset: 0x123 };
    assert_eq!(bus.memory_target(PhysAddr(base + 0x123)), Some(memory));
    assert_eq!(bus.io_target(port + 5, 1), Some(Target::Bar { bdf: PLACE, bar: IO_BAR, offset: 5 }));
    let before = bus.decode_generation();
    config_write(&mut bus, header::COMMAND, 2, u32::from(command::IO_SPACE));
    assert!(bus.decode_generation() > before);
    assert_eq!(bus.memory_target(PhysAddr(base + 0x123)), None);
    assert!(bus.io_target(port + 5, 1).is_some());
    config_write(&mut bus, header::COMMAND, 2, u32::from(command::MEMORY_SPACE));
    assert_eq!(bus.memory_target(PhysAddr(base + 0x123)), Some(memory));
    assert_eq!(bus.io_target(port + 5, 1), None);
}

#[test]
fn bar_above_4_gbytes_is_decoded_there() {
    let mut bus = assigned_bus();
    config_write(&mut bus, header::BASE_ADDRESS_0 + 8, 4, 0x1234_0000);
    config_write(&mut bus, header::BASE_ADDRESS_0 + 12, 4, 0x12);
    let target = bus.memory_target(PhysAddr(0x12_123f_ffff));
    assert_eq!(target, Some(Target::Bar { bdf: PLACE, bar: WIDE_BAR, offset: 0xf_ffff }));
    assert_eq!(bus.memory_target(PhysAddr(0x12_1240_0000)), None);
}

#[test]
fn resources_assigned_are_aligned_and_disjoint() {
    let mut bus = PciBus::new();
    for device in 1..25 {
        assert!(bus.insert(Bdf::new(0, device, 0), example()).is_ok());
    }
    bus.assign_resources(&FirmwareChoices::default()).unwrap();
    let ranges: Vec<_> = bus.memory_ranges().collect();
    assert_eq!(ranges.len(), 2 + 2 * 24);
    assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
    for (bdf, slot) in bus.slots() {
        for bar in slot.config.decoded_bars() {
            assert_eq!(bar.base % (bar.last - bar.base + 1), 0, "{bdf} {bar:?}");
        }
        assert_eq!(slot.config.decoded_bars().count(), 3);
    }
}

#[test]
fn resources_window_too_small_is_refused_with_the_bar() {
    let mut bus = bus();
    let choices = FirmwareChoices { memory: 0xc000_0000..0xc008_0000, ..FirmwareChoices::default() };
    let error = bus.assign_resources(&choices).unwrap_err();
    assert_eq!((error.bdf, error.bar, error.size), (PLACE, WIDE_BAR, 1 << 20));
    assert_eq!(bus.memory_ranges().count(), 0);
}

#[test]
fn mechanism_1_and_ecam_reach_the_same_register() {
    let mut bus = assigned_bus();
    let address = mechanism::CONFIG_ADDRESS_ENABLE | u32::from(PLACE.0) << 8;
    let target = bus.io_target(0xcf8, 4).unwrap();
    with(|cx| bus.write(cx, target, 4, u64::from(address)));
    assert_eq!(with(|cx| bus.read(cx, target, 4)).0, u64::from(address));
    let data = bus.io_target(0xcfc, 4).unwrap();
    assert_eq!(with(|cx| bus.read(cx, data, 4)).0, 0x5678_1234);
    let high = bus.io_target(0xcfe, 2).unwrap();
    assert_eq!(with(|cx| bus.read(cx, high, 2)).0, 0x5678);
    let byte = bus.io_target(0xcfd, 1).unwrap();
    assert_eq!(with(|cx| bus.read(cx, byte, 1)).0, 0x12);
    let ecam = 0xb000_0000 + (u64::from(PLACE.0) << 12);
    assert_eq!(memory_read(&mut bus, ecam, 4), 0x5678_1234);
    assert_eq!(memory_read(&mut bus, ecam + 0x100, 4), 0);
    assert_eq!(memory_read(&mut bus, 0xb000_0000 + (31 << 15), 4), 0x2918_8086);
    assert_eq!(bus.io_target(0xcf9, 1), None);
}

#[test]
fn mechanism_1_disabled_claims_nothing() {
    let mut bus = assigned_bus();
    assert_eq!(bus.io_target(0xcfc, 4), None);
}

#[test]
fn config_of_absent_function_reads_ones() {
    let mut bus = assigned_bus();
    assert_eq!(config_read(&mut bus, Bdf::new(0, 9, 0), 0, 4), 0xffff_ffff);
    assert_eq!(config_read(&mut bus, Bdf::new(7, 3, 0), 0, 4), 0xffff_ffff);
}

#[test]
fn pciexbar_moved_moves_the_ecam() {
    let mut bus = assigned_bus();
    let host = 0xb000_0000;
    assert_eq!(memory_read(&mut bus, host, 4), 0x29c0_8086);
    memory_write(&mut bus, host + u64::from(q35::PCIEXBAR), 8, 0xe000_0005);
    assert_eq!(bus.memory_target(PhysAddr(host)), None);
    assert_eq!(memory_read(&mut bus, 0xe000_0000, 4), 0x29c0_8086);
    // Length code 2 is 64 MBytes.
    assert_eq!(bus.memory_target(PhysAddr(0xe400_0000)), None);
}

#[test]
fn lpc_bridge_programmed_tells_the_board_where_things_are() {
    let mut bus = bus();
    assert_eq!((bus.lpc_bridge.pm_base(), bus.lpc_bridge.hpet_base()), (None, None));
    bus.assign_resources(&FirmwareChoices::default()).unwrap();
    assert_eq!(bus.lpc_bridge.pm_base(), Some(0x600));
    assert_eq!(bus.lpc_bridge.sci_irq(), 9);
    assert_eq!(bus.lpc_bridge.hpet_base(), Some(0xfed0_0000));
    assert!(bus.lpc_bridge.is_io_apic_enabled());
    memory_write(&mut bus, 0xfed1_c000 + ich9::HPTC, 4, 0x81);
    assert_eq!(bus.lpc_bridge.hpet_base(), Some(0xfed0_1000));
    assert_eq!(memory_read(&mut bus, 0xfed1_c000 + ich9::D31IR, 4), 0x1076_2107);
}

#[test]
fn intx_asserted_reaches_the_routed_inputs() {
    let mut bus = assigned_bus();
    assert_eq!((bus.io_apic_inputs(), bus.i8259_inputs()), (0, 0));
    bus.slots_mut().next().unwrap().1.config.set_interrupt(true);
    // Device 3, INTB#: PIRQ (3 + 1) % 8, which is I/O APIC input 20 and, by the firmware's choice, IRQ 10.
    assert_eq!((bus.io_apic_inputs(), bus.i8259_inputs()), (1 << 4, 1 << 10));
    assert_eq!(config_read(&mut bus, PLACE, header::INTERRUPT_LINE, 2), 0x020a);
    let disable = u32::from(command::MEMORY_SPACE | command::INTERRUPT_DISABLE);
    config_write(&mut bus, header::COMMAND, 2, disable);
    assert_eq!((bus.io_apic_inputs(), bus.i8259_inputs()), (0, 0));
    assert_eq!(config_read(&mut bus, PLACE, header::STATUS, 2) & 8, 8);
}

#[test]
fn pirq_routes_of_chipset_devices_follow_their_registers() {
    let mut lpc = LpcBridge::new();
    assert_eq!([1, 2, 3, 4].map(|pin| lpc.pirq_of(31, pin)), [0, 1, 2, 3]);
    lpc.rotate_interrupt_routes();
    assert!((0..32).all(|device| (1..=4).all(|pin| lpc.pirq_of(device, pin) == (device + pin - 1) % 8)));
    lpc.chipset_configuration_write(ich9::D31IR, 2, 0x0567);
    assert_eq!([1, 2, 3, 4].map(|pin| lpc.pirq_of(31, pin)), [7, 6, 5, 0]);
    assert_eq!(lpc.i8259_input_of(0), None);
    lpc.config_mut().write(ich9::PIRQA_ROUT, 1, 11);
    assert_eq!(lpc.i8259_input_of(0), Some(11));
    lpc.config_mut().write(ich9::PIRQA_ROUT, 1, 13);
    assert_eq!(lpc.i8259_input_of(0), None);
}

/// Enables MSI-X with vector 65 at 0xfee0_1000, data 0x41.
fn bus_with_msix() -> (PciBus<Example>, u64, u16) {
    let mut bus = assigned_bus();
    let table = bus.slot(PLACE).unwrap().config.bar_address(MSIX_BAR).unwrap();
    let at = find_capability(&mut bus, capability::ID_MSIX);
    config_write(&mut bus, header::COMMAND, 2, u32::from(command::MEMORY_SPACE | command::BUS_MASTER));
    config_write(&mut bus, at + layout::MSIX_CONTROL, 2, 0x8000);
    memory_write(&mut bus, table + 65 * 16, 8, 0xfee0_1000);
    memory_write(&mut bus, table + 65 * 16 + 8, 4, 0x41);
    (bus, table, at)
}

fn trigger(bus: &mut PciBus<Example>, vector: u16) -> Vec<Msi> {
    let mut out = Vec::new();
    let slot = bus.slots_mut().next().unwrap().1;
    slot.msix.trigger(&slot.config, vector, &mut out);
    out
}

const MESSAGE: Msi = Msi { address: 0xfee0_1000, data: 0x41 };

#[test]
fn msix_vector_masked_is_pending_until_unmasked() {
    let (mut bus, table, _) = bus_with_msix();
    assert_eq!(trigger(&mut bus, 65), []);
    assert_eq!(memory_read(&mut bus, table + 4096 + 8, 8), 2);
    assert_eq!(memory_read(&mut bus, table + 4096 + 8, 4), 2);
    assert_eq!(memory_write(&mut bus, table + 65 * 16 + 12, 4, 0), [MESSAGE]);
    assert_eq!(memory_read(&mut bus, table + 4096 + 8, 8), 0);
    assert_eq!(trigger(&mut bus, 65), [MESSAGE]);
    assert_eq!(trigger(&mut bus, 70), []);
}

#[test]
fn msix_function_mask_holds_back_all_vectors() {
    let (mut bus, table, at) = bus_with_msix();
    memory_write(&mut bus, table + 65 * 16 + 12, 4, 0);
    config_write(&mut bus, at + layout::MSIX_CONTROL, 2, 0xc000);
    assert_eq!(trigger(&mut bus, 65), []);
    assert_eq!(config_write(&mut bus, at + layout::MSIX_CONTROL, 2, 0x8000), [MESSAGE]);
}

#[test]
fn msix_without_bus_master_waits_for_it() {
    let (mut bus, table, _) = bus_with_msix();
    memory_write(&mut bus, table + 65 * 16 + 12, 4, 0);
    config_write(&mut bus, header::COMMAND, 2, u32::from(command::MEMORY_SPACE));
    assert_eq!(trigger(&mut bus, 65), []);
    let master = u32::from(command::MEMORY_SPACE | command::BUS_MASTER);
    assert_eq!(config_write(&mut bus, header::COMMAND, 2, master), [MESSAGE]);
}

#[test]
fn msi_masked_vector_is_pending_until_unmasked() {
    let mut bus = assigned_bus();
    let at = find_capability(&mut bus, capability::ID_MSI);
    config_write(&mut bus, header::COMMAND, 2, u32::from(command::BUS_MASTER));
    config_write(&mut bus, at + layout::MSI_ADDRESS, 4, 0xfee0_0003);
    config_write(&mut bus, at + layout::MSI_DATA_64, 2, 0x51);
    config_write(&mut bus, at + layout::MSI_MASK_64, 4, 1 << 1);
    // Two of the four vectors are given.
    config_write(&mut bus, at + layout::MSI_CONTROL, 2, 0x11);
    let mut out = Vec::new();
    let mut slot = bus.slots_mut().next().unwrap().1.clone();
    slot.msi.trigger(&mut slot.config, 2, &mut out);
    assert_eq!(out, [Msi { address: 0xfee0_0000, data: 0x50 }]);
    out.clear();
    slot.msi.trigger(&mut slot.config, 3, &mut out);
    assert_eq!((out.len(), slot.config.read(at + layout::MSI_PENDING_64, 4)), (0, 2));
    let ((), sent) = with(|cx| slot.config_write(cx, at + layout::MSI_MASK_64, 4, 0));
    assert_eq!(sent, [Msi { address: 0xfee0_0000, data: 0x51 }]);
}

#[test]
fn function_level_reset_clears_the_function() {
    let mut bus = assigned_bus();
    let at = find_capability(&mut bus, capability::ID_EXPRESS);
    assert!(bus.slot(PLACE).unwrap().config.command() != 0);
    config_write(&mut bus, at + 8, 2, 0xa810);
    assert_eq!(bus.slot(PLACE).unwrap().config.command(), 0);
    assert_eq!(config_read(&mut bus, PLACE, at + 8, 2), 0x2810);
}

#[test]
fn function_beside_function_0_makes_the_device_multi_function() {
    let mut bus = bus();
    assert_eq!(config_read(&mut bus, PLACE, header::HEADER_TYPE, 1), 0);
    assert!(bus.insert(Bdf::new(0, 3, 5), example()).is_ok());
    assert_eq!(config_read(&mut bus, PLACE, header::HEADER_TYPE, 1), 0x80);
    assert!(bus.insert(Bdf::new(0, 31, 0), example()).is_err());
}

#[test]
fn bus_under_hostile_accesses_neither_panics_nor_forgets_how_to_reset() {
    let mut bus = assigned_bus();
    let fresh = postcard::to_stdvec(&assigned_bus()).unwrap();
    let msix_at = find_capability(&mut bus, capability::ID_MSIX);
    let mut numbers = Sequence::new(1);
    let mut sent = 0;
    for round in 0..10_000u64 {
        let (pick, value) = (numbers.bits(), numbers.bits());
        if round % 64 == 0 {
            // Now and then what a driver would do, so that the hostile accesses meet a working function.
            config_write(&mut bus, header::COMMAND, 2, 7);
            let slot = bus.slots_mut().next().unwrap().1;
            slot.config.write(msix_at + layout::MSIX_CONTROL, 2, 0x8000);
            slot.msix.write(&slot.config, 16 * (value % 70) + 12, 4, 0, &mut Vec::new());
        }
        let size = 1 << (pick >> 8 & 3);
        let target = match pick & 7 {
            0 => bus.memory_target(PhysAddr(value)),
            1 => bus.memory_target(PhysAddr(0xb000_0000 + (value & 0x1f_ffff))),
            2 => bus.io_target(value as u16, size),
            3 => Some(Target::Config { bdf: PLACE, offset: (value >> 56) as u16 }),
            4 => Some(Target::Bar { bdf: PLACE, bar: (value & 7) as u8, offset: value >> (value >> 58) }),
            5 => Some(Target::ChipsetConfiguration { offset: value >> (value >> 58) }),
            6 => Some(Target::Config { bdf: Bdf(value as u16), offset: (value >> 48) as u16 }),
            _ => bus.io_target(0xcf8 + (value as u16 & 7), size),
        };
        let Some(target) = target else { continue };
        let (_, messages) = with(|cx| {
            bus.write(cx, target, size, numbers.bits());
            bus.read(cx, target, size)
        });
        sent += messages.len();
        sent += trigger(&mut bus, (round % 80) as u16).len();
        let _ = (bus.io_apic_inputs(), bus.i8259_inputs(), bus.lpc_bridge.pm_base());
    }
    assert!(sent > 0);
    let saved = postcard::to_stdvec(&bus).unwrap();
    let restored: PciBus<Example> = postcard::from_bytes(&saved).unwrap();
    assert_eq!(postcard::to_stdvec(&restored).unwrap(), saved);
    assert_ne!(saved, fresh);
    bus.reset();
    bus.assign_resources(&FirmwareChoices::default()).unwrap();
    assert_eq!(postcard::to_stdvec(&bus).unwrap(), fresh);
}
