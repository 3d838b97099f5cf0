//! Control and status word: FLDCW, FNSTCW, FNSTSW, FNCLEX, FNINIT, and what modern processors make nothing of. SDM volume 2, each instruction.

use super::Entry;
use super::stack::{B, ES, EXCEPTIONS, SF};
use crate::events::Exception;
use crate::state::Fpu;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn, Reg, Size};

type C = Code;
type Done = Result<(), Exception>;

/// Bits of the control word that software writes; bit 6 reads as one.
const CONTROL_WRITABLE: u16 = 0x1f3f;
const CONTROL_FIXED: u16 = 0x40;
/// Control word after FNINIT.
const CONTROL_INIT: u16 = 0x37f;

/// The instruction, if it is one of this file.
pub(super) fn entry(code: Code) -> Option<Entry> {
    Some(match code {
        C::Fldcw_m2byte => Entry::Control(load_control),
        C::Fnstcw_m2byte => Entry::NoWait(|c, i| write(c, i, c.s.fpu.control)),
        C::Fnstsw_m2byte => Entry::NoWait(|c, i| write(c, i, c.s.fpu.status)),
        C::Fnstsw_AX => Entry::NoWait(|c, _| {
            let status = u64::from(c.s.fpu.status);
            c.write_reg(Reg::Rax, Size::B2, status);
            Ok(())
        }),
        C::Fnclex => Entry::NoWait(|c, _| {
            c.s.fpu.status &= !(B | ES | SF | EXCEPTIONS);
            Ok(())
        }),
        C::Fninit => Entry::NoWait(|c, _| {
            initialize(&mut c.s.fpu);
            Ok(())
        }),
        // FENI and FDISI of the 8087, FSETPM of the 80287.
        C::Fneni | C::Fndisi | C::Fnsetpm => Entry::NoWait(|_, _| Ok(())),
        _ => return None,
    })
}

fn load_control(cpu: &mut Cpu, i: &Insn) -> Done {
    let value = cpu.load(i.seg, cpu.effective_address(i), Size::B2)? as u16;
    set_control(&mut cpu.s.fpu, value);
    cpu.s.fpu.summarize();
    Ok(())
}
/// Writes the control word; ES and B are to follow.
pub(super) fn set_control(fpu: &mut Fpu, value: u16) {
    fpu.control = value & CONTROL_WRITABLE | CONTROL_FIXED;
}
fn write(cpu: &mut Cpu, i: &Insn, value: u16) -> Done {
    let offset = cpu.effective_address(i);
    cpu.store(i.seg, offset, Size::B2, value.into())
}
/// FNINIT: all but the data registers' contents.
pub(super) fn initialize(fpu: &mut Fpu) {
    fpu.control = CONTROL_INIT;
    fpu.status = 0;
    fpu.tag = 0xffff;
    fpu.opcode = 0;
    fpu.instruction = 0;
    fpu.instruction_selector = 0;
    fpu.data = 0;
    fpu.data_selector = 0;
}
