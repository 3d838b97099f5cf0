//! Saving, restoring, and the hash of the state.

mod images;

use images::{builder, machine, start_timer};
use std::path::PathBuf;
use undercroft_machine::board::DiskMode;
use undercroft_machine::{Machine, RunLimits, SnapshotError, Stop};

/// Counts in memory, with the timer and the serial port at work: `inc eax; mov [200000h + 4 * (al)], eax; out 3f8h; jmp`.
fn busy() -> Vec<u8> {
    let work = [
        0x40, // inc eax
        0x0f, 0xb6, 0xc8, // movzx ecx, al
        0xc1, 0xe1, 0x0a, // shl ecx, 10
        0x89, 0x81, 0, 0, 0x20, 0, // mov [ecx + 200000h], eax
        0x66, 0xba, 0xf8, 0x03, // mov dx, 3f8h
        0xee, // out dx, al
        0xe4, 0x40, // in al, 40h
        0xeb, 0xea, // jmp
    ];
    [start_timer(), work.to_vec()].concat()
}

fn saved(machine: &Machine) -> Vec<u8> {
    let mut bytes = Vec::new();
    machine.save(&mut bytes).unwrap();
    bytes
}

#[test]
fn restored_machine_has_the_hash_and_the_future_of_the_saved() {
    let mut first = machine(&busy());
    first.run(RunLimits::retired(123_457));
    let snapshot = saved(&first);
    let mut second = Machine::restore(&mut snapshot.as_slice(), &[]).unwrap();
    assert_eq!(second.state_hash(), first.state_hash());
    assert_eq!((second.retired(), second.now()), (first.retired(), first.now()));
    assert_eq!(saved(&second), snapshot);
    for machine in [&mut first, &mut second] {
        assert_eq!(machine.run(RunLimits::retired(300_000)), Stop::Limit);
    }
    assert_eq!(second.state_hash(), first.state_hash());
    first.take_serial_output();
    assert_eq!(second.state_hash(), first.state_hash(), "what the user takes is not the machine's state");
}

#[test]
fn state_hash_differs_after_one_more_instruction_and_one_other_byte() {
    let mut machine = machine(&busy());
    machine.run(RunLimits::retired(5000));
    let before = machine.state_hash();
    assert_eq!(machine.state_hash(), before);
    assert!(machine.ram().store(0xf0_0000, 1, 1));
    assert_ne!(machine.state_hash(), before);
    assert!(machine.ram().store(0xf0_0000, 1, 0));
    assert_eq!(machine.state_hash(), before);
    machine.run(RunLimits::retired(5001));
    assert_ne!(machine.state_hash(), before);
}

#[test]
fn snapshot_leaves_zero_pages_out() {
    let mut machine = builder(&busy()).memory(256 << 20).build().unwrap();
    machine.run(RunLimits::retired(10_000));
    let bytes = saved(&machine);
    assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
}

#[test]
fn snapshot_cut_or_damaged_anywhere_is_refused() {
    let mut machine = machine(&busy());
    machine.run(RunLimits::retired(10_000));
    let bytes = saved(&machine);
    let refused = |bytes: &[u8]| Machine::restore(&mut &*bytes, &[]).map(|_| ()).unwrap_err();
    for len in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
        let error = refused(&bytes[..len]);
        assert!(matches!(error, SnapshotError::Truncated | SnapshotError::Foreign), "{len}: {error}");
    }
    for at in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        let text = refused(&bytes).to_string();
        assert!(!text.contains('\n') && !text.is_empty());
    }
    assert!(matches!(refused(b"\x7fELF and other things in a file"), SnapshotError::Foreign));
    let mut newer = bytes.clone();
    newer[16] = 99;
    assert!(matches!(refused(&newer), SnapshotError::Version { found: 99 }));
}

#[test]
fn restored_disks_are_opened_again_or_elsewhere() {
    let path = |name: &str| std::env::temp_dir().join(format!("undercroft-snapshot-{}-{name}", std::process::id()));
    let (here, there, small) = (path("here"), path("there"), path("small"));
    for (file, len) in [(&here, 8192), (&there, 8192), (&small, 512)] {
        std::fs::write(file, vec![7; len]).unwrap();
    }
    let machine = builder(&busy()).disk(&here, DiskMode::Overlay).build().unwrap();
    let bytes = saved(&machine);
    let restore =
        |disks: &[PathBuf]| Machine::restore(&mut bytes.as_slice(), disks).map(|machine| machine.state_hash());
    assert_eq!(restore(&[]).unwrap(), machine.state_hash());
    assert_eq!(restore(std::slice::from_ref(&there)).unwrap(), machine.state_hash());
    assert!(matches!(restore(std::slice::from_ref(&small)), Err(SnapshotError::Disk { .. })));
    assert!(matches!(
        restore(&[there.clone(), small.clone()]),
        Err(SnapshotError::DiskCount { given: 2, expected: 1 })
    ));
    std::fs::remove_file(&here).unwrap();
    let text = restore(&[]).unwrap_err().to_string();
    assert!(text.contains("disk image") && text.contains("-here"), "{text}");
    for file in [there, small] {
        std::fs::remove_file(file).unwrap();
    }
}
