//! The test suite: what programs in user mode cannot see of the processor and the machine.
#![no_std]
#![no_main]

use bare_metal_runtime::{framework, image_main};

image_main!(main);

fn main() -> ! {
    framework::finish(framework::run(&[], || ()))
}
