//! The root bus: finds whose an access is, carries it out, and collects the functions' interrupt levels and times.
//! PCI Local Bus Specification, "Configuration Mechanism #1"; PCI Express Base Specification, "PCI Express Enhanced Configuration Access
//! Mechanism (ECAM)".

use super::bar::Space;
use super::decode::{DecodeMap, Owner, Window};
use super::function::{Bdf, PciFunction, PciSlot};
use super::host_bridge::HostBridge;
use super::lpc::LpcBridge;
use crate::clock::Tick;
use crate::device::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use undercroft_spec::PhysAddr;
use undercroft_spec::pci::mechanism;

/// Place of the host bridge.
pub const HOST_BRIDGE: Bdf = Bdf::new(0, 0, 0);
/// Place of the LPC bridge.
pub const LPC_BRIDGE: Bdf = Bdf::new(0, 31, 0);

/// Root bus 0 with its two bridges and the board's own functions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PciBus<S> {
    // State.
    /// The host bridge.
    pub host_bridge: HostBridge,
    /// The LPC bridge.
    pub lpc_bridge: LpcBridge,
    slots: BTreeMap<Bdf, S>,
    config_address: u32,
    // Caches.
    #[serde(skip)]
    decode: Option<DecodeMap>,
    #[serde(skip)]
    decode_generation: u64,
}

/// What an access on the bus is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The CONFIG_ADDRESS register.
    ConfigAddress,
    /// A configuration register of a function, which need not exist.
    Config {
        /// The function.
        bdf: Bdf,
        /// Offset in its configuration space.
        offset: u16,
    },
    /// The range of a base address register.
    Bar {
        /// The function.
        bdf: Bdf,
        /// Index of the register.
        bar: u8,
        /// Offset in the range.
        offset: u64,
    },
    /// The chipset configuration registers.
    ChipsetConfiguration {
        /// Offset in the range.
        offset: u64,
    },
}

impl Target {
    /// The function whose context the access needs.
    pub const fn requester(&self) -> Bdf {
        match self {
            Target::Config { bdf, .. } | Target::Bar { bdf, .. } => *bdf,
            Target::ConfigAddress => HOST_BRIDGE,
            Target::ChipsetConfiguration { .. } => LPC_BRIDGE,
        }
    }
}

impl<S: PciSlot> PciBus<S> {
    /// A bus with the two bridges after power-on, and nothing else.
    pub fn new() -> Self {
        PciBus {
            host_bridge: HostBridge::new(),
            lpc_bridge: LpcBridge::new(),
            slots: BTreeMap::new(),
            config_address: 0,
            decode: None,
            decode_generation: 0,
        }
    }

    /// Puts a function into a place. Gives it back when the place is taken, or is not on bus 0.
    pub fn insert(&mut self, bdf: Bdf, slot: S) -> Result<(), S> {
        if bdf.bus() != 0 || bdf == HOST_BRIDGE || bdf == LPC_BRIDGE || self.slots.contains_key(&bdf) {
            return Err(slot);
        }
        self.slots.insert(bdf, slot);
        self.decode = None;
        let device = Bdf::new(0, bdf.device(), 0);
        if self.slots.range(Bdf::new(0, bdf.device(), 1)..=Bdf::new(0, bdf.device(), 7)).next().is_some()
            && let Some(first) = self.slots.get_mut(&device)
        {
            first.as_function_mut().config_mut().define_multi_function();
        }
        Ok(())
    }

    /// The functions that the board put in, in the order of their places.
    pub fn slots(&self) -> impl Iterator<Item = (Bdf, &S)> {
        self.slots.iter().map(|(bdf, slot)| (*bdf, slot))
    }

    /// The functions that the board put in, as [`PciBus::slots`]: to attach their connections after a restore.
    pub fn slots_mut(&mut self) -> impl Iterator<Item = (Bdf, &mut S)> {
        self.decode = None;
        self.slots.iter_mut().map(|(bdf, slot)| (*bdf, slot))
    }

    /// The board's function at a place.
    pub fn slot(&self, bdf: Bdf) -> Option<&S> {
        self.slots.get(&bdf)
    }

    /// What a memory access at `addr` is for, if anything on this bus claims it.
    pub fn memory_target(&mut self, addr: PhysAddr) -> Option<Target> {
        let addr = addr.get();
        let window = *self.decode_map().find(Space::Memory, addr)?;
        let offset = addr - window.base;
        Some(match window.owner {
            Owner::Ecam => Target::Config { bdf: ecam_function(offset), offset: (offset & 0xfff) as u16 },
            Owner::ChipsetConfiguration => Target::ChipsetConfiguration { offset },
            Owner::Bar(bdf, bar) => Target::Bar { bdf, bar, offset },
        })
    }

