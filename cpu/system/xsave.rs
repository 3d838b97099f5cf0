//! XSAVE and its like, XGETBV, XSETBV, RDPKRU, WRPKRU. SDM volume 1, "Managing State Using the XSAVE Feature Set"; volume 2, each instruction.
//!
//! State components are x87 (0), SSE (1) and PKRU (9). What the manual leaves to implementations: a component is in use exactly when it is not in
//! its initial configuration, XSAVEOPT, XSAVEC and XSAVES do not write components that are not in use, and the modified optimization is
//! never applied.

use super::fxsave::{
    self, LEGACY_BYTES, Legacy, MXCSR_AT, MXCSR_INIT, MXCSR_MASK, ST_AT, Width, XMM_AT, aligned_operand, read32,
    xmm_count,
};
use crate::events::{Exception, Flow};
use crate::state::Fpu;
use crate::vcpu::Cpu;
use undercroft_decode::{Insn, Mnemonic, Reg};
use undercroft_spec::x86::control::{cr0, cr4};
use undercroft_spec::x86::cpuid::Feature;

/// State component 0: x87.
pub(super) const X87: u64 = 1 << 0;
/// State component 1: XMM registers and MXCSR.
pub(super) const SSE: u64 = 1 << 1;
/// Number of the state component PKRU.
pub(super) const PKRU_COMPONENT: u32 = 9;
const PKRU: u64 = 1 << PKRU_COMPONENT;
/// Size of PKRU state.
pub(super) const PKRU_SIZE: u32 = 8;
/// Offset of PKRU state in the standard format.
pub(super) const PKRU_OFFSET: u32 = 2688;
/// Offset of the header.
const HEADER_AT: u64 = LEGACY_BYTES as u64;
/// Offset of the extended region in the compacted format.
const EXTENDED_AT: u32 = 576;
/// XCOMP_BV: the area is in the compacted format.
const COMPACTED: u64 = 1 << 63;

/// Size of a save area in the standard format for these components. SDM volume 1, "Standard Format".
pub(super) const fn standard_size(components: u64) -> u32 {
    if components & PKRU != 0 { PKRU_OFFSET + PKRU_SIZE } else { EXTENDED_AT }
}
/// Size of a save area in the compacted format. "Compacted Format".
pub(super) const fn compacted_size(components: u64) -> u32 {
    if components & PKRU != 0 { EXTENDED_AT + PKRU_SIZE } else { EXTENDED_AT }
}

/// This family's instructions.
pub(super) fn execute(cpu: &mut Cpu, i: &Insn, m: Mnemonic) -> Option<Result<Flow, Exception>> {
    use Mnemonic as M;
    use Width::{Offsets64, Selectors};
    Some(match m {
        M::Xsave => save(cpu, i, Selectors, Kind::Save),
        M::Xsave64 => save(cpu, i, Offsets64, Kind::Save),
        M::Xsaveopt => save(cpu, i, Selectors, Kind::Optimized),
        M::Xsaveopt64 => save(cpu, i, Offsets64, Kind::Optimized),
        M::Xsavec => save(cpu, i, Selectors, Kind::Compacted),
        M::Xsavec64 => save(cpu, i, Offsets64, Kind::Compacted),
        M::Xsaves => save(cpu, i, Selectors, Kind::Supervisor),
        M::Xsaves64 => save(cpu, i, Offsets64, Kind::Supervisor),
        M::Xrstor => restore(cpu, i, Selectors, Kind::Save),
        M::Xrstor64 => restore(cpu, i, Offsets64, Kind::Save),
        M::Xrstors => restore(cpu, i, Selectors, Kind::Supervisor),
        M::Xrstors64 => restore(cpu, i, Offsets64, Kind::Supervisor),
        M::Xgetbv => xgetbv(cpu),
        M::Xsetbv => xsetbv(cpu),
        M::Rdpkru => rdpkru(cpu),
        M::Wrpkru => wrpkru(cpu),
        _ => return None,
    })
}

/// Which instruction of the set. XRSTOR is `Save`, XRSTORS `Supervisor`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Save,
    Optimized,
    Compacted,
    Supervisor,
}

