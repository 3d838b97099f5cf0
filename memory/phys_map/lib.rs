//! Which physical addresses are RAM. The rest of the bus belongs to the board's devices.
//!
//! RAM lies in two pieces, as on every PC: from 0 up to a limit below 4 GiB, and the rest from 4 GiB on. The legacy video window
//! (A0000H to BFFFFH) is not RAM.

use undercroft_spec::PhysAddr;

/// Start of the RAM above the 32-bit address space.
pub const HIGH_RAM: u64 = 1 << 32;
const VIDEO: std::ops::Range<u64> = 0xa_0000..0xc_0000;

/// The map from physical addresses to offsets in RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhysMap {
    low: u64,
    high: u64,
}

impl PhysMap {
    /// For `bytes` of RAM of which at most `low_limit` lie below 4 GiB.
    pub const fn new(bytes: u64, low_limit: u64) -> PhysMap {
        let low = if bytes < low_limit { bytes } else { low_limit };
        PhysMap { low, high: bytes - low }
    }
    /// Bytes of RAM below 4 GiB.
    pub const fn low(&self) -> u64 {
        self.low
    }
    /// Bytes of RAM from 4 GiB on.
    pub const fn high(&self) -> u64 {
        self.high
    }
    /// Offset in RAM of an address, if it is RAM.
    #[inline(always)]
    pub const fn ram_offset(&self, addr: PhysAddr) -> Option<u64> {
        let a = addr.get();
        if a < self.low {
            if a >= VIDEO.start && a < VIDEO.end { None } else { Some(a) }
        } else if a >= HIGH_RAM && a - HIGH_RAM < self.high {
            Some(a - HIGH_RAM + self.low)
        } else {
            None
        }
    }
    /// Offset of a range that is RAM as a whole and contiguous.
    pub const fn ram_range(&self, addr: PhysAddr, len: u64) -> Option<u64> {
        if len == 0 {
            return self.ram_offset(addr);
        }
        let Some(last) = addr.get().checked_add(len - 1) else { return None };
        match (self.ram_offset(addr), self.ram_offset(PhysAddr(last))) {
            (Some(first), Some(end))
                if end.wrapping_sub(first) == len - 1 && !(addr.get() < VIDEO.start && last >= VIDEO.end) =>
            {
                Some(first)
            }
            _ => None,
        }
    }
    /// Physical address of an offset in RAM.
    pub const fn address_of(&self, offset: u64) -> PhysAddr {
        if offset < self.low { PhysAddr(offset) } else { PhysAddr(offset - self.low + HIGH_RAM) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_offset_outside_ram_is_none() {
        let map = PhysMap::new(0x1_0000_0000, 0xb000_0000);
        assert_eq!(map.ram_offset(PhysAddr(0xafff_ffff)), Some(0xafff_ffff));
        assert_eq!(map.ram_offset(PhysAddr(0xb000_0000)), None);
        assert_eq!(map.ram_offset(PhysAddr(HIGH_RAM)), Some(0xb000_0000));
        assert_eq!(map.ram_offset(PhysAddr(HIGH_RAM + 0x5000_0000)), None);
        assert_eq!(map.ram_offset(PhysAddr(0xa_0000)), None);
        assert_eq!(map.ram_range(PhysAddr(0x9_f000), 0x3_0000), None);
        assert_eq!(map.ram_range(PhysAddr(0xafff_fff0), 0x20), None);
        assert_eq!(map.ram_range(PhysAddr(u64::MAX), 2), None);
        assert_eq!(map.address_of(0xb000_0000), PhysAddr(HIGH_RAM));
    }
}
