//! Segment descriptors, the 64-bit TSS and the IDT, one set for each processor.
//! Intel SDM volume 3, "Protected-Mode Memory Management" and "Task Management in 64-bit Mode".

use core::arch::asm;
use core::cell::UnsafeCell;

/// 64-bit code, privilege level 0.
pub const CODE64: u16 = 0x08;
/// Flat data, privilege level 0.
pub const DATA: u16 = 0x10;
/// 32-bit flat code, privilege level 0.
pub const CODE32: u16 = 0x18;
/// 32-bit flat code, privilege level 3.
pub const USER_CODE32: u16 = 0x23;
/// Flat data, privilege level 3.
pub const USER_DATA: u16 = 0x2B;
/// 64-bit code, privilege level 3.
pub const USER_CODE64: u16 = 0x33;
/// 16-bit code, privilege level 0, base 0.
pub const CODE16: u16 = 0x38;
/// 16-bit data, privilege level 0, base 0.
pub const DATA16: u16 = 0x40;
/// The 64-bit TSS.
pub const TSS: u16 = 0x48;
/// First of the descriptors that belong to tests; they go up to [`GDT_ENTRIES`].
pub const TEST_SLOT: u16 = 0x60;
/// Descriptors in a GDT.
pub const GDT_ENTRIES: usize = 64;
/// Processors the runtime has room for.
pub const MAX_PROCESSORS: usize = 16;

/// Stack that IST 1 (#DF) names; IST 2 is NMI's and IST 3 is #MC's.
const IST_STACK: usize = 8 * 1024;

/// A 64-bit TSS.
#[repr(C, packed(4))]
pub struct Tss64 {
    reserved_0: u32,
    /// RSP0 to RSP2.
    pub rsp: [u64; 3],
    reserved_1: u64,
    /// IST1 to IST7.
    pub ist: [u64; 7],
    reserved_2: u64,
    reserved_3: u16,
    /// Offset of the I/O permission bitmap.
    pub io_map_base: u16,
    /// The bitmap, with its closing byte of ones.
    pub io_map: [u8; 8193],
}

/// What each processor has of its own.
#[repr(C, align(4096))]
pub struct Processor {
    /// Must be first: SGDT finds the structure.
    pub gdt: [u64; GDT_ENTRIES],
    /// Its number: 0 is the boot processor.
    pub index: u32,
    /// Stack pointer to recover to, 0 if no recovery is armed; see `exceptions`.
    pub recovery_rsp: u64,
    /// CR0 at that point.
    pub recovery_cr0: u64,
    /// CR4 at that point.
    pub recovery_cr4: u64,
    /// The fault that ended the last `catch`.
    pub fault: crate::exceptions::Fault,
    /// Its TSS.
    pub tss: Tss64,
    stacks: [[u8; IST_STACK]; 4],
}

/// A cell that is shared between the processors, or between a test and its handlers, with care instead of locks.
pub struct Shared<T>(pub UnsafeCell<T>);
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// A cell with a value.
    pub const fn new(value: T) -> Self {
        Shared(UnsafeCell::new(value))
    }

    /// Its contents.
    pub fn get(&self) -> *mut T {
        self.0.get()
    }
}

// SAFETY: all-zero is a valid value of each field.
static PROCESSORS: Shared<[core::mem::MaybeUninit<Processor>; MAX_PROCESSORS]> =
    Shared::new([const { core::mem::MaybeUninit::zeroed() }; MAX_PROCESSORS]);

/// A gate of the 64-bit IDT.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Gate64 {
    /// Low half: offset 15:0, selector, IST, type, offset 31:16.
    pub low: u64,
    /// High half: offset 63:32.
    pub high: u64,
}

impl Gate64 {
    /// A gate of a type (14 interrupt, 15 trap, 12 call), privilege level and interrupt stack.
    pub const fn new(offset: u64, selector: u16, ist: u8, kind: u8, dpl: u8) -> Self {
        let access = 0x80 | (dpl as u64) << 5 | kind as u64;
        Gate64 {
            low: offset & 0xFFFF
                | (selector as u64) << 16
                | (ist as u64) << 32
                | access << 40
                | (offset >> 16 & 0xFFFF) << 48,
            high: offset >> 32,
        }
    }
}

/// The IDT, shared by all processors.
#[repr(C, align(4096))]
pub struct Idt(pub [Gate64; 256]);
static IDT: Shared<Idt> = Shared::new(Idt([Gate64 { low: 0, high: 0 }; 256]));

/// The IDT's gates.
pub fn idt() -> &'static mut [Gate64; 256] {
    unsafe { &mut (*IDT.get()).0 }
}

