//! Packed integer arithmetic: addition, subtraction, multiplication, averages, extremes, absolute values, signs, sums.
//!
//! Intel SDM volume 2, "Instruction Set Reference", the instruction named by each function. Arguments are the first operand,
//! the second operand and the immediate byte; the result is the first operand's new value. `N` is 8 for MMX, 16 for XMM.

use super::lanes::*;

macro_rules! lanewise {
    ($($(#[$doc:meta])* $name:ident = $zip:ident($f:expr);)*) => {$(
        $(#[$doc])*
        pub fn $name<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
            $zip(dst, src, $f)
        }
    )*};
}

lanewise! {
    /// PADDB: add bytes, wrapping.
    paddb = zip8(u8::wrapping_add);
    /// PADDW: add words, wrapping.
    paddw = zip16(u16::wrapping_add);
    /// PADDD: add doublewords, wrapping.
    paddd = zip32(u32::wrapping_add);
    /// PADDQ: add quadwords, wrapping.
    paddq = zip64(u64::wrapping_add);
    /// PSUBB: subtract bytes, wrapping.
    psubb = zip8(u8::wrapping_sub);
    /// PSUBW: subtract words, wrapping.
    psubw = zip16(u16::wrapping_sub);
    /// PSUBD: subtract doublewords, wrapping.
    psubd = zip32(u32::wrapping_sub);
    /// PSUBQ: subtract quadwords, wrapping.
    psubq = zip64(u64::wrapping_sub);
    /// PADDUSB: add unsigned bytes with saturation.
    paddusb = zip8(u8::saturating_add);
    /// PADDUSW: add unsigned words with saturation.
    paddusw = zip16(u16::saturating_add);
    /// PSUBUSB: subtract unsigned bytes with saturation.
    psubusb = zip8(u8::saturating_sub);
    /// PSUBUSW: subtract unsigned words with saturation.
    psubusw = zip16(u16::saturating_sub);
    /// PADDSB: add signed bytes with saturation.
    paddsb = zip8(|a, b| (a as i8).saturating_add(b as i8) as u8);
    /// PADDSW: add signed words with saturation.
    paddsw = zip16(|a, b| (a as i16).saturating_add(b as i16) as u16);
    /// PSUBSB: subtract signed bytes with saturation.
    psubsb = zip8(|a, b| (a as i8).saturating_sub(b as i8) as u8);
    /// PSUBSW: subtract signed words with saturation.
    psubsw = zip16(|a, b| (a as i16).saturating_sub(b as i16) as u16);
    /// PAVGB: average of unsigned bytes, rounded up.
    pavgb = zip8(|a, b| ((a as u16 + b as u16 + 1) >> 1) as u8);
    /// PAVGW: average of unsigned words, rounded up.
    pavgw = zip16(|a, b| ((a as u32 + b as u32 + 1) >> 1) as u16);
    /// PMINUB: smaller of unsigned bytes.
    pminub = zip8(|a, b| a.min(b));
    /// PMINUW: smaller of unsigned words.
    pminuw = zip16(|a, b| a.min(b));
    /// PMINUD: smaller of unsigned doublewords.
    pminud = zip32(|a, b| a.min(b));
    /// PMINSB: smaller of signed bytes.
    pminsb = zip8(|a, b| (a as i8).min(b as i8) as u8);
    /// PMINSW: smaller of signed words.
    pminsw = zip16(|a, b| (a as i16).min(b as i16) as u16);
    /// PMINSD: smaller of signed doublewords.
    pminsd = zip32(|a, b| (a as i32).min(b as i32) as u32);
    /// PMAXUB: larger of unsigned bytes.
    pmaxub = zip8(|a, b| a.max(b));
    /// PMAXUW: larger of unsigned words.
    pmaxuw = zip16(|a, b| a.max(b));
    /// PMAXUD: larger of unsigned doublewords.
    pmaxud = zip32(|a, b| a.max(b));
    /// PMAXSB: larger of signed bytes.
    pmaxsb = zip8(|a, b| (a as i8).max(b as i8) as u8);
    /// PMAXSW: larger of signed words.
    pmaxsw = zip16(|a, b| (a as i16).max(b as i16) as u16);
    /// PMAXSD: larger of signed doublewords.
    pmaxsd = zip32(|a, b| (a as i32).max(b as i32) as u32);
    /// PMULLW: low half of the products of words.
    pmullw = zip16(u16::wrapping_mul);
    /// PMULHUW: high half of the products of unsigned words.
    pmulhuw = zip16(|a, b| ((a as u32 * b as u32) >> 16) as u16);
    /// PMULHW: high half of the products of signed words.
    pmulhw = zip16(|a, b| ((a as i16 as i32 * b as i16 as i32) >> 16) as u16);
    /// PMULHRSW: products of signed words, scaled by 2^-15 and rounded.
    pmulhrsw = zip16(|a, b| ((((a as i16 as i32 * b as i16 as i32) >> 14) + 1) >> 1) as u16);
    /// PMULLD: low half of the products of doublewords.
    pmulld = zip32(u32::wrapping_mul);
    /// PMULUDQ: products of the unsigned low doublewords of each quadword.
    pmuludq = zip64(|a, b| (a as u32 as u64) * (b as u32 as u64));
    /// PMULDQ: products of the signed low doublewords of each quadword.
    pmuldq = zip64(|a, b| (a as i32 as i64).wrapping_mul(b as i32 as i64) as u64);
    /// PMADDWD: sums of neighbouring products of signed words; 8000H in all four words wraps to 80000000H.
    pmaddwd = zip32(|a, b| {
        let low = a as i16 as i32 * b as i16 as i32;
        let high = (a >> 16) as i16 as i32 * (b >> 16) as i16 as i32;
        low.wrapping_add(high) as u32
    });
    /// PMADDUBSW: sums, with saturation, of neighbouring products of unsigned (first operand) and signed (second) bytes.
    pmaddubsw = zip16(|a, b| {
        let low = (a & 0xff) as i32 * b as i8 as i32;
        let high = (a >> 8) as i32 * (b >> 8) as i8 as i32;
        (low + high).clamp(i16::MIN as i32, i16::MAX as i32) as u16
    });
    /// PSIGNB: bytes of the first operand negated, kept or cleared by the sign of the second's.
    psignb = zip8(|a, b| match (b as i8).signum() { -1 => a.wrapping_neg(), 0 => 0, _ => a });
    /// PSIGNW: words of the first operand negated, kept or cleared by the sign of the second's.
    psignw = zip16(|a, b| match (b as i16).signum() { -1 => a.wrapping_neg(), 0 => 0, _ => a });
    /// PSIGND: doublewords of the first operand negated, kept or cleared by the sign of the second's.
    psignd = zip32(|a, b| match (b as i32).signum() { -1 => a.wrapping_neg(), 0 => 0, _ => a });
    /// PABSB: absolute values of the second operand's bytes; 80H stays.
    pabsb = zip8(|_, b| (b as i8).unsigned_abs());
    /// PABSW: absolute values of the second operand's words; 8000H stays.
    pabsw = zip16(|_, b| (b as i16).unsigned_abs());
    /// PABSD: absolute values of the second operand's doublewords; 80000000H stays.
    pabsd = zip32(|_, b| (b as i32).unsigned_abs());
    /// PSADBW: in each quadword, the sum of absolute differences of unsigned bytes.
    psadbw = zip64(|a, b| {
        a.to_le_bytes().iter().zip(b.to_le_bytes()).map(|(a, b)| a.abs_diff(b) as u64).sum()
    });
}

/// Combines neighbouring words: the first operand's pairs give the low half, the second's the high half.
#[inline(always)]
fn pairs16<const N: usize>(dst: &[u8; N], src: &[u8; N], f: impl Fn(u16, u16) -> u16) -> [u8; N] {
    from16(|i| {
        let from = if i < N / 4 { dst } else { src };
        f(get16(from, 2 * i), get16(from, 2 * i + 1))
    })
}

/// Combines neighbouring doublewords: the first operand's pairs give the low half, the second's the high half.
#[inline(always)]
fn pairs32<const N: usize>(dst: &[u8; N], src: &[u8; N], f: impl Fn(u32, u32) -> u32) -> [u8; N] {
    let mut out = [0; N];
    for i in 0..N / 4 {
        let from = if i < N / 8 { dst } else { src };
        set32(&mut out, i, f(get32(from, 2 * i), get32(from, 2 * i + 1)));
    }
    out
}

/// PHADDW: horizontal addition of words.
pub fn phaddw<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    pairs16(dst, src, u16::wrapping_add)
}

