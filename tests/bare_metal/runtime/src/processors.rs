//! Starting the other processors by INIT and SIPI, and giving them work.
//! Intel SDM volume 3, "Multiple-Processor (MP) Initialization".

use crate::descriptors::{MAX_PROCESSORS, Shared, processor};
use crate::interrupt_controllers::{lapic_enable, lapic_eoi, lapic_id, lapic_send};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Physical page in which a started processor begins, in real mode.
pub const TRAMPOLINE: u64 = 0x8000;
/// Vector of the interrupt that says that there is work.
const WORK_VECTOR: u8 = 0xF0;

global_asm!(
    ".section .text.trampoline, \"ax\"",
    ".global trampoline_begin, trampoline_end",
    ".code16",
    "trampoline_begin:",
    "    jmp 2f",
    "    .org trampoline_begin + 8",
    "    .word 31",
    "    .long 0x8000 + (trampoline_gdt - trampoline_begin)",
    "2:  cli",
    "    mov ax, cs",
    "    mov ds, ax",
    "    data32 lgdt [8]", // with the base's upper 8 bits
    "    mov eax, cr0",
    "    or al, 1",
    "    mov cr0, eax",
    "    .byte 0x66, 0xEA", // JMP far 16:32
    "    .long 0x8000 + (trampoline_32 - trampoline_begin)",
    "    .word 0x18",
    ".code32",
    "trampoline_32:",
    "    mov eax, 0x10",
    "    mov ds, eax",
    "    mov es, eax",
    "    mov ss, eax",
    "    mov eax, offset boot_pml4",
    "    mov cr3, eax",
    "    mov eax, 0x620",
    "    mov cr4, eax",
    "    mov ecx, 0xC0000080",
    "    rdmsr",
    "    or eax, [trampoline_efer]",
    "    wrmsr",
    "    mov eax, 0x80010033",
    "    mov cr0, eax",
    "    ljmp 0x08, offset trampoline_64",
    "    .balign 8",
    "trampoline_gdt:",
    "    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF",
    "trampoline_end:",
    ".code64",
    "trampoline_64:",
    "    mov eax, 0x10",
    "    mov ds, eax",
    "    mov es, eax",
    "    mov ss, eax",
    "    mov eax, 1",
    "    lock xadd [trampoline_next], eax",
    "    mov edi, eax",
    "    shl eax, 14",
    "    lea rsp, [rax + trampoline_stacks]",
    "    fninit",
    "    call application_processor_main",
    "    ud2",
    ".section .data.trampoline, \"aw\"",
    ".balign 8",
    ".global trampoline_next, trampoline_efer",
    "trampoline_next: .long 1", // the stack of processor n ends at stacks + n * 16 KiB
    "trampoline_efer: .long 0",
    ".section .bss.trampoline, \"aw\", @nobits",
    ".balign 4096",
    "trampoline_stacks: .skip 16 * 16384",
    ".text",
);

unsafe extern "C" {
    static trampoline_begin: u8;
    static trampoline_end: u8;
    static mut trampoline_efer: u32;
    static mut trampoline_next: u32;
}

/// Work for a processor: runs there with an argument.
pub type Work = fn(u64);

struct Mailbox {
    work: Shared<Option<Work>>,
    argument: AtomicU64,
    /// Work posted and work done.
    posted: AtomicU32,
    done: AtomicU32,
    apic_id: AtomicU32,
}

static MAILBOXES: [Mailbox; MAX_PROCESSORS] = [const {
    Mailbox {
        work: Shared::new(None),
        argument: AtomicU64::new(0),
        posted: AtomicU32::new(0),
        done: AtomicU32::new(0),
        apic_id: AtomicU32::new(0),
    }
}; MAX_PROCESSORS];
static STARTED: AtomicU32 = AtomicU32::new(1);

/// Processors that run, this one included.
pub fn count() -> usize {
    STARTED.load(Ordering::Acquire) as usize
}

/// Local APIC identifier of a running processor.
pub fn apic_id(index: usize) -> u32 {
    MAILBOXES[index].apic_id.load(Ordering::Acquire)
}

/// Copies the start code to its page below 1 MiB.
pub fn install_trampoline() {
    unsafe {
        let (begin, end) = (&raw const trampoline_begin, &raw const trampoline_end);
        core::ptr::copy_nonoverlapping(begin, TRAMPOLINE as *mut u8, end as usize - begin as usize);
        trampoline_efer = (crate::control::rdmsr(crate::control::IA32_EFER) & !(1 << 10)) as u32;
    }
}

