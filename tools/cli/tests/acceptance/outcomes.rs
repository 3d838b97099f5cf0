//! How runs end that do not boot a system: the demonstration, the instruction limit, and what cannot start.

use crate::{Scratch, input, run};
use std::fs;

#[test]
fn demo_without_arguments_runs_to_power_off() {
    let run = run(&[]).expect(0, &["Undercroft's demonstration image", "powering off"]);
    assert_eq!(run.notes, "");
}

#[test]
fn run_at_its_limit_ends_with_status_8_and_says_so() {
    let kernel = input("vmlinuz");
    let run = run(&["run", "--kernel", &kernel, "--max-instructions", "3M", "--stats"]).expect(8, &[]);
    assert!(run.notes.contains("limit of 3000000 instructions"), "{}", run.notes);
    assert_eq!(run.figure("instructions"), 3_000_000);
}

#[test]
fn run_that_cannot_start_ends_with_status_2_and_one_sentence() {
    let scratch = Scratch::new("refused");
    let written = |name: &str, bytes: &[u8]| {
        fs::write(scratch.file(name), bytes).expect("writing a file");
        scratch.file(name)
    };
    let kernel = input("vmlinuz");
    let whole = fs::read(&kernel).expect("reading the kernel");
    let nothing = written("nothing.bin", &[0; 4096]);
    let header_only = written("header-only.bin", &whole[..600]);
    let half = written("half.bin", &whole[..whole.len() / 2]);
    let suite = fs::read(crate::image("suite.elf")).expect("reading the suite");
    let half_elf = written("half.elf", &suite[..5000]);
    let text = written("text", b"#!/bin/sh\necho no kernel\n");
    let unknown_key = written("unknown.toml", b"kernal = \"x\"\n");
    let wrong_value = written("wrong.toml", b"kernel = \"x\"\nmemory = \"2X\"\n");
    let damaged = written("damaged.snap", &whole[..100_000]);
    let cases: &[(&[&str], &str)] = &[
        (&["run"], "--kernel"),
        (&["run", "--kernel", "absent"], "absent"),
        (&["run", "--kernel", &nothing], "nothing.bin"),
        (&["run", "--kernel", &text], "text"),
        (&["run", "--kernel", &header_only], "header-only.bin"),
        (&["run", "--kernel", &half], "half.bin"),
        (&["run", "--kernel", &half_elf], "half.elf"),
        (&["run", "--kernel", &kernel, "--initrd", "absent.cpio"], "absent.cpio"),
        (&["run", "--kernel", &kernel, "--disk", "absent.img"], "absent.img"),
        (&["run", "--kernel", &kernel, "--memory", "8M"], "memory"),
        (&["run", "--kernel", &kernel, "--memory", "1K"], "RAM"),
        (&["run", "--kernel", &kernel, "--cpus", "1000"], "1000 processors"),
        (&["run", "--kernel", &kernel, "--memory", "x"], "--memory"),
        (&["run", "--kernal", &kernel], "--kernel"),
        (&["run", &unknown_key], "did you mean `kernel`"),
        (&["run", &wrong_value], "2X"),
        (&["run", "--restore", "absent.snap"], "absent.snap"),
        (&["run", "--restore", &damaged], "damaged.snap"),
        (&["run", "--restore", &damaged, "--kernel", &kernel], "--kernel"),
        (&["walk"], "walk"),
    ];
    for (words, reason) in cases {
        let run = run(words).expect(2, &[]);
        let sentence = run.notes.strip_suffix('\n').expect("a line");
        assert!(sentence.starts_with("undercroft: ") && !sentence.contains('\n'), "{words:?}: {}", run.notes);
        assert!(sentence.contains(reason), "{words:?}: {}", run.notes);
        assert_eq!(run.output, "", "{words:?}");
    }
}
