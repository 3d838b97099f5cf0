//! Loading segment registers: MOV, POP and LDS, LES, LFS, LGS, LSS; storing them: MOV, PUSH.
//! SDM volume 2, "MOV - Move", "POP - Pop a Value From the Stack", "LDS/LES/LFS/LGS/LSS - Load Far Pointer".

use super::descriptor::{is_null, rpl, selector_code};
use crate::events::{Exception, Flow};
use crate::state::{Segment, access_rights as ar};
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg, Seg, Size};

/// Loads of segment registers; see the module.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    use Mnemonic as M;
    Some(match m {
        M::Mov => return mov(cpu, i),
        M::Pop => pop(cpu, i),
        M::Push => push(cpu, i),
        M::Lds => load_far_pointer(cpu, i, Seg::Ds),
        M::Les => load_far_pointer(cpu, i, Seg::Es),
        M::Lfs => load_far_pointer(cpu, i, Seg::Fs),
        M::Lgs => load_far_pointer(cpu, i, Seg::Gs),
        M::Lss => load_far_pointer(cpu, i, Seg::Ss),
        _ => return None,
    })
}

/// MOV between a segment register and a general register or memory. Other forms of MOV belong to other families.
fn mov(cpu: &mut Cpu, i: &Insn) -> Option<Result<Flow, Exception>> {
    use undercroft_decode::Code as C;
    match i.code() {
        C::Mov_Sreg_rm16 | C::Mov_Sreg_r32m16 | C::Mov_Sreg_r64m16 => Some(mov_to_segment(cpu, i)),
        C::Mov_rm16_Sreg | C::Mov_r32m16_Sreg | C::Mov_r64m16_Sreg => Some(mov_from_segment(cpu, i)),
        _ => None,
    }
}

fn mov_to_segment(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let seg = match Seg::from_number(i.dst.number()) {
        Some(Seg::Cs) | None => return Err(Exception::ud()),
        Some(seg) => seg,
    };
    let selector = cpu.read_rm(i, i.src, Size::B2)? as u16;
    cpu.load_segment(seg, selector)?;
    if seg == Seg::Ss {
        cpu.s.mov_ss_shadow = true;
        cpu.attention = true;
    }
    Ok(Flow::Next)
}

fn mov_from_segment(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let seg = Seg::from_number(i.src.number()).ok_or(Exception::ud())?;
    let selector = u64::from(cpu.s.segment(seg).selector);
    // Memory takes 16 bits whatever the operand size.
    let size = if i.has_memory() { Size::B2 } else { i.size() };
    cpu.write_rm(i, i.dst, size, selector)?;
    Ok(Flow::Next)
}

fn pop(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let seg = Seg::from_number(i.dst.number()).ok_or(Exception::ud())?;
    let stack = cpu.stack();
    let selector = stack.peek(cpu, i.size(), 0)? as u16;
    let sp = stack.popped(i.size().bytes());
    cpu.load_segment(seg, selector)?;
    cpu.s.regs[Reg::Rsp as usize] = sp;
    if seg == Seg::Ss {
        cpu.s.mov_ss_shadow = true;
        cpu.attention = true;
    }
    Ok(Flow::Next)
}

fn push(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    let seg = Seg::from_number(i.dst.number()).ok_or(Exception::ud())?;
    let selector = u64::from(cpu.s.segment(seg).selector);
    match i.size() {
        // Recent processors write 16 bits and leave the upper half of the place alone.
        Size::B4 => {
            let stack = cpu.stack();
            let sp = stack.popped(4u64.wrapping_neg());
            cpu.store(Seg::Ss, sp & stack.mask, Size::B2, selector)?;
            cpu.s.regs[Reg::Rsp as usize] = sp;
        }
        size => cpu.push_values(size, &[selector])?,
    }
    Ok(Flow::Next)
}

fn load_far_pointer(cpu: &mut Cpu, i: &Insn, seg: Seg) -> Result<Flow, Exception> {
    if !i.has_memory() {
        return Err(Exception::ud());
    }
    let (offset, selector) = cpu.load_pointer(i, i.size())?;
    cpu.load_segment(seg, selector)?;
    cpu.write_reg(i.dst, i.size(), offset);
    Ok(Flow::Next)
}

