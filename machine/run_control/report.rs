//! What is told when a machine ends badly: plain data, and its text.

use std::fmt;
use undercroft_cpu::state::{Activity, State};
use undercroft_spec::x86::control::rflags;

/// The state of a machine at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What happened, in a sentence's part.
    pub why: String,
    /// Virtual time.
    pub tick: u64,
    /// Instructions retired.
    pub retired: u64,
    /// The processors.
    pub processors: Vec<ProcessorReport>,
}

/// A processor in a [`Report`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessorReport {
    /// Its number.
    pub index: usize,
    /// Instruction pointer.
    pub rip: u64,
    /// Code segment's base.
    pub cs_base: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Name of the operating mode.
    pub mode: &'static str,
    /// Current privilege level.
    pub cpl: u8,
    /// What it does.
    pub activity: Activity,
    /// RFLAGS.IF.
    pub interrupts_enabled: bool,
    /// CR0, CR2, CR3 and CR4.
    pub control: [u64; 4],
    /// The last exceptions, newest last.
    pub exceptions: Vec<ExceptionReport>,
}

/// An exception in a [`ProcessorReport`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExceptionReport {
    /// Vector.
    pub vector: u8,
    /// Error code, 0 when there is none.
    pub error_code: u32,
    /// Instruction pointer.
    pub rip: u64,
}

impl ProcessorReport {
    pub(super) fn new(index: usize, state: &State) -> Self {
        let exceptions = state.exception_log.iter();
        Self {
            index,
            rip: state.rip,
            cs_base: state.segment(undercroft_decode::Seg::Cs).base,
            rsp: state.gpr(4),
            mode: state.mode_name(),
            cpl: state.cpl,
            activity: state.activity,
            interrupts_enabled: state.rflags() & rflags::IF != 0,
            control: [state.cr0, state.cr2, state.cr3, state.cr4],
            exceptions: exceptions
                .map(|&(vector, error_code, rip)| ExceptionReport { vector, error_code, rip })
                .collect(),
        }
    }
}

/// SDM volume 3, "Protected-Mode Exceptions and Interrupts".
const MNEMONICS: [&str; 22] = [
    "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP", "#SS", "#GP", "#PF", "15", "#MF",
    "#AC", "#MC", "#XM", "#VE", "#CP",
];

impl fmt::Display for ExceptionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MNEMONICS.get(usize::from(self.vector)) {
            Some(name) => write!(f, "{name}({:#x}) at {:#x}", self.error_code, self.rip),
            None => write!(f, "vector {:#x} at {:#x}", self.vector, self.rip),
        }
    }
}

impl fmt::Display for ProcessorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, rip, cs_base, rsp, mode, cpl, activity, interrupts_enabled, control, exceptions } = self;
        let activity = match activity {
            Activity::Active => "active",
            Activity::Halted => "halted",
            Activity::Mwait { .. } => "in MWAIT",
            Activity::Shutdown => "in shutdown",
            Activity::WaitForSipi => return write!(f, "processor {index}: not started"),
        };
        let masked = if *interrupts_enabled { "on" } else { "off" };
        write!(f, "processor {index}: {activity}, RIP {rip:#x}")?;
        if *cs_base != 0 {
            write!(f, " (CS base {cs_base:#x})")?;
        }
        let [cr0, cr2, cr3, cr4] = control;
        write!(
            f,
            " in {mode}, CPL {cpl}, interrupts {masked}, RSP {rsp:#x}, CR0 {cr0:#x}, CR2 {cr2:#x}, CR3 {cr3:#x}, CR4 {cr4:#x}"
        )?;
        if !exceptions.is_empty() {
            write!(f, "; last exceptions: ")?;
            for (n, exception) in exceptions.iter().enumerate() {
                write!(f, "{}{exception}", if n == 0 { "" } else { ", " })?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} instructions, at {} ns", self.why, self.retired, self.tick)?;
        for processor in &self.processors {
            write!(f, "\n  {processor}")?;
        }
        Ok(())
    }
}
