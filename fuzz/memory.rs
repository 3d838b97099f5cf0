//! Memory that devices reach in a case: 64 KiB at address 0.

use undercroft_platform::device::{Dma, DmaFault};
use undercroft_spec::DmaAddr;

/// Bytes of it.
pub const BYTES: usize = 0x1_0000;

/// The memory. It counts what devices do, so that a case can tell a device that does too much.
pub struct Memory {
    /// Its contents.
    pub bytes: Vec<u8>,
    /// Accesses so far.
    pub accesses: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { bytes: vec![0; BYTES], accesses: 0 }
    }
}

impl Memory {
    fn range(&mut self, addr: DmaAddr, len: usize) -> Result<&mut [u8], DmaFault> {
        self.accesses += 1;
        let start = usize::try_from(addr.get()).map_err(|_| DmaFault { addr })?;
        let end = start.checked_add(len).ok_or(DmaFault { addr })?;
        self.bytes.get_mut(start..end).ok_or(DmaFault { addr })
    }
}

impl Dma for Memory {
    fn read(&mut self, addr: DmaAddr, data: &mut [u8]) -> Result<(), DmaFault> {
        data.copy_from_slice(self.range(addr, data.len())?);
        Ok(())
    }

    fn write(&mut self, addr: DmaAddr, data: &[u8]) -> Result<(), DmaFault> {
        self.range(addr, data.len())?.copy_from_slice(data);
        Ok(())
    }
}
