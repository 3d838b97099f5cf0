//! Execution in the machine's processor: 64-bit mode at CPL 3, with pages that mirror the arenas.
//!
//! What software inside would see is what is looked at: exceptions are delivered through an IDT whose handlers halt at CPL 0, and vector, error code,
//! RIP, RSP and RFLAGS are read from where they were reached and from the frame they got.

use crate::case::{Case, Fault, Outcome, Registers, Subject};
use crate::layout::{self, CODE, CODE_LEN, CONTROL, EXIT, FILL, PAGE, READ_ONLY, WRITABLE};
use undercroft_cpu::ports::{Bus, Signal};
use undercroft_cpu::state::{Activity, Segment, State, TableRegister};
use undercroft_cpu::vcpu::{Cpu, CpuConfig, Exit};
use undercroft_decode::{Reg, Seg};
use undercroft_phys_map::PhysMap;
use undercroft_ram::Ram;
use undercroft_spec::PhysAddr;
use undercroft_spec::x86::control::{cr0, cr4, efer};

/// How the processor is made to run a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    /// Blocks that are decoded for the first time.
    Cold,
    /// The same once more: blocks and translations are cached.
    Warm,
    /// One instruction at a time, by the general instance of the semantics.
    Stepped,
}

/// All of them, in the order in which a case goes through them.
pub const PASSES: [Pass; 3] = [Pass::Cold, Pass::Warm, Pass::Stepped];

// Physical addresses. Supervisor pages are mapped at `KERNEL` plus these.
const KERNEL: u64 = 0xffff_c000_0000_0000;
const GDT: u64 = 0x1000;
const IDT: u64 = 0x2000;
const TSS: u64 = 0x3000;
const HANDLERS: u64 = 0x4000;
const STACK0_TOP: u64 = 0x8000;
const TABLES: u64 = 0x1_0000;
const TABLE_COUNT: u64 = 16;
const ARENAS: u64 = 0x4_0000;
const RAM_BYTES: u64 = 1 << 20;
const TSS_SELECTOR: u16 = 0x40;
const HLT: u8 = 0xf4;
const BREAKPOINT: u8 = 3;
/// Instructions that no case needs.
const LIMIT: u64 = 200_000;

// Paging-structure entries.
const P: u64 = 1;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const XD: u64 = 1 << 63;

/// The machine's processor.
pub struct Machine {
    cpu: Cpu,
    start: State,
    written: (u64, usize),
    /// How [`Subject::run`] runs cases.
    pub pass: Pass,
}

impl Machine {
    /// A processor with its tables.
    pub fn new() -> Machine {
        let ram = Ram::new(RAM_BYTES).expect("one MByte of memory");
        build_tables(&ram);
        build_pages(&ram);
        let config = CpuConfig { cpus: 1, quantum: u64::MAX };
        let mut cpu = Cpu::new(ram, PhysMap::new(RAM_BYTES, 0xb000_0000), Box::new(NoDevices), config);
        let start = start_state();
        *cpu.state_mut(0) = start.clone();
        Machine { cpu, start, written: (0, 0), pass: Pass::Cold }
    }

    /// Runs a case in one way. A warm run is one after a cold one.
    pub fn run_pass(&mut self, case: &Case, pass: Pass, outcome: &mut Outcome) {
        if pass != Pass::Warm {
            self.write_code(case);
        }
        case.fill(&mut outcome.memory);
        for n in 0..WRITABLE.len() {
            let at = n * PAGE as usize;
            write(&self.cpu.ram, arena(n as u64), &outcome.memory[at..at + PAGE as usize]);
        }
        self.load(&case.registers);
        if pass == Pass::Stepped {
            // An armed breakpoint where nothing executes: the processor looks before every instruction.
            let s = self.cpu.state_mut(0);
            s.dr[0] = KERNEL + 0x0123_4567_8000;
            s.dr7 |= 1;
        }
        let exit = self.cpu.run(self.cpu.retired().saturating_add(LIMIT));
        outcome.fault = self.take(exit, &mut outcome.registers);
        for n in 0..WRITABLE.len() {
            let at = n * PAGE as usize;
            assert!(self.cpu.ram.read(arena(n as u64), &mut outcome.memory[at..at + PAGE as usize]));
        }
    }

    fn write_code(&mut self, case: &Case) {
        let code = case.code();
        let at = code_page(case.registers.rip);
        let (old, old_len) = self.written;
        let ram = &self.cpu.ram;
        assert!(ram.write_by_device(old.max(code_page(CODE)), &vec![FILL; old_len]));
        assert!(ram.write_by_device(at, &code));
        self.written = (at, code.len());
    }

