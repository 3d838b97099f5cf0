//! Images: a raw file, bytes in memory, nothing but zeroes.

use super::{BackendError, BlockBackend, check_range};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file whose bytes are the disk's.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    len: u64,
}

impl RawFile {
    /// Opens a file that will only be read.
    pub fn open_read_only(path: &Path) -> std::io::Result<Self> {
        RawFile::from_file(File::open(path)?)
    }

    /// Opens a file for reading and writing.
    pub fn open_writable(path: &Path) -> std::io::Result<Self> {
        RawFile::from_file(OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn from_file(file: File) -> std::io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(RawFile { file, len })
    }
}

impl BlockBackend for RawFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, data: &mut [u8]) -> Result<(), BackendError> {
        check_range(offset, data.len(), self.len)?;
        let bytes = data.len();
        let result = self.file.read_exact_at(data, offset);
        result.map_err(|source| BackendError::Host { operation: "read", offset, bytes, source })
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BackendError> {
        check_range(offset, data.len(), self.len)?;
        let bytes = data.len();
        let result = self.file.write_all_at(data, offset);
        result.map_err(|source| BackendError::Host { operation: "write", offset, bytes, source })
    }

    fn flush(&self) -> Result<(), BackendError> {
        let result = self.file.sync_data();
        result.map_err(|source| BackendError::Host { operation: "flush", offset: 0, bytes: 0, source })
    }
}

/// Bytes in memory, read-only.
#[derive(Clone, Debug)]
pub struct MemoryImage(pub Vec<u8>);

impl BlockBackend for MemoryImage {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, data: &mut [u8]) -> Result<(), BackendError> {
        check_range(offset, data.len(), self.len())?;
        let start = offset as usize;
        data.copy_from_slice(&self.0[start..start + data.len()]);
        Ok(())
    }

    fn write_at(&self, _offset: u64, _data: &[u8]) -> Result<(), BackendError> {
        Err(BackendError::ReadOnly)
    }

    fn flush(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

/// Zeroes, read-only: under an overlay, a scratch disk.
#[derive(Clone, Copy, Debug)]
pub struct BlankImage {
    /// Bytes of the image.
    pub bytes: u64,
}

impl BlockBackend for BlankImage {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, data: &mut [u8]) -> Result<(), BackendError> {
        check_range(offset, data.len(), self.bytes)?;
        data.fill(0);
        Ok(())
    }

    fn write_at(&self, _offset: u64, _data: &[u8]) -> Result<(), BackendError> {
        Err(BackendError::ReadOnly)
    }

    fn flush(&self) -> Result<(), BackendError> {
        Ok(())
    }
}
