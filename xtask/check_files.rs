//! `check-files`: what git tracks. Size, paths of one machine, marks of unfinished work, the lock file, and whether
//! the commands in README.md and CONTRIBUTING.md exist.

use crate::{Repository, TASKS};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Largest tracked file, bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Absolute folders that exist on one machine only. Split, so that this file does not hold them.
const HOST_FOLDERS: &[&[&str]] = &[&["/", "work/"], &["/", "root/"], &["/", "home/"], &["/", "Users/"]];
/// Marks of unfinished work in Rust source. Split for the same reason.
const UNFINISHED: &[&[&str]] =
    &[&["todo", "!("], &["unimplemented", "!("], &["dbg", "!("], &["FIX", "ME"], &["TO", "DO"], &["#[ig", "nore"]];
/// Documents whose commands are checked.
const DOCUMENTS: &[&str] = &["README.md", "CONTRIBUTING.md"];

/// Paths that git tracks, and new ones that it would; relative to the root.
pub fn tracked(repository: &Repository) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&repository.root)
        .output()
        .context("running git ls-files")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

/// Runs the check.
pub fn run(repository: &Repository, _words: &[String]) -> Result<()> {
    let paths = tracked(repository)?;
    let mut faults = Vec::new();
    if !paths.iter().any(|path| path == "Cargo.lock") {
        faults.push("Cargo.lock is not tracked".into());
    }
    for path in &paths {
        let Ok(meta) = fs::symlink_metadata(repository.root.join(path)) else { continue };
        if !meta.is_file() {
            continue;
        }
        if meta.len() > MAX_BYTES {
            faults.push(format!("{path}: {} bytes, more than {MAX_BYTES}", meta.len()));
        }
        // What is not text has no lines to check.
        if let Ok(text) = fs::read_to_string(repository.root.join(path)) {
            check_text(path, &text, &mut faults);
        }
    }
    for document in DOCUMENTS {
        match fs::read_to_string(repository.root.join(document)) {
            Ok(text) => check_commands(repository, document, &text, &mut faults),
            Err(error) => faults.push(format!("{document}: {error}")),
        }
    }
    if !faults.is_empty() {
        bail!("files:\n  {}", faults.join("\n  "));
    }
    println!("files: {} are in order", paths.len());
    Ok(())
}

fn check_text(path: &str, text: &str, faults: &mut Vec<String>) {
    for (index, line) in text.lines().enumerate() {
        for folder in HOST_FOLDERS {
            let folder = folder.concat();
            // An absolute path begins a word: `a/root/b` is none.
            let absolute = |at: usize| {
                !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "_-./$})*".contains(c))
            };
            if line.match_indices(&folder).any(|(at, _)| absolute(at)) {
                faults.push(format!("{path}:{}: a path of one machine ({folder})", index + 1));
            }
        }
        if path.ends_with(".rs") {
            for mark in UNFINISHED {
                let mark = mark.concat();
                if line.contains(&mark) {
                    faults.push(format!("{path}:{}: {mark} is left in", index + 1));
                }
            }
        }
    }
}

/// The lines of the fenced blocks marked `sh`, joined where they end in a backslash, split at `&&`.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    let mut open = String::new();
    for line in text.lines() {
        if let Some(kind) = line.trim().strip_prefix("```") {
            inside = !inside && matches!(kind.trim(), "sh" | "shell" | "bash");
            continue;
        }
        if !inside {
            continue;
        }
        let line = line.split(" #").next().unwrap_or("").trim();
        if let Some(part) = line.strip_suffix('\\') {
            open.push_str(part);
            continue;
        }
        open.push_str(line);
        found.extend(open.split("&&").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()));
        open.clear();
    }
    found
}

fn check_commands(repository: &Repository, document: &str, text: &str, faults: &mut Vec<String>) {
    for command in commands(text) {
        let mut words = command.split_whitespace().skip_while(|word| {
            // An assignment before the command.
            word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        });
        let first = words.next().unwrap_or_default();
        if first == "cargo" && words.next() == Some("xtask") {
            let task = words.next().unwrap_or_default();
            if !TASKS.iter().any(|known| known.0 == task) {
                faults.push(format!("{document}: `{command}`: there is no task `{task}`"));
            }
        } else if first.contains('/') && !first.starts_with('/') && !first.starts_with("target/") {
            let path = repository.root.join(first);
            let executable =
                fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
            if !executable {
                faults.push(format!("{document}: `{command}`: {first} is no executable file here"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_absolute_host_folder_is_a_fault() {
        let mut faults = Vec::new();
        let folder = HOST_FOLDERS[1].concat();
        check_text("a.md", &format!("see {folder}x\nhost{folder}guest\n`{folder}y`"), &mut faults);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn text_unfinished_mark_is_a_fault_in_rust_only() {
        let mut faults = Vec::new();
        let mark = UNFINISHED[0].concat();
        check_text("a.rs", &mark, &mut faults);
        check_text("a.md", &mark, &mut faults);
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn commands_fenced_shell_lines_are_found() {
        let text = "```sh\ncargo xtask test   # all\na/b x && \\\n  cargo run\n```\n```text\nno\n```\n";
        assert_eq!(commands(text), ["cargo xtask test", "a/b x", "cargo run"]);
    }
}
