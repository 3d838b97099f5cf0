//! Linux's own boot protocol: "The Linux/x86 Boot Protocol" (Documentation/arch/x86/boot.rst of the kernel), sections
//! "The Real-Mode Kernel Header", "32-bit Boot Protocol" and "64-bit Boot Protocol"; the zero page is in zero-page.rst.
//!
//! The real-mode code of the image is not run: what it would find out about the machine is written into the zero page here.

use super::entry::{EntryMode, EntryState, gpr};
use super::error::BootError;
use super::image_bytes::ImageBytes;
use super::placement::{FOUR_GIB, LOW_END, LOW_START, ONE_MIB, PAGE};
use super::{Loader, Protocol};
use crate::board::firmware_tables::E820Entry;

/// Offsets of the setup header's fields; the same in the file and in the zero page.
mod field {
    pub const SETUP_SECTS: u64 = 0x1f1;
    pub const SYSSIZE: u64 = 0x1f4;
    pub const BOOT_FLAG: u64 = 0x1fe;
    pub const JUMP_OFFSET: u64 = 0x201;
    pub const HEADER: u64 = 0x202;
    pub const VERSION: u64 = 0x206;
    pub const TYPE_OF_LOADER: u64 = 0x210;
    pub const LOADFLAGS: u64 = 0x211;
    pub const CODE32_START: u64 = 0x214;
    pub const RAMDISK_IMAGE: u64 = 0x218;
    pub const RAMDISK_SIZE: u64 = 0x21c;
    pub const CMD_LINE_PTR: u64 = 0x228;
    pub const INITRD_ADDR_MAX: u64 = 0x22c;
    pub const KERNEL_ALIGNMENT: u64 = 0x230;
    pub const RELOCATABLE_KERNEL: u64 = 0x234;
    pub const XLOADFLAGS: u64 = 0x236;
    pub const CMDLINE_SIZE: u64 = 0x238;
    pub const PREF_ADDRESS: u64 = 0x258;
    pub const INIT_SIZE: u64 = 0x260;
    /// End of the largest setup header that the zero page has room for.
    pub const HEADER_END_MAX: u64 = 0x290;
}

/// Offsets in the zero page that are not in the setup header.
mod zero_page {
    pub const SIZE: usize = 0x1000;
    pub const ACPI_RSDP_ADDR: usize = 0x070;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub const E820_TABLE: usize = 0x2d0;
    /// Entries in `e820_table`.
    pub const E820_MAX_ENTRIES: usize = 128;
    /// Bytes of one entry.
    pub const E820_ENTRY_SIZE: usize = 20;
}

const HEADER_NAME: &str = "setup header";
/// "HdrS".
const HEADER_MAGIC: u32 = 0x5372_6448;
/// `loadflags`: the kernel is loaded at 1 MiB or above.
const LOADED_HIGH: u8 = 1 << 0;
/// `xloadflags`: the kernel has the 64-bit entry point at offset 0x200.
const XLF_KERNEL_64: u16 = 1 << 0;
/// Offset of the 64-bit entry point from where the kernel is loaded.
const ENTRY_64: u64 = 0x200;
/// `type_of_loader` for a loader without an assigned number.
const LOADER_UNDEFINED: u8 = 0xff;

/// Whether the file has a Linux setup header, of whatever version.
pub(super) fn is_bzimage(image: &[u8]) -> bool {
    let file = ImageBytes::new(image, "kernel");
    file.u16(field::BOOT_FLAG) == Ok(0xaa55) && file.u32(field::HEADER) == Ok(HEADER_MAGIC)
}

/// The setup header's fields that decide how to load.
#[derive(Debug)]
struct SetupHeader {
    version: u16,
    /// Offset of the protected-mode kernel in the file.
    kernel_offset: u64,
    relocatable: bool,
    /// A power of two.
    alignment: u64,
    initrd_addr_max: u64,
    entry_64: bool,
    cmdline_size: u64,
    /// Where the kernel wants to run.
    pref_address: u64,
    /// Memory that it needs there before it reads the memory map; 0 if the protocol is older than the field.
    init_size: u64,
    /// The header's bytes, from `SETUP_SECTS` on.
    bytes: Vec<u8>,
}

