//! Task switches. SDM volume 3, "Task Switching", whose steps are marked; "Exception Conditions Checked During a Task Switch".

use super::descriptor::{Descriptor, in_ldt, is_null, rpl, selector_code};
use crate::events::{Event, Exception, dr6, dr7, flags_image};
use crate::mmu::{PHYS_BITS, Privilege};
use crate::state::Segment;
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg, Size};
use undercroft_spec::x86::control::{cr0, cr4, rflags};
use undercroft_spec::x86::descriptor::{system_type as ty, tss16, tss32};
use undercroft_spec::{LinearAddr, PhysAddr};
use undercroft_walk::AccessKind;

/// What asks for the switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// JMP: the old task is over.
    Jmp,
    /// CALL, an exception or an interrupt: the new task is nested in the old one.
    Call,
    /// IRET from a nested task.
    Iret,
}

/// Flags that exist.
const FLAGS: u64 = 0x3f_7fd5;

/// A TSS by its format.
#[derive(Clone, Copy)]
struct Layout {
    /// Offset of (E)IP; flags and the eight general registers follow.
    ip: u64,
    /// Width of its fields.
    size: Size,
    /// Offset of the segment selectors, and how many there are.
    selectors: u64,
    count: usize,
    ldt: u64,
    min_limit: u32,
}

impl Layout {
    const BITS32: Layout = Layout {
        ip: tss32::EIP,
        size: Size::B4,
        selectors: tss32::ES,
        count: 6,
        ldt: tss32::LDT,
        min_limit: tss32::MIN_LIMIT,
    };
    const BITS16: Layout = Layout {
        ip: tss16::IP,
        size: Size::B2,
        selectors: tss16::ES,
        count: 4,
        ldt: tss16::LDT,
        min_limit: tss16::MIN_LIMIT,
    };
    fn of(kind: u8) -> Layout {
        if matches!(kind, ty::TSS_AVAILABLE | ty::TSS_BUSY) { Layout::BITS32 } else { Layout::BITS16 }
    }
    /// Bytes from (E)IP to the last selector.
    fn dynamic_len(&self) -> u64 {
        self.selectors + self.count as u64 * self.size.bytes() - self.ip
    }
}

/// A task's registers as a TSS holds them.
struct Image {
    ip: u64,
    flags: u64,
    regs: [u64; 8],
    selectors: [u16; 6],
    ldt: u16,
    cr3: Option<u64>,
    trap: bool,
}

/// Delivery of an event through a task gate that names the TSS `selector`. Errors come without EXT.
pub(crate) fn through_interrupt_gate(cpu: &mut Cpu, selector: u16, event: &Event) -> Result<(), Exception> {
    let wrong = Exception::gp(selector_code(selector));
    if in_ldt(selector) {
        return Err(wrong);
    }
    let tss = cpu.read_descriptor(selector, wrong)?;
    if !tss.is_available_tss() {
        return Err(wrong);
    }
    if !tss.is_present() {
        return Err(Exception::np(selector_code(selector)));
    }
    let flags = flags_image(cpu, event);
    switch_saving(cpu, tss, Cause::Call, event.return_rip, flags)?;
    if let Some(error) = event.error_code {
        cpu.push_values(Layout::of(tss.kind()).size, &[u64::from(error)])?;
    }
    check_ip(cpu)
}

/// Switches by an instruction. `next` is the RIP at which the old task will go on. The descriptor was checked to be available (or busy, for IRET)
/// and present.
pub(super) fn switch(cpu: &mut Cpu, tss: Descriptor, cause: Cause, next: u64) -> Result<(), Exception> {
    let flags = cpu.s.flags.get() & !rflags::RF;
    switch_saving(cpu, tss, cause, next, flags)?;
    check_ip(cpu)
}

/// The first thing that can go wrong in the new task once all its segments are loaded.
fn check_ip(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.s.rip > u64::from(cpu.s.segment(Seg::Cs).limit) { Err(Exception::gp(0)) } else { Ok(()) }
}

