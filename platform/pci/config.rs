//! The configuration space of one function: plain bytes, and for every bit whether software may write it.
//! PCI Local Bus Specification, "Configuration Space". What a written bit *does* is left to the function that owns the space.

use super::bar::{Bar, BarKind, DecodedBar, Space};
use serde::{Deserialize, Serialize};
use undercroft_spec::pci::header::{self, base_address, command, status};
use undercroft_spec::pci::{capability, express};

/// What a function says it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    pub subsystem: u16,
    /// Revision ID.
    pub revision: u8,
    /// Class code, 24 bits: base class, sub-class, programming interface.
    pub class: u32,
}

/// Configuration space of a function with a header of type 0.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigSpace {
    // Configuration. Each of the three has one byte for each byte of the conventional space.
    power_on: Vec<u8>,
    writable: Vec<u8>,
    write_one_to_clear: Vec<u8>,
    bars: [Option<Bar>; header::BASE_ADDRESS_COUNT],
    last_capability: Option<u16>,
    next_free: u16,
    express: Option<u16>,
    // State.
    data: Vec<u8>,
}

impl ConfigSpace {
    /// A header of type 0 without BARs, capabilities or interrupt pin.
    pub fn new(identity: &Identity) -> Self {
        let bytes = usize::from(header::CONVENTIONAL_BYTES);
        let mut space = ConfigSpace {
            power_on: vec![0; bytes],
            writable: vec![0; bytes],
            write_one_to_clear: vec![0; bytes],
            bars: [None; header::BASE_ADDRESS_COUNT],
            last_capability: None,
            next_free: header::HEADER_END,
            express: None,
            data: vec![0; bytes],
        };
        space.define_u16(header::VENDOR_ID, identity.vendor, 0);
        space.define_u16(header::DEVICE_ID, identity.device, 0);
        let writable_command = command::IO_SPACE
            | command::MEMORY_SPACE
            | command::BUS_MASTER
            | command::PARITY_ERROR_RESPONSE
            | command::SERR_ENABLE
            | command::INTERRUPT_DISABLE;
        space.define_u16(header::COMMAND, 0, writable_command);
        space.define_write_one_to_clear_u16(header::STATUS, status::WRITE_ONE_TO_CLEAR);
        space.define_u32(header::REVISION_ID, identity.class << 8 | u32::from(identity.revision), 0);
        space.define_u8(header::CACHE_LINE_SIZE, 0, 0xff);
        space.define_u16(header::SUBSYSTEM_VENDOR_ID, identity.subsystem_vendor, 0);
        space.define_u16(header::SUBSYSTEM_ID, identity.subsystem, 0);
        space.define_u8(header::INTERRUPT_LINE, 0, 0xff);
        space
    }

    /// Defines a register: its value after power-on and the bits that software may write.
    ///
    /// # Panics
    /// When the register leaves the space: an error of the device's author.
    pub fn define(&mut self, offset: u16, value: &[u8], writable: &[u8]) {
        assert_eq!(value.len(), writable.len());
        let range = usize::from(offset)..usize::from(offset) + value.len();
        self.power_on[range.clone()].copy_from_slice(value);
        self.data[range.clone()].copy_from_slice(value);
        self.writable[range].copy_from_slice(writable);
    }

    /// [`ConfigSpace::define`] for a register of one byte.
    pub fn define_u8(&mut self, offset: u16, value: u8, writable: u8) {
        self.define(offset, &[value], &[writable]);
    }

    /// [`ConfigSpace::define`] for a register of two bytes.
    pub fn define_u16(&mut self, offset: u16, value: u16, writable: u16) {
        self.define(offset, &value.to_le_bytes(), &writable.to_le_bytes());
    }

    /// [`ConfigSpace::define`] for a register of four bytes.
    pub fn define_u32(&mut self, offset: u16, value: u32, writable: u32) {
        self.define(offset, &value.to_le_bytes(), &writable.to_le_bytes());
    }

    /// Makes bits of a two-byte register clear when software writes one to them.
    pub fn define_write_one_to_clear_u16(&mut self, offset: u16, bits: u16) {
        let at = usize::from(offset);
        self.write_one_to_clear[at..at + 2].copy_from_slice(&bits.to_le_bytes());
    }

    /// Gives the function an interrupt pin: 1 to 4 for INTA# to INTD#.
    pub fn define_interrupt_pin(&mut self, pin: u8) {
        assert!((1..=4).contains(&pin));
        self.define_u8(header::INTERRUPT_PIN, pin, 0);
    }

    /// Says that the device has functions other than this one, which is its function 0.
    pub fn define_multi_function(&mut self) {
        self.define_u8(header::HEADER_TYPE, header::HEADER_TYPE_MULTI_FUNCTION, 0);
    }

