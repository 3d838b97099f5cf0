//! As much of ELF as a boot loader reads: program headers, section headers and notes, of 32-bit and 64-bit files.
//!
//! Source: System V Application Binary Interface, "Object Files" and "Program Loading and Dynamic Linking".
//! Loading goes by physical addresses (`p_paddr`); nothing is relocated.

use super::Loader;
use super::error::BootError;
use super::image_bytes::ImageBytes;
use super::placement::{FOUR_GIB, align_up};

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const SHT_NOTE: u32 = 7;
/// Section types that a kernel wants to find in memory: symbol and string tables.
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
/// The section occupies memory when the program runs.
const SHF_ALLOC: u64 = 2;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
const HEADER: &str = "ELF header";
/// More program headers than any kernel has: the work that a hostile file can cause is bounded.
const MAX_SEGMENTS: u64 = 1024;
/// What is looked at of a note segment or section, for the same reason.
const MAX_NOTES: u64 = 0x1_0000;

/// The class of a file: how wide its addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Elf32,
    Elf64,
}

/// A program header.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    filesz: u64,
    memsz: u64,
    align: u64,
}

/// The fields of a section header that are read here.
#[derive(Clone, Copy, Debug)]
struct Section {
    kind: u32,
    flags: u64,
    offset: u64,
    size: u64,
    align: u64,
}

/// A file whose headers have been read.
#[derive(Debug)]
pub(super) struct Elf<'a> {
    file: ImageBytes<'a>,
    class: Class,
    /// The entry point, a virtual address.
    entry: u64,
    segments: Vec<Segment>,
    /// Offset, entry size and number of the section headers, and the index of the one with the names.
    section_headers: (u64, u64, u64, u64),
}

/// The section headers as multiboot passes them on.
#[derive(Debug)]
pub(super) struct SectionTable {
    pub(super) num: u32,
    pub(super) entsize: u32,
    pub(super) shndx: u32,
    /// The headers, with the addresses of the tables that were loaded filled in.
    pub(super) headers: Vec<u8>,
}

/// Whether the file begins like an ELF file.
pub(super) fn is_elf(image: &[u8]) -> bool {
    image.starts_with(b"\x7fELF")
}

impl<'a> Elf<'a> {
    /// Reads the headers; the segments' contents are not looked at.
    pub(super) fn parse(image: &'a [u8]) -> Result<Self, BootError> {
        let file = ImageBytes::new(image, "ELF file");
        let bad = |field, value| BootError::BadField { header: HEADER, field, value };
        let class = match file.u8(4)? {
            1 => Class::Elf32,
            2 => Class::Elf64,
            other => return Err(bad("EI_CLASS", other.into())),
        };
        if file.u8(5)? != 1 {
            return Err(BootError::ElfMachine { what: "it is big-endian" });
        }
        if ![EM_386, EM_X86_64].contains(&file.u16(18)?) {
            return Err(BootError::ElfMachine { what: "e_machine names another processor" });
        }
        let (entry, phoff, shoff, sizes) = match class {
            Class::Elf32 => (file.u32(24)?.into(), file.u32(28)?.into(), file.u32(32)?.into(), 42),
            Class::Elf64 => (file.u64(24)?, file.u64(32)?, file.u64(40)?, 54),
        };
        let size = |index: u64| file.u16(sizes + index * 2).map(u64::from);
        let (phentsize, phnum) = (size(0)?, size(1)?);
        let mut this =
            Self { file, class, entry, segments: Vec::new(), section_headers: (shoff, size(2)?, size(3)?, size(4)?) };
        let least = if class == Class::Elf32 { 32 } else { 56 };
        if phnum != 0 && phentsize < least {
            return Err(bad("e_phentsize", phentsize));
        }
        if phnum > MAX_SEGMENTS {
            return Err(bad("e_phnum", phnum));
        }
        for index in 0..phnum {
            // 16-bit factors: no overflow in the product.
            let at = phoff.checked_add(index * phentsize).ok_or(bad("e_phoff", phoff))?;
            let segment = this.segment(at)?;
            this.segments.push(segment);
        }
        if this.section_headers.2 != 0 && this.section_headers.1 < if class == Class::Elf32 { 40 } else { 64 } {
            return Err(bad("e_shentsize", this.section_headers.1));
        }
        Ok(this)
    }

