//! Moves, shuffles, unpacks, packs, blends, inserts, extracts and widening moves.
//!
//! Intel SDM volume 2, "Instruction Set Reference", the instruction named by each function. A move between operands of unequal
//! width is an operation too: what happens to the rest of the first operand is in the function, so that the caller always writes
//! the whole result (truncated to the size of a memory or general-purpose destination).

use super::lanes::*;

/// MOVAPS and every move of a whole operand: the second operand.
pub fn mov<const N: usize>(_dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    *src
}

/// MOVD: bits 31:0 of the second operand, zeros above.
pub fn low_dword<const N: usize>(_dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    low(get32(src, 0) as u64)
}

/// MOVQ: bits 63:0 of the second operand, zeros above.
pub fn low_qword<const N: usize>(_dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    low(low64(src))
}

/// MOVHPS and MOVHPD stores: bits 127:64 of the second operand, zeros above.
pub fn high_qword(_dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    low(get64(src, 1))
}

/// MOVSS between registers: bits 31:0 from the second operand, the rest from the first.
pub fn merge_dword(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    let mut out = *dst;
    set32(&mut out, 0, get32(src, 0));
    out
}

/// MOVSD between registers, MOVLPS and MOVLPD loads: bits 63:0 from the second operand, the rest from the first.
pub fn merge_qword(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from64(get64(src, 0), get64(dst, 1))
}

/// MOVHLPS: bits 127:64 of the second operand to bits 63:0 of the first.
pub fn movhlps(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from64(get64(src, 1), get64(dst, 1))
}

/// MOVDDUP: bits 63:0 of the second operand twice.
pub fn movddup(_dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from64(get64(src, 0), get64(src, 0))
}

/// MOVSLDUP: even doublewords of the second operand, each twice.
pub fn movsldup(_dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from32(|i| get32(src, i & 2))
}

/// MOVSHDUP: odd doublewords of the second operand, each twice.
pub fn movshdup(_dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from32(|i| get32(src, i | 1))
}

/// PSHUFB: bytes of the first operand selected by the second's low bits; zero where its bit 7 is set.
pub fn pshufb<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    core::array::from_fn(|i| if src[i] & 0x80 != 0 { 0 } else { get8(dst, src[i] as usize) })
}

/// The `index`th two-bit field of a shuffle control.
#[inline(always)]
fn select(imm: u8, index: usize) -> usize {
    (imm >> (2 * (index & 3)) & 3) as usize
}

/// PSHUFD: doublewords of the second operand selected by the immediate.
pub fn pshufd(_dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    from32(|i| get32(src, select(imm, i)))
}

/// PSHUFW and PSHUFLW: the low four words of the second operand selected by the immediate; words above are kept.
pub fn pshuflw<const N: usize>(_dst: &[u8; N], src: &[u8; N], imm: u8) -> [u8; N] {
    from16(|i| get16(src, if i < 4 { select(imm, i) } else { i }))
}

/// PSHUFHW: the high four words of the second operand selected by the immediate; the low four are kept.
pub fn pshufhw(_dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    from16(|i| get16(src, if i < 4 { i } else { 4 + select(imm, i) }))
}

/// SHUFPS: two doublewords of the first operand, then two of the second.
pub fn shufps(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    from32(|i| get32(if i < 2 { dst } else { src }, select(imm, i)))
}

/// SHUFPD: one quadword of the first operand, then one of the second.
pub fn shufpd(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    from64(get64(dst, (imm & 1) as usize), get64(src, (imm >> 1 & 1) as usize))
}

/// PALIGNR: the first operand above the second, shifted right by `imm` bytes.
pub fn palignr<const N: usize>(dst: &[u8; N], src: &[u8; N], imm: u8) -> [u8; N] {
    // Second operand, first operand, zeros for what is shifted in from above.
    let mut both = [0; 48];
    both[..N].copy_from_slice(src);
    both[N..2 * N].copy_from_slice(dst);
    let from = (imm as usize).min(2 * N);
    core::array::from_fn(|i| both[from + i])
}

macro_rules! unpack {
    ($($(#[$doc:meta])* $name:ident = $get:ident, $set:ident, $bytes:literal, $from:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
            let mut out = [0; N];
            for i in 0..N / $bytes / 2 {
                let from = i + $from * (N / $bytes / 2);
                $set(&mut out, 2 * i, $get(dst, from));
                $set(&mut out, 2 * i + 1, $get(src, from));
            }
            out
        }
    )*};
}

