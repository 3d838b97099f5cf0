//! The demonstration: what the product boots when it is given nothing else. It shows in a few seconds what kind of
//! machine this is, and ends by powering it off (ACPI S5).
//!
//! The command line may have `smp=off` (leave the other processors alone) and `picture=off`.
#![no_std]
#![no_main]

mod mandelbrot;

use bare_metal_runtime::control::{cpuid, rdtsc};
use bare_metal_runtime::{acpi, boot_info, catch, exit, features, image_main, print, println, processors, timers};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

image_main!(main);

fn main() -> ! {
    println!();
    println!("  Undercroft's demonstration image, loaded by {:?}", boot_info().loader);
    show_processor();
    show_memory();
    show_timers();
    show_instruction_count();
    if boot_info().option("smp") != Some("off") {
        show_processors();
    }
    show_page_fault();
    if boot_info().option("picture") != Some("off") {
        show_picture();
    }
    println!("\nThat is all: powering off through ACPI S5.");
    exit::power_off()
}

fn show_processor() {
    let mut text = [0u8; 12];
    let id = cpuid(0, 0);
    for (i, r) in [id.ebx, id.edx, id.ecx].into_iter().enumerate() {
        text[i * 4..i * 4 + 4].copy_from_slice(&r.to_le_bytes());
    }
    let signature = cpuid(1, 0).eax;
    let (family, model) = (signature >> 8 & 0xF, signature >> 4 & 0xF);
    let family = if family == 0xF { family + (signature >> 20 & 0xFF) } else { family };
    let model = if family >= 6 { model | signature >> 12 & 0xF0 } else { model };
    println!("\nProcessor");
    println!("  vendor     {}", printable(&text));
    let mut brand = [0u8; 48];
    for leaf in 0..3 {
        let r = cpuid(0x8000_0002 + leaf, 0);
        for (i, r) in [r.eax, r.ebx, r.ecx, r.edx].into_iter().enumerate() {
            let at = leaf as usize * 16 + i * 4;
            brand[at..at + 4].copy_from_slice(&r.to_le_bytes());
        }
    }
    println!("  name       {}", printable(&brand).trim());
    println!("  family {family:#x}, model {model:#x}, stepping {}", signature & 0xF);
    let widths = cpuid(0x8000_0008, 0).eax;
    println!("  addresses  {} bits physical, {} bits linear", widths & 0xFF, widths >> 8 & 0xFF);
    print!("  features  ");
    let mut column = 12;
    for feature in features::FEATURES.iter().filter(|f| f.present()) {
        if column + feature.name.len() + 1 > 96 {
            print!("\n            ");
            column = 12;
        }
        print!(" {}", feature.name);
        column += feature.name.len() + 1;
    }
    println!();
}

/// The text of a register-packed string; what is not ASCII is left out.
fn printable(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|b| !(0x20..0x7F).contains(b)).unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..end]).unwrap_or("")
}

fn show_memory() {
    println!("\nMemory");
    let mut ram = 0;
    for r in boot_info().memory_map() {
        let kind = match r.kind {
            1 => "RAM",
            2 => "reserved",
            3 => "ACPI tables",
            4 => "ACPI NVS",
            _ => "other",
        };
        println!("  {:012x} - {:012x}  {kind}", r.base, r.base.saturating_add(r.length.saturating_sub(1)));
        if r.kind == 1 {
            ram += r.length;
        }
    }
    println!("  {} MiB of RAM", ram >> 20);
    print!("  ACPI root pointer at {:#x}, tables:", boot_info().rsdp);
    for signature in [b"FACP", b"APIC", b"MCFG", b"HPET", b"DMAR", b"SRAT", b"WAET"] {
        if acpi::table(signature).is_some() {
            print!(" {}", printable(signature));
        }
    }
    println!();
}

fn show_timers() {
    println!("\nTime-stamp counter, measured by");
    show_frequency("PIT", timers::tsc_hz_by_pit());
    show_frequency("PM timer", timers::tsc_hz_by_pm_timer());
    show_frequency("HPET", timers::Hpet::find().and_then(timers::Hpet::tsc_hz));
    let leaf = cpuid(0x15, 0);
    if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
        let hz = leaf.ecx as u64 * leaf.ebx as u64 / leaf.eax as u64;
        show_frequency("CPUID 15H", Some(hz));
    }
}

fn show_frequency(by: &str, hz: Option<u64>) {
    match hz {
        Some(hz) => println!("  {by:<10} {:>6}.{:03} MHz", hz / 1_000_000, hz / 1000 % 1000),
        None => println!("  {by:<10} does not answer"),
    }
}

/// Counts a loop of known length by the TSC: on a machine whose clock is the count of retired instructions, and whose
/// TSC runs at 1 GHz, both agree.
fn show_instruction_count() {
    const ROUNDS: u64 = 1_000_000;
    let mut sum = 0u64;
    let start = rdtsc();
    unsafe {
        asm!(
            "2: add {sum}, {n}",
            "lea {sum}, [{sum} + {sum}*2]",
            "dec {n}",
            "jnz 2b",
            n = inout(reg) ROUNDS => _,
            sum = inout(reg) sum,
        );
    }
    let ticks = rdtsc() - start;
    println!("\nA loop of {} instructions took {} ticks of the TSC (sum {:#x})", ROUNDS * 4, ticks, sum);
}

static TOTAL: AtomicU64 = AtomicU64::new(0);

fn show_processors() {
    let count = processors::start_all();
    println!("\nProcessors: {count}");
    for i in 1..count {
        processors::post(
            i,
            |share| {
                let first = share * 1000;
                TOTAL.fetch_add((first + 1..=first + 1000).sum::<u64>(), Ordering::Relaxed);
            },
            i as u64,
        );
    }
    TOTAL.fetch_add((1..=1000).sum::<u64>(), Ordering::Relaxed);
    for i in 1..count {
        if !processors::wait(i) {
            println!("  processor {i} does not answer");
        }
    }
    let n = count as u64 * 1000;
    println!("  together they added 1 to {n}: {} (expected {})", TOTAL.load(Ordering::Relaxed), n * (n + 1) / 2);
}

fn show_page_fault() {
    const NOWHERE: u64 = 0x0000_1234_5678_9ABC;
    println!("\nA store to {NOWHERE:#x}, which is not mapped:");
    match catch(|| unsafe { (NOWHERE as *mut u8).write_volatile(1) }) {
        Some(f) => println!(
            "  exception {} (page fault), error code {:#x} ({}, {}, level {}), CR2 {:#x}, RIP {:#x}",
            f.vector,
            f.error,
            if f.error & 1 != 0 { "page present" } else { "page not present" },
            if f.error & 2 != 0 { "write" } else { "read" },
            if f.error & 4 != 0 { 3 } else { 0 },
            f.cr2,
            f.rip
        ),
        None => println!("  nothing happened, which is wrong"),
    }
}

fn show_picture() {
    println!("\nThe Mandelbrot set, two points at a time in SSE2:");
    let start = rdtsc();
    let mut row = [0u8; mandelbrot::WIDTH];
    for y in 0..mandelbrot::HEIGHT {
        mandelbrot::row(y, &mut row);
        println!("  {}", core::str::from_utf8(&row).unwrap_or(""));
    }
    println!("  {} ticks, printing included", rdtsc() - start);
}
