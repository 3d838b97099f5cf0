//! A disk as a device sees it: an image and what was written since the machine started.

use super::{BackendError, BlockBackend, check_range};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a cluster of the overlay.
const CLUSTER_BYTES: u64 = 4096;

/// Zeroes to write through.
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

/// What becomes of writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DiskMode {
    /// They are refused.
    ReadOnly,
    /// They stay in the machine's state, so that snapshots hold them; the image is only read.
    Overlay,
    /// They go to the image at once. Snapshots do not hold them: a restored machine sees the image as it is then.
    WriteThrough,
}

/// A disk. Its state is what the overlay holds; the image is a connection, to be attached again after a restore.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disk {
    // Configuration.
    mode: DiskMode,
    bytes: u64,
    // Connections.
    #[serde(skip)]
    image: Option<Arc<dyn BlockBackend>>,
    // State: clusters that were written, by number. An empty one is all zeroes.
    overlay: BTreeMap<u64, Vec<u8>>,
    // For the user, and not part of the machine: what the host said last.
    #[serde(skip)]
    last_error: Option<String>,
}

impl Disk {
    /// A disk over an image.
    pub fn new(image: Arc<dyn BlockBackend>, mode: DiskMode) -> Self {
        Disk { mode, bytes: image.len(), image: Some(image), overlay: BTreeMap::new(), last_error: None }
    }

    /// Attaches the image after a restore. Refused, and given back as an error, when its length is not the disk's.
    pub fn attach(&mut self, image: Arc<dyn BlockBackend>) -> Result<(), BackendError> {
        if image.len() != self.bytes {
            return Err(BackendError::OutOfRange { offset: 0, bytes: self.bytes as usize, len: image.len() });
        }
        self.image = Some(image);
        Ok(())
    }

    /// The attached image: to hand it to the disk of a restored machine.
    pub fn image(&self) -> Option<Arc<dyn BlockBackend>> {
        self.image.clone()
    }

    /// Bytes of the disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What becomes of writes.
    pub fn mode(&self) -> DiskMode {
        self.mode
    }

    /// Bytes of memory that the overlay's contents take.
    pub fn overlay_bytes(&self) -> u64 {
        self.overlay.values().map(|cluster| cluster.len() as u64).sum()
    }

    /// What the host said when an operation last failed.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Reads `data.len()` bytes at `offset`.
    pub fn read_at(&mut self, offset: u64, data: &mut [u8]) -> Result<(), BackendError> {
        let result = self.try_read_at(offset, data);
        self.note(result)
    }

