//! What a machine is made of, as plain data: what a machine file says and a snapshot remembers.

use crate::boot::Protocol;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use undercroft_platform::backend::DiskMode;
use undercroft_platform::chipset::uart_ns16550::LineSpeed;

/// The configuration of a machine. [`MachineConfig::default`] is a complete machine but for what it boots.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineConfig {
    /// RAM in bytes, a multiple of 4096.
    pub memory: u64,
    /// Number of logical processors.
    pub cpus: u32,
    /// The image that is booted.
    pub kernel: Option<PathBuf>,
    /// The kernel's command line.
    pub append: String,
    /// The initial RAM disk (Linux), or the first module.
    pub initrd: Option<PathBuf>,
    /// Modules, in order.
    pub modules: Vec<ModuleConfig>,
    /// The boot protocol; none to recognise it from the image.
    pub protocol: Option<Protocol>,
    /// Disks, in the order of their places on the bus.
    pub disks: Vec<DiskConfig>,
    /// The serial ports.
    pub serial: SerialConfig,
    /// Seed of everything in the machine that looks random.
    pub seed: u64,
    /// Instructions that a logical processor executes before the next one's turn.
    pub quantum: u64,
    /// What the real-time clock shows at power-on: seconds after 1970-01-01 00:00:00 UTC.
    pub start_seconds: u64,
}

/// A module: a file that is given to the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModuleConfig {
    /// The file.
    pub file: PathBuf,
    /// Its string.
    pub arguments: String,
}

/// A disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiskConfig {
    /// The raw image.
    pub file: PathBuf,
    /// What becomes of writes.
    pub mode: DiskMode,
}

/// The serial ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SerialConfig {
    /// How long a character takes.
    pub speed: LineSpeed,
    /// Whether input can come. Without, a machine that waits for nothing else hangs.
    pub input: SerialInput,
}

/// Whether somebody can type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SerialInput {
    /// Bytes may be given at any time.
    Possible,
    /// Nothing will ever come.
    None,
}

/// Ticks a character by default: fast, so that kernels that wait for each character do not wait long.
const CHARACTER_TICKS: u64 = 160;

impl Default for MachineConfig {
    /// One processor, 512 MiB, no disk, nothing to boot. The clock starts at 2026-01-01 00:00:00 UTC.
    fn default() -> Self {
        Self {
            memory: 512 << 20,
            cpus: 1,
            kernel: None,
            append: String::new(),
            initrd: None,
            modules: Vec::new(),
            protocol: None,
            disks: Vec::new(),
            serial: SerialConfig {
                speed: LineSpeed::Fixed { character_ticks: CHARACTER_TICKS },
                input: SerialInput::Possible,
            },
            seed: 0,
            quantum: 10_000,
            start_seconds: 1_767_225_600,
        }
    }
}
