//! Memory accesses of the slow path: segmentation, translation, page crossings, devices. Everything that an instruction may observe of an
//! access is decided here; fast paths only skip what cannot matter.

use super::paging::is_canonical;
use crate::events::Exception;
use crate::state::access_rights as ar;
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg, Size};
use undercroft_spec::x86::control::{cr0, rflags};
use undercroft_spec::{LinearAddr, PhysAddr};
use undercroft_walk::AccessKind;

/// Whose access it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// The program's: with the current privilege level.
    Current,
    /// The processor's own (descriptor tables, TSS, and such): a supervisor-mode access to which RFLAGS.AC does not matter.
    Implicit,
}

impl Cpu {
    /// Linear address of `len` bytes at `offset` in a segment, after all checks of segmentation. `#GP(0)`, or `#SS(0)` for SS.
    /// SDM volume 3, "Limit Checking", "Type Checking"; volume 1, "Canonical Addressing".
    pub fn segment_address(&self, seg: Seg, offset: u64, len: u64, write: bool) -> Result<LinearAddr, Exception> {
        let fault = if seg == Seg::Ss { Exception::ss(0) } else { Exception::gp(0) };
        let s = &self.s;
        let segment = s.segment(seg);
        if s.is_long() {
            let base = if matches!(seg, Seg::Fs | Seg::Gs) { segment.base } else { 0 };
            let linear = base.wrapping_add(offset);
            let last = linear.wrapping_add(len.max(1) - 1);
            if !is_canonical(s, linear) || !is_canonical(s, last) {
                return Err(fault);
            }
            return Ok(LinearAddr(linear));
        }
        let offset = offset & 0xffff_ffff;
        let last = offset + (len.max(1) - 1);
        if s.is_protected() && !s.is_v8086() {
            let readable = if write { segment.is_writable() } else { segment.is_readable() };
            if segment.is_unusable() || !readable {
                return Err(fault);
            }
        }
        let within = if segment.is_expand_down() && s.is_protected() && !s.is_v8086() {
            let top = if segment.is_big() { 0xffff_ffff } else { 0xffff };
            offset > u64::from(segment.limit) && last <= top
        } else {
            // An access that wraps at 4 GiB is beyond every limit but the full one, where it wraps.
            last <= u64::from(segment.limit)
                || (segment.limit == u32::MAX && last > 0xffff_ffff && len <= 16 && wraps_in_flat(segment.rights))
        };
        if !within {
            return Err(fault);
        }
        Ok(LinearAddr(segment.base.wrapping_add(offset) & 0xffff_ffff))
    }

    /// `#AC` if alignment checking is on and the address is not a multiple of `len` (a power of two).
    pub fn check_alignment(&self, linear: LinearAddr, len: u64) -> Result<(), Exception> {
        if linear.get() & (len - 1) != 0 && self.alignment_checked() {
            return Err(Exception::ac());
        }
        Ok(())
    }
    /// Are alignment checks on? SDM volume 3, "Alignment Check Exception".
    pub fn alignment_checked(&self) -> bool {
        self.s.cpl == 3 && self.s.cr0 & cr0::AM != 0 && self.s.flags.other() & rflags::AC != 0
    }

    /// Reads a value of 1 to 8 bytes at a logical address.
    pub fn load(&mut self, seg: Seg, offset: u64, size: Size) -> Result<u64, Exception> {
        let linear = self.segment_address(seg, offset, size.bytes(), false)?;
        self.check_alignment(linear, size.bytes())?;
        self.load_linear(linear, size.bytes(), Privilege::Current)
    }
    /// Writes a value of 1 to 8 bytes at a logical address: all of it or nothing.
    pub fn store(&mut self, seg: Seg, offset: u64, size: Size, value: u64) -> Result<(), Exception> {
        let linear = self.segment_address(seg, offset, size.bytes(), true)?;
        self.check_alignment(linear, size.bytes())?;
        self.store_linear(linear, size.bytes(), value, Privilege::Current)
    }
    /// Reads bytes at a logical address (at most a page).
    pub fn load_bytes(&mut self, seg: Seg, offset: u64, data: &mut [u8]) -> Result<(), Exception> {
        let linear = self.segment_address(seg, offset, data.len() as u64, false)?;
        self.load_linear_bytes(linear, data, Privilege::Current)
    }
    /// Writes bytes at a logical address (at most a page): all of them or nothing.
    pub fn store_bytes(&mut self, seg: Seg, offset: u64, data: &[u8]) -> Result<(), Exception> {
        let linear = self.segment_address(seg, offset, data.len() as u64, true)?;
        self.store_linear_bytes(linear, data, Privilege::Current)
    }

