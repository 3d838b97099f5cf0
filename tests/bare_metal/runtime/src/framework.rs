//! The test framework: a table of tests, one line for each result, a summary.
//!
//! Lines: `ok NAME`, `FAIL NAME: TEXT`, `skip NAME: REASON`, and at the end
//! `RESULT pass=N fail=N skip=N`. The command line selects: `tests=PREFIX[,PREFIX...]`; `list` only lists;
//! `verbose` names each test before it runs.

use crate::control::Feature;
use crate::println;
use core::fmt;

/// A test: its name `<subject>_<condition>_<effect>` and its function.
pub struct Test {
    /// The name.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&mut Check),
}

/// Makes a table of tests from functions, whose names become the tests' names.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        /// The tests of this module.
        pub const TESTS: &[$crate::framework::Test] =
            &[$($crate::framework::Test { name: stringify!($name), run: $name }),+];
    };
}

/// Collects what a running test finds.
pub struct Check {
    name: &'static str,
    failed: bool,
    skipped: Option<&'static str>,
}

impl Check {
    /// Fails the test unless both are equal.
    pub fn equal<T: PartialEq + fmt::Debug>(&mut self, what: &str, got: T, expected: T) {
        if got != expected {
            self.fail(format_args!("{what}: expected {expected:x?} got {got:x?}"));
        }
    }

    /// Fails the test unless the condition holds.
    pub fn that(&mut self, what: &str, condition: bool) {
        if !condition {
            self.fail(format_args!("{what}: expected true got false"));
        }
    }

    /// Fails the test with a text; only the first failure's text is the result line, further ones are notes.
    pub fn fail(&mut self, text: fmt::Arguments) {
        if self.failed {
            println!("     {}: {}", self.name, text);
        } else {
            println!("FAIL {}: {}", self.name, text);
        }
        self.failed = true;
    }

    /// Says that this machine cannot run the test; the test should return then.
    pub fn skip(&mut self, reason: &'static str) {
        self.skipped = Some(reason);
    }

    /// Whether the processor has a feature; if not, the test is skipped.
    pub fn needs(&mut self, feature: Feature) -> bool {
        let present = feature.present();
        if !present {
            self.skip(feature.name);
        }
        present
    }

    /// Whether anything has failed so far.
    pub fn has_failed(&self) -> bool {
        self.failed
    }
}

/// The counts of a run.
#[derive(Clone, Copy, Default)]
pub struct Summary {
    /// Tests that passed.
    pub pass: u32,
    /// Tests that failed.
    pub fail: u32,
    /// Tests that this machine cannot run.
    pub skip: u32,
}

/// Runs the selected tests of some tables; `between` brings the machine back to its usual state after each.
pub fn run(tables: &[(&str, &[Test])], between: fn()) -> Summary {
    let info = crate::boot_info();
    let selected = |module: &str, name: &str| match info.option("tests") {
        None => true,
        Some(list) => list.split(',').any(|p| module == p || name.starts_with(p)),
    };
    let mut sum = Summary::default();
    for (module, tests) in tables {
        for test in tests.iter().filter(|t| selected(module, t.name)) {
            if info.has_word("list") {
                println!("{} {}", module, test.name);
                continue;
            }
            if info.has_word("verbose") {
                println!("run  {}", test.name);
            }
            let mut check = Check { name: test.name, failed: false, skipped: None };
            let escaped = crate::catch(|| (test.run)(&mut check));
            if let Some(fault) = escaped {
                check.fail(format_args!(
                    "unexpected event {} error {:#x} rip {:#x} cr2 {:#x}",
                    fault.vector, fault.error, fault.rip, fault.cr2
                ));
            }
            match (check.failed, check.skipped) {
                (true, _) => sum.fail += 1,
                (false, Some(reason)) => {
                    println!("skip {}: {}", test.name, reason);
                    sum.skip += 1;
                }
                (false, None) => {
                    println!("ok {}", test.name);
                    sum.pass += 1;
                }
            }
            between();
        }
    }
    sum
}

/// Prints the summary line and ends the machine.
pub fn finish(sum: Summary) -> ! {
    println!("RESULT pass={} fail={} skip={}", sum.pass, sum.fail, sum.skip);
    crate::exit::end(if sum.fail == 0 { crate::exit::Status::Pass } else { crate::exit::Status::Fail })
}
