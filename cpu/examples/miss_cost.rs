//! What a TLB miss costs, in nanoseconds: `cargo run --release -p undercroft-cpu --example miss_cost`.
//!
//! 64-bit mode over 64 MBytes, visited a page after the other, far apart: with 4-KByte pages under 4- and 5-level paging, and with 2-MByte
//! pages. Once by the access function, once by a program, so with the interpreter's share. The 4-KByte pages are few in fact, so that the host's
//! caches hold all.

use std::hint::black_box;
use undercroft_cpu::mmu::Privilege;
use undercroft_cpu::ports::{Bus, Signal};
use undercroft_cpu::state::{Segment, State};
use undercroft_cpu::vcpu::{Cpu, CpuConfig};
use undercroft_decode::{Reg, Seg};
use undercroft_phys_map::PhysMap;
use undercroft_ram::Ram;
use undercroft_spec::x86::control::{cr0, cr4, efer};
use undercroft_spec::{LinearAddr, PhysAddr};

struct Nothing;

impl Bus for Nothing {
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

const RAM_BYTES: u64 = 256 << 20;
const TABLES: u64 = 0x10_0000;
const CODE: u64 = 0x8000;
/// The memory that is visited: linear and physical.
const DATA: u64 = 0x400_0000;
const PAGES: u64 = 64 << 8;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Level4,
    Level5,
    Large,
}

/// Bytes from one visit to the next: all pages have their turn, none soon again.
const STRIDE: u64 = 1031 << 12;

fn machine(kind: Kind) -> Cpu {
    let ram = Ram::new(RAM_BYTES).expect("RAM");
    let config = CpuConfig { cpus: 1, quantum: u64::MAX };
    let mut cpu = Cpu::new(ram, PhysMap::new(RAM_BYTES, 0xb000_0000), Box::new(Nothing), config);
    let put = |at: u64, value: u64| assert!(cpu.ram.store(at, 8, value));
    put(TABLES, TABLES + 0x1000 | 7);
    put(TABLES + 0x1000, TABLES + 0x2000 | 7);
    put(TABLES + 0x2000, TABLES + 0x3000 | 7);
    for n in 0..128 {
        let entry = if kind == Kind::Large { n << 21 | 0x87 } else { TABLES + 0x4000 + (n << 12) | 7 };
        put(TABLES + 0x3000 + n * 8, entry);
    }
    for n in 0..128 * 512 {
        let page = if n << 12 >= DATA { (DATA >> 12) + n % 16 } else { n };
        put(TABLES + 0x4000 + n * 8, page << 12 | 7);
    }
    let s: &mut State = &mut cpu.s;
    s.cr0 = cr0::PE | cr0::PG | cr0::ET;
    s.cr4 = cr4::PAE | if kind == Kind::Level5 { cr4::LA57 } else { 0 };
    s.cr3 = TABLES + if kind == Kind::Level5 { 0 } else { 0x1000 };
    s.msr.efer = efer::LME | efer::LMA | efer::NXE;
    s.set_segment(Seg::Cs, Segment::from_descriptor(8, 0x00af_9b00_0000_ffff));
    for seg in [Seg::Ds, Seg::Es, Seg::Ss] {
        s.set_segment(seg, Segment::from_descriptor(16, 0x00cf_9300_0000_ffff));
    }
    s.cpl = 0;
    s.rip = CODE;
    s.regs[Reg::Rax as usize] = 0;
    s.regs[Reg::Rcx as usize] = u64::MAX;
    s.regs[Reg::Rdx as usize] = DATA;
    // 1: mov rsi,[rdx+rax]; add eax,STRIDE; and eax,3ffffffh; dec rcx; jnz 1b
    let mut code = vec![0x48, 0x8b, 0x34, 0x02, 0x05];
    code.extend((STRIDE as u32).to_le_bytes());
    code.extend([0x25, 0xff, 0xff, 0xff, 0x03, 0x48, 0xff, 0xc9, 0x75, 0xed]);
    assert!(cpu.ram.write(CODE, &code));
    cpu.context_changed();
    cpu
}

/// Nanoseconds that this process was on a host processor: others may want it too.
fn on_processor() -> u64 {
    let all = std::fs::read_to_string("/proc/self/schedstat").expect("a Linux host");
    all.split(' ').next().and_then(|n| n.parse().ok()).expect("a number")
}

fn time(what: &str, visits: u64, mut run: impl FnMut()) {
    run();
    let start = on_processor();
    run();
    println!("{what:44} {:6.1} ns", (on_processor() - start) as f64 / visits as f64);
}

fn main() {
    const VISITS: u64 = 4 << 20;
    for (name, kind) in [("4-level", Kind::Level4), ("5-level", Kind::Level5), ("2-MByte pages", Kind::Large)] {
        let mut cpu = machine(kind);
        time(&format!("{name}: load_linear"), VISITS, || {
            let mut at = 0;
            for _ in 0..VISITS {
                at = (at + STRIDE) & (PAGES << 12) - 1;
                black_box(cpu.load_linear(LinearAddr(DATA + at), 8, Privilege::Current)).expect("mapped");
            }
        });
        let mut cpu = machine(kind);
        let mut limit = 0;
        time(&format!("{name}: five instructions"), VISITS, || {
            for _ in 0..VISITS >> 10 {
                limit += 5 << 10;
                black_box(cpu.run(limit));
            }
        });
        println!("{:?}", cpu.counters().mmu);
    }
}
