//! Arithmetic flags, lazily: an operation's kind, width, first operand and result are enough to compute any of them later.
//! SDM volume 1, "EFLAGS Register"; volume 2, the "Flags Affected" of each instruction.

use undercroft_decode::{Cond, Size};
use undercroft_spec::x86::control::rflags::{AF, CF, OF, PF, SF, ZF};

/// The operation that flags are to be computed from. `a` is its first operand, `r` its result, both zero-extended to 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FlagOp {
    /// Flags were computed: `a` holds them.
    Known = 0,
    /// AND, OR, XOR, TEST: CF = OF = 0; AF is cleared (undefined by the SDM).
    Logic,
    /// `r = a + b`.
    Add,
    /// `r = a + b + 1`.
    AddCarry,
    /// `r = a - b`.
    Sub,
    /// `r = a - b - 1`.
    SubBorrow,
    /// Left shift: `a` is the operand shifted by one less than the count, so that its top bit is CF.
    Shl,
    /// Right shift, logical or arithmetic: `a` is the operand shifted by one less than the count, so that its low bit is CF.
    Shr,
    /// `r = a + 1`, CF is not affected and was 0.
    Inc,
    /// Likewise, and was 1.
    IncCarry,
    /// `r = a - 1`, CF is not affected and was 0.
    Dec,
    /// Likewise, and was 1.
    DecCarry,
}

impl FlagOp {
    /// From its number; numbers that are none give `Known`.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> FlagOp {
        match bits {
            1 => FlagOp::Logic,
            2 => FlagOp::Add,
            3 => FlagOp::AddCarry,
            4 => FlagOp::Sub,
            5 => FlagOp::SubBorrow,
            6 => FlagOp::Shl,
            7 => FlagOp::Shr,
            8 => FlagOp::Inc,
            9 => FlagOp::IncCarry,
            10 => FlagOp::Dec,
            11 => FlagOp::DecCarry,
            _ => FlagOp::Known,
        }
    }
}

/// CF.
#[inline(always)]
pub fn carry(op: FlagOp, size: Size, a: u64, r: u64) -> bool {
    match op {
        FlagOp::Known => a & CF != 0,
        FlagOp::Logic => false,
        FlagOp::Add => r < a,
        FlagOp::AddCarry => r <= a,
        FlagOp::Sub => r > a,
        FlagOp::SubBorrow => r >= a,
        FlagOp::Shl => a & size.sign_bit() != 0,
        FlagOp::Shr => a & 1 != 0,
        FlagOp::Inc | FlagOp::Dec => false,
        FlagOp::IncCarry | FlagOp::DecCarry => true,
    }
}

/// OF.
#[inline(always)]
pub fn overflow(op: FlagOp, size: Size, a: u64, r: u64) -> bool {
    match op {
        FlagOp::Known => a & OF != 0,
        FlagOp::Logic => false,
        // b = r - a (- 1): overflow when both operands' signs differ from the result's.
        FlagOp::Add | FlagOp::Inc | FlagOp::IncCarry => (a ^ r) & (r.wrapping_sub(a) ^ r) & size.sign_bit() != 0,
        FlagOp::AddCarry => (a ^ r) & (r.wrapping_sub(a).wrapping_sub(1) ^ r) & size.sign_bit() != 0,
        // b = a - r (- 1): overflow when the operands' signs differ and the result's is not the first's.
        FlagOp::Sub | FlagOp::Dec | FlagOp::DecCarry => (a ^ a.wrapping_sub(r)) & (a ^ r) & size.sign_bit() != 0,
        FlagOp::SubBorrow => (a ^ a.wrapping_sub(r).wrapping_sub(1)) & (a ^ r) & size.sign_bit() != 0,
        FlagOp::Shl | FlagOp::Shr => (a ^ r) & size.sign_bit() != 0,
    }
}

/// ZF.
#[inline(always)]
pub fn zero(op: FlagOp, a: u64, r: u64) -> bool {
    if op as u8 == FlagOp::Known as u8 { a & ZF != 0 } else { r == 0 }
}

/// SF.
#[inline(always)]
pub fn sign(op: FlagOp, size: Size, a: u64, r: u64) -> bool {
    if op as u8 == FlagOp::Known as u8 { a & SF != 0 } else { r & size.sign_bit() != 0 }
}

/// PF.
#[inline(always)]
pub fn parity(op: FlagOp, a: u64, r: u64) -> bool {
    if op as u8 == FlagOp::Known as u8 { a & PF != 0 } else { (r as u8).count_ones() & 1 == 0 }
}

