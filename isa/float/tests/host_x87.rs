//! x87 arithmetic against the host's own x87 unit: value, flags and condition codes, under random control words.
//!
//! The inline assembly that asks the host is this file's unsafe code.
#![allow(unsafe_code)]
#![cfg(target_arch = "x86_64")]

#[path = "host/operands.rs"]
mod operands;
#[path = "host/x87.rs"]
#[macro_use]
mod harness;

use std::arch::asm;

use harness::{Report, fsw_flags, random_fcw, visible};
use operands::Random;
use undercroft_float::x87::{self, C0, C1, C2, C3, Computed, M32, M64, Quotient};
use undercroft_float::{Env, F80, Flags, Relation, Rounding, Signals};

const CASES: u64 = 250_000;
const CONDITIONS: u16 = C0 | C1 | C2 | C3;

fn check_binary(
    subject: &'static str,
    host: fn(u16, F80, F80) -> (F80, u16),
    ours: fn(Env, F80, F80) -> Computed<F80>,
) {
    let mut random = Random::new(11);
    let mut report = Report::new(subject);
    for _ in 0..CASES {
        let fcw = random_fcw(&mut random);
        let a = random.f80();
        let b = random.f80_near(a);
        let (value, fsw) = host(fcw, a, b);
        let env = Env::from_fcw(fcw);
        let r = ours(env, a, b);
        let got = visible(env, a, r.value, r.flags, if r.c1 { C1 } else { 0 });
        report.check(got, (value, fsw_flags(fsw), fsw & C1), || format!("{a:x?} {b:x?} fcw {fcw:x}"));
    }
}

macro_rules! binary_tests {
    ($($test:ident $host:ident $instruction:literal $ours:expr;)*) => {$(
        host!($host, $instruction);
        #[test]
        fn $test() {
            check_binary($instruction, $host, $ours);
        }
    )*};
}

binary_tests! {
    fadd_any_operands_equal_host fadd "fadd st(0), st(1)" x87::add::<F80, F80>;
    fsub_any_operands_equal_host fsub "fsub st(0), st(1)" x87::sub::<F80, F80>;
    fsubr_any_operands_equal_host fsubr "fsubr st(0), st(1)" |e, a, b| x87::sub(e, b, a);
    fmul_any_operands_equal_host fmul "fmul st(0), st(1)" x87::mul::<F80, F80>;
    fdiv_any_operands_equal_host fdiv "fdiv st(0), st(1)" x87::div::<F80, F80>;
    fdivr_any_operands_equal_host fdivr "fdivr st(0), st(1)" |e, a, b| x87::div(e, b, a);
    fsqrt_any_operand_equals_host fsqrt "fsqrt" |e, a, _| x87::sqrt(e, a);
    frndint_any_operand_equals_host frndint "frndint" |e, a, _| x87::round_to_integral(e, a);
}

host!(fscale, "fscale");
#[test]
fn fscale_any_operands_equal_host() {
    let mut random = Random::new(12);
    let mut report = Report::new("fscale");
    for _ in 0..CASES {
        let fcw = random_fcw(&mut random);
        let a = random.f80();
        let b = if random.below(3) == 0 {
            random.f80()
        } else {
            x87::load_i64((random.below(0x18000) as i64 - 0xc000) >> random.below(16))
        };
        let (value, fsw) = fscale(fcw, a, b);
        let env = Env::from_fcw(fcw);
        let r = x87::scale(env, a, b);
        let got = visible(env, a, r.value, r.flags, if r.c1 { C1 } else { 0 });
        report.check(got, (value, fsw_flags(fsw), fsw & C1), || format!("{a:x?} {b:x?} fcw {fcw:x}"));
    }
}

host!(fxtract_top, "fxtract");
host!(fxtract_below, "fxtract\nfnstsw ax\nfnclex\nfxch\nfxch\nfxch");
#[test]
fn fxtract_any_operand_equals_host() {
    let mut random = Random::new(13);
    let mut report = Report::new("fxtract");
    for _ in 0..CASES {
        let fcw = random_fcw(&mut random);
        let a = random.f80();
        let env = Env::from_fcw(fcw);
        let (significand, exponent, flags) = x87::extract(env, a);
        let (value, fsw) = fxtract_top(fcw, a, a);
        let stopped = flags.stops(env);
        report.check((if stopped { a } else { significand }, flags), (value, fsw_flags(fsw)), || {
            format!("significand of {a:x?} fcw {fcw:x}")
        });
        let (value, _) = fxtract_below(fcw, a, a);
        report.check(if stopped { a } else { exponent }, value, || format!("exponent of {a:x?} fcw {fcw:x}"));
    }
}

