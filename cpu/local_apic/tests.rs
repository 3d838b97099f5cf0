use super::*;
use undercroft_spec::apic::{msr, register};

const HZ: u64 = 1_000_000_000;

fn config(initial_id: u32) -> Configuration {
    Configuration { initial_id, is_bootstrap: initial_id == 0, timer_hz: HZ, physical_address_bits: 46 }
}

fn at(tick: u64) -> Moment {
    Moment { tick, tsc: 3 * tick }
}

/// Enabled by software.
fn enabled() -> LocalApic {
    let mut apic = LocalApic::new(config(0));
    assert_eq!(apic.write(at(0), register::SVR, 0x1ff), Effects::default());
    apic
}

fn x2apic(id: u32) -> LocalApic {
    let mut apic = LocalApic::new(config(id));
    apic.write_apic_base(apic.apic_base() | base::EXTD).unwrap();
    assert!(apic.write_msr(at(0), 0x80f, 0x1ff).is_ok());
    apic
}

fn physical(id: u32) -> Destination {
    Destination { mode: DestinationMode::Physical, format: DestinationFormat::Xapic, id }
}

fn logical(id: u32) -> Destination {
    Destination { mode: DestinationMode::Logical, ..physical(id) }
}

fn fixed(apic: &mut LocalApic, vector: u8) {
    assert_eq!(apic.deliver(DeliveryMode::Fixed, vector, TriggerMode::Edge), Signal::None);
}

fn write(apic: &mut LocalApic, now: u64, offset: u32, value: u32) {
    assert_eq!(apic.write(at(now), offset, value), Effects::default());
}

#[test]
fn reset_state_is_that_of_the_manual() {
    let mut apic = LocalApic::new(config(5));
    assert_eq!(apic.apic_base(), 0xfee0_0800);
    assert_eq!(apic.register_page(), Some(0xfee0_0000));
    for (offset, value) in [
        (register::ID, 5 << 24),
        (register::VERSION, 0x0106_0015),
        (register::DFR, u32::MAX),
        (register::SVR, 0xff),
        (register::LVT_TIMER, 0x1_0000),
        (register::LVT_LINT0, 0x1_0000),
        (register::LVT_ERROR, 0x1_0000),
        (register::LVT_CMCI, 0x1_0000),
    ] {
        assert_eq!(apic.read(at(0), offset), value, "{offset:#x}");
    }
    assert_eq!(LocalApic::new(config(0)).apic_base(), 0xfee0_0900);
}

#[test]
fn apic_base_illegal_transitions_raise_gp() {
    let mut apic = LocalApic::new(config(0));
    let flags = |bits| 0xfee0_0100 | bits;
    assert_eq!(apic.write_apic_base(flags(base::EXTD)), Err(GeneralProtection));
    assert_eq!(apic.write_apic_base(flags(base::EN) | 1), Err(GeneralProtection), "reserved bit");
    assert_eq!(apic.write_apic_base(flags(base::EN) | 1 << 46), Err(GeneralProtection), "beyond MAXPHYADDR");
    assert_eq!(apic.write_apic_base(flags(0)), Ok(()));
    assert_eq!(apic.write_apic_base(flags(base::EN | base::EXTD)), Err(GeneralProtection), "disabled to x2APIC");
    assert_eq!(apic.write_apic_base(flags(base::EN)), Ok(()));
    assert_eq!(apic.write_apic_base(flags(base::EN | base::EXTD)), Ok(()));
    assert_eq!(apic.mode(), Mode::X2apic);
    assert_eq!(apic.register_page(), None);
    assert_eq!(apic.write_apic_base(flags(base::EN)), Err(GeneralProtection), "x2APIC to xAPIC");
    assert_eq!(apic.write_apic_base(flags(0)), Ok(()));
    assert_eq!(apic.mode(), Mode::Disabled);
}

