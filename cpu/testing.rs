//! A small processor for unit tests: RAM, a bus that only records, tables for every mode.
//!
//! | address | what |
//! | --- | --- |
//! | 1000H | GDT (see `GDT`), 2000H IDT, 3000H TSS |
//! | 8000H | code: where RIP starts |
//! | 10000H | PML4, PDPT, page directory with 2-MByte pages (supervisor and user, identity, first 1 GByte) |
//! | 20000H | top of the ring-0 stack in use; 30000H of the TSS's RSP0/ESP0; 40000H of the user stack |

#![allow(dead_code)]

use crate::events::{Exception, Flow};
use crate::ports::{Bus, Signal};
use crate::state::{Segment, State, TableRegister};
use crate::vcpu::{Cpu, CpuConfig};
use std::cell::RefCell;
use std::rc::Rc;
use undercroft_decode::{Op, Reg, Seg};
use undercroft_phys_map::PhysMap;
use undercroft_ram::Ram;
use undercroft_spec::PhysAddr;
use undercroft_spec::x86::control::{cr0, cr4, efer};

pub const GDT: u64 = 0x1000;
pub const IDT: u64 = 0x2000;
pub const TSS: u64 = 0x3000;
pub const CODE: u64 = 0x8000;
pub const PML4: u64 = 0x1_0000;
pub const STACK: u64 = 0x2_0000;
pub const STACK0: u64 = 0x3_0000;
pub const USER_STACK: u64 = 0x4_0000;
const RAM_BYTES: u64 = 2 << 20;

/// Selectors of the test GDT.
pub mod sel {
    pub const CODE64: u16 = 0x08;
    pub const DATA: u16 = 0x10;
    pub const CODE32: u16 = 0x18;
    pub const USER_CODE32: u16 = 0x20 | 3;
    pub const USER_DATA: u16 = 0x28 | 3;
    pub const USER_CODE64: u16 = 0x30 | 3;
    pub const CODE16: u16 = 0x38;
    pub const DATA16: u16 = 0x40;
    pub const CONFORMING32: u16 = 0x48;
    pub const TSS: u16 = 0x50;
    pub const LDT: u16 = 0x60;
    /// First of the selectors that no test table uses.
    pub const FREE: u16 = 0x70;
}

/// A descriptor from base, limit (20 bits) and the rights of [`Segment::rights`].
pub const fn descriptor(base: u64, limit: u32, rights: u32) -> u64 {
    (limit as u64 & 0xffff)
        | (base & 0xff_ffff) << 16
        | (rights as u64 & 0xf0ff) << 40
        | (limit as u64 >> 16 & 0xf) << 48
        | (base >> 24 & 0xff) << 56
}

/// What the test bus saw, and what it answers.
#[derive(Default)]
pub struct BusLog {
    /// Port, size, value of each write to an I/O port.
    pub io_writes: Vec<(u16, u8, u32)>,
    /// What reads of I/O ports return.
    pub io_value: u32,
    /// Level of INTR.
    pub intr: bool,
    /// How often FERR# was asserted; and whether IGNNE# is not asserted in answer.
    pub errors: u32,
    pub waits: bool,
    /// Vector that the acknowledge cycle returns.
    pub vector: u8,
}

/// A bus without devices.
#[derive(Clone, Default)]
pub struct TestBus(pub Rc<RefCell<BusLog>>);

impl Bus for TestBus {
    fn read(&mut self, _now: u64, _addr: PhysAddr, _size: u8) -> u64 {
        u64::MAX
    }
    fn write(&mut self, _now: u64, _addr: PhysAddr, _size: u8, _value: u64) {}
    fn io_read(&mut self, _now: u64, _port: u16, size: u8) -> u32 {
        self.0.borrow().io_value & (u64::MAX >> (64 - 8 * u32::from(size))) as u32
    }
    fn io_write(&mut self, _now: u64, port: u16, size: u8, value: u32) {
        self.0.borrow_mut().io_writes.push((port, size, value));
    }
    fn advance(&mut self, _now: u64) {}
    fn next_event(&self) -> Option<u64> {
        None
    }
    fn take_signals(&mut self, _out: &mut Vec<Signal>) {}
    fn intr(&self) -> bool {
        self.0.borrow().intr
    }
    fn acknowledge(&mut self) -> u8 {
        self.0.borrow().vector
    }
    fn eoi(&mut self, _now: u64, _vector: u8) {}
    fn floating_point_error(&mut self, _now: u64) -> bool {
        let mut log = self.0.borrow_mut();
        log.errors += 1;
        !log.waits
    }
    fn stop_requested(&self) -> bool {
        false
    }
}

