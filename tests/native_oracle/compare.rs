//! Two outcomes of one case: what differs that should not.

use crate::case::{Case, Fault, Outcome};
use crate::deviations::{self, Deviation};
use crate::generate::flag_bits;
use crate::layout::{self, MEMORY};
use iced_x86::{Instruction, OpKind, Register};

/// Something that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What it is.
    pub what: String,
    /// On the host.
    pub expected: String,
    /// In the machine.
    pub actual: String,
}

const RF: u64 = 1 << 16;
const NAMES: [&str; 16] =
    ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"];

/// All differences that the manual does not allow; none if the outcomes agree.
pub fn compare(case: &Case, expected: &Outcome, actual: &Outcome) -> Vec<Difference> {
    if is_same(expected, actual) {
        return Vec::new();
    }
    let endless = |o: &Outcome| o.fault.is_some_and(|f| f.vector == Fault::ENDLESS);
    if endless(expected) && endless(actual) {
        return Vec::new();
    }
    let allowed = Allowed::of(case, expected, actual);
    if allowed.skip {
        return Vec::new();
    }
    let mut all = Vec::new();
    let mut differ = |what: &str, expected: String, actual: String| {
        all.push(Difference { what: what.to_string(), expected, actual });
    };
    let (e, a) = (&expected.registers, &actual.registers);
    let (x, y) = (plain(expected.fault), plain(actual.fault));
    let is_memory = |f: Option<Fault>| f.is_some_and(|f| matches!(f.vector, 12..=14 | 17));
    if x != y && !(allowed.exception && is_memory(x) && is_memory(y)) {
        differ("exception", describe(x), describe(y));
    }
    if e.rip != a.rip {
        differ("RIP", hex(e.rip), hex(a.rip));
    }
    for (n, name) in NAMES.iter().enumerate().take(16) {
        if e.gpr[n] != a.gpr[n] && allowed.registers >> n & 1 == 0 {
            differ(name, hex(e.gpr[n]), hex(a.gpr[n]));
        }
    }
    let flags = !RF & !allowed.flags;
    if (e.rflags ^ a.rflags) & flags != 0 {
        differ("RFLAGS", describe_flags(e.rflags & flags), describe_flags(a.rflags & flags));
    }
    if e.fs_base != a.fs_base {
        differ("FS base", hex(e.fs_base), hex(a.fs_base));
    }
    if e.gs_base != a.gs_base {
        differ("GS base", hex(e.gs_base), hex(a.gs_base));
    }
    x87(&allowed, expected, actual, &mut differ);
    for n in 0..16 {
        let (x, y) = (e.fx.xmm(n), a.fx.xmm(n));
        if x != y && allowed.xmm >> n & 1 == 0 && !(allowed.near_xmm == Some(n) && near_lanes(x, y, allowed.lanes)) {
            differ(&format!("XMM{n}"), format!("{x:032x}"), format!("{y:032x}"));
        }
    }
    if e.fx.mxcsr() != a.fx.mxcsr() {
        differ("MXCSR", format!("{:08x}", e.fx.mxcsr()), format!("{:08x}", a.fx.mxcsr()));
    }
    memory(&allowed, expected, actual, &mut differ);
    all
}

fn x87(allowed: &Allowed, expected: &Outcome, actual: &Outcome, differ: &mut impl FnMut(&str, String, String)) {
    let (e, a) = (&expected.registers.fx, &actual.registers.fx);
    if e.control() != a.control() {
        differ("x87 control", format!("{:04x}", e.control()), format!("{:04x}", a.control()));
    }
    if (e.status() ^ a.status()) & !allowed.status != 0 {
        differ("x87 status", format!("{:04x}", e.status()), format!("{:04x}", a.status()));
    }
    if e.tag() != a.tag() && !allowed.transition {
        differ("x87 tags", format!("{:08b}", e.tag()), format!("{:08b}", a.tag()));
    }
    // Where TOP may differ, the registers are compared by their own numbers.
    let turn = if allowed.transition { usize::from(e.status().wrapping_sub(a.status()) >> 11 & 7) } else { 0 };
    for n in 0..8 {
        let (x, y) = (e.st(n), a.st((n + turn) & 7));
        if x != y && !near_extended(x, y, allowed.st[n]) {
            differ(&format!("ST{n}"), format!("{:04x}:{:016x}", x.1, x.0), format!("{:04x}:{:016x}", y.1, y.0));
        }
    }
}

