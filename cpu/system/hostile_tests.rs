//! Random state and random instructions: nothing panics, and what must always hold does.

use crate::events::{self, Exception};
use crate::state::{LazyFlags, Segment};
use crate::testing::{self as t, sel};
use crate::vcpu::Cpu;
use undercroft_decode::{Op, Reg, Seg, decode};
use undercroft_spec::x86::control::{cr0, cr4, rflags};

/// A small generator: the sequence is the same in every run.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 ^ self.0 >> 29
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
    /// Small, huge, near the ends of what matters.
    fn address(&mut self) -> u64 {
        match self.below(8) {
            0 => self.next(),
            1 => u64::MAX - self.below(64),
            2 => self.below(64),
            3 => 0xffff_ffff - self.below(16),
            4 => 0x7fff_ffff_ffff - self.below(16),
            5 => 0xffff - self.below(8),
            _ => self.below(1 << 20),
        }
    }
}

/// Opcodes of this module's families; operands follow at random.
const OPCODES: [&[u8]; 62] = [
    &[0x8e],
    &[0x8c],
    &[0x06],
    &[0x07],
    &[0x16],
    &[0x17],
    &[0x1e],
    &[0x1f],
    &[0x0f, 0xa0],
    &[0x0f, 0xa1],
    &[0x0f, 0xa9],
    &[0xc4],
    &[0xc5],
    &[0x0f, 0xb2],
    &[0x0f, 0xb4],
    &[0x0f, 0xb5],
    &[0x0f, 0x00],
    &[0x0f, 0x00],
    &[0x0f, 0x01],
    &[0x0f, 0x01],
    &[0x0f, 0x02],
    &[0x0f, 0x03],
    &[0x63],
    &[0x0f, 0x01, 0xf8],
    &[0xf3, 0x0f, 0xae, 0xd0],
    &[0xf3, 0x48, 0x0f, 0xae, 0xd8],
    &[0xea],
    &[0x9a],
    &[0xff, 0x2c, 0x24],
    &[0xff, 0x1c, 0x24],
    &[0x48, 0xff, 0x2c, 0x24],
    &[0xff, 0x5d],
    &[0xff, 0x6d],
    &[0xcb],
    &[0xca],
    &[0xcf],
    &[0x48, 0xcf],
    &[0x66, 0xcf],
    &[0x48, 0xcb],
    &[0x66, 0xcb],
    &[0xcd],
    &[0xcc],
    &[0xce],
    &[0xf1],
    &[0x62],
    &[0x0f, 0x05],
    &[0x0f, 0x07],
    &[0x48, 0x0f, 0x07],
    &[0x0f, 0x34],
    &[0x0f, 0x35],
    &[0x48, 0x0f, 0x35],
    &[0x9c],
    &[0x9d],
    &[0x66, 0x9c],
    &[0x66, 0x9d],
    &[0xfa],
    &[0xfb],
    &[0x60],
    &[0x61],
    &[0xc8],
    &[0x66, 0xc8],
    &[0xf4],
];