fn check_remainder(subject: &'static str, host: fn(u16, F80, F80) -> (F80, u16), quotient: Quotient) {
    let mut random = Random::new(14);
    let mut report = Report::new(subject);
    for _ in 0..CASES {
        let fcw = random_fcw(&mut random);
        let a = random.f80();
        let mut b = random.f80_near(a);
        if random.below(2) == 0 {
            let exponent = (a.sign_exponent & 0x7fff).wrapping_sub(random.below(140) as u16).wrapping_add(4);
            b.sign_exponent = b.sign_exponent & 0x8000 | exponent & 0x7fff;
        }
        let (value, fsw) = host(fcw, a, b);
        let env = Env::from_fcw(fcw);
        let r = x87::remainder(env, a, b, quotient);
        let got = visible(env, a, r.value, r.flags, r.condition);
        report.check(got, (value, fsw_flags(fsw), fsw & CONDITIONS), || format!("{a:x?} {b:x?} fcw {fcw:x}"));
    }
}

host!(fprem, "fprem");
host!(fprem1, "fprem1");
#[test]
fn fprem_any_operands_equal_host() {
    check_remainder("fprem", fprem, Quotient::Truncated);
}
#[test]
fn fprem1_any_operands_equal_host() {
    check_remainder("fprem1", fprem1, Quotient::Nearest);
}

fn check_compare(subject: &'static str, host: fn(u16, F80, F80) -> (F80, u16), signals: Signals) {
    let mut random = Random::new(15);
    let mut report = Report::new(subject);
    for _ in 0..CASES {
        let fcw = random_fcw(&mut random);
        let a = random.f80();
        let b = random.f80_near(a);
        let (relation, flags) = x87::compare(a, b, signals);
        let condition = match relation {
            _ if flags.stops(Env::from_fcw(fcw)) => continue,
            Relation::Greater => 0,
            Relation::Less => C0,
            Relation::Equal => C3,
            Relation::Unordered => C0 | C2 | C3,
        };
        let (_, fsw) = host(fcw, a, b);
        report.check((flags, condition), (fsw_flags(fsw), fsw & CONDITIONS), || format!("{a:x?} {b:x?} fcw {fcw:x}"));
    }
}

host!(fcom, "fcom st(1)");
host!(fucom, "fucom st(1)");
#[test]
fn fcom_any_operands_equal_host() {
    check_compare("fcom", fcom, Signals::AllNans);
}
#[test]
fn fucom_any_operands_equal_host() {
    check_compare("fucom", fucom, Signals::SignallingNans);
}

host!(fxam, "fxam");
#[test]
fn fxam_any_operand_equals_host() {
    let mut random = Random::new(16);
    let mut report = Report::new("fxam");
    for _ in 0..CASES {
        let a = random.f80();
        let (_, fsw) = fxam(0x37f, a, a);
        report.check(x87::examine(a), fsw & CONDITIONS, || format!("{a:x?}"));
    }
}

macro_rules! memory_operand_tests {
    ($($test:ident $host:ident $instruction:literal $memory:ty, $random:expr, $ours:expr;)*) => {$(
        host_memory!($host, $instruction, $memory);
        #[test]
        fn $test() {
            let mut random = Random::new(17);
            let mut report = Report::new($instruction);
            for _ in 0..CASES {
                let fcw = random_fcw(&mut random);
                let (a, m) = (random.f80(), $random(&mut random));
                let (_, value, fsw) = $host(fcw, a, m);
                let env = Env::from_fcw(fcw);
                let r: Computed<F80> = $ours(env, a, m);
                // FLD pushes even when DE is reported to software.
                let env = if $instruction.starts_with("fld") { Env { masks: env.masks | Flags::DE.bits(), ..env } } else { env };
                let got = visible(env, a, r.value, r.flags, if r.c1 { C1 } else { 0 });
                report.check(got, (value, fsw_flags(fsw), fsw & C1), || format!("{a:x?} {m:x} fcw {fcw:x}"));
            }
        }
    )*};
}

