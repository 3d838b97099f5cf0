//! Translation through contexts: which one is selected, and what happens on a miss.

use super::access::Privilege;
use super::contexts::{Class, page_bits};
use super::paging::Context;
use crate::events::Exception;
use crate::state::State;
use crate::vcpu::Cpu;
use undercroft_ram::page_flags;
use undercroft_spec::x86::control::{cr4, rflags};
use undercroft_spec::{LinearAddr, PhysAddr};
use undercroft_tlb::{Permissions, Tlb, ViewId};
use undercroft_walk::{Access, AccessKind, Allowed, mark_used, permits};

const P: u64 = 1;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const ADDR: u64 = 0x000f_ffff_ffff_f000;

/// The current logical processor's context, and what it was derived from.
#[derive(Clone, Copy)]
pub struct Selected {
    /// The control state that it was derived from: CR0, CR3, CR4, EFER, PKRU. Nothing of it is derived anew while these stay.
    inputs: [u64; 5],
    /// PAE's registers.
    pdpte: [u64; 4],
    context: Context,
    space: u32,
    /// Kind of privilege of the program's accesses.
    class: Class,
    /// View of the program's accesses.
    view: ViewId,
}

impl Selected {
    /// Nothing selected yet.
    pub fn none(context: Context) -> Selected {
        Selected {
            inputs: [u64::MAX; 5],
            pdpte: [0; 4],
            context,
            space: 0,
            class: Class::Supervisor,
            view: Tlb::MISSING,
        }
    }
    /// The view of the program's accesses.
    pub fn view(&self) -> ViewId {
        self.view
    }
}

impl Cpu {
    /// CR0, CR3, CR4, EFER, PKRU, CPL, RFLAGS.AC, DR7 or the processor changed: selects the context that they name.
    pub fn context_changed(&mut self) {
        let s = &self.s;
        let inputs = inputs(s);
        if inputs != self.selected.inputs || s.pdpte != self.selected.pdpte {
            let context = Context::of(s);
            let space = self.mmu.space_for(&context, self.current);
            self.selected =
                Selected { inputs, pdpte: self.s.pdpte, context, space, class: Class::Supervisor, view: Tlb::MISSING };
        }
        let class = class_of(&self.s);
        self.selected.class = class;
        self.selected.view = self.mmu.view(self.selected.space, class);
        // Alignment checks and data breakpoints need the slow path: the view that always misses leads there.
        let slow = self.alignment_checked() || self.s.dr7 & 0xff != 0;
        self.mmu.tlb.select(if slow { Tlb::MISSING } else { self.selected.view });
        self.fetch_tag_changed();
    }
    /// Derives the context anew although its inputs are the same: its space was forgotten, or another processor is current.
    pub(crate) fn context_forgotten(&mut self) {
        self.selected.inputs = [u64::MAX; 5];
        self.context_changed();
    }

    /// Physical address for an access to one page; fills the TLB. `#GP(0)` for an address that is not canonical; who owes another exception for
    /// that has checked before. Outside IA-32e mode addresses are 32 bits wide.
    #[inline]
    pub fn translate(
        &mut self,
        linear: LinearAddr,
        kind: AccessKind,
        privilege: Privilege,
    ) -> Result<PhysAddr, Exception> {
        self.check_selected();
        // What is cached goes by the address, so each page must have one only.
        let linear = if !self.s.is_ia32e() {
            LinearAddr(linear.get() & 0xffff_ffff)
        } else if super::is_canonical(&self.s, linear.get()) {
            linear
        } else {
            return Err(Exception::gp(0));
        };
        let class = if privilege == Privilege::Implicit { Class::Supervisor } else { self.selected.class };
        match self.translate_known(linear.get(), kind, class) {
            Some(pa) => Ok(pa),
            None => self.translate_walking(linear, kind, class),
        }
    }
    /// Whoever changes what the context is derived from says so before the next access.
    #[inline]
    fn check_selected(&self) {
        debug_assert_eq!(self.selected.inputs, inputs(&self.s));
        debug_assert_eq!(self.selected.pdpte, self.s.pdpte);
        debug_assert_eq!(self.selected.class, class_of(&self.s));
    }
    /// The walk's last step, where the levels above are known and tracked, and nothing is against the access. All else, faults too, is for the
    /// whole walk.
    #[inline]
    fn translate_known(&mut self, linear: u64, kind: AccessKind, class: Class) -> Option<PhysAddr> {
        let space = self.mmu.space(self.selected.space);
        let region = space.region(linear)?;
        let write = kind == AccessKind::Write;
        if region.large {
            let allow = space.allowed[class as usize].to(region.bits);
            if allow & Allowed::bit(kind) == 0 || write && !region.dirty || region.key != 0 {
                return None;
            }
            let mask = (1 << space.region_shift) - 1;
            let (pa, dirty) = (region.base | linear & mask, region.dirty);
            self.cache(class, linear, pa, allow, dirty);
            return Some(PhysAddr(pa));
        }
        let size = space.entry_size;
        let at = region.base | (linear >> 12) * size & 0xfff;
        let mut value = self.ram.load(at, size)?;
        let bits = region.bits & page_bits(value);
        let allow = space.allowed[class as usize].to(bits);
        let key = if space.has_keys { value >> 59 & 15 } else { 0 };
        if value & P == 0 || value & space.reserved != 0 || allow & Allowed::bit(kind) == 0 || key != 0 {
            return None;
        }
        let used = value | A | if write { D } else { 0 };
        if used != value {
            value = used;
            self.mark(at, size, value);
        }
        let pa = value & ADDR | linear & 0xfff;
        self.cache(class, linear, pa, allow, value & D != 0);
        Some(PhysAddr(pa))
    }
    #[inline(never)]
    fn translate_walking(&mut self, linear: LinearAddr, kind: AccessKind, class: Class) -> Result<PhysAddr, Exception> {
        const EVERYTHING: u8 =
            Allowed::bit(AccessKind::Read) | Allowed::bit(AccessKind::Write) | Allowed::bit(AccessKind::Fetch);
        let context = self.selected.context;
        let Some(format) = context.format else {
            self.cache(class, linear.get(), linear.get(), EVERYTHING, true);
            return Ok(PhysAddr(linear.get()));
        };
        let mut found = context.walk(self, linear.get());
        let allows = |found: &_, kind| permits(found, access(kind, class), context.rules);
        allows(&found, kind).map_err(|code| Exception::pf(linear, code))?;
        let allow = [AccessKind::Read, AccessKind::Write, AccessKind::Fetch]
            .into_iter()
            .filter(|kind| allows(&found, *kind).is_ok())
            .fold(0, |allow, kind| allow | Allowed::bit(kind));
        let Ok(page) = &mut found else { return Err(Exception::pf(linear, 0)) };
        mark_used(self, format, page, kind == AccessKind::Write);
        let before = self.mmu.epoch;
        if self.mmu.note_walk(self.selected.space, format, linear.get(), page) {
            self.cache(class, linear.get(), page.addr, allow, page.dirty);
        }
        self.notice_epoch(before);
        Ok(PhysAddr(page.addr))
    }

