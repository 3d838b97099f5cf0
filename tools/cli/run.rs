//! `undercroft run`: the machine that the command line and a machine file describe.

use crate::console::Console;
use crate::drive::{self, Session};
use crate::outcome::{Outcome, STATUS_TABLE};
use crate::session;
use crate::settings::{Serial, Settings};
use anyhow::Result;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

const EXAMPLES: &str = "\
Examples:
  undercroft run --kernel vmlinuz --initrd initrd.cpio --append \"console=ttyS0\"
  undercroft run machine.toml --memory 2G --disk copy.img
  undercroft run --kernel image --serial none --max-instructions 100M --state-hash-at 50M,100M
  undercroft run --kernel xen --append \"com1=115200 console=com1\" --module vmlinuz,console=hvc0 --module initrd.cpio
  undercroft run --kernel vmlinuz --append \"console=ttyS0\" --save-at 400M:booted.snap
  undercroft run --restore booted.snap

A machine file has the same names as keys, and the command line overrides it:
  kernel = \"vmlinuz\"
  append = \"console=ttyS0\"
  memory = \"1G\"
  module = [\"a.bin,with arguments\"]

At a terminal: Ctrl-A X leaves, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A H shows help.";

/// Run a kernel image on the machine
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{EXAMPLES}\n\n{STATUS_TABLE}"))]
pub struct RunCommand {
    /// Machine file (TOML)
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Runs the subcommand.
pub fn run(command: RunCommand) -> Outcome {
    let prepared = (|| {
        let settings = match &command.file {
            Some(file) => command.settings.over(Settings::read(file)?),
            None => command.settings,
        };
        settings.check()?;
        let session = session::build(&settings)?;
        Ok((settings, session))
    })();
    match prepared {
        Ok((settings, mut session)) => to_the_end(&mut session, &settings),
        Err(error) => unusable(error),
    }
}

/// The outcome of a machine that could not be built.
pub fn unusable(error: anyhow::Error) -> Outcome {
    Outcome::Unusable(format!("{error:#}"))
}

/// Connects a machine to the host and runs it to its end.
pub fn to_the_end(session: &mut session::MachineSession, settings: &Settings) -> Outcome {
    let started = Instant::now();
    let before = session.instructions();
    let outcome = connect_and_drive(session, settings)
        .unwrap_or_else(|error: anyhow::Error| Outcome::HostError(format!("{error:#}")));
    if settings.stats {
        eprint!("{}", figures(session.instructions() - before, started.elapsed().as_secs_f64(), &session.stats()));
    }
    outcome
}

fn connect_and_drive(session: &mut session::MachineSession, settings: &Settings) -> Result<Outcome> {
    let mut console = Console::connect(settings.serial.as_ref().unwrap_or(&Serial::Stdio))?;
    drive::drive(session, settings, &mut console, &mut io::stderr())
}

/// The lines of `--stats`: the run's own figures, then the machine's.
fn figures(instructions: u64, seconds: f64, machine: &[(String, String)]) -> String {
    let mut lines = format!("instructions {instructions}\nhost_seconds {seconds:.3}\n");
    if seconds > 0.0 {
        lines += &format!("million_instructions_per_second {:.1}\n", instructions as f64 / seconds / 1e6);
    }
    for (name, value) in machine {
        lines += &format!("{name} {value}\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_run_and_machine_are_one_line_each() {
        let lines = figures(3_000_000, 2.0, &[("exits".into(), "7".into())]);
        assert_eq!(lines, "instructions 3000000\nhost_seconds 2.000\nmillion_instructions_per_second 1.5\nexits 7\n");
        assert!(!figures(1, 0.0, &[]).contains("per_second"));
    }
}
