//! The test framework: a table of tests, one line for each result, a summary.
//!
//! Lines: `ok NAME`, `FAIL NAME: TEXT`, `skip NAME: REASON`, and at the end
//! `RESULT pass=N fail=N skip=N`. The command line selects: `tests=PREFIX[,PREFIX...]` runs only the tests whose
//! module or whose name's beginning is listed, `without=` leaves such tests out; `list` only lists; `verbose` names each test
//! before it runs.

use crate::features::Feature;
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
    failures: u32,
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
        // Only the first few: one wrong rule may break hundreds of checks.
        match self.failures {
            0 => println!("FAIL {}: {}", self.name, text),
            1..4 => println!("     {}: {}", self.name, text),
            _ => {}
        }
        self.failures += 1;
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
        self.failures != 0
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
    let named =
        |list: &str, module: &str, name: &str| list.split(',').any(|p| module.starts_with(p) || name.starts_with(p));
    let selected = |module: &str, name: &str| {
        info.option("tests").is_none_or(|list| named(list, module, name))
            && !info.option("without").is_some_and(|list| named(list, module, name))
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
            let mut check = Check { name: test.name, failures: 0, skipped: None };
            let escaped = crate::catch(|| (test.run)(&mut check));
            if let Some(fault) = escaped {
                check.fail(format_args!(
                    "unexpected event {} error {:#x} rip {:#x} cr2 {:#x}",
                    fault.vector, fault.error, fault.rip, fault.cr2
                ));
            }
            match (check.failures != 0, check.skipped) {
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