    /// Reads 1 to 8 bytes at a linear address (checked canonical by the caller, unless the privilege is implicit: then `#GP(0)`).
    pub fn load_linear(&mut self, linear: LinearAddr, len: u64, privilege: Privilege) -> Result<u64, Exception> {
        if self.probes(privilege)
            && let Some(value) = self.probe_load(linear.get(), len)
        {
            return Ok(value);
        }
        if linear.page_offset() + len <= 4096 {
            let pa = self.translate(linear, AccessKind::Read, privilege)?;
            self.watch_data(linear, len, false);
            return Ok(self.phys_read(pa, len));
        }
        let mut bytes = [0; 8];
        self.load_linear_bytes(linear, &mut bytes[..len as usize], privilege)?;
        Ok(u64::from_le_bytes(bytes))
    }
    /// Writes 1 to 8 bytes at a linear address: all of them or nothing.
    pub fn store_linear(
        &mut self,
        linear: LinearAddr,
        len: u64,
        value: u64,
        privilege: Privilege,
    ) -> Result<(), Exception> {
        if self.probes(privilege) && self.probe_store(linear.get(), len, value) {
            return Ok(());
        }
        if linear.page_offset() + len <= 4096 {
            let pa = self.translate(linear, AccessKind::Write, privilege)?;
            self.watch_data(linear, len, true);
            self.phys_write(pa, len, value);
            return Ok(());
        }
        self.store_linear_bytes(linear, &value.to_le_bytes()[..len as usize], privilege)
    }
    /// Does the selected view hold what an access of this privilege may do?
    #[inline]
    fn probes(&self, privilege: Privilege) -> bool {
        privilege == Privilege::Current || self.s.cpl != 3 && self.s.flags.other() & rflags::AC == 0
    }
    #[inline]
    fn probe_load(&self, linear: u64, len: u64) -> Option<u64> {
        let tlb = &self.mmu.tlb;
        match len {
            1 => tlb.load::<u8>(linear).map(u64::from),
            2 => tlb.load::<u16>(linear).map(u64::from),
            4 => tlb.load::<u32>(linear).map(u64::from),
            8 => tlb.load::<u64>(linear),
            _ => None,
        }
    }
    #[inline]
    fn probe_store(&self, linear: u64, len: u64, value: u64) -> bool {
        let tlb = &self.mmu.tlb;
        match len {
            1 => tlb.store(linear, value as u8),
            2 => tlb.store(linear, value as u16),
            4 => tlb.store(linear, value as u32),
            8 => tlb.store(linear, value),
            _ => false,
        }
    }
    /// Reads bytes at a linear address; at most two pages.
    pub fn load_linear_bytes(
        &mut self,
        linear: LinearAddr,
        data: &mut [u8],
        privilege: Privilege,
    ) -> Result<(), Exception> {
        let first = (4096 - linear.page_offset()).min(data.len() as u64) as usize;
        let pa = self.translate(linear, AccessKind::Read, privilege)?;
        let rest = if first < data.len() {
            let next = self.wrap_linear(linear.get().wrapping_add(first as u64));
            Some(self.translate(next, AccessKind::Read, privilege)?)
        } else {
            None
        };
        self.watch_data(linear, data.len() as u64, false);
        let (low, high) = data.split_at_mut(first);
        self.phys_read_bytes(pa, low);
        if let Some(pa) = rest {
            self.phys_read_bytes(pa, high);
        }
        Ok(())
    }
    /// Writes bytes at a linear address, at most two pages: all of them or nothing.
    pub fn store_linear_bytes(
        &mut self,
        linear: LinearAddr,
        data: &[u8],
        privilege: Privilege,
    ) -> Result<(), Exception> {
        let first = (4096 - linear.page_offset()).min(data.len() as u64) as usize;
        let (pa, rest) = self.translate_range(linear, data.len() as u64, AccessKind::Write, privilege)?;
        self.watch_data(linear, data.len() as u64, true);
        let (low, high) = data.split_at(first);
        self.phys_write_bytes(pa, low);
        if let Some(pa) = rest {
            self.phys_write_bytes(pa, high);
        }
        Ok(())
    }
    /// Translates a range of at most two pages; both faults come before any effect but A and D flags.
    pub fn translate_range(
        &mut self,
        linear: LinearAddr,
        len: u64,
        kind: AccessKind,
        privilege: Privilege,
    ) -> Result<(PhysAddr, Option<PhysAddr>), Exception> {
        let pa = self.translate(linear, kind, privilege)?;
        if linear.page_offset() + len <= 4096 {
            return Ok((pa, None));
        }
        let next = self.wrap_linear(linear.page_base().get().wrapping_add(4096));
        let rest = self.translate(next, kind, privilege)?;
        Ok((pa, Some(rest)))
    }
    /// Outside IA-32e mode linear addresses are 32 bits wide.
    fn wrap_linear(&self, linear: u64) -> LinearAddr {
        if self.s.is_ia32e() { LinearAddr(linear) } else { LinearAddr(linear & 0xffff_ffff) }
    }

