//! The console: the 16550 at COM1 (0x3F8), and the debug console at port 0xE9 where there is no COM1 or where the
//! command line has the word `e9`.

use crate::port::{inb, outb};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

const COM1: u16 = 0x3F8;
const DEBUG_CONSOLE: u16 = 0xE9;

static HAS_COM1: AtomicBool = AtomicBool::new(false);
static USE_DEBUG_CONSOLE: AtomicBool = AtomicBool::new(false);
static LOCK: AtomicBool = AtomicBool::new(false);

/// Finds and sets up COM1: 115200 baud, 8 data bits, no parity, FIFOs on.
pub(crate) unsafe fn init() {
    outb(COM1 + 7, 0x5A);
    let present = inb(COM1 + 7) == 0x5A;
    if present {
        outb(COM1 + 1, 0);
        outb(COM1 + 3, 0x80);
        outb(COM1, 1);
        outb(COM1 + 1, 0);
        outb(COM1 + 3, 0x03);
        outb(COM1 + 2, 0x07);
        outb(COM1 + 4, 0x03);
    }
    HAS_COM1.store(present, Ordering::Relaxed);
    USE_DEBUG_CONSOLE.store(!present, Ordering::Relaxed);
}

/// Sends the output to port 0xE9 as well.
pub fn enable_debug_console() {
    USE_DEBUG_CONSOLE.store(true, Ordering::Relaxed);
}

fn put(byte: u8) {
    unsafe {
        if HAS_COM1.load(Ordering::Relaxed) {
            // Bounded: a port that never says "empty" loses bytes instead of hanging the test.
            for _ in 0..100_000 {
                if inb(COM1 + 5) & 0x20 != 0 {
                    break;
                }
            }
            outb(COM1, byte);
        }
        if USE_DEBUG_CONSOLE.load(Ordering::Relaxed) {
            outb(DEBUG_CONSOLE, byte);
        }
    }
}

/// Waits, bounded, until the last byte has left the port.
pub fn flush() {
    if HAS_COM1.load(Ordering::Relaxed) {
        for _ in 0..1_000_000 {
            if unsafe { inb(COM1 + 5) } & 0x40 != 0 {
                break;
            }
        }
    }
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for b in s.bytes() {
            if b == b'\n' {
                put(b'\r');
            }
            put(b);
        }
        Ok(())
    }
}

/// Prints formatted text; a line printed in one call is not mixed with the lines of other processors.
pub fn print(args: fmt::Arguments) {
    let mut spins = 0u32;
    while LOCK.swap(true, Ordering::Acquire) && spins < 10_000_000 {
        core::hint::spin_loop();
        spins += 1;
    }
    let _ = Console.write_fmt(args);
    LOCK.store(false, Ordering::Release);
}

/// Prints formatted text and a line end, as [`print`].
pub fn print_line(args: fmt::Arguments) {
    print(format_args!("{args}\n"))
}

/// Prints formatted text on the console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::console::print(format_args!($($arg)*)) };
}

/// Prints a line of formatted text on the console.
#[macro_export]
macro_rules! println {
    () => { $crate::console::print_line(format_args!("")) };
    ($($arg:tt)*) => { $crate::console::print_line(format_args!($($arg)*)) };
}
