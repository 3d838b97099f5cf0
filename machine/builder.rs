//! From a configuration to a machine that is about to execute its first instruction.

use crate::Machine;
use crate::board::firmware_tables::{self, E820Entry, FirmwareTables, Layout};
use crate::board::{Board, BoardConfig, DISKS_MAX, address_map};
use crate::boot::{self, BootMemory, BootRequest, EntryState, Loaded, NoRamHere, Protocol, SegmentState};
use crate::config::{DiskConfig, MachineConfig, ModuleConfig, SerialInput};
use crate::error::{BuildError, CPUS_MAX, MEMORY_MAX, MEMORY_MIN};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use undercroft_cpu::state::{Segment, State, TableRegister};
use undercroft_cpu::vcpu::{Cpu, CpuConfig};
use undercroft_decode::Seg;
use undercroft_phys_map::PhysMap;
use undercroft_platform::backend::{BlockBackend, Disk, DiskMode, RawFile};
use undercroft_platform::chipset::fw_cfg::Items;
use undercroft_platform::chipset::uart_ns16550::LineSpeed;
use undercroft_platform::virtio::BlockConfig;
use undercroft_ram::{PAGE_SIZE, Ram};
use undercroft_spec::PhysAddr;

/// Well-known keys of the firmware configuration device.
mod fw_cfg_key {
    pub const RAM_SIZE: u16 = 0x03;
    pub const CPUS: u16 = 0x05;
    pub const CPUS_MAX: u16 = 0x0f;
}
/// The memory map, in the form of E820h.
const FW_CFG_E820: &str = "etc/e820";
const SECTOR_BYTES: u64 = 512;

/// Builds a [`Machine`].
#[derive(Clone, Default, Debug)]
pub struct MachineBuilder {
    config: MachineConfig,
    image: Option<Vec<u8>>,
}

impl MachineBuilder {
    /// Of a complete configuration.
    pub fn from_config(config: MachineConfig) -> Self {
        Self { config, image: None }
    }

    /// The configuration so far.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// RAM in bytes.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.config.memory = bytes;
        self
    }

    /// Number of logical processors.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.config.cpus = cpus;
        self
    }

    /// The image to boot, from a file.
    pub fn kernel(mut self, file: impl Into<PathBuf>) -> Self {
        self.config.kernel = Some(file.into());
        self
    }

    /// The image to boot, from memory.
    pub fn kernel_image(mut self, image: Vec<u8>) -> Self {
        self.image = Some(image);
        self
    }

    /// The kernel's command line.
    pub fn append(mut self, text: impl Into<String>) -> Self {
        self.config.append = text.into();
        self
    }

    /// The initial RAM disk, or first module.
    pub fn initrd(mut self, file: impl Into<PathBuf>) -> Self {
        self.config.initrd = Some(file.into());
        self
    }

    /// Adds a module.
    pub fn module(mut self, file: impl Into<PathBuf>, arguments: impl Into<String>) -> Self {
        self.config.modules.push(ModuleConfig { file: file.into(), arguments: arguments.into() });
        self
    }

    /// The boot protocol, instead of the one that the image is recognised to want.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.config.protocol = Some(protocol);
        self
    }

    /// Adds a disk over a raw image.
    pub fn disk(mut self, file: impl Into<PathBuf>, mode: DiskMode) -> Self {
        self.config.disks.push(DiskConfig { file: file.into(), mode });
        self
    }

    /// Whether bytes may be given to the serial ports later.
    pub fn serial_input(mut self, input: SerialInput) -> Self {
        self.config.serial.input = input;
        self
    }

    /// Speed of the serial ports.
    pub fn serial_speed(mut self, speed: LineSpeed) -> Self {
        self.config.serial.speed = speed;
        self
    }

    /// Seed of everything that looks random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Instructions of a processor's turn.
    pub fn quantum(mut self, instructions: u64) -> Self {
        self.config.quantum = instructions;
        self
    }

    /// Builds the machine.
    ///
    /// # Errors
    /// [`BuildError`], with one sentence that says what to change.
    pub fn build(self) -> Result<Machine, BuildError> {
        let Self { config, image } = self;
        check(&config)?;
        let files = Files::read(&config, image)?;
        let (ram, map) = memory(&config)?;
        let tables = firmware_tables::build(&layout(&config))?;
        for blob in &tables.blobs {
            // The tables lie in RAM by construction.
            let _ = RamBoot { ram: &ram, map }.write(blob.addr, &blob.bytes);
        }
        let loaded = files.load(&ram, map, &config, &tables)?;
        let board = Board::new(ram.clone(), map, board_config(&config, &tables.memory_map)?)?;
        let mut cpu = Cpu::new(ram, map, Box::new(board), cpu_config(&config));
        enter(cpu.state_mut(0), &loaded.entry);
        Ok(Machine::assemble(cpu, config, Some(loaded)))
    }
}

