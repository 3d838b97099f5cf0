//! Accesses that leave the processor: device registers and I/O ports.

use super::Cpu;
use undercroft_spec::PhysAddr;

impl Cpu {
    /// Reads a device register.
    pub(crate) fn device_read(&mut self, pa: PhysAddr, len: u64) -> u64 {
        self.bus.read(self.now, pa, len as u8)
    }
    /// Writes a device register.
    pub(crate) fn device_write(&mut self, pa: PhysAddr, len: u64, value: u64) {
        self.bus.write(self.now, pa, len as u8, value);
        self.attention = true;
    }
    /// Reads an I/O port. Permission was checked.
    pub fn io_read(&mut self, port: u16, len: u8) -> u32 {
        let value = self.bus.io_read(self.now, port, len);
        self.attention = true;
        value
    }
    /// Writes an I/O port. Permission was checked.
    pub fn io_write(&mut self, port: u16, len: u8, value: u32) {
        self.bus.io_write(self.now, port, len, value);
        self.attention = true;
    }
}
