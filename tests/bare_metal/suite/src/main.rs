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
mod multiprocessor;
mod paging;
mod protected32;
mod protection;
mod registers;
mod segmentation;
mod self_modifying;
mod tasks;
mod timers;
mod x87;

use bare_metal_runtime::{control, features, framework, image_main, println};
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
            ("registers", registers::TESTS),
            ("x87", x87::TESTS),
            ("self_modifying", self_modifying::TESTS),
            ("multiprocessor", multiprocessor::TESTS),
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
        // A machine that lets a test set what it should refuse must not lose what the next one needs.
        control::wrmsr(control::IA32_EFER, 0x500 | (features::NX.present() as u64) << 11);
        ic::pic_mask(0xFFFF);
    }
    quiet_interrupts();
    for v in 0..0xF0 {
        bare_metal_runtime::exceptions::set_handler(v, None);
    }
    bare_metal_runtime::exceptions::init();
    pages::reset();
}

/// Stops what may still raise interrupts, and takes those that are pending.
fn quiet_interrupts() {
    let io = ic::IoApic::first();
    for pin in 0..io.entries().min(24) {
        io.redirect(pin, 1 << 16);
    }
    ic::lapic_write(ic::lapic::TPR, 0);
    ic::lapic_write(ic::lapic::LVT_TIMER, 1 << 16);
    ic::lapic_write(ic::lapic::TIMER_INITIAL, 0);
    for v in 0x20..0xF0 {
        bare_metal_runtime::exceptions::set_handler(v, Some(|_| ic::lapic_eoi()));
    }
    for _ in 0..4 {
        unsafe { control::interrupt_window() };
    }
}