    fn segment(&self, at: u64) -> Result<Segment, BootError> {
        let header = ImageBytes::new(self.file.slice(at, if self.class == Class::Elf32 { 32 } else { 56 })?, HEADER);
        let word = |offset| header.u32(offset).map(u64::from);
        Ok(match self.class {
            Class::Elf32 => Segment {
                kind: header.u32(0)?,
                offset: word(4)?,
                vaddr: word(8)?,
                paddr: word(12)?,
                filesz: word(16)?,
                memsz: word(20)?,
                align: word(28)?,
            },
            Class::Elf64 => Segment {
                kind: header.u32(0)?,
                offset: header.u64(8)?,
                vaddr: header.u64(16)?,
                paddr: header.u64(24)?,
                filesz: header.u64(32)?,
                memsz: header.u64(40)?,
                align: header.u64(48)?,
            },
        })
    }

    fn section(&self, index: u64) -> Result<Section, BootError> {
        let (shoff, entsize, _, _) = self.section_headers;
        let at = shoff.checked_add(index * entsize).ok_or(BootError::BadField {
            header: HEADER,
            field: "e_shoff",
            value: shoff,
        })?;
        let file = self.file;
        let word = |offset| file.u32(at.saturating_add(offset)).map(u64::from);
        let wide = |offset| file.u64(at.saturating_add(offset));
        Ok(match self.class {
            Class::Elf32 => {
                Section { kind: word(4)? as u32, flags: word(8)?, offset: word(16)?, size: word(20)?, align: word(32)? }
            }
            Class::Elf64 => {
                Section { kind: word(4)? as u32, flags: wide(8)?, offset: wide(24)?, size: wide(32)?, align: wide(48)? }
            }
        })
    }

