//! "Multiboot Specification", version 0.6.96.

use super::{AddressFields, Kernel, LOADER_NAME, find_header, load_elf, memory_kib, parse_elf, place_modules};
use crate::boot::Loader;
use crate::boot::entry::{EntryMode, EntryState, gpr};
use crate::boot::error::BootError;
use crate::boot::image_bytes::ImageBytes;

const HEADER: &str = "multiboot 1 header";
/// "The magic fields of Multiboot header".
const HEADER_MAGIC: u32 = 0x1bad_b002;
/// What the kernel finds in EAX. "Machine state".
const BOOT_MAGIC: u64 = 0x2bad_b002;
/// The header lies completely within the first bytes of the file, on a 4-byte boundary.
const SEARCH: u64 = 8192;

/// Header flag: modules on page boundaries. They always are.
const PAGE_ALIGN: u32 = 1 << 0;
/// Header flag: memory information wanted. It always is there.
const MEMORY_INFO: u32 = 1 << 1;
/// Header flag: a video mode wanted.
const VIDEO_MODE: u32 = 1 << 2;
/// Header flag: the address fields are valid.
const ADDRESS_FIELDS: u32 = 1 << 16;
/// Flags that a loader must not ignore.
const MANDATORY: u32 = 0xffff;

/// Flags of the boot information: which fields are valid. "Boot information format".
mod info {
    pub const MEMORY: u32 = 1 << 0;
    pub const CMDLINE: u32 = 1 << 2;
    pub const MODS: u32 = 1 << 3;
    pub const ELF_SHDR: u32 = 1 << 5;
    pub const MMAP: u32 = 1 << 6;
    pub const LOADER_NAME: u32 = 1 << 9;
    /// Length of the structure up to and with the VBE fields.
    pub const LEN: usize = 88;
}

/// The offset of the header, if there is one.
pub(in crate::boot) fn header_offset(image: &[u8]) -> Result<Option<u64>, BootError> {
    find_header(image, 1, HEADER_MAGIC, SEARCH, 4, 3)
}

/// Places the kernel, its modules and the boot information.
pub(in crate::boot) fn load(loader: &mut Loader<'_, '_>, image: &[u8], offset: u64) -> Result<EntryState, BootError> {
    let file = ImageBytes::new(image, HEADER);
    let flags = file.u32(offset.saturating_add(4))?;
    if flags & VIDEO_MODE != 0 {
        return Err(BootError::Demand { version: 1, what: "a video mode (flag 2)".into() });
    }
    let unknown = flags & MANDATORY & !(PAGE_ALIGN | MEMORY_INFO | VIDEO_MODE);
    if unknown != 0 {
        return Err(BootError::Demand { version: 1, what: format!("flag {}", unknown.trailing_zeros()) });
    }
    let kernel = if flags & ADDRESS_FIELDS != 0 {
        let word = |index: u64| file.u32(offset + 12 + index * 4).map(u64::from);
        let fields = AddressFields {
            version: 1,
            header_offset: offset,
            header_addr: word(0)?,
            load_addr: word(1)?,
            load_end_addr: word(2)?,
            bss_end_addr: word(3)?,
        };
        fields.load(loader, image, word(4)?)?
    } else {
        load_elf(loader, &parse_elf(image, 1)?, 0)?
    };
    let info = place_info(loader, &kernel)?;
    let gdt = loader.place_gdt(EntryMode::Protected32)?;
    let mut state = EntryState::protected32(kernel.entry, gdt);
    state.gpr[gpr::RAX] = BOOT_MAGIC;
    state.gpr[gpr::RBX] = info;
    Ok(state)
}

/// The boot information and what it refers to.
fn place_info(loader: &mut Loader<'_, '_>, kernel: &Kernel) -> Result<u64, BootError> {
    let request = loader.request;
    let modules = place_modules(loader, kernel.end)?;
    let mut list = Vec::new();
    for module in &modules {
        let string = loader.place_string("module string", module.string)?;
        for word in [module.start, module.end, string, 0] {
            list.extend_from_slice(&(word as u32).to_le_bytes());
        }
    }
    let mut map = Vec::new();
    for entry in request.memory_map {
        // The size of the entry, without this field.
        map.extend_from_slice(&20u32.to_le_bytes());
        map.extend_from_slice(&entry.to_bytes());
    }

    let mut bytes = vec![0; info::LEN];
    let mut flags = info::MEMORY | info::CMDLINE | info::MMAP | info::LOADER_NAME;
    // Everything is placed below 4 GiB.
    let mut put = |offset: usize, value: u64| bytes[offset..offset + 4].copy_from_slice(&(value as u32).to_le_bytes());
    let (lower, upper) = memory_kib(request.memory_map);
    put(4, lower.into());
    put(8, upper.into());
    put(16, loader.place_string("command line", request.command_line)?);
    if !modules.is_empty() {
        flags |= info::MODS;
        put(20, modules.len() as u64);
        put(24, loader.place_low("module list", &list)?);
    }
    if let Some(sections) = &kernel.sections {
        flags |= info::ELF_SHDR;
        put(28, sections.num.into());
        put(32, sections.entsize.into());
        put(36, loader.place_low("section headers", &sections.headers)?);
        put(40, sections.shndx.into());
    }
    put(44, map.len() as u64);
    put(48, loader.place_low("memory map", &map)?);
    put(64, loader.place_string("loader name", LOADER_NAME)?);
    put(0, flags.into());
    loader.place_low("boot information", &bytes)
}
