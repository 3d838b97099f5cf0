//! What is cached cannot be seen: a processor against a model that walks for every access, on its own copy of RAM. Random accesses, random
//! changes to the paging structures by stores, devices and walks, random control state, several logical processors.

use super::access::Privilege;
use super::paging::{Context, PHYS_BITS, is_canonical};
use crate::events::Exception;
use crate::state::{Segment, State};
use crate::testing::TestBus;
use crate::vcpu::{Cpu, CpuConfig};
use std::collections::BTreeMap;
use undercroft_decode::Seg;
use undercroft_phys_map::PhysMap;
use undercroft_ram::Ram;
use undercroft_spec::x86::control::{cr0, cr4, efer, rflags};
use undercroft_spec::{LinearAddr, PhysAddr};
use undercroft_walk::{Access, AccessKind, Tables, mark_used, permits};

const RAM_BYTES: u64 = 4 << 20;
/// The rest lies from 4 GiB on: so address bits exist that are flags of the 4-byte entry in the same place.
const LOW_RAM: u64 = 3 << 20;
/// Pages that serve as tables and as data.
const POOL: std::ops::Range<u64> = 0x10..0x28;
/// Entries of tables that are in use.
const INDICES: [u64; 6] = [0, 1, 2, 3, 256, 511];

/// SplitMix64.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// RAM, and nothing cached.
struct Model {
    bytes: Vec<u8>,
    map: PhysMap,
}

impl Tables for Model {
    fn load(&mut self, addr: u64, size: u64) -> u64 {
        let Some(at) = self.map.ram_range(PhysAddr(addr), size) else { return u64::MAX };
        let mut value = [0; 8];
        value[..size as usize].copy_from_slice(&self.bytes[at as usize..(at + size) as usize]);
        u64::from_le_bytes(value)
    }
    fn store(&mut self, addr: u64, size: u64, value: u64) {
        if let Some(at) = self.map.ram_range(PhysAddr(addr), size) {
            self.bytes[at as usize..(at + size) as usize].copy_from_slice(&value.to_le_bytes()[..size as usize]);
        }
    }
}

impl Model {
    fn translate(&mut self, s: &State, linear: u64, kind: AccessKind, implicit: bool) -> Result<u64, Exception> {
        let linear = if s.is_ia32e() { linear } else { linear & 0xffff_ffff };
        if s.is_ia32e() && !is_canonical(s, linear) {
            return Err(Exception::gp(0));
        }
        let context = Context::of(s);
        let mut found = context.walk(self, linear);
        let user = s.cpl == 3 && !implicit;
        let smap_override = !implicit && s.flags.other() & rflags::AC != 0;
        if context.format.is_some() {
            permits(&found, Access { kind, user, smap_override }, context.rules)
                .map_err(|code| Exception::pf(LinearAddr(linear), code))?;
        }
        let page = found.as_mut().expect("permitted");
        if let Some(format) = context.format {
            mark_used(self, format, page, kind == AccessKind::Write);
        }
        Ok(page.addr)
    }
    /// Physical addresses of the bytes of an access.
    fn bytes_of(
        &mut self,
        s: &State,
        linear: u64,
        len: u64,
        kind: AccessKind,
        implicit: bool,
    ) -> Result<Vec<u64>, Exception> {
        let first = self.translate(s, linear, kind, implicit)?;
        let here = len.min(4096 - (linear & 0xfff));
        let mut all: Vec<u64> = (0..here).map(|n| first + n).collect();
        if here < len {
            let second = self.translate(s, linear.wrapping_add(here), kind, implicit)?;
            all.extend((0..len - here).map(|n| second + n));
        }
        Ok(all)
    }
    fn read(&mut self, s: &State, linear: u64, len: u64, implicit: bool) -> Result<u64, Exception> {
        let at = self.bytes_of(s, linear, len, AccessKind::Read, implicit)?;
        Ok(at.iter().rev().fold(0, |value, at| value << 8 | self.load(*at, 1) & 0xff))
    }
    fn write(&mut self, s: &State, linear: u64, len: u64, value: u64, implicit: bool) -> Result<(), Exception> {
        let at = self.bytes_of(s, linear, len, AccessKind::Write, implicit)?;
        for (n, at) in at.into_iter().enumerate() {
            self.store(at, 1, value >> (8 * n) & 0xff);
        }
        Ok(())
    }
}

