//! FXSAVE, FXRSTOR, LDMXCSR, STMXCSR, and the 512-byte legacy region that XSAVE shares. SDM volume 1, "FXSAVE Area"; volume 2, "FXSAVE",
//! "FXRSTOR", "LDMXCSR", "STMXCSR".
//!
//! What the manual leaves to implementations: reserved bytes of a saved register are zero, bytes 416 to 511 are not written, and with
//! CR4.OSFXSR = 0 neither XMM registers nor MXCSR are transferred.

use crate::events::{Exception, Flow};
use crate::state::Fpu;
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Size};
use undercroft_spec::x86::control::{cr0, cr4};

/// Bytes of the legacy region.
pub(super) const LEGACY_BYTES: usize = 512;
/// Bits of MXCSR that exist, as the region's MXCSR_MASK tells.
pub(super) const MXCSR_MASK: u32 = 0xffff;
/// MXCSR after reset.
pub(super) const MXCSR_INIT: u32 = 0x1f80;
/// Where MXCSR is in the region.
pub(super) const MXCSR_AT: usize = 24;
/// Where the data registers are in the region: ST0 first, 16 bytes each.
pub(super) const ST_AT: usize = 32;
/// Where the XMM registers are in the region.
pub(super) const XMM_AT: usize = 160;

/// The legacy region of a save area.
pub(super) type Legacy = [u8; LEGACY_BYTES];

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    Some(match m {
        Mnemonic::Fxsave => fxsave(cpu, i, Width::Selectors),
        Mnemonic::Fxsave64 => fxsave(cpu, i, Width::Offsets64),
        Mnemonic::Fxrstor => fxrstor(cpu, i, Width::Selectors),
        Mnemonic::Fxrstor64 => fxrstor(cpu, i, Width::Offsets64),
        Mnemonic::Ldmxcsr => ldmxcsr(cpu, i),
        Mnemonic::Stmxcsr => stmxcsr(cpu, i),
        _ => return None,
    })
}

/// Format of the instruction and data pointers in the region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Width {
    /// 32-bit offsets and selectors.
    Selectors,
    /// REX.W: 64-bit offsets, no selectors.
    Offsets64,
}

/// FXSAVE and FXRSTOR answer CR0.EM as the x87 instructions do, with #NM.
fn available(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.s.cr0 & (cr0::EM | cr0::TS) != 0 {
        return Err(Exception::nm());
    }
    Ok(())
}

/// Offset of the memory operand, whose linear address must be a multiple of `align`: #GP(0).
pub(super) fn aligned_operand(cpu: &Cpu, i: &Insn, len: u64, align: u64, write: bool) -> Result<u64, Exception> {
    let offset = cpu.effective_address(i);
    let linear = cpu.segment_address(i.seg, offset, len, write)?;
    if linear.get() & (align - 1) != 0 {
        return Err(Exception::gp(0));
    }
    Ok(offset)
}

/// How many XMM registers the current mode reaches.
pub(super) fn xmm_count(cpu: &Cpu) -> usize {
    if cpu.s.is_long() { 16 } else { 8 }
}

fn fxsave(cpu: &mut Cpu, i: &Insn, width: Width) -> Result<Flow, Exception> {
    available(cpu)?;
    let offset = aligned_operand(cpu, i, LEGACY_BYTES as u64, 16, true)?;
    // Writable as a whole, though the last bytes are not written.
    cpu.check_store(i.seg, offset, LEGACY_BYTES as u64)?;
    let mut image = [0; LEGACY_BYTES];
    save_x87(&cpu.s.fpu, width, &mut image);
    if cpu.s.cr4 & cr4::OSFXSR != 0 {
        save_mxcsr(&cpu.s.fpu, &mut image);
        let registers = xmm_count(cpu);
        save_xmm(&cpu.s.fpu, registers, &mut image);
        cpu.store_bytes(i.seg, offset, &image[..XMM_AT + 16 * registers])?;
    } else {
        cpu.store_bytes(i.seg, offset, &image[..MXCSR_AT])?;
        cpu.store_bytes(i.seg, offset.wrapping_add(ST_AT as u64), &image[ST_AT..XMM_AT])?;
    }
    Ok(Flow::Next)
}

