//! Excursions to protected mode without IA-32e (with or without paging), to virtual-8086 mode and to real-address mode: like
//! [`crate::context::run`], each runs from a given state until the next exception or interrupt and reports all there is.
//!
//! Intel SDM volume 3, "Switching Out of IA-32e Mode Operation", "Mode Switching".

use crate::descriptors::{CODE32, DATA, GDT_ENTRIES, Shared, gdt, load_task_register};
use crate::exceptions::DONE;
use core::arch::global_asm;
use core::mem::offset_of;

/// The state to start from, in 32-bit protected mode or, with EFLAGS.VM, in virtual-8086 mode.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct State32 {
    /// EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI.
    pub regs: [u32; 8],
    /// EIP.
    pub eip: u32,
    /// CS.
    pub cs: u32,
    /// EFLAGS.
    pub eflags: u32,
    /// SS.
    pub ss: u32,
    /// DS.
    pub ds: u32,
    /// ES.
    pub es: u32,
    /// FS.
    pub fs: u32,
    /// GS.
    pub gs: u32,
    /// CR0.
    pub cr0: u32,
    /// CR3.
    pub cr3: u32,
    /// CR4.
    pub cr4: u32,
    /// LDTR's selector, 0 for none.
    pub ldtr: u32,
    /// TR's selector, 0 to leave the register alone.
    pub tr: u32,
}

/// What the processor was in when the event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event32 {
    /// The stack at the stub's end: GS, FS, ES, DS, EDI to EAX (PUSHAD), vector, then what the processor pushed.
    pub stack: [u32; 24],
    /// SS in the handler.
    pub handler_ss: u32,
    /// ESP in the handler, at `stack[0]`.
    pub handler_esp: u32,
    /// CR0.
    pub cr0: u32,
    /// CR2.
    pub cr2: u32,
    /// CR3.
    pub cr3: u32,
    /// CR4.
    pub cr4: u32,
    /// DR6.
    pub dr6: u32,
    /// TR.
    pub tr: u32,
    /// LDTR.
    pub ldtr: u32,
    /// EFLAGS in the handler.
    pub handler_eflags: u32,
}

impl Event32 {
    /// Vector.
    pub fn vector(&self) -> u8 {
        self.stack[12] as u8
    }
    fn has_error(&self) -> bool {
        matches!(self.vector(), 8 | 10..=14 | 17 | 21)
    }
    /// Error code, 0 for vectors without one.
    pub fn error(&self) -> u32 {
        if self.has_error() { self.stack[13] } else { 0 }
    }
    /// A doubleword of what the processor pushed, after the error code: EIP, CS, EFLAGS, then ESP, SS, and ES, DS, FS, GS from
    /// virtual-8086 mode.
    pub fn pushed(&self, index: usize) -> u32 {
        self.stack[13 + self.has_error() as usize + index]
    }
    /// EIP.
    pub fn eip(&self) -> u32 {
        self.pushed(0)
    }
    /// CS.
    pub fn cs(&self) -> u16 {
        self.pushed(1) as u16
    }
    /// EFLAGS.
    pub fn eflags(&self) -> u32 {
        self.pushed(2)
    }
    /// A general register in encoding order (ESP is the handler's).
    pub fn reg(&self, index: usize) -> u32 {
        self.stack[11 - index]
    }
    /// DS, ES, FS, GS as the handler found them, by the manual's segment numbers 3, 0, 4, 5.
    pub fn segment(&self, number: usize) -> u16 {
        self.stack[match number {
            0 => 2,
            3 => 3,
            4 => 1,
            5 => 0,
            _ => panic!("CS and SS are not in the frame"),
        }] as u16
    }
    /// Bytes between the handler's stack pointer at entry and the given one.
    pub fn handler_esp_at_entry(&self) -> u32 {
        self.handler_esp.wrapping_add(13 * 4)
    }
}

