//! "Multiboot2 Specification", version 2.0: "Header" and "Boot information"; entered as "I386 machine state" says.
//!
//! EFI is not offered: tags with EFI entry points are ignored, as the specification asks of a loader on a machine without EFI;
//! a header that cannot do without EFI boot services is refused.

use super::{AddressFields, Kernel, LOADER_NAME, find_header, load_elf, memory_kib, parse_elf, place_modules};
use crate::boot::Loader;
use crate::boot::entry::{EntryMode, EntryState, gpr};
use crate::boot::error::BootError;
use crate::boot::image_bytes::ImageBytes;
use crate::boot::placement::{FOUR_GIB, ONE_MIB};

const HEADER: &str = "multiboot 2 header";
const HEADER_MAGIC: u32 = 0xe852_50d6;
/// What the kernel finds in EAX.
const BOOT_MAGIC: u64 = 0x36d7_6289;
/// The header lies completely within the first bytes of the file, on an 8-byte boundary.
const SEARCH: u64 = 32768;
/// Architecture field: i386 in protected mode.
const ARCHITECTURE_I386: u32 = 0;

/// Types of the header's tags.
mod tag {
    pub const END: u16 = 0;
    pub const INFORMATION_REQUEST: u16 = 1;
    pub const ADDRESS: u16 = 2;
    pub const ENTRY_ADDRESS: u16 = 3;
    pub const CONSOLE_FLAGS: u16 = 4;
    pub const FRAMEBUFFER: u16 = 5;
    pub const MODULE_ALIGN: u16 = 6;
    pub const EFI_BS: u16 = 7;
    pub const ENTRY_ADDRESS_EFI32: u16 = 8;
    pub const ENTRY_ADDRESS_EFI64: u16 = 9;
    pub const RELOCATABLE: u16 = 10;
    /// Flag: the loader may ignore the tag.
    pub const OPTIONAL: u16 = 1;
    /// Console flag: a console must be there.
    pub const CONSOLE_REQUIRED: u32 = 1 << 0;
}

/// Types of the boot information's tags.
mod info {
    pub const END: u32 = 0;
    pub const CMDLINE: u32 = 1;
    pub const LOADER_NAME: u32 = 2;
    pub const MODULE: u32 = 3;
    pub const BASIC_MEMINFO: u32 = 4;
    pub const MMAP: u32 = 6;
    pub const ELF_SECTIONS: u32 = 9;
    pub const ACPI_OLD: u32 = 14;
    pub const ACPI_NEW: u32 = 15;
    pub const LOAD_BASE_ADDR: u32 = 21;
    /// The names of the types, by number.
    pub const NAMES: [&str; 22] = [
        "end",
        "boot command line",
        "boot loader name",
        "modules",
        "basic memory information",
        "BIOS boot device",
        "memory map",
        "VBE info",
        "framebuffer info",
        "ELF symbols",
        "APM table",
        "EFI 32-bit system table",
        "EFI 64-bit system table",
        "SMBIOS tables",
        "ACPI old RSDP",
        "ACPI new RSDP",
        "network information",
        "EFI memory map",
        "EFI boot services not terminated",
        "EFI 32-bit image handle",
        "EFI 64-bit image handle",
        "image load base physical address",
    ];
}

/// "Relocatable header tag".
#[derive(Clone, Copy, Debug)]
struct Relocatable {
    min_addr: u64,
    /// Highest address that the image may occupy.
    max_addr: u64,
    align: u64,
    preference: Preference,
}

#[derive(Clone, Copy, Debug)]
enum Preference {
    None,
    Lowest,
    Highest,
}

/// What the header's tags say.
#[derive(Debug, Default)]
struct Header {
    address: Option<AddressFields>,
    entry: Option<u64>,
    relocatable: Option<Relocatable>,
}

/// The offset of the header, if there is one.
pub(in crate::boot) fn header_offset(image: &[u8]) -> Result<Option<u64>, BootError> {
    find_header(image, 2, HEADER_MAGIC, SEARCH, 8, 4)
}

