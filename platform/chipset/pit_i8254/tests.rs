use super::*;
use crate::device::conformance::{Bench, conformance};

conformance!(Pit::new(), registers = 5, timed);

/// The first tick at which the input clock has ticked `clocks` times.
fn at(clocks: u64) -> u64 {
    Tick::from_count(clocks, INPUT_HZ).0
}

fn load(pit: &mut Pit, b: &mut Bench, control: u8, count: u16) {
    b.outb(pit, 3, control);
    let port = u64::from(control >> 6);
    b.outb(pit, port, count as u8);
    b.outb(pit, port, (count >> 8) as u8);
}

fn read_word(pit: &mut Pit, b: &mut Bench, port: u64) -> u16 {
    u16::from_le_bytes([b.inb(pit, port), b.inb(pit, port)])
}

/// The clocks at which OUT0 changes until clock `end`.
fn changes(pit: &mut Pit, b: &mut Bench, end: u64) -> Vec<(u64, bool)> {
    let mut list = Vec::new();
    b.run_until(pit, at(end), |tick, pit| list.push((Tick(tick).to_count(INPUT_HZ), pit.irq0())));
    list
}

#[test]
fn mode_0_output_rises_count_plus_one_clocks_after_write() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x30, 100);
    assert_eq!(changes(&mut pit, &mut b, 500), [(101, true)]);
    assert_eq!(read_word(&mut pit, &mut b, 0), 0u16.wrapping_sub(399), "counts on after terminal count");
}

#[test]
fn mode_2_output_is_low_one_clock_each_period() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x34, 10);
    assert!(pit.irq0());
    assert_eq!(
        changes(&mut pit, &mut b, 31),
        [(10, false), (11, true), (20, false), (21, true), (30, false), (31, true)]
    );
}

#[test]
fn mode_2_counts_from_count_to_one() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x34, 4);
    let mut seen = Vec::new();
    for clocks in 1..=9 {
        b.now = at(clocks);
        b.outb(&mut pit, 3, 0x00);
        seen.push(read_word(&mut pit, &mut b, 0));
    }
    assert_eq!(seen, [4, 3, 2, 1, 4, 3, 2, 1, 4]);
}

#[test]
fn mode_3_odd_count_is_high_one_clock_longer() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x36, 5);
    assert_eq!(changes(&mut pit, &mut b, 11), [(4, false), (6, true), (9, false), (11, true)]);
    load(&mut pit, &mut b, 0x36, 5);
    let start = 12;
    let mut seen = Vec::new();
    for clocks in start..start + 6 {
        b.now = at(clocks);
        b.outb(&mut pit, 3, 0x00);
        seen.push(read_word(&mut pit, &mut b, 0));
    }
    assert_eq!(seen, [4, 2, 0, 4, 2, 4]);
}

#[test]
fn mode_3_new_count_takes_effect_at_end_of_half_cycle() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x36, 10);
    assert_eq!(changes(&mut pit, &mut b, 3), []);
    b.outb(&mut pit, 0, 4);
    b.outb(&mut pit, 0, 0);
    assert_eq!(changes(&mut pit, &mut b, 12), [(6, false), (8, true), (10, false), (12, true)]);
}

#[test]
fn mode_2_new_count_takes_effect_at_next_period_and_null_count_tells() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x34, 10);
    b.now = at(5);
    b.outb(&mut pit, 0, 20);
    b.outb(&mut pit, 0, 0);
    b.outb(&mut pit, 3, 0xe2);
    assert_eq!(b.inb(&mut pit, 0), 0xf4);
    assert_eq!(changes(&mut pit, &mut b, 31), [(10, false), (11, true), (30, false), (31, true)]);
    b.outb(&mut pit, 3, 0xe2);
    assert_eq!(b.inb(&mut pit, 0), 0xb4);
}

#[test]
fn mode_4_strobes_once() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x38, 7);
    assert_eq!(changes(&mut pit, &mut b, 100_000), [(8, false), (9, true)]);
}

