//! A mismatch for people, and its reduction.

use crate::case::{Case, Outcome, Subject};
use crate::compare::{self, Difference, describe_flags};
use iced_x86::{FastFormatter, Instruction};
use std::fmt::Write;

/// Runs a case on both sides and compares.
pub fn check(
    case: &Case,
    host: &mut dyn Subject,
    machine: &mut dyn Subject,
    room: &mut [Outcome; 2],
) -> Vec<Difference> {
    let [expected, actual] = room;
    host.run(case, expected);
    machine.run(case, actual);
    compare::compare(case, expected, actual)
}

/// Takes away instructions and makes inputs zero as long as something differs.
pub fn minimise(case: &Case, host: &mut dyn Subject, machine: &mut dyn Subject) -> Case {
    let mut room = [Outcome::new(), Outcome::new()];
    let mut best = case.clone();
    let mut attempt = |best: &mut Case, candidate: Case| {
        if !check(&candidate, host, machine, &mut room).is_empty() {
            *best = candidate;
            return true;
        }
        false
    };
    let mut n = best.items.len();
    while n > 0 {
        n -= 1;
        if best.items.len() > 1 {
            let mut fewer = best.clone();
            fewer.items.remove(n);
            fewer.place();
            attempt(&mut best, fewer);
        }
    }
    let mut n = best.patches.len();
    while n > 0 {
        n -= 1;
        let mut fewer = best.clone();
        fewer.patches.remove(n);
        attempt(&mut best, fewer);
    }
    for template in [0, 1] {
        let mut other = best.clone();
        other.template = template;
        if attempt(&mut best, other) {
            break;
        }
    }
    for n in 0..16 {
        let mut other = best.clone();
        other.registers.gpr[n] = 0;
        attempt(&mut best, other);
        let mut other = best.clone();
        other.registers.fx.set_xmm(n, 0);
        attempt(&mut best, other);
        let mut other = best.clone();
        other.registers.fx.set_st(n & 7, 0, 0);
        attempt(&mut best, other);
    }
    let simpler: [fn(&mut Case); 6] = [
        |c| c.registers.rflags = 0x202,
        |c| c.registers.fs_base = 0,
        |c| c.registers.gs_base = 0,
        |c| c.registers.fx.set_mxcsr(0x1f80),
        |c| c.registers.fx.set_control(0x37f),
        |c| c.registers.fx.set_status(0),
    ];
    for change in simpler {
        let mut other = best.clone();
        change(&mut other);
        attempt(&mut best, other);
    }
    best
}

/// One instruction as text.
pub fn text(i: &Instruction) -> String {
    let mut out = String::new();
    FastFormatter::new().format(i, &mut out);
    out
}

/// Everything that is needed to understand a mismatch.
pub fn describe(case: &Case, differences: &[Difference]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "mismatch: --seed {} --from {} --cases 1", case.seed, case.index);
    for item in &case.items {
        let bytes: Vec<String> = item.bytes.iter().map(|b| format!("{b:02x}")).collect();
        let i = &item.instruction;
        let _ = writeln!(out, "  {:x}  {:<30} {}    ({:?})", i.ip(), bytes.join(" "), text(i), i.code());
        if let Some(at) = compare::operand_address(case, i)
            && i.memory_size().size() > 0
        {
            let mut memory = Box::new([0; crate::layout::MEMORY]);
            case.fill(&mut memory);
            let len = i.memory_size().size().min(32) as u64;
            let bytes: Vec<String> = (0..len)
                .map(|n| {
                    crate::layout::memory_index(at.wrapping_add(n))
                        .map_or("--".into(), |x| format!("{:02x}", memory[x]))
                })
                .collect();
            let _ = writeln!(out, "      operand at {at:x}: {}", bytes.join(" "));
        }
    }
    let r = &case.registers;
    let _ = write!(out, "  in: RFLAGS {}", describe_flags(r.rflags));
    const NAMES: [&str; 16] =
        ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"];
    for (n, v) in r.gpr.iter().enumerate().filter(|(_, v)| **v != 0) {
        let _ = write!(out, " {}={v:x}", NAMES[n]);
    }
    let _ = writeln!(out, " FS={:x} GS={:x}", r.fs_base, r.gs_base);
    let fx = &r.fx;
    let _ =
        write!(out, "      MXCSR {:x} FCW {:x} FSW {:x} tags {:08b}", fx.mxcsr(), fx.control(), fx.status(), fx.tag());
    for n in 0..8 {
        let (m, e) = fx.st(n);
        if m != 0 || e != 0 {
            let _ = write!(out, " ST{n}={e:04x}:{m:016x}");
        }
    }
    for n in (0..16).filter(|n| fx.xmm(*n) != 0) {
        let _ = write!(out, " XMM{n}={:032x}", fx.xmm(n));
    }
    let _ = writeln!(out);
    for d in differences {
        let _ = writeln!(out, "  {:<16} host {}   machine {}", d.what, d.expected, d.actual);
    }
    out
}
