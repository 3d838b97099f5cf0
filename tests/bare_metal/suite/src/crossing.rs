//! x
//! Intel SDM volume 3, "Access Rights", "Protection Keys"; volume 1, "User-Mode Instruction Prevention".

use bare_metal_runtime::framework::Check;
use bare_metal_runtime::tests;

tests! {
    placeholder,
}

fn placeholder(_: &mut Check) {}