/// The tables of the excursion. A test changes them before it runs.
#[repr(C, align(4096))]
pub struct Tables32 {
    /// GDT: begins with the runtime's entries.
    pub gdt: [u64; GDT_ENTRIES],
    /// IDT of 8-byte gates.
    pub idt: [u64; 256],
    /// Room for an LDT.
    pub ldt: [u64; 16],
    /// Room for 32-bit task state segments, with I/O maps.
    pub tss: [[u32; 64]; TASKS],
    /// Stacks: levels 0 to 3.
    pub stacks: [[u32; 256]; 4],
}

static TABLES: Shared<Tables32> = Shared::new(Tables32 {
    gdt: [0; GDT_ENTRIES],
    idt: [0; 256],
    ldt: [0; 16],
    tss: [[0; 64]; TASKS],
    stacks: [[0; 256]; 4],
});

/// First GDT slot for the LDT descriptor, the TSS descriptors and what else a test needs.
pub const TEST32: u16 = crate::descriptors::TEST_SLOT;
/// Task state segments in [`Tables32`].
pub const TASKS: usize = 6;
/// Selector of the TSS descriptor `n` (below [`TASKS`]) that [`tables`] sets up.
pub const fn tss_selector(n: u16) -> u16 {
    TEST32 + n * 8
}
/// Selector of the LDT's descriptor.
pub const LDT32: u16 = TEST32 + TASKS as u16 * 8;
/// First selector of the GDT that [`tables`] leaves empty.
pub const FREE32: u16 = LDT32 + 8;

/// A gate of the 32-bit IDT or a call gate: type 5 task, 12 call, 14 interrupt, 15 trap (4, 6, 7 for 16-bit ones).
pub const fn gate32(offset: u32, selector: u16, kind: u8, dpl: u8, parameters: u8) -> u64 {
    (offset & 0xFFFF) as u64
        | (selector as u64) << 16
        | (parameters as u64) << 32
        | (0x80 | (dpl as u64) << 5 | kind as u64) << 40
        | (offset as u64 >> 16) << 48
}

/// The tables in their usual state: flat segments, TSS 0 with SS0:ESP0 set, every vector to its stub.
pub fn tables() -> &'static mut Tables32 {
    let t = unsafe { &mut *TABLES.get() };
    t.gdt = [0; GDT_ENTRIES];
    t.gdt[..9].copy_from_slice(&gdt()[..9]);
    t.tss = [[0; 64]; TASKS];
    t.ldt = [0; 16];
    for n in 0..TASKS {
        let base = &raw const t.tss[n] as u32;
        t.gdt[TEST32 as usize / 8 + n] = crate::descriptors::segment(base, 0x67, 0x89, 0);
        for level in 0..3 {
            t.tss[n][1 + level * 2] = stack32(level);
            t.tss[n][2 + level * 2] = DATA as u32;
        }
        t.tss[n][25] = 0x68 << 16;
    }
    t.gdt[LDT32 as usize / 8] = crate::descriptors::segment(&raw const t.ldt as u32, 127, 0x82, 0);
    for v in 0..256usize {
        let dpl = if matches!(v as u8, 3 | 4 | DONE) { 3 } else { 0 };
        t.idt[v] = gate32(stub32(v as u8), CODE32, 14, dpl, 0);
    }
    t
}

/// Top of the 32-bit stack of a privilege level.
pub fn stack32(level: usize) -> u32 {
    unsafe { &raw const (*TABLES.get()).stacks[level] as u32 + 1024 - 64 }
}

impl State32 {
    /// 32-bit code at level 0, paging off.
    pub fn flat(code: extern "C" fn()) -> Self {
        let mut s = State32 {
            regs: [0; 8],
            eip: code as usize as u32,
            cs: CODE32 as u32,
            eflags: 2,
            ss: DATA as u32,
            ds: DATA as u32,
            es: DATA as u32,
            fs: 0,
            gs: 0,
            cr0: 0x33,
            cr3: 0,
            cr4: 0x600,
            ldtr: 0,
            tr: tss_selector(0) as u32,
        };
        s.regs[4] = stack32(0);
        s
    }

