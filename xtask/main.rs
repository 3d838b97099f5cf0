//! Tasks of this repository: the checks that `.ci/run` makes, and the one test command.
//!
//! `cargo xtask` lists them. Each check is a file: what it reads, what it allows, and the sentence it fails with.

mod check_files;
mod check_layers;
mod check_licences;
mod metadata;
mod test;
mod text;

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;

/// A task: its name, one line for people, and what runs it with the words that follow the name.
type Task = (&'static str, &'static str, fn(&Repository, &[String]) -> Result<()>);

/// All tasks, in the order in which they are listed.
pub const TASKS: &[Task] = &[
    ("check", "every check below", check),
    ("check-layers", "dependencies go down only, unsafe stays in the marked crates", check_layers::run),
    ("check-licences", "every dependency's licence is on the list", check_licences::run),
    (
        "check-files",
        "tracked files: size, paths of one machine, unfinished marks; README's commands exist",
        check_files::run,
    ),
    ("images", "build the bare-metal images", test::images),
    ("inputs", "fetch the real kernels and build the initramfs", test::inputs),
    ("test", "images, inputs, then all tests in release; further words go to cargo test", test::run),
];

/// The repository's root folder.
pub struct Repository {
    /// Absolute path of the folder that holds the workspace's Cargo.toml.
    pub root: PathBuf,
}

fn check(repository: &Repository, _words: &[String]) -> Result<()> {
    check_layers::run(repository, &[])?;
    check_licences::run(repository, &[])?;
    check_files::run(repository, &[])
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no folder")?.to_path_buf();
    let Some((name, rest)) = words.split_first() else {
        for (name, line, _) in TASKS {
            println!("cargo xtask {name:<15} {line}");
        }
        return Ok(());
    };
    match TASKS.iter().find(|task| task.0 == name) {
        Some((_, _, task)) => task(&Repository { root }, rest),
        None => bail!("there is no task `{name}`; `cargo xtask` lists them"),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
