//! The `undercroft` command: a machine at the terminal.

mod amount;
mod console;
mod demo;
mod drive;
mod escape;
mod outcome;
mod run;
mod session;
mod settings;
mod terminal;

use clap::{Parser, Subcommand};
use outcome::{Outcome, STATUS_TABLE};
use std::process::ExitCode;

/// A complete x86-64 computer in software; without a subcommand it boots its demonstration image.
#[derive(Parser, Debug)]
#[command(name = "undercroft", version, after_help = STATUS_TABLE)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(Box<run::RunCommand>),
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Some(Command::Run(command)) => run::run(*command),
        None => demo::run(),
    };
    if outcome != Outcome::PowerOff {
        eprintln!("undercroft: {outcome}");
    }
    ExitCode::from(outcome.status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn command_line_run_takes_every_option() {
        let words = "undercroft run m.toml --kernel k --initrd i --append -v --module a,b --module c --disk d --memory 1G \
             --cpus 2 --serial file:x --max-instructions 1M --seed 3 --stats --state-hash-at 1K,2K --save-at 3K:s \
             --restore r --quantum 5";
        let line = CommandLine::try_parse_from(words.split_whitespace()).unwrap();
        let Some(Command::Run(command)) = line.command else { panic!("no run") };
        let text = format!("{command:?}");
        assert!(
            text.contains("Count(2000)") && text.contains("file: \"c\"") && text.contains("Some(\"-v\")"),
            "{text}"
        );
        for bad in ["run --cpus 0", "run --memory x", "run --serial tty", "run --save-at 5", "walk"] {
            let words = std::iter::once("undercroft").chain(bad.split(' '));
            assert_eq!(CommandLine::try_parse_from(words).unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    /// Each `cargo run --release` line of README.md, as the words that follow `--`.
    fn readme_commands() -> Vec<String> {
        let text = include_str!("../../README.md").replace("\\\n", " ");
        let lines = text.lines().filter_map(|line| line.split_once("cargo run --release"));
        lines.map(|(_, rest)| rest.split(" #").next().unwrap_or("").trim().to_owned()).collect()
    }

    #[test]
    fn readme_commands_are_understood() {
        let commands = readme_commands();
        assert!(commands.len() >= 3, "{commands:?}");
        for command in commands {
            let rest = command.strip_prefix("--").unwrap_or(&command).split('`').next().unwrap_or("").trim();
            // Quotes hold one word together; the documents use no other quoting.
            let words = rest.split('"').enumerate().flat_map(|(index, part)| match index % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                _ => vec![part.to_owned()],
            });
            match CommandLine::try_parse_from(std::iter::once("undercroft".to_owned()).chain(words)) {
                Ok(_) => {}
                Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {}
                Err(error) => panic!("{command}: {error}"),
            }
        }
    }
}
