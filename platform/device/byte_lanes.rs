//! Wide accesses to devices whose registers are narrow: the bus splits them into accesses of one register each, lowest address first.

/// A read of `size` bytes at `offset` of a device with 8-bit registers.
pub fn read_bytes(offset: u64, size: u8, mut read: impl FnMut(u64) -> u8) -> u64 {
    (0..u64::from(size.min(8))).fold(0, |value, i| value | u64::from(read(offset.wrapping_add(i))) << (8 * i))
}

/// A write of `size` bytes at `offset` of a device with 8-bit registers.
pub fn write_bytes(offset: u64, size: u8, value: u64, mut write: impl FnMut(u64, u8)) {
    for i in 0..u64::from(size.min(8)) {
        write(offset.wrapping_add(i), (value >> (8 * i)) as u8);
    }
}

/// The part of a register of `width` bytes at `base` that a read of `size` bytes at `offset` sees; bytes outside read as 0.
pub fn extract(register: u64, base: u64, width: u8, offset: u64, size: u8) -> u64 {
    read_bytes(offset, size, |at| match at.wrapping_sub(base) {
        lane if lane < u64::from(width.min(8)) => (register >> (8 * lane)) as u8,
        _ => 0,
    })
}

/// `register` (of `width` bytes, at `base`) after a write of `size` bytes of `value` at `offset`; bytes outside are ignored.
pub fn merge(mut register: u64, base: u64, width: u8, offset: u64, size: u8, value: u64) -> u64 {
    write_bytes(offset, size, value, |at, byte| {
        let lane = at.wrapping_sub(base);
        if lane < u64::from(width.min(8)) {
            register = register & !(0xff << (8 * lane)) | u64::from(byte) << (8 * lane);
        }
    });
    register
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_word_across_register_end_changes_inside_bytes_only() {
        assert_eq!(merge(0x4433_2211, 8, 4, 11, 2, 0xaabb), 0xbb33_2211);
        assert_eq!(merge(0x4433_2211, 8, 4, 7, 2, 0xaabb), 0x4433_22aa);
        assert_eq!(extract(0x4433_2211, 8, 4, 10, 4), 0x4433);
    }
}
