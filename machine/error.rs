//! Why a machine cannot be had: one sentence each.

use crate::board::DISKS_MAX;
use crate::board::firmware_tables::TablesError;
use crate::boot::BootError;
use std::path::PathBuf;
use undercroft_platform::chipset::fw_cfg::ItemError;
use undercroft_platform::pci::ResourceError;
use undercroft_ram::RamError;

/// Most logical processors of a machine.
pub const CPUS_MAX: u32 = 64;
/// Least RAM of a machine in bytes.
pub const MEMORY_MIN: u64 = 2 << 20;
/// Most RAM of a machine in bytes.
pub const MEMORY_MAX: u64 = 1 << 40;

/// Why a machine was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nothing to boot.
    #[error("there is no kernel to boot; name an image")]
    NoKernel,
    /// Too little or too much RAM, or no whole number of pages.
    #[error("{bytes} bytes of RAM are not possible; give the machine between 2 MiB and 1 TiB, a multiple of 4 KiB")]
    Memory {
        /// What was asked for.
        bytes: u64,
    },
    /// No processor, or too many.
    #[error("{cpus} processors are not possible; give the machine between 1 and {CPUS_MAX}")]
    Cpus {
        /// What was asked for.
        cpus: u32,
    },
    /// A turn without instructions.
    #[error("a quantum of 0 instructions is not possible; give at least 1")]
    Quantum,
    /// More disks than places on the bus.
    #[error("{disks} disks are too many; the bus has room for {DISKS_MAX}")]
    Disks {
        /// What was asked for.
        disks: usize,
    },
    /// A file cannot be read.
    #[error("the {what} {path} cannot be read: {source}", path = .path.display())]
    File {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the host says.
        source: std::io::Error,
    },
    /// A disk image of no size.
    #[error("the disk image {path} holds {bytes} bytes, which is no whole number of 512-byte sectors; fill it up", path = .path.display())]
    DiskSize {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        bytes: u64,
    },
    /// The image cannot be booted.
    #[error("{name} cannot be booted: {source}")]
    Boot {
        /// The file, or what stands for it.
        name: String,
        /// Why.
        source: BootError,
    },
    /// The host has not enough memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// The machine cannot be described to its software.
    #[error("the machine cannot be described by ACPI tables: {0}")]
    Tables(#[from] TablesError),
    /// The devices do not fit into the address map.
    #[error(transparent)]
    Resources(#[from] ResourceError),
    /// The firmware configuration device.
    #[error(transparent)]
    FwCfg(#[from] ItemError),
}
