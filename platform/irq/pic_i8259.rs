//! The pair of 8259A interrupt controllers of a PC, with the edge/level control registers of the south bridge.
//!
//! Manuals: Intel 8259A data sheet; Intel I/O Controller Hub 9 data sheet, "8259 Interrupt Controllers (PIC)".
//! The board drives [`PicPair::set_input`], reads [`PicPair::intr`] after each call and answers the processor's interrupt acknowledge with
//! [`PicPair::acknowledge`]. Vectors are always delivered in the 8086 manner; ICW1.LTIM is ignored, since the ELCR replaces it.
//!
//! Register offsets: 0-1 the master (ports 20h-21h), 2-3 the slave (A0h-A1h), 4-5 ELCR1 and ELCR2 (4D0h-4D1h).

use crate::device::{Context, Registers, Reset, byte_lanes};
use serde::{Deserialize, Serialize};

/// Input of the master to which the slave's output is wired.
pub const CASCADE: u8 = 2;
/// Lines that may be level-triggered, of master and slave: 0, 1, 2, 8 and 13 are always edge-triggered.
const ELCR_WRITABLE: [u8; 2] = [0xf8, 0xde];

const ICW1_IC4: u8 = 0x01;
const ICW1_SNGL: u8 = 0x02;
const ICW1_SELECT: u8 = 0x10;
const ICW4_AEOI: u8 = 0x02;
const ICW4_SFNM: u8 = 0x10;
const OCW3_SELECT: u8 = 0x08;
const OCW3_RIS: u8 = 0x01;
const OCW3_RR: u8 = 0x02;
const OCW3_POLL: u8 = 0x04;
const OCW3_SMM: u8 = 0x20;
const OCW3_ESMM: u8 = 0x40;

/// What the next write to the odd address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Expects {
    /// Never initialised: no request is passed on.
    Icw1,
    Icw2,
    Icw3,
    Icw4,
    /// Initialised: OCW1.
    Ocw1,
}

/// One 8259A.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pic {
    // state: inputs
    lines: u8,
    edges: u8,
    elcr: u8,
    // state: initialisation
    expects: Expects,
    icw1: u8,
    vector_base: u8,
    auto_eoi: bool,
    special_fully_nested: bool,
    // state: operation
    imr: u8,
    isr: u8,
    lowest_priority: u8,
    rotate_in_auto_eoi: bool,
    special_mask: bool,
    reads_isr: bool,
    poll: bool,
}

impl Pic {
    fn new() -> Self {
        Self {
            lines: 0,
            edges: 0,
            elcr: 0,
            expects: Expects::Icw1,
            icw1: 0,
            vector_base: 0,
            auto_eoi: false,
            special_fully_nested: false,
            imr: 0,
            isr: 0,
            lowest_priority: 7,
            rotate_in_auto_eoi: false,
            special_mask: false,
            reads_isr: false,
            poll: false,
        }
    }

    /// The Interrupt Request Register: level-triggered lines as they are, edge-triggered ones that rose, still stand and were not yet
    /// acknowledged (a request that goes away before the acknowledge becomes a spurious IR7).
    fn irr(&self) -> u8 {
        self.elcr & self.lines | !self.elcr & self.edges
    }

    fn set_input(&mut self, line: u8, level: bool) {
        let bit = 1u8 << (line & 7);
        if !level {
            self.lines &= !bit;
            self.edges &= !bit;
        } else if self.lines & bit == 0 {
            self.lines |= bit;
            self.edges |= bit;
        }
    }

    /// Distance of a line from the highest priority: 0 is served first.
    fn rank(&self, line: u8) -> u8 {
        line.wrapping_sub(self.lowest_priority).wrapping_sub(1) & 7
    }

    fn highest(&self, set: u8) -> Option<u8> {
        (0..8).filter(|line| set >> line & 1 != 0).min_by_key(|&line| self.rank(line))
    }

    /// The line whose request the chip passes on. `is_master`: its cascade input may nest in special fully nested mode.
    fn request(&self, is_master: bool) -> Option<u8> {
        if self.expects != Expects::Ocw1 {
            return None;
        }
        let line = self.highest(self.irr() & !self.imr)?;
        let mut in_service = self.isr;
        if self.special_mask {
            in_service &= !self.imr;
        }
        if is_master && self.special_fully_nested {
            in_service &= !(1 << CASCADE);
        }
        match self.highest(in_service) {
            // In special mask mode other levels in service do not inhibit; the level's own service does.
            Some(_) if self.special_mask => (self.isr >> line & 1 == 0).then_some(line),
            Some(serving) if self.rank(serving) <= self.rank(line) => None,
            _ => Some(line),
        }
    }

