use super::*;
use crate::device::conformance::{Bench, conformance};

/// 2026-01-01 23:59:58, a Thursday.
const START: u64 = 1_767_225_600 + 86_398;

conformance!(Rtc::new(START), registers = 4, timed, battery);

const SECOND: u64 = TICKS_PER_SECOND;

fn read(rtc: &mut Rtc, b: &mut Bench, index: u8) -> u8 {
    b.outb(rtc, 0, index);
    b.inb(rtc, 1)
}

fn write(rtc: &mut Rtc, b: &mut Bench, index: u8, value: u8) {
    b.outb(rtc, 0, index);
    b.outb(rtc, 1, value);
}

fn date(rtc: &mut Rtc, b: &mut Bench) -> [u8; 8] {
    [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| read(rtc, b, index))
}

#[test]
fn date_counts_in_bcd_over_midnight() {
    let (mut rtc, mut b) = (Rtc::new(START), Bench::new());
    assert_eq!(date(&mut rtc, &mut b), [0x20, 0x26, 0x01, 0x01, 5, 0x23, 0x59, 0x58]);
    b.now = 2 * SECOND - 1;
    assert_eq!(read(&mut rtc, &mut b, 0), 0x59);
    b.now = 2 * SECOND;
    assert_eq!(date(&mut rtc, &mut b), [0x20, 0x26, 0x01, 0x02, 6, 0x00, 0x00, 0x00]);
}

#[test]
fn hour_in_12_hour_and_binary_modes_is_encoded() {
    let (mut rtc, mut b) = (Rtc::new(START), Bench::new());
    write(&mut rtc, &mut b, 0x0b, 0x00);
    assert_eq!(read(&mut rtc, &mut b, 4), 0x91);
    write(&mut rtc, &mut b, 0x0b, 0x04);
    assert_eq!(read(&mut rtc, &mut b, 4), 0x8b);
    write(&mut rtc, &mut b, 4, 12);
    write(&mut rtc, &mut b, 0x0b, 0x06);
    assert_eq!(read(&mut rtc, &mut b, 4), 0, "12 AM is midnight");
    assert_eq!(read(&mut rtc, &mut b, 9), 26);
}

#[test]
fn uip_is_set_only_around_the_update() {
    let (mut rtc, mut b) = (Rtc::new(START), Bench::new());
    b.now = SECOND / 2;
    assert_eq!(read(&mut rtc, &mut b, 0x0a), 0x26);
    b.now = SECOND - 1_000_000;
    assert_eq!(read(&mut rtc, &mut b, 0x0a), 0xa6);
    b.now = SECOND;
    assert_eq!(read(&mut rtc, &mut b, 0x0a), 0x26);
}

/// How a kernel sets the clock: SET, divider held, fields, divider released, SET off.
#[test]
fn set_bit_freezes_and_divider_release_updates_after_half_a_second() {
    let (mut rtc, mut b) = (Rtc::new(START), Bench::new());
    b.now = 700_000_000;
    write(&mut rtc, &mut b, 0x0b, 0x82);
    write(&mut rtc, &mut b, 0x0a, 0x76);
    b.now = 5 * SECOND;
    assert_eq!(read(&mut rtc, &mut b, 0), 0x58, "frozen");
    write(&mut rtc, &mut b, 0, 0x10);
    write(&mut rtc, &mut b, 0x0b, 0x02);
    write(&mut rtc, &mut b, 0x0a, 0x26);
    b.now += SECOND / 2 - 1;
    assert_eq!(read(&mut rtc, &mut b, 0), 0x10);
    b.now += 1;
    assert_eq!(read(&mut rtc, &mut b, 0), 0x11);
}

#[test]
fn update_interrupt_stands_until_register_c_is_read() {
    let (mut rtc, mut b) = (Rtc::new(START), Bench::new());
    assert_eq!(rtc.next_event(), None);
    write(&mut rtc, &mut b, 0x0b, 0x12);
    assert_eq!(rtc.next_event(), Some(Tick(SECOND)));
    b.run_until(&mut rtc, SECOND, |_, _| {});
    assert!(rtc.interrupt());
    assert_eq!(read(&mut rtc, &mut b, 0x0c) & 0xb0, 0x90);
    assert!(!rtc.interrupt());
    assert_eq!(read(&mut rtc, &mut b, 0x0c), 0);
}

#[test]
fn periodic_interrupt_comes_at_its_rate() {
    let (mut rtc, mut b) = (Rtc::new(START), Bench::new());
    write(&mut rtc, &mut b, 0x0b, 0x42);
    let mut count = 0;
    b.outb(&mut rtc, 0, 0x0c);
    while let Some(at) = rtc.next_event().filter(|at| at.0 <= SECOND) {
        b.now = at.0;
        rtc.advance(&mut b.cx());
        assert!(rtc.interrupt());
        assert_eq!(b.inb(&mut rtc, 1) & 0xc0, 0xc0);
        count += 1;
    }
    assert_eq!(count, 1024);
}

#[test]
fn alarm_with_dont_care_hour_matches_each_hour() {
    let (mut rtc, mut b) = (Rtc::new(START), Bench::new());
    for (index, value) in [(1, 0x03), (3, 0x00), (5, 0xff), (0x0b, 0x22)] {
        write(&mut rtc, &mut b, index, value);
    }
    let mut raised = Vec::new();
    for _ in 0..2 {
        while !rtc.interrupt() {
            b.now = rtc.next_event().unwrap().0;
            rtc.advance(&mut b.cx());
        }
        raised.push(b.now / SECOND);
        assert_eq!(read(&mut rtc, &mut b, 0x0c) & 0xa0, 0xa0);
    }
    assert_eq!(raised, [5, 3605]);
}

#[test]
fn memory_in_both_banks_survives_a_reset_and_interrupts_do_not() {
    let (mut rtc, mut b) = (Rtc::new(START), Bench::new());
    rtc.set_memory(0x15, 0x80);
    rtc.set_memory(0x00, 0x99);
    write(&mut rtc, &mut b, 0x40, 0xa5);
    b.outb(&mut rtc, 2, 0x40);
    b.outb(&mut rtc, 3, 0x5a);
    write(&mut rtc, &mut b, 0x0b, 0x7a);
    rtc.reset();
    assert_eq!(read(&mut rtc, &mut b, 0x15), 0x80);
    assert_eq!(read(&mut rtc, &mut b, 0x00), 0x58);
    assert_eq!(read(&mut rtc, &mut b, 0x40), 0xa5);
    b.outb(&mut rtc, 2, 0x40);
    assert_eq!(b.inb(&mut rtc, 3), 0x5a);
    assert_eq!(read(&mut rtc, &mut b, 0x0b), 0x02);
    assert_eq!(read(&mut rtc, &mut b, 0x0d), 0x80);
    b.outb(&mut rtc, 0, 0x8f);
    assert!(rtc.nmi_masked());
}