    /// 32-bit code at level 3, paging off.
    pub fn user(code: extern "C" fn()) -> Self {
        let mut s = Self::flat(code);
        s.cs = crate::descriptors::USER_CODE32 as u32;
        s.ss = crate::descriptors::USER_DATA as u32;
        s.ds = s.ss;
        s.es = s.ss;
        s.regs[4] = stack32(3);
        s
    }

    /// Virtual-8086 mode at `cs:ip`, all other segments `data`, IOPL as given.
    pub fn virtual_8086(cs: u16, ip: u16, data: u16, iopl: u32) -> Self {
        let mut s = Self::flat(nothing);
        s.cs = cs as u32;
        s.eip = ip as u32;
        (s.ss, s.ds, s.es, s.fs, s.gs) = (data as u32, data as u32, data as u32, data as u32, data as u32);
        s.eflags = 1 << 17 | iopl << 12 | 2;
        s.regs[4] = 0xFFE0;
        s
    }

    /// The same with a register set.
    pub fn with(mut self, register: usize, value: u32) -> Self {
        self.regs[register] = value;
        self
    }
}

extern "C" fn nothing() {}

/// What the assembly works on.
#[repr(C)]
struct Excursion {
    state: State32,
    event: Event32,
    /// What IRETD pops when it goes to an outer level: EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS.
    frame: [u32; 9],
    /// Whether that frame is used, instead of one on the target's own stack.
    outer: u32,
    gdtr: [u16; 3],
    idtr: [u16; 3],
    long_rsp: u64,
    long_cr0: u64,
    long_cr3: u64,
    long_cr4: u64,
    long_gdtr: [u16; 5],
    long_idtr: [u16; 5],
    /// Scratch for real mode's linear IDTR.
    unused: u32,
}

#[unsafe(no_mangle)]
static mut legacy_excursion: Excursion = unsafe { core::mem::zeroed() };

