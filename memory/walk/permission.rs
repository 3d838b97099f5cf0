//! What an access may do with a translation. SDM volume 3, "Access Rights" and "Protection Keys".

use crate::{Translation, WalkFault};
use undercroft_spec::x86::page_fault as pf;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// Data read.
    Read,
    /// Data write.
    Write,
    /// Instruction fetch.
    Fetch,
}

/// An access and the privilege it is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What is to be done.
    pub kind: AccessKind,
    /// A user-mode access: CPL 3 and not implicit.
    pub user: bool,
    /// A supervisor-mode access to which SMAP does not apply: explicit, with RFLAGS.AC = 1.
    pub smap_override: bool,
}

/// The control bits that matter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Rules {
    /// CR0.WP.
    pub write_protect: bool,
    /// IA32_EFER.NXE.
    pub no_execute: bool,
    /// CR4.SMEP.
    pub smep: bool,
    /// CR4.SMAP.
    pub smap: bool,
    /// PKRU, if CR4.PKE and 4- or 5-level paging; else 0.
    pub pkru: u32,
}

/// Error code of the page fault that the access raises, if any, given what the walk found.
pub fn permits(found: &Result<Translation, WalkFault>, access: Access, rules: Rules) -> Result<(), u32> {
    let mut code = 0;
    if access.kind == AccessKind::Write {
        code |= pf::W;
    }
    if access.user {
        code |= pf::U;
    }
    if access.kind == AccessKind::Fetch && (rules.no_execute || rules.smep) {
        code |= pf::ID;
    }
    let page = match found {
        Err(WalkFault::NotPresent) => return Err(code),
        Err(WalkFault::Reserved) => return Err(code | pf::P | pf::RSVD),
        Ok(page) => page,
    };
    code |= pf::P;
    // Keys are looked at for data accesses to user pages, by either mode, and are reported beside any other violation.
    let key_denies = page.user && access.kind != AccessKind::Fetch && denied_by_key(page.key, access, rules);
    if key_denies {
        code |= pf::PK;
    }
    let allowed = if access.user {
        match access.kind {
            AccessKind::Read => page.user,
            AccessKind::Write => page.user && page.writable,
            AccessKind::Fetch => page.user && !(rules.no_execute && page.no_execute),
        }
    } else {
        match access.kind {
            AccessKind::Read => !(page.user && rules.smap && !access.smap_override),
            AccessKind::Write => {
                !(page.user && rules.smap && !access.smap_override) && (page.writable || !rules.write_protect)
            }
            AccessKind::Fetch => !(page.user && rules.smep || rules.no_execute && page.no_execute),
        }
    };
    if allowed && !key_denies { Ok(()) } else { Err(code) }
}

fn denied_by_key(key: u8, access: Access, rules: Rules) -> bool {
    let bits = rules.pkru >> (2 * key) & 3;
    let access_disabled = bits & 1 != 0;
    let write_disabled = bits & 2 != 0;
    access_disabled || write_disabled && access.kind == AccessKind::Write && (access.user || rules.write_protect)
}

/// What pages allow to one kind of privilege, worked out for all of them: see [`Allowed::to`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allowed([u8; 8]);

impl Allowed {
    /// Bit of the index: every level allows writes.
    pub const WRITABLE: u8 = 1;
    /// Bit of the index: every level allows user-mode accesses.
    pub const USER: u8 = 2;
    /// Bit of the index: no level forbids instruction fetches.
    pub const EXECUTABLE: u8 = 4;

    /// For accesses of this privilege, to pages whose protection key is 0.
    pub fn new(rules: Rules, user: bool, smap_override: bool) -> Allowed {
        let mut table = [0; 8];
        for (bits, entry) in table.iter_mut().enumerate() {
            let bits = bits as u8;
            let found = Ok(Translation {
                writable: bits & Allowed::WRITABLE != 0,
                user: bits & Allowed::USER != 0,
                no_execute: bits & Allowed::EXECUTABLE == 0,
                ..Translation::default()
            });
            for kind in [AccessKind::Read, AccessKind::Write, AccessKind::Fetch] {
                if permits(&found, Access { kind, user, smap_override }, rules).is_ok() {
                    *entry |= Allowed::bit(kind);
                }
            }
        }
        Allowed(table)
    }
    /// What a page allows: a [`bit`](Allowed::bit) for each kind of access.
    #[inline]
    pub fn to(&self, page: u8) -> u8 {
        self.0[usize::from(page & 7)]
    }
    /// The bit of a kind of access.
    #[inline]
    pub const fn bit(kind: AccessKind) -> u8 {
        match kind {
            AccessKind::Read => 1,
            AccessKind::Write => 2,
            AccessKind::Fetch => 4,
        }
    }
}
