//! Reset and address line 20: the reset control register, port 92h, and what the keyboard controller contributes.
//!
//! Manual: Intel I/O Controller Hub 9 data sheet, "RST_CNT - Reset Control Register", "PORT92 - Fast A20 and Init Register".
//!
//! Register offsets: 0 port CF9h, 1 port 92h.

use crate::device::{Context, Registers, Reset, byte_lanes};
use serde::{Deserialize, Serialize};

/// Port CF9h.
mod rst_cnt {
    pub const SYS_RST: u8 = 0x02;
    pub const RST_CPU: u8 = 0x04;
    pub const FULL_RST: u8 = 0x08;
    pub const WRITABLE: u8 = SYS_RST | RST_CPU | FULL_RST;
}
/// Port 92h.
mod port92 {
    pub const INIT_NOW: u8 = 0x01;
    pub const ALT_A20_GATE: u8 = 0x02;
}

/// What the board is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum ResetRequest {
    /// INIT# to the processors: they restart, the platform does not.
    Init,
    /// PLTRST#: processors and devices restart.
    Platform,
    /// The power goes off and on.
    PowerCycle,
}

/// The registers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResetControl {
    // connections: A20GATE of the keyboard controller
    keyboard_a20: bool,
    // state
    rst_cnt: u8,
    port92: u8,
    // outputs
    request: Option<ResetRequest>,
}

impl Default for ResetControl {
    fn default() -> Self {
        Self::new()
    }
}

impl ResetControl {
    /// After power-on: the keyboard controller opens line 20.
    pub fn new() -> Self {
        Self { keyboard_a20: true, rst_cnt: 0, port92: 0, request: None }
    }

    /// Drives A20GATE.
    pub fn set_keyboard_a20(&mut self, open: bool) {
        self.keyboard_a20 = open
    }

    /// RCIN#: the keyboard controller resets the processors.
    pub fn keyboard_reset(&mut self) {
        self.ask(ResetRequest::Init)
    }

    /// Whether address line 20 is passed on; otherwise it is 0.
    pub fn a20(&self) -> bool {
        self.keyboard_a20 || self.port92 & port92::ALT_A20_GATE != 0
    }

    /// The strongest reset asked for since the last call.
    pub fn take_request(&mut self) -> Option<ResetRequest> {
        self.request.take()
    }

    fn ask(&mut self, request: ResetRequest) {
        self.request = self.request.max(Some(request))
    }

    /// RST_CPU rising is the reset; the other bits say which.
    fn write_rst_cnt(&mut self, value: u8) {
        let rises = value & !self.rst_cnt & rst_cnt::RST_CPU != 0;
        self.rst_cnt = value & rst_cnt::WRITABLE;
        match (rises, value & rst_cnt::SYS_RST != 0, value & rst_cnt::FULL_RST != 0) {
            (false, ..) => {}
            (true, false, _) => self.ask(ResetRequest::Init),
            (true, true, false) => self.ask(ResetRequest::Platform),
            (true, true, true) => self.ask(ResetRequest::PowerCycle),
        }
    }

    fn write_port92(&mut self, value: u8) {
        if value & !self.port92 & port92::INIT_NOW != 0 {
            self.ask(ResetRequest::Init);
        }
        self.port92 = value & (port92::INIT_NOW | port92::ALT_A20_GATE);
    }
}

impl Registers for ResetControl {
    fn read(&mut self, _cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        byte_lanes::read_bytes(offset, size, |at| match at {
            0 => self.rst_cnt,
            1 => self.port92,
            _ => 0xff,
        })
    }

    fn write(&mut self, _cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        byte_lanes::write_bytes(offset, size, value, |at, byte| match at {
            0 => self.write_rst_cnt(byte),
            1 => self.write_port92(byte),
            _ => {}
        });
    }
}

impl Reset for ResetControl {
    fn reset(&mut self) {
        let Self { keyboard_a20: _, rst_cnt: _, port92: _, request: _ } = self;
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::conformance::{Bench, conformance};

    conformance!(ResetControl::new(), registers = 2);

    #[test]
    fn cf9_rising_rst_cpu_asks_for_the_reset_that_the_other_bits_name() {
        for (writes, request) in [
            ([0x02, 0x06], Some(ResetRequest::Platform)),
            ([0x00, 0x04], Some(ResetRequest::Init)),
            ([0x0a, 0x0e], Some(ResetRequest::PowerCycle)),
            ([0x02, 0x0a], None),
        ] {
            let (mut d, mut b) = (ResetControl::new(), Bench::new());
            b.outb(&mut d, 0, writes[0]);
            assert_eq!(d.take_request(), None);
            b.outb(&mut d, 0, writes[1]);
            assert_eq!(d.take_request(), request);
            assert_eq!(b.inb(&mut d, 0), writes[1]);
            b.outb(&mut d, 0, writes[1]);
            assert_eq!(d.take_request(), None, "no new edge");
        }
    }

    #[test]
    fn port_92_opens_a20_and_pulses_init() {
        let (mut d, mut b) = (ResetControl::new(), Bench::new());
        assert!(d.a20());
        d.set_keyboard_a20(false);
        assert!(!d.a20());
        b.outb(&mut d, 1, 0x02);
        assert!(d.a20());
        b.outb(&mut d, 1, 0x03);
        assert_eq!(d.take_request(), Some(ResetRequest::Init));
        assert_eq!(b.inb(&mut d, 1), 0x03);
    }

    #[test]
    fn keyboard_reset_asks_for_init() {
        let mut d = ResetControl::new();
        d.keyboard_reset();
        assert_eq!(d.take_request(), Some(ResetRequest::Init));
        assert_eq!(d.take_request(), None);
    }
}