global_asm!(
    ".section .text.legacy, \"ax\"",
    ".global legacy_enter32, legacy_enter_real, legacy_stubs32, legacy_back32, legacy_set_paging",
    // ---- 64-bit: save, drop to compatibility mode -------------------------------------------------------
    "legacy_enter_real:",
    "    lea rax, [rip + legacy_compat_real]",
    "    jmp 2f",
    "legacy_set_paging:",
    "    lea rax, [rip + legacy_compat_paging]",
    "    jmp 2f",
    "legacy_enter32:",
    "    lea rax, [rip + legacy_compat32]",
    "2:  pushfq",
    "    push rbp",
    "    push rbx",
    "    push r12",
    "    push r13",
    "    push r14",
    "    push r15",
    "    mov [legacy_excursion + {long_rsp}], rsp",
    "    mov rcx, cr0",
    "    mov [legacy_excursion + {long_cr0}], rcx",
    "    mov rcx, cr3",
    "    mov [legacy_excursion + {long_cr3}], rcx",
    "    mov rcx, cr4",
    "    mov [legacy_excursion + {long_cr4}], rcx",
    "    sgdt [legacy_excursion + {long_gdtr}]",
    "    sidt [legacy_excursion + {long_idtr}]",
    "    push 0x18",
    "    push rax",
    "    retfq",
    ".code32",
    // ---- leave IA-32e mode: paging off, LME off -----------------------------------------------------------
    "legacy_leave_long:",
    "    mov ecx, 0x10",
    "    mov ds, ecx",
    "    mov es, ecx",
    "    mov ss, ecx",
    "    mov ebx, [esp]", // the return address: the stack is the 64-bit one, in the low 4 GiB
    "    mov ecx, cr0",
    "    and ecx, 0x7FFFFFFF",
    "    mov cr0, ecx",
    "    mov ecx, 0xC0000080",
    "    rdmsr",
    "    and eax, 0xFFFFFEFF",
    "    wrmsr",
    "    jmp ebx",
    // ---- 32-bit protected mode -----------------------------------------------------------------------------
    "legacy_compat32:",
    "    call legacy_leave_long",
    "    lgdt [legacy_excursion + {gdtr}]",
    "    lidt [legacy_excursion + {idtr}]",
    "    mov eax, [legacy_excursion + {cr4}]",
    "    mov cr4, eax",
    "    mov eax, [legacy_excursion + {cr3}]",
    "    mov cr3, eax",
    "    mov eax, [legacy_excursion + {cr0}]",
    "    mov cr0, eax",
    "    jmp 2f",
    "2:  mov eax, [legacy_excursion + {ldtr}]",
    "    lldt ax",
    "    mov eax, [legacy_excursion + {tr}]",
    "    test eax, eax",
    "    jz 2f",
    "    ltr ax",
    "2:  cmp dword ptr [legacy_excursion + {outer}], 0",
    "    jne 3f",
    "    mov ss, [legacy_excursion + {ss}]",
    "    mov esp, [legacy_excursion + {esp}]",
    "    push [legacy_excursion + {eflags}]",
    "    push [legacy_excursion + {cs}]",
    "    push [legacy_excursion + {eip}]",
    "    jmp 4f",
    "3:  mov esp, offset legacy_excursion + {frame}",
    "4:  mov eax, [legacy_excursion]",
    "    mov ecx, [legacy_excursion + 4]",
    "    mov edx, [legacy_excursion + 8]",
    "    mov ebx, [legacy_excursion + 12]",
    "    mov ebp, [legacy_excursion + 20]",
    "    mov esi, [legacy_excursion + 24]",
    "    mov edi, [legacy_excursion + 28]",
    "    test dword ptr [legacy_excursion + {eflags}], 0x20000",
    "    jnz 5f",
    "    mov es, [legacy_excursion + {es}]",
    "    mov fs, [legacy_excursion + {fs}]",
    "    mov gs, [legacy_excursion + {gs}]",
    "    mov ds, [legacy_excursion + {ds}]",
    "5:  iretd",
    // ---- events ----------------------------------------------------------------------------------------------
    "legacy_stubs32:",
    ".set legacy_vector, 0",
    ".rept 256",
    "    .balign 16",
    "    push legacy_vector",
    "    jmp legacy_event32",
    "    .set legacy_vector, legacy_vector + 1",
    ".endr",
    "legacy_event32:",
    "    pushad",
    "    .byte 0x1E, 0x06, 0x0F, 0xA0, 0x0F, 0xA8", // PUSH DS, ES, FS, GS as doublewords; by name they would be words
    "    mov eax, 0x10",
    "    mov ds, eax",
    "    mov es, eax",
    "    cld",
    "    xor ecx, ecx",
    "2:  mov eax, ss:[esp + ecx*4]",
    "    mov [legacy_excursion + {event} + ecx*4], eax",
    "    inc ecx",
    "    cmp ecx, 24",
    "    jb 2b",
    "    mov eax, ss",
    "    mov [legacy_excursion + {event} + 24*4], eax",
    "    mov [legacy_excursion + {event} + 25*4], esp",
    "    pushfd",
    "    pop dword ptr [legacy_excursion + {event} + 33*4]",
    "    mov eax, cr0",
    "    mov [legacy_excursion + {event} + 26*4], eax",
    "    mov eax, cr2",
    "    mov [legacy_excursion + {event} + 27*4], eax",
    "    mov eax, cr3",
    "    mov [legacy_excursion + {event} + 28*4], eax",
    "    mov eax, cr4",
    "    mov [legacy_excursion + {event} + 29*4], eax",
    "    mov eax, dr6",
    "    mov [legacy_excursion + {event} + 30*4], eax",
    "    xor eax, eax",
    "    str ax",
    "    mov [legacy_excursion + {event} + 31*4], eax",
    "    sldt ax",
    "    mov [legacy_excursion + {event} + 32*4], eax",
    // ---- back to 64-bit mode, from flat 32-bit code at level 0 -------------------------------------------------
    "legacy_back32:",
    "    mov eax, 0x10",
    "    mov ss, eax",
    "    mov ds, eax",
    "    mov es, eax",
    "    mov esp, [legacy_excursion + {long_rsp}]",
    "    mov eax, cr0",
    "    and eax, 0x7FFFFFFF",
    "    mov cr0, eax",
    "    lgdt [legacy_excursion + {long_gdtr}]",
    // IA-32e mode can not be entered with a 16-bit TSS in TR: take the 64-bit TSS as a 32-bit one.
    "    mov ebx, [legacy_excursion + {long_gdtr} + 2]",
    "    and byte ptr [ebx + {tss} + 5], 0xFD",
    "    mov eax, {tss}",
    "    ltr ax",
    "    mov eax, [legacy_excursion + {long_cr4}]",
    "    mov cr4, eax",
    "    mov eax, [legacy_excursion + {long_cr3}]",
    "    mov cr3, eax",
    "    mov ecx, 0xC0000080",
    "    rdmsr",
    "    or eax, 0x100",
    "    wrmsr",
    "    mov eax, [legacy_excursion + {long_cr0}]",
    "    mov cr0, eax",
    "    ljmp 0x08, offset legacy_long",
    // ---- only another paging mode ---------------------------------------------------------------------------------
    "legacy_compat_paging:",
    "    call legacy_leave_long",
    "    mov eax, [legacy_excursion + {cr4}]",
    "    mov [legacy_excursion + {long_cr4}], eax",
    "    mov eax, [legacy_excursion + {cr3}]",
    "    mov [legacy_excursion + {long_cr3}], eax",
    "    jmp legacy_back32",
    ".code64",
    "legacy_long:",
    "    lidt [legacy_excursion + {long_idtr}]",
    "    xor eax, eax",
    "    lldt ax",
    "    mov fs, eax",
    "    mov gs, eax",
    "    mov rsp, [legacy_excursion + {long_rsp}]",
    "    pop r15",
    "    pop r14",
    "    pop r13",
    "    pop r12",
    "    pop rbx",
    "    pop rbp",
    "    popfq",
    "    ret",
    // ---- real-address mode: the 16-bit part is copied to 0x9000 and runs with CS = 0 ----------------------------
    ".code32",
    "legacy_compat_real:",
    "    call legacy_leave_long",
    "    xor eax, eax",
    "    mov cr4, eax",
    "    mov eax, 0x40",
    "    mov ds, eax",
    "    mov es, eax",
    "    mov ss, eax",
    "    mov fs, eax",
    "    mov gs, eax",
    "    ljmp 0x38, 0x9000",
    "legacy_real_back:",
    "    jmp legacy_back32",
    ".global legacy_real_begin, legacy_real_end",
    ".code16",
    "legacy_real_begin:",
    "    mov eax, cr0",
    "    and al, 0xFE",
    "    mov cr0, eax",
    "    .byte 0xEA", // JMP far 0000:9010
    "    .word 0x9010, 0",
    "    .org legacy_real_begin + 0x10",
    "    xor ax, ax",
    "    mov ds, ax",
    "    data32 lidt [0xA060]",
    "    mov ss, [0xA02C]",
    "    mov esp, [0xA010]",
    "    push dword ptr [0xA028]",
    "    push dword ptr [0xA024]",
    "    push dword ptr [0xA020]",
    "    mov ecx, [0xA004]",
    "    mov edx, [0xA008]",
    "    mov ebx, [0xA00C]",
    "    mov ebp, [0xA014]",
    "    mov esi, [0xA018]",
    "    mov edi, [0xA01C]",
    "    mov es, [0xA034]",
    "    mov fs, [0xA038]",
    "    mov gs, [0xA03C]",
    "    mov eax, [0xA000]",
    "    mov ds, [0xA030]",
    "    iretd",
    "    .org legacy_real_begin + 0x100",
    // The event: the stack has vector, IP, CS, FLAGS.
    "    push ds",
    "    push 0",
    "    pop ds",
    "    mov [0xA100], eax",
    "    mov [0xA104], ecx",
    "    mov [0xA108], edx",
    "    mov [0xA10C], ebx",
    "    mov [0xA114], ebp",
    "    mov [0xA118], esi",
    "    mov [0xA11C], edi",
    "    mov [0xA12C], ss",
    "    mov [0xA134], es",
    "    mov [0xA138], fs",
    "    mov [0xA13C], gs",
    "    pop word ptr [0xA130]",
    "    pop word ptr [0xA140]",
    "    mov [0xA110], esp",
    "    pop word ptr [0xA120]",
    "    pop word ptr [0xA124]",
    "    pop word ptr [0xA128]",
    "    pushf",
    "    pop word ptr [0xA144]",
    "    cli",
    "    data32 lgdt [0xA068]",
    "    mov eax, cr0",
    "    or al, 1",
    "    mov cr0, eax",
    "    .byte 0x66, 0xEA",
    "    .long legacy_real_back",
    "    .word 0x18",
    "legacy_real_end:",
    ".code64",
    ".text",
    tss = const crate::descriptors::TSS,
    event = const offset_of!(Excursion, event),
    frame = const offset_of!(Excursion, frame),
    outer = const offset_of!(Excursion, outer),
    gdtr = const offset_of!(Excursion, gdtr),
    idtr = const offset_of!(Excursion, idtr),
    long_rsp = const offset_of!(Excursion, long_rsp),
    long_cr0 = const offset_of!(Excursion, long_cr0),
    long_cr3 = const offset_of!(Excursion, long_cr3),
    long_cr4 = const offset_of!(Excursion, long_cr4),
    long_gdtr = const offset_of!(Excursion, long_gdtr),
    long_idtr = const offset_of!(Excursion, long_idtr),
    cr0 = const offset_of!(Excursion, state) + offset_of!(State32, cr0),
    cr3 = const offset_of!(State32, cr3),
    cr4 = const offset_of!(State32, cr4),
    ldtr = const offset_of!(State32, ldtr),
    tr = const offset_of!(State32, tr),
    esp = const offset_of!(State32, regs) + 16,
    eip = const offset_of!(State32, eip),
    cs = const offset_of!(State32, cs),
    eflags = const offset_of!(State32, eflags),
    ss = const offset_of!(State32, ss),
    ds = const offset_of!(State32, ds),
    es = const offset_of!(State32, es),
    fs = const offset_of!(State32, fs),
    gs = const offset_of!(State32, gs),
);

