//! Arithmetic over GF(2): PCLMULQDQ and the CRC32 instruction.
//!
//! Intel SDM volume 2, "PCLMULQDQ - Carry-Less Multiplication Quadword" and "CRC32 - Accumulate CRC32 Value".

use super::lanes::*;

/// PCLMULQDQ: the carry-less product of one quadword of each operand. Immediate bit 0 selects the first operand's, bit 4 the
/// second's.
pub fn pclmulqdq(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    let (a, b) = (get64(dst, (imm & 1) as usize) as u128, get64(src, (imm >> 4 & 1) as usize));
    let mut multiples = [0u128; 16];
    for i in 1..16 {
        multiples[i] = if i & 1 != 0 { multiples[i - 1] ^ a } else { multiples[i / 2] << 1 };
    }
    let product = (0..16).rev().fold(0u128, |sum, digit| sum << 4 ^ multiples[(b >> (4 * digit) & 15) as usize]);
    product.to_le_bytes()
}

/// The polynomial 11EDC6F41H with its bits reversed, as the instruction shifts right.
const POLYNOMIAL: u32 = 0x82f63b78;
static REMAINDERS: [u32; 256] = remainders();

/// CRC32: accumulates the low `bytes` bytes (1, 2, 4 or 8) of `value` into `crc`. The result is zero-extended to the destination.
pub fn crc32(crc: u32, value: u64, bytes: usize) -> u32 {
    value.to_le_bytes().iter().take(bytes).fold(crc, |crc, byte| crc >> 8 ^ REMAINDERS[(crc as u8 ^ byte) as usize])
}

const fn remainders() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ if value & 1 != 0 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pclmulqdq_all_ones_gives_alternating_bits() {
        assert_eq!(pclmulqdq(&[0xff; 16], &[0xff; 16], 0), [0x55; 16]);
        assert_eq!(pclmulqdq(&from64(0, 3), &from64(0, 3), 0x11), low(5));
        assert_eq!(pclmulqdq(&from64(0, 3), &from64(0, 3), 0x10), [0; 16]);
    }

    #[test]
    fn crc32_check_string_matches_castagnoli() {
        let crc = b"123456789".iter().fold(!0, |crc, byte| crc32(crc, *byte as u64, 1));
        assert_eq!(!crc, 0xe3069283);
        assert_eq!(crc32(7, 0x0807060504030201, 8), crc32(crc32(7, 0x04030201, 4), 0x08070605, 4));
    }
}