    /// Reads 1 to 8 bytes at a physical address, from RAM, the local APIC or the bus.
    pub fn phys_read(&mut self, pa: PhysAddr, len: u64) -> u64 {
        if let Some(offset) = self.map.ram_range(pa, len) {
            return self.ram.load(offset, len).unwrap_or(u64::MAX);
        }
        self.device_read(pa, len)
    }
    /// Writes 1 to 8 bytes at a physical address.
    pub fn phys_write(&mut self, pa: PhysAddr, len: u64, value: u64) {
        match self.map.ram_range(pa, len) {
            Some(offset) => {
                if self.ram.flags(offset >> 12) != 0 {
                    self.store_to_tracked(offset, len);
                }
                let _ = self.ram.store(offset, len, value);
            }
            None => self.device_write(pa, len, value),
        }
    }
    /// Reads bytes that lie in one page.
    pub fn phys_read_bytes(&mut self, pa: PhysAddr, data: &mut [u8]) {
        if let Some(offset) = self.map.ram_range(pa, data.len() as u64) {
            let _ = self.ram.read(offset, data);
            return;
        }
        let mut at = 0;
        while at < data.len() {
            let n = piece(pa.get() + at as u64, data.len() - at);
            let value = self.phys_read(pa.wrapping_add(at as u64), n as u64);
            data[at..at + n].copy_from_slice(&value.to_le_bytes()[..n]);
            at += n;
        }
    }
    /// Writes bytes that lie in one page.
    pub fn phys_write_bytes(&mut self, pa: PhysAddr, data: &[u8]) {
        if let Some(offset) = self.map.ram_range(pa, data.len() as u64) {
            if self.ram.flags(offset >> 12) != 0 {
                self.store_to_tracked(offset, data.len() as u64);
            }
            let _ = self.ram.write(offset, data);
            return;
        }
        let mut at = 0;
        while at < data.len() {
            let n = piece(pa.get() + at as u64, data.len() - at);
            let mut bytes = [0; 8];
            bytes[..n].copy_from_slice(&data[at..at + n]);
            self.phys_write(pa.wrapping_add(at as u64), n as u64, u64::from_le_bytes(bytes));
            at += n;
        }
    }

    /// Effective address of an instruction's memory operand: the offset in its segment.
    pub fn effective_address(&self, i: &undercroft_decode::Insn) -> u64 {
        self.effective_address_with_rsp(i, self.s.regs[Reg::Rsp as usize])
    }
    /// Likewise, as if RSP had this value.
    pub fn effective_address_with_rsp(&self, i: &undercroft_decode::Insn, rsp: u64) -> u64 {
        let r = &self.s.regs;
        let base = if i.base == Reg::Rsp { rsp } else { r[i.base as usize] };
        let index = r[i.index as usize];
        let mut sum = base.wrapping_add(index << i.scale()).wrapping_add(i.disp as i64 as u64);
        if i.is_segment_folded() {
            sum = sum.wrapping_sub(r[Reg::segment_base(i.seg) as usize]);
        }
        sum & i.addr_size().mask()
    }
}

/// Does an access that runs over the end of a 4-GByte segment wrap? Real processors differ; ours does for flat segments.
const fn wraps_in_flat(rights: u32) -> bool {
    rights & ar::G != 0
}

/// The largest naturally aligned piece at an address.
fn piece(addr: u64, left: usize) -> usize {
    let aligned = if addr == 0 { 8 } else { 1 << addr.trailing_zeros().min(3) };
    let mut n = aligned;
    while n > left {
        n /= 2;
    }
    n
}
