//! The host's side of the machine's first serial port: bytes in from a thread that reads standard input, bytes out to
//! standard output or a file.

use crate::escape::{EscapeFilter, Typed};
use crate::settings::Serial;
use crate::terminal::RawMode;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// Pieces that the reading thread may be ahead of the machine; beyond, it waits.
const PIECES_AHEAD: usize = 16;
/// Largest piece, bytes.
const PIECE_BYTES: usize = 4096;

/// What the reading thread hands on.
enum Piece {
    Typed(Typed),
    Failed(io::Error),
}

/// What the user gave since the last look.
#[derive(Debug, PartialEq, Eq)]
pub enum Given {
    /// Bytes for the machine.
    Bytes(Vec<u8>),
    /// The user leaves.
    Leave,
    /// Help is wanted.
    Help,
    /// Nothing at the moment.
    Nothing,
    /// Nothing, and there never will be more.
    Closed,
}

/// Both directions of a serial port.
pub struct Console {
    input: Option<Receiver<Piece>>,
    output: Box<dyn Write>,
    _raw_mode: Option<RawMode>,
}

impl Console {
    /// Connects as `serial` says. For standard input it starts the thread that reads it, and changes the terminal's modes.
    pub fn connect(serial: &Serial) -> Result<Console> {
        match serial {
            Serial::Stdio => {
                let raw_mode = RawMode::enter()?;
                // Only a person at a terminal has an escape key; a pipe's bytes are all for the machine.
                let filter = raw_mode.as_ref().map(|_| EscapeFilter::default());
                let input = Some(read_on_thread(io::stdin(), filter)?);
                Ok(Console { input, output: Box::new(io::stdout()), _raw_mode: raw_mode })
            }
            Serial::File(path) => {
                let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
                Ok(Console { input: None, output: Box::new(file), _raw_mode: None })
            }
            Serial::None => Ok(Console { input: None, output: Box::new(io::sink()), _raw_mode: None }),
        }
    }

    /// Whether a person sits at the other end.
    pub fn is_terminal(&self) -> bool {
        self._raw_mode.is_some()
    }

    /// What was given, without waiting.
    pub fn poll(&mut self) -> Result<Given> {
        let received = match &self.input {
            None => return Ok(Given::Closed),
            Some(input) => input.try_recv(),
        };
        match received {
            Ok(piece) => given(piece),
            Err(TryRecvError::Empty) => Ok(Given::Nothing),
            Err(TryRecvError::Disconnected) => Ok(self.close()),
        }
    }

    /// Waits until something is given, but no longer than `longest`.
    pub fn wait(&mut self, longest: Duration) -> Result<Given> {
        let received = match &self.input {
            None => return Ok(Given::Closed),
            Some(input) => input.recv_timeout(longest),
        };
        match received {
            Ok(piece) => given(piece),
            Err(RecvTimeoutError::Timeout) => Ok(Given::Nothing),
            Err(RecvTimeoutError::Disconnected) => Ok(self.close()),
        }
    }

    fn close(&mut self) -> Given {
        self.input = None;
        Given::Closed
    }

    /// Writes what the machine sent, at once.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.output.write_all(bytes).and_then(|()| self.output.flush()).context("writing the serial port's output")
    }

    #[cfg(test)]
    pub fn for_test(
        input: impl Read + Send + 'static,
        filter: Option<EscapeFilter>,
        output: Box<dyn Write>,
    ) -> Console {
        Console { input: Some(read_on_thread(input, filter).unwrap()), output, _raw_mode: None }
    }
}

fn given(piece: Piece) -> Result<Given> {
    match piece {
        Piece::Typed(Typed::Bytes(bytes)) => Ok(Given::Bytes(bytes)),
        Piece::Typed(Typed::Leave) => Ok(Given::Leave),
        Piece::Typed(Typed::Help) => Ok(Given::Help),
        Piece::Failed(error) => Err(error).context("reading standard input"),
    }
}

fn read_on_thread(source: impl Read + Send + 'static, filter: Option<EscapeFilter>) -> Result<Receiver<Piece>> {
    let (sender, receiver) = sync_channel(PIECES_AHEAD);
    let read = move || read_pieces(source, filter, &sender);
    std::thread::Builder::new().name("input".into()).spawn(read).context("starting the thread that reads input")?;
    Ok(receiver)
}

/// Reads to the end, or until nobody listens.
fn read_pieces(mut source: impl Read, mut filter: Option<EscapeFilter>, sender: &SyncSender<Piece>) {
    let mut buffer = [0; PIECE_BYTES];
    loop {
        let pieces = match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => match &mut filter {
                Some(filter) => filter.filter(&buffer[..length]),
                None => vec![Typed::Bytes(buffer[..length].to_vec())],
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = sender.send(Piece::Failed(error));
                return;
            }
        };
        for piece in pieces {
            if sender.send(Piece::Typed(piece)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn console_pipe_hands_all_bytes_then_closes() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let mut console = Console::for_test(io::Cursor::new(bytes.clone()), None, Box::new(io::sink()));
        let mut received = Vec::new();
        while let Given::Bytes(more) = console.wait(LONG).unwrap() {
            received.extend(more);
        }
        assert_eq!(received, bytes);
        assert_eq!(console.poll().unwrap(), Given::Closed);
    }

    #[test]
    fn console_terminal_leave_comes_after_what_was_typed_before() {
        let source = io::Cursor::new(b"ls\r\x01x".to_vec());
        let mut console = Console::for_test(source, Some(EscapeFilter::default()), Box::new(io::sink()));
        assert_eq!(console.wait(LONG).unwrap(), Given::Bytes(b"ls\r".to_vec()));
        assert_eq!(console.wait(LONG).unwrap(), Given::Leave);
        assert_eq!(console.wait(LONG).unwrap(), Given::Closed);
    }

    #[test]
    fn console_read_error_is_reported() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("torn"))
            }
        }
        let mut console = Console::for_test(Broken, None, Box::new(io::sink()));
        assert!(format!("{:#}", console.wait(LONG).unwrap_err()).contains("torn"));
    }
}
