//! Talking with the machine: over a pipe, and as a person at a terminal.

use crate::{input, undercroft};
use rustix::pty::{self, OpenptFlags};
use rustix::termios;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time to wait for a line on the console, on a host with other work.
const PATIENCE: Duration = Duration::from_secs(600);

/// A child, and what it prints, as it comes.
struct Dialogue {
    child: Child,
    printed: Receiver<Vec<u8>>,
    seen: String,
}

impl Dialogue {
    fn new(child: Child, mut output: impl Read + Send + 'static) -> Dialogue {
        let (sender, printed) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Dialogue { child, printed, seen: String::new() }
    }

    /// Waits until `text` is printed; what comes after it is looked at next.
    fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            match self.printed.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("waiting for `{text}`: {error}; seen:\n{}", self.seen),
            }
        }
        let at = self.seen.find(text).map_or(0, |at| at + text.len());
        self.seen.drain(..at);
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        // Where a test failed, nobody else ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The words that boot to a shell.
fn shell_words() -> Vec<String> {
    let append = "console=ttyS0 quiet mode=shell".to_owned();
    let words = ["run", "--kernel", &input("vmlinuz"), "--initrd", &input("initrd.cpio"), "--append", &append];
    words.map(str::to_owned).to_vec()
}

#[test]
fn shell_over_a_pipe_answers_and_ends_with_power_off() {
    let words = shell_words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut child = undercroft(&words).stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("starting");
    let mut input = child.stdin.take().expect("a pipe");
    let output = child.stdout.take().expect("a pipe");
    let mut dialogue = Dialogue::new(child, output);
    dialogue.wait_for("/ # ");
    input.write_all(b"echo $((6 * 7))-\xc3\xa9\n").expect("typing");
    dialogue.wait_for("\n42-\u{e9}");
    dialogue.wait_for("/ # ");
    // The end of the input ends nothing while a program computes.
    input.write_all(b"exit\n").expect("typing");
    drop(input);
    dialogue.wait_for("@@DONE shell");
    assert_eq!(dialogue.child.wait().expect("waiting").code(), Some(0));
}

#[test]
fn terminal_leave_key_ends_with_status_10_and_gives_the_terminal_back() {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = pty::openpt(flags).expect("a terminal");
    pty::grantpt(&master).expect("a terminal");
    pty::unlockpt(&master).expect("a terminal");
    let terminal = pty::ioctl_tiocgptpeer(&master, flags).expect("a terminal");
    let before = termios::tcgetattr(&terminal).expect("modes");
    let end = || terminal.try_clone().expect("another handle");
    let mut command = Command::new(env!("CARGO_BIN_EXE_undercroft"));
    let child = command.args(shell_words()).stdin(end()).stdout(end()).stderr(end()).spawn().expect("starting");
    let mut keyboard = File::from(master);
    let mut dialogue = Dialogue::new(child, keyboard.try_clone().expect("another handle"));
    dialogue.wait_for("/ # ");
    // Ctrl-C is the machine's: it ends the program in it, not ours. The shell takes it as a signal once a command runs.
    keyboard.write_all(b"echo $((3 * 37)); sleep 100000; echo $((3 * 41))\r").expect("typing");
    dialogue.wait_for("\n111");
    keyboard.write_all(b"\x01h").expect("typing");
    dialogue.wait_for("Ctrl-A X leaves");
    keyboard.write_all(b"\x03").expect("typing");
    dialogue.wait_for("/ # ");
    keyboard.write_all(b"echo $((5 * 11))\r").expect("typing");
    dialogue.wait_for("\n55");
    keyboard.write_all(b"\x01x").expect("typing");
    assert_eq!(dialogue.child.wait().expect("waiting").code(), Some(10));
    let after = termios::tcgetattr(&terminal).expect("modes");
    assert_eq!((after.local_modes, after.input_modes), (before.local_modes, before.input_modes));
}