    /// Adds a base address register. A 64-bit one also takes the next register.
    ///
    /// # Panics
    /// When the index or the size is not one that the specification allows: an error of the device's author.
    pub fn define_bar(&mut self, index: u8, kind: BarKind, size: u64) {
        assert!(size.is_power_of_two() && size >= kind.smallest_size(), "BAR size {size:#x}");
        let at = header::BASE_ADDRESS_0 + 4 * u16::from(index);
        let mask = !(size - 1);
        self.define_u32(at, kind.flags(), mask as u32 & !kind.flag_bits());
        if kind.is_64_bit() {
            assert!(index < 5 && self.bars[usize::from(index) + 1].is_none());
            self.define_u32(at + 4, 0, (mask >> 32) as u32);
        }
        assert!(self.bars[usize::from(index)].is_none());
        self.bars[usize::from(index)] = Some(Bar { kind, size });
    }

    /// Appends a capability of `bytes` bytes, its header of two bytes included, and tells where it lies.
    ///
    /// # Panics
    /// When the space is full: an error of the device's author.
    pub fn define_capability(&mut self, id: u8, bytes: u16) -> u16 {
        let at = self.next_free;
        let end = at + bytes.next_multiple_of(4);
        assert!(bytes >= capability::HEADER_BYTES && end <= header::CONVENTIONAL_BYTES, "capability list is full");
        self.next_free = end;
        self.define_u8(at + capability::ID, id, 0);
        let link = self.last_capability.map_or(header::CAPABILITIES_POINTER, |last| last + capability::NEXT);
        self.define_u8(link, at as u8, 0);
        self.last_capability = Some(at);
        let status = self.read_u16(header::STATUS) | status::CAPABILITIES_LIST;
        self.define_u16(header::STATUS, status, 0);
        at
    }

    /// Adds the PCI Express capability of a root complex integrated endpoint with function level reset.
    pub fn define_express_endpoint(&mut self) {
        use express::{capabilities, device_capabilities, device_control};
        let at = self.define_capability(capability::ID_EXPRESS, express::BYTES);
        let kind = capabilities::TYPE_ROOT_COMPLEX_ENDPOINT << capabilities::TYPE_SHIFT | capabilities::VERSION_2;
        self.define_u16(at + express::CAPABILITIES, kind, 0);
        let device = device_capabilities::ROLE_BASED_ERROR_REPORTING | device_capabilities::FUNCTION_LEVEL_RESET;
        self.define_u32(at + express::DEVICE_CAPABILITIES, device, 0);
        let control =
            device_control::RELAXED_ORDERING | device_control::NO_SNOOP | device_control::MAX_READ_REQUEST_512;
        self.define_u16(at + express::DEVICE_CONTROL, control, device_control::WRITABLE);
        self.define_write_one_to_clear_u16(at + express::DEVICE_STATUS, express::DEVICE_STATUS_WRITE_ONE_TO_CLEAR);
        self.express = Some(at);
    }

    /// Whether a write asks for a function level reset. PCI Express Base Specification, "Function Level Reset (FLR)".
    pub fn asks_function_level_reset(&self, offset: u16, size: u8, value: u32) -> bool {
        let Some(express) = self.express else { return false };
        let high_byte = express + express::DEVICE_CONTROL + 1;
        let Some(byte) = high_byte.checked_sub(offset).filter(|byte| *byte < u16::from(size.min(4))) else {
            return false;
        };
        let bit = (express::device_control::INITIATE_FUNCTION_LEVEL_RESET >> 8) as u8;
        (value >> (8 * byte)) as u8 & bit != 0
    }

    /// Reads `size` bytes (1, 2 or 4). Beyond the conventional space, a PCI Express function has no extended capabilities and reads zero;
    /// another has no registers and reads ones.
    pub fn read(&self, offset: u16, size: u8) -> u32 {
        let mut value = 0;
        for byte in 0..u16::from(size.min(4)) {
            let at = offset.saturating_add(byte);
            let absent = if self.express.is_some() && at < header::EXTENDED_BYTES { 0 } else { 0xff };
            let data = self.data.get(usize::from(at)).copied().unwrap_or(absent);
            value |= u32::from(data) << (8 * byte);
        }
        value
    }

    /// Writes `size` bytes (1, 2 or 4): bits that are not writable keep their value.
    pub fn write(&mut self, offset: u16, size: u8, value: u32) {
        for byte in 0..u16::from(size.min(4)) {
            let at = usize::from(offset.saturating_add(byte));
            let new = (value >> (8 * byte)) as u8;
            let (Some(data), Some(writable), Some(clear)) =
                (self.data.get_mut(at), self.writable.get(at), self.write_one_to_clear.get(at))
            else {
                return;
            };
            *data = (*data & !writable | new & writable) & !(new & clear);
        }
    }

