//! The keyboard controller with its keyboard and mouse.
//!
//! Manual: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
//! A byte from a device takes its time on the wire, so that after each read of port 60h the output buffer is empty for a moment and the next byte
//! makes a new edge on its interrupt line. The controller's own answers are there at once. The board wires [`KeyboardController::irq1`] and
//! [`KeyboardController::irq12`], and passes A20 and reset on to the reset control.
//!
//! Register offsets: 0 port 60h, 1 port 64h.

mod keyboard;
mod mouse;
mod scan_code;
#[cfg(test)]
mod tests;

pub use mouse::Movement;

use crate::clock::Tick;
use crate::device::{Context, Registers, Reset, Timed};
use keyboard::Keyboard;
use mouse::Mouse;
use scan_code::SetOneEncoder;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Ticks that a byte takes from a device to the output buffer: short of the 50 us that software waits between polls.
const BYTE_TICKS: u64 = 30_000;
/// Bytes that a device holds back.
const QUEUE_DEPTH: usize = 64;

/// Port 64h, read.
mod status {
    pub const OUTPUT_FULL: u8 = 0x01;
    pub const SYSTEM: u8 = 0x04;
    pub const COMMAND: u8 = 0x08;
    pub const NOT_LOCKED: u8 = 0x10;
    pub const AUXILIARY: u8 = 0x20;
}
/// The controller command byte.
mod ccb {
    pub const KEYBOARD_INTERRUPT: u8 = 0x01;
    pub const AUXILIARY_INTERRUPT: u8 = 0x02;
    pub const SYSTEM: u8 = 0x04;
    pub const KEYBOARD_DISABLED: u8 = 0x10;
    pub const AUXILIARY_DISABLED: u8 = 0x20;
    pub const TRANSLATE: u8 = 0x40;
}
/// The output port.
mod output_port {
    pub const NOT_RESET: u8 = 0x01;
    pub const A20: u8 = 0x02;
    pub const KEYBOARD_FULL: u8 = 0x10;
    pub const AUXILIARY_FULL: u8 = 0x20;
    pub const KEPT: u8 = 0xcf;
    pub const POWER_ON: u8 = 0xc3;
}
/// Port 64h, written.
mod command {
    pub const READ_RAM_FIRST: u8 = 0x20;
    pub const READ_RAM_LAST: u8 = 0x3f;
    pub const WRITE_RAM_FIRST: u8 = 0x60;
    pub const WRITE_RAM_LAST: u8 = 0x7f;
    pub const DISABLE_AUXILIARY: u8 = 0xa7;
    pub const ENABLE_AUXILIARY: u8 = 0xa8;
    pub const TEST_AUXILIARY: u8 = 0xa9;
    pub const SELF_TEST: u8 = 0xaa;
    pub const TEST_KEYBOARD: u8 = 0xab;
    pub const DISABLE_KEYBOARD: u8 = 0xad;
    pub const ENABLE_KEYBOARD: u8 = 0xae;
    pub const READ_INPUT_PORT: u8 = 0xc0;
    pub const READ_OUTPUT_PORT: u8 = 0xd0;
    pub const WRITE_OUTPUT_PORT: u8 = 0xd1;
    pub const WRITE_KEYBOARD_BUFFER: u8 = 0xd2;
    pub const WRITE_AUXILIARY_BUFFER: u8 = 0xd3;
    pub const WRITE_AUXILIARY: u8 = 0xd4;
    pub const DISABLE_A20: u8 = 0xdd;
    pub const ENABLE_A20: u8 = 0xdf;
    pub const READ_TEST_INPUTS: u8 = 0xe0;
    pub const PULSE_FIRST: u8 = 0xf0;
}
const SELF_TEST_PASSED: u8 = 0x55;

/// Bytes that a device wants to send.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
struct SendQueue {
    bytes: VecDeque<u8>,
    last: u8,
}

impl SendQueue {
    fn room(&self) -> usize {
        QUEUE_DEPTH.saturating_sub(self.bytes.len())
    }
    fn push(&mut self, byte: u8) {
        if self.room() > 0 {
            self.bytes.push_back(byte);
        }
    }
    /// Answers to a command; they find room, since commands come slower than their answers go, or are lost.
    fn answer(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.push(*byte))
    }
    fn resend(&mut self) {
        self.push(self.last)
    }
    fn clear(&mut self) {
        self.bytes.clear()
    }
    fn pop(&mut self) -> Option<u8> {
        let byte = self.bytes.pop_front()?;
        self.last = byte;
        Some(byte)
    }
}

/// Whose byte is in the output buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Source {
    Keyboard,
    Auxiliary,
}

/// What the next write to port 60h is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum DataIs {
    ToKeyboard,
    Ram(u8),
    OutputPort,
    KeyboardBuffer,
    AuxiliaryBuffer,
    ToAuxiliary,
}

