//! Why an image was not loaded: one sentence each, which says what to change.

use super::Protocol;
use thiserror::Error;

/// Why an image was not loaded. After an error the contents of the machine's RAM are unspecified.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BootError {
    /// The file ends before something that it promises.
    #[error(
        "the {part} is truncated: {len:#x} bytes are needed at offset {offset:#x}, but it has {have:#x} bytes; give the complete file"
    )]
    Truncated {
        /// The file or the part of it.
        part: &'static str,
        /// Offset of what was to be read.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// The length of the file or part in bytes.
        have: u64,
    },
    /// The file is of no kind that can be booted.
    #[error(
        "the file is not a Linux bzImage, has no multiboot header and is not an ELF file; give a kernel image of one of these kinds"
    )]
    Unrecognised,
    /// An ELF file without any way to start it.
    #[error(
        "the ELF file has neither a multiboot header nor a PVH entry note; build it with one of them (Linux: CONFIG_PVH, or give the bzImage)"
    )]
    NoEntryProtocol,
    /// The protocol that was asked for is not offered by the file.
    #[error("the file does not offer the {wanted} boot protocol; choose another protocol, or let it be recognised")]
    ProtocolAbsent {
        /// The protocol that was asked for.
        wanted: Protocol,
    },
    /// A multiboot header was found, but its checksum is wrong.
    #[error(
        "the multiboot {version} header at offset {offset:#x} has a wrong checksum; its fields and the checksum must add up to 0 modulo 2^32"
    )]
    HeaderChecksum {
        /// 1 or 2.
        version: u8,
        /// Offset of the header in the file.
        offset: u64,
    },
    /// The gzip stream is damaged.
    #[error("the gzip-compressed image cannot be decompressed ({reason}); fetch the file again, or gunzip it yourself")]
    Gzip {
        /// What the decompressor said.
        reason: String,
    },
    /// The gzip stream is larger than what is accepted.
    #[error("the gzip-compressed image is larger than {limit:#x} bytes when decompressed; give a smaller image")]
    GzipTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A Linux kernel that is too old.
    #[error(
        "the Linux boot protocol of this kernel is {major}.{minor:02}, but at least 2.06 is needed; use a kernel of version 2.6.22 or later"
    )]
    LinuxProtocolTooOld {
        /// High byte of the version.
        major: u8,
        /// Low byte of the version.
        minor: u8,
    },
    /// A Linux kernel that is to be loaded low.
    #[error("the kernel is a zImage, which is loaded below 1 MiB; build a bzImage")]
    LinuxZImage,
    /// A field of a header makes no sense.
    #[error("the field {field} of the {header} is {value:#x}, which is not valid; rebuild the image")]
    BadField {
        /// The header.
        header: &'static str,
        /// The field, with the manual's name.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The command line does not fit.
    #[error("the command line has {len} bytes, but this image takes at most {limit}; shorten it")]
    CommandLineTooLong {
        /// Its length in bytes, without the final zero.
        len: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// A zero byte within a command line or a module's string.
    #[error("a command line holds a zero byte, which would end it early; remove it")]
    CommandLineZero,
    /// More modules than the protocol can pass.
    #[error("{count} modules were given, but the {protocol} boot protocol takes at most {limit}; remove some")]
    TooManyModules {
        /// How many were given.
        count: u64,
        /// The protocol.
        protocol: Protocol,
        /// The most that it can pass.
        limit: u64,
    },
    /// The memory map has more entries than the protocol can pass.
    #[error("the memory map has {count} entries, but the boot parameters have room for {limit}; merge some")]
    TooManyMapEntries {
        /// How many entries there are.
        count: u64,
        /// The most that fit.
        limit: u64,
    },
    /// Two things want the same place.
    #[error(
        "the {what} must be at {start:#x}..{end:#x}, where the {other} already is; change the addresses in the image"
    )]
    Overlap {
        /// What was to be placed.
        what: &'static str,
        /// Its first address.
        start: u64,
        /// The address after its last.
        end: u64,
        /// What is there.
        other: &'static str,
    },
    /// A place that is demanded is not RAM.
    #[error(
        "the {what} must be at {start:#x}..{end:#x}, which is not all usable RAM below 4 GiB; give the machine more memory, or link the image elsewhere"
    )]
    NotRam {
        /// What was to be placed.
        what: &'static str,
        /// Its first address.
        start: u64,
        /// The address after its last.
        end: u64,
    },
    /// No free place is large enough.
    #[error("there is no free RAM for the {what} ({len:#x} bytes) in {from:#x}..{to:#x}; give the machine more memory")]
    NoRoom {
        /// What was to be placed.
        what: &'static str,
        /// Its length in bytes.
        len: u64,
        /// Lowest address that was acceptable.
        from: u64,
        /// End of the acceptable range.
        to: u64,
    },
    /// The memory map and the machine's RAM disagree.
    #[error(
        "writing {len:#x} bytes at {start:#x} failed, since there is no RAM, though the memory map says so; correct the memory map"
    )]
    Write {
        /// First address.
        start: u64,
        /// Number of bytes.
        len: u64,
    },
    /// An ELF file for another machine.
    #[error("the ELF file is not for x86 ({what}); give one for i386 or x86-64, little-endian")]
    ElfMachine {
        /// What is wrong.
        what: &'static str,
    },
    /// An ELF file with nothing to load.
    #[error("the ELF file has no loadable segment; link it as an executable")]
    ElfNothingToLoad,
    /// An entry point above 4 GiB or outside all segments.
    #[error("the entry point {entry:#x} is not in a loaded part of the image; check the image's entry address")]
    EntryOutside {
        /// The entry point.
        entry: u64,
    },
    /// A demand of a multiboot header that cannot be met.
    #[error(
        "the multiboot {version} header demands {what}, which this machine does not offer; make it optional in the image"
    )]
    Demand {
        /// 1 or 2.
        version: u8,
        /// What is demanded.
        what: String,
    },
}
