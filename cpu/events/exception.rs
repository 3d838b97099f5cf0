//! The closed set of ways in which an instruction does not complete. SDM volume 3, "Interrupt and Exception Handling".

use undercroft_spec::LinearAddr;
use undercroft_spec::x86::vector;

/// An exception as an instruction raises it, before delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    /// Vector.
    pub vector: u8,
    /// Error code, of vectors that have one.
    pub error_code: Option<u32>,
    /// What delivery writes besides the frame.
    pub detail: Detail,
    /// Fault or trap: which RIP is saved.
    pub class: Class,
}

/// What delivery of an exception writes besides the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Nothing.
    None,
    /// CR2.
    PageFault(LinearAddr),
    /// These bits of DR6.
    Debug(u64),
}

/// Which RIP an exception saves. "Exception Classifications".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// That of the instruction, which did nothing.
    Fault,
    /// That of the next instruction.
    Trap,
    /// As a trap, raised by INT n: the gate's DPL is checked.
    SoftwareInterrupt,
    /// As a trap, raised by INT3 or INTO: the gate's DPL is checked.
    SoftwareException,
    /// As a trap, raised by INT1: delivered like an exception.
    PrivilegedSoftwareException,
}

impl Exception {
    const fn fault(vector: u8, error_code: Option<u32>) -> Self {
        Exception { vector, error_code, detail: Detail::None, class: Class::Fault }
    }
    /// #GP.
    pub const fn gp(code: u32) -> Self {
        Self::fault(vector::GP, Some(code))
    }
    /// #SS.
    pub const fn ss(code: u32) -> Self {
        Self::fault(vector::SS, Some(code))
    }
    /// #NP.
    pub const fn np(code: u32) -> Self {
        Self::fault(vector::NP, Some(code))
    }
    /// #TS.
    pub const fn ts(code: u32) -> Self {
        Self::fault(vector::TS, Some(code))
    }
    /// #UD.
    pub const fn ud() -> Self {
        Self::fault(vector::UD, None)
    }
    /// #NM.
    pub const fn nm() -> Self {
        Self::fault(vector::NM, None)
    }
    /// #DE.
    pub const fn de() -> Self {
        Self::fault(vector::DE, None)
    }
    /// #BR.
    pub const fn br() -> Self {
        Self::fault(vector::BR, None)
    }
    /// #MF.
    pub const fn mf() -> Self {
        Self::fault(vector::MF, None)
    }
    /// #XM.
    pub const fn xm() -> Self {
        Self::fault(vector::XM, None)
    }
    /// #AC(0).
    pub const fn ac() -> Self {
        Self::fault(vector::AC, Some(0))
    }
    /// #PF.
    pub const fn pf(addr: LinearAddr, code: u32) -> Self {
        Exception { vector: vector::PF, error_code: Some(code), detail: Detail::PageFault(addr), class: Class::Fault }
    }
    /// #DB as a fault (instruction breakpoint, general detect) with these bits of DR6.
    pub const fn db_fault(dr6: u64) -> Self {
        Exception { vector: vector::DB, error_code: None, detail: Detail::Debug(dr6), class: Class::Fault }
    }
    /// #DB as a trap (single step, data breakpoint, task switch) with these bits of DR6.
    pub const fn db_trap(dr6: u64) -> Self {
        Exception { vector: vector::DB, error_code: None, detail: Detail::Debug(dr6), class: Class::Trap }
    }
    /// INT3 (vector 3), INTO (vector 4).
    pub const fn software_exception(vector: u8) -> Self {
        Exception { vector, error_code: None, detail: Detail::None, class: Class::SoftwareException }
    }
    /// INT n.
    pub const fn software(vector: u8) -> Self {
        Exception { vector, error_code: None, detail: Detail::None, class: Class::SoftwareInterrupt }
    }
    /// INT1.
    pub const fn icebp() -> Self {
        Exception {
            vector: vector::DB,
            error_code: None,
            detail: Detail::None,
            class: Class::PrivilegedSoftwareException,
        }
    }
}

/// How an instruction that is not written over `Ops` ends when it does not raise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Go on with the next instruction.
    Next,
    /// RIP was written.
    Jump,
    /// Not finished (a string instruction): the same instruction again.
    Again,
}
