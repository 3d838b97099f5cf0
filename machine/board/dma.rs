//! Memory as the board's devices see it: RAM at its physical addresses, and nothing else.
//!
//! Whether a PCI function may be a bus master at all is its own affair: it looks at its command register before it asks.

use undercroft_phys_map::PhysMap;
use undercroft_platform::device::{Dma, DmaFault};
use undercroft_ram::Ram;
use undercroft_spec::{DmaAddr, PhysAddr};

/// A device's way to RAM, without translation.
pub(super) struct RamDma<'a> {
    pub ram: &'a Ram,
    pub map: PhysMap,
}

impl RamDma<'_> {
    fn offset(&self, addr: DmaAddr, len: usize) -> Result<u64, DmaFault> {
        self.map.ram_range(PhysAddr(addr.get()), len as u64).ok_or(DmaFault { addr })
    }
}

impl Dma for RamDma<'_> {
    fn read(&mut self, addr: DmaAddr, data: &mut [u8]) -> Result<(), DmaFault> {
        let offset = self.offset(addr, data.len())?;
        if self.ram.read(offset, data) { Ok(()) } else { Err(DmaFault { addr }) }
    }

    fn write(&mut self, addr: DmaAddr, data: &[u8]) -> Result<(), DmaFault> {
        let offset = self.offset(addr, data.len())?;
        if self.ram.write_by_device(offset, data) { Ok(()) } else { Err(DmaFault { addr }) }
    }
}