fn memory(allowed: &Allowed, expected: &Outcome, actual: &Outcome, differ: &mut impl FnMut(&str, String, String)) {
    if expected.memory == actual.memory {
        return;
    }
    let mut n = 0;
    let mut shown = 0;
    while n < MEMORY && shown < 8 {
        let at = layout::memory_address(n);
        let is_allowed = allowed.memory.iter().any(|(from, len)| at.wrapping_sub(*from) < *len);
        if expected.memory[n] == actual.memory[n] || is_allowed {
            n += 1;
            continue;
        }
        let end = (n & !7) + 8;
        let start = n & !7;
        let text = |o: &Outcome| o.memory[start..end].iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
        differ(&format!("memory at {:x}", layout::memory_address(start)), text(expected), text(actual));
        shown += 1;
        n = end;
    }
}

/// Equal without any allowance, quickly. What no software can rely on (the last x87 instruction, which AMD's processors keep only with an
/// unmasked exception; reserved bytes) is not looked at.
fn is_same(expected: &Outcome, actual: &Outcome) -> bool {
    let (e, a) = (&expected.registers, &actual.registers);
    plain(expected.fault) == plain(actual.fault)
        && e.gpr == a.gpr
        && e.rip == a.rip
        && (e.rflags ^ a.rflags) & !RF == 0
        && e.fs_base == a.fs_base
        && e.gs_base == a.gs_base
        && e.fx.0[..5] == a.fx.0[..5]
        && e.fx.mxcsr() == a.fx.mxcsr()
        && (0..8).all(|n| e.fx.st(n) == a.fx.st(n))
        && e.fx.0[160..416] == a.fx.0[160..416]
        && expected.memory == actual.memory
}

/// The host's operating system hides whether a page of its own half is present: bit 0 of the error code does not count there.
fn plain(fault: Option<Fault>) -> Option<Fault> {
    fault.map(|mut f| {
        if f.vector == 14 && f.cr2 >= (1 << 47) - layout::PAGE {
            f.error &= !1;
        }
        f
    })
}

fn hex(v: u64) -> String {
    format!("{v:016x}")
}
fn describe(fault: Option<Fault>) -> String {
    const NAMES: [&str; 20] = [
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP", "#SS", "#GP", "#PF", "15",
        "#MF", "#AC", "#MC", "#XM",
    ];
    match fault {
        None => "none".to_string(),
        Some(f) if f.vector == Fault::ENDLESS => "does not end".to_string(),
        Some(f) => {
            let name = NAMES.get(f.vector as usize).map_or_else(|| format!("vector {}", f.vector), ToString::to_string);
            let cr2 = if f.vector == 14 { format!(" CR2 {:x}", f.cr2) } else { String::new() };
            format!("{name}({:x}){cr2}", f.error)
        }
    }
}
/// Names of the flags that are set.
pub fn describe_flags(v: u64) -> String {
    const FLAGS: [(u32, &str); 12] = [
        (21, "ID"),
        (18, "AC"),
        (16, "RF"),
        (14, "NT"),
        (11, "OF"),
        (10, "DF"),
        (8, "TF"),
        (7, "SF"),
        (6, "ZF"),
        (4, "AF"),
        (2, "PF"),
        (0, "CF"),
    ];
    let names: Vec<&str> = FLAGS.iter().filter(|(bit, _)| v >> bit & 1 != 0).map(|(_, name)| *name).collect();
    format!("{v:x} [{}]", names.join(" "))
}

/// What may differ after a case.
#[derive(Default)]
struct Allowed {
    flags: u64,
    registers: u16,
    xmm: u16,
    near_xmm: Option<usize>,
    lanes: f64,
    status: u16,
    st: [u64; 8],
    memory: Vec<(u64, u64)>,
    transition: bool,
    exception: bool,
    skip: bool,
}

