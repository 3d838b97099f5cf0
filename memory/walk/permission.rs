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