    /// The acknowledge cycle of one chip: the line, or `None` for the spurious IR7.
    fn acknowledge(&mut self, is_master: bool) -> Option<u8> {
        let line = self.request(is_master)?;
        self.edges &= !(1 << line);
        if !self.auto_eoi {
            self.isr |= 1 << line;
        } else if self.rotate_in_auto_eoi {
            self.lowest_priority = line;
        }
        Some(line)
    }

    fn read(&mut self, odd: bool, is_master: bool) -> u8 {
        if std::mem::take(&mut self.poll) {
            return self.acknowledge(is_master).map_or(0, |line| 0x80 | line);
        }
        match (odd, self.reads_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr(),
        }
    }

    fn write(&mut self, odd: bool, value: u8) {
        match odd {
            false if value & ICW1_SELECT != 0 => self.write_icw1(value),
            false if value & OCW3_SELECT != 0 => self.write_ocw3(value),
            false => self.write_ocw2(value),
            true => self.write_odd(value),
        }
    }

    fn write_icw1(&mut self, value: u8) {
        self.icw1 = value;
        self.edges = 0;
        self.imr = 0;
        self.isr = 0;
        self.lowest_priority = 7;
        self.rotate_in_auto_eoi = false;
        self.special_mask = false;
        self.reads_isr = false;
        self.poll = false;
        if value & ICW1_IC4 == 0 {
            self.auto_eoi = false;
            self.special_fully_nested = false;
        }
        self.expects = Expects::Icw2;
    }

    fn write_odd(&mut self, value: u8) {
        self.expects = match self.expects {
            Expects::Icw1 | Expects::Ocw1 => {
                self.imr = value;
                return;
            }
            Expects::Icw2 => {
                self.vector_base = value & 0xf8;
                match self.icw1 {
                    icw1 if icw1 & ICW1_SNGL == 0 => Expects::Icw3,
                    icw1 if icw1 & ICW1_IC4 != 0 => Expects::Icw4,
                    _ => Expects::Ocw1,
                }
            }
            // The cascade is wired: ICW3 says nothing new.
            Expects::Icw3 if self.icw1 & ICW1_IC4 != 0 => Expects::Icw4,
            Expects::Icw3 => Expects::Ocw1,
            Expects::Icw4 => {
                self.auto_eoi = value & ICW4_AEOI != 0;
                self.special_fully_nested = value & ICW4_SFNM != 0;
                Expects::Ocw1
            }
        };
    }

    fn write_ocw2(&mut self, value: u8) {
        let level = value & 7;
        // The non-specific EOI does not end a level that special mask mode masks.
        let ending = if self.special_mask { self.isr & !self.imr } else { self.isr };
        match value >> 5 {
            0b000 => self.rotate_in_auto_eoi = false,
            0b100 => self.rotate_in_auto_eoi = true,
            command @ (0b001 | 0b101) => {
                if let Some(line) = self.highest(ending) {
                    self.isr &= !(1 << line);
                    if command == 0b101 {
                        self.lowest_priority = line;
                    }
                }
            }
            0b011 => self.isr &= !(1 << level),
            0b111 => {
                self.isr &= !(1 << level);
                self.lowest_priority = level;
            }
            0b110 => self.lowest_priority = level,
            _ => {}
        }
    }

    fn write_ocw3(&mut self, value: u8) {
        if value & OCW3_ESMM != 0 {
            self.special_mask = value & OCW3_SMM != 0;
        }
        if value & OCW3_POLL != 0 {
            self.poll = true;
        } else if value & OCW3_RR != 0 {
            self.reads_isr = value & OCW3_RIS != 0;
        }
    }
}

/// Master and slave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PicPair {
    // state
    master: Pic,
    slave: Pic,
}

impl Default for PicPair {
    fn default() -> Self {
        Self::new()
    }
}

impl PicPair {
    /// Both chips after power-on: not initialised, all inputs low.
    pub fn new() -> Self {
        Self { master: Pic::new(), slave: Pic::new() }
    }

    /// Drives interrupt input `line`, 0 to 15. Line 2 is the cascade and cannot be driven; other numbers are ignored.
    pub fn set_input(&mut self, line: u8, level: bool) {
        match line {
            CASCADE => {}
            0..=7 => self.master.set_input(line, level),
            8..=15 => self.slave.set_input(line - 8, level),
            _ => {}
        }
        self.cascade();
    }

    /// The INT output to the processor.
    pub fn intr(&self) -> bool {
        self.master.request(true).is_some()
    }