impl Kind {
    fn is_offered(self, cpu: &Cpu) -> bool {
        cpu.model.has(match self {
            Kind::Save => Feature::XSAVE,
            Kind::Optimized => Feature::XSAVEOPT,
            Kind::Compacted => Feature::XSAVEC,
            Kind::Supervisor => Feature::XSAVES,
        })
    }
}

/// Checks before the memory operand; then the requested-feature bitmap.
fn requested(cpu: &Cpu, kind: Kind) -> Result<u64, Exception> {
    if cpu.s.cr4 & cr4::OSXSAVE == 0 || !kind.is_offered(cpu) {
        return Err(Exception::ud());
    }
    if kind == Kind::Supervisor && cpu.s.cpl != 0 {
        return Err(Exception::gp(0));
    }
    if cpu.s.cr0 & cr0::TS != 0 {
        return Err(Exception::nm());
    }
    let enabled = cpu.s.xcr0 | if kind == Kind::Supervisor { cpu.s.msr.xss } else { 0 };
    Ok(edx_eax(cpu) & enabled)
}

fn edx_eax(cpu: &Cpu) -> u64 {
    cpu.s.regs[Reg::Rdx as usize] << 32 | cpu.s.regs[Reg::Rax as usize] & 0xffff_ffff
}

/// XINUSE. "Processor Tracking of XSAVE-Managed State".
fn in_use(cpu: &Cpu) -> u64 {
    let f = &cpu.s.fpu;
    let mut used = 0;
    if !is_x87_initial(f) {
        used |= X87;
    }
    if f.xmm[..xmm_count(cpu)].iter().any(|x| *x != 0) {
        used |= SSE;
    }
    if cpu.s.pkru != 0 {
        used |= PKRU;
    }
    used
}

fn is_x87_initial(f: &Fpu) -> bool {
    (f.control, f.status, f.tag, f.opcode) == (0x37f, 0, 0xffff, 0)
        && (f.instruction, f.data, f.instruction_selector, f.data_selector) == (0, 0, 0, 0)
        && f.significand == [0; 8]
        && f.sign_exponent == [0; 8]
}

fn initialize_x87(f: &mut Fpu) {
    (f.control, f.status, f.tag, f.opcode) = (0x37f, 0, 0xffff, 0);
    (f.instruction, f.data, f.instruction_selector, f.data_selector) = (0, 0, 0, 0);
    (f.significand, f.sign_exponent) = ([0; 8], [0; 8]);
}

/// Parts of a save area that one instruction writes: offset and bytes.
type Parts<'a> = Vec<(u64, &'a [u8])>;

/// XSAVE, XSAVEOPT, XSAVEC, XSAVES. "Operation of XSAVE" and the sections after it.
fn save(cpu: &mut Cpu, i: &Insn, width: Width, kind: Kind) -> Result<Flow, Exception> {
    let rfbm = requested(cpu, kind)?;
    let compacted = matches!(kind, Kind::Compacted | Kind::Supervisor);
    let area = aligned_operand(cpu, i, u64::from(EXTENDED_AT), 64, true)?;
    let mut used = in_use(cpu);
    if compacted && cpu.s.fpu.mxcsr != MXCSR_INIT {
        // MXCSR belongs to the component here.
        used |= SSE;
    }
    let header: [u64; 2] = if compacted {
        [rfbm & used, rfbm | COMPACTED]
    } else {
        let mut old = [0; 8];
        cpu.load_bytes(i.seg, area.wrapping_add(HEADER_AT), &mut old)?;
        [u64::from_le_bytes(old) & !rfbm | used & rfbm, 0]
    };
    let written = if kind == Kind::Save { rfbm } else { rfbm & used };

    let mut image = [0; LEGACY_BYTES];
    let registers = xmm_count(cpu);
    fxsave::save_x87(&cpu.s.fpu, width, &mut image);
    fxsave::save_mxcsr(&cpu.s.fpu, &mut image);
    fxsave::save_xmm(&cpu.s.fpu, registers, &mut image);
    let header: Vec<u8> = header.iter().flat_map(|w| w.to_le_bytes()).collect();
    let pkru = u64::from(cpu.s.pkru).to_le_bytes();
    let mut parts = Parts::new();
    if written & X87 != 0 {
        parts.push((0, &image[..MXCSR_AT]));
        parts.push((ST_AT as u64, &image[ST_AT..XMM_AT]));
    }
    // MXCSR is written whenever SSE is asked for, except in the compacted format.
    if (if compacted { written } else { rfbm }) & SSE != 0 {
        parts.push((MXCSR_AT as u64, &image[MXCSR_AT..ST_AT]));
    }
    if written & SSE != 0 {
        parts.push((XMM_AT as u64, &image[XMM_AT..XMM_AT + 16 * registers]));
    }
    if written & PKRU != 0 {
        parts.push((u64::from(if compacted { EXTENDED_AT } else { PKRU_OFFSET }), &pkru));
    }
    parts.push((HEADER_AT, &header[..if compacted { 16 } else { 8 }]));
    store_parts(cpu, i, area, &parts)
}

