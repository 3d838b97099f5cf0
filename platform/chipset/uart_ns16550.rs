//! The 16550A serial port.
//!
//! Manual: National Semiconductor PC16550D data sheet, "Registers" and "FIFO Interrupt Mode Operation".
//! A character takes its time on the line: the transmitter's interrupts come when the baud rate says so. The board drains
//! [`Uart::take_output`] after each call, offers input with [`Uart::push_input`], and wires [`Uart::interrupt`], which on a PC passes only while
//! MCR.OUT2 is set.

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::device::{Context, Registers, Reset, Timed, byte_lanes};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Frequency of the crystal of a PC's serial port; a bit takes 16 divided clocks.
const CRYSTAL_HZ: u64 = 1_843_200;
/// Depth of each FIFO, in characters.
const FIFO_DEPTH: usize = 16;
/// Characters kept for a board that does not drain; later ones are lost, as on an unconnected line.
const OUTPUT_LIMIT: usize = 1 << 16;

/// Interrupt Enable Register.
mod ier {
    pub const RECEIVED_DATA: u8 = 0x01;
    pub const THR_EMPTY: u8 = 0x02;
    pub const LINE_STATUS: u8 = 0x04;
    pub const MODEM_STATUS: u8 = 0x08;
}
/// Interrupt Identification Register.
mod iir {
    pub const MODEM_STATUS: u8 = 0x00;
    pub const NONE: u8 = 0x01;
    pub const THR_EMPTY: u8 = 0x02;
    pub const RECEIVED_DATA: u8 = 0x04;
    pub const LINE_STATUS: u8 = 0x06;
    pub const CHARACTER_TIMEOUT: u8 = 0x0c;
    pub const FIFOS_ENABLED: u8 = 0xc0;
}
/// FIFO Control Register.
mod fcr {
    pub const ENABLE: u8 = 0x01;
    pub const RESET_RECEIVER: u8 = 0x02;
    pub const RESET_TRANSMITTER: u8 = 0x04;
}
/// Line Control Register.
mod lcr {
    pub const TWO_STOP_BITS: u8 = 0x04;
    pub const PARITY: u8 = 0x08;
    pub const SET_BREAK: u8 = 0x40;
    pub const DLAB: u8 = 0x80;
}
/// MODEM Control Register.
mod mcr {
    pub const DTR: u8 = 0x01;
    pub const RTS: u8 = 0x02;
    pub const OUT1: u8 = 0x04;
    pub const OUT2: u8 = 0x08;
    pub const LOOP: u8 = 0x10;
}
/// Line Status Register.
mod lsr {
    pub const DATA_READY: u8 = 0x01;
    pub const OVERRUN: u8 = 0x02;
    pub const FRAMING: u8 = 0x08;
    pub const BREAK: u8 = 0x10;
    pub const ERRORS: u8 = 0x1e;
    pub const THRE: u8 = 0x20;
    pub const TEMT: u8 = 0x40;
    pub const FIFO_ERROR: u8 = 0x80;
}
/// MODEM Status Register, upper half: the inputs as the board drives them.
pub mod modem {
    /// Clear To Send.
    pub const CTS: u8 = 0x10;
    /// Data Set Ready.
    pub const DSR: u8 = 0x20;
    /// Ring Indicator.
    pub const RI: u8 = 0x40;
    /// Data Carrier Detect.
    pub const DCD: u8 = 0x80;
}

/// How long a character occupies the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LineSpeed {
    /// As the divisor latch and the line control register say.
    Programmed,
    /// Always this many ticks, for runs that do not want to wait for a terminal.
    Fixed {
        /// Ticks a character, at least 1.
        character_ticks: u64,
    },
}

/// The transmitter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Transmitter {
    Idle,
    /// A character waits for the next edge of the baud clock.
    Starting {
        at: Tick,
    },
    /// The shift register holds `byte`, gone at `until`.
    Shifting {
        byte: u8,
        until: Tick,
    },
}

/// A received character and the line errors that came with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Received {
    byte: u8,
    errors: u8,
}

