//! A table under construction: ACPI specification, "System Description Table Header".

/// Who made the tables: OEM ID, OEM table ID, creator ID. The revisions are all 1.
const OEM_ID: &[u8; 6] = b"UNDRCR";
const OEM_TABLE_ID: &[u8; 8] = b"UNDERCRF";
const CREATOR_ID: &[u8; 4] = b"UNDR";

/// The byte that makes the sum of `bytes` and itself 0 modulo 256.
pub(super) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte))
}

/// Bytes that grow by little-endian numbers.
pub(super) struct Table {
    bytes: Vec<u8>,
}

impl Table {
    /// A table with its header; length and checksum are filled in by [`Table::finish`].
    pub(super) fn new(signature: &[u8; 4], revision: u8) -> Self {
        let mut table = Self { bytes: Vec::new() };
        table.raw(signature).u32(0).u8(revision).u8(0).raw(OEM_ID).raw(OEM_TABLE_ID).u32(1).raw(CREATOR_ID).u32(1);
        table
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// `len` bytes of zero.
    pub(super) fn zeros(&mut self, len: usize) -> &mut Self {
        self.bytes.resize(self.bytes.len() + len, 0);
        self
    }

    /// A Generic Address Structure: a register of `bits` at I/O port `port`, accessed in units of `access` (1 byte, 2 word, 3 dword).
    /// A width of 0 gives the structure that says "absent". "Generic Address Structure (GAS)".
    pub(super) fn io_register(&mut self, port: u16, bits: u8, access: u8) -> &mut Self {
        if bits == 0 {
            return self.zeros(12);
        }
        self.u8(1).u8(bits).u8(0).u8(access).u64(port.into())
    }

    /// The finished table.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let len = (bytes.len() as u32).to_le_bytes();
        bytes[4..8].copy_from_slice(&len);
        bytes[9] = checksum(&bytes);
        bytes
    }
}
