//! The promise of determinism: the same run twice, and a run continued from a snapshot in another process, are the same
//! to the last instruction.
//!
//! A first boot tells how long the run is. The others are hashed at points all along it; one of them saves a snapshot at
//! each point, and each snapshot is continued to power-off by a process of its own.

use crate::{LIMIT, Run, Scratch, input, long, run};

/// Points that the first boot is hashed at too, when the others' are not known yet.
const EARLY: &[u64] = &[1_000, 5_000_000, 100_000_000];

/// The `state-hash` lines of a run.
fn hashes(run: &Run) -> Vec<&str> {
    run.notes.lines().filter(|line| line.starts_with("state-hash ")).collect()
}

fn listed(points: &[u64]) -> String {
    points.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

fn boot(cpus: &str, points: &[u64], more: &[&str]) -> Run {
    let (kernel, initrd, points) = (input("vmlinuz"), input("initrd.cpio"), listed(points));
    let words = ["run", "--kernel", &kernel, "--initrd", &initrd, "--append", "console=ttyS0 panic=-1 mode=up"];
    let rest = ["--cpus", cpus, "--memory", "256M", "--state-hash-at", &points, "--max-instructions", LIMIT, "--stats"];
    run(&[&words[..], &rest, more].concat()).expect(0, &["@@DONE up failed=0"])
}

fn is_the_same_every_time(cpus: &str) {
    let (boots, saves) = if long() { (5, 10) } else { (2, 3) };
    let scratch = Scratch::new(&format!("determinism-{cpus}"));
    let first = boot(cpus, EARLY, &[]);
    let length = first.figure("instructions");
    let saved: Vec<u64> = (1..=saves).map(|n| length / (saves + 1) * n).collect();
    let mut points = [EARLY, &saved].concat();
    points.sort_unstable();
    let files: Vec<String> = saved.iter().map(|at| scratch.file(&format!("{at}.snap"))).collect();
    let save: Vec<String> = saved.iter().zip(&files).map(|(at, file)| format!("{at}:{file}")).collect();
    let save: Vec<&str> = save.iter().flat_map(|save| ["--save-at", save.as_str()]).collect();

    let second = boot(cpus, &points, &save);
    assert_eq!(hashes(&second).len(), points.len(), "{}", second.notes);
    assert!(hashes(&first).iter().all(|line| hashes(&second).contains(line)), "{}\n{}", first.notes, second.notes);
    for run in (2..boots).map(|_| boot(cpus, &points, &[])).chain([first]) {
        assert_eq!(run.output, second.output);
        assert_eq!(run.figure("instructions"), length);
        assert!(hashes(&run).len() == EARLY.len() || hashes(&run) == hashes(&second), "{}", run.notes);
    }
    for (at, file) in saved.iter().zip(&files) {
        let rest: Vec<u64> = points.iter().copied().filter(|point| point >= at).collect();
        let words =
            ["run", "--restore", file, "--state-hash-at", &listed(&rest), "--max-instructions", LIMIT, "--stats"];
        let continued = run(&words).expect(0, &["@@DONE up failed=0"]);
        let expected = &hashes(&second)[points.len() - rest.len()..];
        assert_eq!(hashes(&continued), expected, "continued at {at}");
        assert_eq!(continued.figure("instructions"), length - at);
        assert!(second.output.ends_with(&continued.output), "continued at {at}:\n{}", continued.output);
    }
    // Seen with --nocapture: what a long run's record holds.
    println!("{cpus} processors: {boots} boots of {length} instructions, {saves} snapshots continued; all alike:");
    println!("{}", hashes(&second).join("\n"));
}

#[test]
fn run_on_1_processor_twice_and_from_snapshots_has_the_same_hashes() {
    is_the_same_every_time("1");
}

#[test]
fn run_on_4_processors_twice_and_from_snapshots_has_the_same_hashes() {
    is_the_same_every_time("4");
}
