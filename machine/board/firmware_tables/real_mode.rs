//! What kernels still ask of a BIOS: the interrupt vectors, and the services behind them that tell the size of memory.
//!
//! Multiboot promises a kernel that the BIOS can be called. Xen does so on its way up: INT 15h for the memory map, INT 12h, INT 13h, INT 10h
//! and INT 16h. Without vectors it would run into nowhere. There is no disk, no screen and no keyboard here: those services say so.
//!
//! Sources: ACPI specification, "System Address Map Interfaces"; for INT 11h to INT 16h the PC's BIOS interface.

use super::memory_map::{E820Entry, E820Type};

/// Segment of the services.
pub(super) const SEGMENT: u16 = 0xf000;
/// Offset of the code in the segment.
const CODE_OFFSET: u16 = 0x8000;
/// Offset of the data, which the code knows as a number.
const DATA_OFFSET: u16 = 0x8100;
/// First physical address of the services.
pub(super) const START: u64 = ((SEGMENT as u64) << 4) + CODE_OFFSET as u64;

/// The routines: offsets in the code.
mod routine {
    /// Returns.
    pub const IGNORE: u16 = 0x0;
    /// Acknowledges an interrupt of the first 8259.
    pub const IRQ_LOW: u16 = 0x1;
    /// Acknowledges an interrupt of the second 8259.
    pub const IRQ_HIGH: u16 = 0x8;
    /// INT 11h: the equipment word.
    pub const EQUIPMENT: u16 = 0x11;
    /// INT 12h: KiB below the extended BIOS data area.
    pub const MEMORY_SIZE: u16 = 0x1b;
    /// INT 16h: no key, no shift state.
    pub const KEYBOARD: u16 = 0x25;
    /// INT 13h: refused, there is no disk.
    pub const DISK: u16 = 0x28;
    /// Refused: AH=86h and CF.
    pub const UNSUPPORTED: u16 = 0x2c;
    /// INT 15h: E820h, E801h and 88h; the rest is refused.
    pub const SYSTEM: u16 = 0x37;
}

