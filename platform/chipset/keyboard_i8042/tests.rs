use super::*;
use crate::device::conformance::{Bench, conformance};

conformance!(KeyboardController::new(), registers = 2, timed);

fn controller() -> (KeyboardController, Bench) {
    (KeyboardController::new(), Bench::new())
}

/// Waits for the output buffer and reads it; the second value tells the mouse's bytes.
fn receive(d: &mut KeyboardController, b: &mut Bench) -> (u8, bool) {
    for _ in 0..100 {
        let status = b.inb(d, 1);
        if status & 1 != 0 {
            return (b.inb(d, 0), status & 0x20 != 0);
        }
        b.now += 10_000;
    }
    panic!("nothing arrives");
}

fn keyboard_bytes<const N: usize>(d: &mut KeyboardController, b: &mut Bench) -> [u8; N] {
    std::array::from_fn(|_| {
        let (byte, auxiliary) = receive(d, b);
        assert!(!auxiliary);
        byte
    })
}

fn mouse_bytes<const N: usize>(d: &mut KeyboardController, b: &mut Bench) -> [u8; N] {
    std::array::from_fn(|_| {
        let (byte, auxiliary) = receive(d, b);
        assert!(auxiliary);
        byte
    })
}

fn to_mouse(d: &mut KeyboardController, b: &mut Bench, byte: u8) {
    b.outb(d, 1, 0xd4);
    b.outb(d, 0, byte);
}

fn write_ccb(d: &mut KeyboardController, b: &mut Bench, value: u8) {
    b.outb(d, 1, 0x60);
    b.outb(d, 0, value);
}

#[test]
fn controller_self_test_and_port_tests_pass() {
    let (mut d, mut b) = controller();
    assert_eq!(b.inb(&mut d, 1), 0x14);
    for (command, answer) in [(0xaa, 0x55), (0xab, 0x00), (0xa9, 0x00), (0x20, 0x44), (0xd0, 0xc3)] {
        b.outb(&mut d, 1, command);
        assert_eq!(b.inb(&mut d, 1) & 0x21, 0x01);
        assert_eq!(b.inb(&mut d, 0), answer, "{command:#x}");
        assert_eq!(b.inb(&mut d, 1) & 1, 0);
    }
}

#[test]
fn command_byte_is_written_and_read_back() {
    let (mut d, mut b) = controller();
    write_ccb(&mut d, &mut b, 0x65);
    b.outb(&mut d, 1, 0x20);
    assert_eq!(b.inb(&mut d, 0), 0x65);
    b.outb(&mut d, 1, 0xa8);
    b.outb(&mut d, 1, 0xad);
    b.outb(&mut d, 1, 0x20);
    assert_eq!(b.inb(&mut d, 0), 0x55);
}

#[test]
fn keyboard_reset_and_identification_answer() {
    let (mut d, mut b) = controller();
    write_ccb(&mut d, &mut b, 0x04);
    b.outb(&mut d, 0, 0xff);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xfa, 0xaa]);
    b.outb(&mut d, 0, 0xf2);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xfa, 0xab, 0x83]);
    write_ccb(&mut d, &mut b, 0x44);
    b.outb(&mut d, 0, 0xf2);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xfa, 0xab, 0x41], "translated");
    b.outb(&mut d, 0, 0xed);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xfa]);
    b.outb(&mut d, 0, 0x05);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xfa]);
    assert_eq!(d.indicators(), 5);
    b.outb(&mut d, 0, 0xee);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xee]);
    b.outb(&mut d, 0, 0xf0);
    b.outb(&mut d, 0, 0x00);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xfa, 0xfa, 0x41], "set 2, translated");
    b.outb(&mut d, 0, 0x33);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xfe]);
}