fn fxrstor(cpu: &mut Cpu, i: &Insn, width: Width) -> Result<Flow, Exception> {
    available(cpu)?;
    let offset = aligned_operand(cpu, i, LEGACY_BYTES as u64, 16, false)?;
    let mut image = [0; LEGACY_BYTES];
    cpu.load_bytes(i.seg, offset, &mut image)?;
    if cpu.s.cr4 & cr4::OSFXSR != 0 {
        let mxcsr = read32(&image, MXCSR_AT);
        if mxcsr & !MXCSR_MASK != 0 {
            return Err(Exception::gp(0));
        }
        cpu.s.fpu.mxcsr = mxcsr;
        let registers = xmm_count(cpu);
        load_xmm(&mut cpu.s.fpu, registers, &image);
    }
    load_x87(&mut cpu.s.fpu, width, &image);
    Ok(Flow::Next)
}

fn sse_available(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.s.cr0 & cr0::EM != 0 || cpu.s.cr4 & cr4::OSFXSR == 0 {
        return Err(Exception::ud());
    }
    if cpu.s.cr0 & cr0::TS != 0 {
        return Err(Exception::nm());
    }
    Ok(())
}

fn ldmxcsr(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    sse_available(cpu)?;
    let value = cpu.load(i.seg, cpu.effective_address(i), Size::B4)? as u32;
    if value & !MXCSR_MASK != 0 {
        return Err(Exception::gp(0));
    }
    cpu.s.fpu.mxcsr = value;
    Ok(Flow::Next)
}

fn stmxcsr(cpu: &mut Cpu, i: &Insn) -> Result<Flow, Exception> {
    sse_available(cpu)?;
    cpu.store(i.seg, cpu.effective_address(i), Size::B4, u64::from(cpu.s.fpu.mxcsr))?;
    Ok(Flow::Next)
}

impl Cpu {
    /// All checks of a store of at most a page, without the store.
    pub(super) fn check_store(&mut self, seg: undercroft_decode::Seg, offset: u64, len: u64) -> Result<(), Exception> {
        use undercroft_walk::AccessKind;
        let linear = self.segment_address(seg, offset, len, true)?;
        self.translate_range(linear, len, AccessKind::Write, crate::mmu::Privilege::Current)?;
        Ok(())
    }
}

/// Bit of each data register that is not empty: the abridged tag word.
fn abridged_tag(tag: u16) -> u8 {
    (0..8).filter(|n| tag >> (2 * n) & 3 != 3).fold(0, |bits, n| bits | 1 << n)
}

/// The 16-bit tag word of an abridged one: zero for registers that are not empty.
fn full_tag(abridged: u8) -> u16 {
    (0..8).filter(|n| abridged >> n & 1 == 0).fold(0, |tag, n| tag | 3 << (2 * n))
}

/// x87 state into bytes 0 to 23 and 32 to 159.
pub(super) fn save_x87(fpu: &Fpu, width: Width, image: &mut Legacy) {
    image[0..2].copy_from_slice(&fpu.control.to_le_bytes());
    image[2..4].copy_from_slice(&fpu.status.to_le_bytes());
    image[4] = abridged_tag(fpu.tag);
    image[6..8].copy_from_slice(&fpu.opcode.to_le_bytes());
    image[8..16].copy_from_slice(&fpu.instruction.to_le_bytes());
    image[16..24].copy_from_slice(&fpu.data.to_le_bytes());
    if width == Width::Selectors {
        for (at, selector) in [(12, fpu.instruction_selector), (20, fpu.data_selector)] {
            image[at..at + 2].copy_from_slice(&selector.to_le_bytes());
            image[at + 2..at + 4].fill(0);
        }
    }
    let top = usize::from(fpu.status >> 11 & 7);
    for n in 0..8 {
        let (at, register) = (ST_AT + 16 * n, (top + n) & 7);
        image[at..at + 8].copy_from_slice(&fpu.significand[register].to_le_bytes());
        image[at + 8..at + 10].copy_from_slice(&fpu.sign_exponent[register].to_le_bytes());
    }
}