impl Allowed {
    fn of(case: &Case, expected: &Outcome, actual: &Outcome) -> Allowed {
        let mut allowed = Allowed::default();
        // Flags that were undefined when the instruction that faulted began, or at the end.
        let faulted =
            expected.fault.and_then(|_| case.items.iter().position(|i| i.instruction.ip() == expected.registers.rip));
        allowed.flags = match (faulted, expected.fault) {
            (Some(n), _) => case.items[n].undefined_before,
            (None, None) => case.undefined_after,
            (None, Some(_)) => case.items.iter().fold(case.undefined_after, |all, i| all | i.undefined_before),
        };
        for (n, item) in case.items.iter().enumerate() {
            for d in deviations::of_mnemonic(item.instruction.mnemonic()) {
                if d.holds(case, n, expected, actual) {
                    allowed.add(case, &item.instruction, d);
                }
            }
        }
        allowed
    }

    fn add(&mut self, case: &Case, i: &Instruction, d: &Deviation) {
        self.flags |= d.flag_mask();
        self.status |= d.status;
        self.skip |= d.skip;
        self.exception |= d.exception;
        self.transition |= d.transition;
        if d.stack {
            self.memory.push((case.registers.gpr[4].wrapping_sub(512), 512));
        }
        if d.transition {
            self.status |= 0x3800;
        }
        for [register, ulps] in &d.st {
            self.st[*register as usize & 7] = *ulps;
        }
        for operand in &d.operands {
            let Ok(OpKind::Register) = i.try_op_kind(*operand) else { continue };
            let register = i.op_register(*operand);
            if register.is_xmm() {
                self.xmm |= 1 << (register as u32 - Register::XMM0 as u32);
            } else if register.is_gpr() {
                self.registers |= 1 << register.full_register().number();
            }
        }
        if d.lanes != 0.0 {
            self.near_xmm = Some(i.op0_register() as usize - Register::XMM0 as usize);
            self.lanes = d.lanes;
        }
        if !d.memory.is_empty()
            && let Some(at) = operand_address(case, i)
        {
            self.memory.extend(d.memory.iter().map(|[offset, len]| (at.wrapping_add(*offset), *len)));
        }
    }
}

/// Linear address of the memory operand, with the registers at the case's start.
pub fn operand_address(case: &Case, i: &Instruction) -> Option<u64> {
    let n = (0..i.op_count()).find(|n| !matches!(i.op_kind(*n), OpKind::Register | OpKind::Immediate8))?;
    i.virtual_address(n, 0, |register, _, _| match register {
        Register::FS => Some(case.registers.fs_base),
        Register::GS => Some(case.registers.gs_base),
        Register::ES | Register::CS | Register::SS | Register::DS => Some(0),
        r => {
            let value = case.registers.gpr[r.full_register().number()];
            // AL is the index of XLAT.
            Some(match r.size() {
                1 => value & 0xff,
                4 => value & 0xffff_ffff,
                _ => value,
            })
        }
    })
}

/// The flags that an instruction leaves undefined, by the manual.
pub fn undefined_flags(i: &Instruction) -> u64 {
    u64::from(flag_bits(i.rflags_undefined()))
}

fn near_extended(x: (u64, u16), y: (u64, u16), ulps: u64) -> bool {
    if ulps == i64::MAX as u64 {
        return true;
    }
    // As one number, exponent and sign above the significand: neighbours across a power of two differ by the jump of the integer bit.
    let ordered = |(m, e): (u64, u16)| (i128::from(e & 0x7fff) << 63) + i128::from(m & !(1 << 63));
    let same_kind = (x.1 ^ y.1) & 0x8000 == 0 && (x.1 & 0x7fff == 0x7fff) == (y.1 & 0x7fff == 0x7fff);
    ulps != 0 && same_kind && (ordered(x) - ordered(y)).unsigned_abs() <= u128::from(ulps)
}

fn near_lanes(x: u128, y: u128, bound: f64) -> bool {
    (0..4).all(|lane| {
        let (x, y) = ((x >> (32 * lane)) as u32, (y >> (32 * lane)) as u32);
        if x == y {
            return true;
        }
        let (x, y) = (f64::from(f32::from_bits(x)), f64::from(f32::from_bits(y)));
        x.is_finite() && y.is_finite() && (x - y).abs() <= bound * x.abs()
    })
}