/// Places the kernel, its initial RAM disk, command line and zero page, and gives the state to enter it.
pub(super) fn load(loader: &mut Loader<'_, '_>, image: &[u8]) -> Result<EntryState, BootError> {
    let header = read_header(image)?;
    let request = loader.request;
    let initrd = match request.modules {
        [] => None,
        [initrd] => Some(initrd),
        more => {
            let count = more.len() as u64;
            return Err(BootError::TooManyModules { count, protocol: Protocol::Linux, limit: 1 });
        }
    };
    let len = request.command_line.len() as u64;
    if len > header.cmdline_size {
        return Err(BootError::CommandLineTooLong { len, limit: header.cmdline_size });
    }

    let kernel = image.get(header.kernel_offset as usize..).unwrap_or_default();
    let load_address = place_kernel(loader, &header, kernel)?;
    let command_line = loader.place_string("command line", request.command_line)?;
    let ramdisk = match initrd {
        Some(initrd) => {
            let window = (ONE_MIB, header.initrd_addr_max + 1);
            let len = initrd.data.len() as u64;
            let start = loader.placement.highest("initial RAM disk", window, len, PAGE)?;
            loader.write(start, initrd.data)?;
            (start, len)
        }
        None => (0, 0),
    };

    let page = zero_page(loader, &header, load_address, command_line, ramdisk)?;
    let boot_params = loader.place_low("zero page", &page)?;
    if header.entry_64 {
        enter_64(loader, load_address, boot_params)
    } else {
        let gdt = loader.place_gdt(EntryMode::Protected32)?;
        let mut entry = EntryState::protected32(load_address, gdt);
        entry.gpr[gpr::RSI] = boot_params;
        Ok(entry)
    }
}

