//! Loading a kernel the way a boot loader does, without one running in the machine.
//!
//! The kind of a file is recognised by its contents, never by its name, in this order; a gzip-compressed file is decompressed first:
//!
//! 1. a Linux bzImage (`linux`): "The Linux/x86 Boot Protocol", 2.06 and later; entered in 64-bit mode when it can be;
//! 2. a multiboot 2 header (`multiboot2`) in the first 32 KiB;
//! 3. a multiboot 1 header (`multiboot1`) in the first 8 KiB;
//! 4. an ELF file with a PVH entry note (`pvh`).
//!
//! Multiboot goes before PVH, since it is what a boot loader would use on hardware: Xen may have all three and comes up with its dom0 kernel
//! and modules by multiboot 2, while a Linux `vmlinux` has the PVH note alone.
//! [`BootRequest::protocol`] overrides the order.
//!
//! Everything here is a pure function from the request to writes of [`BootMemory`] and an [`EntryState`]. Images are hostile: all
//! arithmetic on their fields is checked, and what is written lies in RAM that the memory map calls usable.

mod elf;
mod entry;
mod error;
mod gzip;
mod image_bytes;
mod linux;
mod multiboot;
mod placement;
mod pvh;
#[cfg(test)]
mod tests;

pub use entry::{BOOT_CS, BOOT_DS, BOOT_TSS, EntryMode, EntryState, SegmentState, TableRegister, gdt, gpr};
pub use error::BootError;
pub use placement::Claim;

use crate::board::firmware_tables::E820Entry;
use placement::Placement;
use serde::{Deserialize, Serialize};
use std::fmt;
use undercroft_spec::PhysAddr;

/// The machine's RAM as a boot loader sees it.
pub trait BootMemory {
    /// Writes `data` at `addr`.
    ///
    /// # Errors
    /// [`NoRamHere`] when some of the bytes are not RAM; then it is unspecified which bytes were written.
    fn write(&mut self, addr: PhysAddr, data: &[u8]) -> Result<(), NoRamHere>;

    /// Writes `len` zero bytes at `addr`. RAM that is known to be zero may stay untouched.
    ///
    /// # Errors
    /// As [`BootMemory::write`].
    fn zero(&mut self, addr: PhysAddr, len: u64) -> Result<(), NoRamHere> {
        let zeros = [0; 0x1000];
        let mut done = 0;
        while done < len {
            let part = (len - done).min(zeros.len() as u64);
            self.write(addr.wrapping_add(done), &zeros[..part as usize])?;
            done += part;
        }
        Ok(())
    }
}

/// The answer of [`BootMemory`] to an address that is not RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRamHere;

/// A boot protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// "The Linux/x86 Boot Protocol".
    Linux,
    /// "Multiboot2 Specification", version 2.0.
    Multiboot2,
    /// "Multiboot Specification", version 0.6.96.
    Multiboot1,
    /// The x86/HVM direct boot ABI of Xen.
    Pvh,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Linux => "Linux",
            Protocol::Multiboot2 => "multiboot 2",
            Protocol::Multiboot1 => "multiboot 1",
            Protocol::Pvh => "PVH",
        })
    }
}

/// A file that is given to the kernel next to its image: an initial RAM disk, or a module.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// The file's contents, placed as they are.
    pub data: &'a [u8],
    /// The module's string (multiboot, PVH); not used for Linux.
    pub command_line: &'a str,
}

/// What to load, and what the machine is like.
#[derive(Clone, Copy, Debug)]
pub struct BootRequest<'a> {
    /// The file that is booted.
    pub image: &'a [u8],
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Modules in order. For Linux: none, or one initial RAM disk.
    pub modules: &'a [Module<'a>],
    /// The memory map that the kernel sees; the loader uses only what it calls RAM, below 4 GiB.
    pub memory_map: &'a [E820Entry],
    /// Address and contents of the ACPI root pointer (revision 2, 36 bytes), if there are ACPI tables.
    pub rsdp: Option<(PhysAddr, [u8; 36])>,
    /// The protocol to use; None to recognise it.
    pub protocol: Option<Protocol>,
}

/// An image that lies in the machine's RAM, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The protocol that was used.
    pub protocol: Protocol,
    /// The state in which the boot processor starts.
    pub entry: EntryState,
    /// What lies where.
    pub claims: Vec<Claim>,
}

