//! Entry from the loader: PVH (32-bit, `hvm_start_info` in EBX) and multiboot 1 (magic in EAX, information in EBX),
//! then paging and 64-bit mode. Intel SDM volume 3, "Initializing IA-32e Mode"; the Xen PVH boot ABI; the multiboot
//! specification 0.6.96, "OS image format" and "Machine state".

use core::arch::global_asm;

/// Which protocol the loader spoke; the boot code passes it to [`boot_main`].
const LOADER_PVH: u32 = 1;
const LOADER_MULTIBOOT: u32 = 2;

/// Bytes of the boot processor's stack.
pub const STACK_SIZE: usize = 64 * 1024;

global_asm!(
    // The multiboot header gives its addresses itself (flag bit 16), since loaders take no 64-bit ELF by its headers.
    ".section .multiboot, \"a\"",
    ".balign 4",
    "multiboot_header:",
    "    .long 0x1BADB002, 0x00010003, -(0x1BADB002 + 0x00010003)",
    "    .long multiboot_header, __image_start, __data_end, __bss_end, multiboot_start",
    // ELF note of type XEN_ELFNOTE_PHYS32_ENTRY (18).
    ".section .note.Xen, \"a\", @note",
    ".balign 4",
    "    .long 4, 8, 18",
    "    .asciz \"Xen\"",
    "    .quad pvh_start",
    ".section .text.boot, \"ax\"",
    ".code32",
    ".global pvh_start, multiboot_start",
    "multiboot_start:",
    "    mov ebp, 2",
    "    jmp 2f",
    "pvh_start:",
    "    mov ebp, 1",
    "2:  cli",
    "    cld",
    "    mov esp, offset boot_stack_top",
    // PML4[0] -> PDPT -> four page directories of 2 MiB pages. Everything but PML4[0] allows user access, so that one bit
    // decides. The last GiB has the devices: not cached.
    "    mov dword ptr [boot_pml4], offset boot_pdpt + 0x23",
    "    mov edi, offset boot_pdpt",
    "    mov eax, offset boot_directories + 0x27",
    "    mov ecx, 4",
    "3:  mov [edi], eax",
    "    add eax, 0x1000",
    "    add edi, 8",
    "    loop 3b",
    "    mov edi, offset boot_directories",
    "    mov eax, 0xE7",
    "    mov ecx, 2048",
    "4:  mov [edi], eax",
    "    cmp ecx, 512",
    "    ja 5f",
    "    or dword ptr [edi], 0x10",
    "5:  add eax, 0x200000",
    "    add edi, 8",
    "    loop 4b",
    "    mov eax, offset boot_pml4",
    "    mov cr3, eax",
    "    mov eax, 0x620", // PAE, OSFXSR, OSXMMEXCPT
    "    mov cr4, eax",
    "    mov ecx, 0xC0000080", // IA32_EFER: LME, and NXE where there is NX
    "    rdmsr",
    "    or eax, 0x100",
    "    wrmsr",
    "    mov eax, 0x80010033", // PG, WP, NE, ET, MP, PE; EM and TS clear
    "    mov cr0, eax",
    "    lgdt [boot_gdt_pointer]",
    "    ljmp 0x08, offset boot_long",
    ".code64",
    "boot_long:",
    "    mov eax, 0x10",
    "    mov ss, eax",
    "    mov ds, eax",
    "    mov es, eax",
    "    xor eax, eax",
    "    mov fs, eax",
    "    mov gs, eax",
    "    lldt ax",
    "    mov edi, ebp",
    "    mov esi, ebx",
    "    mov rsp, offset boot_stack_top",
    "    xor ebp, ebp",
    "    fninit",
    "    call boot_main",
    "    ud2",
    ".balign 8",
    "boot_gdt:",
    "    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF",
    ".global boot_gdt_pointer",
    "boot_gdt_pointer:",
    "    .word 23",
    "    .quad boot_gdt",
    ".section .bss.boot, \"aw\", @nobits",
    ".balign 4096",
    ".global boot_pml4, boot_pdpt",
    "boot_pml4: .skip 4096",
    "boot_pdpt: .skip 4096",
    "boot_directories: .skip 4 * 4096",
    "boot_stack: .skip {stack}",
    "boot_stack_top:",
    ".text",
    stack = const STACK_SIZE,
);

unsafe extern "C" {
    fn image_main() -> !;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn boot_main(loader: u32, information: u32) -> ! {
    crate::console::init();
    match loader {
        LOADER_PVH => crate::boot_info::read_pvh(information),
        LOADER_MULTIBOOT => crate::boot_info::read_multiboot(information),
        _ => unreachable!(),
    }
    crate::descriptors::init_processor(0);
    crate::exceptions::init();
    if crate::control::cpuid(0x8000_0001, 0).edx & (1 << 20) != 0 {
        crate::control::wrmsr(crate::control::IA32_EFER, crate::control::rdmsr(crate::control::IA32_EFER) | 1 << 11);
    }
    image_main()
}