/// Reads and checks the setup header.
fn read_header(image: &[u8]) -> Result<SetupHeader, BootError> {
    let file = ImageBytes::new(image, "kernel");
    let version = file.u16(field::VERSION)?;
    if version < 0x206 {
        return Err(BootError::LinuxProtocolTooOld { major: (version >> 8) as u8, minor: version as u8 });
    }
    if file.u8(field::LOADFLAGS)? & LOADED_HIGH == 0 {
        return Err(BootError::LinuxZImage);
    }
    let bad = |name, value| Err(BootError::BadField { header: HEADER_NAME, field: name, value });

    // For the oldest images the field is 0 and means 4.
    let setup_sects = match file.u8(field::SETUP_SECTS)? {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let kernel_offset = (setup_sects + 1) * 512;
    // The jump at 0x200 leads over the header, so that its displacement tells where the header ends.
    let header_end = field::HEADER + u64::from(file.u8(field::JUMP_OFFSET)?);
    if header_end <= field::CMDLINE_SIZE || header_end > kernel_offset {
        return bad("jump", header_end - field::HEADER);
    }
    let header_end = header_end.min(field::HEADER_END_MAX);
    let bytes = file.slice(field::SETUP_SECTS, header_end - field::SETUP_SECTS)?.to_vec();

    // The size is in units of 16 bytes and rounded up; a signature may follow.
    let syssize = u64::from(file.u32(field::SYSSIZE)?) * 16;
    file.slice(kernel_offset, syssize.saturating_sub(15))?;
    if image.len() as u64 <= kernel_offset {
        return bad("syssize", syssize);
    }

    let relocatable = file.u8(field::RELOCATABLE_KERNEL)? != 0;
    let alignment = u64::from(file.u32(field::KERNEL_ALIGNMENT)?);
    if relocatable && !alignment.is_power_of_two() {
        return bad("kernel_alignment", alignment);
    }
    let (pref_address, init_size) = if version >= 0x20a && header_end >= field::INIT_SIZE + 4 {
        (file.u64(field::PREF_ADDRESS)?, u64::from(file.u32(field::INIT_SIZE)?))
    } else {
        (ONE_MIB, 0)
    };
    if !(ONE_MIB..FOUR_GIB).contains(&pref_address) {
        return bad("pref_address", pref_address);
    }
    let cmdline_size = match u64::from(file.u32(field::CMDLINE_SIZE)?) {
        0 => 255,
        size => size,
    };
    Ok(SetupHeader {
        version,
        kernel_offset,
        relocatable,
        alignment: alignment.max(1),
        initrd_addr_max: u64::from(file.u32(field::INITRD_ADDR_MAX)?),
        entry_64: version >= 0x20c && file.u16(field::XLOADFLAGS)? & XLF_KERNEL_64 != 0,
        cmdline_size,
        pref_address,
        init_size,
        bytes,
    })
}

/// Finds room for the kernel: where it prefers to be, or, if it can be moved, at the next free place above.
/// A relocatable kernel that is loaded below `pref_address` would move itself there, so nothing below is tried.
fn place_kernel(loader: &mut Loader<'_, '_>, header: &SetupHeader, kernel: &[u8]) -> Result<u64, BootError> {
    let len = header.init_size.max(kernel.len() as u64);
    let start = if header.relocatable && !loader.placement.is_free(header.pref_address, len) {
        let window = (header.pref_address, FOUR_GIB);
        loader.placement.lowest("kernel", window, len, header.alignment)?
    } else {
        loader.placement.exact("kernel", header.pref_address, len)?
    };
    loader.write(start, kernel)?;
    Ok(start)
}

/// The zero page: the setup header as the loader completes it, the memory map and the ACPI root pointer.
fn zero_page(
    loader: &Loader<'_, '_>,
    header: &SetupHeader,
    load_address: u64,
    command_line: u64,
    ramdisk: (u64, u64),
) -> Result<Vec<u8>, BootError> {
    let mut page = vec![0; zero_page::SIZE];
    let mut put = |offset: usize, bytes: &[u8]| page[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(field::SETUP_SECTS as usize, &header.bytes);
    put(field::TYPE_OF_LOADER as usize, &[LOADER_UNDEFINED]);
    // All of these are below 4 GiB, where everything is placed.
    put(field::CODE32_START as usize, &(load_address as u32).to_le_bytes());
    put(field::CMD_LINE_PTR as usize, &(command_line as u32).to_le_bytes());
    put(field::RAMDISK_IMAGE as usize, &(ramdisk.0 as u32).to_le_bytes());
    put(field::RAMDISK_SIZE as usize, &(ramdisk.1 as u32).to_le_bytes());
    if let Some((rsdp, _)) = loader.request.rsdp.filter(|_| header.version >= 0x20e) {
        put(zero_page::ACPI_RSDP_ADDR, &rsdp.get().to_le_bytes());
    }

    let map: &[E820Entry] = loader.request.memory_map;
    if map.len() > zero_page::E820_MAX_ENTRIES {
        let (count, limit) = (map.len() as u64, zero_page::E820_MAX_ENTRIES as u64);
        return Err(BootError::TooManyMapEntries { count, limit });
    }
    put(zero_page::E820_ENTRIES, &[map.len() as u8]);
    for (index, entry) in map.iter().enumerate() {
        put(zero_page::E820_TABLE + index * zero_page::E820_ENTRY_SIZE, &entry.to_bytes());
    }
    Ok(page)
}

/// "64-bit Boot Protocol": 64-bit mode, the low 4 GiB identity-mapped, RSI holds the zero page's address.
fn enter_64(loader: &mut Loader<'_, '_>, load_address: u64, boot_params: u64) -> Result<EntryState, BootError> {
    let gdt = loader.place_gdt(EntryMode::Long64)?;
    let tables = identity_map_tables();
    let base = loader.placement.lowest("paging structures", (LOW_START, LOW_END), tables.len() as u64 * PAGE, PAGE)?;
    let bytes: Vec<u8> = tables.iter().flatten().flat_map(|entry| relocate_entry(*entry, base).to_le_bytes()).collect();
    loader.write(base, &bytes)?;
    let mut entry = EntryState::long64(load_address + ENTRY_64, gdt, base);
    entry.gpr[gpr::RSI] = boot_params;
    Ok(entry)
}

/// Paging-structure entry: present.
const P: u64 = 1 << 0;
/// Writable.
const RW: u64 = 1 << 1;
/// Accessed and dirty: set, so that the walk has nothing to write.
const A_D: u64 = 3 << 5;
/// Maps a large page.
const PS: u64 = 1 << 7;

/// PML4, one page-directory-pointer table and four page directories of 2-MByte pages, for the low 4 GiB.
/// References between them are relative to the first.
fn identity_map_tables() -> [[u64; 512]; 6] {
    let mut tables = [[0; 512]; 6];
    tables[0][0] = PAGE | P | RW;
    for gib in 0..4 {
        tables[1][gib] = ((2 + gib as u64) * PAGE) | P | RW;
        for (page, entry) in tables[2 + gib].iter_mut().enumerate() {
            *entry = ((gib as u64) << 30 | (page as u64) << 21) | P | RW | A_D | PS;
        }
    }
    tables
}

/// Makes a relative reference to a table absolute; entries that map pages stay.
fn relocate_entry(entry: u64, base: u64) -> u64 {
    if entry & P != 0 && entry & PS == 0 { entry + base } else { entry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_map_last_entry_maps_last_page_below_4_gib() {
        let tables = identity_map_tables();
        assert_eq!(tables[5][511] & !0xfff, 0xffe0_0000);
        assert_eq!(tables[0][0], 0x1003);
        assert_eq!(relocate_entry(tables[1][3], 0x1_0000), 0x1_5003);
    }
}