fn switch_saving(cpu: &mut Cpu, mut tss: Descriptor, cause: Cause, next: u64, old_flags: u64) -> Result<(), Exception> {
    let new = Layout::of(tss.kind());
    let old = Layout::of(cpu.s.tr.kind());
    let old_tr = cpu.s.tr;
    let segment = tss.segment();
    // Step 3: limits, of the old TSS too, which is about to be written.
    if segment.limit < new.min_limit {
        return Err(Exception::ts(selector_code(tss.selector)));
    }
    if old_tr.limit < old.min_limit {
        return Err(Exception::ts(selector_code(old_tr.selector)));
    }
    // Step 5: all that will be read and written is there.
    let old_descriptor = busy_byte(cpu, old_tr.selector);
    for (at, len, kind) in [
        (old_tr.base.wrapping_add(old.ip), old.dynamic_len(), AccessKind::Write),
        (segment.base, u64::from(new.min_limit) + 1, AccessKind::Read),
        (old_descriptor.get(), 1, AccessKind::Write),
    ] {
        probe(cpu, at, len, kind)?;
    }
    if cause == Cause::Call {
        probe(cpu, segment.base, 2, AccessKind::Write)?;
    }
    if cause != Cause::Iret {
        // Step 10 here, since it is the last that can fault in the old task.
        cpu.set_busy(&mut tss)?;
    }
    // Step 6: the old task is no longer busy.
    if cause != Cause::Call {
        let byte = cpu.load_linear(old_descriptor, 1, Privilege::Implicit)?;
        cpu.store_linear(old_descriptor, 1, byte & !u64::from(ty::BUSY), Privilege::Implicit)?;
    }
    // Steps 7 and 8.
    let leaving = if cause == Cause::Iret { old_flags & !rflags::NT } else { old_flags };
    save(cpu, &old, next, leaving)?;
    if cause == Cause::Call {
        let link = cpu.in_address_space(LinearAddr(segment.base));
        cpu.store_linear(link, 2, u64::from(old_tr.selector), Privilege::Implicit)?;
    }
    let mut image = read(cpu, segment.base, &new)?;
    // Step 9.
    if cause == Cause::Call {
        image.flags |= rflags::NT;
    }
    // Step 11.
    cpu.s.tr = tss.segment();
    // Steps 12 and 13: faults are the new task's.
    enter(cpu, &image)
}

/// Where the type byte of a TSS descriptor in the GDT lies.
fn busy_byte(cpu: &Cpu, selector: u16) -> LinearAddr {
    cpu.in_address_space(LinearAddr(cpu.s.gdtr.base.wrapping_add(u64::from(selector & !7) + 5)))
}

fn probe(cpu: &mut Cpu, at: u64, len: u64, kind: AccessKind) -> Result<(), Exception> {
    let at = cpu.in_address_space(LinearAddr(at));
    cpu.translate_range(at, len, kind, Privilege::Implicit).map(|_| ())
}

/// Writes the dynamic fields of the current TSS.
fn save(cpu: &mut Cpu, layout: &Layout, ip: u64, flags: u64) -> Result<(), Exception> {
    let mut bytes = [0; 64];
    let len = layout.dynamic_len() as usize;
    let at = cpu.in_address_space(LinearAddr(cpu.s.tr.base.wrapping_add(layout.ip)));
    // Upper halves of selectors' places stay as they are.
    cpu.load_linear_bytes(at, &mut bytes[..len], Privilege::Implicit)?;
    let width = layout.size.bytes() as usize;
    let mut values = [0; 10];
    values[0] = ip;
    values[1] = flags;
    values[2..].copy_from_slice(&cpu.s.regs[..8]);
    for (place, value) in bytes.chunks_exact_mut(width).zip(values) {
        place.copy_from_slice(&value.to_le_bytes()[..width]);
    }
    for (place, segment) in bytes[10 * width..len].chunks_exact_mut(width).zip(cpu.s.segments) {
        place[..2].copy_from_slice(&segment.selector.to_le_bytes());
    }
    cpu.store_linear_bytes(at, &bytes[..len], Privilege::Implicit)
}

/// Reads the new task's registers.
fn read(cpu: &mut Cpu, base: u64, layout: &Layout) -> Result<Image, Exception> {
    let mut bytes = [0; 104];
    let len = layout.min_limit as usize + 1;
    let at = cpu.in_address_space(LinearAddr(base));
    cpu.load_linear_bytes(at, &mut bytes[..len], Privilege::Implicit)?;
    let width = layout.size.bytes();
    let field = |offset: u64, width: u64| {
        let part = &bytes[offset as usize..(offset + width) as usize];
        part.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))
    };
    let mut regs = [0; 8];
    for (n, reg) in regs.iter_mut().enumerate() {
        let value = field(layout.ip + (2 + n as u64) * width, width);
        // A 16-bit TSS leaves the upper halves undefined: ones.
        *reg = if width == 2 { 0xffff_0000 | value } else { value };
    }
    let mut selectors = [0; 6];
    for (n, selector) in selectors.iter_mut().take(layout.count).enumerate() {
        *selector = field(layout.selectors + n as u64 * width, 2) as u16;
    }
    let wide = layout.size == Size::B4;
    Ok(Image {
        ip: field(layout.ip, width),
        flags: field(layout.ip + width, width) & FLAGS,
        regs,
        selectors,
        ldt: field(layout.ldt, 2) as u16,
        cr3: if wide { Some(field(tss32::CR3, 4)) } else { None },
        trap: wide && bytes[tss32::T as usize] & 1 != 0,
    })
}

