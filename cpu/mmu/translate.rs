//! Translation through contexts: which one is selected, and what happens on a miss.

use super::access::Privilege;
use super::contexts::Class;
use super::paging::{Context, PHYS_BITS};
use crate::events::Exception;
use crate::vcpu::Cpu;
use undercroft_ram::page_flags;
use undercroft_spec::x86::control::{cr4, rflags};
use undercroft_spec::{LinearAddr, PhysAddr};
use undercroft_tlb::{Permissions, Tlb, ViewId};
use undercroft_walk::{Access, AccessKind, Tables, Translation, WalkFault, mark_used, permits};

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
        let inputs = [s.cr0, s.cr3, s.cr4, s.msr.efer, u64::from(s.pkru)];
        if inputs != self.selected.inputs || s.pdpte != self.selected.pdpte {
            let context = Context::of(s);
            let space = self.mmu.space_for(&context, self.current);
            self.selected =
                Selected { inputs, pdpte: self.s.pdpte, context, space, class: Class::Supervisor, view: Tlb::MISSING };
        }
        let s = &self.s;
        let class = match () {
            () if s.cpl == 3 => Class::User,
            () if s.cr4 & cr4::SMAP != 0 && s.flags.other() & rflags::AC != 0 => Class::SupervisorAc,
            () => Class::Supervisor,
        };
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

    /// Physical address for an access to one page; fills the TLB.
    pub fn translate(
        &mut self,
        linear: LinearAddr,
        kind: AccessKind,
        privilege: Privilege,
    ) -> Result<PhysAddr, Exception> {
        let implicit = privilege == Privilege::Implicit;
        if implicit && self.s.is_ia32e() && !super::is_canonical(&self.s, linear.get()) {
            return Err(Exception::gp(0));
        }
        let class = if implicit { Class::Supervisor } else { self.selected.class };
        let context = self.selected.context;
        let Some(format) = context.format else {
            let pa = PhysAddr(linear.get() & 0xffff_ffff);
            let everything = Translation { writable: true, user: true, dirty: true, ..Translation::default() };
            self.cache(class, linear, pa, &everything);
            return Ok(pa);
        };
        let mut found = self.walk_cached(linear.get());
        let access = access(kind, class);
        permits(&found, access, context.rules).map_err(|code| Exception::pf(linear, code))?;
        let Ok(page) = &mut found else { return Err(Exception::pf(linear, 0)) };
        mark_used(self, format, page, kind == AccessKind::Write);
        self.cache(class, linear, PhysAddr(page.addr), page);
        Ok(PhysAddr(page.addr))
    }
    /// The walk, from the last-level table on where the levels above are known and tracked.
    fn walk_cached(&mut self, linear: u64) -> Result<Translation, WalkFault> {
        let selected = self.selected;
        if let Some(upper) = self.mmu.upper(selected.space, linear) {
            let (table, above) = (upper.table, upper.above);
            return self.last_level(linear, table, above, selected.context.rules.no_execute);
        }
        let found = selected.context.walk(self, linear);
        if let (Ok(page), Some(format)) = (&found, selected.context.format) {
            self.mmu.note_walk(selected.space, format, linear, page);
        }
        found
    }
    /// One level of 8-byte entries. The entries above were used before, so their A flags are set.
    fn last_level(
        &mut self,
        linear: u64,
        table: u64,
        above: Translation,
        no_execute: bool,
    ) -> Result<Translation, WalkFault> {
        let addr = table + (linear >> 12 & 511) * 8;
        let value = Tables::load(self, addr, 8);
        undercroft_walk::last_level(addr, value, linear, above, no_execute, PHYS_BITS)
    }

    /// Puts a translation into the view, with all that the page allows without another walk.
    fn cache(&mut self, class: Class, linear: LinearAddr, pa: PhysAddr, page: &Translation) {
        let Some(offset) = self.map.ram_offset(pa.page_base()) else { return };
        let rules = self.selected.context.rules;
        let found = Ok(*page);
        let ok = |kind| self.selected.context.format.is_none() || permits(&found, access(kind, class), rules).is_ok();
        let allow = Permissions {
            read: ok(AccessKind::Read),
            write: page.dirty && ok(AccessKind::Write) && self.ram.flags(offset >> 12) == 0,
            fetch: ok(AccessKind::Fetch),
        };
        let view = self.mmu.view(self.selected.space, class);
        self.mmu.fill(view, linear.get(), offset >> 12, allow);
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
            if self.mmu.epoch != before {
                self.attention = true;
                self.fetch_tag_changed();
            }
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
                self.context_forgotten();
            }
            if flags & page_flags::MONITOR != 0 {
                self.monitored_store(page << 12, 4096);
            }
        }
        self.fetch_tag_changed();
        self.attention = true;
    }
}

fn access(kind: AccessKind, class: Class) -> Access {
    Access { kind, user: class == Class::User, smap_override: class == Class::SupervisorAc }
}
