//! What determines a translation, and the uncached translation. SDM volume 3, "Paging Modes and Control Bits".

use crate::events::Exception;
use crate::state::State;
use crate::vcpu::Cpu;
use undercroft_spec::x86::control::{cr0, cr4, efer, rflags};
use undercroft_spec::{LinearAddr, PhysAddr};
use undercroft_walk::{Access, AccessKind, Format, Rules, Tables, Translation, WalkFault, mark_used, permits, walk};

/// Width of physical addresses (CPUID 80000008H:EAX).
pub const PHYS_BITS: u32 = 46;

/// Everything but the linear address and the access that determines a translation: the key of cached ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Context {
    /// Format, or none when paging is off.
    pub format: Option<Format>,
    /// Physical address of the topmost structure; of PAE's, the four registers instead.
    pub root: u64,
    /// PAE's registers.
    pub pdpte: [u64; 4],
    /// Control bits that matter to permissions.
    pub rules: Rules,
}

impl Context {
    /// The context that this state selects.
    pub fn of(s: &State) -> Context {
        if s.cr0 & cr0::PG == 0 {
            return Context { format: None, root: 0, pdpte: [0; 4], rules: Rules::default() };
        }
        let long = s.msr.efer & efer::LMA != 0;
        let format = match (long, s.cr4 & cr4::PAE != 0) {
            (true, _) if s.cr4 & cr4::LA57 != 0 => Format::Level5,
            (true, _) => Format::Level4,
            (false, true) => Format::Pae,
            (false, false) => Format::Bits32 { large_pages: s.cr4 & cr4::PSE != 0 },
        };
        let pae = format == Format::Pae;
        let root = match format {
            Format::Pae => 0,
            Format::Bits32 { .. } => s.cr3 & 0xffff_f000,
            _ => s.cr3 & ((1 << PHYS_BITS) - 1) & !0xfff,
        };
        let rules = Rules {
            write_protect: s.cr0 & cr0::WP != 0,
            // 32-bit paging has no NX flag; PAE and the others obey EFER.NXE.
            no_execute: s.msr.efer & efer::NXE != 0 && !matches!(format, Format::Bits32 { .. }),
            smep: s.cr4 & cr4::SMEP != 0,
            smap: s.cr4 & cr4::SMAP != 0,
            pkru: if long && s.cr4 & cr4::PKE != 0 { s.pkru } else { 0 },
        };
        Context { format: Some(format), root, pdpte: if pae { s.pdpte } else { [0; 4] }, rules }
    }

    /// Walks, without deciding about the access.
    pub fn walk<T: Tables>(&self, tables: &mut T, linear: u64) -> Result<Translation, WalkFault> {
        let Some(format) = self.format else {
            let addr = linear & 0xffff_ffff;
            return Ok(Translation {
                addr,
                page_shift: 12,
                writable: true,
                user: true,
                dirty: true,
                ..Translation::default()
            });
        };
        let (root, linear) = match format {
            Format::Pae => {
                let pdpte = self.pdpte[(linear >> 30 & 3) as usize];
                if pdpte & 1 == 0 {
                    return Err(WalkFault::NotPresent);
                }
                (pdpte & ((1 << PHYS_BITS) - 1) & !0xfff, linear & 0xffff_ffff)
            }
            Format::Bits32 { .. } => (self.root, linear & 0xffff_ffff),
            _ => (self.root, linear),
        };
        walk(tables, format, root, linear, self.rules.no_execute, PHYS_BITS)
    }
}

/// Is the address canonical in the current mode? Outside 64-bit mode every address is.
pub fn is_canonical(s: &State, linear: u64) -> bool {
    let unused = if s.cr4 & cr4::LA57 != 0 { 7 } else { 16 };
    ((linear << unused) as i64 >> unused) as u64 == linear
}

impl Cpu {
    /// Physical address of `linear` for an access, as if no translation were ever cached: walks, checks, sets A and D.
    pub fn translate_uncached(
        &mut self,
        linear: LinearAddr,
        kind: AccessKind,
        implicit: bool,
    ) -> Result<(PhysAddr, Translation), Exception> {
        let context = Context::of(&self.s);
        let linear = if self.s.is_ia32e() { linear } else { LinearAddr(linear.get() & 0xffff_ffff) };
        if !is_canonical(&self.s, linear.get()) && self.s.is_ia32e() {
            return Err(Exception::gp(0));
        }
        let user = self.s.cpl == 3 && !implicit;
        // SMAP: RFLAGS.AC suspends it for explicit accesses.
        let smap_override = !implicit && self.s.flags.other() & rflags::AC != 0;
        let mut found = context.walk(self, linear.get());
        let access = Access { kind, user, smap_override };
        if context.format.is_some() {
            permits(&found, access, context.rules).map_err(|code| Exception::pf(linear, code))?;
        }
        match &mut found {
            Ok(page) => {
                if let Some(format) = context.format {
                    mark_used(self, format, page, kind == AccessKind::Write);
                }
                Ok((PhysAddr(page.addr), *page))
            }
            Err(_) => Err(Exception::pf(linear, 0)),
        }
    }
}

impl Tables for Cpu {
    fn load(&mut self, addr: u64, size: u64) -> u64 {
        self.phys_read(PhysAddr(addr), size)
    }
    fn store(&mut self, addr: u64, size: u64, value: u64) {
        match self.map.ram_range(PhysAddr(addr), size) {
            Some(offset) => self.mark(offset, size, value),
            None => self.phys_write(PhysAddr(addr), size, value),
        }
    }
}