unsafe extern "C" {
    fn legacy_enter32();
    fn legacy_enter_real();
    fn legacy_set_paging();
    static legacy_stubs32: u8;
    static legacy_real_begin: u8;
    static legacy_real_end: u8;
}

/// Address of a vector's 32-bit stub.
pub fn stub32(vector: u8) -> u32 {
    ((&raw const legacy_stubs32 as u32 + 15) & !15) + vector as u32 * 16
}

fn excursion() -> *mut Excursion {
    &raw mut legacy_excursion
}

fn pointer(limit: usize, base: u32) -> [u16; 3] {
    [limit as u16, base as u16, (base >> 16) as u16]
}

/// Runs from a state to the next event, on [`tables`]. [`DONE`] means that the code came to its end.
pub fn run32(state: &State32) -> Event32 {
    unsafe {
        let x = &mut *excursion();
        let t = &mut *TABLES.get();
        // LTR takes no busy TSS, and a run before this one has made it so.
        if let Some(descriptor) = t.gdt.get_mut(state.tr as usize / 8).filter(|_| state.tr != 0) {
            *descriptor &= !(1 << 41);
        }
        x.state = *state;
        x.frame = [state.eip, state.cs, state.eflags, state.regs[4], state.ss, state.es, state.ds, state.fs, state.gs];
        x.outer = (state.eflags & 1 << 17 != 0 || state.cs & 3 != 0) as u32;
        x.gdtr = pointer(size_of_val(&t.gdt) - 1, &raw const t.gdt as u32);
        x.idtr = pointer(size_of_val(&t.idt) - 1, &raw const t.idt as u32);
        legacy_enter32();
        load_task_register();
        (*excursion()).event
    }
}