impl Cpu {
    /// Reads a far pointer in memory: an offset of this size, then a selector.
    pub(crate) fn load_pointer(&mut self, i: &Insn, size: Size) -> Result<(u64, u16), Exception> {
        let at = self.effective_address(i);
        let selector_at = at.wrapping_add(size.bytes()) & i.addr_size().mask();
        let selector = self.load(i.seg, selector_at, Size::B2)? as u16;
        let offset = self.load(i.seg, at, size)?;
        Ok((offset, selector))
    }

    /// Loads ES, SS, DS, FS or GS as an instruction does, in every mode.
    pub(crate) fn load_segment(&mut self, seg: Seg, selector: u16) -> Result<(), Exception> {
        let segment = if self.s.is_real() || self.s.is_v8086() {
            self.real_mode_segment(seg, selector)
        } else if seg == Seg::Ss {
            self.stack_segment(selector)?
        } else {
            self.data_segment(selector, Exception::gp)?
        };
        self.s.set_segment(seg, segment);
        Ok(())
    }

    /// What a segment register holds after a load in real-address or virtual-8086 mode. In real mode limit and rights stay as they are
    /// (so that a limit set in protected mode survives, "unreal mode"), in virtual-8086 mode they are fixed.
    pub(crate) fn real_mode_segment(&self, seg: Seg, selector: u16) -> Segment {
        let fresh = Segment::real_mode(selector);
        let old = self.s.segment(seg);
        if self.s.is_v8086() {
            return Segment { rights: 0xf3, ..fresh };
        }
        if old.is_unusable() {
            return fresh;
        }
        Segment { limit: old.limit, rights: old.rights, ..fresh }
    }

    /// Checks of a load of SS in protected mode.
    fn stack_segment(&mut self, selector: u16) -> Result<Segment, Exception> {
        let cpl = self.s.cpl;
        if is_null(selector) {
            if self.s.is_long() && cpl != 3 && rpl(selector) == cpl {
                return Ok(Segment::null_stack(selector));
            }
            return Err(Exception::gp(0));
        }
        let code = selector_code(selector);
        self.stack_segment_for(selector, cpl, Exception::gp(code), Exception::ss(code))
    }
    /// Loads SS for a privilege level: `wrong` for every failed check but that of the present flag, which is `absent`.
    pub(crate) fn stack_segment_for(
        &mut self,
        selector: u16,
        level: u8,
        wrong: Exception,
        absent: Exception,
    ) -> Result<Segment, Exception> {
        let mut d = self.read_descriptor(selector, wrong)?;
        let segment = d.segment();
        if rpl(selector) != level || !segment.is_writable() || segment.dpl() != level {
            return Err(wrong);
        }
        if !segment.is_present() {
            return Err(absent);
        }
        self.set_accessed(&mut d)?;
        Ok(d.segment())
    }
    /// Checks of a load of DS, ES, FS or GS in protected mode; `wrong` makes the exception of every failed check but that of the present flag.
    pub(super) fn data_segment(&mut self, selector: u16, wrong: fn(u32) -> Exception) -> Result<Segment, Exception> {
        if is_null(selector) {
            return Ok(Segment::null(selector));
        }
        let wrong = wrong(selector_code(selector));
        let mut d = self.read_descriptor(selector, wrong)?;
        let segment = d.segment();
        if !segment.is_code_or_data() || !segment.is_readable() {
            return Err(wrong);
        }
        if !segment.is_conforming() && (rpl(selector) > segment.dpl() || self.s.cpl > segment.dpl()) {
            return Err(wrong);
        }
        if !segment.is_present() {
            return Err(Exception::np(selector_code(selector)));
        }
        self.set_accessed(&mut d)?;
        Ok(d.segment())
    }

    /// After a return to an outer level: data segment registers that the new level may not use become null.
    pub(crate) fn drop_inner_segments(&mut self) {
        for seg in [Seg::Es, Seg::Fs, Seg::Gs, Seg::Ds] {
            let segment = self.s.segment(seg);
            if !segment.is_unusable()
                && self.s.cpl > segment.dpl()
                && (segment.is_data() || segment.is_code() && !segment.is_conforming())
            {
                // The base stays: in 64-bit mode it is not the descriptor's to clear.
                let base = segment.base;
                self.s.set_segment(seg, Segment { base, ..Segment::null(0) });
            }
        }
    }
}

impl Segment {
    /// SS with a null selector in 64-bit mode; its DPL is the selector's RPL.
    pub(crate) const fn null_stack(selector: u16) -> Segment {
        Segment { selector, base: 0, limit: 0, rights: ar::UNUSABLE | ((selector & 3) as u32) << ar::DPL_SHIFT }
    }
}