/// Places the kernel, its modules and the boot information.
pub(in crate::boot) fn load(loader: &mut Loader<'_, '_>, image: &[u8], offset: u64) -> Result<EntryState, BootError> {
    let header = read_header(loader, image, offset)?;
    let kernel = match &header.address {
        Some(address) => {
            let what = "an entry address tag next to its address tag".to_string();
            let entry = header.entry.ok_or(BootError::Demand { version: 2, what })?;
            address.load(loader, image, entry)?
        }
        None => {
            let elf = parse_elf(image, 2)?;
            let (start, end, _) = elf.extent()?;
            let slide = match &header.relocatable {
                Some(relocatable) => relocatable.place(loader, start, end)?.wrapping_sub(start),
                None => 0,
            };
            let mut kernel = load_elf(loader, &elf, slide)?;
            if let Some(entry) = header.entry {
                kernel.entry = entry.wrapping_add(slide);
            }
            kernel
        }
    };
    if !(kernel.start..kernel.end).contains(&kernel.entry) {
        return Err(BootError::EntryOutside { entry: kernel.entry });
    }
    let info = place_info(loader, &kernel, header.relocatable.is_some())?;
    let gdt = loader.place_gdt(EntryMode::Protected32)?;
    let mut state = EntryState::protected32(kernel.entry, gdt);
    state.gpr[gpr::RAX] = BOOT_MAGIC;
    state.gpr[gpr::RBX] = info;
    Ok(state)
}

/// Reads the tags and refuses what cannot be met.
fn read_header(loader: &Loader<'_, '_>, image: &[u8], offset: u64) -> Result<Header, BootError> {
    let file = ImageBytes::new(image, HEADER);
    let bad = |field, value| BootError::BadField { header: HEADER, field, value };
    let demand = |what: &str| BootError::Demand { version: 2, what: what.into() };
    let architecture = file.u32(offset.saturating_add(4))?;
    if architecture != ARCHITECTURE_I386 {
        return Err(bad("architecture", architecture.into()));
    }
    let length = u64::from(file.u32(offset + 8)?);
    if length < 16 || length > SEARCH - offset {
        return Err(bad("header_length", length));
    }
    let bytes = ImageBytes::new(file.slice(offset, length)?, HEADER);
    let mut header = Header::default();
    let mut at = 16;
    loop {
        let (kind, flags, size) = (bytes.u16(at)?, bytes.u16(at + 2)?, u64::from(bytes.u32(at + 4)?));
        if size < 8 || size > length - at {
            return Err(bad("size of a tag", size));
        }
        let tag = ImageBytes::new(bytes.slice(at, size)?, HEADER);
        let required = flags & tag::OPTIONAL == 0;
        match kind {
            tag::END => return Ok(header),
            tag::INFORMATION_REQUEST if required => check_requests(loader, &tag, size)?,
            tag::ADDRESS => header.address = Some(read_address(&tag, offset)?),
            tag::ENTRY_ADDRESS => header.entry = Some(tag.u32(8)?.into()),
            tag::CONSOLE_FLAGS if required && tag.u32(8)? & tag::CONSOLE_REQUIRED != 0 => {
                return Err(demand("a console (console flags tag)"));
            }
            tag::FRAMEBUFFER if required => return Err(demand("a framebuffer (framebuffer tag)")),
            tag::EFI_BS if required => return Err(demand("EFI boot services (EFI boot services tag)")),
            tag::RELOCATABLE => header.relocatable = Some(Relocatable::read(&tag)?),
            // Modules are always on page boundaries; the others concern machines with EFI, or are optional.
            tag::INFORMATION_REQUEST
            | tag::CONSOLE_FLAGS
            | tag::FRAMEBUFFER
            | tag::MODULE_ALIGN
            | tag::EFI_BS
            | tag::ENTRY_ADDRESS_EFI32
            | tag::ENTRY_ADDRESS_EFI64 => {}
            other if required => return Err(demand(&format!("the unknown header tag {other}"))),
            _ => {}
        }
        // Tags are padded so that the next one begins on an 8-byte boundary.
        at += size.next_multiple_of(8);
    }
}

/// "Information request header tag": each type must be one that is given.
fn check_requests(loader: &Loader<'_, '_>, tag: &ImageBytes<'_>, size: u64) -> Result<(), BootError> {
    for at in (8..size - size % 4).step_by(4) {
        let kind = tag.u32(at)?;
        let given = match kind {
            info::CMDLINE
            | info::LOADER_NAME
            | info::MODULE
            | info::BASIC_MEMINFO
            | info::MMAP
            | info::ELF_SECTIONS
            | info::LOAD_BASE_ADDR => true,
            info::ACPI_OLD | info::ACPI_NEW => loader.request.rsdp.is_some(),
            _ => false,
        };
        if !given {
            let name = info::NAMES.get(kind as usize).copied().unwrap_or("unknown");
            let what = format!("the boot information tag {kind} ({name})");
            return Err(BootError::Demand { version: 2, what });
        }
    }
    Ok(())
}

