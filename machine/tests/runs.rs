//! How runs end, and what is told about it.

mod images;

use images::{builder, image, machine, outb, start_timer};
use undercroft_cpu::state::Activity;
use undercroft_machine::board::DiskMode;
use undercroft_machine::{BuildError, Machine, RunLimits, SerialInput, Stop, WhenIdle};

/// `cli; hlt`, forever.
const HALT: [u8; 4] = [0xfa, 0xf4, 0xeb, 0xfc];
/// `jmp .`.
const SPIN: [u8; 2] = [0xeb, 0xfe];
/// `sti; hlt; jmp` back to the `hlt`.
const WAIT: [u8; 4] = [0xfb, 0xf4, 0xeb, 0xfd];

#[test]
fn debug_exit_gives_its_value_again_and_again() {
    let mut machine = machine(&outb(0xf4, 0x2a));
    for _ in 0..2 {
        assert_eq!(machine.run(RunLimits::none()), Stop::DebugExit(0x2a));
    }
}

#[test]
fn power_off_by_pm1_control_ends_the_run() {
    // mov dx, 604h; mov ax, SLP_TYP 7 and SLP_EN; out dx, ax
    let mut machine = machine(&[0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x3c, 0x66, 0xef, 0xeb, 0xfe]);
    assert_eq!(machine.run(RunLimits::retired(100)), Stop::PowerOff);
}

#[test]
fn reset_by_cf9_ends_the_run() {
    let mut machine = machine(&[outb(0xcf9, 2), outb(0xcf9, 6), SPIN.to_vec()].concat());
    assert_eq!(machine.run(RunLimits::retired(100)), Stop::Reset);
}

#[test]
fn limits_are_met_exactly() {
    let mut machine = machine(&SPIN);
    for count in [1, 7, 1000, 1_000_000] {
        assert_eq!(machine.run(RunLimits::retired(count)), Stop::Limit);
        assert_eq!(machine.retired(), count);
    }
    assert_eq!(machine.run(RunLimits::tick(2_000_000)), Stop::Limit);
    assert_eq!(machine.now(), 2_000_000);
}

#[test]
fn serial_output_is_taken_in_order() {
    let code: Vec<u8> = b"one two".iter().flat_map(|byte| [outb(0x3f8, *byte), vec![0x90; 300]].concat()).collect();
    let mut machine = machine(&[outb(0x3fa, 1), code, SPIN.to_vec()].concat());
    machine.run(RunLimits::retired(50_000));
    assert_eq!(machine.take_serial_output(), b"one two");
    assert!(machine.take_serial_output().is_empty());
}

#[test]
fn halt_with_interrupts_off_hangs_and_says_where() {
    let mut machine = machine(&HALT);
    let Stop::Hang(report) = machine.run(RunLimits::none()) else { panic!("no hang") };
    assert_eq!(report.processors.len(), 1);
    assert_eq!(report.processors[0].activity, Activity::Halted);
    let text = report.to_string();
    assert!(text.contains("none accepts interrupts") && text.contains("32-bit protected mode"), "{text}");
    assert!(text.contains(&format!("RIP {:#x}", images::ENTRY + 2)), "{text}");
}

#[test]
fn wait_for_nothing_hangs_without_input_and_waits_with_it() {
    let mut closed = builder(&WAIT).serial_input(SerialInput::None).build().unwrap();
    let stop = closed.run(RunLimits::none());
    assert!(matches!(&stop, Stop::Hang(report) if report.why.contains("no event will ever come")), "{stop:?}");
    let mut open = machine(&WAIT);
    assert_eq!(open.run(RunLimits::none()), Stop::WaitingForInput);
    assert_eq!(open.run(RunLimits::none()), Stop::WaitingForInput);
}

#[test]
fn invalid_interrupt_table_is_a_triple_fault_with_its_exceptions() {
    // ud2 with an empty IDT.
    let mut machine = machine(&[0x0f, 0x0b]);
    let Stop::TripleFault(report) = machine.run(RunLimits::none()) else { panic!("no triple fault") };
    let vectors: Vec<u8> = report.processors[0].exceptions.iter().map(|e| e.vector).collect();
    assert!(vectors.starts_with(&[6]) && vectors.contains(&8), "{vectors:?}");
    assert!(report.to_string().contains("#UD(0x0) at 0x100020"), "{report}");
}

