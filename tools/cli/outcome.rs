//! How a run ended, and the exit status that says so.
//!
//! The debug-exit port makes every odd status (`(value << 1) | 1`), so all others are even.

use std::fmt;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The machine was switched off by its software.
    PowerOff,
    /// Its software wrote this value to the debug-exit port.
    DebugExit(u32),
    /// The command line, a machine file or an image could not be used.
    Unusable(String),
    /// A fault while a double fault was delivered; the report says which.
    TripleFault(String),
    /// No processor can ever run again; the report says why.
    Hang(String),
    /// `--max-instructions` was reached.
    InstructionLimit(u64),
    /// The user left with Ctrl-A X.
    Left,
    /// The host failed: a file, the terminal.
    HostError(String),
    /// The machine's software asked for a reset.
    Reset,
}

/// Status and meaning, for `--help`; `Outcome::status` is held to it by a test.
pub const STATUS_TABLE: &str = "\
Exit status:
   0  the machine was powered off
 odd  its software wrote V to the debug-exit port: the status is ((V << 1) | 1) modulo 256
   2  the command line, the machine file or an image cannot be used
   4  triple fault
   6  hang: no processor can ever run again
   8  the instruction limit was reached
  10  left with Ctrl-A X
  12  the host failed: a file or the terminal
  14  the machine's software asked for a reset";

impl Outcome {
    /// The exit status of the process.
    pub fn status(&self) -> u8 {
        match self {
            Outcome::PowerOff => 0,
            // The host keeps eight bits of a status.
            Outcome::DebugExit(value) => ((value << 1) | 1) as u8,
            Outcome::Unusable(_) => 2,
            Outcome::TripleFault(_) => 4,
            Outcome::Hang(_) => 6,
            Outcome::InstructionLimit(_) => 8,
            Outcome::Left => 10,
            Outcome::HostError(_) => 12,
            Outcome::Reset => 14,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::PowerOff => write!(f, "the machine was powered off"),
            Outcome::DebugExit(value) => write!(f, "the machine wrote {value:#x} to the debug-exit port"),
            Outcome::Unusable(why) => write!(f, "{why}"),
            Outcome::TripleFault(report) => write!(f, "triple fault: {report}"),
            Outcome::Hang(report) => write!(f, "the machine hangs: {report}"),
            Outcome::InstructionLimit(count) => write!(f, "stopped at the limit of {count} instructions"),
            Outcome::Left => write!(f, "left with Ctrl-A X"),
            Outcome::HostError(why) => write!(f, "{why}"),
            Outcome::Reset => write!(f, "the machine asked for a reset"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_odd_for_debug_exit_alone_and_stands_in_the_table() {
        let text = || "because".to_owned();
        let even = [
            Outcome::PowerOff,
            Outcome::Unusable(text()),
            Outcome::TripleFault(text()),
            Outcome::Hang(text()),
            Outcome::InstructionLimit(5),
            Outcome::Left,
            Outcome::HostError(text()),
            Outcome::Reset,
        ];
        let mut seen = Vec::new();
        for outcome in even {
            let status = outcome.status();
            assert_eq!(status % 2, 0, "{outcome:?}");
            assert!(!seen.contains(&status), "{outcome:?}");
            assert!(STATUS_TABLE.contains(&format!("\n{status:4}  ")), "{outcome:?}");
            assert!(!outcome.to_string().is_empty());
            seen.push(status);
        }
        for (value, status) in [(0, 1), (1, 3), (0x10, 33), (127, 255), (0xffff_ffff, 255), (128, 1)] {
            assert_eq!(Outcome::DebugExit(value).status(), status);
        }
    }
}
