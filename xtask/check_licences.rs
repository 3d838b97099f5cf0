//! `check-licences`: every package that any of our workspaces uses on the supported host has a licence on the list.

use crate::Repository;
use crate::metadata::{self, Metadata};
use anyhow::{Result, bail};
use std::collections::BTreeSet;

/// Licences that may be linked. MPL-2.0 is file-level copyleft; only the assembler library has it.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];
/// Packages that may be linked under a licence that is not on the list.
const ALLOWED_FOR: &[(&str, &str)] = &[("dynasm", "MPL-2.0"), ("dynasmrt", "MPL-2.0"), ("libfuzzer-sys", "NCSA")];
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Runs the check.
pub fn run(repository: &Repository, _words: &[String]) -> Result<()> {
    let mut faults = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for lock in crate::check_files::tracked(repository)? {
        let path = repository.root.join(&lock);
        if path.file_name().is_some_and(|name| name == "Cargo.lock") && path.exists() {
            let metadata = metadata::read(&path.with_file_name("Cargo.toml"), &["--filter-platform", PLATFORM])?;
            check_workspace(&metadata, &mut seen, &mut faults);
        }
    }
    if !faults.is_empty() {
        bail!("licences:\n  {}", faults.into_iter().collect::<Vec<_>>().join("\n  "));
    }
    println!("licences: {} dependencies, all on the list", seen.len());
    Ok(())
}

fn check_workspace(metadata: &Metadata, seen: &mut BTreeSet<String>, faults: &mut BTreeSet<String>) {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = metadata.workspace_members.iter().map(String::as_str).collect();
    let nodes = metadata.resolve.as_ref().map(|resolve| resolve.nodes.as_slice()).unwrap_or_default();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            let node = nodes.iter().find(|node| node.id == id);
            open.extend(node.into_iter().flat_map(|node| node.dependencies.iter().map(String::as_str)));
        }
    }
    for package in &metadata.packages {
        if !reached.contains(package.id.as_str()) {
            continue;
        }
        if !metadata.workspace_members.contains(&package.id) {
            seen.insert(format!("{} {}", package.name, package.version));
        }
        let named =
            |licence: &str| ALLOWED.contains(&licence) || ALLOWED_FOR.contains(&(package.name.as_str(), licence));
        match &package.license {
            None => faults.insert(format!("{} {}: names no licence", package.name, package.version)),
            Some(licence) if !allows(licence, &named) => {
                faults.insert(format!("{} {}: `{licence}` is not on the list", package.name, package.version))
            }
            Some(_) => false,
        };
    }
}

/// Whether an SPDX expression can be met with licences that `named` accepts. `A/B` is the old spelling of `A OR B`;
/// an exception (`WITH`) only adds permissions.
fn allows(expression: &str, named: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest, named) == Some(true) && rest.is_empty()
}

fn either(words: &mut &[&str], named: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut met = both(words, named)?;
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        met |= both(words, named)?;
    }
    Some(met)
}

fn both(words: &mut &[&str], named: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut met = one(words, named)?;
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        met &= one(words, named)?;
    }
    Some(met)
}

fn one(words: &mut &[&str], named: &dyn Fn(&str) -> bool) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let met = either(words, named)?;
        if words.first() != Some(&")") {
            return None;
        }
        *words = &words[1..];
        return Some(met);
    }
    if words.first() == Some(&"WITH") {
        words.get(1)?;
        *words = &words[2..];
    }
    Some(named(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expression_either_both_and_exception_are_understood() {
        let named = |licence: &str| ALLOWED.contains(&licence);
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "Apache-2.0 WITH LLVM-exception",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Unlicense/MIT",
        ] {
            assert!(allows(good, &named), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "MPL-2.0", "", "MIT OR", "(MIT", "MIT MIT", "CDDL-1.0"] {
            assert!(!allows(bad, &named), "{bad}");
        }
    }
}