    fn load(&mut self, r: &Registers) {
        let start = self.start.clone();
        let s = self.cpu.state_mut(0);
        *s = start;
        for (n, v) in r.gpr.iter().enumerate() {
            s.set_gpr(n as u8, *v);
        }
        s.rip = r.rip;
        s.set_rflags(r.rflags);
        s.set_segment_base(Seg::Fs, r.fs_base);
        s.set_segment_base(Seg::Gs, r.gs_base);
        let fx = &r.fx;
        let f = &mut s.fpu;
        f.control = fx.control();
        f.status = fx.status();
        f.tag = (0..8).fold(0, |tag, n| if fx.tag() >> n & 1 == 0 { tag | 3 << (2 * n) } else { tag });
        let top = usize::from(f.status >> 11 & 7);
        for n in 0..8 {
            let (significand, exponent) = fx.st(n);
            f.significand[(top + n) & 7] = significand;
            f.sign_exponent[(top + n) & 7] = exponent;
        }
        for n in 0..16 {
            f.xmm[n] = fx.xmm(n);
        }
        f.mxcsr = fx.mxcsr();
    }

    fn take(&mut self, exit: Exit, r: &mut Registers) -> Option<Fault> {
        let s = self.cpu.state(0);
        for n in 0..16 {
            r.gpr[n] = s.gpr(n as u8);
        }
        r.fs_base = s.segment(Seg::Fs).base;
        r.gs_base = s.segment(Seg::Gs).base;
        let f = &s.fpu;
        r.fx.set_control(f.control);
        r.fx.set_status(f.status);
        r.fx.set_tag((0..8).fold(0, |tag, n| if f.tag >> (2 * n) & 3 == 3 { tag } else { tag | 1 << n }));
        let top = usize::from(f.status >> 11 & 7);
        for n in 0..8 {
            r.fx.set_st(n, f.significand[(top + n) & 7], f.sign_exponent[(top + n) & 7]);
        }
        for n in 0..16 {
            r.fx.set_xmm(n, f.xmm[n]);
        }
        r.fx.set_mxcsr(f.mxcsr);
        if !matches!(exit, Exit::Idle { .. }) || s.activity != Activity::Halted {
            r.rip = s.rip;
            r.rflags = s.rflags();
            return Some(Fault { vector: Fault::ENDLESS, error: 0, cr2: 0 });
        }
        let vector = (s.rip.wrapping_sub(KERNEL + HANDLERS) >> 4) as u8;
        // The frame: RIP, CS, RFLAGS, RSP, SS from the bottom, an error code below them.
        let frame = STACK0_TOP - 40;
        let word = |at: u64| self.cpu.ram.load(at, 8).unwrap_or(0);
        let has_error = s.gpr(Reg::Rsp as u8) == KERNEL + frame - 8;
        r.rip = word(frame);
        r.rflags = word(frame + 16);
        r.gpr[4] = word(frame + 24);
        if vector == BREAKPOINT && r.rip == EXIT + 1 {
            r.rip = EXIT;
            return None;
        }
        let error = if has_error { word(frame - 8) } else { 0 };
        Some(Fault { vector, error, cr2: if vector == 14 { s.cr2 } else { 0 } })
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Subject for Machine {
    fn run(&mut self, case: &Case, outcome: &mut Outcome) {
        if self.pass == Pass::Warm {
            self.run_pass(case, Pass::Cold, outcome);
        }
        self.run_pass(case, self.pass, outcome);
    }
}

/// Physical address of a mapped page: the writable ones in their order, then the others.
const fn arena(n: u64) -> u64 {
    ARENAS + n * PAGE
}
const READ_ONLY_PAGE: u64 = WRITABLE.len() as u64;
const CODE_PAGE: u64 = READ_ONLY_PAGE + 1;
const CONTROL_PAGE: u64 = CODE_PAGE + 2;
const EXIT_PAGE: u64 = CONTROL_PAGE + 1;

fn code_page(rip: u64) -> u64 {
    arena(CODE_PAGE) + (rip - CODE)
}

fn write(ram: &Ram, at: u64, data: &[u8]) {
    assert!(ram.write(at, data));
}
fn store(ram: &Ram, at: u64, value: u64) {
    assert!(ram.store(at, 8, value));
}

/// GDT with Linux's user selectors, TSS, IDT and its handlers.
fn build_tables(ram: &Ram) {
    const CODE64: u64 = 0x00af_9b00_0000_ffff;
    const DATA: u64 = 0x00cf_9300_0000_ffff;
    const DPL3: u64 = 3 << 45;
    store(ram, GDT + 0x10, CODE64);
    store(ram, GDT + 0x18, DATA);
    store(ram, GDT + u64::from(layout::SS & !7), DATA | DPL3);
    store(ram, GDT + u64::from(layout::CS & !7), CODE64 | DPL3);
    store(ram, TSS + 4, KERNEL + STACK0_TOP);
    // The I/O permission bitmap lies beyond the limit: every port is refused.
    assert!(ram.store(TSS + 0x66, 2, 0x68));
    for vector in 0..256 {
        let handler = KERNEL + HANDLERS + 16 * vector;
        // Interrupt gate; INT3 and INTO's vector may be called from programs.
        let rights: u64 = if matches!(vector, 3 | 4) { 0xee00 } else { 0x8e00 };
        let low = handler & 0xffff | 0x10 << 16 | rights << 32 | (handler >> 16 & 0xffff) << 48;
        store(ram, IDT + 16 * vector, low);
        store(ram, IDT + 16 * vector + 8, handler >> 32);
        write(ram, HANDLERS + 16 * vector, &[HLT; 16]);
    }
}

/// Paging structures and first contents of the arenas.
fn build_pages(ram: &Ram) {
    let mut tables = Tables { ram, used: 1 };
    for (n, page) in WRITABLE.iter().enumerate() {
        tables.map(*page, arena(n as u64), P | RW | US | XD);
    }
    tables.map(READ_ONLY, arena(READ_ONLY_PAGE), P | US | XD);
    for page in 0..CODE_LEN / PAGE {
        tables.map(CODE + page * PAGE, arena(CODE_PAGE + page), P | US);
    }
    tables.map(CONTROL, arena(CONTROL_PAGE), P | US | XD);
    tables.map(EXIT, arena(EXIT_PAGE), P | US);
    for page in 1..8 {
        tables.map(KERNEL + page * PAGE, page * PAGE, P | RW);
    }
    write(ram, arena(READ_ONLY_PAGE), crate::templates::read_only());
    write(ram, arena(CODE_PAGE), &[FILL; CODE_LEN as usize]);
    write(ram, arena(EXIT_PAGE), &[FILL; PAGE as usize]);
    store(ram, arena(CONTROL_PAGE), EXIT);
}

/// Four-level paging structures that grow.
struct Tables<'a> {
    ram: &'a Ram,
    used: u64,
}

impl Tables<'_> {
    fn map(&mut self, linear: u64, physical: u64, rights: u64) {
        let mut table = TABLES;
        for level in [39, 30, 21] {
            let at = table + 8 * (linear >> level & 511);
            let mut entry = self.ram.load(at, 8).unwrap_or(0);
            if entry == 0 {
                assert!(self.used < TABLE_COUNT);
                entry = (TABLES + self.used * PAGE) | P | RW | US;
                self.used += 1;
                store(self.ram, at, entry);
            }
            table = entry & !0xfff;
        }
        store(self.ram, table + 8 * (linear >> 12 & 511), physical | rights);
    }
}