/// Changes CR3 and CR4 with paging off meanwhile, as CR4.LA57 needs it.
pub unsafe fn set_paging(cr3: u64, cr4: u64) {
    let x = &mut *excursion();
    x.state.cr3 = cr3 as u32;
    x.state.cr4 = cr4 as u32;
    legacy_set_paging();
    load_task_register();
}

/// The state to start from in real-address mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State16 {
    /// EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI.
    pub regs: [u32; 8],
    /// IP.
    pub eip: u32,
    /// CS.
    pub cs: u32,
    /// FLAGS.
    pub eflags: u32,
    /// SS.
    pub ss: u32,
    /// DS.
    pub ds: u32,
    /// ES.
    pub es: u32,
    /// FS.
    pub fs: u32,
    /// GS.
    pub gs: u32,
    /// After a run: the vector.
    pub vector: u32,
    /// After a run: FLAGS in the handler.
    pub handler_flags: u32,
}

/// Linear address of the real-mode interrupt vector table that [`run_real`] uses.
pub const IVT: u64 = 0xB000;
const REAL_CODE: u64 = 0x9000;
const REAL_STUBS: u64 = 0x9800;
const REAL_STATE: u64 = 0xA000;
/// Linear address below 1 MiB at which tests put 16-bit code: segment 0x1000.
pub const CODE_16: u64 = 0x1_0000;
/// Linear address of 16-bit data: segment 0x2000.
pub const DATA_16: u64 = 0x2_0000;