#[test]
fn bcd_counts_in_decimal_digits() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x31, 0x1000);
    b.now = at(2);
    assert_eq!(read_word(&mut pit, &mut b, 0), 0x0999);
    load(&mut pit, &mut b, 0x31, 0);
    b.now = at(4);
    assert_eq!(read_word(&mut pit, &mut b, 0), 0x9999);
}

#[test]
fn latch_holds_count_until_read_and_second_latch_is_ignored() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x34, 1000);
    b.now = at(101);
    b.outb(&mut pit, 3, 0x00);
    b.now = at(201);
    b.outb(&mut pit, 3, 0x00);
    assert_eq!(read_word(&mut pit, &mut b, 0), 900);
    assert_eq!(read_word(&mut pit, &mut b, 0), 800);
}

#[test]
fn read_back_latches_status_before_count() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x34, 1000);
    b.now = at(1);
    b.outb(&mut pit, 3, 0xc2);
    assert_eq!(b.inb(&mut pit, 0), 0xb4);
    assert_eq!(read_word(&mut pit, &mut b, 0), 1000);
}

/// What a kernel does to calibrate its TSC: mode 0 on the gated counter 2, waiting for OUT2 in port 61h.
#[test]
fn counter_2_in_mode_0_shows_out_in_port_61_after_its_time() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    b.now = 5_000_000;
    b.outb(&mut pit, 4, 0x01);
    let count = (INPUT_HZ / 100) as u16;
    load(&mut pit, &mut b, 0xb0, count);
    let start = Tick(b.now).to_count(INPUT_HZ);
    b.now = at(start + u64::from(count)) - 1;
    assert_eq!(b.inb(&mut pit, 4) & 0x21, 0x01);
    b.now = at(start + u64::from(count) + 1);
    assert_eq!(b.inb(&mut pit, 4) & 0x21, 0x21);
}

#[test]
fn counter_2_gate_low_holds_mode_0_count() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0xb0, 100);
    b.now = at(50);
    assert_eq!(read_word(&mut pit, &mut b, 2), 100);
    b.outb(&mut pit, 4, 0x01);
    b.now = at(80);
    assert_eq!(read_word(&mut pit, &mut b, 2), 70);
    b.outb(&mut pit, 4, 0x00);
    b.now = at(500);
    assert_eq!(read_word(&mut pit, &mut b, 2), 70);
    b.outb(&mut pit, 4, 0x01);
    b.now = at(569);
    assert_eq!(b.inb(&mut pit, 4) & 0x20, 0);
    b.now = at(570);
    assert_eq!(b.inb(&mut pit, 4) & 0x20, 0x20);
}

#[test]
fn counter_2_mode_1_waits_for_gate_and_retriggers() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0xb2, 10);
    b.now = at(100);
    assert_eq!(b.inb(&mut pit, 4) & 0x20, 0x20);
    b.outb(&mut pit, 4, 0x01);
    b.now = at(105);
    assert_eq!(b.inb(&mut pit, 4) & 0x20, 0);
    b.outb(&mut pit, 4, 0x00);
    b.outb(&mut pit, 4, 0x01);
    b.now = at(115);
    assert_eq!(b.inb(&mut pit, 4) & 0x20, 0);
    b.now = at(116);
    assert_eq!(b.inb(&mut pit, 4) & 0x20, 0x20);
}

#[test]
fn late_advance_past_two_changes_shows_both_levels() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    load(&mut pit, &mut b, 0x34, 1000);
    b.now = at(1500);
    pit.advance(&mut b.cx());
    assert!(!pit.irq0());
    assert_eq!(pit.next_event(), Some(Tick(b.now)));
    pit.advance(&mut b.cx());
    assert!(pit.irq0());
    assert_eq!(pit.next_event(), Some(Tick(at(2000))));
}

#[test]
fn refresh_toggle_changes_every_15_microseconds() {
    let (mut pit, mut b) = (Pit::new(), Bench::new());
    let before = b.inb(&mut pit, 4) & 0x10;
    b.now = 15_100;
    assert_ne!(b.inb(&mut pit, 4) & 0x10, before);
}