    fn loadable(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD && segment.memsz != 0)
    }

    /// First address and address after the last of the loaded image, before it is moved, and the largest alignment of a segment.
    pub(super) fn extent(&self) -> Result<(u64, u64, u64), BootError> {
        let mut extent: Option<(u64, u64, u64)> = None;
        for segment in self.loadable() {
            let end = segment.paddr.checked_add(segment.memsz).ok_or(BootError::NotRam {
                what: "kernel",
                start: segment.paddr,
                end: u64::MAX,
            })?;
            let (low, high, align) = extent.unwrap_or((u64::MAX, 0, 1));
            extent = Some((low.min(segment.paddr), high.max(end), align.max(segment.align)));
        }
        extent.ok_or(BootError::ElfNothingToLoad)
    }

    /// Copies the segments to their physical addresses, moved by `slide` modulo 2^64, and clears what the file does not fill.
    pub(super) fn load_segments(&self, loader: &mut Loader<'_, '_>, slide: u64) -> Result<(), BootError> {
        // Nothing overflows below, since the ends were checked.
        self.extent()?;
        for segment in self.loadable() {
            if segment.filesz > segment.memsz {
                return Err(BootError::BadField { header: "program header", field: "p_filesz", value: segment.filesz });
            }
            let start = segment.paddr.wrapping_add(slide);
            let data = self.file.slice(segment.offset, segment.filesz)?;
            loader.placement.exact("kernel", start, segment.memsz)?;
            loader.write(start, data)?;
            loader.zero(start + segment.filesz, segment.memsz - segment.filesz)?;
        }
        Ok(())
    }

    /// The physical address of the entry point. Kernels give it as a virtual or as a physical address: what lies in a segment's
    /// virtual range is translated, what lies in a physical range stays.
    pub(super) fn entry_physical(&self) -> Result<u64, BootError> {
        let within = |base: u64, segment: &Segment| self.entry.wrapping_sub(base) < segment.memsz;
        let by_virtual = self
            .loadable()
            .find(|segment| within(segment.vaddr, segment))
            .map(|segment| segment.paddr.wrapping_add(self.entry.wrapping_sub(segment.vaddr)));
        by_virtual
            .or_else(|| self.loadable().any(|segment| within(segment.paddr, segment)).then_some(self.entry))
            .filter(|entry| *entry < FOUR_GIB)
            .ok_or(BootError::EntryOutside { entry: self.entry })
    }

    /// Whether an address lies in a loaded segment, by physical addresses.
    pub(super) fn contains_physical(&self, addr: u64) -> bool {
        self.loadable().any(|segment| addr.wrapping_sub(segment.paddr) < segment.memsz)
    }

    /// The contents of the first note of this owner and type, in note segments or, when there are none, in note sections.
    pub(super) fn note(&self, owner: &[u8], kind: u32) -> Result<Option<&'a [u8]>, BootError> {
        for segment in self.segments.iter().filter(|segment| segment.kind == PT_NOTE) {
            let notes = self.file.slice(segment.offset, segment.filesz.min(MAX_NOTES))?;
            if let Some(found) = find_note(notes, segment.align, owner, kind) {
                return Ok(Some(found));
            }
        }
        for index in 0..self.section_headers.2 {
            let section = self.section(index)?;
            if section.kind == SHT_NOTE {
                let notes = self.file.slice(section.offset, section.size.min(MAX_NOTES))?;
                if let Some(found) = find_note(notes, section.align, owner, kind) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The section headers for multiboot, or None when the file has none. Symbol and string tables are loaded to a free place, and
    /// their addresses are filled in; debug sections stay out.
    pub(super) fn load_sections(&self, loader: &mut Loader<'_, '_>) -> Result<Option<SectionTable>, BootError> {
        let (shoff, entsize, num, shndx) = self.section_headers;
        if num == 0 || shoff == 0 {
            return Ok(None);
        }
        let mut headers = self.file.slice(shoff, num * entsize)?.to_vec();
        let mut tables = Vec::new();
        let mut total = 0u64;
        for index in 0..num {
            let section = self.section(index)?;
            let wanted = matches!(section.kind, SHT_SYMTAB | SHT_STRTAB) && section.flags & SHF_ALLOC == 0;
            if wanted && section.size != 0 {
                let data = self.file.slice(section.offset, section.size)?;
                // Each table is no longer than the file, and there are less than 2^16: no overflow.
                let at = align_up(total, 16).unwrap_or(total);
                tables.push((index, at, data));
                total = at + section.size;
            }
        }
        if !tables.is_empty() {
            let base = loader.placement.lowest("symbol tables", super::placement::ABOVE_1_MIB, total, 4096)?;
            for (index, at, data) in tables {
                loader.write(base + at, data)?;
                self.set_section_address(&mut headers, index, base + at);
            }
        }
        // All three come from 16-bit fields.
        Ok(Some(SectionTable { num: num as u32, entsize: entsize as u32, shndx: shndx as u32, headers }))
    }

    fn set_section_address(&self, headers: &mut [u8], index: u64, addr: u64) {
        let (offset, width) = match self.class {
            Class::Elf32 => (12, 4),
            Class::Elf64 => (16, 8),
        };
        let at = (index * self.section_headers.1) as usize + offset;
        if let Some(field) = headers.get_mut(at..at + width) {
            field.copy_from_slice(&addr.to_le_bytes()[..width]);
        }
    }
}

/// Searches notes: name size, descriptor size, type, then name and descriptor, each padded to 4 bytes, or to 8 when the segment is
/// aligned so (the layout of 64-bit files which the ABI describes, but few tools write).
fn find_note<'a>(notes: &'a [u8], align: u64, owner: &[u8], kind: u32) -> Option<&'a [u8]> {
    let align = if align == 8 { 8 } else { 4 };
    let bytes = ImageBytes::new(notes, "note");
    let mut at = 0u64;
    loop {
        // A truncated last note ends the search.
        let (namesz, descsz) = (u64::from(bytes.u32(at).ok()?), u64::from(bytes.u32(at + 4).ok()?));
        let found = bytes.u32(at + 8).ok()?;
        let name_at = at + 12;
        let desc_at = align_up(name_at + namesz, align)?;
        let name = bytes.slice(name_at, namesz).ok()?;
        let desc = bytes.slice(desc_at, descsz).ok()?;
        if found == kind && name.strip_suffix(b"\0").unwrap_or(name) == owner {
            return Some(desc);
        }
        at = align_up(desc_at + descsz, align)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &[u8], kind: u32, desc: &[u8], align: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [owner.len() as u32, desc.len() as u32, kind] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for part in [owner, desc] {
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(align), 0);
        }
        bytes
    }

    #[test]
    fn note_in_either_alignment_is_found_behind_others() {
        for align in [4, 8] {
            let mut notes = note(b"GNU\0", 3, &[9; 20], align);
            notes.extend(note(b"Xen\0", 6, b"x", align));
            notes.extend(note(b"Xen\0", 18, &[1, 2, 3, 4], align));
            assert_eq!(find_note(&notes, align as u64, b"Xen", 18), Some(&[1, 2, 3, 4][..]), "{align}");
            assert_eq!(find_note(&notes, align as u64, b"Xen", 19), None);
            assert_eq!(find_note(&notes[..notes.len() - 8], align as u64, b"Xen", 18), None);
        }
    }
}