fn check(config: &MachineConfig) -> Result<(), BuildError> {
    if !(MEMORY_MIN..=MEMORY_MAX).contains(&config.memory) || !config.memory.is_multiple_of(PAGE_SIZE) {
        return Err(BuildError::Memory { bytes: config.memory });
    }
    if !(1..=CPUS_MAX).contains(&config.cpus) {
        return Err(BuildError::Cpus { cpus: config.cpus });
    }
    if config.quantum == 0 {
        return Err(BuildError::Quantum);
    }
    if config.disks.len() > DISKS_MAX {
        return Err(BuildError::Disks { disks: config.disks.len() });
    }
    Ok(())
}

/// RAM and its map, for a configuration.
pub(crate) fn memory(config: &MachineConfig) -> Result<(Ram, PhysMap), BuildError> {
    check(config)?;
    let map = PhysMap::new(config.memory, address_map::LOW_RAM_LIMIT);
    Ok((Ram::new(config.memory)?, map))
}

pub(crate) fn cpu_config(config: &MachineConfig) -> CpuConfig {
    CpuConfig { cpus: config.cpus as usize, quantum: config.quantum }
}

/// The images of the disks, in order.
pub(crate) fn open_disks(disks: &[DiskConfig]) -> Result<Vec<Arc<dyn BlockBackend>>, BuildError> {
    disks.iter().map(open_disk).collect()
}

fn open_disk(disk: &DiskConfig) -> Result<Arc<dyn BlockBackend>, BuildError> {
    let opened = match disk.mode {
        DiskMode::ReadOnly | DiskMode::Overlay => RawFile::open_read_only(&disk.file),
        DiskMode::WriteThrough => RawFile::open_writable(&disk.file),
    };
    let file = opened.map_err(|source| BuildError::File { what: "disk image", path: disk.file.clone(), source })?;
    if file.len() == 0 || !file.len().is_multiple_of(SECTOR_BYTES) {
        return Err(BuildError::DiskSize { path: disk.file.clone(), bytes: file.len() });
    }
    Ok(Arc::new(file))
}

/// What firmware and kernels are told of the machine.
fn layout(config: &MachineConfig) -> Layout {
    Layout {
        ram_bytes: config.memory,
        low_ram_limit: address_map::LOW_RAM_LIMIT,
        apic_ids: (0..config.cpus).collect(),
        ..Layout::default()
    }
}

fn board_config(config: &MachineConfig, memory_map: &[E820Entry]) -> Result<BoardConfig, BuildError> {
    let mut items = Items::default();
    items.add_numbered(fw_cfg_key::RAM_SIZE, config.memory.to_le_bytes().to_vec())?;
    for key in [fw_cfg_key::CPUS, fw_cfg_key::CPUS_MAX] {
        items.add_numbered(key, (config.cpus as u16).to_le_bytes().to_vec())?;
    }
    items.add_file(FW_CFG_E820, memory_map.iter().flat_map(|entry| entry.to_bytes()).collect())?;
    let images = open_disks(&config.disks)?;
    let disks = images.into_iter().zip(&config.disks).enumerate();
    Ok(BoardConfig {
        io_apic_id: Layout::default().io_apic_id,
        start_seconds: config.start_seconds,
        serial_speed: config.serial.speed,
        seed: config.seed,
        fw_cfg: items,
        cpus: config.cpus,
        disks: disks
            .map(|(n, (image, disk))| (Disk::new(image, disk.mode), BlockConfig { id: format!("undercroft-{n}") }))
            .collect(),
    })
}

