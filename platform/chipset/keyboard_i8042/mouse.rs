//! The PS/2 mouse behind the controller's auxiliary port, with the wheel that the sample-rate knock (200, 100, 80) wakes.
//!
//! Manual: IBM PS/2 Hardware Interface Technical Reference, "Mouse"; Microsoft, "IntelliMouse PS/2 protocol" for the wheel.

use super::SendQueue;
use super::keyboard::{ACK, SELF_TEST_PASSED};
use serde::{Deserialize, Serialize};

/// Commands.
mod command {
    pub const SCALING_1_TO_1: u8 = 0xe6;
    pub const SCALING_2_TO_1: u8 = 0xe7;
    pub const RESOLUTION: u8 = 0xe8;
    pub const STATUS: u8 = 0xe9;
    pub const STREAM: u8 = 0xea;
    pub const READ_DATA: u8 = 0xeb;
    pub const RESET_WRAP: u8 = 0xec;
    pub const WRAP: u8 = 0xee;
    pub const REMOTE: u8 = 0xf0;
    pub const READ_ID: u8 = 0xf2;
    pub const SAMPLE_RATE: u8 = 0xf3;
    pub const ENABLE: u8 = 0xf4;
    pub const DISABLE: u8 = 0xf5;
    pub const DEFAULTS: u8 = 0xf6;
    pub const RESEND: u8 = 0xfe;
    pub const RESET: u8 = 0xff;
}
/// The mouse's answer to what it does not know.
const ERROR: u8 = 0xfc;
/// Rates that wake the wheel.
const WHEEL_KNOCK: [u8; 3] = [200, 100, 80];

/// The command whose parameter is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Awaits {
    Resolution,
    SampleRate,
}

/// A movement since the last one, and the buttons now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Movement {
    /// To the right.
    pub dx: i16,
    /// Upwards.
    pub dy: i16,
    /// The wheel, towards the user.
    pub dz: i8,
    /// Bit 0 left, bit 1 right, bit 2 middle.
    pub buttons: u8,
}

/// A mouse.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Mouse {
    pub(super) queue: SendQueue,
    awaits: Option<Awaits>,
    reporting: bool,
    remote: bool,
    wrap: bool,
    scaling: bool,
    wheel: bool,
    resolution: u8,
    sample_rate: u8,
    knock: [u8; 3],
    pending: Movement,
}

impl Mouse {
    pub(super) fn new() -> Self {
        Self {
            queue: SendQueue::default(),
            awaits: None,
            reporting: false,
            remote: false,
            wrap: false,
            scaling: false,
            wheel: false,
            resolution: 2,
            sample_rate: 100,
            knock: [0; 3],
            pending: Movement::default(),
        }
    }

    /// A movement from outside. It is added to what was not reported yet; a report is sent when the mouse may.
    pub(super) fn move_by(&mut self, movement: Movement) {
        let Movement { dx, dy, dz, buttons } = movement;
        self.pending = Movement {
            dx: self.pending.dx.saturating_add(dx),
            dy: self.pending.dy.saturating_add(dy),
            dz: self.pending.dz.saturating_add(dz),
            buttons: buttons & 7,
        };
        if self.reporting && !self.remote && !self.wrap && self.awaits.is_none() && self.queue.room() >= 4 {
            self.report();
        }
    }

    /// Queues the pending movement as a packet.
    fn report(&mut self) {
        let Movement { dx, dy, dz, buttons } = self.pending;
        let (x, y) = (dx.clamp(-255, 255), dy.clamp(-255, 255));
        let wheel = dz.clamp(-8, 7);
        let signs = u8::from(x < 0) << 4 | u8::from(y < 0) << 5;
        for byte in [0x08 | signs | buttons, x as u8, y as u8] {
            self.queue.push(byte);
        }
        if self.wheel {
            self.queue.push(wheel as u8);
        }
        self.pending = Movement { dx: dx - x, dy: dy - y, dz: if self.wheel { dz - wheel } else { 0 }, buttons };
    }

    /// A byte from the controller.
    pub(super) fn receive(&mut self, byte: u8) {
        if self.wrap && !matches!(byte, command::RESET | command::RESET_WRAP) {
            return self.queue.answer(&[byte]);
        }
        match self.awaits.take() {
            Some(Awaits::Resolution) if byte < 4 => self.resolution = byte,
            Some(Awaits::SampleRate) if byte <= 200 => {
                self.sample_rate = byte;
                self.knock = [self.knock[1], self.knock[2], byte];
                self.wheel |= self.knock == WHEEL_KNOCK;
            }
            _ => return self.command(byte),
        }
        self.queue.answer(&[ACK]);
    }

    fn command(&mut self, byte: u8) {
        match byte {
            command::SCALING_1_TO_1 => self.scaling = false,
            command::SCALING_2_TO_1 => self.scaling = true,
            command::RESOLUTION => self.awaits = Some(Awaits::Resolution),
            command::SAMPLE_RATE => self.awaits = Some(Awaits::SampleRate),
            command::STATUS => return self.answer_status(),
            command::STREAM => self.remote = false,
            command::REMOTE => self.remote = true,
            command::WRAP => self.wrap = true,
            command::RESET_WRAP => self.wrap = false,
            command::READ_DATA => {
                self.queue.answer(&[ACK]);
                return self.report();
            }
            command::READ_ID => return self.queue.answer(&[ACK, if self.wheel { 3 } else { 0 }]),
            command::ENABLE => self.reporting = true,
            command::DISABLE => self.reporting = false,
            command::DEFAULTS => {
                let wheel = self.wheel;
                *self = Self { wheel, ..Self::new() };
            }
            command::RESEND => return self.queue.resend(),
            command::RESET => {
                *self = Self::new();
                return self.queue.answer(&[ACK, SELF_TEST_PASSED, 0]);
            }
            _ => return self.queue.answer(&[ERROR]),
        }
        self.queue.answer(&[ACK]);
    }

    fn answer_status(&mut self) {
        let buttons = self.pending.buttons;
        // Here the left button is bit 2 and the right one bit 0.
        let mut status = (buttons & 1) << 2 | (buttons & 4) >> 1 | (buttons & 2) >> 1;
        status |= u8::from(self.scaling) << 4 | u8::from(self.reporting) << 5 | u8::from(self.remote) << 6;
        self.queue.answer(&[ACK, status, self.resolution, self.sample_rate]);
    }
}
