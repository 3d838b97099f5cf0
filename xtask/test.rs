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
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "--workspace", "--release", "--locked", "--no-fail-fast"])
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
