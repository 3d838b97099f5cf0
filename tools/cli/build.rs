//! Builds the demonstration image, which becomes part of the program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let images = here.join("../../tests/bare_metal");
    // Not the folder as a whole: its target folder changes with every build.
    for part in ["build.sh", "link.ld", "Cargo.toml", "Cargo.lock", ".cargo", "runtime", "demo"] {
        println!("cargo::rerun-if-changed={}", images.join(part).display());
    }
    build(&images, &out);
}

fn build(images: &Path, out: &Path) {
    let status = Command::new(images.join("build.sh"))
        .arg("demo")
        .env("BARE_METAL_OUT", out)
        .env("BARE_METAL_TARGET", out.join("bare_metal"))
        .status()
        .expect("running tests/bare_metal/build.sh");
    assert!(status.success(), "tests/bare_metal/build.sh demo failed");
}