    /// The processor's interrupt acknowledge: the vector, which is that of IR7 when no request stands any more.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match self.master.acknowledge(true) {
            Some(CASCADE) => {
                let line = self.slave.acknowledge(false).unwrap_or(7);
                self.slave.vector_base | line
            }
            line => self.master.vector_base | line.unwrap_or(7),
        };
        self.cascade();
        vector
    }

    /// Interrupt Mask Registers: the slave's in the upper byte.
    pub fn masks(&self) -> u16 {
        u16::from_le_bytes([self.master.imr, self.slave.imr])
    }

    /// Wires the slave's output to the master. After an acknowledge of the slave its output falls for a moment, so that
    /// another request in it makes a new edge; hence the fall before the rise.
    fn cascade(&mut self) {
        let request = self.slave.request(false).is_some();
        if request && self.master.lines & 1 << CASCADE != 0 && self.master.edges & 1 << CASCADE == 0 {
            self.master.set_input(CASCADE, false);
        }
        self.master.set_input(CASCADE, request);
    }
}

impl Registers for PicPair {
    fn read(&mut self, _cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        let value = byte_lanes::read_bytes(offset, size, |at| match at {
            0 | 1 => self.master.read(at == 1, true),
            2 | 3 => self.slave.read(at == 3, false),
            4 => self.master.elcr,
            5 => self.slave.elcr,
            _ => 0xff,
        });
        self.cascade();
        value
    }

    fn write(&mut self, _cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        byte_lanes::write_bytes(offset, size, value, |at, byte| {
            match at {
                0 | 1 => self.master.write(at == 1, byte),
                2 | 3 => self.slave.write(at == 3, byte),
                4 => self.master.elcr = byte & ELCR_WRITABLE[0],
                5 => self.slave.elcr = byte & ELCR_WRITABLE[1],
                _ => {}
            }
            self.cascade();
        });
    }
}