/// x87 state from bytes 0 to 23 and 32 to 159.
pub(super) fn load_x87(fpu: &mut Fpu, width: Width, image: &Legacy) {
    fpu.control = read16(image, 0) & 0x1f3f | 0x40;
    fpu.status = read16(image, 2);
    fpu.tag = full_tag(image[4]);
    fpu.opcode = read16(image, 6) & 0x7ff;
    match width {
        Width::Selectors => {
            fpu.instruction = u64::from(read32(image, 8));
            fpu.instruction_selector = read16(image, 12);
            fpu.data = u64::from(read32(image, 16));
            fpu.data_selector = read16(image, 20);
        }
        Width::Offsets64 => {
            fpu.instruction = u64::from(read32(image, 8)) | u64::from(read32(image, 12)) << 32;
            fpu.data = u64::from(read32(image, 16)) | u64::from(read32(image, 20)) << 32;
            (fpu.instruction_selector, fpu.data_selector) = (0, 0);
        }
    }
    let top = usize::from(fpu.status >> 11 & 7);
    for n in 0..8 {
        let (at, register) = (ST_AT + 16 * n, (top + n) & 7);
        fpu.significand[register] = u64::from(read32(image, at)) | u64::from(read32(image, at + 4)) << 32;
        fpu.sign_exponent[register] = read16(image, at + 8);
    }
    summarize_exceptions(fpu);
}

/// ES and B follow from the exception flags and their masks. SDM volume 1, "x87 FPU Status Register".
pub(super) fn summarize_exceptions(fpu: &mut Fpu) {
    const ES_AND_B: u16 = 1 << 7 | 1 << 15;
    let pending = fpu.status & !fpu.control & 0x3f != 0;
    fpu.status = fpu.status & !ES_AND_B | if pending { ES_AND_B } else { 0 };
}

/// MXCSR and its mask into bytes 24 to 31.
pub(super) fn save_mxcsr(fpu: &Fpu, image: &mut Legacy) {
    image[MXCSR_AT..MXCSR_AT + 4].copy_from_slice(&fpu.mxcsr.to_le_bytes());
    image[MXCSR_AT + 4..MXCSR_AT + 8].copy_from_slice(&MXCSR_MASK.to_le_bytes());
}

/// XMM registers into bytes 160 and up.
pub(super) fn save_xmm(fpu: &Fpu, registers: usize, image: &mut Legacy) {
    for (at, xmm) in image[XMM_AT..].chunks_exact_mut(16).zip(&fpu.xmm[..registers]) {
        at.copy_from_slice(&xmm.to_le_bytes());
    }
}

/// XMM registers from bytes 160 and up.
pub(super) fn load_xmm(fpu: &mut Fpu, registers: usize, image: &Legacy) {
    for (at, xmm) in image[XMM_AT..].chunks_exact(16).zip(&mut fpu.xmm[..registers]) {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(at);
        *xmm = u128::from_le_bytes(bytes);
    }
}

