//! Runtime of the bare-metal images: boot, console, descriptors, recoverable exceptions, paging, timers,
//! interrupt controllers, other processors, and the switches to older modes.
//!
//! An image is a `no_std`, `no_main` binary that names its entry with [`image_main!`]. It is entered in 64-bit mode
//! with interrupts masked, SSE enabled and the lower 4 GiB of physical memory mapped one to one.
//!
//! Everything here runs at privilege level 0 on one machine of its own, so `unsafe` is the normal case; the
//! runtime's promise is to bring the processor back to the state described above after whatever a test did.
#![no_std]

pub mod acpi;
pub mod boot;
pub mod boot_info;
pub mod console;
pub mod context;
pub mod control;
pub mod descriptors;
pub mod exceptions;
pub mod exit;
pub mod features;
pub mod framework;
pub mod interrupt_controllers;
pub mod legacy;
pub mod memory_functions;
pub mod paging;
pub mod port;
pub mod processors;
pub mod timers;

pub use boot_info::boot_info;
pub use context::{Context, run};
pub use exceptions::{Fault, catch};

/// Names the function (`fn() -> !`) in which an image starts.
#[macro_export]
macro_rules! image_main {
    ($main:path) => {
        /// Called by the runtime once the machine is set up.
        #[unsafe(no_mangle)]
        pub extern "C" fn image_main() -> ! {
            let main: fn() -> ! = $main;
            main()
        }
    };
}

/// Reports a broken assumption of the image itself and ends the machine with [`exit::Status::Panic`].
#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    println!("PANIC: {}", info);
    exit::end(exit::Status::Panic)
}

/// `core` was compiled with unwinding; nothing here unwinds, so this is never called.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// See [`rust_eh_personality`].
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() -> ! {
    exit::end(exit::Status::Panic)
}