#[test]
fn fixed_interrupts_are_taken_by_priority_class() {
    let mut apic = enabled();
    fixed(&mut apic, 0x41);
    fixed(&mut apic, 0x52);
    assert_eq!(apic.pending_interrupt(), Some(0x52));
    assert_eq!(apic.acknowledge(), 0x52);
    assert_eq!(apic.read(at(0), register::PPR), 0x50);
    assert_eq!(apic.pending_interrupt(), None);
    fixed(&mut apic, 0x5f);
    assert_eq!(apic.pending_interrupt(), None, "same class");
    fixed(&mut apic, 0x60);
    assert_eq!(apic.acknowledge(), 0x60);
    assert_eq!(apic.read(at(0), register::ISR + 0x20), 1 << 18);
    assert_eq!(apic.read(at(0), register::ISR + 0x30), 1);
    write(&mut apic, 0, register::EOI, 0);
    write(&mut apic, 0, register::EOI, 0);
    assert_eq!(apic.acknowledge(), 0x5f);
    write(&mut apic, 0, register::EOI, 0);
    apic.write_cr8(4);
    assert_eq!(apic.read(at(0), register::TPR), 0x40);
    assert_eq!(apic.pending_interrupt(), None);
    apic.write_cr8(3);
    assert_eq!(apic.pending_interrupt(), Some(0x41));
}

#[test]
fn acknowledge_nothing_pending_gives_spurious_vector_without_service() {
    let mut apic = enabled();
    fixed(&mut apic, 0x41);
    apic.write_cr8(15);
    assert_eq!(apic.acknowledge(), 0xff);
    assert_eq!(apic.read(at(0), register::PPR), 0xf0);
    apic.write_cr8(0);
    assert_eq!(apic.acknowledge(), 0x41);
}

#[test]
fn eoi_of_level_interrupt_is_broadcast_unless_suppressed() {
    let mut apic = enabled();
    let mut level = |svr: u32| {
        write(&mut apic, 0, register::SVR, svr);
        assert_eq!(apic.deliver(DeliveryMode::Fixed, 0x71, TriggerMode::Level), Signal::None);
        assert_eq!(apic.acknowledge(), 0x71);
        apic.write(at(0), register::EOI, 0).eoi_broadcast
    };
    assert_eq!(level(0x1ff), Some(0x71));
    assert_eq!(level(0x11ff), None);
    fixed(&mut apic, 0x71);
    assert_eq!(apic.acknowledge(), 0x71);
    assert_eq!(apic.write(at(0), register::EOI, 0), Effects::default(), "edge now");
}

#[test]
fn software_disable_masks_lvt_and_refuses_fixed_but_not_nmi() {
    let mut apic = enabled();
    write(&mut apic, 0, register::LVT_LINT0, 0x700);
    write(&mut apic, 0, register::SVR, 0xff);
    assert_eq!(apic.read(at(0), register::LVT_LINT0), 0x1_0700);
    write(&mut apic, 0, register::LVT_LINT0, 0x700);
    assert_eq!(apic.read(at(0), register::LVT_LINT0), 0x1_0700);
    fixed(&mut apic, 0x41);
    assert_eq!(apic.pending_interrupt(), None);
    assert_eq!(apic.deliver(DeliveryMode::Nmi, 0, TriggerMode::Edge), Signal::Nmi);
    assert_eq!(apic.deliver(DeliveryMode::StartUp, 0x9a, TriggerMode::Edge), Signal::StartUp(0x9a));
}

#[test]
fn illegal_vectors_and_registers_set_esr_after_its_write_and_interrupt() {
    let mut apic = enabled();
    write(&mut apic, 0, register::LVT_ERROR, 0xfe);
    fixed(&mut apic, 15);
    assert_eq!(apic.pending_interrupt(), Some(0xfe));
    assert_eq!(apic.read(at(0), register::ESR), 0);
    write(&mut apic, 0, register::ICR, 0x0000_4003);
    assert_eq!(apic.read(at(0), 0x040), 0);
    write(&mut apic, 0, register::ESR, 0);
    assert_eq!(apic.read(at(0), register::ESR), 0xe0);
    write(&mut apic, 0, register::ESR, 0);
    assert_eq!(apic.read(at(0), register::ESR), 0);
}

