//! An event on its way to its handler.

use super::exception::{Class, Detail, Exception};
use undercroft_spec::x86::vector;

/// What kind of event: the interruption types. SDM volume 3, "VM-Entry Controls for Event Injection" has the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A maskable interrupt.
    External,
    /// NMI.
    Nmi,
    /// An exception that the processor detected.
    Exception,
    /// INT n.
    SoftwareInterrupt,
    /// INT1.
    PrivilegedSoftwareException,
    /// INT3, INTO.
    SoftwareException,
}

impl Kind {
    /// INT n, INT3, INTO: the gate's DPL is checked, and error codes have EXT = 0.
    pub const fn is_software(self) -> bool {
        matches!(self, Kind::SoftwareInterrupt | Kind::SoftwareException)
    }
}

/// An event on its way to its handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    /// Vector.
    pub vector: u8,
    /// Kind.
    pub kind: Kind,
    /// Error code, of exceptions that have one.
    pub error_code: Option<u32>,
    /// What delivery writes besides the frame.
    pub detail: Detail,
    /// RIP that the frame holds.
    pub return_rip: u64,
    /// RF that the frame holds: `None` means as in RFLAGS, or set between two iterations of a string instruction.
    pub resume_flag: Option<ResumeFlag>,
}

/// RF in the frame. SDM volume 3, "Instruction-Breakpoint Exception Condition".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResumeFlag {
    /// Set: the instruction will be resumed, its breakpoint was reported.
    Set,
    /// Clear.
    Clear,
}

impl Event {
    /// From what an instruction raised. `rip` is that of the instruction, `next_rip` that of the one after it.
    pub fn from_exception(e: &Exception, rip: u64, next_rip: u64) -> Event {
        let kind = match e.class {
            Class::Fault | Class::Trap => Kind::Exception,
            Class::SoftwareInterrupt => Kind::SoftwareInterrupt,
            Class::SoftwareException => Kind::SoftwareException,
            Class::PrivilegedSoftwareException => Kind::PrivilegedSoftwareException,
        };
        let resume_flag = match (e.class, e.detail) {
            // An instruction breakpoint: the handler decides. General detect (BD) is like other faults.
            (Class::Fault, Detail::Debug(dr6)) if dr6 & super::debug::dr6::BD == 0 => None,
            (Class::Fault, _) => Some(ResumeFlag::Set),
            // A trap comes between instructions, as an interrupt does.
            (Class::Trap, _) => None,
            _ => Some(ResumeFlag::Clear),
        };
        let return_rip = if e.class == Class::Fault { rip } else { next_rip };
        Event { vector: e.vector, kind, error_code: e.error_code, detail: e.detail, return_rip, resume_flag }
    }
    /// An interrupt between instructions.
    pub fn interrupt(vector: u8, kind: Kind, rip: u64) -> Event {
        Event { vector, kind, error_code: None, detail: Detail::None, return_rip: rip, resume_flag: None }
    }
    /// The double fault, reported at `rip`.
    pub fn double_fault(rip: u64) -> Event {
        Event {
            vector: vector::DF,
            kind: Kind::Exception,
            error_code: Some(0),
            detail: Detail::None,
            return_rip: rip,
            resume_flag: None,
        }
    }
    /// EXT for error codes of exceptions that delivery of this event raises.
    pub const fn ext(&self) -> u32 {
        !self.kind.is_software() as u32
    }
    /// Severity.
    fn severity(&self) -> Severity {
        if self.kind != Kind::Exception {
            return Severity::Benign;
        }
        match self.vector {
            vector::DE | vector::TS..=vector::GP | vector::CP => Severity::Contributory,
            vector::PF | vector::VE => Severity::PageFault,
            vector::DF => Severity::DoubleFault,
            _ => Severity::Benign,
        }
    }
    /// What comes of an exception during the delivery of this event. SDM volume 3, "Conditions for Generating a Double Fault".
    pub fn then(&self, second: &Event) -> Outcome {
        match (self.severity(), second.severity()) {
            (Severity::DoubleFault, Severity::Contributory | Severity::PageFault) => Outcome::Shutdown,
            (Severity::Contributory, Severity::Contributory)
            | (Severity::PageFault, Severity::Contributory | Severity::PageFault) => Outcome::DoubleFault,
            _ => Outcome::Serial,
        }
    }
}

/// Classes of "Interrupt and Exception Classes".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

/// What comes of two events at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The second is delivered alone.
    Serial,
    /// A double fault.
    DoubleFault,
    /// A triple fault.
    Shutdown,
}