/// The controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyboardController {
    // state: the controller. RAM byte 0 is the command byte.
    ram: [u8; 32],
    output_port: u8,
    data_is: DataIs,
    last_was_command: bool,
    output: Option<(Source, u8)>,
    /// What port 60h reads as while the output buffer is empty.
    last_output: u8,
    translator: SetOneEncoder,
    /// When the next byte of a device arrives.
    arrives: Option<Tick>,
    // state: the devices
    keyboard: Keyboard,
    mouse: Mouse,
    // outputs
    reset_requested: bool,
}

impl Default for KeyboardController {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyboardController {
    /// After power-on, as firmware leaves it: self-test done, both interfaces on, translation on, interrupts off, line 20 open.
    pub fn new() -> Self {
        let mut ram = [0; 32];
        ram[0] = ccb::SYSTEM | ccb::TRANSLATE;
        Self {
            ram,
            output_port: output_port::POWER_ON,
            data_is: DataIs::ToKeyboard,
            last_was_command: false,
            output: None,
            last_output: 0,
            translator: SetOneEncoder::default(),
            arrives: None,
            keyboard: Keyboard::new(),
            mouse: Mouse::new(),
            reset_requested: false,
        }
    }

    /// The keyboard's interrupt: its byte waits, and the command byte lets it through.
    pub fn irq1(&self) -> bool {
        self.holds(Source::Keyboard) && self.ram[0] & ccb::KEYBOARD_INTERRUPT != 0
    }

    /// The mouse's interrupt.
    pub fn irq12(&self) -> bool {
        self.holds(Source::Auxiliary) && self.ram[0] & ccb::AUXILIARY_INTERRUPT != 0
    }

    /// A20GATE.
    pub fn a20(&self) -> bool {
        self.output_port & output_port::A20 != 0
    }

    /// Whether software pulsed the reset line since the last call.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset_requested)
    }

    /// The keyboard's indicators: bit 0 scroll lock, bit 1 num lock, bit 2 caps lock.
    pub fn indicators(&self) -> u8 {
        self.keyboard.indicators()
    }

    /// Keys from outside, as bytes of scan code set 2 (release prefix F0h, extended prefix E0h). Either all are taken, or none: the keyboard is
    /// off, or its buffer is full.
    #[must_use]
    pub fn press_keys(&mut self, now: Tick, scan_codes: &[u8]) -> bool {
        self.catch_up(now);
        let taken = self.keyboard.press(scan_codes);
        self.start_arrival(now);
        taken
    }

    /// The mouse moves, or its buttons change.
    pub fn move_mouse(&mut self, now: Tick, movement: Movement) {
        self.catch_up(now);
        self.mouse.move_by(movement);
        self.start_arrival(now);
    }

    fn holds(&self, source: Source) -> bool {
        self.output.is_some_and(|(held, _)| held == source)
    }

    /// Whether some device may send.
    fn sender(&self) -> Option<Source> {
        let enabled = |disabled| self.ram[0] & disabled == 0;
        if enabled(ccb::KEYBOARD_DISABLED) && !self.keyboard.queue.bytes.is_empty() {
            Some(Source::Keyboard)
        } else if enabled(ccb::AUXILIARY_DISABLED) && !self.mouse.queue.bytes.is_empty() {
            Some(Source::Auxiliary)
        } else {
            None
        }
    }

    /// A byte starts on its way if the output buffer is free and none is under way.
    fn start_arrival(&mut self, now: Tick) {
        let wanted = self.output.is_none() && self.sender().is_some();
        self.arrives = match (wanted, self.arrives) {
            (false, _) => None,
            (true, Some(at)) => Some(at),
            (true, None) => Some(Tick(now.0.saturating_add(BYTE_TICKS))),
        };
    }

    fn catch_up(&mut self, now: Tick) {
        while self.arrives.is_some_and(|at| at <= now) && self.output.is_none() {
            match self.sender() {
                Some(Source::Keyboard) => self.keyboard_byte_arrives(),
                Some(Source::Auxiliary) => self.output = self.mouse.queue.pop().map(|byte| (Source::Auxiliary, byte)),
                None => break,
            }
        }
        if self.arrives.is_some_and(|at| at <= now) {
            self.arrives = None;
        }
        self.start_arrival(now);
    }

    fn keyboard_byte_arrives(&mut self) {
        let Some(byte) = self.keyboard.queue.pop() else { return };
        // The release prefix is swallowed by the translation.
        let seen = if self.ram[0] & ccb::TRANSLATE != 0 { self.translator.encode(byte) } else { Some(byte) };
        self.output = seen.map(|byte| (Source::Keyboard, byte));
    }

    /// The controller's own answer replaces what is in the output buffer.
    fn answer(&mut self, byte: u8) {
        self.output = Some((Source::Keyboard, byte))
    }

    fn read_data(&mut self) -> u8 {
        if let Some((_, byte)) = self.output.take() {
            self.last_output = byte;
        }
        self.last_output
    }

    fn read_status(&self) -> u8 {
        let mut value = status::NOT_LOCKED;
        if self.ram[0] & ccb::SYSTEM != 0 {
            value |= status::SYSTEM;
        }
        if self.last_was_command {
            value |= status::COMMAND;
        }
        match self.output {
            Some((Source::Keyboard, _)) => value | status::OUTPUT_FULL,
            Some((Source::Auxiliary, _)) => value | status::OUTPUT_FULL | status::AUXILIARY,
            None => value,
        }
    }