/// The calibration of a kernel: a masked one-shot count, read as it runs.
#[test]
fn timer_masked_one_shot_counts_and_gives_no_event() {
    let mut apic = enabled();
    write(&mut apic, 0, register::DIVIDE_CONFIGURATION, 0x3);
    write(&mut apic, 0, register::LVT_TIMER, 0x1_00ec);
    write(&mut apic, 1000, register::INITIAL_COUNT, u32::MAX);
    assert_eq!(apic.next_event(), None);
    assert_eq!(apic.read(at(1000), register::CURRENT_COUNT), u32::MAX);
    assert_eq!(apic.read(at(1000 + 16 * 500 + 15), register::CURRENT_COUNT), u32::MAX - 500);
}

#[test]
fn timer_one_shot_fires_once_at_its_tick() {
    let mut apic = enabled();
    write(&mut apic, 0, register::DIVIDE_CONFIGURATION, 0xb);
    write(&mut apic, 0, register::LVT_TIMER, 0xec);
    write(&mut apic, 100, register::INITIAL_COUNT, 50);
    assert_eq!(apic.next_event(), Some(TimerEvent::Tick(150)));
    apic.advance(at(149));
    assert_eq!(apic.pending_interrupt(), None);
    apic.advance(at(150));
    assert_eq!(apic.acknowledge(), 0xec);
    assert_eq!(apic.next_event(), None);
    assert_eq!(apic.read(at(150), register::CURRENT_COUNT), 0);
    write(&mut apic, 200, register::INITIAL_COUNT, 10);
    write(&mut apic, 205, register::INITIAL_COUNT, 0);
    assert_eq!(apic.next_event(), None);
}

#[test]
fn timer_periodic_does_not_drift_and_skips_what_is_late() {
    let mut apic = LocalApic::new(Configuration { timer_hz: 24_000_000, ..config(0) });
    write(&mut apic, 0, register::SVR, 0x1ff);
    write(&mut apic, 0, register::DIVIDE_CONFIGURATION, 0xb);
    write(&mut apic, 0, register::LVT_TIMER, 0x2_00ec);
    write(&mut apic, 0, register::INITIAL_COUNT, 7);
    let mut now = 0;
    for k in 1..=24_000_000 / 7 / 1000 {
        let Some(TimerEvent::Tick(tick)) = apic.next_event() else { panic!("no event") };
        assert_eq!(tick, (k * 7 * 1000u64).div_ceil(24));
        apic.advance(at(tick));
        assert_eq!(apic.acknowledge(), 0xec);
        write(&mut apic, tick, register::EOI, 0);
        now = tick;
    }
    apic.advance(at(now + 1_000_000_000));
    assert_eq!(apic.acknowledge(), 0xec);
    write(&mut apic, now, register::EOI, 0);
    apic.advance(at(now + 1_000_000_000));
    assert_eq!(apic.pending_interrupt(), None, "one interrupt for all that was late");
    assert!(matches!(apic.next_event(), Some(TimerEvent::Tick(t)) if t > now + 1_000_000_000));
}

#[test]
fn timer_divide_change_keeps_the_current_count() {
    let mut apic = enabled();
    write(&mut apic, 0, register::DIVIDE_CONFIGURATION, 0xb);
    write(&mut apic, 0, register::LVT_TIMER, 0xec);
    write(&mut apic, 0, register::INITIAL_COUNT, 100);
    write(&mut apic, 40, register::DIVIDE_CONFIGURATION, 0x0);
    assert_eq!(apic.read(at(40), register::CURRENT_COUNT), 60);
    assert_eq!(apic.next_event(), Some(TimerEvent::Tick(40 + 120)));
}

