//! The debug console, port E9h: bytes written appear outside at once; it reads as E9h, by which software finds it.

use crate::device::{Context, Registers, Reset, byte_lanes};
use serde::{Deserialize, Serialize};

/// What the port reads as.
const PRESENT: u8 = 0xe9;
/// Bytes kept for a board that does not drain; later ones are lost.
const OUTPUT_LIMIT: usize = 1 << 16;

/// The port.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct DebugConsole {
    // outputs
    output: Vec<u8>,
}

impl DebugConsole {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes written since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether bytes wait in [`Self::take_output`].
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }
}

impl Registers for DebugConsole {
    fn read(&mut self, _cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        byte_lanes::read_bytes(offset, size, |at| if at == 0 { PRESENT } else { 0xff })
    }

    fn write(&mut self, _cx: &mut Context<'_>, offset: u64, _size: u8, value: u64) {
        if offset == 0 && self.output.len() < OUTPUT_LIMIT {
            self.output.push(value as u8);
        }
    }
}

impl Reset for DebugConsole {
    fn reset(&mut self) {
        let Self { output } = self;
        output.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::conformance::{Bench, conformance};

    conformance!(DebugConsole::new(), registers = 1);

    #[test]
    fn bytes_written_come_out_in_order_and_the_port_is_found() {
        let (mut d, mut b) = (DebugConsole::new(), Bench::new());
        assert_eq!(b.inb(&mut d, 0), 0xe9);
        b"ok\n".iter().for_each(|byte| b.outb(&mut d, 0, *byte));
        assert!(d.has_output());
        assert_eq!(d.take_output(), b"ok\n");
        assert!(!d.has_output());
    }
}
