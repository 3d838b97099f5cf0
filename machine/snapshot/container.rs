//! The file format: header, then sections with name, length and checksum. All numbers are little-endian.

use crate::error::BuildError;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use undercroft_platform::backend::BackendError;
use xxhash_rust::xxh3::xxh3_64;

/// What a file begins with.
const MAGIC: &[u8; 16] = b"Undercroft state";
/// Changes whenever what sections hold changes.
const VERSION: u32 = 1;
/// Bytes of a section's name, padded with zeroes.
const NAME_BYTES: usize = 8;

/// Why a snapshot was not written or not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The reader or the writer failed.
    #[error("the snapshot cannot be read or written: {0}")]
    Host(#[from] std::io::Error),
    /// Another kind of file.
    #[error("this is no snapshot; give a file that the machine has saved")]
    Foreign,
    /// A snapshot of another version of this program.
    #[error(
        "this is a snapshot of format {found}, and this program reads format {VERSION}; use the program that wrote it"
    )]
    Version {
        /// Its format.
        found: u32,
    },
    /// It ends too early.
    #[error("the snapshot is cut short; copy it again, whole")]
    Truncated,
    /// A checksum is wrong, or the contents make no sense.
    #[error("the snapshot is damaged in its section \"{section}\"; copy it again")]
    Corrupt {
        /// The section.
        section: String,
    },
    /// Other disks than the machine has.
    #[error("{given} disks were given, but the machine in the snapshot has {expected}")]
    DiskCount {
        /// How many were given.
        given: usize,
        /// How many the machine has.
        expected: usize,
    },
    /// A disk image does not fit.
    #[error("the disk image {path} is not that of the snapshot: {source}", path = .path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: BackendError,
    },
    /// The machine cannot be had on this host.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Writes a file.
pub(super) struct Writer<'a> {
    writer: &'a mut dyn Write,
}

impl<'a> Writer<'a> {
    pub fn begin(writer: &'a mut dyn Write) -> Result<Self, SnapshotError> {
        writer.write_all(MAGIC)?;
        writer.write_all(&VERSION.to_le_bytes())?;
        Ok(Self { writer })
    }

    pub fn section(&mut self, name: &str, payload: &[u8]) -> Result<(), SnapshotError> {
        let mut padded = [0; NAME_BYTES];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        self.writer.write_all(&padded)?;
        self.writer.write_all(&(payload.len() as u64).to_le_bytes())?;
        self.writer.write_all(&checksum(&padded, payload).to_le_bytes())?;
        self.writer.write_all(payload)?;
        Ok(())
    }
}

/// Reads a file.
pub(super) struct Reader<'a> {
    reader: &'a mut dyn Read,
}

impl<'a> Reader<'a> {
    pub fn begin(reader: &'a mut dyn Read) -> Result<Self, SnapshotError> {
        let mut reader = Self { reader };
        let magic: [u8; 16] = reader.bytes().map_err(|error| match error {
            SnapshotError::Truncated => SnapshotError::Foreign,
            other => other,
        })?;
        if magic != *MAGIC {
            return Err(SnapshotError::Foreign);
        }
        match u32::from_le_bytes(reader.bytes()?) {
            VERSION => Ok(reader),
            found => Err(SnapshotError::Version { found }),
        }
    }

    /// The next section: its name and contents.
    pub fn next(&mut self) -> Result<(String, Vec<u8>), SnapshotError> {
        let padded: [u8; NAME_BYTES] = self.bytes()?;
        let len = u64::from_le_bytes(self.bytes()?);
        let expected = u64::from_le_bytes(self.bytes()?);
        let name = String::from_utf8_lossy(&padded).trim_end_matches('\0').to_owned();
        let mut payload = Vec::new();
        // The length may be anything: memory is taken as bytes really come.
        (&mut *self.reader).take(len).read_to_end(&mut payload)?;
        if payload.len() as u64 != len {
            return Err(SnapshotError::Truncated);
        }
        if checksum(&padded, &payload) != expected {
            return Err(SnapshotError::Corrupt { section: name.escape_default().to_string() });
        }
        Ok((name, payload))
    }

    /// The next section, which must have this name.
    pub fn expect(&mut self, name: &str) -> Result<Vec<u8>, SnapshotError> {
        match self.next()? {
            (found, payload) if found == name => Ok(payload),
            _ => Err(SnapshotError::Corrupt { section: name.into() }),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => SnapshotError::Truncated,
            _ => SnapshotError::Host(error),
        })?;
        Ok(bytes)
    }
}

/// Of a section's name and contents.
fn checksum(name: &[u8; NAME_BYTES], payload: &[u8]) -> u64 {
    xxh3_64(payload) ^ xxh3_64(name).rotate_left(1)
}