/// In real mode at 0:8000H, stack 0:7000H (segments are zero), with the bus's log.
pub fn real_with_log() -> (Cpu, Rc<RefCell<BusLog>>) {
    let bus = TestBus::default();
    let log = bus.0.clone();
    let mut s = State::reset(true);
    for seg in Seg::ALL {
        s.set_segment(seg, Segment::real_mode(0));
    }
    s.cr0 = cr0::ET;
    s.rip = CODE;
    s.regs[Reg::Rsp as usize] = 0x7000;
    s.idtr = TableRegister { base: 0, limit: 0x3ff };
    s.gdtr = TableRegister { base: GDT, limit: 0xff };
    let ram = Ram::new(RAM_BYTES).expect("RAM");
    let config = CpuConfig { cpus: 1, quantum: 1000 };
    let mut cpu = Cpu::new(ram, PhysMap::new(RAM_BYTES, 0xb000_0000), Box::new(bus), config);
    cpu.s = s;
    cpu.context_forgotten();
    let table = [
        (sel::CODE64, descriptor(0, 0xfffff, 0xa09b)),
        (sel::DATA, descriptor(0, 0xfffff, 0xc093)),
        (sel::CODE32, descriptor(0, 0xfffff, 0xc09b)),
        (sel::USER_CODE32, descriptor(0, 0xfffff, 0xc0fb)),
        (sel::USER_DATA, descriptor(0, 0xfffff, 0xc0f3)),
        (sel::USER_CODE64, descriptor(0, 0xfffff, 0xa0fb)),
        (sel::CODE16, descriptor(0, 0xffff, 0x009b)),
        (sel::DATA16, descriptor(0, 0xffff, 0x0093)),
        (sel::CONFORMING32, descriptor(0, 0xfffff, 0xc09f)),
        (sel::TSS, descriptor(TSS, 0x2fff, 0x0089)),
        (sel::LDT, descriptor(0x4000, 0xff, 0x0082)),
    ];
    for (selector, d) in table {
        assert!(cpu.ram.store(GDT + u64::from(selector & !7), 8, d));
    }
    (cpu, log)
}
/// See [`real_with_log`].
pub fn real() -> Cpu {
    real_with_log().0
}

fn load(cpu: &mut Cpu, seg: Seg, selector: u16) {
    let d = cpu.ram.load(GDT + u64::from(selector & !7), 8).expect("descriptor");
    cpu.s.set_segment(seg, Segment::from_descriptor(selector, d));
}

/// In 32-bit protected mode without paging, privilege level 0 or 3, TSS loaded with SS0:ESP0 = DATA:30000H.
pub fn protected(cpl: u8) -> Cpu {
    let mut cpu = real();
    cpu.s.cr0 |= cr0::PE;
    let user = cpl == 3;
    load(&mut cpu, Seg::Cs, if user { sel::USER_CODE32 } else { sel::CODE32 });
    for seg in [Seg::Es, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs] {
        load(&mut cpu, seg, if user { sel::USER_DATA } else { sel::DATA });
    }
    cpu.s.cpl = cpl;
    cpu.s.regs[Reg::Rsp as usize] = if user { USER_STACK } else { STACK };
    cpu.s.idtr = TableRegister { base: IDT, limit: 0x7ff };
    cpu.s.tr = Segment { selector: sel::TSS, base: TSS, limit: 0x2fff, rights: 0x8b };
    cpu.s.ldtr = Segment::null(0);
    assert!(cpu.ram.store(TSS + 4, 4, STACK0) && cpu.ram.store(TSS + 8, 2, u64::from(sel::DATA)));
    assert!(cpu.ram.store(TSS + 0x66, 2, 0x88));
    cpu.context_forgotten();
    cpu
}

