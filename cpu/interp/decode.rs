//! Finding and making blocks; instructions that cannot be in one.

use super::code::Crossing;
use super::handlers;
use super::{Cursor, Record};
use crate::events::Exception;
use crate::mmu::{Privilege, is_canonical};
use crate::vcpu::Cpu;
use undercroft_decode::{CodeSize, Insn, Kind, Reg, Seg, Undecodable, decode, is_undefined};
use undercroft_ram::page_flags;
use undercroft_spec::{LinearAddr, PhysAddr};
use undercroft_walk::AccessKind;

/// Instructions of a block at most.
const MAX_BLOCK: usize = 64;
const MAX_LEN: usize = 15;

impl Cpu {
    /// Linear address of the instruction at RIP, checked as far as its first byte. SDM volume 3, "Limit Checking", "Canonical Addressing".
    pub fn fetch_address(&self) -> Result<LinearAddr, Exception> {
        let s = &self.s;
        if s.is_long() {
            return if is_canonical(s, s.rip) { Ok(LinearAddr(s.rip)) } else { Err(Exception::gp(0)) };
        }
        let cs = s.segment(Seg::Cs);
        if s.rip > u64::from(cs.limit) {
            return Err(Exception::gp(0));
        }
        Ok(LinearAddr(cs.base.wrapping_add(s.rip) & 0xffff_ffff))
    }

    /// The block at RIP. `None`: the instruction there has to be executed by itself ([`single`]).
    pub(crate) fn find_block(&mut self) -> Result<Option<Cursor>, Exception> {
        let size = self.s.code_size();
        let linear = self.fetch_address()?;
        let long = size == CodeSize::Bits64;
        if long && let Some(block) = self.code.target(linear.get(), self.fetch_tag) {
            return Ok(Some(block));
        }
        let Some(page) = self.fetch_page(linear)? else { return Ok(None) };
        let offset = linear.page_offset();
        let block = match self.code.block(page, offset, size) {
            Some(block) => Some(block),
            None => self.make_block(page, offset, size),
        };
        let Some(block) = block else { return Ok(None) };
        if long {
            self.code.set_target(linear.get(), self.fetch_tag, block);
        } else if self.beyond_limit(block) {
            return Ok(None);
        }
        Ok(Some(block))
    }
    /// Does a block reach beyond the code segment's limit?
    fn beyond_limit(&self, block: Cursor) -> bool {
        let mut end = block;
        while end.insn().left != 0 {
            end = end.next();
        }
        self.s.rip + u64::from(end.insn().offset) > u64::from(self.s.segment(Seg::Cs).limit) + 1
    }
    /// Page of RAM that a linear address is fetched from; `None` when it is not RAM.
    fn fetch_page(&mut self, linear: LinearAddr) -> Result<Option<u64>, Exception> {
        if self.mmu.tlb.selected() == self.selected.view()
            && let Some(page) = self.mmu.tlb.fetch_page(linear.get())
        {
            return Ok(Some(page));
        }
        let pa = self.translate(linear, AccessKind::Fetch, Privilege::Current)?;
        Ok(self.map.ram_offset(pa).map(|offset| offset >> 12))
    }

    fn make_block(&mut self, page: u64, offset: u64, size: CodeSize) -> Option<Cursor> {
        let mut bytes = [0; 4096];
        let _ = self.ram.read(page << 12, &mut bytes);
        let mut records: Vec<Record> = Vec::with_capacity(16);
        let mut at = offset as usize;
        while records.len() < MAX_BLOCK && at < 4096 {
            // An instruction that goes on in the next page, or is none, is left to be executed by itself.
            let Ok(decoded) = decode(size, &bytes[at..], (at as u64 - offset) as u16) else { break };
            if !self.offers(&decoded.insn) {
                break;
            }
            at += usize::from(decoded.insn.len);
            let kind = decoded.insn.kind();
            records.push(Record { handler: handlers::choose(&decoded.insn), insn: decoded.insn });
            if kind != Kind::Plain {
                break;
            }
        }
        handlers::fuse(&mut records);
        let len = at as u64 - offset;
        let block = self.code.add(page, offset, size, &records, handlers::END, len)?;
        if self.ram.flags(page) & page_flags::CODE == 0 {
            self.ram.set_flags(page, page_flags::CODE);
            self.mmu.forbid_writes(page);
        }
        Some(block)
    }

