//! INT n, INT3, INTO, INT1, BOUND. SDM volume 2, "INT n/INTO/INT3/INT1", "BOUND - Check Array Index Against Bounds".

use crate::events::{Exception, Flow, redirect_to_8086_program};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Size};
use undercroft_spec::x86::control::{cr4, rflags};
use undercroft_spec::x86::descriptor::{system_type, tss32};
use undercroft_spec::x86::vector;

/// The instructions of the module.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match m {
        Mnemonic::Int => int(cpu, i),
        Mnemonic::Int3 => Err(Exception::software_exception(vector::BP)),
        Mnemonic::Into if cpu.s.flags.get() & rflags::OF != 0 => Err(Exception::software_exception(vector::OF)),
        Mnemonic::Into => Ok(Flow::Next),
        Mnemonic::Int1 => Err(Exception::icebp()),
        Mnemonic::Bound => bound(cpu, i),
        _ => return None,
    })
}

fn int(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let n = i.imm as u8;
    if cpu.s.is_v8086() {
        // SDM volume 3, "Software Interrupt Handling Methods While in Virtual-8086 Mode".
        if cpu.s.cr4 & cr4::VME != 0 && !is_intercepted(cpu, n)? {
            let next = cpu.next_rip(i);
            redirect_to_8086_program(cpu, n, next)?;
            return Ok(Flow::Jump);
        }
        if cpu.s.iopl() < 3 {
            return Err(Exception::gp(0));
        }
    }
    Err(Exception::software(n))
}

/// The vector's bit in the software interrupt redirection bitmap, the 32 bytes below the I/O permission bitmap. `#GP(0)` when they leave the TSS.
fn is_intercepted(cpu: &mut Cpu, n: u8) -> Result<bool, Exception> {
    let limit = cpu.s.tr.limit;
    if cpu.s.tr.kind() != system_type::TSS_BUSY || limit < tss32::MIN_LIMIT {
        return Err(Exception::gp(0));
    }
    let map = cpu.load_tss(tss32::IO_MAP, 2)?;
    let at = (map + u64::from(n >> 3)).checked_sub(32).ok_or(Exception::gp(0))?;
    if at > u64::from(limit) {
        return Err(Exception::gp(0));
    }
    Ok(cpu.load_tss(at, 1)? >> (n & 7) & 1 != 0)
}

fn bound(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    if !i.has_memory() {
        return Err(Exception::ud());
    }
    let size = i.size();
    let at = cpu.effective_address(i);
    let low = cpu.load(i.seg, at, size)?;
    let high = cpu.load(i.seg, at.wrapping_add(size.bytes()) & i.addr_size().mask(), size)?;
    let signed = |v: u64| if size == Size::B2 { i64::from(v as i16) } else { i64::from(v as i32) };
    let index = signed(cpu.read_reg(i.dst, size));
    if index < signed(low) || index > signed(high) { Err(Exception::br()) } else { Ok(Flow::Next) }
}
