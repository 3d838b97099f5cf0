//! `check-layers`: dependencies between this repository's crates go down only, `unsafe` stays in the marked crates,
//! and what lies below `machine/` reads no time, thread or file of the host.

use crate::Repository;
use crate::metadata::{self, Package};
use crate::text;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// Folders at the root, from the lowest layer up. A crate may use crates of its own folder and of lower layers.
const LAYERS: &[&[&str]] =
    &[&["spec"], &["isa", "memory"], &["cpu", "platform"], &["machine"], &["tools"], &["tests", "fuzz", "benches"]];

/// Where `unsafe` may stand; each is argued for in ARCHITECTURE.md.
const UNSAFE_CRATES: &[&str] = &[
    "memory/ram/",
    "cpu/mmu/tlb/",
    "cpu/interp/records/",
    "cpu/jit_memory/",
    // Software for the machine: the runtime under the test images and the images themselves run on bare metal.
    "tests/bare_metal/",
    // Runs random instructions natively to compare.
    "tests/native_oracle/",
];

/// Tests that run an instruction on the host processor to compare; their crates deny `unsafe` instead of forbidding it.
const NATIVE_TESTS: &[&str] = &["isa/float/tests/", "isa/semantics/tests/"];

/// Folders that may not read host time, threads or files (invariant D), and the part of `platform` that may.
const DETERMINISTIC: &[&str] = &["spec/", "isa/", "memory/", "cpu/", "platform/"];
const DETERMINISTIC_EXCEPT: &[&str] = &["memory/ram/", "cpu/jit_memory/", "platform/backend/"];
const HOST_MODULES: &[&str] = &["std::time", "std::thread", "std::fs", "std::net", "std::process", "std::env"];

/// Runs the check.
pub fn run(repository: &Repository, _words: &[String]) -> Result<()> {
    let mut faults = Vec::new();
    let metadata = metadata::read(&repository.root.join("Cargo.toml"), &["--no-deps"])?;
    for package in &metadata.packages {
        check_edges(repository, package, &mut faults)?;
        check_lints(repository, package, &mut faults)?;
    }
    for path in crate::check_files::tracked(repository)? {
        if path.ends_with(".rs") {
            // A file that is deleted but not yet committed is still listed.
            let Ok(source) = fs::read_to_string(repository.root.join(&path)) else { continue };
            check_source(&path, &source, &mut faults);
        }
    }
    if !faults.is_empty() {
        bail!("layers:\n  {}", faults.join("\n  "));
    }
    println!("layers: {} crates, dependencies go down only, unsafe only where it is marked", metadata.packages.len());
    Ok(())
}

fn layer_of(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&folder))
}

/// The first folder under the root of a path that is absolute.
fn top_folder(repository: &Repository, path: &Path) -> Option<String> {
    Some(path.strip_prefix(&repository.root).ok()?.components().next()?.as_os_str().to_string_lossy().into_owned())
}

/// Whether a crate in folder `from` may use a crate in folder `to`.
fn edge_allowed(from: &str, to: &str) -> bool {
    match (from, to) {
        ("xtask", _) | (_, "xtask") => false,
        ("hypervisor", to) => to == "spec" || to == "hypervisor",
        (from, to) if from == to => true,
        (from, to) => layer_of(from).zip(layer_of(to)).is_some_and(|(from, to)| to < from),
    }
}

fn check_edges(repository: &Repository, package: &Package, faults: &mut Vec<String>) -> Result<()> {
    let manifest = Path::new(&package.manifest_path);
    let from = top_folder(repository, manifest).context("a member outside the repository")?;
    if from != "xtask" && from != "hypervisor" && layer_of(&from).is_none() {
        faults.push(format!("{}: the folder {from}/ has no layer; give it one in xtask/check_layers.rs", package.name));
    }
    for dependency in &package.dependencies {
        let Some(path) = &dependency.path else { continue };
        let to = top_folder(repository, Path::new(path)).unwrap_or_default();
        if !edge_allowed(&from, &to) {
            let kind = dependency.kind.as_deref().unwrap_or("normal");
            faults.push(format!(
                "{} ({from}/) may not depend on {} ({to}/), {kind} dependency: the direction is \
                 spec <- isa, memory <- cpu, platform <- machine <- tools",
                package.name, dependency.name
            ));
        }
    }
    Ok(())
}

