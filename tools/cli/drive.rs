//! Drives a machine to its end: feeds its serial port, and acts at the instruction counts that the user named.

use crate::console::{Console, Given};
use crate::escape;
use crate::outcome::Outcome;
use crate::settings::{SaveAt, Settings};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

/// Instructions between two looks at the console: some tens of milliseconds.
const CHUNK: u64 = 4_000_000;
/// How long to wait at a time for input, when the machine waits for nothing else.
const WAIT: Duration = Duration::from_millis(200);

/// Why a machine stopped running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The instruction count that was asked for is reached, or the machine offers a moment to look in.
    Pause,
    /// All processors wait for something that happens after this time. Only a paced machine says so.
    Idle(Duration),
    /// Only input from outside can make a processor run again.
    WaitingForInput,
    /// It has ended.
    Ended(Outcome),
}

/// What this program needs of a machine.
pub trait Session {
    /// Instructions retired so far, all processors together.
    fn instructions(&self) -> u64;
    /// Runs until exactly `until` instructions are retired, or something happens.
    fn run(&mut self, until: u64) -> Stop;
    /// From now on the machine's time does not run ahead of the host's while it waits: for a person at a terminal.
    fn pace(&mut self) {}
    /// So much time has passed in which all processors waited.
    fn pass_idle_time(&mut self, _passed: Duration) {}
    /// Takes what the first serial port has sent.
    fn take_serial_output(&mut self) -> Vec<u8>;
    /// Gives bytes to the first serial port.
    fn push_serial_input(&mut self, bytes: &[u8]);
    /// Hash of the machine's state, as text.
    fn state_hash(&self) -> String;
    /// Writes a snapshot.
    fn save(&self, writer: &mut dyn Write) -> Result<()>;
}

/// Something to be done at an instruction count.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Hash,
    Save(SaveAt),
    End,
}

/// What the settings ask for, in order of instruction counts; at the same count in this order.
fn plan(settings: &Settings) -> Vec<(u64, Action)> {
    let hashes = settings.state_hash_at.iter().map(|count| (count.0, Action::Hash));
    let saves = settings.save_at.iter().map(|save| (save.count.0, Action::Save(save.clone())));
    let end = settings.max_instructions.iter().map(|count| (count.0, Action::End));
    let mut plan: Vec<_> = hashes.chain(saves).chain(end).collect();
    plan.sort_by_key(|(count, _)| *count);
    plan
}

/// Runs to the end. What is to be read by people, such as hashes, goes to `notes`.
pub fn drive(
    session: &mut dyn Session,
    settings: &Settings,
    console: &mut Console,
    notes: &mut dyn Write,
) -> Result<Outcome> {
    let mut plan = plan(settings).into_iter().peekable();
    if console.is_terminal() {
        session.pace();
    }
    while plan.next_if(|(count, _)| *count < session.instructions()).is_some() {
        writeln!(notes, "undercroft: a count before the snapshot's {} is passed over", session.instructions())?;
    }
    loop {
        while let Some((count, action)) = plan.next_if(|(count, _)| *count == session.instructions()) {
            match action {
                Action::Hash => writeln!(notes, "state-hash {count} {}", session.state_hash())?,
                Action::Save(save) => write_snapshot(session, &save)?,
                Action::End => return Ok(Outcome::InstructionLimit(count)),
            }
        }
        match console.poll()? {
            Given::Nothing | Given::Closed => {}
            given => {
                if let Some(outcome) = take(session, given, notes)? {
                    return Ok(outcome);
                }
            }
        }
        let chunk_end = session.instructions().saturating_add(CHUNK);
        let until = plan.peek().map_or(chunk_end, |(count, _)| chunk_end.min(*count));
        let stop = session.run(until);
        console.write(&session.take_serial_output())?;
        match stop {
            Stop::Pause => {}
            Stop::Idle(duration) => {
                let started = Instant::now();
                let given = console.wait(duration.min(WAIT))?;
                if given == Given::Closed {
                    std::thread::sleep(duration.min(WAIT));
                }
                session.pass_idle_time(started.elapsed().min(duration));
                if let Some(outcome) = take(session, given, notes)? {
                    return Ok(outcome);
                }
            }
            Stop::Ended(outcome) => return Ok(outcome),
            Stop::WaitingForInput => {
                if let Some(outcome) = wait_for_input(session, console, notes)? {
                    return Ok(outcome);
                }
            }
        }
    }
}

fn wait_for_input(session: &mut dyn Session, console: &mut Console, notes: &mut dyn Write) -> Result<Option<Outcome>> {
    loop {
        match console.wait(WAIT)? {
            Given::Nothing => {}
            Given::Closed => {
                let why = "it waits for input, and its input is closed";
                return Ok(Some(Outcome::Hang(why.into())));
            }
            Given::Help => writeln!(notes, "\n{}", escape::HELP)?,
            given => return take(session, given, notes),
        }
    }
}

fn take(session: &mut dyn Session, given: Given, notes: &mut dyn Write) -> Result<Option<Outcome>> {
    match given {
        Given::Bytes(bytes) => session.push_serial_input(&bytes),
        Given::Help => writeln!(notes, "\n{}", escape::HELP)?,
        Given::Leave => return Ok(Some(Outcome::Left)),
        Given::Nothing | Given::Closed => {}
    }
    Ok(None)
}