/// All faults before the first store.
fn store_parts(cpu: &mut Cpu, i: &Insn, area: u64, parts: &Parts<'_>) -> Result<Flow, Exception> {
    for (at, bytes) in parts {
        cpu.check_store(i.seg, area.wrapping_add(*at), bytes.len() as u64)?;
    }
    for (at, bytes) in parts {
        cpu.store_bytes(i.seg, area.wrapping_add(*at), bytes)?;
    }
    Ok(Flow::Next)
}

/// XRSTOR and XRSTORS. "Operation of XRSTOR", "Operation of XRSTORS".
fn restore(cpu: &mut Cpu, i: &Insn, width: Width, kind: Kind) -> Result<Flow, Exception> {
    let rfbm = requested(cpu, kind)?;
    let area = aligned_operand(cpu, i, u64::from(EXTENDED_AT), 64, false)?;
    let mut header = [0; 64];
    cpu.load_bytes(i.seg, area.wrapping_add(HEADER_AT), &mut header)?;
    let (state, compacted) = check_header(cpu, kind, &header)?;

    let load = rfbm & state;
    let initialize = rfbm & !state;
    let mut image: Legacy = [0; LEGACY_BYTES];
    let mut mxcsr = None;
    if load & X87 != 0 {
        cpu.load_bytes(i.seg, area, &mut image[..MXCSR_AT])?;
        cpu.load_bytes(i.seg, area.wrapping_add(ST_AT as u64), &mut image[ST_AT..XMM_AT])?;
    }
    // The standard form loads MXCSR even when XSTATE_BV says that SSE is in its initial configuration.
    if (if compacted { load } else { rfbm }) & SSE != 0 {
        cpu.load_bytes(i.seg, area.wrapping_add(MXCSR_AT as u64), &mut image[MXCSR_AT..ST_AT])?;
        let value = read32(&image, MXCSR_AT);
        if value & !MXCSR_MASK != 0 {
            return Err(Exception::gp(0));
        }
        mxcsr = Some(value);
    } else if initialize & SSE != 0 {
        mxcsr = Some(MXCSR_INIT);
    }
    let registers = xmm_count(cpu);
    if load & SSE != 0 {
        let end = XMM_AT + 16 * registers;
        cpu.load_bytes(i.seg, area.wrapping_add(XMM_AT as u64), &mut image[XMM_AT..end])?;
    }
    let mut pkru = [0; 4];
    if load & PKRU != 0 {
        let at = if compacted { EXTENDED_AT } else { PKRU_OFFSET };
        cpu.load_bytes(i.seg, area.wrapping_add(u64::from(at)), &mut pkru)?;
    }

    let f = &mut cpu.s.fpu;
    if load & X87 != 0 {
        fxsave::load_x87(f, width, &image);
    } else if initialize & X87 != 0 {
        initialize_x87(f);
    }
    f.mxcsr = mxcsr.unwrap_or(f.mxcsr);
    if load & SSE != 0 {
        fxsave::load_xmm(f, registers, &image);
    } else if initialize & SSE != 0 {
        f.xmm[..registers].fill(0);
    }
    if rfbm & PKRU != 0 {
        set_pkru(cpu, u32::from_le_bytes(pkru));
    }
    Ok(Flow::Next)
}

