//! `images`, `inputs`, `test`: what the tests need, and the tests.

use crate::Repository;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// Builds the images that tests boot on the machine.
pub fn images(repository: &Repository, _words: &[String]) -> Result<()> {
    run_script(repository, "tests/bare_metal/build.sh")
}

/// Fetches the real software that tests boot.
pub fn inputs(repository: &Repository, _words: &[String]) -> Result<()> {
    run_script(repository, "tests/inputs/fetch.sh")
}

/// Builds the images, fetches the inputs, and runs every test in release.
pub fn run(repository: &Repository, words: &[String]) -> Result<()> {
    images(repository, &[])?;
    inputs(repository, &[])?;
    if host_is_known()? {
        return cargo_test(repository, &["--workspace"], words);
    }
    eprintln!(
        "xtask: the host is no AMD processor. What hosts do where the manual leaves it open was listed on AMD's, so the comparisons with \
         the host ({}) are left out; run them by hand and extend their lists.",
        HOST_ORACLES.join(", ")
    );
    let mut others = vec!["--workspace"];
    let mut own = vec!["--lib"];
    for package in HOST_ORACLES {
        others.extend(["--exclude", package]);
        own.extend(["-p", package]);
    }
    cargo_test(repository, &others, words)?;
    cargo_test(repository, &own, words)
}

/// Packages whose integration tests compare with the host processor.
const HOST_ORACLES: [&str; 3] = ["undercroft-native-oracle", "undercroft-float", "undercroft-semantics"];

/// Were the lists of host deviations made on a processor like this?
fn host_is_known() -> Result<bool> {
    let text = std::fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
    Ok(text.contains("AuthenticAMD"))
}

fn cargo_test(repository: &Repository, packages: &[&str], words: &[String]) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "--release", "--locked", "--no-fail-fast"])
        .args(packages)
        .args(words)
        .current_dir(&repository.root)
        .env("UNDERCROFT_INPUTS", inputs_folder(repository))
        .status()
        .context("running cargo test")?;
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

/// Where fetch.sh puts the inputs, by its own rule; absolute, since tests run in their crate's folder.
fn inputs_folder(repository: &Repository) -> PathBuf {
    repository.root.join(std::env::var_os("UNDERCROFT_INPUTS").unwrap_or_else(|| "inputs".into()))
}

fn run_script(repository: &Repository, script: &str) -> Result<()> {
    let status = Command::new(repository.root.join(script))
        .current_dir(&repository.root)
        .status()
        .with_context(|| format!("running {script}"))?;
    if !status.success() {
        bail!("{script} failed");
    }
    Ok(())
}
