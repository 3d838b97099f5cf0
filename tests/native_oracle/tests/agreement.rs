//! The oracle's runs that CI makes.

use undercroft_native_oracle::case::{Fault, Outcome, Subject};
use undercroft_native_oracle::compare::compare;
use undercroft_native_oracle::generate::{Choice, generate};
use undercroft_native_oracle::machine::{Machine, PASSES};
use undercroft_native_oracle::native::Native;
use undercroft_native_oracle::report;

#[test]
fn native_host_run_twice_agrees_with_itself() {
    let mut host = Native::new().expect("arenas");
    let mut room = [Outcome::new(), Outcome::new()];
    let mut faults = 0;
    for index in 0..20_000 {
        let case = generate(3, index, &Choice::default());
        host.run(&case, &mut room[0]);
        host.run(&case, &mut room[1]);
        let differences = compare(&case, &room[0], &room[1]);
        assert!(differences.is_empty(), "{}", report::describe(&case, &differences));
        faults += u64::from(room[0].fault.is_some());
    }
    // Most cases come to their end, and enough do not.
    assert!((2_000..10_000).contains(&faults), "{faults} faults");
}

#[test]
fn native_oracle_seeded_200k_cases_agree() {
    // The general instance of the semantics and the handlers both; unoptimised builds do a part.
    let cases = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let mut host = Native::new().expect("arenas");
    let mut machine = Machine::new();
    let mut room = [Outcome::new(), Outcome::new()];
    for index in 0..cases {
        let case = generate(1, index, &Choice::default());
        host.run(&case, &mut room[0]);
        for pass in PASSES {
            machine.run_pass(&case, pass, &mut room[1]);
            let differences = compare(&case, &room[0], &room[1]);
            assert!(differences.is_empty(), "{pass:?}: {}", report::describe(&case, &differences));
        }
    }
}

#[test]
fn comparison_outcome_changed_anywhere_is_found() {
    let mut host = Native::new().expect("arenas");
    let mut room = [Outcome::new(), Outcome::new()];
    let case = generate(1, 0, &Choice { single: true, ..Choice::of_mnemonics(&["nop".to_string()]) });
    host.run(&case, &mut room[0]);
    let changes: [fn(&mut Outcome); 9] = [
        |o| o.registers.gpr[9] ^= 1 << 40,
        |o| o.registers.rip += 1,
        |o| o.registers.rflags ^= 1,
        |o| o.registers.fs_base ^= 8,
        |o| o.registers.fx.0[32] ^= 1,
        |o| o.registers.fx.0[400] ^= 1,
        |o| o.registers.fx.set_mxcsr(0x1f81 ^ o.registers.fx.mxcsr()),
        |o| o.memory[12_345] ^= 1,
        |o| o.fault = Some(Fault { vector: 6, error: 0, cr2: 0 }),
    ];
    for change in changes {
        room[1] = room[0].clone();
        change(&mut room[1]);
        assert_eq!(compare(&case, &room[0], &room[1]).len(), 1);
    }
}
