//! The bare-metal suite on the machine, held against the list of what is known to fail.

use crate::{image, root, run};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Far more than the suite needs.
const LIMIT: &str = "20G";

/// Tests by what the suite said of them.
#[derive(Default)]
struct Results {
    passed: BTreeSet<String>,
    failed: BTreeMap<String, String>,
    skipped: BTreeMap<String, String>,
}

impl Results {
    fn read(output: &str) -> Results {
        let mut results = Results::default();
        for line in output.lines() {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (name, text) = rest.split_once(": ").unwrap_or((rest, ""));
            match kind {
                "ok" => drop(results.passed.insert(name.into())),
                "FAIL" => drop(results.failed.insert(name.into(), text.into())),
                "skip" => drop(results.skipped.insert(name.into(), text.into())),
                _ => {}
            }
        }
        results
    }
}

/// Names listed in one of the tables of known_failures.toml for so many processors; each has a reason.
fn known(table: &str, cpus: u32) -> BTreeSet<String> {
    let file = root().join("tests/bare_metal/known_failures.toml");
    let text = fs::read_to_string(&file).expect("tests/bare_metal/known_failures.toml");
    let lists: toml::Table = toml::from_str(&text).expect("TOML");
    let Some(rows) = lists.get(table) else { return BTreeSet::new() };
    let mut names = BTreeSet::new();
    for row in rows.as_array().expect("an array of tables") {
        let reason = row.get("reason").and_then(|reason| reason.as_str());
        assert!(reason.is_some_and(|reason| !reason.is_empty()), "{row} has no reason");
        let only = row.get("cpus").map(|cpus| cpus.as_integer().expect("a number of processors"));
        if only.is_none_or(|only| only == i64::from(cpus)) {
            names.insert(row["name"].as_str().expect("a name").to_owned());
        }
    }
    names
}

fn suite_agrees_with_the_list(cpus: u32) {
    let (hanging, number) = (known("hang", cpus), cpus.to_string());
    let append = format!("without={}", hanging.iter().cloned().collect::<Vec<_>>().join(","));
    let append = if hanging.is_empty() { "" } else { append.as_str() };
    let words = ["run", "--kernel", &image("suite.elf"), "--append", append, "--cpus", &number];
    let run = run(&[&words[..], &["--max-instructions", LIMIT]].concat());
    let results = Results::read(&run.output);
    assert!(run.output.contains("RESULT pass="), "the suite came to no end: {}", run.all());
    let status = if results.failed.is_empty() { 33 } else { 35 };
    assert_eq!(run.status, Some(status), "{}", run.all());

    let known_to_fail = known("failure", cpus);
    let unknown: Vec<_> = results.failed.iter().filter(|(name, _)| !known_to_fail.contains(*name)).collect();
    assert!(unknown.is_empty(), "tests fail: {unknown:#?}");
    let passing: Vec<_> = known_to_fail.intersection(&results.passed).collect();
    assert!(passing.is_empty(), "known_failures.toml lists tests that pass: take them out: {passing:#?}");

    let known_to_skip = known("skip", cpus);
    let is_known = |name: &str, text: &str| known_to_skip.contains(name) || known_to_skip.contains(text);
    let unknown: Vec<_> = results.skipped.iter().filter(|(name, text)| !is_known(name, text)).collect();
    assert!(unknown.is_empty(), "tests were left out: {unknown:#?}");
    let used = |entry: &str| results.skipped.iter().any(|(name, text)| name == entry || text == entry);
    let unused: Vec<_> = known_to_skip.iter().filter(|entry| !used(entry)).collect();
    assert!(unused.is_empty(), "known_failures.toml lists what is not left out: take it out: {unused:#?}");
    assert!(results.passed.len() >= 350, "{} tests passed", results.passed.len());
}

#[test]
fn suite_on_1_processor_passes_but_for_known_failures() {
    suite_agrees_with_the_list(1);
}

#[test]
fn suite_on_4_processors_passes_but_for_known_failures() {
    suite_agrees_with_the_list(4);
}