/// A 16550A.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Uart {
    // configuration
    speed: LineSpeed,
    // connections: the modem lines as the board drives them
    modem_inputs: u8,
    // state: registers
    divisor: u16,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    line_errors: u8,
    msr: u8,
    scratch: u8,
    // state: data paths
    receive: VecDeque<Received>,
    transmit: VecDeque<u8>,
    transmitter: Transmitter,
    // state: interrupts that are events, not levels
    thr_empty_pending: bool,
    timeout_at: Option<Tick>,
    timeout_pending: bool,
    // outputs
    output: Vec<u8>,
}

impl Uart {
    /// A port after power-on, its modem lines as of a connected terminal.
    pub fn new(speed: LineSpeed) -> Self {
        let mut uart = Self {
            speed,
            modem_inputs: modem::CTS | modem::DSR | modem::DCD,
            divisor: 0,
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            line_errors: 0,
            msr: 0,
            scratch: 0,
            receive: VecDeque::new(),
            transmit: VecDeque::new(),
            transmitter: Transmitter::Idle,
            thr_empty_pending: false,
            timeout_at: None,
            timeout_pending: false,
            output: Vec::new(),
        };
        uart.reset();
        uart
    }

    /// The interrupt output as the PC wires it.
    pub fn interrupt(&self) -> bool {
        self.mcr & (mcr::OUT2 | mcr::LOOP) == mcr::OUT2 && self.identification() != iir::NONE
    }

    /// Characters sent since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether characters wait in [`Self::take_output`].
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Offers characters from outside; gives how many were taken. None is taken in loopback or while the receiver is full.
    pub fn push_input(&mut self, now: Tick, bytes: &[u8]) -> usize {
        self.catch_up(now);
        if self.mcr & mcr::LOOP != 0 {
            return 0;
        }
        let count = bytes.len().min(self.depth().saturating_sub(self.receive.len()));
        for &byte in &bytes[..count] {
            self.received(now, Received { byte, errors: 0 });
        }
        count
    }

    /// Drives the modem inputs, a union of [`modem`] bits.
    pub fn set_modem_inputs(&mut self, inputs: u8) {
        self.modem_inputs = inputs & 0xf0;
        self.update_modem_status();
    }

    /// The modem outputs DTR (bit 0) and RTS (bit 1); low in loopback.
    pub fn modem_outputs(&self) -> u8 {
        if self.mcr & mcr::LOOP == 0 { self.mcr & (mcr::DTR | mcr::RTS) } else { 0 }
    }

    fn fifos_enabled(&self) -> bool {
        self.fcr & fcr::ENABLE != 0
    }

    fn depth(&self) -> usize {
        if self.fifos_enabled() { FIFO_DEPTH } else { 1 }
    }

    /// Half-bits of a character: start, data, parity and stop bits (one and a half of these for five data bits).
    fn half_bits(&self) -> u64 {
        let data = 5 + u64::from(self.lcr & 3);
        let stop = match (self.lcr & lcr::TWO_STOP_BITS != 0, data) {
            (false, _) => 2,
            (true, 5) => 3,
            (true, _) => 4,
        };
        2 * (1 + data + u64::from(self.lcr & lcr::PARITY != 0)) + stop
    }

    fn clocks_to_ticks(&self, clocks: u64) -> u64 {
        let divisor = u64::from(self.divisor.max(1));
        (clocks * divisor * TICKS_PER_SECOND).div_ceil(CRYSTAL_HZ)
    }

    fn character_ticks(&self) -> u64 {
        match self.speed {
            LineSpeed::Programmed => self.clocks_to_ticks(8 * self.half_bits()),
            LineSpeed::Fixed { character_ticks } => character_ticks.max(1),
        }
    }

    fn start_ticks(&self) -> u64 {
        match self.speed {
            LineSpeed::Programmed => self.clocks_to_ticks(1),
            LineSpeed::Fixed { character_ticks } => (character_ticks / 16).max(1),
        }
    }