/// The files that are given to the boot loader.
struct Files {
    name: String,
    image: Vec<u8>,
    modules: Vec<(Vec<u8>, String)>,
}

impl Files {
    fn read(config: &MachineConfig, image: Option<Vec<u8>>) -> Result<Files, BuildError> {
        let (name, image) = match (image, &config.kernel) {
            (Some(image), _) => ("the image".to_owned(), image),
            (None, Some(file)) => (file.display().to_string(), read("kernel", file)?),
            (None, None) => return Err(BuildError::NoKernel),
        };
        let mut modules = Vec::new();
        if let Some(file) = &config.initrd {
            modules.push((read("initrd", file)?, String::new()));
        }
        for module in &config.modules {
            modules.push((read("module", &module.file)?, module.arguments.clone()));
        }
        Ok(Files { name, image, modules })
    }

    fn load(
        &self,
        ram: &Ram,
        map: PhysMap,
        config: &MachineConfig,
        tables: &FirmwareTables,
    ) -> Result<Loaded, BuildError> {
        let modules: Vec<_> =
            self.modules.iter().map(|(data, command_line)| boot::Module { data, command_line }).collect();
        let request = BootRequest {
            image: &self.image,
            command_line: &config.append,
            modules: &modules,
            memory_map: &tables.memory_map,
            rsdp: Some((tables.rsdp_address, tables.rsdp)),
            protocol: config.protocol,
        };
        boot::load(&mut RamBoot { ram, map }, &request)
            .map_err(|source| BuildError::Boot { name: self.name.clone(), source })
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::File { what, path: path.to_owned(), source })
}

/// RAM as the boot loader writes it. It is zero at first.
struct RamBoot<'a> {
    ram: &'a Ram,
    map: PhysMap,
}

impl BootMemory for RamBoot<'_> {
    fn write(&mut self, addr: PhysAddr, data: &[u8]) -> Result<(), NoRamHere> {
        let offset = self.map.ram_range(addr, data.len() as u64).ok_or(NoRamHere)?;
        if self.ram.write(offset, data) { Ok(()) } else { Err(NoRamHere) }
    }
}

/// Puts the bootstrap processor into the state in which the image starts.
fn enter(state: &mut State, entry: &EntryState) {
    let segment =
        |s: &SegmentState| Segment { selector: s.selector, base: s.base, limit: s.limit, rights: s.access_rights };
    let table = |t: &boot::TableRegister| TableRegister { base: t.base, limit: t.limit };
    for (number, value) in (0..).zip(entry.gpr) {
        state.set_gpr(number, value);
    }
    state.rip = entry.rip;
    state.set_rflags(entry.rflags);
    for (seg, s) in [
        (Seg::Es, &entry.es),
        (Seg::Cs, &entry.cs),
        (Seg::Ss, &entry.ss),
        (Seg::Ds, &entry.ds),
        (Seg::Fs, &entry.fs),
        (Seg::Gs, &entry.gs),
    ] {
        state.set_segment(seg, segment(s));
    }
    state.ldtr = segment(&entry.ldtr);
    state.tr = segment(&entry.tr);
    state.gdtr = table(&entry.gdtr);
    state.idtr = table(&entry.idtr);
    (state.cr0, state.cr3, state.cr4) = (entry.cr0, entry.cr3, entry.cr4);
    state.msr.efer = entry.efer;
    state.cpl = 0;
}