#[test]
fn timer_tsc_deadline_fires_and_disarms() {
    let mut apic = enabled();
    apic.write_tsc_deadline(1000);
    assert_eq!(apic.tsc_deadline(), 0, "ignored in one-shot mode");
    write(&mut apic, 0, register::LVT_TIMER, 0x4_00ec);
    apic.write_tsc_deadline(1000);
    assert_eq!(apic.next_event(), Some(TimerEvent::Tsc(1000)));
    write(&mut apic, 0, register::INITIAL_COUNT, 5);
    assert_eq!(apic.read(at(1), register::CURRENT_COUNT), 0);
    apic.advance(Moment { tick: 300, tsc: 999 });
    assert_eq!(apic.pending_interrupt(), None);
    apic.advance(Moment { tick: 301, tsc: 1000 });
    assert_eq!(apic.acknowledge(), 0xec);
    assert_eq!((apic.tsc_deadline(), apic.next_event()), (0, None));
    apic.write_tsc_deadline(5000);
    write(&mut apic, 400, register::LVT_TIMER, 0xec);
    assert_eq!((apic.tsc_deadline(), apic.next_event()), (0, None), "a mode change disarms");
}

#[test]
fn lint_nmi_and_ext_int_reach_the_processor() {
    let mut apic = LocalApic::new(config(0));
    assert_eq!(apic.set_lint(Lint::Lint0, true), Signal::None);
    assert!(!apic.ext_int(), "masked after reset");
    write(&mut apic, 0, register::SVR, 0x1ff);
    write(&mut apic, 0, register::LVT_LINT0, 0x700);
    write(&mut apic, 0, register::LVT_LINT1, 0x400);
    assert!(apic.ext_int());
    assert_eq!(apic.set_lint(Lint::Lint0, false), Signal::None);
    assert!(!apic.ext_int());
    assert_eq!(apic.set_lint(Lint::Lint1, true), Signal::Nmi);
    assert_eq!(apic.set_lint(Lint::Lint1, true), Signal::None);
    apic.write_apic_base(0xfee0_0100).unwrap();
    assert_eq!(apic.set_lint(Lint::Lint0, true), Signal::None);
    assert!(apic.ext_int(), "disabled: INTR");
    assert_eq!(apic.set_lint(Lint::Lint1, false), Signal::None);
    assert_eq!(apic.set_lint(Lint::Lint1, true), Signal::Nmi, "disabled: NMI");
}

#[test]
fn lint_level_interrupt_repeats_after_eoi_while_active() {
    let mut apic = enabled();
    write(&mut apic, 0, register::LVT_LINT0, 0x8055);
    assert_eq!(apic.set_lint(Lint::Lint0, true), Signal::None);
    assert_eq!(apic.acknowledge(), 0x55);
    assert_eq!(apic.read(at(0), register::LVT_LINT0), 0xc055);
    assert_eq!(apic.pending_interrupt(), None);
    let _ = apic.write(at(0), register::EOI, 0);
    assert_eq!(apic.acknowledge(), 0x55);
    assert_eq!(apic.set_lint(Lint::Lint0, false), Signal::None);
    let _ = apic.write(at(0), register::EOI, 0);
    assert_eq!(apic.pending_interrupt(), None);
    assert_eq!(apic.read(at(0), register::LVT_LINT0), 0x8055);
}

#[test]
fn performance_interrupt_masks_its_entry() {
    let mut apic = enabled();
    write(&mut apic, 0, register::LVT_PERFORMANCE, 0x400);
    assert_eq!(apic.raise(LocalSource::Performance), Signal::Nmi);
    assert_eq!(apic.read(at(0), register::LVT_PERFORMANCE), 0x1_0400);
    assert_eq!(apic.raise(LocalSource::Performance), Signal::None);
}

#[test]
fn icr_init_and_startup_become_ipis() {
    let mut apic = enabled();
    write(&mut apic, 0, register::ICR_HIGH, 3 << 24);
    let ipi = apic.write(at(0), register::ICR, 0xc500).ipi.unwrap();
    assert_eq!((ipi.message.delivery_mode, ipi.message.destination.id), (DeliveryMode::Init, 3));
    assert!(ipi.reaches(Peer::Other, &LocalApic::new(config(3))));
    assert!(!ipi.reaches(Peer::Sender, &apic));
    assert_eq!(apic.write(at(0), register::ICR, 0x8500).ipi, None, "INIT level de-assert");
    let ipi = apic.write(at(0), register::ICR, 0x0608).ipi.unwrap();
    assert_eq!((ipi.message.delivery_mode, ipi.message.vector), (DeliveryMode::StartUp, 8));
    assert_eq!(apic.read(at(0), register::ICR), 0x0608);
    assert_eq!(apic.read(at(0), register::ICR_HIGH), 3 << 24);
}