/// XSTATE_BV, and whether the area is compacted; or #GP(0).
fn check_header(cpu: &Cpu, kind: Kind, header: &[u8; 64]) -> Result<(u64, bool), Exception> {
    let word = |n: usize| header[8 * n..8 * n + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let (state, format) = (word(0), word(1));
    let compacted = format & COMPACTED != 0;
    let enabled = cpu.s.xcr0 | if kind == Kind::Supervisor { cpu.s.msr.xss } else { 0 };
    let bad = if compacted {
        !cpu.model.has(Feature::XSAVEC)
            || format & !COMPACTED & !enabled != 0
            || state & !(format & !COMPACTED) != 0
            || header[16..].iter().any(|b| *b != 0)
    } else {
        kind == Kind::Supervisor || state & !enabled != 0 || format != 0 || word(2) != 0
    };
    if bad { Err(Exception::gp(0)) } else { Ok((state, compacted)) }
}

fn xgetbv(cpu: &mut Cpu) -> Result<Flow, Exception> {
    if cpu.s.cr4 & cr4::OSXSAVE == 0 {
        return Err(Exception::ud());
    }
    let value = match cpu.s.regs[Reg::Rcx as usize] as u32 {
        0 => cpu.s.xcr0,
        1 if cpu.model.has(Feature::XGETBV_1) => cpu.s.xcr0 & in_use(cpu),
        _ => return Err(Exception::gp(0)),
    };
    cpu.s.regs[Reg::Rax as usize] = value & 0xffff_ffff;
    cpu.s.regs[Reg::Rdx as usize] = value >> 32;
    Ok(Flow::Next)
}

fn xsetbv(cpu: &mut Cpu) -> Result<Flow, Exception> {
    if cpu.s.cr4 & cr4::OSXSAVE == 0 {
        return Err(Exception::ud());
    }
    let value = edx_eax(cpu);
    let first = cpu.s.regs[Reg::Rcx as usize] as u32 == 0;
    if cpu.s.cpl != 0 || !first || value & X87 == 0 || value & !cpu.model.xcr0_mask() != 0 {
        return Err(Exception::gp(0));
    }
    cpu.s.xcr0 = value;
    cpu.attention = true;
    Ok(Flow::Next)
}

fn check_pku(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.s.cr4 & cr4::PKE == 0 {
        return Err(Exception::ud());
    }
    if cpu.s.regs[Reg::Rcx as usize] as u32 != 0 {
        return Err(Exception::gp(0));
    }
    Ok(())
}

fn rdpkru(cpu: &mut Cpu) -> Result<Flow, Exception> {
    check_pku(cpu)?;
    cpu.s.regs[Reg::Rax as usize] = u64::from(cpu.s.pkru);
    cpu.s.regs[Reg::Rdx as usize] = 0;
    Ok(Flow::Next)
}

fn wrpkru(cpu: &mut Cpu) -> Result<Flow, Exception> {
    check_pku(cpu)?;
    if cpu.s.regs[Reg::Rdx as usize] as u32 != 0 {
        return Err(Exception::gp(0));
    }
    set_pkru(cpu, cpu.s.regs[Reg::Rax as usize] as u32);
    Ok(Flow::Next)
}

fn set_pkru(cpu: &mut Cpu, value: u32) {
    if cpu.s.pkru != value {
        cpu.s.pkru = value;
        cpu.attention = true;
        cpu.context_changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{execute, long};

    const AREA: u64 = 0x6_0000;
    const XSAVE64: &[u8] = &[0x48, 0x0f, 0xae, 0x20];
    const XSAVEOPT64: &[u8] = &[0x48, 0x0f, 0xae, 0x30];
    const XSAVEC64: &[u8] = &[0x48, 0x0f, 0xc7, 0x20];
    const XSAVES64: &[u8] = &[0x48, 0x0f, 0xc7, 0x28];
    const XRSTOR64: &[u8] = &[0x48, 0x0f, 0xae, 0x28];
    const XRSTORS64: &[u8] = &[0x48, 0x0f, 0xc7, 0x18];
    const GP: Result<Flow, Exception> = Err(Exception::gp(0));
    const DONE: Result<Flow, Exception> = Ok(Flow::Next);

    /// RBX points to the area; all components are asked for and none but SSE and PKRU is in use.
    fn cpu(cpl: u8) -> Cpu {
        let mut cpu = long(cpl);
        cpu.s.cr4 |= cr4::OSXSAVE | cr4::OSFXSR | cr4::PKE;
        cpu.s.xcr0 = 0x203;
        initialize_x87(&mut cpu.s.fpu);
        cpu.s.fpu.xmm[15] = 1 << 100;
        cpu.s.pkru = 0x54;
        mask(&mut cpu, u64::MAX);
        cpu
    }
    fn mask(cpu: &mut Cpu, rfbm: u64) {
        cpu.s.regs[Reg::Rax as usize] = rfbm & 0xffff_ffff;
        cpu.s.regs[Reg::Rdx as usize] = rfbm >> 32;
    }
    /// Runs a form with [RBX] for [RAX].
    fn run(cpu: &mut Cpu, bytes: &[u8]) -> Result<Flow, Exception> {
        let mut bytes = bytes.to_vec();
        if let Some(modrm) = bytes.last_mut() {
            *modrm |= 3;
        }
        if cpu.s.regs[Reg::Rbx as usize] == 0 {
            cpu.s.regs[Reg::Rbx as usize] = AREA;
        }
        execute(cpu, &bytes)
    }
    fn word(cpu: &Cpu, at: u64) -> u64 {
        cpu.ram.load(AREA + at, 8).expect("RAM")
    }

    #[test]
    fn xsave_writes_all_requested_and_merges_xstate_bv() {
        let mut cpu = cpu(3);
        assert!(cpu.ram.store(AREA + 512, 8, 0xff01) && cpu.ram.store(AREA + 520, 8, 0x77));
        mask(&mut cpu, 0x201);
        assert_eq!(run(&mut cpu, XSAVE64), DONE);
        assert_eq!((word(&cpu, 512), word(&cpu, 520)), (0xff00, 0x77));
        assert_eq!((word(&cpu, 0) & 0xffff, word(&cpu, 2688)), (0x37f, 0x54));
        assert_eq!(word(&cpu, 24), 0);
    }
    #[test]
    fn xsaveopt_skips_what_is_not_in_use_but_writes_mxcsr() {
        let mut cpu = cpu(3);
        cpu.s.fpu.xmm[15] = 0;
        assert_eq!(run(&mut cpu, XSAVEOPT64), DONE);
        assert_eq!((word(&cpu, 0), word(&cpu, 24), word(&cpu, 512)), (0, 0xffff_0000_1f80, 0x200));
    }
    #[test]
    fn xsavec_compacts_and_counts_mxcsr_as_sse() {
        let mut cpu = cpu(3);
        cpu.s.fpu.xmm[15] = 0;
        assert!(cpu.ram.store(AREA + 512, 8, u64::MAX));
        assert_eq!(run(&mut cpu, XSAVEC64), DONE);
        assert_eq!((word(&cpu, 512), word(&cpu, 520)), (0x200, COMPACTED | 0x203));
        assert_eq!((word(&cpu, 576), word(&cpu, 24)), (0x54, 0));
        cpu.s.fpu.mxcsr = 0x1f00;
        assert_eq!(run(&mut cpu, XSAVEC64), DONE);
        assert_eq!((word(&cpu, 512), word(&cpu, 24) as u32), (0x202, 0x1f00));
    }
    #[test]
    fn xrstor_restores_what_every_form_saved() {
        for (save, restore) in
            [(XSAVE64, XRSTOR64), (XSAVEOPT64, XRSTOR64), (XSAVEC64, XRSTOR64), (XSAVES64, XRSTORS64)]
        {
            let mut cpu = cpu(0);
            cpu.s.fpu.significand[3] = 5;
            let before = cpu.s.clone();
            assert_eq!(run(&mut cpu, save), DONE);
            cpu.s.fpu = Fpu { mxcsr: 0x1fff, ..Fpu::default() };
            cpu.s.pkru = 8;
            assert_eq!(run(&mut cpu, restore), DONE);
            assert_eq!((&cpu.s.fpu, cpu.s.pkru), (&before.fpu, before.pkru), "{save:x?}");
        }
    }
    #[test]
    fn xrstor_of_absent_component_initializes_it() {
        let mut cpu = cpu(0);
        assert!(cpu.ram.store(AREA + 24, 4, 0x1f81));
        assert_eq!(run(&mut cpu, XRSTOR64), DONE);
        assert_eq!((cpu.s.fpu.xmm[15], cpu.s.pkru, cpu.s.fpu.mxcsr), (0, 0, 0x1f81));
        assert!(cpu.ram.store(AREA + 520, 8, COMPACTED | 3));
        assert_eq!(run(&mut cpu, XRSTOR64), DONE);
        assert_eq!(cpu.s.fpu.mxcsr, MXCSR_INIT);
    }
    #[test]
    fn xrstor_bad_header_faults() {
        // XSTATE_BV, XCOMP_BV, next word, last word.
        let cases = [
            ([4, 0, 0, 0], true),
            ([0, 1, 0, 0], true),
            ([0, 0, 1, 0], true),
            ([0, 0, 0, 1], false),
            ([0, COMPACTED | 4, 0, 0], true),
            ([2, COMPACTED | 1, 0, 0], true),
            ([0, COMPACTED | 3, 0, 1], true),
            ([1, COMPACTED | 3, 0, 0], false),
        ];
        for (header, faults) in cases {
            let mut cpu = cpu(0);
            for (at, value) in [512, 520, 528, 568].into_iter().zip(header) {
                assert!(cpu.ram.store(AREA + at, 8, value));
            }
            assert_eq!(run(&mut cpu, XRSTOR64), if faults { GP } else { DONE }, "{header:x?}");
        }
        assert_eq!(run(&mut cpu(0), XRSTORS64), GP);
    }
    #[test]
    fn xsave_faults_by_priority() {
        let mut cpu = cpu(3);
        assert_eq!(run(&mut cpu, XSAVES64), GP);
        cpu.s.regs[Reg::Rbx as usize] = AREA + 32;
        assert_eq!(run(&mut cpu, XSAVE64), GP);
        cpu.s.cr0 |= cr0::TS;
        assert_eq!(run(&mut cpu, XSAVE64), Err(Exception::nm()));
        cpu.s.cr4 &= !cr4::OSXSAVE;
        assert_eq!(run(&mut cpu, XSAVE64), Err(Exception::ud()));
    }
    #[test]
    fn xsetbv_reserved_bits_fault() {
        let mut cpu = cpu(0);
        for (value, faults) in [(3, false), (0x203, false), (1, false), (2, true), (7, true), (1 | 1 << 63, true)] {
            mask(&mut cpu, value);
            assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xd1]), if faults { GP } else { DONE }, "{value:x}");
        }
        assert_eq!(cpu.s.xcr0, 1);
        cpu.s.regs[Reg::Rcx as usize] = 1;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xd1]), GP);
        cpu.s.xcr0 = 0x203;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xd0]), DONE);
        assert_eq!(cpu.s.regs[Reg::Rax as usize], 0x202);
    }
    #[test]
    fn wrpkru_asks_for_zeroes() {
        let mut cpu = cpu(3);
        mask(&mut cpu, 0x1234);
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xef]), DONE);
        assert_eq!(cpu.s.pkru, 0x1234);
        mask(&mut cpu, 1 << 32);
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xef]), GP);
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xee]), DONE);
        assert_eq!((cpu.s.regs[Reg::Rax as usize], cpu.s.regs[Reg::Rdx as usize]), (0x1234, 0));
        cpu.s.cr4 &= !cr4::PKE;
        assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xee]), Err(Exception::ud()));
    }
}