impl Reset for PicPair {
    /// The levels of the inputs are the board's and stay.
    fn reset(&mut self) {
        let Self { master, slave } = self;
        for pic in [master, slave] {
            *pic = Pic { lines: pic.lines, ..Pic::new() };
        }
        self.cascade();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::conformance::{Bench, conformance};

    conformance!(PicPair::new(), registers = 6);

    fn initialised(icw4: u8) -> (PicPair, Bench) {
        let (mut pic, mut b) = (PicPair::new(), Bench::new());
        for (offset, value) in [(0, 0x11), (1, 0x30), (1, 0x04), (1, icw4), (2, 0x11), (3, 0x38), (3, 0x02), (3, icw4)]
        {
            b.outb(&mut pic, offset, value);
        }
        (pic, b)
    }

    fn pulse(pic: &mut PicPair, line: u8) {
        pic.set_input(line, false);
        pic.set_input(line, true);
    }

    #[test]
    fn intr_before_initialisation_is_low() {
        let mut pic = PicPair::new();
        pulse(&mut pic, 0);
        assert!(!pic.intr());
    }

    #[test]
    fn acknowledge_slave_line_gives_slave_vector_and_needs_two_eois() {
        let (mut pic, mut b) = initialised(1);
        pulse(&mut pic, 12);
        assert!(pic.intr());
        assert_eq!(pic.acknowledge(), 0x3c);
        assert!(!pic.intr());
        pulse(&mut pic, 8);
        assert!(!pic.intr(), "the master serves the cascade");
        b.outb(&mut pic, 2, 0x20);
        assert!(!pic.intr());
        b.outb(&mut pic, 0, 0x20);
        assert!(pic.intr());
        assert_eq!(pic.acknowledge(), 0x38);
    }

    #[test]
    fn special_fully_nested_slave_line_of_higher_priority_interrupts_slave() {
        let (mut pic, mut b) = initialised(1);
        for (offset, value) in [(0, 0x11), (1, 0x30), (1, 0x04), (1, 0x11)] {
            b.outb(&mut pic, offset, value);
        }
        pulse(&mut pic, 12);
        assert_eq!(pic.acknowledge(), 0x3c);
        pulse(&mut pic, 9);
        assert!(pic.intr());
        assert_eq!(pic.acknowledge(), 0x39);
    }

    #[test]
    fn edge_line_held_high_interrupts_once() {
        let (mut pic, mut b) = initialised(1);
        pic.set_input(4, true);
        assert_eq!(pic.acknowledge(), 0x34);
        b.outb(&mut pic, 0, 0x64);
        assert!(!pic.intr());
        pulse(&mut pic, 4);
        assert!(pic.intr());
    }

    #[test]
    fn level_line_held_high_interrupts_again_after_eoi() {
        let (mut pic, mut b) = initialised(1);
        b.outb(&mut pic, 4, 0xff);
        b.outb(&mut pic, 5, 0xff);
        assert_eq!((b.inb(&mut pic, 4), b.inb(&mut pic, 5)), (0xf8, 0xde));
        pic.set_input(10, true);
        assert_eq!(pic.acknowledge(), 0x3a);
        b.outb(&mut pic, 2, 0x20);
        b.outb(&mut pic, 0, 0x20);
        assert!(pic.intr());
        pic.set_input(10, false);
        assert!(!pic.intr());
    }

    #[test]
    fn acknowledge_request_withdrawn_gives_spurious_7_and_15_without_service() {
        let (mut pic, mut b) = initialised(1);
        pic.set_input(3, true);
        pic.set_input(3, false);
        assert_eq!(pic.acknowledge(), 0x37);
        b.outb(&mut pic, 0, 0x0b);
        assert_eq!(b.inb(&mut pic, 0), 0);

        // The slave's request vanishes between the master's decision and the slave's: the master serves line 2, the slave nothing.
        b.outb(&mut pic, 4, 0);
        pulse(&mut pic, 9);
        pic.slave.edges = 0;
        assert_eq!(pic.acknowledge(), 0x3f);
        assert_eq!(b.inb(&mut pic, 0), 1 << CASCADE);
        b.outb(&mut pic, 2, 0x0b);
        assert_eq!(b.inb(&mut pic, 2), 0);
    }

    #[test]
    fn lower_priority_line_waits_for_eoi_and_higher_one_does_not() {
        let (mut pic, mut b) = initialised(1);
        pulse(&mut pic, 3);
        assert_eq!(pic.acknowledge(), 0x33);
        pulse(&mut pic, 4);
        assert!(!pic.intr());
        pulse(&mut pic, 1);
        assert_eq!(pic.acknowledge(), 0x31);
        b.outb(&mut pic, 0, 0x20);
        assert!(!pic.intr(), "line 3 is still in service");
        b.outb(&mut pic, 0, 0x20);
        assert_eq!(pic.acknowledge(), 0x34);
    }

    #[test]
    fn special_mask_mode_masked_service_lets_lower_lines_through() {
        let (mut pic, mut b) = initialised(1);
        pulse(&mut pic, 1);
        assert_eq!(pic.acknowledge(), 0x31);
        b.outb(&mut pic, 1, 0x02);
        b.outb(&mut pic, 0, 0x68);
        pulse(&mut pic, 6);
        assert!(pic.intr());
        assert_eq!(pic.acknowledge(), 0x36);
        b.outb(&mut pic, 0, 0x20);
        b.outb(&mut pic, 0, 0x0b);
        assert_eq!(b.inb(&mut pic, 0), 0x02, "the non-specific EOI spares the masked level");
    }

    #[test]
    fn rotation_commands_move_the_lowest_priority() {
        let (mut pic, mut b) = initialised(1);
        pulse(&mut pic, 0);
        assert_eq!(pic.acknowledge(), 0x30);
        b.outb(&mut pic, 0, 0xa0);
        pulse(&mut pic, 0);
        pulse(&mut pic, 7);
        assert_eq!(pic.acknowledge(), 0x37, "line 0 is now the lowest");
        b.outb(&mut pic, 0, 0x20);
        b.outb(&mut pic, 0, 0xc6);
        pulse(&mut pic, 7);
        assert_eq!(pic.acknowledge(), 0x37, "line 6 lowest makes 7 highest");
    }

    #[test]
    fn auto_eoi_leaves_nothing_in_service_and_rotates_when_told() {
        let (mut pic, mut b) = initialised(3);
        b.outb(&mut pic, 0, 0x80);
        pulse(&mut pic, 0);
        assert_eq!(pic.acknowledge(), 0x30);
        b.outb(&mut pic, 0, 0x0b);
        assert_eq!(b.inb(&mut pic, 0), 0);
        pulse(&mut pic, 0);
        pulse(&mut pic, 1);
        assert_eq!(pic.acknowledge(), 0x31);
    }

    #[test]
    fn poll_acknowledges_and_reports_the_line() {
        let (mut pic, mut b) = initialised(1);
        pulse(&mut pic, 5);
        b.outb(&mut pic, 0, 0x0c);
        assert_eq!(b.inb(&mut pic, 0), 0x85);
        assert!(!pic.intr());
        b.outb(&mut pic, 0, 0x0c);
        assert_eq!(b.inb(&mut pic, 0), 0);
        b.outb(&mut pic, 0, 0x0b);
        assert_eq!(b.inb(&mut pic, 0), 0x20);
    }

    #[test]
    fn icw1_forgets_edges_and_mask() {
        let (mut pic, mut b) = initialised(1);
        b.outb(&mut pic, 1, 0xff);
        assert_eq!(pic.masks(), 0x00ff);
        pic.set_input(6, true);
        for (offset, value) in [(0, 0x11), (1, 0x20), (1, 0x04), (1, 1)] {
            b.outb(&mut pic, offset, value);
        }
        assert_eq!(b.inb(&mut pic, 1), 0);
        assert!(!pic.intr(), "a new edge is needed");
        pulse(&mut pic, 6);
        assert_eq!(pic.acknowledge(), 0x26);
    }
}