fn machine(r: &mut Random) -> Cpu {
    let cpl = if r.below(2) == 0 { 0 } else { 3 };
    let mut cpu = match r.below(4) {
        0 => t::real(),
        1 => t::protected(cpl),
        _ => t::long(cpl),
    };
    let v8086 = cpu.s.is_protected() && !cpu.s.is_ia32e() && r.below(3) == 0;
    let mut flags = r.next() & 0x3f_7fd5 & !rflags::VM | rflags::FIXED;
    if v8086 {
        flags |= rflags::VM;
        for seg in Seg::ALL {
            cpu.s.set_segment(seg, Segment { rights: 0xf3, ..Segment::real_mode(r.next() as u16) });
        }
        cpu.s.cpl = 3;
    }
    cpu.s.flags = LazyFlags::new(flags);
    if r.below(3) == 0 {
        cpu.s.cr4 |= (cr4::VME | cr4::PVI | cr4::UMIP | cr4::FSGSBASE | cr4::SMAP) & r.next();
        cpu.s.cr0 |= (cr0::AM | cr0::WP) & r.next();
    }
    for n in 0..16 {
        if r.below(2) == 0 {
            cpu.s.regs[n] = r.address();
        }
    }
    if !cpu.s.is_ia32e() {
        cpu.s.regs[..16].iter_mut().for_each(|v| *v &= 0xffff_ffff);
    }
    if r.below(4) == 0 {
        cpu.s.tr.limit = r.below(0x90) as u32;
        cpu.s.tr.base = r.address();
        cpu.s.gdtr.limit = r.next() as u16;
        cpu.s.idtr.limit = r.next() as u16;
    }
    if r.below(8) == 0 {
        cpu.s.gdtr.base = r.address();
        cpu.s.idtr.base = r.address();
    }
    // Descriptors of every type, and gates to them.
    for n in 0..16 {
        let at = t::GDT + 0x70 + 8 * n;
        let raw = r.next() & !(0xf << 48) | if r.below(4) == 0 { 0 } else { 1 << 47 };
        assert!(cpu.ram.store(at, 8, raw));
    }
    for n in 0..256 {
        let kind = [0x8e, 0x8f, 0xee, 0x86, 0x85, 0xe5, 0xec][r.below(7) as usize];
        let selector = if r.below(3) == 0 {
            r.next() & 0xff
        } else {
            [sel::CODE64, sel::CODE32, sel::TSS][r.below(3) as usize].into()
        };
        assert!(cpu.ram.store(t::IDT + n * 8, 8, r.below(1 << 16) | selector << 16 | kind << 40));
    }
    if r.below(2) == 0 {
        let sp = cpu.s.regs[Reg::Rsp as usize] & 0xf_ffff;
        for n in 0..12 {
            let value = if r.below(2) == 0 { r.next() & 0xff } else { r.address() };
            assert!(cpu.ram.store(sp + 8 * n, 8, value));
        }
    }
    cpu.context_forgotten();
    cpu
}

fn holds(cpu: &Cpu, what: &dyn std::fmt::Debug) {
    let s = &cpu.s;
    assert_eq!(s.regs[Reg::Zero as usize], 0, "{what:?}");
    assert!(s.rflags() & rflags::FIXED != 0 && s.rflags() & !0x3f_7fd7 == 0, "{what:?}: {:#x}", s.rflags());
    assert!(s.exception_log.len() <= 16);
    for seg in Seg::ALL {
        assert_eq!(s.regs[Reg::segment_base(seg) as usize], s.segment(seg).base, "{what:?}");
    }
    if s.is_v8086() {
        assert_eq!(s.cpl, 3, "{what:?}");
    }
    assert!(!(s.is_v8086() && s.is_ia32e()), "{what:?}");
}

#[test]
fn instruction_with_hostile_state_never_panics() {
    let mut r = Random(1);
    let mut done = [0u32; 2];
    for _ in 0..20_000 {
        let mut cpu = machine(&mut r);
        let mut bytes = OPCODES[r.below(OPCODES.len() as u64) as usize].to_vec();
        if r.below(4) == 0 {
            bytes.insert(0, [0x66, 0x67, 0x64, 0x36][r.below(4) as usize]);
        }
        bytes.extend_from_slice(&r.next().to_le_bytes());
        bytes.extend_from_slice(&r.below(0x100).to_le_bytes());
        let Ok(decoded) = decode(cpu.s.code_size(), &bytes, 0) else { continue };
        let insn = decoded.insn;
        if insn.op != Op::Helper {
            continue;
        }
        cpu.s.regs[Reg::BlockRip as usize] = cpu.s.rip;
        let next = cpu.next_rip(&insn);
        let before = cpu.s.clone();
        let result = super::execute(&mut cpu, &insn);
        // IRET unblocks NMIs in any case; a task switch that fails late has switched.
        if result.is_err() && cpu.s.tr == before.tr {
            assert_eq!(cpu.s, before, "{bytes:x?} {result:?}");
        }
        done[usize::from(result.is_ok())] += 1;
        if let Err(e) = result {
            events::deliver_exception(&mut cpu, e, next);
        }
        holds(&cpu, &(&bytes, result));
    }
    assert!(done[0] > 1000 && done[1] > 1000, "{done:?}");
}

#[test]
fn event_with_hostile_tables_never_panics() {
    let mut r = Random(2);
    for _ in 0..10_000 {
        let mut cpu = machine(&mut r);
        let vector = r.next() as u8;
        match r.below(5) {
            0 => events::deliver_interrupt(&mut cpu, vector),
            1 => events::deliver_nmi(&mut cpu),
            2 => events::deliver_exception(&mut cpu, Exception::software(vector), r.address()),
            3 => events::deliver_exception(&mut cpu, Exception::db_fault(1), 0),
            _ => events::deliver_exception(&mut cpu, Exception::gp(r.next() as u16 as u32), 0),
        }
        holds(&cpu, &vector);
    }
}
