//! Bitwise logic, packed comparisons, shifts, PTEST and the sign masks.
//!
//! Intel SDM volume 2, "Instruction Set Reference", the instruction named by each function. The floating-point spellings
//! (ANDPS, ANDNPD, XORPS, ...) are the same operations. `N` is 8 for MMX, 16 for XMM.

use super::lanes::*;

/// Carry flag, EFLAGS bit 0.
pub const CF: u32 = 1 << 0;
/// Parity flag, EFLAGS bit 2.
pub const PF: u32 = 1 << 2;
/// Zero flag, EFLAGS bit 6.
pub const ZF: u32 = 1 << 6;
/// Sign flag, EFLAGS bit 7.
pub const SF: u32 = 1 << 7;
/// Overflow flag, EFLAGS bit 11.
pub const OF: u32 = 1 << 11;

macro_rules! lanewise {
    ($($(#[$doc:meta])* $name:ident = $zip:ident($f:expr);)*) => {$(
        $(#[$doc])*
        pub fn $name<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
            $zip(dst, src, $f)
        }
    )*};
}

lanewise! {
    /// PAND, ANDPS, ANDPD.
    pand = zip64(|a, b| a & b);
    /// PANDN, ANDNPS, ANDNPD: the complement of the first operand AND the second.
    pandn = zip64(|a, b| !a & b);
    /// POR, ORPS, ORPD.
    por = zip64(|a, b| a | b);
    /// PXOR, XORPS, XORPD.
    pxor = zip64(|a, b| a ^ b);
    /// PCMPEQB: ones in the bytes that are equal.
    pcmpeqb = zip8(|a, b| if a == b { u8::MAX } else { 0 });
    /// PCMPEQW: ones in the words that are equal.
    pcmpeqw = zip16(|a, b| if a == b { u16::MAX } else { 0 });
    /// PCMPEQD: ones in the doublewords that are equal.
    pcmpeqd = zip32(|a, b| if a == b { u32::MAX } else { 0 });
    /// PCMPEQQ: ones in the quadwords that are equal.
    pcmpeqq = zip64(|a, b| if a == b { u64::MAX } else { 0 });
    /// PCMPGTB: ones where the first operand's signed byte is greater.
    pcmpgtb = zip8(|a, b| if a as i8 > b as i8 { u8::MAX } else { 0 });
    /// PCMPGTW: ones where the first operand's signed word is greater.
    pcmpgtw = zip16(|a, b| if a as i16 > b as i16 { u16::MAX } else { 0 });
    /// PCMPGTD: ones where the first operand's signed doubleword is greater.
    pcmpgtd = zip32(|a, b| if a as i32 > b as i32 { u32::MAX } else { 0 });
    /// PCMPGTQ: ones where the first operand's signed quadword is greater.
    pcmpgtq = zip64(|a, b| if a as i64 > b as i64 { u64::MAX } else { 0 });
}

macro_rules! shifts {
    ($($(#[$doc:meta])* $name:ident = $map:ident($bits:literal, |$lane:ident, $count:ident| $shift:expr, $beyond:expr);)*) => {$(
        $(#[$doc])*
        pub fn $name<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
            // The whole low quadword of the second operand is the count; an immediate count is passed as that operand.
            let count = low64(src);
            if count < $bits {
                let $count = count as u32;
                $map(dst, |$lane| $shift)
            } else {
                $map(dst, |$lane| $beyond)
            }
        }
    )*};
}

shifts! {
    /// PSLLW: shift words left; zero when the count exceeds 15.
    psllw = map16(16, |a, count| a << count, { let _ = a; 0 });
    /// PSLLD: shift doublewords left; zero when the count exceeds 31.
    pslld = map32(32, |a, count| a << count, { let _ = a; 0 });
    /// PSLLQ: shift quadwords left; zero when the count exceeds 63.
    psllq = map64(64, |a, count| a << count, { let _ = a; 0 });
    /// PSRLW: shift words right; zero when the count exceeds 15.
    psrlw = map16(16, |a, count| a >> count, { let _ = a; 0 });
    /// PSRLD: shift doublewords right; zero when the count exceeds 31.
    psrld = map32(32, |a, count| a >> count, { let _ = a; 0 });
    /// PSRLQ: shift quadwords right; zero when the count exceeds 63.
    psrlq = map64(64, |a, count| a >> count, { let _ = a; 0 });
    /// PSRAW: shift words right with the sign; all sign when the count exceeds 15.
    psraw = map16(16, |a, count| (a as i16 >> count) as u16, (a as i16 >> 15) as u16);
    /// PSRAD: shift doublewords right with the sign; all sign when the count exceeds 31.
    psrad = map32(32, |a, count| (a as i32 >> count) as u32, (a as i32 >> 31) as u32);
}

/// PSLLDQ: shift the register left by bytes; zero when the count (the second operand's low byte) exceeds 15.
pub fn pslldq(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    u128::from_le_bytes(*dst).checked_shl(src[0] as u32 * 8).unwrap_or(0).to_le_bytes()
}

/// PSRLDQ: shift the register right by bytes; zero when the count (the second operand's low byte) exceeds 15.
pub fn psrldq(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    u128::from_le_bytes(*dst).checked_shr(src[0] as u32 * 8).unwrap_or(0).to_le_bytes()
}

/// PTEST: the status flags in bits 31:0. ZF when the AND is zero, CF when the second operand AND NOT the first is.
pub fn ptest(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    let (dst, src) = (u128::from_le_bytes(*dst), u128::from_le_bytes(*src));
    let zf = if dst & src == 0 { ZF } else { 0 };
    let cf = if !dst & src == 0 { CF } else { 0 };
    low((zf | cf) as u64)
}

/// PMOVMSKB: the sign bits of the second operand's bytes.
pub fn pmovmskb<const N: usize>(_dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    low(src.iter().enumerate().fold(0, |mask, (i, byte)| mask | ((byte >> 7) as u64) << (i & 63)))
}

/// MOVMSKPS: the sign bits of the second operand's doublewords.
pub fn movmskps(_dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    low((0..4).fold(0, |mask, i| mask | ((get32(src, i) >> 31) as u64) << i))
}

/// MOVMSKPD: the sign bits of the second operand's quadwords.
pub fn movmskpd(_dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    low(get64(src, 0) >> 63 | get64(src, 1) >> 63 << 1)
}

/// The byte mask of MASKMOVQ and MASKMOVDQU: bit `i` says that byte `i` of the first operand is stored.
pub fn masked_bytes(mask: u128) -> u16 {
    get16(&pmovmskb(&[0; 16], &mask.to_le_bytes(), 0), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psraw_count_beyond_width_fills_with_sign() {
        let dst = [0, 0x80, 0xff, 0x7f, 1, 0, 0, 0xff];
        assert_eq!(psraw(&dst, &low(1 << 40), 0), [0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff]);
    }

    #[test]
    fn pslldq_count_sixteen_gives_zero() {
        assert_eq!(pslldq(&[0xff; 16], &low(16), 0), [0; 16]);
        assert_eq!(pslldq(&[0xff; 16], &low(15), 0), from64(0, 0xff << 56));
    }

    #[test]
    fn masked_bytes_takes_sign_bits_only() {
        assert_eq!(masked_bytes(0x80 | 0x7f << 8 | 0xff << 120), 0x8001);
    }
}