impl State16 {
    /// CS:IP = 1000:0000 and all other segments 2000, SP = FFE0.
    pub fn start() -> Self {
        let mut s = State16 {
            cs: 0x1000,
            eflags: 2,
            ss: 0x2000,
            ds: 0x2000,
            es: 0x2000,
            fs: 0x2000,
            gs: 0x2000,
            ..Default::default()
        };
        s.regs[4] = 0xFFE0;
        s
    }

    /// The same with a register set.
    pub fn with(mut self, register: usize, value: u32) -> Self {
        self.regs[register] = value;
        self
    }
}

/// Fills the interrupt vector table with stubs for all vectors and puts the switching code in place.
pub fn prepare_real() {
    unsafe {
        let (begin, end) = (&raw const legacy_real_begin, &raw const legacy_real_end);
        core::ptr::copy_nonoverlapping(begin, REAL_CODE as *mut u8, end as usize - begin as usize);
        for v in 0..256u64 {
            let at = REAL_STUBS + v * 6;
            let jump = (REAL_CODE + 0x100).wrapping_sub(at + 6) as u16;
            let code = [0x68, v as u8, 0, 0xE9, jump as u8, (jump >> 8) as u8];
            core::ptr::copy_nonoverlapping(code.as_ptr(), at as *mut u8, 6);
            ((IVT + v * 4) as *mut u32).write_volatile(at as u32);
        }
    }
}

/// Copies 16-bit code to [`CODE_16`] + `offset`.
pub fn place_16(offset: u64, code: &[u8]) {
    unsafe { core::ptr::copy_nonoverlapping(code.as_ptr(), (CODE_16 + offset) as *mut u8, code.len()) };
}

/// Runs in real-address mode to the next event and returns the state there, with IDTR.limit as given.
pub fn run_real(state: &State16, idt_limit: u16) -> State16 {
    unsafe {
        (REAL_STATE as *mut State16).write_volatile(*state);
        let idt = pointer(idt_limit as usize, IVT as u32);
        ((REAL_STATE + 0x60) as *mut [u16; 3]).write_volatile(idt);
        let gdtr = crate::descriptors::sgdt();
        ((REAL_STATE + 0x68) as *mut [u16; 3]).write_volatile(pointer(gdtr.limit as usize, gdtr.base as u32));
        ((REAL_STATE + 0x100) as *mut State16).write_volatile(State16::default());
        legacy_enter_real();
        load_task_register();
        ((REAL_STATE + 0x100) as *const State16).read_volatile()
    }
}