/// What LGDT and LIDT read, and SGDT and SIDT write, in 64-bit mode.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TablePointer {
    /// Limit in bytes, less one.
    pub limit: u16,
    /// Linear address.
    pub base: u64,
}

/// GDTR.
pub fn sgdt() -> TablePointer {
    let mut p = TablePointer::default();
    unsafe { asm!("sgdt [{}]", in(reg) &raw mut p, options(nostack, preserves_flags)) };
    p
}

/// IDTR.
pub fn sidt() -> TablePointer {
    let mut p = TablePointer::default();
    unsafe { asm!("sidt [{}]", in(reg) &raw mut p, options(nostack, preserves_flags)) };
    p
}

/// Loads GDTR.
pub unsafe fn lgdt(p: &TablePointer) {
    asm!("lgdt [{}]", in(reg) p, options(nostack, preserves_flags));
}

/// Loads IDTR.
pub unsafe fn lidt(p: &TablePointer) {
    asm!("lidt [{}]", in(reg) p, options(nostack, preserves_flags));
}

/// The structure of a processor by its number.
pub fn processor(index: usize) -> &'static mut Processor {
    unsafe { (*PROCESSORS.get())[index].assume_init_mut() }
}

/// The structure of the processor that runs this, found by GDTR.
pub fn this_processor() -> &'static mut Processor {
    unsafe { &mut *(sgdt().base as *mut Processor) }
}

/// The running processor's GDT, whose entries from [`TEST_SLOT`] on belong to tests.
pub fn gdt() -> &'static mut [u64; GDT_ENTRIES] {
    &mut this_processor().gdt
}

/// A segment descriptor from its fields; `access` is byte 5, `flags` the nibble G, D/B, L, AVL.
pub const fn segment(base: u32, limit: u32, access: u8, flags: u8) -> u64 {
    (limit & 0xFFFF) as u64
        | (base as u64 & 0xFF_FFFF) << 16
        | (access as u64) << 40
        | (limit as u64 >> 16 & 0xF) << 48
        | (flags as u64 & 0xF) << 52
        | (base as u64 >> 24) << 56
}

/// Loads the task register with the 64-bit TSS again, whatever state its descriptor is in.
pub unsafe fn load_task_register() {
    gdt()[TSS as usize / 8] &= !(1 << 41);
    asm!("ltr {:x}", in(reg) TSS, options(nostack, preserves_flags));
}

/// Builds a processor's tables and loads them.
pub(crate) unsafe fn init_processor(index: usize) {
    let p = processor(index);
    p.index = index as u32;
    p.gdt[1] = segment(0, 0xF_FFFF, 0x9B, 0xA);
    p.gdt[2] = segment(0, 0xF_FFFF, 0x93, 0xC);
    p.gdt[3] = segment(0, 0xF_FFFF, 0x9B, 0xC);
    p.gdt[4] = segment(0, 0xF_FFFF, 0xFB, 0xC);
    p.gdt[5] = segment(0, 0xF_FFFF, 0xF3, 0xC);
    p.gdt[6] = segment(0, 0xF_FFFF, 0xFB, 0xA);
    p.gdt[7] = segment(0, 0xFFFF, 0x9B, 0x0);
    p.gdt[8] = segment(0, 0xFFFF, 0x93, 0x0);
    let tss = &raw mut p.tss as u64;
    p.gdt[9] = segment(tss as u32, size_of::<Tss64>() as u32 - 1, 0x89, 0);
    p.gdt[10] = tss >> 32;
    let top = |i: usize| (&raw const p.stacks[i] as u64 + IST_STACK as u64) & !15;
    p.tss.rsp[0] = top(0);
    p.tss.ist = [top(1), top(2), top(3), 0, 0, 0, 0];
    p.tss.io_map_base = core::mem::offset_of!(Tss64, io_map) as u16;
    p.tss.io_map = [0xFF; 8193];
    lgdt(&TablePointer { limit: (GDT_ENTRIES * 8 - 1) as u16, base: &raw const p.gdt as u64 });
    load_segments();
    load_task_register();
    lidt(&TablePointer { limit: 256 * 16 - 1, base: IDT.get() as u64 });
}

/// Loads the segment registers with the runtime's selectors.
pub unsafe fn load_segments() {
    asm!(
        "push {code}",
        "lea {t}, [rip + 2f]",
        "push {t}",
        "retfq",
        "2: mov ss, {data:x}",
        "mov ds, {data:x}",
        "mov es, {data:x}",
        "xor {t:e}, {t:e}",
        "mov fs, {t:x}",
        "mov gs, {t:x}",
        "lldt {t:x}",
        t = out(reg) _,
        code = const CODE64,
        data = in(reg) DATA,
    );
}
