//! What a function offers to its bus.

use super::config::ConfigSpace;
use crate::clock::Tick;
use crate::device::Context;

/// Bus, device and function number in 16 bits: 15:8, 7:3 and 2:0. PCI Express Base Specification, "Requester ID"; VT-d's source-id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Bdf(pub u16);

impl Bdf {
    /// The function with these numbers; `device` counts modulo 32, `function` modulo 8.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Bdf((bus as u16) << 8 | (device as u16 & 31) << 3 | (function as u16 & 7))
    }

    /// Bus number.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Device number, 0 to 31.
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 31
    }

    /// Function number, 0 to 7.
    pub const fn function(self) -> u8 {
        self.0 as u8 & 7
    }
}

impl std::fmt::Display for Bdf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}

/// A PCI function. It tolerates every offset, size and value. Its INTx# output is in its configuration space.
pub trait PciFunction {
    /// The configuration space.
    fn config(&self) -> &ConfigSpace;
    /// The configuration space.
    fn config_mut(&mut self) -> &mut ConfigSpace;

    /// Software reads 1, 2 or 4 bytes of the configuration space.
    fn config_read(&mut self, _cx: &mut Context<'_>, offset: u16, size: u8) -> u32 {
        self.config().read(offset, size)
    }

    /// Software writes 1, 2 or 4 bytes of the configuration space.
    fn config_write(&mut self, _cx: &mut Context<'_>, offset: u16, size: u8, value: u32) {
        self.config_mut().write(offset, size, value);
    }

    /// Software reads at `offset` in the range of a base address register.
    fn bar_read(&mut self, _cx: &mut Context<'_>, _bar: u8, _offset: u64, _size: u8) -> u64 {
        u64::MAX
    }

    /// Software writes at `offset` in the range of a base address register.
    fn bar_write(&mut self, _cx: &mut Context<'_>, _bar: u8, _offset: u64, _size: u8, _value: u64) {}

    /// As [`crate::device::Timed::next_event`].
    fn next_event(&self) -> Option<Tick> {
        None
    }

    /// As [`crate::device::Timed::advance`]. Afterwards the next event lies later than `cx.now`.
    fn advance(&mut self, _cx: &mut Context<'_>) {}

    /// As [`crate::device::Reset::reset`].
    fn reset(&mut self) {
        self.config_mut().reset();
    }
}

/// A place on the bus: the board's sum of the concrete functions it has, as an `enum` that serde can write.
pub trait PciSlot {
    /// The function that is there.
    fn as_function(&self) -> &dyn PciFunction;
    /// The function that is there.
    fn as_function_mut(&mut self) -> &mut dyn PciFunction;
}