/// Both, and where the run is.
struct Run {
    r: Random,
    cpu: Cpu,
    model: Model,
    /// Addresses of late, to be used again.
    recent: [u64; 12],
    /// What jumps by address remember (`Code::target`): page by linear page and tag.
    targets: BTreeMap<(u64, u64), u64>,
    /// How many accesses went through, how many through the TLB.
    done: u64,
    fast: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let ram = Ram::new(RAM_BYTES).expect("RAM");
        let map = PhysMap::new(RAM_BYTES, LOW_RAM);
        let config = CpuConfig { cpus: 3, quantum: 1000 };
        let mut run = Run {
            r: Random(seed),
            cpu: Cpu::new(ram, map, Box::new(TestBus::default()), config),
            model: Model { bytes: vec![0; RAM_BYTES as usize], map },
            recent: [0; 12],
            targets: BTreeMap::new(),
            done: 0,
            fast: 0,
        };
        for page in POOL {
            for index in INDICES {
                let entry = run.entry();
                run.physical_store(page << 12 | index * 8, 8, entry);
            }
        }
        for n in 0..3 {
            run.cpu.switch_to(n);
            // Its registers are no part of the model: off.
            assert!(run.cpu.apics[n].write_apic_base(0).is_ok());
            for seg in Seg::ALL {
                run.cpu.s.set_segment(seg, Segment::real_mode(0));
            }
            run.new_format();
        }
        run
    }
    /// An entry that may mean something in any format at any level.
    fn entry(&mut self) -> u64 {
        let r = &mut self.r;
        let mut e = r.below(POOL.end - POOL.start) + POOL.start << 12;
        let mut flag = |bit: u32, percent| u64::from(r.percent(percent)) << bit;
        e |= flag(0, 97) | flag(1, 88) | flag(2, 88) | flag(5, 60) | flag(6, 40) | flag(8, 20) | flag(63, 4);
        if r.percent(6) {
            e = e & 0xfff | r.pick(&[0, 0, 0x20_0000, 0x20_1000, 0x40_0000, 0x2000]) | 0x80;
        }
        if r.percent(4) {
            e |= r.below(16) << 59;
        }
        if r.percent(1) {
            e |= 1 << (46 + r.below(17));
        }
        match r.below(100) {
            0 => e = e & 0xfff | r.pick(&[0xfe00_0000, 0xa_0000]),
            1..7 => e = e & 0xfff | 1 << 32 | r.below(4) << 12,
            _ => {}
        }
        e
    }
    fn index(&mut self) -> u64 {
        if self.r.percent(97) { self.r.pick(&INDICES) } else { self.r.below(512) }
    }
    /// A linear address, mostly mapped and mostly canonical.
    fn linear(&mut self) -> u64 {
        if self.r.percent(75) {
            let page = self.r.pick(&self.recent.clone());
            return page & !0xfff | self.offset();
        }
        let mut linear = 0;
        for _ in 0..5 {
            linear = linear << 9 | self.index();
        }
        if self.cpu.s.msr.efer & efer::LMA == 0 && self.cpu.s.cr4 & cr4::PAE == 0 {
            // Indices of ten bits, odd ones too.
            linear = (linear >> 9 & 511) << 11 | (linear & 511) << 1 | self.r.next() & 0x401;
        }
        linear = linear << 12 | self.offset();
        let s = &self.cpu.s;
        linear = match () {
            () if !s.is_ia32e() => linear & 0xffff_ffff,
            () if s.cr4 & cr4::LA57 != 0 => ((linear << 7) as i64 >> 7) as u64,
            () => ((linear << 16) as i64 >> 16) as u64,
        };
        if self.r.percent(1) {
            linear ^= 1 << self.r.below(64);
        }
        linear
    }
    /// An access went through.
    fn passed(&mut self, linear: u64) {
        self.done += 1;
        let n = self.r.below(self.recent.len() as u64) as usize;
        self.recent[n] = linear;
    }
    fn offset(&mut self) -> u64 {
        match self.r.below(10) {
            0 => self.r.below(4096),
            1 => 4096 - self.r.below(8),
            2 => self.r.pick(&INDICES) * 8 + self.r.below(8),
            _ => self.r.pick(&INDICES) * 8,
        }
        .min(4095)
    }

    /// A store by a processor, translated already.
    fn physical_store(&mut self, pa: u64, len: u64, value: u64) {
        self.cpu.phys_write(PhysAddr(pa), len, value);
        for n in 0..len {
            self.model.store(pa + n, 1, value >> (8 * n) & 0xff);
        }
    }
    fn device_store(&mut self, pa: u64, data: &[u8]) {
        assert!(self.cpu.ram.write_by_device(pa, data));
        if self.cpu.ram.has_touched() {
            self.cpu.devices_touched_pages();
        }
        self.model.bytes[pa as usize..pa as usize + data.len()].copy_from_slice(data);
    }
    /// An entry, often one that a walk for an address of late uses.
    fn entry_address(&mut self) -> u64 {
        if self.r.percent(30) {
            let linear = self.r.pick(&self.recent.clone());
            let found = Context::of(&self.cpu.s).walk(&mut self.model, linear);
            if let Ok(page) = found
                && page.depth != 0
            {
                let addr = page.steps[self.r.below(u64::from(page.depth)) as usize].addr & !7;
                if POOL.contains(&(addr >> 12)) {
                    return addr;
                }
            }
        }
        let page = self.r.below(POOL.end - POOL.start) + POOL.start;
        page << 12 | self.index() * 8
    }
    fn edit(&mut self) {
        let at = self.entry_address();
        let old = self.model.load(at, 8);
        let value = match self.r.below(12) {
            0..2 => old & !(1 << 5),
            2..4 => old & !(1 << 6),
            4 | 5 => old ^ 1 << self.r.pick(&[0, 1, 1, 2, 2, 63, 7]),
            6 => 0,
            _ => self.entry(),
        };
        match self.r.below(8) {
            0 => self.device_store(at, &value.to_le_bytes()),
            1 => self.physical_store(at, 4, value),
            2 => {
                let n = self.r.below(8);
                self.physical_store(at + n, 1, value >> (8 * n));
            }
            3 => {
                // Across two entries, or into the second half of one.
                let at = (at + self.r.below(12)).wrapping_sub(8);
                let len = self.r.pick(&[2, 4, 8]);
                if at & 0xfff <= 4096 - len && POOL.contains(&(at >> 12)) {
                    self.physical_store(at, len, value);
                }
            }
            _ => self.physical_store(at, 8, value),
        }
    }
    /// A page begins another life.
    fn rewrite_page(&mut self) {
        let page = self.r.below(POOL.end - POOL.start) + POOL.start;
        let mut data = vec![0u8; 4096];
        if self.r.percent(80) {
            for index in INDICES {
                let entry = self.entry();
                data[index as usize * 8..][..8].copy_from_slice(&entry.to_le_bytes());
            }
        }
        if self.r.percent(30) {
            self.device_store(page << 12, &data);
        } else {
            self.cpu.phys_write_bytes(PhysAddr(page << 12), &data);
            self.model.bytes[(page as usize) << 12..][..4096].copy_from_slice(&data);
        }
    }

    fn new_root(&mut self) {
        self.cpu.s.cr3 = self.r.below(POOL.end - POOL.start) + POOL.start << 12;
        if self.r.percent(50) {
            for n in 0..4 {
                let entry = self.entry();
                self.cpu.s.pdpte[n] = entry & 0x3f_f001;
            }
        }
        self.cpu.context_changed();
    }
    fn new_rules(&mut self) {
        let bits = self.r.next();
        let s = &mut self.cpu.s;
        match bits & 7 {
            0 => s.cr0 ^= cr0::WP,
            1 => s.cr4 ^= cr4::SMEP,
            2 => s.cr4 ^= cr4::SMAP,
            3 => s.cr4 ^= cr4::PKE,
            4 => s.msr.efer ^= efer::NXE,
            5 => s.cr0 ^= cr0::AM,
            _ => s.pkru = [0, 0x5555_5554, 2, 1 << (bits >> 8 & 31)][(bits >> 16 & 3) as usize],
        }
        self.cpu.context_changed();
    }
    fn new_privilege(&mut self) {
        self.cpu.s.cpl = self.r.pick(&[0, 0, 3, 3, 1]);
        let ac = if self.r.percent(30) { rflags::AC } else { 0 };
        self.cpu.s.flags.set_other(rflags::AC, ac);
        self.cpu.context_changed();
    }
    fn new_format(&mut self) {
        let s = &mut self.cpu.s;
        s.cr0 |= cr0::PE | cr0::PG;
        s.cr4 &= !(cr4::PAE | cr4::LA57 | cr4::PSE);
        s.msr.efer &= !(efer::LMA | efer::LME);
        match self.r.below(12) {
            0 => s.cr0 &= !cr0::PG,
            1 => {}
            2 | 3 => s.cr4 |= cr4::PSE,
            4 | 5 => s.cr4 |= cr4::PAE,
            6..9 => {
                s.cr4 |= cr4::PAE;
                s.msr.efer |= efer::LMA;
            }
            _ => {
                s.cr4 |= cr4::PAE | cr4::LA57;
                s.msr.efer |= efer::LMA;
            }
        }
        self.new_root();
    }

    fn access(&mut self) {
        let linear = self.linear();
        let len = self.r.pick(&[1, 2, 4, 8, 8]);
        let implicit = self.r.percent(15);
        let privilege = if implicit { Privilege::Implicit } else { Privilege::Current };
        if self.r.percent(50) {
            let found = self.cpu.load_linear(LinearAddr(linear), len, privilege);
            let expected = self.model.read(&self.cpu.s, linear, len, implicit);
            if expected.is_ok() {
                self.passed(linear);
            }
            // The test's bus answers with more bits than were asked for.
            let found = found.map(|value| value & u64::MAX >> (64 - 8 * len));
            assert_eq!(found, expected, "load of {len} at {linear:x}");
            return;
        }
        let value = if self.r.percent(85) { self.entry() } else { self.r.next() };
        let found = self.cpu.store_linear(LinearAddr(linear), len, value, privilege);
        let expected = self.model.write(&self.cpu.s, linear, len, value, implicit);
        if expected.is_ok() {
            self.passed(linear);
        }
        assert_eq!(found, expected, "store of {len} at {linear:x}");
    }
    /// As the fast forms of instructions do: an access happens only where the TLB allows it.
    fn probe(&mut self) {
        let linear = self.linear();
        let tlb = &self.cpu.mmu.tlb;
        if self.r.percent(50) {
            let (found, len) = match self.r.below(3) {
                0 => (tlb.load::<u64>(linear), 8),
                1 => (tlb.load::<u32>(linear).map(u64::from), 4),
                _ => (tlb.load::<u8>(linear).map(u64::from), 1),
            };
            if let Some(found) = found {
                self.fast += 1;
                assert_eq!(Ok(found), self.model.read(&self.cpu.s, linear, len, false), "probe at {linear:x}");
            }
            return;
        }
        let value = self.entry();
        let tlb = &self.cpu.mmu.tlb;
        let (stored, len) = match self.r.below(3) {
            0 => (tlb.store(linear, value), 8),
            1 => (tlb.store(linear, value as u32), 4),
            _ => (tlb.store(linear, value as u8), 1),
        };
        if stored {
            self.fast += 1;
            assert_eq!(Ok(()), self.model.write(&self.cpu.s, linear, len, value, false), "probe at {linear:x}");
        }
    }
    fn fetch(&mut self) {
        let linear = self.linear();
        self.fetch_at(linear);
    }
    fn fetch_at(&mut self, linear: u64) {
        let expected = self.model.translate(&self.cpu.s, linear, AccessKind::Fetch, false);
        let key = (linear >> 12, self.cpu.fetch_tag);
        if let Some(page) = self.targets.get(&key) {
            assert_eq!(expected.map(|pa| pa >> 12), Ok(*page), "remembered target at {linear:x}");
            self.fast += 1;
            if self.r.percent(50) {
                return;
            }
        }
        let found = self.cpu.translate(LinearAddr(linear), AccessKind::Fetch, Privilege::Current);
        assert_eq!(found.map(PhysAddr::get), expected, "fetch at {linear:x}");
        if let Ok(pa) = found
            && self.cpu.map.ram_offset(pa).is_some()
        {
            self.passed(linear);
            self.targets.insert((linear >> 12, self.cpu.fetch_tag), pa.get() >> 12);
        }
    }
    /// A page is fetched from, another takes its place in the TLB, its entry changes, and it is fetched from again.
    fn displace(&mut self) {
        let all = self.recent;
        let linear = self.r.pick(&all);
        self.fetch_at(linear);
        self.recent = [linear ^ 1 << self.r.pick(&[22, 23, 30]); 12];
        self.access();
        self.recent = [linear; 12];
        self.edit();
        self.fetch_at(linear);
        self.recent = all;
    }
    fn step(&mut self) {
        match self.r.below(1000) {
            0..400 => self.access(),
            400..700 => self.probe(),
            700..880 => self.fetch(),
            880..970 => self.edit(),
            970..975 => self.displace(),
            975 => self.rewrite_page(),
            976..982 => self.new_root(),
            982..986 => self.new_rules(),
            986..994 => self.new_privilege(),
            994 => self.new_format(),
            _ => {
                let n = self.r.below(3) as usize;
                self.cpu.switch_to(n);
            }
        }
    }
    fn compare(&self, range: std::ops::Range<u64>, seed: u64, step: u64) {
        let mut found = vec![0; (range.end - range.start) as usize];
        assert!(self.cpu.ram.read(range.start, &mut found));
        let expected = &self.model.bytes[range.start as usize..range.end as usize];
        // Equal as a rule: found out at once.
        if found != expected {
            let at = (0..found.len()).find(|n| found[*n] != expected[*n]).unwrap_or(0) & !7;
            panic!(
                "seed {seed} step {step}: at {:x} {:02x?}, expected {:02x?}",
                range.start + at as u64,
                &found[at..at + 8],
                &expected[at..at + 8]
            );
        }
    }
}

fn run(seed: u64, steps: u64) -> Run {
    let mut run = Run::new(seed);
    for step in 0..steps {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.step()));
        assert!(caught.is_ok(), "seed {seed} step {step}: {:x?}", Context::of(&run.cpu.s));
        // All of RAM now and then: large pages reach beyond the pool.
        let range = if step % 1024 == 0 { 0..RAM_BYTES } else { POOL.start << 12..POOL.end << 12 };
        run.compare(range, seed, step);
    }
    run.compare(0..RAM_BYTES, seed, steps);
    run
}

#[test]
fn cached_translations_never_show() {
    let (mut done, mut fast) = (0, 0);
    for seed in 0..8 {
        let run = run(seed, 16_000);
        done += run.done;
        fast += run.fast;
    }
    println!("{done} accesses, {fast} without a walk");
    assert!(done > 12_000 && fast > 5000, "the run reaches little: {done} {fast}");
    assert_eq!(PHYS_BITS, 46, "the entries above set reserved bits from here on");
}
