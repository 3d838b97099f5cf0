//! Single cases of coherence, each of which was wrong once or is easy to get wrong. The rest is for `coherence_tests`.

use super::Privilege;
use crate::events::Exception;
use crate::testing::{self, PML4};
use crate::vcpu::Cpu;
use undercroft_decode::CodeSize;
use undercroft_phys_map::PhysMap;
use undercroft_ram::page_flags;
use undercroft_spec::x86::control::{cr0, cr4, efer};
use undercroft_spec::x86::page_fault as pf;
use undercroft_spec::{LinearAddr, PhysAddr};
use undercroft_walk::AccessKind;

const TABLES: u64 = 0x10_0000;

fn load(cpu: &mut Cpu, linear: u64) -> Result<u64, Exception> {
    cpu.load_linear(LinearAddr(linear), 8, Privilege::Current)
}
fn fetch(cpu: &mut Cpu, linear: u64) -> Result<u64, Exception> {
    cpu.translate(LinearAddr(linear), AccessKind::Fetch, Privilege::Current).map(PhysAddr::get)
}
/// Protected mode with paging: a page directory at `TABLES`, its first entry a table in the next page.
fn legacy(pae: bool) -> Cpu {
    let mut cpu = testing::protected(0);
    cpu.s.cr0 |= cr0::PG;
    cpu.s.cr4 = if pae { cr4::PAE } else { 0 };
    cpu.s.msr.efer = efer::NXE;
    cpu.s.cr3 = TABLES;
    cpu.s.pdpte = [TABLES | 1, 0, 0, 0];
    assert!(cpu.ram.store(TABLES, 8, TABLES + 0x1000 | 3));
    cpu.context_changed();
    cpu
}

#[test]
fn pae_reserved_bit_in_known_table_faults() {
    let mut cpu = legacy(true);
    for n in 0..4 {
        assert!(cpu.ram.store(TABLES + 0x1000 + n * 8, 8, n << 12 | 3));
    }
    assert!(load(&mut cpu, 0).is_ok());
    cpu.phys_write(PhysAddr(TABLES + 0x1008), 8, 1 << 52 | 0x1003);
    let fault = Exception::pf(LinearAddr(0x1000), pf::P | pf::RSVD);
    assert_eq!(load(&mut cpu, 0x1000), Err(fault));
}

#[test]
fn address_beyond_4_gbytes_wraps_and_is_dropped_with_its_page() {
    let mut cpu = legacy(false);
    assert!(cpu.ram.store(TABLES + 0x1004, 4, 0x4003) && cpu.ram.store(0x4000, 8, 4) && cpu.ram.store(0x5000, 8, 5));
    assert_eq!(load(&mut cpu, 0x1_0000_1000), Ok(4));
    cpu.phys_write(PhysAddr(TABLES + 0x1004), 4, 0x5003);
    assert_eq!(load(&mut cpu, 0x1_0000_1000), Ok(5));
    assert_eq!(load(&mut cpu, 0x1000), Ok(5));
}

#[test]
fn address_that_is_not_canonical_is_never_translated() {
    let mut cpu = testing::long(0);
    assert_eq!(fetch(&mut cpu, 0x8000_0000_0000), Err(Exception::gp(0)));
}

#[test]
fn accessed_flag_of_a_4_byte_entry_changes_the_8_byte_entry_it_is_half_of() {
    let mut cpu = testing::long(0);
    // RAM from 1 MByte on lies at 4 GiB: so an address there has the P flag of the 4-byte entry that is the second half.
    cpu.map = PhysMap::new(cpu.ram.len(), 1 << 20);
    cpu.forget_caches();
    let (linear, table, directory) = (511 << 21, 0x5_0000, 0x6_0000);
    assert!(cpu.ram.store(PML4 + 0x2000 + 511 * 8, 8, table | 7) && cpu.ram.store(table, 8, 0x1_0000_0007));
    assert!(cpu.ram.store(directory, 4, table | 3) && cpu.ram.store(1 << 20, 8, 77));
    assert_eq!(load(&mut cpu, linear), Ok(77));
    let long = cpu.s.clone();
    cpu.s.msr.efer = 0;
    (cpu.s.cr4, cpu.s.cr3) = (0, directory);
    cpu.context_changed();
    // Through the second 4-byte entry: its A flag is bit 37 of the 8-byte entry.
    assert_eq!(load(&mut cpu, 0x1000), Ok(0));
    cpu.s = long;
    cpu.context_changed();
    assert_eq!(load(&mut cpu, linear), Ok(u64::MAX), "no memory there");
}

