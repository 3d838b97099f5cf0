//! What the two multiboot protocols share: the address override of the header, modules, and the two numbers that tell the size of memory.

pub(super) mod v1;
pub(super) mod v2;

use super::Loader;
use super::elf::{Elf, SectionTable, is_elf};
use super::error::BootError;
use super::image_bytes::ImageBytes;
use super::placement::{ABOVE_1_MIB, FOUR_GIB, ONE_MIB, PAGE};
use crate::board::firmware_tables::{E820Entry, E820Type};

/// The loader's name in the boot information. Xen looks for "GRUB 2" in it to know that command lines do not begin with the
/// name of the file; the name says that this is the convention here too.
pub(super) const LOADER_NAME: &str =
    concat!("Undercroft ", env!("CARGO_PKG_VERSION"), ", with the conventions of GRUB 2");

/// The address fields of a header: where to load a file that the loader does not otherwise understand.
#[derive(Clone, Copy, Debug)]
struct AddressFields {
    /// 1 or 2, for messages.
    version: u8,
    /// Where the header is in the file.
    header_offset: u64,
    /// Where it is to be in memory.
    header_addr: u64,
    load_addr: u64,
    /// End of what the file fills; 0: all of the file.
    load_end_addr: u64,
    /// End of what is cleared behind it; 0: nothing.
    bss_end_addr: u64,
}

/// What was loaded.
#[derive(Debug)]
struct Kernel {
    /// Physical entry point.
    entry: u64,
    /// First address.
    start: u64,
    /// Address after the last.
    end: u64,
    /// Section headers of an ELF file that was loaded as one.
    sections: Option<SectionTable>,
}

impl AddressFields {
    fn header_name(&self) -> &'static str {
        if self.version == 1 { "multiboot 1 header" } else { "multiboot 2 address tag" }
    }

    /// Loads the file as the fields say.
    fn load(&self, loader: &mut Loader<'_, '_>, image: &[u8], entry: u64) -> Result<Kernel, BootError> {
        let bad = |field, value| BootError::BadField { header: self.header_name(), field, value };
        let offset = self
            .header_addr
            .checked_sub(self.load_addr)
            .and_then(|distance| self.header_offset.checked_sub(distance))
            .ok_or(bad("load_addr", self.load_addr))?;
        let file_len = match self.load_end_addr {
            0 => (image.len() as u64).saturating_sub(offset),
            end => end.checked_sub(self.load_addr).ok_or(bad("load_end_addr", end))?,
        };
        let data = ImageBytes::new(image, "kernel").slice(offset, file_len)?;
        // All are 32-bit numbers, and the file's length is that of a slice: no overflow.
        let load_end = self.load_addr + file_len;
        let end = match self.bss_end_addr {
            0 => load_end,
            bss if bss >= load_end => bss,
            bss => return Err(bad("bss_end_addr", bss)),
        };
        if !(self.load_addr..end).contains(&entry) {
            return Err(BootError::EntryOutside { entry });
        }
        loader.placement.exact("kernel", self.load_addr, end - self.load_addr)?;
        loader.write(self.load_addr, data)?;
        loader.zero(load_end, end - load_end)?;
        Ok(Kernel { entry, start: self.load_addr, end, sections: None })
    }
}

/// Loads an ELF file of either class by physical addresses, moved by `slide`.
fn load_elf(loader: &mut Loader<'_, '_>, elf: &Elf<'_>, slide: u64) -> Result<Kernel, BootError> {
    let (start, end, _) = elf.extent()?;
    let entry = elf.entry_physical()?.wrapping_add(slide);
    elf.load_segments(loader, slide)?;
    let sections = elf.load_sections(loader)?;
    Ok(Kernel { entry, start: start.wrapping_add(slide), end: end.wrapping_add(slide), sections })
}

/// The ELF file, or the error that says that a header without addresses needs one.
fn parse_elf(image: &[u8], version: u8) -> Result<Elf<'_>, BootError> {
    if is_elf(image) {
        Elf::parse(image)
    } else {
        Err(BootError::Demand {
            version,
            what: "an ELF file, since it has no address fields, but the file is none".into(),
        })
    }
}

/// A module in memory.
#[derive(Clone, Copy, Debug)]
struct PlacedModule<'a> {
    start: u64,
    end: u64,
    string: &'a str,
}

/// Places the modules in order at pages behind the kernel, where a kernel that maps little finds them, or elsewhere above 1 MiB.
fn place_modules<'a>(loader: &mut Loader<'_, 'a>, kernel_end: u64) -> Result<Vec<PlacedModule<'a>>, BootError> {
    let mut placed = Vec::new();
    let behind = (kernel_end.clamp(ONE_MIB, FOUR_GIB), FOUR_GIB);
    for module in loader.request.modules {
        let len = module.data.len() as u64;
        let start = loader
            .placement
            .lowest("module", behind, len, PAGE)
            .or_else(|_| loader.placement.lowest("module", ABOVE_1_MIB, len, PAGE))?;
        loader.write(start, module.data)?;
        placed.push(PlacedModule { start, end: start + len, string: module.command_line });
    }
    Ok(placed)
}

/// `mem_lower` and `mem_upper`: KiB of RAM from 0, and from 1 MiB to the first hole.
fn memory_kib(map: &[E820Entry]) -> (u32, u32) {
    let kib_from = |start: u64| {
        let entry = map
            .iter()
            .find(|entry| entry.kind == E820Type::Ram && entry.start <= start && start - entry.start < entry.len);
        let end = entry.map_or(start, |entry| entry.start.saturating_add(entry.len));
        u32::try_from((end - start) / 1024).unwrap_or(u32::MAX)
    };
    (kib_from(0).min(640), kib_from(ONE_MIB))
}

/// The offset of the first header with a right checksum among the multiples of `align` in the first `within` bytes. `sum` adds up
/// the header's checked fields at an offset where the magic number was found.
///
/// Errors: `HeaderChecksum`, when there are only headers with wrong ones.
fn find_header(
    image: &[u8],
    version: u8,
    magic: u32,
    within: u64,
    align: u64,
    words: u64,
) -> Result<Option<u64>, BootError> {
    let file = ImageBytes::new(image, "kernel");
    let mut wrong = None;
    let last = within.min(image.len() as u64).saturating_sub(words * 4);
    for offset in (0..=last).step_by(align as usize) {
        if file.u32(offset) != Ok(magic) {
            continue;
        }
        let sum =
            (0..words).try_fold(0u32, |sum, word| file.u32(offset + word * 4).map(|value| sum.wrapping_add(value)));
        match sum {
            Ok(0) => return Ok(Some(offset)),
            _ => wrong = wrong.or(Some(offset)),
        }
    }
    match wrong {
        Some(offset) => Err(BootError::HeaderChecksum { version, offset }),
        None => Ok(None),
    }
}