/// A crate that is not marked takes the workspace's lints, which forbid `unsafe`; one with native tests denies it.
fn check_lints(repository: &Repository, package: &Package, faults: &mut Vec<String>) -> Result<()> {
    let manifest = Path::new(&package.manifest_path);
    let relative = manifest.strip_prefix(&repository.root).unwrap_or(manifest).to_string_lossy().into_owned();
    if UNSAFE_CRATES.iter().any(|marked| relative.starts_with(marked)) {
        return Ok(());
    }
    let text = fs::read_to_string(manifest).with_context(|| format!("reading {relative}"))?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let folder = relative.trim_end_matches("Cargo.toml");
    let has_native_tests = NATIVE_TESTS.iter().any(|tests| tests.starts_with(folder));
    if has_native_tests && lines.contains(&"unsafe_code = \"deny\"") {
        return Ok(());
    }
    if !lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"]) {
        faults.push(format!("{relative}: lacks `[lints] workspace = true`, which forbids unsafe"));
    }
    Ok(())
}

fn check_source(path: &str, source: &str, faults: &mut Vec<String>) {
    let code = text::code_only(source);
    if !UNSAFE_CRATES.iter().chain(NATIVE_TESTS).any(|marked| path.starts_with(marked)) {
        for line in text::lines_with_word(&code, "unsafe") {
            faults.push(format!("{path}:{line}: unsafe outside the marked crates"));
        }
    }
    let test_file = path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || ["/benches/", "/examples/"].iter().any(|folder| path.contains(folder));
    if DETERMINISTIC.iter().any(|folder| path.starts_with(folder))
        && !DETERMINISTIC_EXCEPT.iter().any(|folder| path.starts_with(folder))
        && !test_file
    {
        // By house.md tests stand last in a file.
        let product = code.split("#[cfg(test)]").next().unwrap_or("");
        for module in HOST_MODULES {
            for line in text::lines_with_word(product, module) {
                faults.push(format!("{path}:{line}: {module} below machine/: nothing there depends on the host"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_upwards_or_sideways_is_refused() {
        assert!(edge_allowed("cpu", "isa"));
        assert!(edge_allowed("cpu", "cpu"));
        assert!(edge_allowed("machine", "platform"));
        assert!(edge_allowed("hypervisor", "spec"));
        for (from, to) in [
            ("cpu", "platform"),
            ("platform", "cpu"),
            ("isa", "memory"),
            ("isa", "cpu"),
            ("spec", "isa"),
            ("machine", "tools"),
            ("hypervisor", "cpu"),
            ("tools", "xtask"),
            ("cpu", "somewhere"),
        ] {
            assert!(!edge_allowed(from, to), "{from} -> {to}");
        }
    }

    #[test]
    fn source_unsafe_in_an_unmarked_crate_is_a_fault() {
        let mut faults = Vec::new();
        check_source("cpu/lib.rs", "// unsafe is a word\nunsafe fn f() {}", &mut faults);
        assert_eq!(faults, ["cpu/lib.rs:2: unsafe outside the marked crates"]);
        faults.clear();
        check_source("memory/ram/lib.rs", "unsafe fn f() {}", &mut faults);
        assert!(faults.is_empty());
    }

    #[test]
    fn source_host_time_below_the_machine_is_a_fault() {
        let mut faults = Vec::new();
        check_source("platform/clock/mod.rs", "use std::time::Instant;", &mut faults);
        assert_eq!(faults.len(), 1);
        faults.clear();
        check_source("machine/lib.rs", "use std::time::Instant;", &mut faults);
        check_source("cpu/lib.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }", &mut faults);
        assert!(faults.is_empty());
    }
}
