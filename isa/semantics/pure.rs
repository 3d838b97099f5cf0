//! Pure functions of values that a host may lack an instruction for. SDM volume 2, the instructions of the same names.

/// Which function. A name rather than a function pointer, so that a domain can know it: an emitter may have an instruction for it, and code
/// that calls it holds no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Pure {
    /// Number of zero bits below the lowest one; 64 for zero.
    TrailingZeros = 0,
    /// Number of zero bits above the highest one; 64 for zero.
    LeadingZeros,
    /// Number of ones.
    Ones,
    /// The bytes in the opposite order.
    SwapBytes,
    /// BEXTR: the second value has the start in bits 7:0, the length in bits 15:8.
    Bextr,
    /// BZHI: the second value has the index in bits 7:0.
    Bzhi,
    /// PDEP: the second value is the mask.
    Pdep,
    /// PEXT: the second value is the mask.
    Pext,
    /// CRC32 of 8 bits: the first value is the CRC so far, the second the data.
    Crc32Of8,
    /// CRC32 of 16 bits.
    Crc32Of16,
    /// CRC32 of 32 bits.
    Crc32Of32,
    /// CRC32 of 64 bits.
    Crc32Of64,
}

impl Pure {
    /// All of them, in the order of their numbers.
    pub const ALL: [Pure; 12] = [
        Pure::TrailingZeros,
        Pure::LeadingZeros,
        Pure::Ones,
        Pure::SwapBytes,
        Pure::Bextr,
        Pure::Bzhi,
        Pure::Pdep,
        Pure::Pext,
        Pure::Crc32Of8,
        Pure::Crc32Of16,
        Pure::Crc32Of32,
        Pure::Crc32Of64,
    ];

    /// Its value.
    #[inline(always)]
    pub fn apply(self, a: u64, b: u64) -> u64 {
        match self {
            Pure::TrailingZeros => u64::from(a.trailing_zeros()),
            Pure::LeadingZeros => u64::from(a.leading_zeros()),
            Pure::Ones => u64::from(a.count_ones()),
            Pure::SwapBytes => a.swap_bytes(),
            Pure::Bextr => bextr(a, b),
            Pure::Bzhi => bzhi(a, b),
            Pure::Pdep => pdep(a, b),
            Pure::Pext => pext(a, b),
            Pure::Crc32Of8 => crc32c(8, a, b),
            Pure::Crc32Of16 => crc32c(16, a, b),
            Pure::Crc32Of32 => crc32c(32, a, b),
            Pure::Crc32Of64 => crc32c(64, a, b),
        }
    }
}

fn bextr(a: u64, control: u64) -> u64 {
    let (start, len) = (control & 0xff, control >> 8 & 0xff);
    let shifted = if start < 64 { a >> start } else { 0 };
    if len < 64 { shifted & ((1 << len) - 1) } else { shifted }
}
fn bzhi(a: u64, index: u64) -> u64 {
    let n = index & 0xff;
    if n < 64 { a & ((1 << n) - 1) } else { a }
}

fn pdep(source: u64, mask: u64) -> u64 {
    let (mut rest, mut from, mut r) = (mask, source, 0);
    while rest != 0 {
        if from & 1 != 0 {
            r |= rest & rest.wrapping_neg();
        }
        from >>= 1;
        rest &= rest - 1;
    }
    r
}
fn pext(source: u64, mask: u64) -> u64 {
    let (mut rest, mut to, mut r) = (mask, 1u64, 0);
    while rest != 0 {
        if source & rest & rest.wrapping_neg() != 0 {
            r |= to;
        }
        to = to.wrapping_shl(1);
        rest &= rest - 1;
    }
    r
}

fn crc32c(bits: u32, crc: u64, data: u64) -> u64 {
    // The reflected polynomial 11EDC6F41H, a bit at a time.
    let mut r = crc as u32;
    for n in 0..bits {
        let bit = (r ^ (data >> n) as u32) & 1;
        r = r >> 1 ^ if bit != 0 { 0x82f6_3b78 } else { 0 };
    }
    u64::from(r)
}