/// The services, position-dependent. A routine returns its carry flag in the flags that INT has pushed. Registers of a service are as its
/// interface says; the data begins with the number of entries of the memory map (2 bytes), the two sizes for E801h and the one for 88h.
#[rustfmt::skip]
const CODE: [u8; 161] = [
    0xcf,                                        // ignore: iret
    0x50,                                        // irq_low: push ax
    0xb0, 0x20,                                  // mov al,0x20
    0xe6, 0x20,                                  // out 0x20,al
    0x58,                                        // pop ax
    0xcf,                                        // iret
    0x50,                                        // irq_high: push ax
    0xb0, 0x20,                                  // mov al,0x20
    0xe6, 0xa0,                                  // out 0xa0,al
    0xe6, 0x20,                                  // out 0x20,al
    0x58,                                        // pop ax
    0xcf,                                        // iret
    0x1e,                                        // equipment: push ds
    0x31, 0xc0,                                  // xor ax,ax
    0x8e, 0xd8,                                  // mov ds,ax
    0xa1, 0x10, 0x04,                            // mov ax,ds:0x410
    0x1f,                                        // pop ds
    0xcf,                                        // iret
    0x1e,                                        // memory_size: push ds
    0x31, 0xc0,                                  // xor ax,ax
    0x8e, 0xd8,                                  // mov ds,ax
    0xa1, 0x13, 0x04,                            // mov ax,ds:0x413
    0x1f,                                        // pop ds
    0xcf,                                        // iret
    0x31, 0xc0,                                  // keyboard: xor ax,ax
    0xcf,                                        // iret
    0xb4, 0x01,                                  // disk: mov ah,0x1
    0xeb, 0x02,                                  // jmp fail
    0xb4, 0x86,                                  // unsupported: mov ah,0x86
    0x55,                                        // fail: push bp
    0x89, 0xe5,                                  // mov bp,sp
    0x80, 0x4e, 0x06, 0x01,                      // or BYTE PTR [bp+0x6],0x1
    0x5d,                                        // pop bp
    0xcf,                                        // iret
    0x3d, 0x20, 0xe8,                            // system: cmp ax,0xe820
    0x74, 0x26,                                  // je e820
    0x3d, 0x01, 0xe8,                            // cmp ax,0xe801
    0x74, 0x12,                                  // je e801
    0x80, 0xfc, 0x88,                            // cmp ah,0x88
    0x75, 0xe6,                                  // jne unsupported
    0x2e, 0xa1, 0x06, 0x81,                      // mov ax,cs:0x8106
    0x55,                                        // succeed: push bp
    0x89, 0xe5,                                  // mov bp,sp
    0x80, 0x66, 0x06, 0xfe,                      // and BYTE PTR [bp+0x6],0xfe
    0x5d,                                        // pop bp
    0xcf,                                        // iret
    0x2e, 0xa1, 0x02, 0x81,                      // e801: mov ax,cs:0x8102
    0x2e, 0x8b, 0x1e, 0x04, 0x81,                // mov bx,WORD PTR cs:0x8104
    0x89, 0xc1,                                  // mov cx,ax
    0x89, 0xda,                                  // mov dx,bx
    0xeb, 0xe8,                                  // jmp succeed
    0x66, 0x81, 0xfa, 0x50, 0x41, 0x4d, 0x53,    // e820: cmp edx,0x534d4150
    0x75, 0xc1,                                  // jne unsupported
    0x66, 0x83, 0xf9, 0x14,                      // cmp ecx,0x14
    0x72, 0xbb,                                  // jb unsupported
    0x2e, 0x66, 0x0f, 0xb7, 0x06, 0x00, 0x81,    // movzx eax,WORD PTR cs:0x8100
    0x66, 0x39, 0xc3,                            // cmp ebx,eax
    0x73, 0xaf,                                  // jae unsupported
    0x56,                                        // push si
    0x57,                                        // push di
    0x6b, 0xf3, 0x14,                            // imul si,bx,0x14
    0x81, 0xc6, 0x08, 0x81,                      // add si,0x8108
    0xb9, 0x14, 0x00,                            // mov cx,0x14
    0xfc,                                        // cld
    0x2e, 0xf3, 0xa4,                            // rep movs BYTE PTR es:[di],BYTE PTR cs:[si]
    0x5f,                                        // pop di
    0x5e,                                        // pop si
    0x43,                                        // inc bx
    0x39, 0xc3,                                  // cmp bx,ax
    0x72, 0x02,                                  // jb more
    0x31, 0xdb,                                  // xor bx,bx
    0x66, 0xb9, 0x14, 0x00, 0x00, 0x00,          // more: mov ecx,0x14
    0x66, 0x89, 0xd0,                            // mov eax,edx
    0xeb, 0xa9,                                  // jmp succeed
];

/// The vectors for physical address 0: offset and segment for each interrupt.
pub(super) fn vectors() -> Vec<u8> {
    let routine = |vector: u16| match vector {
        0x08..=0x0f => routine::IRQ_LOW,
        0x70..=0x77 => routine::IRQ_HIGH,
        0x11 => routine::EQUIPMENT,
        0x12 => routine::MEMORY_SIZE,
        0x13 => routine::DISK,
        0x15 => routine::SYSTEM,
        0x16 => routine::KEYBOARD,
        0x14 | 0x17 | 0x1a => routine::UNSUPPORTED,
        _ => routine::IGNORE,
    };
    (0..256).flat_map(|vector| [CODE_OFFSET + routine(vector), SEGMENT]).flat_map(u16::to_le_bytes).collect()
}

/// Code and data for [`START`].
pub(super) fn services(map: &[E820Entry]) -> Vec<u8> {
    const MIB: u64 = 1 << 20;
    let mut bytes = CODE.to_vec();
    bytes.resize(usize::from(DATA_OFFSET - CODE_OFFSET), 0);
    // RAM from 1 MiB to the first hole, which is all that the older services can tell.
    let end = map
        .iter()
        .find(|entry| entry.kind == E820Type::Ram && entry.start == MIB)
        .map_or(MIB, |entry| entry.start.saturating_add(entry.len));
    let below_16_mib = (end.min(16 * MIB) - MIB) / 1024;
    let above_16_mib = end.saturating_sub(16 * MIB) / 0x1_0000;
    let above_1_mib = (end - MIB) / 1024;
    for value in [map.len() as u64, below_16_mib, above_16_mib.min(0xffff), above_1_mib.min(0xfc00)] {
        bytes.extend_from_slice(&(value as u16).to_le_bytes());
    }
    bytes.extend(map.iter().flat_map(|entry| entry.to_bytes()));
    bytes
}