#[test]
fn icr_shorthands_choose_sender_or_others() {
    let mut apic = enabled();
    write(&mut apic, 0, register::ICR, 0x0004_0041);
    assert_eq!(apic.acknowledge(), 0x41, "self is delivered at once");
    let all = apic.write(at(0), register::ICR, 0x0008_0041).ipi.unwrap();
    let others = apic.write(at(0), register::ICR, 0x000c_0041).ipi.unwrap();
    let peer = LocalApic::new(config(1));
    assert!(all.reaches(Peer::Sender, &apic) && all.reaches(Peer::Other, &peer));
    assert!(!others.reaches(Peer::Sender, &apic) && others.reaches(Peer::Other, &peer));
    assert_eq!(apic.write(at(0), register::ICR, 0x0008_0400).ipi, None, "NMI to all including self is invalid");
}

#[test]
fn logical_destinations_match_by_model() {
    let mut apic = enabled();
    write(&mut apic, 0, register::LDR, 0x2400_0000);
    assert!(apic.accepts(logical(0x04)) && apic.accepts(logical(0x30)) && !apic.accepts(logical(0x42)));
    write(&mut apic, 0, register::DFR, 0x0fff_ffff);
    assert!(apic.accepts(logical(0x2c)) && !apic.accepts(logical(0x22)) && !apic.accepts(logical(0x34)));
    assert!(apic.accepts(logical(0xf4)) && apic.accepts(logical(0xff)) && apic.accepts(physical(0xff)));
    assert!(apic.accepts(physical(0)) && !apic.accepts(physical(1)));
}

#[test]
fn x2apic_destinations_are_32_bits_and_clustered() {
    let apic = x2apic(0x123);
    assert_eq!(apic.read_msr(at(0), 0x802), Ok(0x123));
    assert_eq!(apic.read_msr(at(0), 0x80d), Ok(0x0012_0008));
    let x2 = |mode, id| Destination { mode, format: DestinationFormat::X2apic, id };
    assert!(apic.accepts(x2(DestinationMode::Physical, 0x123)));
    assert!(!apic.accepts(x2(DestinationMode::Physical, 0x23)));
    assert!(!apic.accepts(x2(DestinationMode::Physical, 0xff)));
    assert!(apic.accepts(x2(DestinationMode::Physical, u32::MAX)));
    assert!(apic.accepts(x2(DestinationMode::Logical, 0x0012_0008)));
    assert!(!apic.accepts(x2(DestinationMode::Logical, 0x0011_0008)));
}

#[test]
fn x2apic_msrs_check_reserved_bits_and_absent_registers() {
    let mut apic = x2apic(0);
    for index in [0x800, 0x809, 0x80b, 0x80c, 0x80e, 0x831, 0x83f, 0x840, 0x8ff] {
        assert_eq!(apic.read_msr(at(0), index), Err(GeneralProtection), "{index:#x}");
    }
    for (index, value) in [
        (0x802, 0),
        (0x808, 0x100),
        (0x80b, 1),
        (0x828, 1),
        (0x80d, 0),
        (0x830, 1 << 12),
        (0x832, 1 << 20),
        (0x839, 0),
        (0x83e, 4),
    ] {
        assert_eq!(apic.write_msr(at(0), index, value), Err(GeneralProtection), "{index:#x}");
    }
    assert_eq!(apic.write_msr(at(0), 0x83f, 0x77), Ok(Effects::default()));
    assert_eq!(apic.acknowledge(), 0x77);
    assert_eq!(apic.write_msr(at(0), 0x80b, 0), Ok(Effects::default()));
    let ipi = apic.write_msr(at(0), 0x830, 7 << 32 | 0x41).unwrap().ipi.unwrap();
    assert_eq!(ipi.message.destination.id, 7);
    assert_eq!(apic.read_msr(at(0), 0x830), Ok(7 << 32 | 0x41));
    assert_eq!(LocalApic::new(config(0)).read_msr(at(0), 0x802), Err(GeneralProtection), "xAPIC mode");
}