    /// Decodes the instruction at RIP by itself: across pages, from devices, or to raise what its bytes deserve.
    pub(crate) fn single(&mut self) -> Result<Insn, Exception> {
        let size = self.s.code_size();
        let linear = self.fetch_address()?;
        let mut bytes = [0; MAX_LEN];
        let mut known = 0;
        let mut second = None;
        let first = (4096 - linear.page_offset()).min(MAX_LEN as u64) as usize;
        let pa = self.translate(linear, AccessKind::Fetch, Privilege::Current)?;
        self.fetch_bytes(pa, &mut bytes[..first]);
        known += first;
        let limit = self.bytes_to_limit();
        loop {
            let usable = known.min(limit);
            match decode(size, &bytes[..usable], 0) {
                Ok(decoded) if !self.offers(&decoded.insn) => return Err(Exception::ud()),
                Ok(decoded) => {
                    self.s.regs[Reg::BlockRip as usize] = self.s.rip;
                    let from = self.map.ram_offset(pa).zip(second.and_then(|pa| self.map.ram_offset(pa)));
                    if let (CodeSize::Bits64, Some((at, rest))) = (size, from) {
                        let crossing = Crossing::new(decoded.insn, bytes, at, rest, first);
                        self.code.set_crossing(self.s.rip, self.fetch_tag, crossing);
                    }
                    return Ok(decoded.insn);
                }
                Err(Undecodable::TooLong) => return Err(Exception::gp(0)),
                Err(Undecodable::Invalid) => return Err(Exception::ud()),
                // What lies behind is not looked at.
                Err(Undecodable::NeedMoreBytes) if is_undefined(size, &bytes[..usable]) => return Err(Exception::ud()),
                Err(Undecodable::NeedMoreBytes) if usable == limit && limit < MAX_LEN => return Err(Exception::gp(0)),
                Err(Undecodable::NeedMoreBytes) if known == MAX_LEN => return Err(Exception::gp(0)),
                Err(Undecodable::NeedMoreBytes) => {
                    let next = LinearAddr(linear.get().wrapping_add(known as u64));
                    let next = if self.s.is_long() { next } else { LinearAddr(next.get() & 0xffff_ffff) };
                    let pa = self.translate(next, AccessKind::Fetch, Privilege::Current)?;
                    self.fetch_bytes(pa, &mut bytes[known..]);
                    second = Some(pa);
                    known = MAX_LEN;
                }
            }
        }
    }
    /// The instruction at RIP, if it lies in two pages and was met before.
    pub(crate) fn known_crossing(&mut self) -> Option<Insn> {
        let rip = self.s.rip;
        let crossing = self.code.crossing(rip, self.fetch_tag)?;
        if !crossing.is_current(&self.ram) {
            return None;
        }
        let insn = crossing.insn;
        self.s.regs[Reg::BlockRip as usize] = rip;
        Some(insn)
    }
    /// How many bytes from RIP on lie within the code segment.
    fn bytes_to_limit(&self) -> usize {
        if self.s.is_long() {
            return MAX_LEN;
        }
        let limit = u64::from(self.s.segment(Seg::Cs).limit);
        (limit + 1 - self.s.rip.min(limit + 1)).min(MAX_LEN as u64) as usize
    }
    fn fetch_bytes(&mut self, pa: PhysAddr, data: &mut [u8]) {
        self.phys_read_bytes(pa, data);
    }
}
