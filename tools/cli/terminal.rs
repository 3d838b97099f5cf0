//! The user's terminal in raw mode, given back on every way out: return, panic (which aborts in release), signal.

use anyhow::{Context, Result};
use rustix::termios::{self, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// The terminal and its modes before we changed them, while they are changed.
static BEFORE: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// While this lives, each key reaches us at once, unechoed, Ctrl-C and Ctrl-Z too.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Puts the terminal at standard input into raw mode. `None` when standard input is no terminal.
    pub fn enter() -> Result<Option<RawMode>> {
        RawMode::enter_at(rustix::stdio::stdin())
    }

    fn enter_at(terminal: impl AsFd) -> Result<Option<RawMode>> {
        if !termios::isatty(&terminal) {
            return Ok(None);
        }
        let mut raw = termios::tcgetattr(&terminal).context("reading the terminal's modes")?;
        let kept = terminal.as_fd().try_clone_to_owned().context("keeping the terminal")?;
        restore_on_signals()?;
        restore_on_panic();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some((kept, raw.clone()));
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
        termios::tcsetattr(&terminal, OptionalActions::Now, &raw).context("setting the terminal's modes")?;
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
    if let Some((terminal, before)) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nothing better can be done about a failure here: the terminal may be gone, which is why we end.
        let _ = termios::tcsetattr(terminal, OptionalActions::Now, &before);
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{self, OpenptFlags};
    use std::fs::File;

    #[test]
    fn raw_mode_dropped_gives_the_terminal_back() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = pty::openpt(flags).unwrap();
        pty::grantpt(&master).unwrap();
        pty::unlockpt(&master).unwrap();
        let terminal = pty::ioctl_tiocgptpeer(&master, flags).unwrap();
        let before = termios::tcgetattr(&terminal).unwrap();
        assert!(before.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        let mode = RawMode::enter_at(&terminal).unwrap().expect("a terminal");
        let raw = termios::tcgetattr(&terminal).unwrap();
        let off = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        assert!(!raw.local_modes.intersects(off) && !raw.input_modes.contains(InputModes::ICRNL));
        assert_eq!(raw.output_modes, before.output_modes);
        drop(mode);
        let after = termios::tcgetattr(&terminal).unwrap();
        assert_eq!((after.local_modes, after.input_modes), (before.local_modes, before.input_modes));
    }

    #[test]
    fn raw_mode_of_a_file_is_none() {
        assert!(RawMode::enter_at(File::open("/dev/null").unwrap()).unwrap().is_none());
    }
}
