//! What the loader told: command line, memory map, ACPI root pointer. Copied out of the loader's structures at once,
//! so that all low memory is free for tests.
//!
//! Xen PVH boot ABI, "hvm_start_info"; multiboot specification 0.6.96, "Boot information format".

use core::cell::UnsafeCell;

/// The protocol by which the image was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// PVH direct boot.
    Pvh,
    /// Multiboot 1.
    Multiboot,
}

/// One range of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First physical address.
    pub base: u64,
    /// Bytes.
    pub length: u64,
    /// Type as in ACPI's "Address Range Types": 1 is RAM.
    pub kind: u32,
}

const MAX_REGIONS: usize = 64;
const MAX_COMMAND_LINE: usize = 1024;

/// The loader's information.
pub struct BootInfo {
    /// Who loaded the image.
    pub loader: Loader,
    /// Physical address of the ACPI root pointer, 0 if the loader gave none.
    pub rsdp: u64,
    regions: [Region; MAX_REGIONS],
    region_count: usize,
    command_line: [u8; MAX_COMMAND_LINE],
    command_line_length: usize,
}

impl BootInfo {
    /// The memory map as given.
    pub fn memory_map(&self) -> &[Region] {
        &self.regions[..self.region_count]
    }

    /// The command line; empty if there is none or it is not UTF-8.
    pub fn command_line(&self) -> &str {
        core::str::from_utf8(&self.command_line[..self.command_line_length]).unwrap_or("")
    }

    /// The value of a `name=value` word of the command line.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.command_line().split_whitespace().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether a word is on the command line.
    pub fn has_word(&self, word: &str) -> bool {
        self.command_line().split_whitespace().any(|w| w == word)
    }

    fn add_region(&mut self, region: Region) {
        if self.region_count < MAX_REGIONS {
            self.regions[self.region_count] = region;
            self.region_count += 1;
        }
    }

    unsafe fn copy_command_line(&mut self, from: u64) {
        if from == 0 {
            return;
        }
        for i in 0..MAX_COMMAND_LINE {
            let byte = (from as *const u8).add(i).read_volatile();
            if byte == 0 {
                break;
            }
            self.command_line[i] = byte;
            self.command_line_length = i + 1;
        }
    }
}

struct Holder(UnsafeCell<BootInfo>);
// Written once, before any other processor runs.
unsafe impl Sync for Holder {}

static INFO: Holder = Holder(UnsafeCell::new(BootInfo {
    loader: Loader::Pvh,
    rsdp: 0,
    regions: [Region { base: 0, length: 0, kind: 0 }; MAX_REGIONS],
    region_count: 0,
    command_line: [0; MAX_COMMAND_LINE],
    command_line_length: 0,
}));

/// The loader's information.
pub fn boot_info() -> &'static BootInfo {
    unsafe { &*INFO.0.get() }
}

unsafe fn read<T: Copy>(address: u64) -> T {
    (address as *const T).read_unaligned()
}

/// Reads PVH's `hvm_start_info`.
pub(crate) unsafe fn read_pvh(start_info: u32) {
    const MAGIC: u32 = 0x336E_C578;
    let info = &mut *INFO.0.get();
    let at = start_info as u64;
    info.loader = Loader::Pvh;
    if read::<u32>(at) != MAGIC {
        crate::println!("pvh: no magic at {at:#x}");
        return;
    }
    let version = read::<u32>(at + 4);
    info.copy_command_line(read(at + 24));
    info.rsdp = read(at + 32);
    if version >= 1 {
        let table = read::<u64>(at + 40);
        for i in 0..read::<u32>(at + 48) as u64 {
            let entry = table + i * 24;
            info.add_region(Region { base: read(entry), length: read(entry + 8), kind: read(entry + 16) });
        }
    }
    finish();
}

/// Reads multiboot's information structure.
pub(crate) unsafe fn read_multiboot(information: u32) {
    let info = &mut *INFO.0.get();
    let at = information as u64;
    info.loader = Loader::Multiboot;
    let flags = read::<u32>(at);
    if flags & 1 << 2 != 0 {
        info.copy_command_line(read::<u32>(at + 16) as u64);
    }
    if flags & 1 << 6 != 0 {
        let (length, start) = (read::<u32>(at + 44) as u64, read::<u32>(at + 48) as u64);
        let mut offset = 0;
        while offset + 24 <= length {
            let entry = start + offset;
            info.add_region(Region { base: read(entry + 4), length: read(entry + 12), kind: read(entry + 20) });
            offset += read::<u32>(entry) as u64 + 4;
        }
    } else if flags & 1 != 0 {
        info.add_region(Region { base: 0, length: read::<u32>(at + 4) as u64 * 1024, kind: 1 });
        info.add_region(Region { base: 0x10_0000, length: read::<u32>(at + 8) as u64 * 1024, kind: 1 });
    }
    finish();
}

unsafe fn finish() {
    let info = &mut *INFO.0.get();
    if info.rsdp == 0 {
        info.rsdp = crate::acpi::search_rsdp();
    }
    if info.has_word("e9") {
        crate::console::enable_debug_console();
    }
}