    /// A two-byte register.
    pub fn read_u16(&self, offset: u16) -> u16 {
        self.read(offset, 2) as u16
    }

    /// Sets a register of `size` bytes whatever its write mask: for the device itself and for what stands in for firmware.
    pub fn set(&mut self, offset: u16, size: u8, value: u32) {
        for (byte, new) in value.to_le_bytes().into_iter().take(usize::from(size)).enumerate() {
            if let Some(data) = self.data.get_mut(usize::from(offset) + byte) {
                *data = new;
            }
        }
    }

    /// The command register.
    pub fn command(&self) -> u16 {
        self.read_u16(header::COMMAND)
    }

    /// Whether the function may start transactions.
    pub fn is_bus_master(&self) -> bool {
        self.command() & command::BUS_MASTER != 0
    }

    /// The interrupt pin: 1 to 4 for INTA# to INTD#, 0 for none.
    pub fn interrupt_pin(&self) -> u8 {
        self.read(header::INTERRUPT_PIN, 1) as u8
    }

    /// Tells whether the function wants its INTx# asserted.
    pub fn set_interrupt(&mut self, wanted: bool) {
        let status = self.read_u16(header::STATUS);
        let bit = if wanted { status::INTERRUPT_STATUS } else { 0 };
        self.set(header::STATUS, 2, u32::from(status & !status::INTERRUPT_STATUS | bit));
    }

    /// Whether INTx# is asserted.
    pub fn is_intx_asserted(&self) -> bool {
        self.read_u16(header::STATUS) & status::INTERRUPT_STATUS != 0
            && self.command() & command::INTERRUPT_DISABLE == 0
            && self.interrupt_pin() != 0
    }

    /// The base address registers that there are, with their indices.
    pub fn bars(&self) -> impl Iterator<Item = (u8, Bar)> + '_ {
        self.bars.iter().enumerate().filter_map(|(index, bar)| Some((index as u8, (*bar)?)))
    }

    /// The address in a base address register.
    pub fn bar_address(&self, index: u8) -> Option<u64> {
        let bar = (*self.bars.get(usize::from(index))?)?;
        let at = header::BASE_ADDRESS_0 + 4 * u16::from(index);
        let low = u64::from(self.read(at, 4) & !bar.kind.flag_bits());
        let high = if bar.kind.is_64_bit() { u64::from(self.read(at + 4, 4)) } else { 0 };
        Some(high << 32 | low)
    }

    /// Puts an address into a base address register, as software would by writing it.
    pub fn set_bar_address(&mut self, index: u8, address: u64) {
        let Some(bar) = self.bars.get(usize::from(index)).copied().flatten() else { return };
        let at = header::BASE_ADDRESS_0 + 4 * u16::from(index);
        self.write(at, 4, address as u32);
        if bar.kind.is_64_bit() {
            self.write(at + 4, 4, (address >> 32) as u32);
        }
    }

    /// The ranges that the function responds to now. A register that holds zero, or from which the range would reach the end of its space
    /// (as while software sizes it), is not decoded.
    pub fn decoded_bars(&self) -> impl Iterator<Item = DecodedBar> + '_ {
        let command = self.command();
        self.bars().filter_map(move |(index, bar)| {
            let space = bar.kind.space();
            let (enable, limit) = match space {
                Space::Io => (command::IO_SPACE, 0xffff),
                Space::Memory if bar.kind.is_64_bit() => (command::MEMORY_SPACE, u64::MAX),
                Space::Memory => (command::MEMORY_SPACE, 0xffff_ffff),
            };
            let base = self.bar_address(index)?;
            let last = base.checked_add(bar.size.checked_sub(1)?)?;
            (command & enable != 0 && base != 0 && last < limit).then_some(DecodedBar { index, space, base, last })
        })
    }

    /// Back to the values after power-on.
    pub fn reset(&mut self) {
        self.data.clone_from(&self.power_on);
    }
}

impl BarKind {
    fn flag_bits(self) -> u32 {
        if self == BarKind::Io { base_address::IO_FLAGS } else { base_address::MEMORY_FLAGS }
    }

    fn flags(self) -> u32 {
        match self {
            BarKind::Io => base_address::IO,
            BarKind::Memory32 => 0,
            BarKind::Memory64 => base_address::MEMORY_64,
            BarKind::Prefetchable64 => base_address::MEMORY_64 | base_address::PREFETCHABLE,
        }
    }
}
