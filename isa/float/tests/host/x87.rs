//! How the tests ask the host's x87 unit, and how they report.
#![allow(dead_code, unused_macros)]

use undercroft_float::{Env, F80, Flags};

use crate::operands::Random;

/// A control word with random rounding and precision; half of the time everything is masked.
pub fn random_fcw(random: &mut Random) -> u16 {
    let masks = if random.below(2) == 0 { 0x3f } else { random.below(0x40) as u16 };
    let precision = [0, 1, 2, 3, 3][random.below(5) as usize];
    masks | 0x40 | precision << 8 | (random.below(4) as u16) << 10
}

pub fn fsw_flags(fsw: u16) -> Flags {
    Flags::from_bits_truncate(fsw as u8 & 0x3f)
}

/// Runs an instruction on ST0 = `a`, ST1 = `b` under `fcw`; gives the top of the stack and FSW. `$pops` of the two registers are
/// gone afterwards.
macro_rules! host {
    ($name:ident, $instruction:literal) => {
        fn $name(fcw: u16, a: F80, b: F80) -> (F80, u16) {
            let (a, b) = (a.to_bytes(), b.to_bytes());
            let mut result = [0u8; 10];
            let fsw: u16;
            // SAFETY: reads and writes locals only; the x87 state is reset before and after.
            unsafe {
                asm!(
                    "fninit",
                    "fld tbyte ptr [{b}]",
                    "fld tbyte ptr [{a}]",
                    "fldcw [{cw}]",
                    $instruction,
                    "fnstsw ax",
                    "fnclex",
                    "fstp tbyte ptr [{r}]",
                    "fninit",
                    a = in(reg) &a, b = in(reg) &b, cw = in(reg) &fcw, r = in(reg) &mut result,
                    out("ax") fsw,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                );
            }
            (F80::from_bytes(result), fsw)
        }
    };
}

/// Runs an instruction with a memory operand of `$size` on ST0 = `a`; gives memory, the top of the stack and FSW.
macro_rules! host_memory {
    ($name:ident, $instruction:literal, $memory:ty) => {
        fn $name(fcw: u16, a: F80, memory: $memory) -> ($memory, F80, u16) {
            let mut memory = memory;
            let a = a.to_bytes();
            let mut result = [0u8; 10];
            let fsw: u16;
            // SAFETY: reads and writes locals only; the x87 state is reset before and after.
            unsafe {
                asm!(
                    "fninit",
                    "fld tbyte ptr [{a}]",
                    "fldcw [{cw}]",
                    concat!($instruction, " [{m}]"),
                    "fnstsw ax",
                    "fnclex",
                    "fstp tbyte ptr [{r}]",
                    "fninit",
                    a = in(reg) &a, cw = in(reg) &fcw, r = in(reg) &mut result, m = in(reg) &mut memory,
                    out("ax") fsw,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                );
            }
            (memory, F80::from_bytes(result), fsw)
        }
    };
}

/// Collects differences and fails with the first of them and their number.
pub struct Report {
    subject: &'static str,
    cases: u64,
    different: u64,
    first: Vec<String>,
}

impl Report {
    pub fn new(subject: &'static str) -> Report {
        Report { subject, cases: 0, different: 0, first: Vec::new() }
    }

    pub fn check<T: PartialEq + std::fmt::Debug>(&mut self, got: T, expected: T, case: impl Fn() -> String) {
        self.cases += 1;
        if got != expected {
            self.different += 1;
            if self.first.len() < 12 {
                self.first.push(format!("{}: got {got:x?}, the host says {expected:x?}", case()));
            }
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        assert!(
            self.different == 0 || std::thread::panicking(),
            "{}: {} of {} differ\n{}",
            self.subject,
            self.different,
            self.cases,
            self.first.join("\n")
        );
    }
}

/// What an instruction leaves visible: the register unless it was stopped, the flags, and those of C3 to C0 in `conditions`.
pub fn visible(env: Env, before: F80, value: F80, flags: Flags, condition: u16) -> (F80, Flags, u16) {
    (if flags.stops(env) { before } else { value }, flags, condition)
}
