//! The test suite: what programs in user mode cannot see of the processor and the machine.
//!
//! Each module is a subject and has a table of tests. The command line selects: see the runtime's `framework`.
#![no_std]
#![no_main]

mod access;
mod crossing;
mod debug;
mod exceptions;
mod interrupts;
mod modes16;
mod paging;
mod protected32;
mod protection;
mod segmentation;
mod tasks;
mod timers;

use bare_metal_runtime::{control, framework, image_main, println};
use bare_metal_runtime::{interrupt_controllers as ic, paging as pages};

image_main!(main);

fn main() -> ! {
    println!("suite");
    unsafe {
        ic::pic_init(0x20);
        ic::lapic_enable();
    }
    framework::finish(framework::run(
        &[
            ("paging", paging::TESTS),
            ("protection", protection::TESTS),
            ("crossing", crossing::TESTS),
            ("exceptions", exceptions::TESTS),
            ("debug", debug::TESTS),
            ("segmentation", segmentation::TESTS),
            ("interrupts", interrupts::TESTS),
            ("timers", timers::TESTS),
            ("protected32", protected32::TESTS),
            ("tasks", tasks::TESTS),
            ("modes16", modes16::TESTS),
            ("apic_modes", interrupts::MODE_TESTS),
        ],
        restore,
    ))
}

/// Brings the processor back to the state in which every test begins.
fn restore() {
    unsafe {
        control::cli();
        control::write_dr7(0x400);
        control::write_dr6(0xFFFF_0FF0);
        control::write_cr0(0x8001_0033);
        control::write_cr4(0x620);
        control::write_cr8(0);
        ic::pic_mask(0xFFFF);
    }
    for v in 0..0xF0 {
        bare_metal_runtime::exceptions::set_handler(v, None);
    }
    bare_metal_runtime::exceptions::init();
    pages::reset();
}
