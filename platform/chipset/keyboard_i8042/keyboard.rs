//! The PS/2 keyboard behind the controller's first port.
//!
//! Manual: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller", "Keyboards". Scan code set 2 is what the
//! board injects; set 1 is made from it; set 3 is refused (the keyboard asks to resend the set number).

use super::SendQueue;
use super::scan_code::SetOneEncoder;
use serde::{Deserialize, Serialize};

pub(super) const ACK: u8 = 0xfa;
pub(super) const RESEND: u8 = 0xfe;
pub(super) const SELF_TEST_PASSED: u8 = 0xaa;

/// Commands.
mod command {
    pub const SET_INDICATORS: u8 = 0xed;
    pub const ECHO: u8 = 0xee;
    pub const SCAN_CODE_SET: u8 = 0xf0;
    pub const READ_ID: u8 = 0xf2;
    pub const TYPEMATIC: u8 = 0xf3;
    pub const ENABLE: u8 = 0xf4;
    pub const DISABLE: u8 = 0xf5;
    pub const DEFAULTS: u8 = 0xf6;
    pub const RESEND: u8 = 0xfe;
    pub const RESET: u8 = 0xff;
}

/// The command whose parameter is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Awaits {
    Indicators,
    ScanCodeSet,
    Typematic,
}

/// A keyboard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Keyboard {
    pub(super) queue: SendQueue,
    awaits: Option<Awaits>,
    scanning: bool,
    scan_code_set: u8,
    indicators: u8,
    typematic: u8,
    encoder: SetOneEncoder,
}

impl Keyboard {
    pub(super) fn new() -> Self {
        Self {
            queue: SendQueue::default(),
            awaits: None,
            scanning: true,
            scan_code_set: 2,
            indicators: 0,
            typematic: 0x2b,
            encoder: SetOneEncoder::default(),
        }
    }

    pub(super) fn indicators(&self) -> u8 {
        self.indicators
    }

    /// Bytes of scan code set 2 from the keys; whether there was room for all of them, without which none is sent.
    pub(super) fn press(&mut self, scan_codes: &[u8]) -> bool {
        if !self.scanning || self.awaits.is_some() {
            return false;
        }
        if self.queue.room() < scan_codes.len() {
            return false;
        }
        for &byte in scan_codes {
            let sent = if self.scan_code_set == 1 { self.encoder.encode(byte) } else { Some(byte) };
            if let Some(sent) = sent {
                self.queue.push(sent);
            }
        }
        true
    }

    /// A byte from the controller.
    pub(super) fn receive(&mut self, byte: u8) {
        match self.awaits.take() {
            // A parameter has bit 7 clear; anything else is a new command.
            Some(awaits) if byte < 0x80 => self.parameter(awaits, byte),
            _ => self.command(byte),
        }
    }

    fn parameter(&mut self, awaits: Awaits, byte: u8) {
        match awaits {
            Awaits::Indicators => self.indicators = byte & 7,
            Awaits::Typematic => self.typematic = byte,
            Awaits::ScanCodeSet => match byte {
                0 => {
                    self.queue.answer(&[ACK, self.scan_code_set]);
                    return;
                }
                1 | 2 => {
                    self.queue.clear();
                    self.scan_code_set = byte;
                }
                _ => {
                    self.awaits = Some(awaits);
                    self.queue.answer(&[RESEND]);
                    return;
                }
            },
        }
        self.queue.answer(&[ACK]);
    }

    fn command(&mut self, byte: u8) {
        match byte {
            command::SET_INDICATORS => self.awaits = Some(Awaits::Indicators),
            command::SCAN_CODE_SET => self.awaits = Some(Awaits::ScanCodeSet),
            command::TYPEMATIC => self.awaits = Some(Awaits::Typematic),
            command::ECHO => return self.queue.answer(&[command::ECHO]),
            command::READ_ID => return self.queue.answer(&[ACK, 0xab, 0x83]),
            command::ENABLE => {
                self.queue.clear();
                self.scanning = true;
            }
            command::DISABLE => {
                self.defaults();
                self.scanning = false;
            }
            command::DEFAULTS => self.defaults(),
            command::RESEND => return self.queue.resend(),
            command::RESET => {
                *self = Self::new();
                return self.queue.answer(&[ACK, SELF_TEST_PASSED]);
            }
            _ => return self.queue.answer(&[RESEND]),
        }
        self.queue.answer(&[ACK]);
    }

    fn defaults(&mut self) {
        let Self { queue, awaits: _, scanning, scan_code_set, indicators: _, typematic, encoder } = self;
        queue.clear();
        *scanning = true;
        *scan_code_set = 2;
        *typematic = 0x2b;
        *encoder = SetOneEncoder::default();
    }
}