unpack! {
    /// PUNPCKLBW: interleave the low bytes.
    punpcklbw = get8, set8, 1, 0;
    /// PUNPCKLWD: interleave the low words.
    punpcklwd = get16, set16, 2, 0;
    /// PUNPCKLDQ, UNPCKLPS: interleave the low doublewords.
    punpckldq = get32, set32, 4, 0;
    /// PUNPCKHBW: interleave the high bytes.
    punpckhbw = get8, set8, 1, 1;
    /// PUNPCKHWD: interleave the high words.
    punpckhwd = get16, set16, 2, 1;
    /// PUNPCKHDQ, UNPCKHPS: interleave the high doublewords.
    punpckhdq = get32, set32, 4, 1;
}

/// PUNPCKLQDQ, UNPCKLPD, MOVLHPS, MOVHPS and MOVHPD loads: the low quadwords.
pub fn punpcklqdq(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from64(get64(dst, 0), get64(src, 0))
}

/// PUNPCKHQDQ, UNPCKHPD: the high quadwords.
pub fn punpckhqdq(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from64(get64(dst, 1), get64(src, 1))
}

/// Narrows words to bytes, the first operand's below the second's.
#[inline(always)]
fn pack16<const N: usize>(dst: &[u8; N], src: &[u8; N], f: impl Fn(i16) -> u8) -> [u8; N] {
    core::array::from_fn(|i| f(get16(if i < N / 2 { dst } else { src }, i) as i16))
}

/// Narrows doublewords to words, the first operand's below the second's.
#[inline(always)]
fn pack32<const N: usize>(dst: &[u8; N], src: &[u8; N], f: impl Fn(i32) -> u16) -> [u8; N] {
    from16(|i| f(get32(if i < N / 4 { dst } else { src }, i) as i32))
}

/// PACKSSWB: signed words to signed bytes with saturation.
pub fn packsswb<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    pack16(dst, src, |v| v.clamp(i8::MIN as i16, i8::MAX as i16) as u8)
}

/// PACKUSWB: signed words to unsigned bytes with saturation.
pub fn packuswb<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    pack16(dst, src, |v| v.clamp(0, u8::MAX as i16) as u8)
}

/// PACKSSDW: signed doublewords to signed words with saturation.
pub fn packssdw<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    pack32(dst, src, |v| v.clamp(i16::MIN as i32, i16::MAX as i32) as u16)
}

/// PACKUSDW: signed doublewords to unsigned words with saturation.
pub fn packusdw(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    pack32(dst, src, |v| v.clamp(0, u16::MAX as i32) as u16)
}

/// PBLENDW: words of the second operand where the immediate has a one.
pub fn pblendw(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    from16(|i| get16(if imm >> i & 1 != 0 { src } else { dst }, i))
}

/// BLENDPS: doublewords of the second operand where the immediate has a one.
pub fn blendps(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    from32(|i| get32(if imm >> i & 1 != 0 { src } else { dst }, i))
}

/// BLENDPD: quadwords of the second operand where the immediate has a one.
pub fn blendpd(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    from64(get64(if imm & 1 != 0 { src } else { dst }, 0), get64(if imm & 2 != 0 { src } else { dst }, 1))
}

/// PBLENDVB: bytes of the second operand where XMM0's byte has its sign set.
pub fn pblendvb(dst: &Xmm, src: &Xmm, xmm0: &Xmm) -> Xmm {
    core::array::from_fn(|i| if xmm0[i] & 0x80 != 0 { src[i] } else { dst[i] })
}

/// BLENDVPS: doublewords of the second operand where XMM0's doubleword has its sign set.
pub fn blendvps(dst: &Xmm, src: &Xmm, xmm0: &Xmm) -> Xmm {
    from32(|i| get32(if get32(xmm0, i) >> 31 != 0 { src } else { dst }, i))
}

/// BLENDVPD: quadwords of the second operand where XMM0's quadword has its sign set.
pub fn blendvpd(dst: &Xmm, src: &Xmm, xmm0: &Xmm) -> Xmm {
    let lane = |i| get64(if get64(xmm0, i) >> 63 != 0 { src } else { dst }, i);
    from64(lane(0), lane(1))
}

/// PEXTRB: the byte of the second operand that the immediate's low four bits select.
pub fn pextrb(_dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    low(get8(src, imm as usize) as u64)
}

/// PEXTRW: the word of the second operand that the immediate selects, modulo the number of words.
pub fn pextrw<const N: usize>(_dst: &[u8; N], src: &[u8; N], imm: u8) -> [u8; N] {
    low(get16(src, imm as usize) as u64)
}

/// PEXTRD, EXTRACTPS: the doubleword of the second operand that the immediate's low two bits select.
pub fn pextrd(_dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    low(get32(src, imm as usize) as u64)
}

/// PEXTRQ: the quadword of the second operand that the immediate's low bit selects.
pub fn pextrq(_dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    low(get64(src, imm as usize))
}