/// As Linux leaves the processor to a program.
fn start_state() -> State {
    let mut s = State::reset(true);
    s.cr0 = cr0::PE | cr0::MP | cr0::ET | cr0::NE | cr0::WP | cr0::AM | cr0::PG;
    s.cr3 = TABLES;
    s.cr4 = cr4::PAE | cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::FSGSBASE;
    s.msr.efer = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    s.cpl = 3;
    s.gdtr = TableRegister { base: KERNEL + GDT, limit: 0x7f };
    s.idtr = TableRegister { base: KERNEL + IDT, limit: 0xfff };
    s.tr = Segment { selector: TSS_SELECTOR, base: KERNEL + TSS, limit: 0x67, rights: 0x8b };
    let data = Segment { selector: layout::SS, base: 0, limit: u32::MAX, rights: 0xc0f3 };
    s.set_segment(Seg::Ss, data);
    s.set_segment(Seg::Cs, Segment { selector: layout::CS, base: 0, limit: u32::MAX, rights: 0xa0fb });
    for seg in [Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs] {
        s.set_segment(seg, Segment::null(0));
    }
    s.activity = Activity::Active;
    s
}

/// A bus with nothing on it.
struct NoDevices;

impl Bus for NoDevices {
    fn read(&mut self, _now: u64, _addr: PhysAddr, _size: u8) -> u64 {
        u64::MAX
    }
    fn write(&mut self, _now: u64, _addr: PhysAddr, _size: u8, _value: u64) {}
    fn io_read(&mut self, _now: u64, _port: u16, _size: u8) -> u32 {
        u32::MAX
    }
    fn io_write(&mut self, _now: u64, _port: u16, _size: u8, _value: u32) {}
    fn advance(&mut self, _now: u64) {}
    fn next_event(&self) -> Option<u64> {
        None
    }
    fn take_signals(&mut self, _out: &mut Vec<Signal>) {}
    fn intr(&self) -> bool {
        false
    }
    fn acknowledge(&mut self) -> u8 {
        0
    }
    fn eoi(&mut self, _now: u64, _vector: u8) {}
    fn stop_requested(&self) -> bool {
        false
    }
}