/// Steps 12 and 13: makes the image the processor's state, then loads and checks what the selectors name.
fn enter(cpu: &mut Cpu, image: &Image) -> Result<(), Exception> {
    cpu.s.cr0 |= cr0::TS;
    cpu.s.dr7 &= !dr7::LOCAL;
    cpu.s.rip = image.ip;
    cpu.s.flags.set(image.flags);
    cpu.s.regs[..8].copy_from_slice(&image.regs);
    if image.trap {
        cpu.s.pending_debug |= dr6::BT;
    }
    // Until its descriptor is loaded a segment register holds its selector only.
    for (seg, selector) in Seg::ALL.into_iter().zip(image.selectors) {
        cpu.s.set_segment(seg, Segment::null(selector));
    }
    cpu.s.ldtr = Segment::null(image.ldt);
    let v8086 = image.flags & rflags::VM != 0;
    cpu.s.cpl = if v8086 { 3 } else { rpl(image.selectors[Seg::Cs as usize]) };
    cpu.attention = true;
    cpu.context_changed();
    if let Some(cr3) = image.cr3
        && cpu.s.cr0 & cr0::PG != 0
    {
        if cpu.s.cr4 & cr4::PAE != 0 {
            cpu.s.pdpte = read_pdptes(cpu, cr3)?;
        }
        cpu.s.cr3 = cr3;
        cpu.context_changed();
    }
    load_ldt(cpu, image.ldt)?;
    if v8086 {
        for (seg, selector) in Seg::ALL.into_iter().zip(image.selectors) {
            let segment = cpu.real_mode_segment(seg, selector);
            cpu.s.set_segment(seg, segment);
        }
        return Ok(());
    }
    load_code(cpu, image.selectors[Seg::Cs as usize])?;
    load_stack(cpu, image.selectors[Seg::Ss as usize])?;
    for seg in [Seg::Ds, Seg::Es, Seg::Fs, Seg::Gs] {
        let segment = cpu.data_segment(image.selectors[seg as usize], Exception::ts)?;
        cpu.s.set_segment(seg, segment);
    }
    Ok(())
}

/// The four page-directory-pointer-table entries at CR3. `#GP(0)` if a present one has a reserved bit set.
pub(super) fn read_pdptes(cpu: &mut Cpu, cr3: u64) -> Result<[u64; 4], Exception> {
    let reserved = 0x1e6 | !((1 << PHYS_BITS) - 1);
    let mut entries = [0; 4];
    for (n, entry) in entries.iter_mut().enumerate() {
        *entry = cpu.phys_read(PhysAddr((cr3 & 0xffff_ffe0) + 8 * n as u64), 8);
        if *entry & 1 != 0 && *entry & reserved != 0 {
            return Err(Exception::gp(0));
        }
    }
    Ok(entries)
}

fn load_ldt(cpu: &mut Cpu, selector: u16) -> Result<(), Exception> {
    if is_null(selector) {
        return Ok(());
    }
    let wrong = Exception::ts(selector_code(selector));
    if in_ldt(selector) {
        return Err(wrong);
    }
    let d = cpu.read_descriptor(selector, wrong)?;
    if d.system_kind() != Some(ty::LDT) || !d.is_present() {
        return Err(wrong);
    }
    cpu.s.ldtr = d.segment();
    Ok(())
}

fn load_code(cpu: &mut Cpu, selector: u16) -> Result<(), Exception> {
    let wrong = Exception::ts(selector_code(selector));
    if is_null(selector) {
        return Err(wrong);
    }
    let mut d = cpu.read_descriptor(selector, wrong)?;
    let level = rpl(selector);
    let level_fits = if d.is_conforming() { d.dpl() <= level } else { d.dpl() == level };
    if !d.is_code() || !level_fits {
        return Err(wrong);
    }
    if !d.is_present() {
        return Err(Exception::np(selector_code(selector)));
    }
    cpu.set_accessed(&mut d)?;
    cpu.s.set_segment(Seg::Cs, d.segment());
    Ok(())
}

fn load_stack(cpu: &mut Cpu, selector: u16) -> Result<(), Exception> {
    let wrong = Exception::ts(selector_code(selector));
    if is_null(selector) {
        return Err(wrong);
    }
    let ss = cpu.stack_segment_for(selector, cpu.s.cpl, wrong, Exception::ss(selector_code(selector)))?;
    cpu.s.set_segment(Seg::Ss, ss);
    cpu.s.regs[Reg::Rsp as usize] &= 0xffff_ffff;
    Ok(())
}
