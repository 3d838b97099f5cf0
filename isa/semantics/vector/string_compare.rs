//! PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: the packed string comparisons of SSE4.2.
//!
//! Intel SDM volume 1, "Packed Comparison SSE4.2 Instructions" (formats, aggregation, polarity, output selection; the table
//! "Comparison Result for Each Element Pair"). The steps below have the manual's names.

use super::lanes::*;
use super::logic::{CF, OF, SF, ZF};

/// Everything that the four instructions produce; each uses a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringResult {
    /// ECX of the index forms: the position, or the number of elements when there is none. RCX bits 63:32 become zero.
    pub index: u32,
    /// XMM0 of the mask forms.
    pub mask: u128,
    /// CF, ZF, SF and OF in their EFLAGS positions; AF and PF become zero.
    pub flags: u32,
}

/// Where the lengths of the two strings come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringLength {
    /// The first null element ends a string (PCMPISTRx).
    Implicit,
    /// EAX and EDX hold the lengths (PCMPESTRx without REX.W).
    Explicit32,
    /// RAX and RDX hold the lengths (PCMPESTRx with REX.W).
    Explicit64,
}

/// Compares with implicit lengths: PCMPISTRI and PCMPISTRM. `first` is the register operand, `second` the register or memory one.
pub fn pcmpistr(first: u128, second: u128, imm: u8) -> StringResult {
    let (first, second) = (first.to_le_bytes(), second.to_le_bytes());
    compare(&first, &second, implicit_length(&first, imm), implicit_length(&second, imm), imm)
}

/// Compares with explicit lengths: PCMPESTRI and PCMPESTRM. `first_length` is EAX or RAX, `second_length` EDX or RDX,
/// sign-extended; a length's absolute value counts, up to the number of elements.
pub fn pcmpestr(first: u128, first_length: i64, second: u128, second_length: i64, imm: u8) -> StringResult {
    let limit = elements(imm) as u64;
    let saturated = |length: i64| length.unsigned_abs().min(limit) as usize;
    compare(&first.to_le_bytes(), &second.to_le_bytes(), saturated(first_length), saturated(second_length), imm)
}

/// Immediate bit 0: bytes or words.
fn elements(imm: u8) -> usize {
    if imm & 1 != 0 { 8 } else { 16 }
}

fn implicit_length(a: &Xmm, imm: u8) -> usize {
    (0..elements(imm)).find(|i| element(a, *i, imm) == 0).unwrap_or(elements(imm))
}

/// Element `i` in the source data format: immediate bit 0 the size, bit 1 the signedness.
#[inline(always)]
fn element(a: &Xmm, i: usize, imm: u8) -> i32 {
    match imm & 3 {
        0 => get8(a, i) as i32,
        1 => get16(a, i) as i32,
        2 => get8(a, i) as i8 as i32,
        _ => get16(a, i) as i16 as i32,
    }
}

fn compare(first: &Xmm, second: &Xmm, first_length: usize, second_length: usize, imm: u8) -> StringResult {
    let n = elements(imm);
    let all = (1u32 << n) - 1;
    let valid = (1u32 << second_length) - 1;
    let int_res1 = aggregate(first, second, first_length, second_length, imm);
    let int_res2 = match imm >> 4 & 3 {
        1 => int_res1 ^ all,
        3 => int_res1 ^ valid,
        _ => int_res1,
    };
    let flag = |condition: bool, bit: u32| if condition { bit } else { 0 };
    StringResult {
        index: match int_res2 {
            0 => n as u32,
            bits if imm & 0x40 != 0 => 31 - bits.leading_zeros(),
            bits => bits.trailing_zeros(),
        },
        mask: if imm & 0x40 != 0 { expand(int_res2, imm) } else { int_res2 as u128 },
        flags: flag(int_res2 != 0, CF)
            | flag(second_length < n, ZF)
            | flag(first_length < n, SF)
            | flag(int_res2 & 1 != 0, OF),
    }
}

/// IntRes1: one bit for each element of the second operand, by immediate bits 3:2.
fn aggregate(first: &Xmm, second: &Xmm, first_length: usize, second_length: usize, imm: u8) -> u32 {
    let n = elements(imm);
    let (a, b) = (|i| element(first, i, imm), |j| element(second, j, imm));
    let bits = |f: &dyn Fn(usize) -> bool| (0..n).fold(0, |bits, j| bits | (f(j) as u32) << j);
    match imm >> 2 & 3 {
        // Equal any: pairs with an invalid element are false.
        0 => bits(&|j| j < second_length && (0..first_length).any(|i| a(i) == b(j))),
        // Ranges: bounds come in pairs; an odd bound without its partner is invalid.
        1 => bits(&|j| j < second_length && (0..first_length / 2).any(|i| a(2 * i) <= b(j) && b(j) <= a(2 * i + 1))),
        // Equal each: two invalid elements are equal, one is not.
        2 => bits(&|j| match (j < first_length, j < second_length) {
            (true, true) => a(j) == b(j),
            (false, false) => true,
            _ => false,
        }),
        // Equal ordered: what lies past the first string matches anything, past the second string nothing.
        _ => bits(&|j| (0..first_length.min(n - j)).all(|i| j + i < second_length && a(i) == b(j + i))),
    }
}

/// The byte or word mask of IntRes2.
fn expand(bits: u32, imm: u8) -> u128 {
    let mask: Xmm = core::array::from_fn(|i| {
        let bit = if imm & 1 != 0 { i / 2 } else { i };
        if bits >> bit & 1 != 0 { 0xff } else { 0 }
    });
    u128::from_le_bytes(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> u128 {
        let mut bytes = [0; 16];
        bytes[..s.len()].copy_from_slice(s.as_bytes());
        u128::from_le_bytes(bytes)
    }

    #[test]
    fn pcmpistr_equal_ordered_finds_a_substring() {
        let found = pcmpistr(text("cad"), text("abracadabra"), 0x0c);
        assert_eq!((found.index, found.flags), (4, CF | ZF | SF));
    }

    #[test]
    fn pcmpistr_equal_each_negative_finds_the_difference() {
        assert_eq!(pcmpistr(text("vector"), text("vectra"), 0x18).index, 4);
        let same = pcmpistr(text("same"), text("same"), 0x18);
        assert_eq!((same.index, same.flags), (16, ZF | SF));
    }

    #[test]
    fn pcmpestr_length_minimum_saturates() {
        let found = pcmpestr(text("a"), 1, u128::MAX, i64::MIN, 0x14);
        assert_eq!((found.index, found.flags & ZF), (0, 0));
    }
}
