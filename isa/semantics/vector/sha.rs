//! SHA extensions: rounds and message schedule of SHA-1 and SHA-256.
//!
//! Intel SDM volume 1, "Intel SHA Extensions"; volume 2, the instruction named by each function. The manual numbers a state's
//! words from the most significant doubleword down.

use super::lanes::*;

/// SHA1MSG1: the first half of the schedule's exclusive-or.
pub fn sha1msg1(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    // W[i+2] ^ W[i]: word 0 is doubleword 3, and words 4 and 5 are the second operand's highest.
    from32(|i| if i < 2 { get32(src, i + 2) ^ get32(dst, i) } else { get32(dst, i - 2) ^ get32(dst, i) })
}

/// SHA1MSG2: the final four words of the schedule.
pub fn sha1msg2(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    let w16 = (get32(dst, 3) ^ get32(src, 2)).rotate_left(1);
    let w17 = (get32(dst, 2) ^ get32(src, 1)).rotate_left(1);
    let w18 = (get32(dst, 1) ^ get32(src, 0)).rotate_left(1);
    let w19 = (get32(dst, 0) ^ w16).rotate_left(1);
    from32(|i| [w19, w18, w17, w16][i])
}

/// SHA1NEXTE: the state variable E after four rounds, added to the scheduled words.
pub fn sha1nexte(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    let mut out = *src;
    set32(&mut out, 3, get32(src, 3).wrapping_add(get32(dst, 3).rotate_left(30)));
    out
}

/// SHA1RNDS4: four rounds; bits 1:0 of the immediate select the function and constant.
pub fn sha1rnds4(dst: &Xmm, src: &Xmm, imm: u8) -> Xmm {
    let (mut a, mut b, mut c, mut d, mut e) = (get32(dst, 3), get32(dst, 2), get32(dst, 1), get32(dst, 0), 0u32);
    for round in 0..4 {
        let (f, k) = match imm & 3 {
            0 => (choose(b, c, d), 0x5a827999),
            1 => (b ^ c ^ d, 0x6ed9eba1),
            2 => (majority(b, c, d), 0x8f1bbcdc),
            _ => (b ^ c ^ d, 0xca62c1d6u32),
        };
        // E of the first round is already in the first scheduled word (SHA1NEXTE).
        let next = f.wrapping_add(a.rotate_left(5)).wrapping_add(get32(src, 3 - round)).wrapping_add(e).wrapping_add(k);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    from32(|i| [d, c, b, a][i])
}

/// SHA256RNDS2: two rounds; XMM0 holds the scheduled words with their constants added.
pub fn sha256rnds2(dst: &Xmm, src: &Xmm, xmm0: &Xmm) -> Xmm {
    let (mut a, mut b, mut e, mut f) = (get32(src, 3), get32(src, 2), get32(src, 1), get32(src, 0));
    let (mut c, mut d, mut g, mut h) = (get32(dst, 3), get32(dst, 2), get32(dst, 1), get32(dst, 0));
    for round in 0..2 {
        let sum1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let sum0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t1 = h.wrapping_add(sum1).wrapping_add(choose(e, f, g)).wrapping_add(get32(xmm0, round));
        let t2 = sum0.wrapping_add(majority(a, b, c));
        (a, b, c, d, e, f, g, h) = (t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g);
    }
    from32(|i| [f, e, b, a][i])
}

/// SHA256MSG1: words 0 to 3 plus sigma0 of words 1 to 4.
pub fn sha256msg1(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    from32(|i| {
        let next = if i < 3 { get32(dst, i + 1) } else { get32(src, 0) };
        let sigma0 = next.rotate_right(7) ^ next.rotate_right(18) ^ next >> 3;
        get32(dst, i).wrapping_add(sigma0)
    })
}

/// SHA256MSG2: the final four words of the schedule.
pub fn sha256msg2(dst: &Xmm, src: &Xmm, _imm: u8) -> Xmm {
    let sigma1 = |w: u32| w.rotate_right(17) ^ w.rotate_right(19) ^ w >> 10;
    let w16 = get32(dst, 0).wrapping_add(sigma1(get32(src, 2)));
    let w17 = get32(dst, 1).wrapping_add(sigma1(get32(src, 3)));
    let w18 = get32(dst, 2).wrapping_add(sigma1(w16));
    let w19 = get32(dst, 3).wrapping_add(sigma1(w17));
    from32(|i| [w16, w17, w18, w19][i])
}

fn choose(b: u32, c: u32, d: u32) -> u32 {
    (b & c) ^ (!b & d)
}

fn majority(b: u32, c: u32, d: u32) -> u32 {
    (b & c) ^ (b & d) ^ (c & d)
}
