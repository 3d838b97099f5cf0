//! What firmware would have done to the bus before it starts an operating system, for machines that start one without firmware.
//! PCI Firmware Specification, "Device State at Firmware/Operating System Handoff".

use super::bar::Space;
use super::bus::PciBus;
use super::function::{Bdf, PciSlot};
use std::ops::Range;
use undercroft_spec::pci::header::{self, command};

/// Smallest distance between two memory ranges: a page each, so that a hypervisor can hand out functions one by one.
const MEMORY_GRANULE: u64 = 4096;

/// The choices that firmware makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirmwareChoices {
    /// Where memory ranges may lie.
    pub memory: Range<u64>,
    /// Where I/O ranges may lie.
    pub io: Range<u64>,
    /// Where the memory-mapped configuration space lies, 256 MBytes aligned to its size.
    pub ecam_base: u64,
    /// Where the power management registers lie, aligned to 128.
    pub pm_base: u16,
    /// Where the chipset configuration registers lie, aligned to 16 KBytes.
    pub rcba: u32,
    /// The inputs of the 8259s for PIRQA# to PIRQH#.
    pub i8259_inputs: [u8; 8],
    /// End of RAM below 4 GBytes.
    pub low_memory_end: u64,
    /// End of RAM above 4 GBytes; 4 GBytes when there is none.
    pub high_memory_end: u64,
}

impl Default for FirmwareChoices {
    /// As is usual on this chipset; RAM ends are to be filled in.
    fn default() -> Self {
        FirmwareChoices {
            memory: 0xc000_0000..0xfec0_0000,
            io: 0xc000..0x1_0000,
            ecam_base: 0xb000_0000,
            pm_base: 0x600,
            rcba: 0xfed1_c000,
            i8259_inputs: [10, 10, 11, 11, 10, 10, 11, 11],
            low_memory_end: 1 << 20,
            high_memory_end: 1 << 32,
        }
    }
}

/// A base address register found no room.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "no room for {size:#x} bytes of {space:?} space: BAR {bar} of PCI function {bdf} (free: {free:#x} up to {end:#x})"
)]
pub struct ResourceError {
    /// The function.
    pub bdf: Bdf,
    /// Index of the register.
    pub bar: u8,
    /// The space.
    pub space: Space,
    /// Bytes that it needs.
    pub size: u64,
    /// First free address.
    pub free: u64,
    /// End of the window.
    pub end: u64,
}

impl<S: PciSlot> PciBus<S> {
    /// Does to the bus what firmware would: programs the bridges, gives every base address register an address, lets functions decode
    /// their ranges, and notes the interrupt lines. Functions do not become bus masters: that is their drivers' decision.
    ///
    /// To be called after [`PciBus::reset`] on a machine without firmware. On an error the bus is as after that reset.
    pub fn assign_resources(&mut self, choices: &FirmwareChoices) -> Result<(), ResourceError> {
        self.host_bridge.set_ecam_base(choices.ecam_base);
        self.host_bridge.set_memory_ends(choices.low_memory_end, choices.high_memory_end);
        self.lpc_bridge.set_bases(choices.pm_base, choices.rcba);
        self.lpc_bridge.set_i8259_inputs(&choices.i8259_inputs);
        self.lpc_bridge.rotate_interrupt_routes();
        let assigned =
            self.assign_space(Space::Memory, &choices.memory).and_then(|()| self.assign_space(Space::Io, &choices.io));
        if let Err(error) = assigned {
            self.reset();
            return Err(error);
        }
        self.assign_interrupt_lines();
        self.configuration_changed();
        Ok(())
    }

    /// Places the ranges of one space, the largest first so that alignment leaves no holes.
    fn assign_space(&mut self, space: Space, window: &Range<u64>) -> Result<(), ResourceError> {
        let mut wanted = Vec::new();
        for (bdf, function) in self.slots_in_order() {
            let bars = function.config().bars().filter(|(_, bar)| bar.kind.space() == space);
            wanted.extend(bars.map(|(index, bar)| (bdf, index, bar.size)));
        }
        wanted.sort_by_key(|(bdf, index, size)| (std::cmp::Reverse(*size), *bdf, *index));
        let (granule, enable) = match space {
            Space::Memory => (MEMORY_GRANULE, command::MEMORY_SPACE),
            Space::Io => (1, command::IO_SPACE),
        };
        let mut free = window.start;
        for (bdf, bar, size) in wanted {
            let error = ResourceError { bdf, bar, space, size, free, end: window.end };
            let base = free.checked_next_multiple_of(size.max(granule)).ok_or_else(|| error.clone())?;
            free = base.checked_add(size).filter(|end| *end <= window.end).ok_or(error)?;
            if let Some(function) = self.function_mut(bdf) {
                let config = function.config_mut();
                config.set_bar_address(bar, base);
                config.set(header::COMMAND, 2, u32::from(config.command() | enable));
            }
        }
        Ok(())
    }

    fn assign_interrupt_lines(&mut self) {
        let lpc = self.lpc_bridge.clone();
        for (bdf, function) in self.slots_in_order() {
            let config = function.config_mut();
            if let pin @ 1..=4 = config.interrupt_pin() {
                let line = lpc.i8259_input_of(lpc.pirq_of(bdf.device(), pin)).unwrap_or(0xff);
                config.set(header::INTERRUPT_LINE, 1, u32::from(line));
            }
        }
    }
}
