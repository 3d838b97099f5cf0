//! What lies behind devices in the host. The only part of the platform that may touch files; the machine's input log wraps it.
//!
//! A backend is never part of saved state. A device that has one keeps it as a *connection*: a field that serde skips, absent after a
//! restore until the board attaches it again.

pub mod disk;
pub mod image;

pub use disk::{Disk, DiskMode};
pub use image::{BlankImage, MemoryImage, RawFile};

use std::fmt;

/// A disk image in the host. Shared and without position: what changes is behind it.
pub trait BlockBackend: fmt::Debug + Send + Sync {
    /// Bytes of the image.
    fn len(&self) -> u64;
    /// Whether the image has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads `data.len()` bytes at `offset`.
    fn read_at(&self, offset: u64, data: &mut [u8]) -> Result<(), BackendError>;
    /// Writes `data` at `offset`.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BackendError>;
    /// Returns once everything written is durable.
    fn flush(&self) -> Result<(), BackendError>;
}

/// The host could not do what the device asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// An operation of the host failed.
    #[error("{operation} of {bytes} bytes at {offset:#x} failed: {source}")]
    Host {
        /// What was tried.
        operation: &'static str,
        /// Where in the image.
        offset: u64,
        /// How much.
        bytes: usize,
        /// What the host says.
        source: std::io::Error,
    },
    /// The access leaves the image.
    #[error("{bytes} bytes at {offset:#x} are not within the image of {len:#x} bytes")]
    OutOfRange {
        /// Where in the image.
        offset: u64,
        /// How much.
        bytes: usize,
        /// Bytes of the image.
        len: u64,
    },
    /// The image cannot be written.
    #[error("the image is read-only")]
    ReadOnly,
    /// No image is attached: a restored device before the board attached it.
    #[error("no image is attached")]
    NotAttached,
}

/// Checks that an access lies within an image of `len` bytes.
fn check_range(offset: u64, bytes: usize, len: u64) -> Result<(), BackendError> {
    match offset.checked_add(bytes as u64) {
        Some(end) if end <= len => Ok(()),
        _ => Err(BackendError::OutOfRange { offset, bytes, len }),
    }
}
