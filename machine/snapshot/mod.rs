//! Saving and restoring a machine, and the hash of its state.
//!
//! A file is a header and sections; each section has a name, a length and a checksum, so that a file that is damaged, cut short or none of ours is
//! refused with one sentence. Sections: the configuration, the processors, the board, RAM in chunks (pages of zeroes are left out), the
//! end. Values are in postcard's encoding.

mod container;

pub use container::SnapshotError;

use crate::Machine;
use crate::board::{Board, BoardState};
use crate::builder;
use crate::config::MachineConfig;
use container::{Reader, Writer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::path::PathBuf;
use undercroft_cpu::vcpu::{Cpu, CpuSnapshot};
use undercroft_ram::{PAGE_SIZE, Ram};
use xxhash_rust::xxh3::Xxh3;

/// Pages of a chunk of RAM.
const CHUNK_PAGES: u64 = 256;
const PAGE: usize = PAGE_SIZE as usize;
/// A chunk begins with the number of its first page and a bit for each page that is there.
const CHUNK_HEADER: usize = 8 + CHUNK_PAGES as usize / 8;

mod section {
    pub const CONFIGURATION: &str = "config";
    pub const PROCESSORS: &str = "cpu";
    pub const BOARD: &str = "board";
    pub const RAM: &str = "ram";
    pub const END: &str = "end";
}

impl Machine {
    /// Writes a snapshot. What the machine has sent and nobody has taken yet is not in it.
    ///
    /// # Errors
    /// [`SnapshotError`], when the writer fails.
    pub fn save(&self, writer: &mut dyn Write) -> Result<(), SnapshotError> {
        let mut out = Writer::begin(writer)?;
        out.section(section::CONFIGURATION, &encode(&self.config))?;
        out.section(section::PROCESSORS, &encode(&self.cpu.snapshot()))?;
        out.section(section::BOARD, &encode(&self.board().state()))?;
        save_ram(&mut out, self.ram())?;
        out.section(section::END, &[])
    }

    /// A machine from a snapshot. Its disks' images are opened at the places that the snapshot remembers, or at `disks` if there are any.
    ///
    /// # Errors
    /// [`SnapshotError`], when the file is none, is damaged, or a disk is not there.
    pub fn restore(reader: &mut dyn Read, disks: &[PathBuf]) -> Result<Machine, SnapshotError> {
        let mut input = Reader::begin(reader)?;
        let mut config: MachineConfig = decode(section::CONFIGURATION, &input.expect(section::CONFIGURATION)?)?;
        let processors: CpuSnapshot = decode(section::PROCESSORS, &input.expect(section::PROCESSORS)?)?;
        let state: BoardState = decode(section::BOARD, &input.expect(section::BOARD)?)?;
        if !disks.is_empty() && disks.len() != config.disks.len() {
            return Err(SnapshotError::DiskCount { given: disks.len(), expected: config.disks.len() });
        }
        for (disk, file) in config.disks.iter_mut().zip(disks) {
            disk.file.clone_from(file);
        }
        let (ram, map) = builder::memory(&config)?;
        restore_ram(&mut input, &ram)?;
        let mut board = Board::with_state(ram.clone(), map, state);
        let images = builder::open_disks(&config.disks)?;
        for ((disk, image), its) in board.disks_mut().zip(images).zip(&config.disks) {
            disk.attach(image).map_err(|source| SnapshotError::Disk { path: its.file.clone(), source })?;
        }
        let mut cpu = Cpu::new(ram, map, Box::new(board), builder::cpu_config(&config));
        cpu.restore(processors).map_err(|_| SnapshotError::Corrupt { section: section::PROCESSORS.into() })?;
        Ok(Machine::assemble(cpu, config, None))
    }

    /// A hash of all that software inside the machine could ever see: processors, devices, RAM, time. Equal states have equal hashes,
    /// however they came about.
    pub fn state_hash(&self) -> u128 {
        let mut hash = Xxh3::new();
        let mut processors = self.cpu.snapshot();
        for state in &mut processors.states {
            // For reports to people.
            state.exception_log.clear();
        }
        hash.update(&encode(&processors));
        hash.update(&encode(&self.board().state()));
        let ram = self.ram();
        let mut chunk = vec![0; CHUNK_PAGES as usize * PAGE];
        for first in (0..ram.pages()).step_by(CHUNK_PAGES as usize) {
            let part = chunk_of(ram, first, &mut chunk);
            hash.update(part);
        }
        hash.digest128()
    }
}

/// Copies a chunk of RAM.
fn chunk_of<'a>(ram: &Ram, first: u64, buffer: &'a mut [u8]) -> &'a [u8] {
    let pages = CHUNK_PAGES.min(ram.pages() - first) as usize;
    let part = &mut buffer[..pages * PAGE];
    assert!(ram.read(first * PAGE_SIZE, part), "pages that exist can be read");
    part
}

fn save_ram(out: &mut Writer<'_>, ram: &Ram) -> Result<(), SnapshotError> {
    let mut buffer = vec![0; CHUNK_PAGES as usize * PAGE];
    for first in (0..ram.pages()).step_by(CHUNK_PAGES as usize) {
        let mut payload = vec![0; CHUNK_HEADER];
        payload[..8].copy_from_slice(&first.to_le_bytes());
        let mut there = Vec::new();
        for (n, page) in chunk_of(ram, first, &mut buffer).chunks_exact(PAGE).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                payload[8 + n / 8] |= 1 << (n % 8);
                there.extend_from_slice(page);
            }
        }
        if !there.is_empty() {
            payload.extend(lz4_flex::block::compress(&there));
            out.section(section::RAM, &payload)?;
        }
    }
    Ok(())
}

/// Reads chunks until the end. RAM is zero before.
fn restore_ram(input: &mut Reader<'_>, ram: &Ram) -> Result<(), SnapshotError> {
    loop {
        let (name, payload) = input.next()?;
        if name == section::END {
            return Ok(());
        }
        let corrupt = || SnapshotError::Corrupt { section: name.clone() };
        if name != section::RAM {
            return Err(corrupt());
        }
        let (header, compressed) = payload.split_at_checked(CHUNK_HEADER).ok_or_else(corrupt)?;
        let (first, bitmap) = header.split_at(8);
        let first = u64::from_le_bytes(first.try_into().map_err(|_| corrupt())?);
        let there: Vec<u64> = (0..CHUNK_PAGES).filter(|n| bitmap[*n as usize / 8] >> (n % 8) & 1 != 0).collect();
        let mut pages = vec![0; there.len() * PAGE];
        let len = lz4_flex::block::decompress_into(compressed, &mut pages).map_err(|_| corrupt())?;
        if len != pages.len() {
            return Err(corrupt());
        }
        for (n, page) in there.iter().zip(pages.chunks_exact(PAGE)) {
            let offset = first.checked_add(*n).and_then(|page| page.checked_mul(PAGE_SIZE)).ok_or_else(corrupt)?;
            if !ram.write(offset, page) {
                return Err(corrupt());
            }
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data can be written to memory")
}

fn decode<T: DeserializeOwned>(section: &str, bytes: &[u8]) -> Result<T, SnapshotError> {
    postcard::from_bytes(bytes).map_err(|_| SnapshotError::Corrupt { section: section.into() })
}