memory_operand_tests! {
    fadd_m32_any_operands_equal_host fadd_m32 "fadd dword ptr" u32, Random::f32, |e, a, m| x87::add(e, a, M32(m));
    fdiv_m32_any_operands_equal_host fdiv_m32 "fdiv dword ptr" u32, Random::f32, |e, a, m| x87::div(e, a, M32(m));
    fmul_m64_any_operands_equal_host fmul_m64 "fmul qword ptr" u64, Random::f64, |e, a, m| x87::mul(e, a, M64(m));
    fdivr_m64_any_operands_equal_host fdivr_m64 "fdivr qword ptr" u64, Random::f64, |e, a, m| x87::div(e, M64(m), a);
    fisub_m16_any_operands_equal_host fisub "fisub word ptr" i16, |r: &mut Random| r.pattern() as i16,
        |e, a, m: i16| x87::sub(e, a, m);
    fidiv_m32_any_operands_equal_host fidiv "fidiv dword ptr" i32, |r: &mut Random| r.pattern() as i32,
        |e, a, m: i32| x87::div(e, a, m);
    fld_m32_any_operand_equals_host fld_m32 "fld dword ptr" u32, Random::f32, |_, _, m| loaded(x87::load_f32(m));
    fld_m64_any_operand_equals_host fld_m64 "fld qword ptr" u64, Random::f64, |_, _, m| loaded(x87::load_f64(m));
    fild_m64_any_operand_equals_host fild_m64 "fild qword ptr" i64, |r: &mut Random| r.pattern() as i64,
        |_, _, m| loaded((x87::load_i64(m), Flags::empty()));
}

fn loaded((value, flags): (F80, Flags)) -> Computed<F80> {
    Computed { value, flags, c1: false }
}

macro_rules! store_tests {
    ($($test:ident $host:ident $instruction:literal $memory:ty, $before:expr, $ours:expr;)*) => {$(
        host_memory!($host, $instruction, $memory);
        #[test]
        fn $test() {
            let mut random = Random::new(18);
            let mut report = Report::new($instruction);
            for i in 0..CASES {
                let fcw = random_fcw(&mut random);
                // Often around the limits of the integer formats.
                let a = match i % 3 {
                    0 => random.f80(),
                    1 => x87::load_i64(random.pattern() as i64),
                    _ => {
                        let a = random.f80();
                        F80 { sign_exponent: a.sign_exponent & 0x8000 | 0x3ffc + random.below(70) as u16, ..a }
                    }
                };
                let (memory, _, fsw) = $host(fcw, a, $before);
                let env = Env::from_fcw(fcw);
                let r: Computed<$memory> = $ours(env, a);
                let got = (if r.stores(env) { r.value } else { $before }, r.flags, r.c1);
                report.check(got, (memory, fsw_flags(fsw), fsw & C1 != 0), || format!("{a:x?} fcw {fcw:x}"));
            }
        }
    )*};
}

store_tests! {
    fst_m32_any_operand_equals_host fst_m32 "fst dword ptr" u32, 0x1234_5678, x87::store_f32;
    fst_m64_any_operand_equals_host fst_m64 "fst qword ptr" u64, 0x1234_5678, x87::store_f64;
    fist_m16_any_operand_equals_host fist_m16 "fist word ptr" i16, 0x1234, x87::store_i16;
    fist_m32_any_operand_equals_host fist_m32 "fist dword ptr" i32, 0x1234, x87::store_i32;
    fistp_m64_any_operand_equals_host fistp_m64 "fistp qword ptr" i64, 0x1234, x87::store_i64;
    fisttp_m64_any_operand_equals_host fisttp_m64 "fisttp qword ptr" i64, 0x1234,
        |e: Env, a| x87::store_i64(e.with_rounding(Rounding::Truncate), a);
    fbstp_any_operand_equals_host fbstp "fbstp tbyte ptr" [u8; 10], [0x55; 10], x87::store_bcd;
}

host_memory!(fbld, "fbld tbyte ptr", [u8; 10]);
#[test]
fn fbld_any_digits_equal_host() {
    let mut random = Random::new(19);
    let mut report = Report::new("fbld");
    for _ in 0..CASES {
        let mut memory = [0u8; 10];
        let digits = random.below(19);
        for place in 0..digits {
            memory[place as usize / 2] |= (random.below(10) as u8) << (place % 2 * 4);
        }
        memory[9] = random.next() as u8;
        let (_, value, _) = fbld(0x37f, F80::ONE, memory);
        report.check(x87::load_bcd(memory), value, || format!("{memory:x?}"));
    }
}
