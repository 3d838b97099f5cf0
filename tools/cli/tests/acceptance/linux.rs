//! Debian's kernels on the machine: to user space and to power-off, and what the initramfs's self-checks find there.

use crate::{LIMIT, Run, Scratch, input, long, run};
use std::process::Command;

/// What Linux prints when the machine does something that no computer does.
const COMPLAINTS: &[&str] = &[
    "achine check",
    "achine Check",
    "Hardware Error",
    "nstable",
    "lost",
    "unchecked MSR",
    "WARNING",
    "BUG",
    "Call Trace",
    "Oops",
    "soft lockup",
    "stall",
    "Kernel panic",
    "nobody cared",
];

/// Boots a kernel with the initramfs of the inputs to power-off, and holds its messages against [`COMPLAINTS`].
#[track_caller]
fn linux(kernel: &str, cpus: u32, append: &str, more: &[&str]) -> Run {
    let (kernel, initrd, cpus) = (input(kernel), input("initrd.cpio"), cpus.to_string());
    let append = format!("console=ttyS0 panic=-1 {append}");
    let words = ["run", "--kernel", &kernel, "--initrd", &initrd, "--append", &append, "--cpus", &cpus];
    let run = run(&[&words[..], &["--max-instructions", LIMIT], more].concat()).expect(0, &["Linux version"]);
    for line in run.output.lines() {
        let complaint = COMPLAINTS.iter().find(|complaint| line.contains(**complaint));
        assert!(complaint.is_none(), "the kernel complains: {line}\n{}", run.all());
    }
    assert!(!run.output.contains(" FAIL "), "{}", run.all());
    run
}

#[track_caller]
fn boots(kernel: &str, cpus: u32) {
    let seen = format!("cpus={cpus} ");
    linux(kernel, cpus, "mode=up", &[]).expect(0, &["@@UP mode=up", &seen, "@@DONE up failed=0"]);
}

#[test]
fn linux_cloud_kernel_on_1_processor_reaches_user_space_and_powers_off() {
    boots("vmlinuz", 1);
}

#[test]
fn linux_cloud_kernel_on_4_processors_reaches_user_space_and_powers_off() {
    boots("vmlinuz", 4);
}

#[test]
fn linux_generic_kernel_on_1_processor_reaches_user_space_and_powers_off() {
    boots("vmlinuz-generic", 1);
}

#[test]
fn linux_generic_kernel_on_4_processors_reaches_user_space_and_powers_off() {
    boots("vmlinuz-generic", 4);
}

/// The initramfs's tests; each must be seen, so that one that was left out is noticed.
const TESTS: &[&str] = &[
    "bytes",
    "md5sum",
    "sha256sum",
    "dd_swab",
    "gzip_t",
    "gunzip",
    "awk_sum",
    "awk_float",
    "sort",
    "forks",
    "children_left",
];

#[track_caller]
fn checks_itself(kernel: &str, cpus: u32, size: &str) {
    let run = linux(kernel, cpus, &format!("mode=test {size}"), &[]);
    let run = run.expect(0, &["@@DONE test failed=0"]);
    for test in TESTS {
        assert!(run.output.contains(&format!("@@TEST {test} ok ")), "no {test} in: {}", run.all());
    }
}

#[test]
fn linux_self_check_on_1_processor_agrees_with_the_host() {
    checks_itself("vmlinuz", 1, if long() { "size=64 forks=2000" } else { "size=8 forks=200" });
}

#[test]
fn linux_self_check_on_4_processors_agrees_with_the_host() {
    checks_itself("vmlinuz-generic", 4, if long() { "size=64 forks=2000" } else { "size=1 forks=100" });
}

#[test]
fn linux_disk_holds_what_was_written() {
    let scratch = Scratch::new("disk");
    let disk = scratch.file("disk.img");
    // cp keeps the holes of the image.
    let copied = Command::new("cp").args(["--sparse=always", &input("disk.img"), &disk]).status();
    assert!(copied.expect("running cp").success());
    let size = if long() { "disk=256" } else { "disk=16" };
    linux("vmlinuz", 1, &format!("mode=disk {size}"), &["--disk", &disk])
        .expect(0, &["@@TEST disk_file ok", "@@TEST sectors_moved ok", "@@DONE disk failed=0"]);
    let checked = Command::new("e2fsck").args(["-fn", &disk]).env("PATH", path_with_sbin()).output();
    let checked = checked.expect("running e2fsck");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn xen_starts_linux_as_its_first_domain() {
    let (xen, kernel, initrd) = (input("xen"), input("vmlinuz-generic"), input("initrd.cpio"));
    let module = format!("{kernel},console=hvc0 quiet panic=-1 mode=up");
    let words = ["run", "--kernel", &xen, "--append", "com1=115200 console=com1", "--module", &module];
    let run = run(&[&words[..], &["--module", &initrd, "--max-instructions", LIMIT]].concat());
    run.expect(0, &["Xen version", "@@UP mode=up", "@@DONE up failed=0"]);
}

/// e2fsck lives in a folder that is not on everybody's PATH.
fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