#[test]
fn keys_are_translated_and_each_makes_an_edge_on_irq1() {
    let (mut d, mut b) = controller();
    write_ccb(&mut d, &mut b, 0x45);
    assert!(d.press_keys(Tick(0), &[0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0x5a]));
    let mut seen = Vec::new();
    while let Some(at) = d.next_event() {
        assert!(!d.irq1());
        b.now = at.0;
        d.advance(&mut b.cx());
        assert!(d.irq1());
        seen.push(b.inb(&mut d, 0));
    }
    assert_eq!(seen, [0x1e, 0x9e, 0xe0, 0x48, 0x1c]);
}

#[test]
fn keys_while_keyboard_is_off_or_full_are_refused() {
    let (mut d, mut b) = controller();
    b.outb(&mut d, 0, 0xf5);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xfa]);
    assert!(!d.press_keys(Tick(b.now), &[0x1c]));
    b.outb(&mut d, 0, 0xf4);
    assert_eq!(keyboard_bytes(&mut d, &mut b), [0xfa]);
    let accepted = (0..100).filter(|_| d.press_keys(Tick(b.now), &[0x1c])).count();
    assert_eq!(accepted, QUEUE_DEPTH);
}

#[test]
fn mouse_resets_identifies_and_wakes_its_wheel() {
    let (mut d, mut b) = controller();
    to_mouse(&mut d, &mut b, 0xff);
    assert_eq!(mouse_bytes(&mut d, &mut b), [0xfa, 0xaa, 0x00]);
    to_mouse(&mut d, &mut b, 0xf2);
    assert_eq!(mouse_bytes(&mut d, &mut b), [0xfa, 0x00]);
    for rate in [200, 100, 80] {
        to_mouse(&mut d, &mut b, 0xf3);
        to_mouse(&mut d, &mut b, rate);
        assert_eq!(mouse_bytes(&mut d, &mut b), [0xfa, 0xfa]);
    }
    to_mouse(&mut d, &mut b, 0xf2);
    assert_eq!(mouse_bytes(&mut d, &mut b), [0xfa, 0x03]);
    to_mouse(&mut d, &mut b, 0xe9);
    assert_eq!(mouse_bytes(&mut d, &mut b), [0xfa, 0x00, 0x02, 80]);
}

#[test]
fn mouse_movement_is_reported_on_irq12_when_enabled() {
    let (mut d, mut b) = controller();
    write_ccb(&mut d, &mut b, 0x47);
    d.move_mouse(Tick(0), Movement { dx: 1, dy: 0, dz: 0, buttons: 0 });
    assert_eq!(d.next_event(), None);
    to_mouse(&mut d, &mut b, 0xf4);
    assert_eq!(mouse_bytes(&mut d, &mut b), [0xfa]);
    d.move_mouse(Tick(b.now), Movement { dx: -6, dy: 3, dz: 0, buttons: 1 });
    let at = d.next_event().unwrap().0;
    b.run_until(&mut d, at, |_, _| {});
    assert!(d.irq12() && !d.irq1());
    assert_eq!(mouse_bytes(&mut d, &mut b), [0x19, 0xfb, 0x03]);
}

#[test]
fn auxiliary_loopback_shows_the_byte_as_the_mouses() {
    let (mut d, mut b) = controller();
    write_ccb(&mut d, &mut b, 0x47);
    b.outb(&mut d, 1, 0xd3);
    b.outb(&mut d, 0, 0x5a);
    assert!(d.irq12());
    assert_eq!(mouse_bytes(&mut d, &mut b), [0x5a]);
}

#[test]
fn output_port_and_pulse_drive_a20_and_reset() {
    let (mut d, mut b) = controller();
    assert!(d.a20() && !d.take_reset());
    b.outb(&mut d, 1, 0xd1);
    b.outb(&mut d, 0, 0xdd);
    assert!(!d.a20() && !d.take_reset());
    b.outb(&mut d, 1, 0xdf);
    assert!(d.a20());
    b.outb(&mut d, 1, 0xfe);
    assert!(d.take_reset() && !d.take_reset());
    b.outb(&mut d, 1, 0xff);
    assert!(!d.take_reset());
    b.outb(&mut d, 1, 0xd1);
    b.outb(&mut d, 0, 0xde);
    assert!(d.take_reset());
}
