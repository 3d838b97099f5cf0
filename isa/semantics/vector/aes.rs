//! AES-NI: one round of the Advanced Encryption Standard, and its key schedule's helper.
//!
//! Intel SDM volume 1, "Advanced Encryption Standard (AES-NI)"; FIPS 197. The state's byte `i` is row `i % 4`, column `i / 4`.
//! The tables are computed when the crate is compiled, from the field's definition.

use super::lanes::*;

/// The substitution box of SubBytes.
const SBOX: [u8; 256] = sbox();
/// Its inverse.
const INVERSE_SBOX: [u8; 256] = invert(&SBOX);
/// Column `(2, 1, 1, 3) * SBOX[i]`, row 0 in bits 7:0: SubBytes and MixColumns of a byte in row 0.
static ENCRYPT: [u32; 256] = columns(&SBOX, [2, 1, 1, 3]);
/// Column `(14, 9, 13, 11) * INVERSE_SBOX[i]`: InvSubBytes and InvMixColumns of a byte in row 0.
static DECRYPT: [u32; 256] = columns(&INVERSE_SBOX, [14, 9, 13, 11]);

/// AESENC: ShiftRows, SubBytes, MixColumns, then the round key (the second operand).
pub fn aesenc(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from32(|column| mix(&ENCRYPT, |row| get8(dst, shifted(column, row))) ^ get32(src, column))
}

/// AESENCLAST: ShiftRows, SubBytes, then the round key.
pub fn aesenclast(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    core::array::from_fn(|i| SBOX[get8(dst, shifted(i / 4, i % 4)) as usize] ^ src[i])
}

/// AESDEC: InvShiftRows, InvSubBytes, InvMixColumns, then the round key.
pub fn aesdec(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from32(|column| mix(&DECRYPT, |row| get8(dst, unshifted(column, row))) ^ get32(src, column))
}

/// AESDECLAST: InvShiftRows, InvSubBytes, then the round key.
pub fn aesdeclast(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    core::array::from_fn(|i| INVERSE_SBOX[get8(dst, unshifted(i / 4, i % 4)) as usize] ^ src[i])
}

/// AESIMC: InvMixColumns of the second operand.
pub fn aesimc(_dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    // The table inverts the box as well; going through the box first leaves only the columns' product.
    from32(|column| mix(&DECRYPT, |row| SBOX[get8(src, 4 * column + row) as usize]))
}

/// AESKEYGENASSIST: SubWord and RotWord of doublewords 1 and 3 of the second operand; the immediate is the round constant.
pub fn aeskeygenassist(_dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    from32(|i| {
        let word = get32(src, i | 1).to_le_bytes().map(|byte| SBOX[byte as usize]);
        let word = u32::from_le_bytes(word);
        if i & 1 == 0 { word } else { word.rotate_right(8) ^ imm as u32 }
    })
}

/// One column: each row's byte through the table, rotated to its row.
#[inline(always)]
fn mix(table: &[u32; 256], byte: impl Fn(usize) -> u8) -> u32 {
    (0..4).fold(0, |sum, row| sum ^ table[byte(row) as usize].rotate_left(8 * row as u32))
}

/// Where ShiftRows finds the byte for a column and row.
#[inline(always)]
fn shifted(column: usize, row: usize) -> usize {
    4 * (column + row) + row
}

/// Where InvShiftRows finds the byte for a column and row.
#[inline(always)]
fn unshifted(column: usize, row: usize) -> usize {
    4 * (column + 4 - row) + row
}

/// Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
const fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = (a << 1) ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    product
}

const fn sbox() -> [u8; 256] {
    // 3 generates the field and 0xf6 is its inverse: the two run through all pairs of inverses.
    let mut table = [0x63; 256];
    let (mut value, mut inverse) = (1u8, 1u8);
    loop {
        let i = inverse;
        table[value as usize] = i ^ i.rotate_left(1) ^ i.rotate_left(2) ^ i.rotate_left(3) ^ i.rotate_left(4) ^ 0x63;
        value = multiply(value, 3);
        inverse = multiply(inverse, 0xf6);
        if value == 1 {
            return table;
        }
    }
}

const fn invert(table: &[u8; 256]) -> [u8; 256] {
    let mut out = [0; 256];
    let mut i = 0;
    while i < 256 {
        out[table[i] as usize] = i as u8;
        i += 1;
    }
    out
}

const fn columns(table: &[u8; 256], factors: [u8; 4]) -> [u32; 256] {
    let mut out = [0; 256];
    let mut i = 0;
    while i < 256 {
        let byte = table[i];
        out[i] = u32::from_le_bytes([
            multiply(byte, factors[0]),
            multiply(byte, factors[1]),
            multiply(byte, factors[2]),
            multiply(byte, factors[3]),
        ]);
        i += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sbox_known_entries_match_fips_197() {
        assert_eq!([SBOX[0x00], SBOX[0x53], SBOX[0xff]], [0x63, 0xed, 0x16]);
        assert_eq!([INVERSE_SBOX[0x63], INVERSE_SBOX[0xed]], [0x00, 0x53]);
    }

    #[test]
    fn aesdec_after_aesenc_with_inverted_columns_restores_the_state() {
        let state: Xmm = core::array::from_fn(|i| (i * 37 + 5) as u8);
        let sealed = aesenclast(&state, &[0; 16], 0);
        assert_eq!(aesdeclast(&sealed, &[0; 16], 0), state);
        assert_eq!(aesimc(&[0; 16], &aesenc(&state, &[0; 16], 0), 0), sealed);
    }
}
