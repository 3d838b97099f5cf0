//! Operand values: the edges of every number format, and random ones between them.

use crate::random::Random;

/// An integer of up to 64 bits, for all widths at once: edges of each width in the low bits.
pub fn integer(r: &mut Random) -> u64 {
    match r.below(10) {
        0 => r.pick(&[0, 1, 2, u64::MAX, u64::MAX - 1]),
        1 => r.pick(&[0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]),
        2 => r.pick(&[1 << 63, (1 << 63) - 1, (1 << 63) + 1, 1 << 62, 0x8000_0000_8000_0000, 0x7fff_ffff_7fff_ffff]),
        3 => r.below(256),
        4 => r.below(256).wrapping_neg(),
        5 => (1 << r.below(64)) + r.below(3) - 1,
        6 => (r.next() as u8 as u64) * 0x0101_0101_0101_0101,
        7 => r.next() >> r.below(64),
        8 => r.next() & r.next(),
        _ => r.next(),
    }
}

/// A binary32 number.
pub fn float32(r: &mut Random) -> u32 {
    let sign = (r.next() as u32) & 1 << 31;
    let v = match r.below(14) {
        0 => 0,
        1 => 0x7f80_0000,
        2 => 0x7fc0_0000 | r.next() as u32 & 0x3f_ffff,
        3 => 0x7f80_0001 | r.next() as u32 & 0x3f_ffff,
        4 => 1 + r.below(4) as u32,
        5 => r.next() as u32 & 0x7f_ffff,
        6 => 0x0080_0000 + r.below(16) as u32,
        7 => 0x7f7f_ffff - r.below(4) as u32,
        8 => 0x3f80_0000 + (r.below(5) as u32).wrapping_sub(2),
        9 => (r.below(1000) as f32).to_bits(),
        10 => (r.below(1000) as f32 / 8.0).to_bits(),
        11 => r.pick(&[0x4b80_0000, 0x4f00_0000, 0x4eff_ffff, 0x5f00_0000, 0x5eff_ffff, 0x4f80_0000, 0x3f00_0000]),
        12 => (127 - 40 + r.below(80) as u32) << 23 | r.next() as u32 & 0x7f_ffff,
        _ => r.next() as u32 & 0x7fff_ffff,
    };
    v | sign
}

/// A binary64 number.
pub fn float64(r: &mut Random) -> u64 {
    const EDGES: [f64; 12] = [
        0.5,
        1.5,
        2.5,
        2147483647.0,
        2147483648.0,
        2147483647.5,
        9223372036854775807.0,
        4294967296.0,
        1e300,
        1e-300,
        1.1,
        9007199254740993.0,
    ];
    let sign = r.next() & 1 << 63;
    let v = match r.below(14) {
        0 => 0,
        1 => 0x7ff0 << 48,
        2 => 0x7ff8 << 48 | r.next() >> 13,
        3 => 0x7ff0 << 48 | 1 | r.next() >> 14,
        4 => 1 + r.below(4),
        5 => r.next() >> 12,
        6 => (1 << 52) + r.below(16),
        7 => 0x7fef_ffff_ffff_ffff - r.below(4),
        8 => (0x3ff << 52) + r.below(5) - 2,
        9 => f64::from(float32_finite(r)).to_bits() & !(1 << 63),
        10 => (r.below(1 << 20) as f64 / 16.0).to_bits(),
        11 => r.pick(&EDGES).to_bits(),
        12 => (1023 - 160 + r.below(320)) << 52 | r.next() >> 12,
        _ => r.next() >> 1,
    };
    v | sign
}

fn float32_finite(r: &mut Random) -> f32 {
    let v = f32::from_bits(float32(r));
    if v.is_finite() { v } else { 1.0 }
}