/// AF.
#[inline(always)]
pub fn adjust(op: FlagOp, a: u64, r: u64) -> bool {
    match op {
        FlagOp::Known => a & AF != 0,
        FlagOp::Logic | FlagOp::Shl | FlagOp::Shr => false,
        FlagOp::Add | FlagOp::Inc | FlagOp::IncCarry => r & 15 < a & 15,
        FlagOp::AddCarry => r & 15 <= a & 15,
        FlagOp::Sub | FlagOp::Dec | FlagOp::DecCarry => r & 15 > a & 15,
        FlagOp::SubBorrow => r & 15 >= a & 15,
    }
}

/// All six, in their places in RFLAGS.
pub fn all(op: FlagOp, size: Size, a: u64, r: u64) -> u64 {
    if op == FlagOp::Known {
        return a & (CF | PF | AF | ZF | SF | OF);
    }
    let bit = |set: bool, mask: u64| if set { mask } else { 0 };
    bit(carry(op, size, a, r), CF)
        | bit(parity(op, a, r), PF)
        | bit(adjust(op, a, r), AF)
        | bit(zero(op, a, r), ZF)
        | bit(sign(op, size, a, r), SF)
        | bit(overflow(op, size, a, r), OF)
}

/// Does the condition hold?
#[inline(always)]
pub fn cond(cc: Cond, op: FlagOp, size: Size, a: u64, r: u64) -> bool {
    let holds = match cc {
        Cond::O | Cond::No => overflow(op, size, a, r),
        Cond::B | Cond::Ae => carry(op, size, a, r),
        Cond::E | Cond::Ne => zero(op, a, r),
        Cond::Be | Cond::A => below_or_equal(op, size, a, r),
        Cond::S | Cond::Ns => sign(op, size, a, r),
        Cond::P | Cond::Np => parity(op, a, r),
        Cond::L | Cond::Ge => less(op, size, a, r),
        Cond::Le | Cond::G => zero(op, a, r) || less(op, size, a, r),
    };
    holds != (cc as u8 & 1 != 0)
}

#[inline(always)]
fn below_or_equal(op: FlagOp, size: Size, a: u64, r: u64) -> bool {
    match op {
        // a - b: a <= b unsigned.
        FlagOp::Sub => a <= a.wrapping_sub(r) & size.mask(),
        _ => carry(op, size, a, r) || zero(op, a, r),
    }
}

#[inline(always)]
fn less(op: FlagOp, size: Size, a: u64, r: u64) -> bool {
    match op {
        // a - b: a < b signed.
        FlagOp::Sub => signed(size, a) < signed(size, a.wrapping_sub(r)),
        FlagOp::Logic => sign(op, size, a, r),
        _ => sign(op, size, a, r) != overflow(op, size, a, r),
    }
}

/// A value of this width as a signed number.
#[inline(always)]
pub const fn signed(size: Size, v: u64) -> i64 {
    match size {
        Size::B1 => v as i8 as i64,
        Size::B2 => v as i16 as i64,
        Size::B4 => v as i32 as i64,
        Size::B8 => v as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 8-bit addition and subtraction, with and without carry in, against wide arithmetic.
    #[test]
    fn flags_of_all_byte_sums_and_differences_match_wide_arithmetic() {
        for a in 0..256u64 {
            for b in 0..256u64 {
                for c in 0..2u64 {
                    let sum = a + b + c;
                    let r = sum & 0xff;
                    let op = if c == 0 { FlagOp::Add } else { FlagOp::AddCarry };
                    assert_eq!(carry(op, Size::B1, a, r), sum > 0xff);
                    let wide = a as i8 as i64 + b as i8 as i64 + c as i64;
                    assert_eq!(overflow(op, Size::B1, a, r), wide != r as i8 as i64, "{a} + {b} + {c}");
                    assert_eq!(adjust(op, a, r), (a & 15) + (b & 15) + c > 15);
                    let difference = a as i64 - b as i64 - c as i64;
                    let r = difference as u64 & 0xff;
                    let op = if c == 0 { FlagOp::Sub } else { FlagOp::SubBorrow };
                    assert_eq!(carry(op, Size::B1, a, r), difference < 0);
                    let wide = a as i8 as i64 - b as i8 as i64 - c as i64;
                    assert_eq!(overflow(op, Size::B1, a, r), wide != r as i8 as i64);
                    assert_eq!(adjust(op, a, r), ((a & 15) as i64) < (b & 15) as i64 + c as i64);
                    if c == 0 {
                        assert_eq!(cond(Cond::L, op, Size::B1, a, r), (a as i8) < b as i8);
                        assert_eq!(cond(Cond::Be, op, Size::B1, a, r), a <= b);
                        assert_eq!(cond(Cond::G, op, Size::B1, a, r), a as i8 > b as i8);
                    }
                }
            }
        }
    }
}
