//! The program as its user has it: real software on it, and what comes out of the process.
//!
//! The real software is what tests/inputs/fetch.sh puts into `inputs/` (UNDERCROFT_INPUTS names another folder), and the
//! images of tests/bare_metal; a test fails where they are absent. With UNDERCROFT_LONG=1 the tests take their full size.

#[path = "acceptance/determinism.rs"]
mod determinism;
#[path = "acceptance/dialogue.rs"]
mod dialogue;
#[path = "acceptance/linux.rs"]
mod linux;
#[path = "acceptance/outcomes.rs"]
mod outcomes;
#[path = "acceptance/suite.rs"]
mod suite;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Ends a run that would never end; no run here needs as many.
const LIMIT: &str = "400G";

/// Whether the tests are to take their full size.
fn long() -> bool {
    std::env::var_os("UNDERCROFT_LONG").is_some_and(|value| value == "1")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the inputs.
fn input(name: &str) -> String {
    let folder = std::env::var_os("UNDERCROFT_INPUTS").unwrap_or_else(|| "inputs".into());
    present(&root().join(folder).join(name), "tests/inputs/fetch.sh")
}

/// A bare-metal image.
fn image(name: &str) -> String {
    present(&root().join("tests/bare_metal/target/images").join(name), "tests/bare_metal/build.sh")
}

#[track_caller]
fn present(file: &Path, script: &str) -> String {
    assert!(file.exists(), "{} is absent: run {script}, or cargo xtask test", file.display());
    file.to_str().expect("a path in UTF-8").to_owned()
}

fn undercroft(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undercroft"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A finished run: its status, output and notes.
struct Run {
    status: Option<i32>,
    output: String,
    notes: String,
}

impl Run {
    fn new(output: Output) -> Run {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\r', "");
        Run { status: output.status.code(), output: text(output.stdout), notes: text(output.stderr) }
    }

    /// Fails unless the run ended with this status and printed each of these.
    #[track_caller]
    fn expect(self, status: i32, texts: &[&str]) -> Run {
        assert_eq!(self.status, Some(status), "{}", self.all());
        for text in texts {
            assert!(self.output.contains(text), "no `{text}` in: {}", self.all());
        }
        self
    }

    /// Everything there is to see of it.
    fn all(&self) -> String {
        format!("status {:?}\noutput:\n{}\nnotes:\n{}", self.status, self.output, self.notes)
    }

    /// A figure of `--stats`.
    #[track_caller]
    fn figure(&self, name: &str) -> u64 {
        let mut lines = self.notes.lines().filter_map(|line| line.split_once(' '));
        let value = lines.find(|(found, _)| *found == name).map(|(_, value)| value.parse());
        value.unwrap_or_else(|| panic!("no {name} in: {}", self.all())).expect("a number")
    }
}

fn run(words: &[&str]) -> Run {
    Run::new(undercroft(words).output().expect("running undercroft"))
}

/// A folder of one test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder under target");
        Scratch(folder)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind lies under target and hurts nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