    /// Writes `data` at `offset`.
    pub fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), BackendError> {
        let result = self.try_write_at(offset, data);
        self.note(result)
    }

    /// Makes `bytes` bytes at `offset` zero. Whole clusters of an overlay then take no memory.
    pub fn write_zeroes_at(&mut self, offset: u64, bytes: u64) -> Result<(), BackendError> {
        let result = self.try_write_zeroes_at(offset, bytes);
        self.note(result)
    }

    /// Returns once everything written is durable, as far as writes leave the machine at all.
    pub fn flush(&mut self) -> Result<(), BackendError> {
        let result = match self.mode {
            DiskMode::ReadOnly | DiskMode::Overlay => Ok(()),
            DiskMode::WriteThrough => self.attached().and_then(|image| image.flush()),
        };
        self.note(result)
    }

    fn try_read_at(&self, offset: u64, data: &mut [u8]) -> Result<(), BackendError> {
        check_range(offset, data.len(), self.bytes)?;
        let image = self.attached()?;
        image.read_at(offset, data)?;
        if self.overlay.is_empty() || data.is_empty() {
            return Ok(());
        }
        let end = offset + data.len() as u64;
        for (number, cluster) in self.overlay.range(offset / CLUSTER_BYTES..=(end - 1) / CLUSTER_BYTES) {
            let base = number * CLUSTER_BYTES;
            let (from, to) = (offset.max(base), end.min(base + CLUSTER_BYTES));
            let part = &mut data[(from - offset) as usize..(to - offset) as usize];
            match cluster.get((from - base) as usize..(to - base) as usize) {
                Some(written) => part.copy_from_slice(written),
                None => part.fill(0),
            }
        }
        Ok(())
    }

    fn try_write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), BackendError> {
        check_range(offset, data.len(), self.bytes)?;
        match self.mode {
            DiskMode::ReadOnly => return Err(BackendError::ReadOnly),
            DiskMode::WriteThrough => return self.attached()?.write_at(offset, data),
            DiskMode::Overlay => {}
        }
        let mut at = offset;
        let mut left = data;
        while !left.is_empty() {
            let within = at % CLUSTER_BYTES;
            let (part, rest) = left.split_at(left.len().min((CLUSTER_BYTES - within) as usize));
            let cluster = self.cluster_mut(at / CLUSTER_BYTES)?;
            cluster[within as usize..within as usize + part.len()].copy_from_slice(part);
            at += part.len() as u64;
            left = rest;
        }
        Ok(())
    }

    fn try_write_zeroes_at(&mut self, offset: u64, bytes: u64) -> Result<(), BackendError> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        let end = end.ok_or(BackendError::OutOfRange { offset, bytes: bytes as usize, len: self.bytes })?;
        let mut at = offset;
        while at < end {
            if self.mode == DiskMode::Overlay && at.is_multiple_of(CLUSTER_BYTES) && end - at >= CLUSTER_BYTES {
                self.overlay.insert(at / CLUSTER_BYTES, Vec::new());
                at += CLUSTER_BYTES;
                continue;
            }
            let most = match self.mode {
                DiskMode::Overlay => CLUSTER_BYTES - at % CLUSTER_BYTES,
                DiskMode::ReadOnly | DiskMode::WriteThrough => ZEROES.len() as u64,
            };
            let part = most.min(end - at);
            self.try_write_at(at, &ZEROES[..part as usize])?;
            at += part;
        }
        Ok(())
    }

    /// A cluster of the overlay, filled from the image when it is not there yet.
    fn cluster_mut(&mut self, number: u64) -> Result<&mut Vec<u8>, BackendError> {
        if !self.overlay.contains_key(&number) {
            let base = number * CLUSTER_BYTES;
            let mut cluster = vec![0; CLUSTER_BYTES as usize];
            let there = self.bytes.saturating_sub(base).min(CLUSTER_BYTES) as usize;
            self.attached()?.read_at(base, &mut cluster[..there])?;
            self.overlay.insert(number, cluster);
        }
        let cluster = self.overlay.entry(number).or_default();
        // An empty cluster is all zeroes.
        cluster.resize(CLUSTER_BYTES as usize, 0);
        Ok(cluster)
    }

    fn attached(&self) -> Result<&dyn BlockBackend, BackendError> {
        self.image.as_deref().ok_or(BackendError::NotAttached)
    }

    fn note<T>(&mut self, result: Result<T, BackendError>) -> Result<T, BackendError> {
        if let Err(error) = &result {
            self.last_error = Some(error.to_string());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BlankImage, MemoryImage, RawFile};
    use super::*;

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at * 7 + at / 256) as u8).collect()
    }

    fn read(disk: &mut Disk, offset: u64, bytes: usize) -> Vec<u8> {
        let mut data = vec![0xaa; bytes];
        disk.read_at(offset, &mut data).unwrap();
        data
    }

    #[test]
    fn overlay_written_reads_back_and_leaves_the_image() {
        let image = Arc::new(MemoryImage(pattern(10_000)));
        let mut disk = Disk::new(image.clone(), DiskMode::Overlay);
        let mut expected = pattern(10_000);
        for (at, len) in [(0, 1), (4095, 2), (4000, 5000), (9999, 1), (512, 512)] {
            disk.write_at(at as u64, &vec![at as u8; len]).unwrap();
            expected[at..at + len].fill(at as u8);
        }
        disk.write_zeroes_at(100, 8300).unwrap();
        expected[100..8400].fill(0);
        disk.write_at(5000, &[9; 10]).unwrap();
        expected[5000..5010].fill(9);
        assert_eq!(read(&mut disk, 0, 10_000), expected);
        assert_eq!(read(&mut disk, 4090, 20), expected[4090..4110]);
        assert_eq!(image.0, pattern(10_000));
    }

    #[test]
    fn overlay_zeroed_cluster_takes_no_memory() {
        let mut disk = Disk::new(Arc::new(MemoryImage(pattern(1 << 20))), DiskMode::Overlay);
        disk.write_zeroes_at(0, 1 << 20).unwrap();
        assert_eq!(disk.overlay_bytes(), 0);
        assert_eq!(read(&mut disk, 4096, 8192), vec![0; 8192]);
    }

    #[test]
    fn disk_restored_reads_what_was_written_once_attached() {
        let image = Arc::new(BlankImage { bytes: 1 << 16 });
        let mut disk = Disk::new(image.clone(), DiskMode::Overlay);
        disk.write_at(1000, b"written").unwrap();
        let saved = postcard::to_stdvec(&disk).unwrap();
        let mut restored: Disk = postcard::from_bytes(&saved).unwrap();
        assert!(matches!(restored.read_at(0, &mut [0; 4]), Err(BackendError::NotAttached)));
        assert_eq!(restored.last_error(), Some("no image is attached"));
        assert!(restored.attach(Arc::new(BlankImage { bytes: 5 })).is_err());
        restored.attach(image).unwrap();
        assert_eq!(read(&mut restored, 1000, 7), b"written");
        assert_eq!(postcard::to_stdvec(&restored).unwrap(), saved);
    }

    #[test]
    fn disk_access_beyond_the_end_is_refused() {
        let mut disk = Disk::new(Arc::new(BlankImage { bytes: 4096 }), DiskMode::Overlay);
        assert!(disk.read_at(4095, &mut [0; 2]).is_err());
        assert!(disk.write_at(u64::MAX, &[0; 2]).is_err());
        assert!(disk.write_zeroes_at(1, u64::MAX).is_err());
    }

    #[test]
    fn write_through_reaches_the_file_and_read_only_refuses() {
        let path = std::env::temp_dir().join(format!("undercroft-disk-{}", std::process::id()));
        std::fs::write(&path, pattern(8192)).unwrap();
        let mut disk = Disk::new(Arc::new(RawFile::open_writable(&path).unwrap()), DiskMode::WriteThrough);
        disk.write_at(4000, b"through").unwrap();
        disk.write_zeroes_at(0, 512).unwrap();
        disk.flush().unwrap();
        let mut expected = pattern(8192);
        expected[4000..4007].copy_from_slice(b"through");
        expected[..512].fill(0);
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        let mut disk = Disk::new(Arc::new(RawFile::open_read_only(&path).unwrap()), DiskMode::ReadOnly);
        assert!(matches!(disk.write_at(0, &[1]), Err(BackendError::ReadOnly)));
        assert_eq!(read(&mut disk, 4000, 7), b"through");
        // A file that shrinks under us is a host error, and its message is kept.
        std::fs::write(&path, [0; 16]).unwrap();
        assert!(matches!(disk.read_at(4000, &mut [0; 7]), Err(BackendError::Host { .. })));
        assert!(disk.last_error().is_some_and(|message| message.contains("read of 7 bytes at 0xfa0")));
        std::fs::remove_file(&path).unwrap();
    }
}
