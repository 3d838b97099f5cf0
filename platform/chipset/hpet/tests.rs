use super::*;
use crate::device::Msi;
use crate::device::conformance::{Bench, conformance};

fn hpet() -> Hpet {
    Hpet::new(Configuration::default())
}

conformance!(hpet(), registers = PAGE_SIZE, timed);

const T0: u64 = 0x100;
const T1: u64 = 0x120;
const T2: u64 = 0x140;

/// The ticks at which `pick` of the outputs rises until `end`.
fn rises(d: &mut Hpet, b: &mut Bench, end: u64, pick: impl Fn(&Outputs) -> bool) -> Vec<u64> {
    let (mut list, mut was) = (Vec::new(), pick(&d.outputs()));
    b.run_until(d, end, |tick, d| {
        let is = pick(&d.outputs());
        if is && !was {
            list.push(tick);
        }
        was = is;
    });
    list
}

#[test]
fn capabilities_name_period_and_timers() {
    let (mut d, mut b) = (hpet(), Bench::new());
    assert_eq!(b.readl(&mut d, 0), 0x8086_a301);
    assert_eq!(b.readl(&mut d, 4), 10_000_000);
    assert_eq!(d.read(&mut b.cx(), T0, 8), 0x00f0_0000_0000_8030);
    assert_eq!(d.read(&mut b.cx(), 0x180, 8), 0);
}

#[test]
fn counter_runs_only_while_enabled_and_keeps_its_value() {
    let (mut d, mut b) = (hpet(), Bench::new());
    b.now = 12_345;
    assert_eq!(b.readl(&mut d, 0xf0), 0);
    b.writel(&mut d, 0x10, 1);
    b.now += 1000;
    assert_eq!(b.readl(&mut d, 0xf0), 100);
    b.writel(&mut d, 0x10, 0);
    b.now += 1000;
    assert_eq!(b.readl(&mut d, 0xf0), 100);
    d.write(&mut b.cx(), 0xf0, 8, 0xffff_ffff);
    b.writel(&mut d, 0x10, 1);
    b.now += 20;
    assert_eq!(b.readl(&mut d, 0xf0), 1);
    assert_eq!(b.readl(&mut d, 0xf4), 1);
}

/// As a kernel programs its legacy clock event: 32-bit, periodic, VAL_SET, comparator, then the period.
#[test]
fn legacy_periodic_timer_raises_irq0_each_period() {
    let (mut d, mut b) = (hpet(), Bench::new());
    b.writel(&mut d, 0x10, 3);
    b.writel(&mut d, T0, 0x14c);
    assert_eq!(b.readl(&mut d, T0) & 0x1ff, 0x17c);
    b.writel(&mut d, T0 + 8, 1000);
    assert_eq!(b.readl(&mut d, T0) & 0x1ff, 0x13c, "VAL_SET ends with the write");
    b.now = 1000;
    b.writel(&mut d, T0 + 8, 500);
    assert!(d.outputs().legacy_replacement);
    assert_eq!(rises(&mut d, &mut b, 30_000, |o| o.irq0), [10_000, 15_000, 20_000, 25_000, 30_000]);
    assert_eq!(b.readl(&mut d, T0 + 8), 3500);
    assert_eq!(d.outputs().io_apic, 0);
}

#[test]
fn one_shot_rearmed_in_its_handler_rises_each_time() {
    let (mut d, mut b) = (hpet(), Bench::new());
    b.writel(&mut d, 0x10, 1);
    b.writel(&mut d, T2, 0x104 | 21 << 9);
    for i in 1..4 {
        b.writel(&mut d, T2 + 8, i * 100);
        assert_eq!(d.outputs().io_apic, 0);
        assert_eq!(rises(&mut d, &mut b, u64::from(i) * 1000, |o| o.io_apic == 1 << 21), [u64::from(i) * 1000]);
    }
}

#[test]
fn comparator_in_the_past_does_not_match() {
    let (mut d, mut b) = (hpet(), Bench::new());
    b.writel(&mut d, 0x10, 1);
    b.now = 5000;
    b.writel(&mut d, T2, 0x104 | 21 << 9);
    b.writel(&mut d, T2 + 8, 500);
    assert_eq!(d.next_event(), Some(Tick((500 + (1 << 32)) * 10)), "only when 32 bits have wrapped");
}

#[test]
fn level_timer_stands_until_its_status_is_cleared() {
    let (mut d, mut b) = (hpet(), Bench::new());
    b.writel(&mut d, 0x10, 1);
    b.writel(&mut d, T1, 0x106 | 20 << 9);
    b.writel(&mut d, T1 + 8, 50);
    b.run_until(&mut d, 500, |_, _| {});
    assert_eq!(d.outputs().io_apic, 1 << 20);
    assert_eq!(b.readl(&mut d, 0x20), 2);
    b.writel(&mut d, 0x20, 2);
    assert_eq!(d.outputs().io_apic, 0);
}

#[test]
fn route_not_in_capabilities_is_not_accepted() {
    let (mut d, mut b) = (hpet(), Bench::new());
    b.writel(&mut d, T2, 22 << 9);
    b.writel(&mut d, T2, 5 << 9);
    assert_eq!(b.readl(&mut d, T2) >> 9 & 0x1f, 22);
}

#[test]
fn fsb_timer_sends_its_message_and_no_line() {
    let (mut d, mut b) = (hpet(), Bench::new());
    b.writel(&mut d, 0x10, 1);
    b.writel(&mut d, T2 + 0x10, 0x4041);
    b.writel(&mut d, T2 + 0x14, 0xfee0_1000);
    b.writel(&mut d, T2, 0x4104 | 20 << 9);
    b.writel(&mut d, T2 + 8, 50);
    b.run_until(&mut d, 1000, |_, _| {});
    assert_eq!(b.msi, [Msi { address: 0xfee0_1000, data: 0x4041 }]);
    assert_eq!(d.outputs().io_apic, 0);
}

#[test]
fn periodic_timer_advanced_late_gives_one_edge_and_stays_in_phase() {
    let (mut d, mut b) = (hpet(), Bench::new());
    b.writel(&mut d, 0x10, 3);
    b.writel(&mut d, T0, 0x14c);
    b.writel(&mut d, T0 + 8, 100);
    b.run_until(&mut d, 1000, |_, _| {});
    assert!(d.outputs().irq0);
    b.now = 5500;
    d.advance(&mut b.cx());
    assert!(!d.outputs().irq0, "low first");
    assert_eq!(d.next_event(), Some(Tick(5500)));
    d.advance(&mut b.cx());
    assert!(d.outputs().irq0);
    assert_eq!(d.next_event(), Some(Tick(6000)));
}
