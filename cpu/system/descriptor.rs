//! Descriptor tables. SDM volume 3, "Segment Descriptors", "Segment Descriptor Tables", "Gate Descriptors".

use crate::events::Exception;
use crate::mmu::Privilege;
use crate::state::{Segment, access_rights as ar};
use crate::vcpu::Cpu;
use undercroft_spec::LinearAddr;
use undercroft_spec::x86::descriptor::system_type;

/// A selector as error codes name it: without its RPL.
pub(crate) const fn selector_code(selector: u16) -> u32 {
    (selector & !3) as u32
}
/// Is it a null selector?
pub(crate) const fn is_null(selector: u16) -> bool {
    selector & !3 == 0
}
/// TI: does it name a descriptor of the LDT?
pub(crate) const fn in_ldt(selector: u16) -> bool {
    selector & 4 != 0
}
/// RPL of a selector.
pub(crate) const fn rpl(selector: u16) -> u8 {
    (selector & 3) as u8
}

/// A descriptor as it lies in a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    /// Its first 8 bytes.
    pub raw: u64,
    /// Where it lies.
    pub at: LinearAddr,
    /// The selector that named it.
    pub selector: u16,
}

impl Descriptor {
    /// S = 1: code or data.
    pub const fn is_code_or_data(&self) -> bool {
        self.raw >> 44 & 1 != 0
    }
    /// Code.
    pub const fn is_code(&self) -> bool {
        self.raw >> 43 & 3 == 3
    }
    /// Conforming code.
    pub const fn is_conforming(&self) -> bool {
        self.is_code() && self.raw >> 42 & 1 != 0
    }
    /// Type, four bits.
    pub const fn kind(&self) -> u8 {
        (self.raw >> 40 & 15) as u8
    }
    /// System descriptor's type; `None` for code and data.
    pub const fn system_kind(&self) -> Option<u8> {
        if self.is_code_or_data() { None } else { Some(self.kind()) }
    }
    /// DPL.
    pub const fn dpl(&self) -> u8 {
        (self.raw >> 45 & 3) as u8
    }
    /// P.
    pub const fn is_present(&self) -> bool {
        self.raw >> 47 & 1 != 0
    }
    /// The segment register that it loads. The selector keeps the RPL it has.
    pub const fn segment(&self) -> Segment {
        Segment::from_descriptor(self.selector, self.raw)
    }
    /// The code segment that it loads, at this privilege level.
    pub const fn code_segment(&self, cpl: u8) -> Segment {
        Segment::from_descriptor(self.selector & !3 | cpl as u16, self.raw | 1 << 40)
    }
    /// Selector in a gate.
    pub const fn gate_selector(&self) -> u16 {
        (self.raw >> 16) as u16
    }
    /// Offset in a gate, its lower 32 bits.
    pub const fn gate_offset(&self) -> u64 {
        self.raw & 0xffff | self.raw >> 32 & 0xffff_0000
    }
    /// Is it a TSS that can be switched to (outside IA-32e mode)?
    pub const fn is_available_tss(&self) -> bool {
        matches!(self.system_kind(), Some(system_type::TSS16_AVAILABLE | system_type::TSS_AVAILABLE))
    }
    /// Is it a TSS of a task that runs or is nested (outside IA-32e mode)?
    pub const fn is_busy_tss(&self) -> bool {
        matches!(self.system_kind(), Some(system_type::TSS16_BUSY | system_type::TSS_BUSY))
    }
    /// Both L and D set, which no code segment of IA-32e mode may have.
    pub const fn is_long_and_big(&self) -> bool {
        self.raw >> 53 & 3 == 3
    }
    /// L: 64-bit code.
    pub const fn is_long(&self) -> bool {
        self.raw >> 53 & 1 != 0
    }
}

impl Cpu {
    /// Where the `len` bytes of a selector's descriptor lie; `None` when they leave the table, or there is no LDT.
    fn descriptor_address(&self, selector: u16, len: u64) -> Option<LinearAddr> {
        let (base, limit) = if in_ldt(selector) {
            if self.s.ldtr.is_unusable() {
                return None;
            }
            (self.s.ldtr.base, u64::from(self.s.ldtr.limit))
        } else {
            (self.s.gdtr.base, u64::from(self.s.gdtr.limit))
        };
        let offset = u64::from(selector & !7);
        if offset + len - 1 > limit {
            return None;
        }
        let mask = if self.s.is_ia32e() { u64::MAX } else { 0xffff_ffff };
        Some(LinearAddr(base.wrapping_add(offset) & mask))
    }
    /// The descriptor that a selector (not null) names; `outside` when it lies outside its table.
    #[inline]
    pub(crate) fn read_descriptor(&mut self, selector: u16, outside: Exception) -> Result<Descriptor, Exception> {
        let at = self.descriptor_address(selector, 8).ok_or(outside)?;
        let raw = self.load_linear(at, 8, Privilege::Implicit)?;
        Ok(Descriptor { raw, at, selector })
    }
    /// The upper 8 bytes of a system descriptor of IA-32e mode; `wrong` when they lie outside the table or are not the upper half of one.
    pub(crate) fn read_upper_descriptor(&mut self, d: &Descriptor, wrong: Exception) -> Result<u64, Exception> {
        self.descriptor_address(d.selector, 16).ok_or(wrong)?;
        let high = self.load_linear(d.at.wrapping_add(8), 8, Privilege::Implicit)?;
        if high >> 40 & 0x1f != 0 {
            return Err(wrong);
        }
        Ok(high)
    }
    /// Sets the accessed flag of a code or data descriptor in its table.
    #[inline]
    pub(crate) fn set_accessed(&mut self, d: &mut Descriptor) -> Result<(), Exception> {
        if d.raw >> 40 & u64::from(ar::ACCESSED) == 0 {
            d.raw |= u64::from(ar::ACCESSED) << 40;
            self.write_descriptor_type(d)?;
        }
        Ok(())
    }
    /// Marks a TSS descriptor busy in its table.
    pub(crate) fn set_busy(&mut self, d: &mut Descriptor) -> Result<(), Exception> {
        d.raw |= u64::from(system_type::BUSY) << 40;
        self.write_descriptor_type(d)
    }
    /// Writes back the byte that holds the type.
    fn write_descriptor_type(&mut self, d: &Descriptor) -> Result<(), Exception> {
        self.store_linear(self.in_address_space(d.at.wrapping_add(5)), 1, d.raw >> 40 & 0xff, Privilege::Implicit)
    }
    /// Outside IA-32e mode linear addresses are 32 bits wide.
    pub(crate) fn in_address_space(&self, linear: LinearAddr) -> LinearAddr {
        if self.s.is_ia32e() { linear } else { LinearAddr(linear.get() & 0xffff_ffff) }
    }
}