/// PINSRB: bits 7:0 of the second operand to the byte that the immediate's low four bits select.
pub fn pinsrb(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    let mut out = *dst;
    set8(&mut out, imm as usize, src[0]);
    out
}

/// PINSRW: bits 15:0 of the second operand to the word that the immediate selects, modulo the number of words.
pub fn pinsrw<const N: usize>(dst: &[u8; N], src: &[u8; N], imm: u8) -> [u8; N] {
    let mut out = *dst;
    set16(&mut out, imm as usize, get16(src, 0));
    out
}

/// PINSRD: bits 31:0 of the second operand to the doubleword that the immediate's low two bits select.
pub fn pinsrd(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    let mut out = *dst;
    set32(&mut out, imm as usize, get32(src, 0));
    out
}

/// PINSRQ: bits 63:0 of the second operand to the quadword that the immediate's low bit selects.
pub fn pinsrq(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    let mut out = *dst;
    set64(&mut out, imm as usize, get64(src, 0));
    out
}

/// INSERTPS with a register: bits 7:6 of the immediate select the second operand's doubleword, bits 5:4 where it goes, bits 3:0
/// the doublewords to clear.
pub fn insertps(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    insert_and_clear(dst, get32(src, (imm >> 6) as usize), imm)
}

/// INSERTPS with a memory operand, which is the doubleword itself: bits 7:6 of the immediate are ignored.
pub fn insertps_memory(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    insert_and_clear(dst, get32(src, 0), imm)
}

fn insert_and_clear(dst: &Xmm, value: u32, imm: u8) -> Xmm {
    let to = (imm >> 4 & 3) as usize;
    from32(|i| match () {
        () if imm >> i & 1 != 0 => 0,
        () if i == to => value,
        () => get32(dst, i),
    })
}

macro_rules! widen {
    ($($(#[$doc:meta])* $name:ident = $get:ident, $from:ty, $to:ty, $into:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name(_dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
            let mut out = [0; 16];
            for (i, to) in out.as_chunks_mut::<$into>().0.iter_mut().enumerate() {
                *to = (($get(src, i) as $from) as $to).to_le_bytes();
            }
            out
        }
    )*};
}

widen! {
    /// PMOVSXBW: sign-extend eight bytes to words.
    pmovsxbw = get8, i8, i16, 2;
    /// PMOVSXBD: sign-extend four bytes to doublewords.
    pmovsxbd = get8, i8, i32, 4;
    /// PMOVSXBQ: sign-extend two bytes to quadwords.
    pmovsxbq = get8, i8, i64, 8;
    /// PMOVSXWD: sign-extend four words to doublewords.
    pmovsxwd = get16, i16, i32, 4;
    /// PMOVSXWQ: sign-extend two words to quadwords.
    pmovsxwq = get16, i16, i64, 8;
    /// PMOVSXDQ: sign-extend two doublewords to quadwords.
    pmovsxdq = get32, i32, i64, 8;
    /// PMOVZXBW: zero-extend eight bytes to words.
    pmovzxbw = get8, u8, u16, 2;
    /// PMOVZXBD: zero-extend four bytes to doublewords.
    pmovzxbd = get8, u8, u32, 4;
    /// PMOVZXBQ: zero-extend two bytes to quadwords.
    pmovzxbq = get8, u8, u64, 8;
    /// PMOVZXWD: zero-extend four words to doublewords.
    pmovzxwd = get16, u16, u32, 4;
    /// PMOVZXWQ: zero-extend two words to quadwords.
    pmovzxwq = get16, u16, u64, 8;
    /// PMOVZXDQ: zero-extend two doublewords to quadwords.
    pmovzxdq = get32, u32, u64, 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn palignr_count_beyond_both_operands_gives_zero() {
        let (dst, src) = ([0x22; 16], [0x11; 16]);
        assert_eq!(palignr(&dst, &src, 32), [0; 16]);
        assert_eq!(palignr(&dst, &src, 31), low(0x22));
        assert_eq!(palignr(&dst, &src, 16), dst);
    }

    #[test]
    fn insertps_memory_ignores_source_select() {
        let (dst, src) = (from32(|i| i as u32), from32(|i| 0x10 + i as u32));
        assert_eq!(insertps(&dst, &src, 0b11_01_0001), from32(|i| [0, 0x13, 2, 3][i]));
        assert_eq!(insertps_memory(&dst, &src, 0b11_01_0001), from32(|i| [0, 0x10, 2, 3][i]));
    }

    #[test]
    fn pshufb_sign_bit_clears_the_byte() {
        let dst: Mm = core::array::from_fn(|i| i as u8 + 1);
        assert_eq!(pshufb(&dst, &[0x80, 7, 0x7f, 8, 0xff, 0, 1, 2], 0), [0, 8, 8, 1, 0, 1, 2, 3]);
    }
}
