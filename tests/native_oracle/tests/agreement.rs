//! The oracle's runs that CI makes.

use undercroft_native_oracle::case::{Outcome, Subject};
use undercroft_native_oracle::compare::compare;
use undercroft_native_oracle::generate::{Choice, generate};
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