/// A double extended-precision number: significand, sign and exponent. The unsupported formats too: SDM volume 1, "Unsupported Double
/// Extended-Precision Floating-Point Encodings and Pseudo-Denormals".
pub fn float80(r: &mut Random) -> (u64, u16) {
    const INTEGER: u64 = 1 << 63;
    let sign = (r.next() as u16) & 0x8000;
    let (significand, exponent) = match r.below(20) {
        0 => (0, 0),
        1 => (INTEGER, 0x7fff),
        2 => (3 << 62 | r.next() >> 2, 0x7fff),
        3 => (INTEGER | 1 | r.next() >> 2, 0x7fff),
        4 => (1 + r.below(4), 0),
        5 => (r.next() >> 1, 0),
        6 => (INTEGER | r.next() >> 1, 0),
        7 => (r.next() >> 1, r.below(0x8000) as u16),
        8 => (INTEGER + r.below(4), 1),
        9 => (u64::MAX - r.below(4), 0x7ffe),
        10 => (INTEGER + r.below(3), 0x3fff),
        11 => (u64::MAX - r.below(3), 0x3ffe),
        12 => from_f64(r.below(1 << 20) as f64 / 16.0),
        13 => from_f64(f64::from_bits(float64(r)).abs()),
        14 => (INTEGER | integer(r), 0x3fff + r.below(66) as u16),
        15 => (INTEGER | r.next(), 0x3fff - 70 + r.below(140) as u16),
        16 => (INTEGER | r.next() & r.next() & r.next(), 0x3fff - 8 + r.below(16) as u16),
        17 => {
            from_f64(r.pick(&[0.0, 1.0, 2.0, 10.0, 0.5, 1.5, 3.0, std::f64::consts::PI, std::f64::consts::FRAC_PI_4]))
        }
        _ => (INTEGER | r.next(), r.below(0x7fff) as u16),
    };
    (significand, exponent | sign)
}

/// Exact.
fn from_f64(v: f64) -> (u64, u16) {
    let bits = v.to_bits();
    let fraction = bits << 11 & !(1 << 63);
    match (bits >> 52 & 0x7ff) as u16 {
        0 => (0, 0),
        0x7ff => (1 << 63 | fraction, 0x7fff),
        e => (1 << 63 | fraction, e + (0x3fff - 1023)),
    }
}

/// 16 bytes for a vector register: of one kind in all lanes, mostly.
pub fn vector(r: &mut Random) -> u128 {
    let wide = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
    match r.below(8) {
        0..=2 => {
            let lanes: [u32; 4] = std::array::from_fn(|_| float32(r));
            wide(u64::from(lanes[0]) | u64::from(lanes[1]) << 32, u64::from(lanes[2]) | u64::from(lanes[3]) << 32)
        }
        3 | 4 => wide(float64(r), float64(r)),
        5 => wide(integer(r), integer(r)),
        6 => {
            // Text, for the string comparisons: few letters and terminators.
            let bytes: [u8; 16] = std::array::from_fn(|_| r.pick(b"aab\0bcA\xff"));
            u128::from_le_bytes(bytes)
        }
        _ => wide(r.next(), r.next()),
    }
}

/// Bytes of an operand of `size` bytes in memory.
pub fn bytes(r: &mut Random, size: usize, kind: Kind) -> Vec<u8> {
    let mut out = Vec::with_capacity(size + 16);
    while out.len() < size {
        match kind {
            Kind::Integer => out.extend_from_slice(&integer(r).to_le_bytes()),
            Kind::Float32 => out.extend_from_slice(&float32(r).to_le_bytes()),
            Kind::Float64 => out.extend_from_slice(&float64(r).to_le_bytes()),
            Kind::Float80 => {
                let (m, e) = float80(r);
                out.extend_from_slice(&m.to_le_bytes());
                out.extend_from_slice(&e.to_le_bytes());
            }
            Kind::Decimal => {
                let digits = r.percent(80);
                out.extend((0..9).map(|_| {
                    let byte = r.next() as u8;
                    if digits { (byte % 10) | (((byte >> 4) % 10) << 4) } else { byte }
                }));
                out.push(r.next() as u8);
            }
            Kind::Any => out.extend_from_slice(&vector(r).to_le_bytes()),
        }
    }
    out.truncate(size);
    out
}

/// What memory holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Integers of any width.
    Integer,
    /// binary32.
    Float32,
    /// binary64.
    Float64,
    /// Double extended precision.
    Float80,
    /// Packed binary-coded decimals of 80 bits.
    Decimal,
    /// Any of these.
    Any,
}