/// In 64-bit mode with identity paging, privilege level 0 or 3, TSS loaded with RSP0 = 30000H, IST1 = 50000H.
pub fn long(cpl: u8) -> Cpu {
    long_with_log(cpl).0
}
/// See [`long`].
pub fn long_with_log(cpl: u8) -> (Cpu, Rc<RefCell<BusLog>>) {
    let (mut cpu, log) = real_with_log();
    for (at, entry) in [(0, PML4 + 0x1000), (0x1000, PML4 + 0x2000)] {
        assert!(cpu.ram.store(PML4 + at, 8, entry | 7));
    }
    for n in 0..512 {
        assert!(cpu.ram.store(PML4 + 0x2000 + n * 8, 8, n << 21 | 0x87));
    }
    cpu.s.cr3 = PML4;
    cpu.s.cr4 = cr4::PAE;
    cpu.s.cr0 |= cr0::PE | cr0::PG;
    cpu.s.msr.efer = efer::LME | efer::LMA | efer::SCE | efer::NXE;
    let user = cpl == 3;
    load(&mut cpu, Seg::Cs, if user { sel::USER_CODE64 } else { sel::CODE64 });
    for seg in [Seg::Es, Seg::Ss, Seg::Ds, Seg::Fs, Seg::Gs] {
        load(&mut cpu, seg, if user { sel::USER_DATA } else { sel::DATA });
    }
    cpu.s.cpl = cpl;
    cpu.s.regs[Reg::Rsp as usize] = if user { USER_STACK } else { STACK };
    cpu.s.idtr = TableRegister { base: IDT, limit: 0xfff };
    cpu.s.tr = Segment { selector: sel::TSS, base: TSS, limit: 0x2fff, rights: 0x8b };
    cpu.s.ldtr = Segment::null(0);
    assert!(cpu.ram.store(TSS + 4, 8, STACK0) && cpu.ram.store(TSS + 0x24, 8, 0x5_0000));
    assert!(cpu.ram.store(TSS + 0x66, 2, 0x88));
    cpu.context_forgotten();
    (cpu, log)
}

/// Puts a gate into the IDT of 32-bit protected mode. `rights` is the byte with P, DPL and type.
pub fn gate32(cpu: &Cpu, vector: u8, selector: u16, offset: u32, rights: u8) {
    let o = u64::from(offset);
    let d = o & 0xffff | u64::from(selector) << 16 | u64::from(rights) << 40 | (o >> 16) << 48;
    assert!(cpu.ram.store(IDT + u64::from(vector) * 8, 8, d));
}
/// Puts a gate into the IDT of IA-32e mode.
pub fn gate64(cpu: &Cpu, vector: u8, selector: u16, offset: u64, rights: u8, ist: u8) {
    let low = offset & 0xffff
        | u64::from(selector) << 16
        | u64::from(ist) << 32
        | u64::from(rights) << 40
        | (offset >> 16 & 0xffff) << 48;
    let at = IDT + u64::from(vector) * 16;
    assert!(cpu.ram.store(at, 8, low) && cpu.ram.store(at + 8, 8, offset >> 32));
}

/// Decodes one instruction for the current mode and runs it as a helper, without putting it into memory and without effect on RIP unless
/// the helper writes RIP.
pub fn execute(cpu: &mut Cpu, bytes: &[u8]) -> Result<Flow, Exception> {
    let insn =
        undercroft_decode::decode(cpu.s.code_size(), bytes, 0).unwrap_or_else(|e| panic!("{bytes:x?}: {e:?}")).insn;
    assert_eq!(insn.op, Op::Helper, "{bytes:x?} is not a helper");
    cpu.s.regs[Reg::BlockRip as usize] = cpu.s.rip;
    cpu.context_forgotten();
    crate::system::execute(cpu, &insn)
}