    /// What an I/O access of `size` bytes at `port` is for, if anything on this bus claims it.
    pub fn io_target(&mut self, port: u16, size: u8) -> Option<Target> {
        if port == mechanism::CONFIG_ADDRESS_PORT && size == 4 {
            return Some(Target::ConfigAddress);
        }
        if let Some(byte @ 0..4) = port.checked_sub(mechanism::CONFIG_DATA_PORT) {
            if self.config_address & mechanism::CONFIG_ADDRESS_ENABLE == 0 {
                return None;
            }
            let bdf = Bdf((self.config_address >> mechanism::CONFIG_ADDRESS_FUNCTION_SHIFT) as u16);
            let register = (self.config_address & mechanism::CONFIG_ADDRESS_REGISTER) as u16;
            return Some(Target::Config { bdf, offset: register + byte });
        }
        let window = *self.decode_map().find(Space::Io, u64::from(port))?;
        match window.owner {
            Owner::Bar(bdf, bar) => Some(Target::Bar { bdf, bar, offset: u64::from(port) - window.base }),
            Owner::Ecam | Owner::ChipsetConfiguration => None,
        }
    }

    /// Carries a read out. What nobody answers reads as ones, in all 64 bits: the caller keeps those it asked for.
    pub fn read(&mut self, cx: &mut Context<'_>, target: Target, size: u8) -> u64 {
        match target {
            Target::ConfigAddress => u64::from(self.config_address),
            Target::ChipsetConfiguration { offset } => self.lpc_bridge.chipset_configuration_read(offset, size),
            Target::Config { bdf, offset } if size == 8 => {
                let low = u64::from(self.config_read(cx, bdf, offset, 4));
                u64::from(self.config_read(cx, bdf, offset.saturating_add(4), 4)) << 32 | low
            }
            Target::Config { bdf, offset } => u64::from(self.config_read(cx, bdf, offset, size)),
            Target::Bar { bdf, bar, offset } => {
                let Some(function) = self.function_mut(bdf) else { return u64::MAX };
                function.bar_read(cx, bar, offset, size)
            }
        }
    }

    /// Carries a write out.
    pub fn write(&mut self, cx: &mut Context<'_>, target: Target, size: u8, value: u64) {
        match target {
            Target::ConfigAddress => self.config_address = value as u32 & mechanism::CONFIG_ADDRESS_WRITABLE,
            Target::ChipsetConfiguration { offset } => {
                self.lpc_bridge.chipset_configuration_write(offset, size, value);
            }
            Target::Config { bdf, offset } if size == 8 => {
                self.config_write(cx, bdf, offset, 4, value as u32);
                self.config_write(cx, bdf, offset.saturating_add(4), 4, (value >> 32) as u32);
            }
            Target::Config { bdf, offset } => self.config_write(cx, bdf, offset, size, value as u32),
            Target::Bar { bdf, bar, offset } => {
                if let Some(function) = self.function_mut(bdf) {
                    function.bar_write(cx, bar, offset, size, value);
                }
            }
        }
    }

    /// A read of 1, 2 or 4 bytes of a function's configuration space; ones when there is no such function.
    pub fn config_read(&mut self, cx: &mut Context<'_>, bdf: Bdf, offset: u16, size: u8) -> u32 {
        let Some(function) = self.function_mut(bdf) else { return u32::MAX };
        function.config_read(cx, offset, size)
    }

    /// A write of 1, 2 or 4 bytes of a function's configuration space.
    pub fn config_write(&mut self, cx: &mut Context<'_>, bdf: Bdf, offset: u16, size: u8, value: u32) {
        let Some(function) = self.function_mut(bdf) else { return };
        function.config_write(cx, offset, size, value);
        self.configuration_changed();
    }

    /// A number that grows whenever the ranges that the bus decodes change: whoever caches them looks again. A restored bus begins anew,
    /// so that a restore counts as a change.
    pub fn decode_generation(&self) -> u64 {
        self.decode_generation
    }

