//! The part of [`Ops`](crate::Ops) that all domains over plain integers share.

/// Expands, inside an `impl Ops`, to the value types and the operations on them for a domain whose values are `u64` and whose conditions are `bool`.
#[macro_export]
macro_rules! plain_values {
    () => {
        type V = u64;
        type B = bool;

        #[inline(always)]
        fn imm(&mut self, value: u64) -> u64 {
            value
        }
        #[inline(always)]
        fn add(&mut self, a: u64, b: u64) -> u64 {
            a.wrapping_add(b)
        }
        #[inline(always)]
        fn sub(&mut self, a: u64, b: u64) -> u64 {
            a.wrapping_sub(b)
        }
        #[inline(always)]
        fn and(&mut self, a: u64, b: u64) -> u64 {
            a & b
        }
        #[inline(always)]
        fn or(&mut self, a: u64, b: u64) -> u64 {
            a | b
        }
        #[inline(always)]
        fn xor(&mut self, a: u64, b: u64) -> u64 {
            a ^ b
        }
        #[inline(always)]
        fn shl(&mut self, a: u64, n: u64) -> u64 {
            a << (n & 63)
        }
        #[inline(always)]
        fn shr(&mut self, a: u64, n: u64) -> u64 {
            a >> (n & 63)
        }
        #[inline(always)]
        fn sar(&mut self, a: u64, n: u64) -> u64 {
            (a as i64 >> (n & 63)) as u64
        }
        #[inline(always)]
        fn mul(&mut self, a: u64, b: u64) -> u64 {
            a.wrapping_mul(b)
        }
        #[inline(always)]
        fn mul_high(&mut self, a: u64, b: u64) -> u64 {
            (u128::from(a) * u128::from(b) >> 64) as u64
        }
        #[inline(always)]
        fn mul_high_signed(&mut self, a: u64, b: u64) -> u64 {
            (i128::from(a as i64) * i128::from(b as i64) >> 64) as u64
        }
        #[inline(always)]
        fn zext(&mut self, from: $crate::Size, a: u64) -> u64 {
            a & from.mask()
        }
        #[inline(always)]
        fn sext(&mut self, from: $crate::Size, a: u64) -> u64 {
            $crate::flags::signed(from, a) as u64
        }
        #[inline(always)]
        fn pure(&mut self, f: $crate::pure::Pure, a: u64, b: u64) -> u64 {
            f.apply(a, b)
        }
        #[inline(always)]
        fn eq(&mut self, a: u64, b: u64) -> bool {
            a == b
        }
        #[inline(always)]
        fn lt(&mut self, a: u64, b: u64) -> bool {
            a < b
        }
        #[inline(always)]
        fn not(&mut self, b: bool) -> bool {
            !b
        }
        #[inline(always)]
        fn select(&mut self, b: bool, x: u64, y: u64) -> u64 {
            if b { x } else { y }
        }
        #[inline(always)]
        fn rotate_carry(&mut self, left: bool, size: $crate::Size, a: u64, count: u64, c: u64) -> (u64, u64) {
            $crate::shift::rotate_carry(left, size, a, count, c)
        }
        #[inline(always)]
        fn finish_if(&mut self, b: bool) -> bool {
            b
        }
    };
}
