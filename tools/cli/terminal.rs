//! The user's terminal in raw mode, given back on every way out: return, panic (which aborts in release), signal.

use anyhow::{Context, Result};
use rustix::termios::{self, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::{Mutex, PoisonError};

/// The terminal's modes before we changed them, while they are changed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// While this lives, each key reaches us at once, unechoed, Ctrl-C and Ctrl-Z too.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Puts the terminal at standard input into raw mode. `None` when standard input is no terminal.
    pub fn enter() -> Result<Option<RawMode>> {
        let stdin = rustix::stdio::stdin();
        if !termios::isatty(stdin) {
            return Ok(None);
        }
        let before = termios::tcgetattr(stdin).context("reading the terminal's modes")?;
        restore_on_signals()?;
        restore_on_panic();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before.clone());
        let mut raw = before;
        // Output modes stay, so that our own lines on stderr end as usual.
        raw.input_modes -= InputModes::BRKINT
            | InputModes::ICRNL
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::INPCK
            | InputModes::ISTRIP
            | InputModes::IXON;
        raw.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        let mode = RawMode(());
        termios::tcsetattr(stdin, OptionalActions::Now, &raw).context("setting the terminal's modes")?;
        Ok(Some(mode))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back. Does nothing when it is not ours.
fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nothing better can be done about a failure here: the terminal may be gone, which is why we end.
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
    }
}

fn restore_on_panic() {
    let message = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        message(panic);
    }));
}

/// On a signal that ends us: gives the terminal back, then ends by that signal.
fn restore_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).context("watching signals")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                restore();
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        })
        .context("starting the thread that watches signals")?;
    Ok(())
}
