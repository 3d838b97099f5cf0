//! Images of a few instructions, for tests of the machine rather than of its processor.

use undercroft_machine::{Machine, MachineBuilder};

/// Where images lie.
pub const LOAD_ADDRESS: u32 = 0x10_0000;
/// Where their code begins.
pub const ENTRY: u32 = LOAD_ADDRESS + 32;

/// A multiboot 1 image of 32-bit code, entered in protected mode without paging.
pub fn image(code: &[u8]) -> Vec<u8> {
    const MAGIC: u32 = 0x1bad_b002;
    const HAS_ADDRESSES: u32 = 1 << 16;
    let checksum = 0u32.wrapping_sub(MAGIC).wrapping_sub(HAS_ADDRESSES);
    let header = [MAGIC, HAS_ADDRESSES, checksum, LOAD_ADDRESS, LOAD_ADDRESS, 0, 0, ENTRY];
    let mut image: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend_from_slice(code);
    image.resize(image.len().max(64), 0x90);
    image
}

/// A small machine that boots such an image.
pub fn builder(code: &[u8]) -> MachineBuilder {
    Machine::builder().memory(16 << 20).kernel_image(image(code))
}

/// The same, built.
pub fn machine(code: &[u8]) -> Machine {
    builder(code).build().expect("the machine is built")
}

/// `out dx, al`.
pub fn outb(port: u16, value: u8) -> Vec<u8> {
    let port = port.to_le_bytes();
    vec![0x66, 0xba, port[0], port[1], 0xb0, value, 0xee]
}

/// Programs the 8254 for 100 Hz and the 8259s for vectors 30h and following with only IRQ0 open.
pub fn start_timer() -> Vec<u8> {
    [
        (0x20, 0x11),
        (0x21, 0x30),
        (0x21, 4),
        (0x21, 1),
        (0xa0, 0x11),
        (0xa1, 0x38),
        (0xa1, 2),
        (0xa1, 1),
        (0x21, 0xfe),
        (0xa1, 0xff),
        (0x43, 0x34),
        (0x40, 11_932u16 as u8),
        (0x40, (11_932u16 >> 8) as u8),
    ]
    .into_iter()
    .flat_map(|(port, value)| outb(port, value))
    .collect()
}
