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

use clap::error::{ContextKind, ContextValue, ErrorKind};
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
    let outcome = match CommandLine::try_parse() {
        Ok(CommandLine { command: Some(Command::Run(command)) }) => run::run(*command),
        Ok(CommandLine { command: None }) => demo::run(),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => error.exit(),
        Err(error) => Outcome::Unusable(one_sentence(&error)),
    };
    if outcome != Outcome::PowerOff {
        eprintln!("undercroft: {outcome}");
    }
    ExitCode::from(outcome.status())
}

/// What is wrong with a command line, and what may have been meant, in one line.
fn one_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let mut sentence = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let meant = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    match meant.into_iter().find_map(|kind| error.get(kind)) {
        Some(ContextValue::String(word)) => sentence += &format!(" (did you mean `{word}`?)"),
        Some(ContextValue::Strings(words)) if !words.is_empty() => {
            sentence += &format!(" (did you mean `{}`?)", words.join("` or `"));
        }
        _ => sentence += "; --help lists what there is",
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_wrong_is_one_sentence_with_what_was_meant() {
        for (words, part) in [
            ("run --kernal k", "--kernel"),
            ("run --frobnicate", "'--frobnicate' found; --help"),
            ("rum", "`run`"),
            ("run --memory x", "'x' for '--memory"),
            ("run --kernel", "--kernel <FILE>"),
        ] {
            let words = std::iter::once("undercroft").chain(words.split(' '));
            let sentence = one_sentence(&CommandLine::try_parse_from(words).unwrap_err());
            assert!(sentence.contains(part) && !sentence.contains('\n'), "{sentence}");
        }
    }

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