/// Writes a snapshot under another name first, so that a file of the wanted name is always whole.
fn write_snapshot(session: &dyn Session, save: &SaveAt) -> Result<()> {
    let mut partial = save.file.clone().into_os_string();
    partial.push(".partial");
    let write = || -> Result<()> {
        let mut writer = BufWriter::new(File::create(&partial)?);
        session.save(&mut writer)?;
        writer.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        fs::rename(&partial, &save.file)?;
        Ok(())
    };
    write().with_context(|| format!("writing the snapshot {}", save.file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Count;
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::io;
    use std::rc::Rc;

    /// A machine that sends back what it is given, in capitals, and ends when it is given `q`.
    #[derive(Default)]
    struct Echo {
        instructions: u64,
        given: VecDeque<u8>,
        sent: Vec<u8>,
        stops: Vec<u64>,
        sleeps: bool,
    }

    impl Session for Echo {
        fn instructions(&self) -> u64 {
            self.instructions
        }

        fn run(&mut self, until: u64) -> Stop {
            while let Some(byte) = self.given.pop_front() {
                self.instructions += 1;
                if byte == b'q' {
                    return Stop::Ended(Outcome::PowerOff);
                }
                self.sent.push(byte.to_ascii_uppercase());
            }
            if self.sleeps {
                return Stop::WaitingForInput;
            }
            self.instructions = until;
            self.stops.push(until);
            Stop::Pause
        }

        fn take_serial_output(&mut self) -> Vec<u8> {
            std::mem::take(&mut self.sent)
        }

        fn push_serial_input(&mut self, bytes: &[u8]) {
            self.given.extend(bytes);
        }

        fn state_hash(&self) -> String {
            format!("h{}", self.instructions)
        }

        fn save(&self, writer: &mut dyn Write) -> Result<()> {
            writer.write_all(self.state_hash().as_bytes()).context("saving")
        }
    }

    /// A place that a test can read while the console owns it.
    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn console(typed: &'static [u8]) -> (Console, Shared) {
        let output = Shared::default();
        let filter = Some(escape::EscapeFilter::default());
        (Console::for_test(io::Cursor::new(typed), filter, Box::new(output.clone())), output)
    }

    #[test]
    fn drive_input_reaches_the_machine_and_output_the_console() {
        let mut echo = Echo { sleeps: true, ..Echo::default() };
        let (mut console, output) = console(b"hello \x01h\x01\x01q");
        let mut notes = Vec::new();
        let outcome = drive(&mut echo, &Settings::default(), &mut console, &mut notes).unwrap();
        assert_eq!(outcome, Outcome::PowerOff);
        assert_eq!(output.0.borrow().as_slice(), b"HELLO \x01");
        assert!(String::from_utf8(notes).unwrap().contains(escape::HELP));
    }

    #[test]
    fn drive_leave_key_ends_a_machine_that_runs_or_waits() {
        for sleeps in [false, true] {
            let mut echo = Echo { sleeps, ..Echo::default() };
            let (mut console, _) = console(b"\x01x");
            let outcome = drive(&mut echo, &Settings::default(), &mut console, &mut io::sink()).unwrap();
            assert_eq!(outcome, Outcome::Left);
        }
    }

    #[test]
    fn drive_closed_input_ends_a_machine_that_waits_for_it() {
        let mut echo = Echo { sleeps: true, ..Echo::default() };
        let (mut console, _) = console(b"abc");
        let outcome = drive(&mut echo, &Settings::default(), &mut console, &mut io::sink()).unwrap();
        assert!(matches!(outcome, Outcome::Hang(why) if why.contains("closed")));
    }

    #[test]
    fn drive_counts_are_met_exactly_and_in_order() {
        let folder = std::env::temp_dir().join(format!("undercroft-drive-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.snap");
        let settings = Settings {
            state_hash_at: vec![Count(9_000_000), Count(0), Count(70)],
            save_at: vec![SaveAt { count: Count(70), file: file.clone() }],
            max_instructions: Some(Count(9_000_000)),
            ..Settings::default()
        };
        let (mut console, _) = console(b"");
        let mut echo = Echo::default();
        let mut notes = Vec::new();
        let outcome = drive(&mut echo, &settings, &mut console, &mut notes).unwrap();
        assert_eq!(outcome, Outcome::InstructionLimit(9_000_000));
        let notes = String::from_utf8(notes).unwrap();
        assert_eq!(notes, "state-hash 0 h0\nstate-hash 70 h70\nstate-hash 9000000 h9000000\n");
        assert_eq!(echo.stops, [70, 70 + CHUNK, 70 + 2 * CHUNK, 9_000_000]);
        assert_eq!(fs::read(&file).unwrap(), b"h70");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no partial file stays");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn drive_count_before_a_snapshot_is_passed_over_aloud() {
        let settings = Settings {
            state_hash_at: vec![Count(5), Count(20)],
            max_instructions: Some(Count(30)),
            ..Settings::default()
        };
        let mut echo = Echo { instructions: 10, ..Echo::default() };
        let (mut console, _) = console(b"");
        let mut notes = Vec::new();
        drive(&mut echo, &settings, &mut console, &mut notes).unwrap();
        let notes = String::from_utf8(notes).unwrap();
        assert!(
            notes.contains("passed over") && notes.contains("state-hash 20 h20") && !notes.contains("h5"),
            "{notes}"
        );
    }

    #[test]
    fn drive_unwritable_snapshot_is_an_error_with_its_name() {
        let save = SaveAt { count: Count(1), file: "no-such-folder/x.snap".into() };
        let settings = Settings { save_at: vec![save], ..Settings::default() };
        let (mut console, _) = console(b"");
        let error = drive(&mut Echo::default(), &settings, &mut console, &mut io::sink()).unwrap_err();
        assert!(format!("{error:#}").contains("no-such-folder/x.snap"));
    }
}