    /// Puts a translation into the view, with all that the page allows without another walk.
    #[inline]
    fn cache(&mut self, class: Class, linear: u64, pa: u64, allow: u8, dirty: bool) {
        let Some(offset) = self.map.ram_offset(PhysAddr(pa)) else { return };
        let page = offset >> 12;
        let allow = Permissions {
            read: allow & Allowed::bit(AccessKind::Read) != 0,
            // The first write sets D. Stores to flagged pages have to be seen.
            write: allow & Allowed::bit(AccessKind::Write) != 0 && dirty && self.ram.flags(page) == 0,
            fetch: allow & Allowed::bit(AccessKind::Fetch) != 0,
        };
        let view = self.mmu.view(self.selected.space, class);
        self.mmu.fill(view, linear, page, allow);
    }
    /// Writes an entry back in which a walk set A or D.
    pub(super) fn mark(&mut self, offset: u64, size: u64, value: u64) {
        let page = offset >> 12;
        let flags = self.ram.flags(page);
        // That changes no translation: tracking need not know, but for entries that are only half of what another format sees there.
        if flags & page_flags::TABLE != 0 && size == 4 {
            let before = self.mmu.epoch;
            self.mmu.entry_is_marked(page, offset & 0xfff);
            self.notice_epoch(before);
        }
        if flags & page_flags::CODE != 0 && self.code.bytes_change(&self.ram, page, offset & 0xfff, size) {
            self.attention = true;
        }
        let _ = self.ram.store(offset, size, value);
    }
    fn notice_epoch(&mut self, before: u64) {
        if self.mmu.epoch != before {
            self.attention = true;
            self.fetch_tag_changed();
        }
    }

    /// A store to a flagged page of RAM is about to happen.
    #[cold]
    pub(crate) fn store_to_tracked(&mut self, offset: u64, len: u64) {
        let page = offset >> 12;
        let flags = self.ram.flags(page);
        if flags & page_flags::CODE != 0 && self.code.bytes_change(&self.ram, page, offset & 0xfff, len) {
            self.attention = true;
        }
        if flags & page_flags::TABLE != 0 {
            let before = self.mmu.epoch;
            self.mmu.entries_change(page, offset & 0xfff, len);
            self.notice_epoch(before);
        }
        if flags & page_flags::MONITOR != 0 {
            self.monitored_store(offset, len);
        }
    }
    /// Devices wrote to pages that hold code or paging structures.
    #[cold]
    pub(crate) fn devices_touched_pages(&mut self) {
        for page in self.ram.take_touched() {
            let flags = self.ram.flags(page);
            if flags & page_flags::CODE != 0 {
                self.code.page_changes(&self.ram, page);
            }
            if flags & page_flags::TABLE != 0 {
                self.mmu.table_overwritten(page);
            }
            if flags & page_flags::MONITOR != 0 {
                self.monitored_store(page << 12, 4096);
            }
        }
        self.fetch_tag_changed();
        self.attention = true;
    }
}

/// The control state that a context is derived from, PAE's registers aside.
fn inputs(s: &State) -> [u64; 5] {
    [s.cr0, s.cr3, s.cr4, s.msr.efer, u64::from(s.pkru)]
}
/// Kind of privilege of the program's accesses.
fn class_of(s: &State) -> Class {
    match () {
        () if s.cpl == 3 => Class::User,
        () if s.cr4 & cr4::SMAP != 0 && s.flags.other() & rflags::AC != 0 => Class::SupervisorAc,
        () => Class::Supervisor,
    }
}
fn access(kind: AccessKind, class: Class) -> Access {
    Access { kind, user: class == Class::User, smap_override: class == Class::SupervisorAc }
}
