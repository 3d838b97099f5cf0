//! What `cargo metadata` says, as far as the checks need it.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// One answer of `cargo metadata --format-version 1`.
#[derive(Deserialize)]
pub struct Metadata {
    /// All packages that the answer names.
    pub packages: Vec<Package>,
    /// Which packages depend on which; absent with `--no-deps`.
    pub resolve: Option<Resolve>,
    /// Identifiers of this workspace's packages.
    pub workspace_members: Vec<String>,
}

/// A package.
#[derive(Deserialize)]
pub struct Package {
    /// Identifier used by `resolve` and `workspace_members`.
    pub id: String,
    /// Name in Cargo.toml.
    pub name: String,
    /// Version in Cargo.toml.
    pub version: String,
    /// Licence expression (SPDX), if the package gives one.
    pub license: Option<String>,
    /// Absolute path of its Cargo.toml.
    pub manifest_path: String,
    /// Dependencies as written, of every kind.
    pub dependencies: Vec<Dependency>,
}

/// A dependency as a Cargo.toml writes it.
#[derive(Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// `None` for ordinary ones, `dev` or `build` otherwise.
    pub kind: Option<String>,
    /// The folder, for a dependency by path.
    pub path: Option<String>,
}

/// The resolved graph.
#[derive(Deserialize)]
pub struct Resolve {
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// A package and what it uses on this platform.
#[derive(Deserialize)]
pub struct Node {
    /// The package.
    pub id: String,
    /// What it depends on.
    pub dependencies: Vec<String>,
}

/// Asks cargo about the workspace of `manifest`.
pub fn read(manifest: &Path, arguments: &[&str]) -> Result<Metadata> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(manifest)
        .args(arguments)
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata for {}: {}", manifest.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("reading what cargo metadata printed")
}
