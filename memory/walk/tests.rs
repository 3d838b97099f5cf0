//! The walk over tables in an array.

use crate::*;
use undercroft_spec::x86::page_fault as pf;

struct Array(Vec<u64>);

impl Tables for Array {
    fn load(&mut self, addr: u64, size: u64) -> u64 {
        let word = self.0[(addr / 8) as usize];
        if size == 8 { word } else { word >> (addr % 8 * 8) & 0xffff_ffff }
    }
    fn store(&mut self, addr: u64, size: u64, value: u64) {
        let word = &mut self.0[(addr / 8) as usize];
        if size == 8 {
            *word = value;
        } else {
            let shift = addr % 8 * 8;
            *word = *word & !(0xffff_ffff << shift) | value << shift;
        }
    }
}

/// Tables at 0x1000 .. 0x4000, page at 0x7000, for linear 0x8080604_123 = indices 1, 2, 3, 4.
fn four_levels(page_bits: u64) -> (Array, u64) {
    let mut t = Array(vec![0; 0x800 * 8]);
    let linear = 1 << 39 | 2 << 30 | 3 << 21 | 4 << 12 | 0x123;
    t.store(0x1000 + 8, 8, 0x2007);
    t.store(0x2000 + 16, 8, 0x3007);
    t.store(0x3000 + 24, 8, 0x4007);
    t.store(0x4000 + 32, 8, 0x7000 | page_bits);
    (t, linear)
}

const READ: Access = Access { kind: AccessKind::Read, user: true, smap_override: false };
const WRITE: Access = Access { kind: AccessKind::Write, user: true, smap_override: false };

#[test]
fn level4_walk_finds_page_and_marks_each_entry() {
    let (mut t, linear) = four_levels(7);
    let mut found = walk(&mut t, Format::Level4, 0x1000, linear, true, 46).expect("mapped");
    assert_eq!((found.addr, found.page_shift, found.depth), (0x7123, 12, 4));
    mark_used(&mut t, Format::Level4, &mut found, false);
    assert_eq!(t.load(0x1008, 8), 0x2027);
    assert_eq!(t.load(0x4020, 8), 0x7027);
    mark_used(&mut t, Format::Level4, &mut found, true);
    assert_eq!(t.load(0x3018, 8), 0x4027);
    assert_eq!(t.load(0x4020, 8), 0x7067);
}

#[test]
fn reserved_bit_gives_rsvd_and_p() {
    let (mut t, linear) = four_levels(7 | 1 << 50);
    let found = walk(&mut t, Format::Level4, 0x1000, linear, true, 46);
    assert_eq!(permits(&found, WRITE, Rules::default()), Err(pf::P | pf::RSVD | pf::W | pf::U));
    let (mut t, linear) = four_levels(7 | 1 << 63);
    assert_eq!(walk(&mut t, Format::Level4, 0x1000, linear, false, 46), Err(WalkFault::Reserved));
    assert!(walk(&mut t, Format::Level4, 0x1000, linear, true, 46).expect("mapped").no_execute);
}

#[test]
fn supervisor_write_to_read_only_page_faults_only_with_wp() {
    let (mut t, linear) = four_levels(5);
    let found = walk(&mut t, Format::Level4, 0x1000, linear, true, 46);
    let access = Access { user: false, ..WRITE };
    assert_eq!(permits(&found, access, Rules::default()), Ok(()));
    let rules = Rules { write_protect: true, ..Rules::default() };
    assert_eq!(permits(&found, access, rules), Err(pf::P | pf::W));
}

#[test]
fn protection_key_denial_sets_pk() {
    let (mut t, linear) = four_levels(7 | 5 << 59);
    let found = walk(&mut t, Format::Level4, 0x1000, linear, true, 46);
    let rules = Rules { pkru: 2 << 10, ..Rules::default() };
    assert_eq!(permits(&found, READ, rules), Ok(()));
    assert_eq!(permits(&found, WRITE, rules), Err(pf::P | pf::W | pf::U | pf::PK));
    let rules = Rules { pkru: 1 << 10, ..Rules::default() };
    assert_eq!(permits(&found, READ, rules), Err(pf::P | pf::U | pf::PK));
}

#[test]
fn smap_applies_without_override_only() {
    let (mut t, linear) = four_levels(7);
    let found = walk(&mut t, Format::Level4, 0x1000, linear, true, 46);
    let rules = Rules { smap: true, ..Rules::default() };
    let access = Access { user: false, ..READ };
    assert_eq!(permits(&found, access, rules), Err(pf::P));
    assert_eq!(permits(&found, Access { smap_override: true, ..access }, rules), Ok(()));
}

#[test]
fn bits32_large_page_uses_pse36_bits() {
    let mut t = Array(vec![0; 0x800]);
    t.store(0x1004, 4, 0x0040_0000 | 0x81 | 3 << 13);
    let format = Format::Bits32 { large_pages: true };
    let found = walk(&mut t, format, 0x1000, 0x0040_1234, false, 46).expect("mapped");
    assert_eq!((found.addr, found.page_shift), (0x3_0040_1234, 22));
    t.store(0x1004, 4, 0x0040_0000 | 0x81 | 1 << 21);
    assert_eq!(walk(&mut t, format, 0x1000, 0x0040_1234, false, 46), Err(WalkFault::Reserved));
}

#[test]
fn large_page_low_address_bits_are_reserved() {
    let (mut t, linear) = four_levels(7);
    t.store(0x3018, 8, 0x0060_0087);
    let found = walk(&mut t, Format::Level4, 0x1000, linear, true, 46).expect("mapped");
    assert_eq!((found.addr, found.page_shift), (0x0060_4123, 21));
    t.store(0x3018, 8, 0x0060_2087);
    assert_eq!(walk(&mut t, Format::Level4, 0x1000, linear, true, 46), Err(WalkFault::Reserved));
    t.store(0x1008, 8, 0x2087);
    assert_eq!(walk(&mut t, Format::Level4, 0x1000, linear, true, 46), Err(WalkFault::Reserved));
}