/// PHADDSW: horizontal addition of signed words with saturation.
pub fn phaddsw<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    pairs16(dst, src, |a, b| (a as i16).saturating_add(b as i16) as u16)
}

/// PHADDD: horizontal addition of doublewords.
pub fn phaddd<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    pairs32(dst, src, u32::wrapping_add)
}

/// PHSUBW: horizontal subtraction of words, the higher from the lower.
pub fn phsubw<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    pairs16(dst, src, u16::wrapping_sub)
}

/// PHSUBSW: horizontal subtraction of signed words with saturation.
pub fn phsubsw<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    pairs16(dst, src, |a, b| (a as i16).saturating_sub(b as i16) as u16)
}

/// PHSUBD: horizontal subtraction of doublewords, the higher from the lower.
pub fn phsubd<const N: usize>(dst: &[u8; N], src: &[u8; N], _imm: u8) -> [u8; N] {
    pairs32(dst, src, u32::wrapping_sub)
}

/// MPSADBW: eight sums of absolute differences of four bytes. Bits 1:0 of the immediate select the second operand's four
/// bytes, bit 2 the first operand's start (0 or 4).
pub fn mpsadbw(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    let block = (imm & 3) as usize * 4;
    let start = (imm >> 2 & 1) as usize * 4;
    from16(|i| (0..4).map(|k| get8(dst, start + i + k).abs_diff(get8(src, block + k)) as u16).sum())
}

/// PHMINPOSUW: the smallest unsigned word of the second operand in bits 15:0, its index in bits 18:16.
pub fn phminposuw(_dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    let smallest = (0..8).map(|i| (get16(src, i) as u64) | (i as u64) << 16).min_by_key(|v| *v as u16);
    low(smallest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pmaddwd_all_words_minimum_wraps_to_minimum() {
        let word = [0, 0x80, 0, 0x80, 0, 0x80, 0, 0x80];
        assert_eq!(pmaddwd(&word, &word, 0), [0, 0, 0, 0x80, 0, 0, 0, 0x80]);
    }

    #[test]
    fn phminposuw_equal_words_takes_lowest_index() {
        let src = from16(|i| [9, 3, 7, 3, 8, 3, 4, 5][i]);
        assert_eq!(phminposuw(&[0; 16], &src, 0), low(1 << 16 | 3));
    }

    #[test]
    fn mpsadbw_offsets_select_the_windows() {
        let dst = core::array::from_fn(|i| i as u8);
        let src = core::array::from_fn(|i| if (8..12).contains(&i) { 4 } else { 0xff });
        // Window i covers bytes 4+i..8+i of the first operand, each compared with 4.
        assert_eq!(get16(&mpsadbw(&dst, &src, 0b110), 0), 1 + 2 + 3);
        assert_eq!(get16(&mpsadbw(&dst, &src, 0b110), 7), 7 + 8 + 9 + 10);
    }
}