    /// Does what was due until `now`.
    fn catch_up(&mut self, now: Tick) {
        loop {
            match self.transmitter {
                Transmitter::Starting { at } if at <= now => self.start_character(at),
                Transmitter::Shifting { byte, until } if until <= now => {
                    self.sent(until, byte);
                    self.start_character(until);
                }
                _ => break,
            }
        }
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.timeout_at = None;
            self.timeout_pending = true;
        }
    }

    fn start_character(&mut self, at: Tick) {
        self.transmitter = match self.transmit.pop_front() {
            Some(byte) => {
                if self.transmit.is_empty() {
                    self.thr_empty_pending = true;
                }
                Transmitter::Shifting { byte, until: Tick(at.0.saturating_add(self.character_ticks())) }
            }
            None => Transmitter::Idle,
        };
    }

    fn sent(&mut self, at: Tick, byte: u8) {
        if self.mcr & mcr::LOOP != 0 {
            self.received(at, Received { byte, errors: 0 });
        } else if self.output.len() < OUTPUT_LIMIT {
            self.output.push(byte);
        }
    }

    fn received(&mut self, at: Tick, character: Received) {
        if self.receive.len() < self.depth() {
            self.receive.push_back(character);
        } else {
            self.line_errors |= lsr::OVERRUN;
            if !self.fifos_enabled() {
                self.receive.clear();
                self.receive.push_back(character);
            }
        }
        self.reveal_errors();
        self.restart_timeout(at);
    }

    /// A character's errors show in LSR when it is the next to be read.
    fn reveal_errors(&mut self) {
        if let Some(first) = self.receive.front_mut() {
            self.line_errors |= std::mem::take(&mut first.errors);
        }
    }

    /// The timeout interrupt comes four character times after the last traffic of a receiver FIFO that holds something.
    fn restart_timeout(&mut self, now: Tick) {
        self.timeout_pending = false;
        let ticks = self.character_ticks().saturating_mul(4);
        self.timeout_at = (self.fifos_enabled() && !self.receive.is_empty()).then(|| Tick(now.0.saturating_add(ticks)));
    }

    fn trigger_level(&self) -> usize {
        [1, 4, 8, 14][usize::from(self.fcr >> 6)]
    }

    /// The pending interrupt of highest priority, without the FIFO bits.
    fn identification(&self) -> u8 {
        let enabled = |bit| self.ier & bit != 0;
        if enabled(ier::LINE_STATUS) && self.line_errors != 0 {
            return iir::LINE_STATUS;
        }
        if enabled(ier::RECEIVED_DATA) {
            let level = if self.fifos_enabled() { self.trigger_level() } else { 1 };
            if self.receive.len() >= level {
                return iir::RECEIVED_DATA;
            }
            if self.timeout_pending {
                return iir::CHARACTER_TIMEOUT;
            }
        }
        if enabled(ier::THR_EMPTY) && self.thr_empty_pending {
            return iir::THR_EMPTY;
        }
        if enabled(ier::MODEM_STATUS) && self.msr & 0x0f != 0 {
            return iir::MODEM_STATUS;
        }
        iir::NONE
    }

    fn line_status(&self) -> u8 {
        let mut status = self.line_errors;
        if !self.receive.is_empty() {
            status |= lsr::DATA_READY;
        }
        if self.transmit.is_empty() {
            status |= lsr::THRE;
            if !matches!(self.transmitter, Transmitter::Shifting { .. }) {
                status |= lsr::TEMT;
            }
        }
        let errors_wait =
            self.receive.iter().any(|character| character.errors != 0) || self.line_errors & !lsr::OVERRUN != 0;
        if self.fifos_enabled() && errors_wait {
            status |= lsr::FIFO_ERROR;
        }
        status
    }

    /// Recomputes the modem inputs as the chip sees them and notes what changed.
    fn update_modem_status(&mut self) {
        let inputs = if self.mcr & mcr::LOOP == 0 {
            self.modem_inputs
        } else {
            [(mcr::RTS, modem::CTS), (mcr::DTR, modem::DSR), (mcr::OUT1, modem::RI), (mcr::OUT2, modem::DCD)]
                .iter()
                .filter(|(output, _)| self.mcr & output != 0)
                .fold(0, |inputs, (_, input)| inputs | input)
        };
        let changed = inputs ^ self.msr & 0xf0;
        let mut deltas = changed & (modem::CTS | modem::DSR | modem::DCD);
        // Of the ring indicator only the trailing edge counts.
        deltas |= changed & self.msr & modem::RI;
        self.msr = inputs | self.msr & 0x0f | deltas >> 4;
    }

    fn read_register(&mut self, now: Tick, offset: u64) -> u8 {
        let latch = self.lcr & lcr::DLAB != 0;
        match offset {
            0 if latch => self.divisor as u8,
            1 if latch => (self.divisor >> 8) as u8,
            0 => {
                let byte = self.receive.pop_front().map_or(0, |character| character.byte);
                self.reveal_errors();
                self.restart_timeout(now);
                byte
            }
            1 => self.ier,
            2 => {
                let identification = self.identification();
                if identification == iir::THR_EMPTY {
                    self.thr_empty_pending = false;
                }
                identification | if self.fifos_enabled() { iir::FIFOS_ENABLED } else { 0 }
            }
            3 => self.lcr,
            4 => self.mcr,
            5 => {
                let status = self.line_status();
                self.line_errors &= !lsr::ERRORS;
                status
            }
            6 => {
                let status = self.msr;
                self.msr &= 0xf0;
                status
            }
            7 => self.scratch,
            _ => 0xff,
        }
    }

    fn write_register(&mut self, now: Tick, offset: u64, value: u8) {
        let latch = self.lcr & lcr::DLAB != 0;
        match offset {
            0 if latch => self.divisor = self.divisor & 0xff00 | u16::from(value),
            1 if latch => self.divisor = self.divisor & 0x00ff | u16::from(value) << 8,
            0 => self.write_transmitter_holding(now, value),
            1 => {
                // Enabling the interrupt while the register is empty raises it anew.
                if value & !self.ier & ier::THR_EMPTY != 0 && self.transmit.is_empty() {
                    self.thr_empty_pending = true;
                }
                self.ier = value & 0x0f;
            }
            2 => self.write_fifo_control(value),
            3 => {
                let breaks = value & !self.lcr & lcr::SET_BREAK != 0;
                self.lcr = value;
                if breaks && self.mcr & mcr::LOOP != 0 {
                    self.received(now, Received { byte: 0, errors: lsr::BREAK | lsr::FRAMING });
                }
            }
            4 => {
                self.mcr = value & 0x1f;
                self.update_modem_status();
            }
            7 => self.scratch = value,
            _ => {}
        }
    }

    fn write_transmitter_holding(&mut self, now: Tick, value: u8) {
        self.thr_empty_pending = false;
        if self.transmit.len() < self.depth() {
            self.transmit.push_back(value);
        } else if !self.fifos_enabled() {
            self.transmit.clear();
            self.transmit.push_back(value);
        }
        if self.transmitter == Transmitter::Idle {
            self.transmitter = Transmitter::Starting { at: Tick(now.0.saturating_add(self.start_ticks())) };
        }
    }

    fn write_fifo_control(&mut self, value: u8) {
        let switched = (value ^ self.fcr) & fcr::ENABLE != 0;
        let enabled = value & fcr::ENABLE != 0;
        if switched || enabled && value & fcr::RESET_RECEIVER != 0 {
            self.receive.clear();
            self.timeout_at = None;
            self.timeout_pending = false;
        }
        if switched || enabled && value & fcr::RESET_TRANSMITTER != 0 {
            if !self.transmit.is_empty() {
                self.thr_empty_pending = true;
            }
            self.transmit.clear();
        }
        // The other bits are programmed only together with the enable bit.
        self.fcr = if enabled { value & 0xc9 } else { 0 };
    }
}