#[test]
fn idle_machine_jumps_to_the_timer_whose_mask_keeps_it_asleep() {
    // The timer runs, but its line is masked: nobody wakes, and the run gives its caller a look now and then.
    let code = [start_timer(), outb(0x21, 0xff), WAIT.to_vec()].concat();
    let mut machine = builder(&code).serial_input(SerialInput::None).build().unwrap();
    let stop = machine.run(RunLimits::none());
    assert!(matches!(stop, Stop::Idle { until } if until > 1_000_000_000), "{stop:?}");
    let before = machine.retired();
    let mut runs = 0;
    let end = loop {
        runs += 1;
        match machine.run(RunLimits::none()) {
            Stop::Idle { .. } => assert!(runs < 10_000),
            stop => break stop,
        }
    };
    assert!(matches!(&end, Stop::Hang(report) if report.why.contains("for an hour")), "{end:?}");
    assert_eq!(machine.retired(), before);
}

#[test]
fn idle_machine_stops_when_asked_and_time_passes_up_to_the_event() {
    let code = [start_timer(), outb(0x21, 0xff), WAIT.to_vec()].concat();
    let mut machine = machine(&code);
    let limits = RunLimits { when_idle: WhenIdle::Stop, ..RunLimits::none() };
    let Stop::Idle { until } = machine.run(limits) else { panic!("not idle") };
    let before = machine.now();
    assert!(before < until);
    assert_eq!(machine.run(limits), Stop::Idle { until });
    machine.pass_idle_time(10);
    assert_eq!(machine.now(), before + 10);
    machine.pass_idle_time(u64::MAX);
    assert_eq!(machine.now(), until);
    assert!(matches!(machine.run(limits), Stop::Idle { until: later } if later > until));
}

#[test]
fn run_in_small_steps_ends_as_in_one() {
    let code = [start_timer(), vec![0x40, 0xe4, 0x40, 0x8a, 0xe0, 0x89, 0x05, 0, 0, 0x20, 0, 0xeb, 0xf3]].concat();
    let mut whole = machine(&code);
    let mut stepped = machine(&code);
    assert_eq!(whole.run(RunLimits::retired(100_000)), Stop::Limit);
    for count in (0..=100_000).step_by(37).chain([100_000]) {
        assert_eq!(stepped.run(RunLimits::retired(count)), Stop::Limit);
    }
    assert_eq!(whole.state_hash(), stepped.state_hash());
    assert_eq!(whole.now(), 100_000);
}

#[test]
fn second_processor_starts_by_one_init_and_one_start_up_ipi() {
    let store = |address: u32, value: u32| {
        [vec![0xc7, 0x05], address.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat()
    };
    // At 8000h, in real mode: mov al, 7; out f4h, al.
    let code = [
        store(0x8000, 0xf4e6_07b0),
        store(0xfee0_0310, 1 << 24),
        store(0xfee0_0300, 0x4500),
        store(0xfee0_0300, 0x4608),
        SPIN.to_vec(),
    ]
    .concat();
    for quantum in [1, 100] {
        let mut machine = builder(&code).cpus(2).quantum(quantum).build().unwrap();
        assert_eq!(machine.run(RunLimits::retired(10_000)), Stop::DebugExit(7));
    }
}

#[test]
fn builder_refuses_with_one_sentence_each() {
    let absent = "/nonexistent/path";
    let cases: Vec<(undercroft_machine::MachineBuilder, &str)> = vec![
        (Machine::builder(), "no kernel"),
        (builder(&HALT).memory(4096), "between 2 MiB"),
        (builder(&HALT).memory((16 << 20) + 1), "multiple of 4 KiB"),
        (builder(&HALT).cpus(0), "0 processors"),
        (builder(&HALT).cpus(65), "65 processors"),
        (builder(&HALT).quantum(0), "quantum"),
        (Machine::builder().kernel(absent), absent),
        (builder(&HALT).initrd(absent), absent),
        (builder(&HALT).disk(absent, DiskMode::Overlay), absent),
        (Machine::builder().kernel_image(image(&HALT)[..20].to_vec()), "cannot be booted"),
        (Machine::builder().kernel_image(b"#!/bin/sh".to_vec()), "not a Linux bzImage"),
    ];
    for (builder, part) in cases {
        let error: BuildError = builder.build().map(|_| ()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(part) && !text.contains('\n'), "{text}");
    }
}
