//! Reading numbers out of a file that nobody has checked. Every read is bounded; nothing here can panic.

use super::error::BootError;

/// A file's bytes, or a part of them, with the name of the part for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageBytes<'a> {
    bytes: &'a [u8],
    part: &'static str,
}

impl<'a> ImageBytes<'a> {
    pub(crate) fn new(bytes: &'a [u8], part: &'static str) -> Self {
        Self { bytes, part }
    }

    /// `len` bytes at `offset`.
    pub(crate) fn slice(&self, offset: u64, len: u64) -> Result<&'a [u8], BootError> {
        let truncated = BootError::Truncated { part: self.part, offset, len, have: self.bytes.len() as u64 };
        let end = match offset.checked_add(len) {
            Some(end) if end <= self.bytes.len() as u64 => end,
            _ => return Err(truncated),
        };
        // Both fit in usize, since they do not exceed the slice's length.
        self.bytes.get(offset as usize..end as usize).ok_or(truncated)
    }

    fn array<const N: usize>(&self, offset: u64) -> Result<[u8; N], BootError> {
        let mut value = [0; N];
        value.copy_from_slice(self.slice(offset, N as u64)?);
        Ok(value)
    }

    pub(crate) fn u8(&self, offset: u64) -> Result<u8, BootError> {
        Ok(self.array::<1>(offset)?[0])
    }

    pub(crate) fn u16(&self, offset: u64) -> Result<u16, BootError> {
        Ok(u16::from_le_bytes(self.array(offset)?))
    }

    pub(crate) fn u32(&self, offset: u64) -> Result<u32, BootError> {
        Ok(u32::from_le_bytes(self.array(offset)?))
    }

    pub(crate) fn u64(&self, offset: u64) -> Result<u64, BootError> {
        Ok(u64::from_le_bytes(self.array(offset)?))
    }
}