    /// The memory ranges that the bus claims now (first and last address), in ascending order.
    pub fn memory_ranges(&mut self) -> impl Iterator<Item = (PhysAddr, PhysAddr)> + '_ {
        let windows = self.decode_map().windows(Space::Memory);
        windows.iter().map(|window| (PhysAddr(window.base), PhysAddr(window.last)))
    }

    /// Levels of PIRQA# to PIRQH# as bits 0 to 7: set for asserted. They drive inputs 16 to 23 of the I/O APIC.
    /// ICH9 datasheet, "PCI Interrupts" and "APIC Interrupt Mapping".
    pub fn io_apic_inputs(&self) -> u8 {
        let mut levels = 0;
        for (bdf, slot) in &self.slots {
            let config = slot.as_function().config();
            if config.is_intx_asserted() {
                levels |= 1 << self.lpc_bridge.pirq_of(bdf.device(), config.interrupt_pin());
            }
        }
        levels
    }

    /// Levels of the inputs 0 to 15 of the 8259s, as far as PIRQs are routed to them: set for asserted.
    pub fn i8259_inputs(&self) -> u16 {
        let pirqs = self.io_apic_inputs();
        let asserted = (0..8).filter(|pirq| pirqs >> pirq & 1 != 0);
        asserted.filter_map(|pirq| self.lpc_bridge.i8259_input_of(pirq)).fold(0, |levels, irq| levels | 1 << irq)
    }

    /// The earliest time at which a function changes by itself.
    pub fn next_event(&self) -> Option<Tick> {
        self.slots.values().filter_map(|slot| slot.as_function().next_event()).min()
    }

    /// A function that has something due at `now`, in the order of their places. The board builds its context, calls
    /// [`PciBus::advance`], and asks again until there is none.
    pub fn next_due(&self, now: Tick) -> Option<Bdf> {
        let due = |slot: &S| slot.as_function().next_event().is_some_and(|at| at <= now);
        self.slots.iter().find(|(_, slot)| due(slot)).map(|(bdf, _)| *bdf)
    }

    /// Lets a function do what is due at `cx.now`.
    pub fn advance(&mut self, cx: &mut Context<'_>, bdf: Bdf) {
        if let Some(function) = self.function_mut(bdf) {
            function.advance(cx);
        }
    }

    /// All functions back to their state after power-on: nothing is decoded until firmware (or
    /// [`PciBus::assign_resources`]) has done its work.
    pub fn reset(&mut self) {
        self.host_bridge.reset();
        self.lpc_bridge.reset();
        self.slots.values_mut().for_each(|slot| slot.as_function_mut().reset());
        self.config_address = 0;
        self.configuration_changed();
    }

    /// A function of the bus, bridges included.
    pub fn function_mut(&mut self, bdf: Bdf) -> Option<&mut dyn PciFunction> {
        match bdf {
            HOST_BRIDGE => Some(&mut self.host_bridge),
            LPC_BRIDGE => Some(&mut self.lpc_bridge),
            _ => Some(self.slots.get_mut(&bdf)?.as_function_mut()),
        }
    }

    /// Rebuilds the decode map after configuration may have changed.
    pub(super) fn configuration_changed(&mut self) {
        let map = self.build_decode_map();
        if self.decode.as_ref() != Some(&map) {
            self.decode = Some(map);
            self.decode_generation += 1;
        }
    }

    pub(super) fn slots_in_order(&mut self) -> impl Iterator<Item = (Bdf, &mut dyn PciFunction)> {
        self.slots.iter_mut().map(|(bdf, slot)| (*bdf, slot.as_function_mut()))
    }

    fn decode_map(&mut self) -> &DecodeMap {
        if self.decode.is_none() {
            self.configuration_changed();
        }
        self.decode.get_or_insert_default()
    }

    fn build_decode_map(&self) -> DecodeMap {
        let mut map = DecodeMap::default();
        if let Some((base, last)) = self.host_bridge.ecam_range() {
            map.add(Space::Memory, Window { base, last, owner: Owner::Ecam });
        }
        if let Some((base, last)) = self.lpc_bridge.chipset_configuration_range() {
            map.add(Space::Memory, Window { base, last, owner: Owner::ChipsetConfiguration });
        }
        for (bdf, slot) in &self.slots {
            for bar in slot.as_function().config().decoded_bars() {
                map.add(bar.space, Window { base: bar.base, last: bar.last, owner: Owner::Bar(*bdf, bar.index) });
            }
        }
        map
    }
}

impl<S: PciSlot> Default for PciBus<S> {
    fn default() -> Self {
        PciBus::new()
    }
}

/// The function that an offset in the memory-mapped configuration space belongs to.
fn ecam_function(offset: u64) -> Bdf {
    Bdf((offset >> mechanism::ECAM_FUNCTION_SHIFT) as u16)
}