#[test]
fn accessed_flag_set_in_a_page_of_code_changes_the_code() {
    let mut cpu = legacy(false);
    cpu.s.cr0 &= !cr0::PG;
    cpu.context_changed();
    let table = TABLES + 0x1000;
    // The table's first entries are decoded: ADD EAX,[EAX] is 03 00.
    assert!(cpu.ram.store(table, 8, 0x0003_0003_0003_0003));
    cpu.s.rip = table;
    assert!(cpu.find_block().expect("mapped").is_some());
    assert!(cpu.code.block(table >> 12, 0, CodeSize::Bits32).is_some());
    cpu.s.cr0 |= cr0::PG;
    cpu.context_changed();
    assert!(load(&mut cpu, 0).is_ok());
    assert!(cpu.code.block(table >> 12, 0, CodeSize::Bits32).is_none());
}

#[test]
fn fetched_page_is_forgotten_though_another_took_its_place_in_the_tlb() {
    let mut cpu = testing::long(0);
    // A table for 511 << 21; a large page whose pages have the same places in the TLB.
    assert!(cpu.ram.store(PML4 + 0x2000 + 511 * 8, 8, TABLES | 7) && cpu.ram.store(TABLES + 64, 8, 0x8007));
    assert!(cpu.ram.store(PML4 + 0x2000 + 509 * 8, 8, 0x87));
    assert_eq!(fetch(&mut cpu, 511 << 21 | 0x8000), Ok(0x8000));
    let tag = cpu.fetch_tag;
    assert!(load(&mut cpu, 509 << 21 | 0x8000).is_ok());
    assert_eq!(cpu.fetch_tag, tag);
    cpu.phys_write(PhysAddr(TABLES + 8 * 8), 8, 0x9007);
    assert_ne!(cpu.fetch_tag, tag);
}

#[test]
fn table_that_maps_everything_is_noted_in_few_ways() {
    let mut cpu = testing::long(0);
    // Every entry names the table itself: all of linear memory is this page.
    for n in 0..512 {
        assert!(cpu.ram.store(TABLES + n * 8, 8, TABLES | 0x27));
    }
    cpu.s.cr3 = TABLES;
    cpu.context_changed();
    for n in 0..2000 {
        assert_eq!(load(&mut cpu, n * 0x1_2345_6000 % (1 << 47)), Ok(TABLES | 0x27));
    }
    assert!(cpu.mmu.uses_of(TABLES >> 12) <= 5);
    // It becomes data again.
    cpu.phys_write(PhysAddr(TABLES + 8), 8, 0);
    assert_eq!(load(&mut cpu, 8), Ok(0));
    cpu.s.cr3 = PML4;
    cpu.context_changed();
    cpu.phys_write(PhysAddr(TABLES), 8, 0);
    assert_eq!(cpu.ram.flags(TABLES >> 12) & page_flags::TABLE, 0);
}

#[test]
fn device_write_to_a_table_is_seen() {
    let mut cpu = testing::long(0);
    assert_eq!(load(&mut cpu, 0x8000), Ok(0));
    assert!(cpu.ram.write_by_device(PML4 + 0x2000, &[0; 8]));
    cpu.devices_touched_pages();
    assert_eq!(load(&mut cpu, 0x8000), Err(Exception::pf(LinearAddr(0x8000), 0)));
}
