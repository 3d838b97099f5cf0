//! Where everything lies in the linear address space, on the host and in the machine alike: low, so that every addressing form reaches it.

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// The cell that every case's last jump goes through; on the host also what entry and exit keep. One page.
pub const CONTROL: u64 = 0x0b5a_7000;
/// Where that jump goes. One page, executable.
pub const EXIT: u64 = 0x0b5a_9000;
/// The instructions: two pages, executable and readable, with nothing behind them.
pub const CODE: u64 = 0x1000_0000;
/// Bytes of code.
pub const CODE_LEN: u64 = 2 * PAGE;
/// Data: seven pages, see [`DATA_PAGES`].
pub const DATA: u64 = 0x2000_0000;
/// Stack: four pages, the inner two of them mapped.
pub const STACK: u64 = 0x3000_0000;
/// Pages that may be read and written.
pub const WRITABLE: [u64; 5] = [DATA + PAGE, DATA + 2 * PAGE, DATA + 5 * PAGE, STACK + PAGE, STACK + 2 * PAGE];
/// The page that may only be read. It lies between a page that is not present and a writable one.
pub const READ_ONLY: u64 = DATA + 4 * PAGE;
/// The page that is not present, between data pages.
pub const NOT_PRESENT: u64 = DATA + 3 * PAGE;
/// Bytes of all writable pages.
pub const MEMORY: usize = WRITABLE.len() * PAGE as usize;
/// Different first contents of the writable pages.
pub const TEMPLATES: usize = 16;
/// How every case ends: `jmp qword ptr [CONTROL]`.
pub const STOP: [u8; 7] = {
    let a = (CONTROL as u32).to_le_bytes();
    [0xff, 0x24, 0x25, a[0], a[1], a[2], a[3]]
};
/// What fills the code pages besides: INT3.
pub const FILL: u8 = 0xcc;
/// Selectors as Linux gives them to 64-bit programs: CS.
pub const CS: u16 = 0x33;
/// SS.
pub const SS: u16 = 0x2b;

/// Index in the writable memory (pages in the order of [`WRITABLE`]) of a linear address.
pub fn memory_index(addr: u64) -> Option<usize> {
    let page = WRITABLE.iter().position(|p| addr & !(PAGE - 1) == *p)?;
    Some(page * PAGE as usize + (addr & (PAGE - 1)) as usize)
}

/// The linear address of an index in the writable memory.
pub fn memory_address(index: usize) -> u64 {
    WRITABLE[index / PAGE as usize] + index as u64 % PAGE
}