impl Registers for Uart {
    fn read(&mut self, cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        self.catch_up(cx.now);
        byte_lanes::read_bytes(offset, size, |at| self.read_register(cx.now, at))
    }

    fn write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        self.catch_up(cx.now);
        byte_lanes::write_bytes(offset, size, value, |at, byte| self.write_register(cx.now, at, byte));
    }
}

impl Timed for Uart {
    fn next_event(&self) -> Option<Tick> {
        let transmitter = match self.transmitter {
            Transmitter::Idle => None,
            Transmitter::Starting { at } => Some(at),
            Transmitter::Shifting { until, .. } => Some(until),
        };
        match (transmitter, self.timeout_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        self.catch_up(cx.now);
    }
}

impl Reset for Uart {
    /// The data sheet leaves the divisor undefined at reset; it is 1 here (115200 baud), as firmware leaves it.
    fn reset(&mut self) {
        let Self {
            speed: _,
            modem_inputs,
            divisor,
            ier,
            fcr,
            lcr,
            mcr,
            line_errors,
            msr,
            scratch,
            receive,
            transmit,
            transmitter,
            thr_empty_pending,
            timeout_at,
            timeout_pending,
            output: _,
        } = self;
        *divisor = 1;
        (*ier, *fcr, *lcr, *mcr, *line_errors, *scratch) = (0, 0, 0, 0, 0, 0);
        *msr = *modem_inputs;
        receive.clear();
        transmit.clear();
        *transmitter = Transmitter::Idle;
        *thr_empty_pending = false;
        *timeout_at = None;
        *timeout_pending = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::conformance::{Bench, conformance};

    /// Its output is drained, as the board does.
    fn drained() -> Uart {
        Uart::new(LineSpeed::Programmed)
    }

    conformance!(drained(), registers = 8, timed, battery);

    /// 8N1 at 115200 baud.
    const CHARACTER: u64 = 86_806;

    fn port() -> (Uart, Bench) {
        let (mut uart, mut b) = (drained(), Bench::new());
        b.outb(&mut uart, 3, 0x03);
        (uart, b)
    }

    #[test]
    fn reset_after_use_gives_power_on_state() {
        let (mut uart, mut b) = port();
        for offset in 0..8 {
            b.outb(&mut uart, offset, 0x5f);
        }
        uart.reset();
        assert_eq!(postcard::to_stdvec(&uart).unwrap(), postcard::to_stdvec(&drained()).unwrap());
    }

    #[test]
    fn transmit_one_character_takes_its_time_on_the_line() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 0, b'A');
        assert_eq!(b.inb(&mut uart, 5), 0x00);
        b.now = 600;
        assert_eq!(b.inb(&mut uart, 5), 0x20, "in the shift register");
        b.now = 543 + CHARACTER - 2;
        assert_eq!(b.inb(&mut uart, 5), 0x20);
        assert!(!uart.has_output());
        b.run_until(&mut uart, 543 + CHARACTER, |_, _| {});
        assert_eq!(b.inb(&mut uart, 5), 0x60);
        assert_eq!(uart.take_output(), b"A");
        assert_eq!(uart.next_event(), None);
    }

