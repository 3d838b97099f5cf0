//! The ways in which a machine comes to its end, one a run, chosen by the command line: `how=WORD`.
//!
//! | word | what it does | what should follow |
//! |---|---|---|
//! | `s5` | SLP_TYP 5 and SLP_EN to PM1a control | power-off |
//! | `exit=N` in addition to `how=exit` | N to the debug-exit port | process status `N << 1 \| 1` |
//! | `triple` | #UD with an empty IDT | shutdown of the processor |
//! | `triple_pf` | #PF with the IDT in an absent page | the same |
//! | `reset_cf9` | 06H to port CF9H | reset |
//! | `reset_keyboard` | FEH to port 64H | reset |
//! | `halt` | CLI, HLT | a machine that never runs again |
//! | `spin` | an endless loop | an instruction limit, or nothing |
//! | `reset_vector` | far jump to F000:FFF0 in real-address mode | what firmware there is |
//!
//! Intel SDM volume 3, "Interrupt 8: Double Fault Exception (#DF)" for the triple fault.
#![no_std]
#![no_main]

use bare_metal_runtime::descriptors::{TablePointer, lidt};
use bare_metal_runtime::paging::TEST_BASE;
use bare_metal_runtime::port::{outb, outl};
use bare_metal_runtime::{boot_info, console, exit, image_main, legacy, println};
use core::arch::asm;

image_main!(main);

fn main() -> ! {
    let how = boot_info().option("how").unwrap_or("s5");
    println!("ending by {how}");
    console::flush();
    unsafe {
        match how {
            "s5" => exit::power_off(),
            "exit" => outl(0xF4, boot_info().option("exit").and_then(|n| n.parse().ok()).unwrap_or(0)),
            "triple" => {
                lidt(&TablePointer { limit: 0, base: 0 });
                asm!("ud2");
            }
            "triple_pf" => {
                lidt(&TablePointer { limit: 0xFFF, base: TEST_BASE });
                asm!("mov al, [{}]", in(reg) TEST_BASE, out("al") _);
            }
            "reset_cf9" => {
                outb(0xCF9, 0x02);
                outb(0xCF9, 0x06);
            }
            "reset_keyboard" => outb(0x64, 0xFE),
            "halt" => loop {
                asm!("cli", "hlt");
            },
            "spin" => loop {
                asm!("nop");
            },
            "reset_vector" => {
                legacy::prepare_real();
                // JMP far F000:FFF0
                legacy::place_16(0, &[0xEA, 0xF0, 0xFF, 0x00, 0xF0]);
                legacy::run_real(&legacy::State16::start(), 0x3FF);
            }
            _ => println!("no such ending"),
        }
    }
    println!("still here after {how}");
    exit::end(exit::Status::Fail)
}