#[test]
fn lowest_priority_goes_to_the_least_busy() {
    let (mut a, mut b) = (enabled(), enabled());
    a.write_cr8(5);
    assert_eq!(message::lowest_priority([(0, &a), (1, &b)]), Some(1));
    fixed(&mut b, 0x61);
    assert_eq!(b.acknowledge(), 0x61);
    assert_eq!(message::lowest_priority([(0, &a), (1, &b)]), Some(0));
    assert_eq!(message::lowest_priority([(0, &LocalApic::new(config(9)))]), None, "software-disabled");
}

#[test]
fn msi_is_decoded_and_remappable_format_refused() {
    let m = Message::from_msi(0xfee0_3004, 0xc141).unwrap();
    assert_eq!((m.vector, m.delivery_mode, m.trigger_mode), (0x41, DeliveryMode::LowestPriority, TriggerMode::Level));
    assert_eq!(m.destination, logical(3));
    assert_eq!(Message::from_msi(0xfee0_3014, 0x41), None);
    assert_eq!(Message::from_msi(0xfed0_3004, 0x41), None);
    assert_eq!(Message::from_msi(0xfee0_3004, 0x341), None);
}

#[test]
fn page_accesses_of_odd_sizes_are_harmless() {
    let mut apic = enabled();
    assert_eq!(apic.read_page(at(0), 0x0f0, 8), 0x1ff);
    assert_eq!(apic.read_page(at(0), 0x0f1, 1), 0x01);
    assert_eq!(apic.read_page(at(0), 0x0f4, 4), 0);
    assert_eq!(apic.write_page(at(0), 0x0f1, 1, 0), Effects::default());
    assert_eq!(apic.read_page(at(0), 0x0f0, 4), 0x1ff);
}

#[test]
fn saved_state_restores_equal_and_reset_forgets_use() {
    let mut apic = enabled();
    fixed(&mut apic, 0x55);
    write(&mut apic, 3, register::INITIAL_COUNT, 99);
    let saved = postcard::to_stdvec(&apic).unwrap();
    let mut restored: LocalApic = postcard::from_bytes(&saved).unwrap();
    assert_eq!(postcard::to_stdvec(&restored).unwrap(), saved);
    assert_eq!(restored.acknowledge(), 0x55);
    restored.reset();
    assert_eq!(postcard::to_stdvec(&restored).unwrap(), postcard::to_stdvec(&LocalApic::new(config(0))).unwrap());
}

#[test]
fn hostile_accesses_never_panic_and_events_are_never_in_the_past() {
    let mut x = 0x5eed_u64;
    let mut next = || {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut apic = enabled();
    let mut now = 0u64;
    for i in 0..20_000 {
        let (offset, value) = (next(), next() >> (next() & 63));
        let moment = Moment { tick: now, tsc: now.wrapping_mul(3) };
        match next() % 8 {
            0 => drop(apic.write_apic_base(0xfee0_0000 | value & 0xc00)),
            1 => drop(apic.write_msr(moment, msr::X2APIC_FIRST + (offset & 0x3f) as u32, value)),
            2 => drop(apic.read_msr(moment, msr::X2APIC_FIRST + (offset & 0x3ff) as u32)),
            3 => drop(apic.read_page(moment, offset & 0xfff, 1 << (next() & 3))),
            4 => apic.write_tsc_deadline(value),
            5 => drop(apic.acknowledge()),
            _ => drop(apic.write_page(moment, offset & 0xff0, 4, value)),
        }
        apic.advance(moment);
        match apic.next_event() {
            Some(TimerEvent::Tick(tick)) => {
                assert!(tick > now || tick == u64::MAX, "step {i}");
                now = if next() & 1 == 0 && tick < 1 << 62 { tick } else { now };
            }
            Some(TimerEvent::Tsc(tsc)) => assert!(tsc > moment.tsc, "step {i}"),
            None => {}
        }
        now = now.saturating_add(next() >> 12 >> (next() % 52));
    }
}
