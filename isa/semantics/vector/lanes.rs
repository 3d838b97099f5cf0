//! Lanes of a vector value: reading, writing and mapping them, for MMX (8 bytes) and XMM (16 bytes) alike.
//!
//! A vector value is a byte array in the manual's order (byte 0 holds bits 7:0). Arrays that are read through references and
//! returned by value let the optimiser use the host's vector instructions; a `u128` in two host registers does not.

/// An MMX register's value: 64 bits, byte 0 least significant.
pub type Mm = [u8; 8];
/// An XMM register's value: 128 bits, byte 0 least significant.
pub type Xmm = [u8; 16];

macro_rules! lanes {
    ($ty:ty, $bytes:literal, $zip:ident, $get:ident, $set:ident) => {
        /// Applies `f` to every pair of lanes of the same position.
        #[inline(always)]
        pub(super) fn $zip<const N: usize>(a: &[u8; N], b: &[u8; N], f: impl Fn($ty, $ty) -> $ty) -> [u8; N] {
            let mut out = [0; N];
            let (a, b) = (a.as_chunks::<$bytes>().0, b.as_chunks::<$bytes>().0);
            for ((to, a), b) in out.as_chunks_mut::<$bytes>().0.iter_mut().zip(a).zip(b) {
                *to = f(<$ty>::from_le_bytes(*a), <$ty>::from_le_bytes(*b)).to_le_bytes();
            }
            out
        }

        /// The lane at `index`, which counts from the least significant one and wraps at the width of the value.
        #[inline(always)]
        pub(super) fn $get<const N: usize>(a: &[u8; N], index: usize) -> $ty {
            <$ty>::from_le_bytes(a.as_chunks::<$bytes>().0[index & (N / $bytes - 1)])
        }

        /// Replaces the lane at `index`, which wraps at the width of the value.
        #[inline(always)]
        pub(super) fn $set<const N: usize>(a: &mut [u8; N], index: usize, value: $ty) {
            a.as_chunks_mut::<$bytes>().0[index & (N / $bytes - 1)] = value.to_le_bytes();
        }
    };
}

lanes!(u8, 1, zip8, get8, set8);
lanes!(u16, 2, zip16, get16, set16);
lanes!(u32, 4, zip32, get32, set32);
lanes!(u64, 8, zip64, get64, set64);

macro_rules! maps {
    ($ty:ty, $bytes:literal, $map:ident) => {
        /// Applies `f` to every lane.
        #[inline(always)]
        pub(super) fn $map<const N: usize>(a: &[u8; N], f: impl Fn($ty) -> $ty) -> [u8; N] {
            let mut out = [0; N];
            for (to, a) in out.as_chunks_mut::<$bytes>().0.iter_mut().zip(a.as_chunks::<$bytes>().0) {
                *to = f(<$ty>::from_le_bytes(*a)).to_le_bytes();
            }
            out
        }
    };
}

maps!(u16, 2, map16);
maps!(u32, 4, map32);
maps!(u64, 8, map64);

/// A value of which lane `i` is `f(i)`: 32-bit lanes of an XMM register.
#[inline(always)]
pub(super) fn from32(f: impl Fn(usize) -> u32) -> Xmm {
    let mut out = [0; 16];
    for (i, to) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *to = f(i).to_le_bytes();
    }
    out
}

/// A value of which lane `i` is `f(i)`: 16-bit lanes.
#[inline(always)]
pub(super) fn from16<const N: usize>(f: impl Fn(usize) -> u16) -> [u8; N] {
    let mut out = [0; N];
    for (i, to) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        *to = f(i).to_le_bytes();
    }
    out
}

/// A value with `low` in bits 63:0 and `high` in bits 127:64.
#[inline(always)]
pub(super) fn from64(low: u64, high: u64) -> Xmm {
    (low as u128 | (high as u128) << 64).to_le_bytes()
}

/// A value with `value` in its low bits, zeros above.
#[inline(always)]
pub(super) fn low<const N: usize>(value: u64) -> [u8; N] {
    let mut out = [0; N];
    set64(&mut out, 0, value);
    out
}

/// Bits 63:0.
#[inline(always)]
pub(super) fn low64<const N: usize>(a: &[u8; N]) -> u64 {
    get64(a, 0)
}