    fn write_data(&mut self, value: u8) {
        self.last_was_command = false;
        match std::mem::replace(&mut self.data_is, DataIs::ToKeyboard) {
            DataIs::ToKeyboard => {
                // Talking to the keyboard turns its interface on.
                self.ram[0] &= !ccb::KEYBOARD_DISABLED;
                self.keyboard.receive(value);
            }
            DataIs::Ram(index) => self.ram[usize::from(index & 0x1f)] = value,
            DataIs::OutputPort => self.write_output_port(value),
            DataIs::KeyboardBuffer => self.output = Some((Source::Keyboard, value)),
            DataIs::AuxiliaryBuffer => self.output = Some((Source::Auxiliary, value)),
            DataIs::ToAuxiliary => {
                self.ram[0] &= !ccb::AUXILIARY_DISABLED;
                self.mouse.receive(value);
            }
        }
    }

    fn write_output_port(&mut self, value: u8) {
        self.output_port = value & output_port::KEPT | output_port::NOT_RESET;
        if value & output_port::NOT_RESET == 0 {
            self.reset_requested = true;
        }
    }

    fn read_output_port(&self) -> u8 {
        let full = match self.output {
            Some((Source::Keyboard, _)) => output_port::KEYBOARD_FULL,
            Some((Source::Auxiliary, _)) => output_port::AUXILIARY_FULL,
            None => 0,
        };
        self.output_port | full
    }

    fn write_command(&mut self, value: u8) {
        self.last_was_command = true;
        self.data_is = DataIs::ToKeyboard;
        match value {
            command::READ_RAM_FIRST..=command::READ_RAM_LAST => self.answer(self.ram[usize::from(value & 0x1f)]),
            command::WRITE_RAM_FIRST..=command::WRITE_RAM_LAST => self.data_is = DataIs::Ram(value & 0x1f),
            command::DISABLE_AUXILIARY => self.ram[0] |= ccb::AUXILIARY_DISABLED,
            command::ENABLE_AUXILIARY => self.ram[0] &= !ccb::AUXILIARY_DISABLED,
            command::DISABLE_KEYBOARD => self.ram[0] |= ccb::KEYBOARD_DISABLED,
            command::ENABLE_KEYBOARD => self.ram[0] &= !ccb::KEYBOARD_DISABLED,
            command::TEST_AUXILIARY | command::TEST_KEYBOARD => self.answer(0),
            command::SELF_TEST => {
                self.ram[0] |= ccb::SYSTEM;
                self.answer(SELF_TEST_PASSED);
            }
            // Keyboard not locked; manufacturing jumper not installed.
            command::READ_INPUT_PORT => self.answer(0xa0),
            command::READ_OUTPUT_PORT => self.answer(self.read_output_port()),
            command::WRITE_OUTPUT_PORT => self.data_is = DataIs::OutputPort,
            command::WRITE_KEYBOARD_BUFFER => self.data_is = DataIs::KeyboardBuffer,
            command::WRITE_AUXILIARY_BUFFER => self.data_is = DataIs::AuxiliaryBuffer,
            command::WRITE_AUXILIARY => self.data_is = DataIs::ToAuxiliary,
            command::DISABLE_A20 => self.output_port &= !output_port::A20,
            command::ENABLE_A20 => self.output_port |= output_port::A20,
            command::READ_TEST_INPUTS => self.answer(0),
            // Bits that are 0 pulse their output low; bit 0 is the reset line.
            command::PULSE_FIRST.. if value & 1 == 0 => self.reset_requested = true,
            _ => {}
        }
    }
}

impl Registers for KeyboardController {
    /// Both ports are 8 bits wide and do not lie side by side: a wide access sees the first byte only.
    fn read(&mut self, cx: &mut Context<'_>, offset: u64, _size: u8) -> u64 {
        self.catch_up(cx.now);
        let value = match offset {
            0 => self.read_data(),
            1 => self.read_status(),
            _ => 0xff,
        };
        self.start_arrival(cx.now);
        value.into()
    }

    fn write(&mut self, cx: &mut Context<'_>, offset: u64, _size: u8, value: u64) {
        self.catch_up(cx.now);
        match offset {
            0 => self.write_data(value as u8),
            1 => self.write_command(value as u8),
            _ => {}
        }
        self.start_arrival(cx.now);
    }
}

impl Timed for KeyboardController {
    fn next_event(&self) -> Option<Tick> {
        self.arrives
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        self.catch_up(cx.now)
    }
}

impl Reset for KeyboardController {
    fn reset(&mut self) {
        let Self {
            ram: _,
            output_port: _,
            data_is: _,
            last_was_command: _,
            output: _,
            last_output: _,
            translator: _,
            arrives: _,
            keyboard: _,
            mouse: _,
            reset_requested: _,
        } = self;
        *self = Self::new();
    }
}