    #[test]
    fn identification_as_a_driver_probes_it_says_16550a() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 1, 0x00);
        assert_eq!(b.inb(&mut uart, 1), 0);
        b.outb(&mut uart, 1, 0x0f);
        assert_eq!(b.inb(&mut uart, 1), 0x0f);
        b.outb(&mut uart, 1, 0xff);
        assert_eq!(b.inb(&mut uart, 1), 0x0f);
        b.outb(&mut uart, 1, 0);
        b.outb(&mut uart, 4, 0x1a);
        assert_eq!(b.inb(&mut uart, 6) & 0xf0, 0x90, "loopback of RTS and OUT2");
        b.outb(&mut uart, 4, 0);
        for lcr in [0x80, 0xbf, 0xe0, 0x03] {
            b.outb(&mut uart, 3, lcr);
            b.outb(&mut uart, 2, 0x01);
            assert_eq!(b.inb(&mut uart, 2), 0xc1, "no enhanced registers under LCR {lcr:#x}");
            b.outb(&mut uart, 2, 0x21);
            assert_eq!(b.inb(&mut uart, 2), 0xc1, "no 64-byte FIFO");
        }
        b.outb(&mut uart, 2, 0);
        assert_eq!(b.inb(&mut uart, 2), 0x01);
        b.outb(&mut uart, 7, 0xa5);
        assert_eq!(b.inb(&mut uart, 7), 0xa5);
    }

    #[test]
    fn fifo_size_measured_in_loopback_is_16() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 2, 0x07);
        b.outb(&mut uart, 4, 0x10);
        for i in 0..=255 {
            b.outb(&mut uart, 0, i);
        }
        b.run_until(&mut uart, 20_000_000, |_, _| {});
        let mut count = 0;
        while b.inb(&mut uart, 5) & 1 != 0 && count < 256 {
            assert_eq!(b.inb(&mut uart, 0), count as u8);
            count += 1;
        }
        assert_eq!(count, 16);
    }

    #[test]
    fn thre_interrupt_enabled_again_comes_again() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 4, 0x08);
        for _ in 0..2 {
            b.outb(&mut uart, 1, 0x02);
            assert!(uart.interrupt());
            assert_eq!(b.inb(&mut uart, 2), 0x02);
            assert!(!uart.interrupt(), "reading IIR clears it");
            assert_eq!(b.inb(&mut uart, 2), 0x01);
            b.outb(&mut uart, 1, 0x00);
        }
    }

    #[test]
    fn thre_interrupt_with_fifo_comes_when_the_last_character_starts() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 4, 0x08);
        b.outb(&mut uart, 2, 0x07);
        b.outb(&mut uart, 1, 0x02);
        for byte in b"0123" {
            b.outb(&mut uart, 0, *byte);
        }
        assert!(!uart.interrupt());
        let mut raised = None;
        b.run_until(&mut uart, 10_000_000, |at, uart| {
            if uart.interrupt() && raised.is_none() {
                raised = Some(at);
            }
        });
        assert_eq!(raised, Some(543 + 3 * CHARACTER));
        assert_eq!(uart.take_output(), b"0123");
    }

    #[test]
    fn interrupt_without_out2_stays_low() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 1, 0x02);
        assert!(!uart.interrupt());
        assert_eq!(b.inb(&mut uart, 2), 0x02);
    }

    #[test]
    fn receive_below_trigger_gives_timeout_and_at_trigger_data_interrupt() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 4, 0x08);
        b.outb(&mut uart, 2, 0x41);
        b.outb(&mut uart, 1, 0x01);
        assert_eq!(uart.push_input(Tick(0), b"abc"), 3);
        assert!(!uart.interrupt());
        b.run_until(&mut uart, 4 * CHARACTER, |_, _| {});
        assert!(uart.interrupt());
        assert_eq!(b.inb(&mut uart, 2), 0xcc);
        assert_eq!(b.inb(&mut uart, 0), b'a');
        assert!(!uart.interrupt());
        assert_eq!(uart.push_input(Tick(b.now), b"de"), 2);
        assert_eq!(b.inb(&mut uart, 2), 0xc4);
        assert_eq!(uart.push_input(Tick(b.now), &[0; 32]), 12, "what fits");
        for expected in b"bcde" {
            assert_eq!(b.inb(&mut uart, 0), *expected);
        }
    }

    #[test]
    fn loopback_overrun_is_a_line_status_interrupt_of_first_priority() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 4, 0x10);
        b.outb(&mut uart, 1, 0x0f);
        b.outb(&mut uart, 0, 1);
        b.run_until(&mut uart, 100_000, |_, _| {});
        assert_eq!(b.inb(&mut uart, 2), 0x04);
        b.outb(&mut uart, 0, 2);
        b.run_until(&mut uart, 300_000, |_, _| {});
        assert_eq!(b.inb(&mut uart, 2), 0x06);
        assert_eq!(b.inb(&mut uart, 5), 0x63);
        assert_eq!(b.inb(&mut uart, 5), 0x61);
        assert_eq!(b.inb(&mut uart, 0), 2);
    }

    #[test]
    fn modem_lines_changing_give_deltas_and_interrupt() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 4, 0x08);
        b.outb(&mut uart, 1, 0x08);
        assert_eq!(b.inb(&mut uart, 6), 0xb0);
        uart.set_modem_inputs(modem::RI);
        assert!(uart.interrupt());
        assert_eq!(b.inb(&mut uart, 6), 0x4b);
        assert!(!uart.interrupt());
        uart.set_modem_inputs(0);
        assert_eq!(b.inb(&mut uart, 6), 0x04);
    }

    #[test]
    fn divisor_slows_the_line() {
        let (mut uart, mut b) = port();
        b.outb(&mut uart, 3, 0x83);
        b.outb(&mut uart, 0, 12);
        b.outb(&mut uart, 1, 0);
        assert_eq!((b.inb(&mut uart, 0), b.inb(&mut uart, 1)), (12, 0));
        b.outb(&mut uart, 3, 0x03);
        b.outb(&mut uart, 0, b'x');
        b.run_until(&mut uart, 1_041_666, |_, _| {});
        assert!(!uart.has_output());
        b.run_until(&mut uart, 1_048_200, |_, _| {});
        assert!(uart.has_output());
    }
}