fn read_address(tag: &ImageBytes<'_>, header_offset: u64) -> Result<AddressFields, BootError> {
    Ok(AddressFields {
        version: 2,
        header_offset,
        header_addr: tag.u32(8)?.into(),
        load_addr: tag.u32(12)?.into(),
        load_end_addr: tag.u32(16)?.into(),
        bss_end_addr: tag.u32(20)?.into(),
    })
}

impl Relocatable {
    fn read(tag: &ImageBytes<'_>) -> Result<Self, BootError> {
        let bad = |field, value| BootError::BadField { header: "multiboot 2 relocatable tag", field, value };
        let align = u64::from(tag.u32(16)?);
        if !align.is_power_of_two() {
            return Err(bad("align", align));
        }
        let preference = match tag.u32(20)? {
            0 => Preference::None,
            1 => Preference::Lowest,
            2 => Preference::Highest,
            other => return Err(bad("preference", other.into())),
        };
        Ok(Self { min_addr: tag.u32(8)?.into(), max_addr: tag.u32(12)?.into(), align, preference })
    }

    /// Where the image that is linked at `start..end` goes. Nothing is taken yet.
    fn place(&self, loader: &Loader<'_, '_>, start: u64, end: u64) -> Result<u64, BootError> {
        let len = end - start;
        let window = (self.min_addr.max(ONE_MIB), (self.max_addr + 1).min(FOUR_GIB));
        let mut trial = loader.placement.clone();
        match self.preference {
            Preference::None if window.0 <= start && end <= window.1 && trial.is_free(start, len) => Ok(start),
            Preference::None | Preference::Lowest => trial.lowest("kernel", window, len, self.align),
            Preference::Highest => trial.highest("kernel", window, len, self.align),
        }
    }
}

/// The tags of the boot information, one after the other.
struct Tags {
    bytes: Vec<u8>,
}

impl Tags {
    /// A tag with its parts, padded to an 8-byte boundary.
    fn push(&mut self, kind: u32, parts: &[&[u8]]) {
        let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        // Parts are strings, maps and headers of less than 4 GiB: they lie in the machine's low RAM in the end.
        self.bytes.extend_from_slice(&(size as u32).to_le_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    fn push_words(&mut self, kind: u32, words: &[u32], rest: &[u8]) {
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.push(kind, &[&words, rest]);
    }
}

/// The boot information.
fn place_info(loader: &mut Loader<'_, '_>, kernel: &Kernel, relocatable: bool) -> Result<u64, BootError> {
    let request = loader.request;
    // total_size and a reserved word come first.
    let mut tags = Tags { bytes: vec![0; 8] };
    tags.push(info::CMDLINE, &[request.command_line.as_bytes(), b"\0"]);
    tags.push(info::LOADER_NAME, &[LOADER_NAME.as_bytes(), b"\0"]);
    for module in place_modules(loader, kernel.end)? {
        let string = [module.string.as_bytes(), b"\0"].concat();
        tags.push_words(info::MODULE, &[module.start as u32, module.end as u32], &string);
    }
    let (lower, upper) = memory_kib(request.memory_map);
    tags.push_words(info::BASIC_MEMINFO, &[lower, upper], &[]);
    let map: Vec<u8> = request.memory_map.iter().flat_map(|entry| entry.to_bytes().into_iter().chain([0; 4])).collect();
    // Size and version of an entry.
    tags.push_words(info::MMAP, &[24, 0], &map);
    if let Some(sections) = &kernel.sections {
        tags.push_words(info::ELF_SECTIONS, &[sections.num, sections.entsize, sections.shndx], &sections.headers);
    }
    if let Some((_, rsdp)) = request.rsdp {
        // The root pointer of revision 1 is the first 20 bytes of that of revision 2.
        tags.push(info::ACPI_OLD, &[&rsdp[..20]]);
        tags.push(info::ACPI_NEW, &[&rsdp]);
    }
    if relocatable {
        tags.push_words(info::LOAD_BASE_ADDR, &[kernel.start as u32], &[]);
    }
    tags.push(info::END, &[]);
    let total = (tags.bytes.len() as u32).to_le_bytes();
    tags.bytes[..4].copy_from_slice(&total);
    loader.place_low("boot information", &tags.bytes)
}