/// Starts the processors that the MADT lists, once. Returns how many run, this one included.
pub fn start_all() -> usize {
    if count() > 1 {
        return count();
    }
    lapic_enable();
    MAILBOXES[0].apic_id.store(lapic_id(), Ordering::Release);
    let mut ids = [0; MAX_PROCESSORS];
    let listed = crate::acpi::processors(&mut ids);
    install_trampoline();
    for &id in ids[..listed].iter().filter(|&&id| id != lapic_id()) {
        start(id);
    }
    count()
}

/// Starts one processor and waits until it runs; false if it does not come.
pub fn start(id: u32) -> bool {
    start_before(id, || ())
}

/// The same, with something to do between INIT and the first SIPI, while the processor stands still.
fn start_before(id: u32, between: impl FnOnce()) -> bool {
    let before = count();
    lapic_send(id, 0x0000_C500); // INIT, level assert
    crate::timers::wait_us(100);
    lapic_send(id, 0x0000_8500); // INIT, level de-assert
    crate::timers::wait_us(200);
    between();
    for _ in 0..2 {
        lapic_send(id, 0x0000_4600 | (TRAMPOLINE >> 12) as u32);
        for _ in 0..2000 {
            if count() > before {
                return true;
            }
            // PAUSE lets an emulator with one thread run the other processor.
            core::hint::spin_loop();
            crate::timers::wait_us(100);
        }
    }
    false
}

#[unsafe(no_mangle)]
unsafe extern "C" fn application_processor_main(index: u32) -> ! {
    let index = index as usize;
    crate::descriptors::init_processor(index);
    lapic_enable();
    crate::exceptions::set_handler(WORK_VECTOR, Some(|_| lapic_eoi()));
    let mailbox = &MAILBOXES[index];
    mailbox.apic_id.store(lapic_id(), Ordering::Release);
    STARTED.fetch_add(1, Ordering::AcqRel);
    loop {
        while mailbox.posted.load(Ordering::Acquire) == mailbox.done.load(Ordering::Relaxed) {
            // STI's shadow closes the gap between the look and the sleep.
            crate::control::sleep();
        }
        if let Some(work) = *mailbox.work.get() {
            work(mailbox.argument.load(Ordering::Relaxed));
        }
        mailbox.done.fetch_add(1, Ordering::Release);
    }
}

/// Gives work to a running processor (1 and up) and returns at once.
pub fn post(index: usize, work: Work, argument: u64) {
    let mailbox = &MAILBOXES[index];
    assert!(is_done(index), "processor {index} is still at work");
    unsafe { *mailbox.work.get() = Some(work) };
    mailbox.argument.store(argument, Ordering::Relaxed);
    mailbox.posted.fetch_add(1, Ordering::Release);
    lapic_send(mailbox.apic_id.load(Ordering::Acquire), 0x4000 | WORK_VECTOR as u32);
}

/// Gives a processor work that never ends, for [`restart`] to end. To [`post`] the processor has no work then.
pub fn abandon(index: usize, work: fn(u64) -> !) {
    static ENDLESS: Shared<Option<fn(u64) -> !>> = Shared::new(None);
    unsafe { *ENDLESS.get() = Some(work) };
    post(
        index,
        |argument| {
            if let Some(work) = unsafe { *ENDLESS.get() } {
                work(argument)
            }
        },
        0,
    );
}

/// Starts a running processor anew by INIT and SIPI, whatever it does, with the number it had; false if it does not come.
pub fn restart(index: usize) -> bool {
    let id = apic_id(index);
    unsafe { (&raw mut trampoline_next).write_volatile(index as u32) };
    STARTED.fetch_sub(1, Ordering::AcqRel);
    let mailbox = &MAILBOXES[index];
    let came = start_before(id, || mailbox.done.store(mailbox.posted.load(Ordering::Acquire), Ordering::Release));
    unsafe { (&raw mut trampoline_next).write_volatile(count() as u32) };
    came
}

/// Whether a processor has done the work it was given.
pub fn is_done(index: usize) -> bool {
    let mailbox = &MAILBOXES[index];
    mailbox.posted.load(Ordering::Acquire) == mailbox.done.load(Ordering::Acquire)
}

/// Waits for a processor's work, bounded; false if it does not end.
pub fn wait(index: usize) -> bool {
    for _ in 0..20_000_000u64 {
        if is_done(index) {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}

/// The structure of a processor, for tests that change its tables.
pub fn structure(index: usize) -> &'static mut crate::descriptors::Processor {
    processor(index)
}
