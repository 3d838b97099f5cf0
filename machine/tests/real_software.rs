//! Real kernels on the machine: Debian's Linux and Xen, from `inputs/` (see tests/inputs/fetch.sh; UNDERCROFT_INPUTS overrides).
//!
//! They take up to some minutes and need files that are not part of the repository: `cargo test --release -p undercroft-machine -- --ignored`.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use undercroft_machine::board::DiskMode;
use undercroft_machine::{Machine, MachineBuilder, RunLimits, Stop};

/// No test's software needs more.
const LIMIT: u64 = 20_000_000_000;
/// Instructions between two looks at the console.
const STEP: u64 = 10_000_000;

fn input(name: &str) -> PathBuf {
    let folder = std::env::var_os("UNDERCROFT_INPUTS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../inputs")));
    let file = folder.join(name);
    assert!(file.exists(), "{} is not there; run tests/inputs/fetch.sh", file.display());
    file
}

fn linux(append: &str) -> MachineBuilder {
    let builder = Machine::builder().memory(1 << 30).kernel(input("vmlinuz")).initrd(input("initrd.cpio"));
    builder.append(format!("console=ttyS0 {append}"))
}

/// Runs to the end, or until the serial port has sent `until`.
fn run(machine: &mut Machine, until: Option<&str>) -> (Stop, String) {
    let mut text = String::new();
    let started = Instant::now();
    loop {
        let stop = machine.run(RunLimits::retired((machine.retired() + STEP).min(LIMIT)));
        text += &String::from_utf8_lossy(&machine.take_serial_output());
        if until.is_some_and(|until| text.contains(until)) {
            return (stop, text);
        }
        match stop {
            Stop::Limit | Stop::Idle { .. } if machine.retired() < LIMIT => {}
            stop => return (stop, text),
        }
        assert!(started.elapsed() < Duration::from_secs(1200), "it takes too long:\n{text}");
    }
}

fn assert_done(stop: &Stop, text: &str, mode: &str) {
    assert!(*stop == Stop::PowerOff && text.contains(&format!("@@DONE {mode} failed=0")), "{stop:?}\n{text}");
}

#[test]
#[ignore = "needs inputs/"]
fn linux_on_one_processor_reaches_user_space_and_powers_off() {
    let mut machine = linux("").build().unwrap();
    let (stop, text) = run(&mut machine, None);
    assert_done(&stop, &text, "up");
    for line in ["clocksource: Switched to", "ACPI: Interpreter enabled", "cpus=1"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
#[ignore = "needs inputs/"]
fn linux_on_four_processors_repeats_itself_and_continues_from_a_snapshot() {
    let build = || linux("quiet").cpus(4).quantum(2000).build().unwrap();
    let mut first = build();
    let mut second = build();
    let mut snapshot = Vec::new();
    for machine in [&mut first, &mut second] {
        assert_eq!(machine.run(RunLimits::retired(600_000_000)), Stop::Limit);
    }
    assert_eq!(first.state_hash(), second.state_hash());
    first.save(&mut snapshot).unwrap();
    let mut third = Machine::restore(&mut snapshot.as_slice(), &[]).unwrap();
    assert_eq!(third.state_hash(), first.state_hash());
    for machine in [&mut second, &mut third] {
        let (stop, text) = run(machine, None);
        assert_done(&stop, &text, "up");
        assert!(text.contains("cpus=4"), "{text}");
    }
    assert_eq!(third.state_hash(), second.state_hash());
}

#[test]
#[ignore = "needs inputs/"]
fn linux_shell_answers_what_is_typed() {
    let mut machine = linux("quiet mode=shell").build().unwrap();
    let (stop, text) = run(&mut machine, Some("# "));
    assert!(!stop.is_end(), "{stop:?}\n{text}");
    machine.push_serial_input(b"echo $((6 * 7)) answers\n");
    let (stop, text) = run(&mut machine, Some("42 answers"));
    assert!(!stop.is_end(), "{stop:?}\n{text}");
    machine.push_serial_input(b"exit\n");
    let (stop, text) = run(&mut machine, None);
    assert_eq!(stop, Stop::PowerOff, "{text}");
}

#[test]
#[ignore = "needs inputs/"]
fn linux_writes_a_file_system_on_a_virtio_disk_and_reads_it_back() {
    let image = input("disk.img");
    let before = std::fs::metadata(&image).unwrap().modified().unwrap();
    let mut machine = linux("quiet mode=disk disk=16").disk(&image, DiskMode::Overlay).build().unwrap();
    let (stop, text) = run(&mut machine, None);
    assert_done(&stop, &text, "disk");
    assert_eq!(std::fs::metadata(&image).unwrap().modified().unwrap(), before, "the image is only read");
}

#[test]
#[ignore = "needs inputs/"]
fn xen_starts_linux_as_its_first_domain() {
    let builder = Machine::builder().memory(1 << 30).kernel(input("xen")).append("com1=115200,8n1 console=com1");
    let builder = builder.module(input("vmlinuz-generic"), "console=hvc0 quiet").module(input("initrd.cpio"), "");
    let mut machine = builder.build().unwrap();
    let (stop, text) = run(&mut machine, None);
    assert_done(&stop, &text, "up");
    assert!(text.contains("Dom0 has maximum 1 VCPUs") && text.contains("Entering ACPI S5 state"), "{text}");
}