/// Loads an image into the machine's RAM.
///
/// # Errors
/// [`BootError`], when the image is none that can be booted, is damaged, or does not fit.
pub fn load(memory: &mut dyn BootMemory, request: &BootRequest<'_>) -> Result<Loaded, BootError> {
    if request.command_line.contains('\0') || request.modules.iter().any(|module| module.command_line.contains('\0')) {
        return Err(BootError::CommandLineZero);
    }
    let image = gzip::decompress(request.image)?;
    let start = recognise_start(&image, request.protocol)?;
    let mut loader = Loader { memory, request, placement: Placement::new(request.memory_map) };
    let entry = match start {
        Start::Linux => linux::load(&mut loader, &image)?,
        Start::Multiboot2(offset) => multiboot::v2::load(&mut loader, &image, offset)?,
        Start::Multiboot1(offset) => multiboot::v1::load(&mut loader, &image, offset)?,
        Start::Pvh(entry) => pvh::load(&mut loader, &image, entry)?,
    };
    Ok(Loaded { protocol: start.protocol(), entry, claims: loader.placement.into_claims() })
}

/// The protocol by which a file would be booted.
///
/// # Errors
/// [`BootError`], when it is of no kind that can be booted.
pub fn recognise(image: &[u8]) -> Result<Protocol, BootError> {
    recognise_start(&gzip::decompress(image)?, None).map(|start| start.protocol())
}

/// A protocol, and where in the file it begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    Linux,
    /// Offset of the header.
    Multiboot2(u64),
    /// Offset of the header.
    Multiboot1(u64),
    /// Physical entry point.
    Pvh(u64),
}

impl Start {
    fn protocol(self) -> Protocol {
        match self {
            Start::Linux => Protocol::Linux,
            Start::Multiboot2(_) => Protocol::Multiboot2,
            Start::Multiboot1(_) => Protocol::Multiboot1,
            Start::Pvh(_) => Protocol::Pvh,
        }
    }
}

/// Tries the protocols in the documented order, or the one that is wanted. A damaged header is an error only if no other is found.
fn recognise_start(image: &[u8], wanted: Option<Protocol>) -> Result<Start, BootError> {
    let mut damaged = None;
    for protocol in [Protocol::Linux, Protocol::Multiboot2, Protocol::Multiboot1, Protocol::Pvh] {
        if wanted.is_some_and(|wanted| wanted != protocol) {
            continue;
        }
        let found = match protocol {
            Protocol::Linux => Ok(linux::is_bzimage(image).then_some(Start::Linux)),
            Protocol::Multiboot2 => multiboot::v2::header_offset(image).map(|found| found.map(Start::Multiboot2)),
            Protocol::Multiboot1 => multiboot::v1::header_offset(image).map(|found| found.map(Start::Multiboot1)),
            Protocol::Pvh => pvh::entry_of(image).map(|found| found.map(Start::Pvh)),
        };
        match found {
            Ok(Some(start)) => return Ok(start),
            Ok(None) => {}
            Err(error) => damaged = damaged.or(Some(error)),
        }
    }
    Err(damaged.unwrap_or(match wanted {
        Some(wanted) => BootError::ProtocolAbsent { wanted },
        None if elf::is_elf(image) => BootError::NoEntryProtocol,
        None => BootError::Unrecognised,
    }))
}

/// What the protocols share: the request, the machine's RAM and who has which part of it.
struct Loader<'m, 'a> {
    memory: &'m mut dyn BootMemory,
    request: &'a BootRequest<'a>,
    placement: Placement,
}

impl Loader<'_, '_> {
    fn write(&mut self, start: u64, data: &[u8]) -> Result<(), BootError> {
        let failed = BootError::Write { start, len: data.len() as u64 };
        self.memory.write(PhysAddr(start), data).map_err(|NoRamHere| failed)
    }

    fn zero(&mut self, start: u64, len: u64) -> Result<(), BootError> {
        self.memory.zero(PhysAddr(start), len).map_err(|NoRamHere| BootError::Write { start, len })
    }

    /// Writes a string and its final zero below 1 MiB, or above when it is too long; returns its address.
    fn place_string(&mut self, what: &'static str, text: &str) -> Result<u64, BootError> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.place_low(what, &bytes)
    }

    /// Takes whole pages below 1 MiB, or above when there are too few; returns the address.
    fn reserve_low(&mut self, what: &'static str, len: u64) -> Result<u64, BootError> {
        use placement::{ABOVE_1_MIB, LOW_END, LOW_START, PAGE};
        self.placement
            .lowest(what, (LOW_START, LOW_END), len, PAGE)
            .or_else(|_| self.placement.lowest(what, ABOVE_1_MIB, len, PAGE))
    }

    /// Writes `bytes` to pages below 1 MiB, or above when there are too few; returns the address.
    fn place_low(&mut self, what: &'static str, bytes: &[u8]) -> Result<u64, BootError> {
        let start = self.reserve_low(what, bytes.len() as u64)?;
        self.write(start, bytes)?;
        Ok(start)
    }

    /// Writes the GDT for `mode`; returns its address.
    fn place_gdt(&mut self, mode: EntryMode) -> Result<u64, BootError> {
        let bytes: Vec<u8> = gdt(mode).iter().flat_map(|descriptor| descriptor.to_le_bytes()).collect();
        self.place_low("descriptor table", &bytes)
    }
}
