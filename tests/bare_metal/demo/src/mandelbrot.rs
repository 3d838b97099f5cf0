//! The picture: the Mandelbrot set as text, computed with packed double-precision arithmetic.

use core::arch::x86_64::*;

/// Characters in a row.
pub const WIDTH: usize = 76;
/// Rows.
pub const HEIGHT: usize = 24;

const LIMIT: u32 = 128;
/// From outside to inside.
const SHADES: &[u8] = b" .,:;-=+*%#@";

/// Computes one row.
pub fn row(y: usize, into: &mut [u8; WIDTH]) {
    let im = (y as f64 + 0.5) / HEIGHT as f64 * 2.4 - 1.2;
    for x in (0..WIDTH).step_by(2) {
        let re = |x: usize| (x as f64 + 0.5) / WIDTH as f64 * 3.4 - 2.4;
        let counts = pair(re(x), re(x + 1), im);
        into[x] = shade(counts[0]);
        into[x + 1] = shade(counts[1]);
    }
}

fn shade(count: u32) -> u8 {
    if count == LIMIT {
        return b'@';
    }
    // Logarithmic, since most of the plane escapes at once.
    let bits = (32 - count.leading_zeros()) as usize * 2
        + (count > 3 && count >> (30 - count.leading_zeros()) & 1 != 0) as usize;
    SHADES[bits.saturating_sub(2).min(SHADES.len() - 2)]
}

/// Iterations until each of two points escapes.
fn pair(re_0: f64, re_1: f64, im: f64) -> [u32; 2] {
    let mut counts = [0u64; 2];
    // SAFETY: SSE2 is part of the 64-bit architecture.
    unsafe {
        let (c_re, c_im) = (_mm_set_pd(re_1, re_0), _mm_set1_pd(im));
        let (four, one) = (_mm_set1_pd(4.0), _mm_set1_epi64x(1));
        let (mut re, mut im) = (_mm_setzero_pd(), _mm_setzero_pd());
        let mut count = _mm_setzero_si128();
        for _ in 0..LIMIT {
            let (re2, im2) = (_mm_mul_pd(re, re), _mm_mul_pd(im, im));
            let inside = _mm_cmple_pd(_mm_add_pd(re2, im2), four);
            if _mm_movemask_pd(inside) == 0 {
                break;
            }
            count = _mm_add_epi64(count, _mm_and_si128(_mm_castpd_si128(inside), one));
            let cross = _mm_mul_pd(re, im);
            re = _mm_add_pd(_mm_sub_pd(re2, im2), c_re);
            im = _mm_add_pd(_mm_add_pd(cross, cross), c_im);
        }
        _mm_storeu_si128(counts.as_mut_ptr().cast(), count);
    }
    counts.map(|c| c as u32)
}