pub(super) fn read16(image: &Legacy, at: usize) -> u16 {
    u16::from_le_bytes([image[at], image[at + 1]])
}
pub(super) fn read32(image: &Legacy, at: usize) -> u32 {
    u32::from(read16(image, at)) | u32::from(read16(image, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{execute, long, protected};
    use undercroft_decode::Reg;

    const AREA: u64 = 0x6_0000;

    fn filled(mut cpu: Cpu) -> Cpu {
        cpu.s.regs[Reg::Rax as usize] = AREA;
        cpu.s.cr4 |= cr4::OSFXSR;
        let f = &mut cpu.s.fpu;
        f.control = 0x37f;
        f.status = 5 << 11 | 0x4000;
        f.tag = 0xc3ff;
        f.opcode = 0x123;
        f.instruction = 0x1234_5678_9abc_def0;
        f.data = 0xfedc_ba98_7654_3210;
        f.instruction_selector = 0x08;
        f.data_selector = 0x10;
        for n in 0..8 {
            f.significand[n] = 0x8000_0000_0000_0000 | n as u64;
            f.sign_exponent[n] = 0x3fff + n as u16;
        }
        for n in 0..16 {
            f.xmm[n] = (n as u128) << 64 | 7;
        }
        cpu
    }

    #[test]
    fn fxsave_writes_the_manuals_layout() {
        let mut cpu = filled(long(0));
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x00]), Ok(Flow::Next));
        let load = |at, len| cpu.ram.load(AREA + at, len).expect("RAM");
        assert_eq!(load(0, 8), 0x0123_0060_6800_037f);
        assert_eq!((load(8, 4), load(12, 4)), (0x9abc_def0, 0x08));
        assert_eq!((load(16, 4), load(20, 4)), (0x7654_3210, 0x10));
        assert_eq!((load(24, 4), load(28, 4)), (0x1f80, 0xffff));
        // ST0 is R5.
        assert_eq!((load(32, 8), load(40, 8)), (0x8000_0000_0000_0005, 0x4004));
        assert_eq!((load(160 + 15 * 16, 8), load(168 + 15 * 16, 8)), (7, 15));
    }
    #[test]
    fn fxsave64_has_wide_pointers() {
        let mut cpu = filled(long(0));
        assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0xae, 0x00]), Ok(Flow::Next));
        assert_eq!(cpu.ram.load(AREA + 8, 8), Some(0x1234_5678_9abc_def0));
        assert_eq!(cpu.ram.load(AREA + 16, 8), Some(0xfedc_ba98_7654_3210));
    }
    #[test]
    fn fxrstor_after_fxsave_restores_everything() {
        let mut cpu = filled(long(0));
        let before = cpu.s.fpu.clone();
        assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0xae, 0x00]), Ok(Flow::Next));
        cpu.s.fpu = Fpu::default();
        assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0xae, 0x08]), Ok(Flow::Next));
        let mut expected = before;
        (expected.instruction_selector, expected.data_selector) = (0, 0);
        expected.tag = full_tag(abridged_tag(expected.tag));
        assert_eq!(cpu.s.fpu, expected);
    }
    #[test]
    fn fxsave_outside_64_bit_mode_leaves_upper_xmm_area() {
        let mut cpu = filled(protected(0));
        assert!(cpu.ram.store(AREA + 288, 8, 0x55));
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x00]), Ok(Flow::Next));
        assert_eq!(cpu.ram.load(AREA + 288, 8), Some(0x55));
        cpu.s.fpu.xmm[8] = 99;
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x08]), Ok(Flow::Next));
        assert_eq!(cpu.s.fpu.xmm[8], 99);
    }
    #[test]
    fn fxsave_faults_by_priority() {
        let mut cpu = filled(long(0));
        cpu.s.regs[Reg::Rax as usize] = AREA + 8;
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x00]), Err(Exception::gp(0)));
        cpu.s.cr0 |= cr0::TS;
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x00]), Err(Exception::nm()));
        cpu.s.cr0 ^= cr0::EM | cr0::TS;
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x00]), Err(Exception::nm()));
    }
    #[test]
    fn mxcsr_reserved_bits_fault_and_load_nothing() {
        let mut cpu = filled(long(0));
        assert!(cpu.ram.store(AREA, 4, 0x1_1f80));
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x10]), Err(Exception::gp(0)));
        assert!(cpu.ram.store(AREA, 4, 0x1fbf));
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x10]), Ok(Flow::Next));
        assert_eq!(cpu.s.fpu.mxcsr, 0x1fbf);
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x58, 0x10]), Ok(Flow::Next));
        assert_eq!(cpu.ram.load(AREA + 0x10, 4), Some(0x1fbf));
        assert!(cpu.ram.store(AREA + 24, 4, 0x1_0000));
        let before = cpu.s.clone();
        assert_eq!(execute(&mut cpu, &[0x0f, 0xae, 0x08]), Err(Exception::gp(0)));
        assert_eq!(cpu.s, before);
    }
}
