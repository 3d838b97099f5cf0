//! MOV to and from debug registers. SDM volume 2, "MOV—Move to/from Debug Registers"; volume 3, "Debug Registers".

use crate::events::{Exception, Flow, dr6, dr7};
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Mnemonic, Reg, Size};
use undercroft_spec::x86::control::cr4;

/// Bits of DR6 that read 1 whatever is written: without bus-lock and RTM debugging bits 11 and 16 are among them.
const DR6_ONES: u64 = 0xffff_0ff0;
const DR6_WRITABLE: u64 = dr6::B | dr6::BD | dr6::BS | dr6::BT;
/// Bit 10 of DR7 reads 1.
const DR7_ONES: u64 = 1 << 10;
/// L0 to GE, GD, the R/W and LEN fields.
const DR7_WRITABLE: u64 = 0xffff_03ff | dr7::GD;

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, _m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match i.code() {
        Code::Mov_r32_dr => read(cpu, i, Size::B4),
        Code::Mov_r64_dr => read(cpu, i, Size::B8),
        Code::Mov_dr_r32 => write(cpu, i, Size::B4),
        Code::Mov_dr_r64 => write(cpu, i, Size::B8),
        _ => return None,
    })
}

/// The number of the register, DR4 and DR5 resolved, after all checks that do not concern values.
fn number(cpu: &Cpu, reg: Reg) -> Result<u8, Exception> {
    let n = match reg.number() {
        n @ (0..=3 | 6 | 7) => n,
        n @ (4 | 5) if cpu.s.cr4 & cr4::DE == 0 => n + 2,
        _ => return Err(Exception::ud()),
    };
    if cpu.s.cpl != 0 {
        return Err(Exception::gp(0));
    }
    if cpu.s.dr7 & dr7::GD != 0 {
        return Err(Exception::db_fault(dr6::BD));
    }
    Ok(n)
}

fn read(cpu: &mut Cpu, i: &Insn, size: Size) -> Result<Flow, Exception> {
    let value = match number(cpu, i.src)? {
        6 => cpu.s.dr6,
        7 => cpu.s.dr7,
        n => cpu.s.dr[usize::from(n & 3)],
    };
    cpu.write_reg(i.dst, size, value);
    Ok(Flow::Next)
}

fn write(cpu: &mut Cpu, i: &Insn, size: Size) -> Result<Flow, Exception> {
    let n = number(cpu, i.dst)?;
    let value = cpu.read_reg(i.src, size);
    if n >= 6 && value >> 32 != 0 {
        return Err(Exception::gp(0));
    }
    match n {
        6 => cpu.s.dr6 = value & DR6_WRITABLE | DR6_ONES,
        7 => cpu.s.dr7 = value & DR7_WRITABLE | DR7_ONES,
        n => cpu.s.dr[usize::from(n & 3)] = value,
    }
    cpu.attention = true;
    cpu.context_changed();
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{execute, long, protected};

    const DONE: Result<Flow, Exception> = Ok(Flow::Next);

    fn set(cpu: &mut Cpu, n: u8, value: u64) -> Result<Flow, Exception> {
        cpu.s.regs[Reg::Rax as usize] = value;
        execute(cpu, &[0x0f, 0x23, 0xc0 | n << 3])
    }
    fn get(cpu: &mut Cpu, n: u8) -> Result<u64, Exception> {
        execute(cpu, &[0x0f, 0x21, 0xc0 | n << 3])?;
        Ok(cpu.s.regs[Reg::Rax as usize])
    }

    #[test]
    fn mov_dr_keeps_fixed_bits() {
        let mut cpu = long(0);
        assert_eq!(set(&mut cpu, 6, 0), DONE);
        assert_eq!(get(&mut cpu, 6), Ok(0xffff_0ff0));
        assert_eq!(set(&mut cpu, 6, 0xffff_ffff), DONE);
        assert_eq!(get(&mut cpu, 6), Ok(0xffff_efff));
        assert_eq!(set(&mut cpu, 7, 0xffff_dfff), DONE);
        assert_eq!(get(&mut cpu, 7), Ok(0xffff_07ff));
        assert_eq!(set(&mut cpu, 7, 0), DONE);
        assert_eq!(get(&mut cpu, 7), Ok(0x400));
        assert_eq!(set(&mut cpu, 3, 0x1234_5678_9abc_def0), DONE);
        assert_eq!(get(&mut cpu, 3), Ok(0x1234_5678_9abc_def0));
        for n in [6, 7] {
            assert_eq!(set(&mut cpu, n, 1 << 32), Err(Exception::gp(0)));
        }
    }
    #[test]
    fn mov_dr4_is_dr6_unless_de() {
        let mut cpu = protected(0);
        assert_eq!(set(&mut cpu, 5, 0x155), DONE);
        assert_eq!(get(&mut cpu, 7), Ok(0x555));
        assert_eq!(get(&mut cpu, 4), Ok(0xffff_0ff0));
        cpu.s.cr4 |= cr4::DE;
        assert_eq!(get(&mut cpu, 4), Err(Exception::ud()));
        assert_eq!(set(&mut cpu, 5, 0), Err(Exception::ud()));
    }
    #[test]
    fn mov_dr_with_general_detect_raises_debug_exception() {
        let mut cpu = long(0);
        assert_eq!(set(&mut cpu, 7, 1 << 13), DONE);
        assert_eq!(get(&mut cpu, 0), Err(Exception::db_fault(1 << 13)));
        cpu.s.cpl = 3;
        assert_eq!(get(&mut cpu, 0), Err(Exception::gp(0)));
    }
}
