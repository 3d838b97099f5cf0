//! Reading decisions from fuzz data. Data that has ended reads as zeros, so every data has a meaning.

/// A cursor over fuzz data.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Begins at the start of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    /// The next `bytes` bytes (at most 8) as a little-endian number.
    pub fn number(&mut self, bytes: u32) -> u64 {
        (0..bytes.min(8)).fold(0, |number, index| number | u64::from(self.byte()) << (8 * index))
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_ended_reads_as_zeros() {
        let mut input = Input::new(&[1, 2, 3]);
        assert_eq!(input.byte(), 1);
        assert_eq!(input.number(4), 0x0302);
        assert!(input.is_empty());
        assert_eq!(input.number(8), 0);
        assert_eq!(Input::new(&[7]).rest(), [7]);
    }
}
