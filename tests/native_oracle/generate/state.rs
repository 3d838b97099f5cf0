//! Registers at the start.

use crate::case::{Fx, Registers};
use crate::layout::{DATA, PAGE};
use crate::random::Random;
use crate::values;

/// Arithmetic flags and DF.
const FLAGS: u64 = 0x8d5;
const DF: u64 = 1 << 10;
const AC: u64 = 1 << 18;

/// All of them.
pub fn registers(r: &mut Random) -> Registers {
    let gpr = std::array::from_fn(|_| values::integer(r));
    let mut rflags = 0x202 | r.next() & FLAGS;
    if r.percent(20) {
        rflags |= DF;
    }
    // Alignment checks: Linux has CR0.AM set.
    if r.percent(3) {
        rflags |= AC;
    }
    let base = |r: &mut Random| match r.below(4) {
        0 => 0,
        1 => r.below(256),
        2 => DATA + PAGE + r.below(PAGE),
        _ => r.below(1 << 20).wrapping_neg(),
    };
    let (fs_base, gs_base) = (base(r), base(r));
    Registers { gpr, rip: 0, rflags, fs_base, gs_base, fx: fx(r) }
}

/// x87 and SSE registers.
pub fn fx(r: &mut Random) -> Fx {
    let mut fx = Fx([0; 512]);
    fx.set_control(control(r));
    fx.set_mxcsr(mxcsr(r));
    let full = r.pick(&[100, 100, 90, 50, 0]);
    let tag = (0..8).filter(|_| r.percent(full)).fold(0, |tag, n| tag | 1 << n);
    fx.set_tag(tag);
    let masks = fx.control() & 0x3f;
    let pending = r.percent(4);
    let mut status = (r.next() as u16) & 0x7f7f;
    if r.percent(50) {
        status &= !0x7f;
    }
    if !pending {
        // Only flags that are masked; a stack fault is an invalid operation.
        status &= !0x3f | masks;
    }
    if status & 1 == 0 {
        status &= !0x40;
    }
    if status & 0x3f & !masks != 0 {
        status |= 0x8080;
    }
    fx.set_status(status);
    for n in 0..8 {
        let (significand, exponent) = match r.below(8) {
            0 => (values::integer(r), 0xffff),
            _ => values::float80(r),
        };
        fx.set_st(n, significand, exponent);
    }
    for n in 0..16 {
        fx.set_xmm(n, values::vector(r));
    }
    fx
}

/// An x87 control word: any masks, precision (but the reserved one) and rounding.
pub fn control(r: &mut Random) -> u16 {
    if r.percent(40) {
        return 0x37f;
    }
    let masks = if r.percent(70) { 0x3f } else { r.below(64) as u16 };
    masks | 0x40 | r.pick(&[0, 2, 3]) << 8 | (r.below(4) as u16) << 10 | (r.below(8) as u16 & 1) << 12
}

/// MXCSR: any masks, flags, rounding, flush-to-zero and denormals-are-zeros.
pub fn mxcsr(r: &mut Random) -> u32 {
    match r.below(10) {
        0..=3 => 0x1f80,
        4..=7 => 0x1f80 | r.next() as u32 & 0xe07f,
        _ => r.next() as u32 & 0xffff,
    }
}
