//! The exit port: a test inside the machine ends the run and says how. Conventionally at port F4h.

use crate::device::{Context, Registers, Reset};
use serde::{Deserialize, Serialize};

/// The port.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct DebugExit {
    // outputs
    value: Option<u32>,
}

impl DebugExit {
    /// Nobody has asked to exit.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value written since the last call: software asks to end the run.
    pub fn take_exit(&mut self) -> Option<u32> {
        self.value.take()
    }
}

impl Registers for DebugExit {
    fn read(&mut self, _cx: &mut Context<'_>, _offset: u64, _size: u8) -> u64 {
        0
    }

    fn write(&mut self, _cx: &mut Context<'_>, offset: u64, _size: u8, value: u64) {
        if offset == 0 {
            self.value.get_or_insert(value as u32);
        }
    }
}

impl Reset for DebugExit {
    fn reset(&mut self) {
        let Self { value } = self;
        *value = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::conformance::{Bench, conformance};

    conformance!(DebugExit::new(), registers = 4);

    #[test]
    fn write_asks_to_exit_with_its_value_once() {
        let (mut d, mut b) = (DebugExit::new(), Bench::new());
        assert_eq!(d.take_exit(), None);
        b.outb(&mut d, 0, 0x21);
        b.outb(&mut d, 0, 0x22);
        assert_eq!(d.take_exit(), Some(0x21));
        assert_eq!(d.take_exit(), None);
    }
}
