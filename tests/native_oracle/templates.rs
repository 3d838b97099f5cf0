//! First contents of the writable pages, and the contents of the page that is only read.

use crate::layout::{MEMORY, PAGE, TEMPLATES};
use crate::random::Random;
use crate::values::{self, Kind};
use std::sync::OnceLock;

/// One of [`TEMPLATES`] contents of the writable pages.
pub fn template(n: usize) -> &'static [u8; MEMORY] {
    static ALL: OnceLock<Vec<Box<[u8; MEMORY]>>> = OnceLock::new();
    &ALL.get_or_init(|| (0..TEMPLATES).map(make).collect())[n % TEMPLATES]
}

fn make(n: usize) -> Box<[u8; MEMORY]> {
    let mut r = Random::new(0x7e3b_1a7e, n as u64);
    let mut memory = Box::new([0; MEMORY]);
    fill(&mut r, n, memory.as_mut_slice());
    memory
}

/// Contents of the page that is only read.
pub fn read_only() -> &'static [u8; PAGE as usize] {
    static PAGE_BYTES: OnceLock<Box<[u8; PAGE as usize]>> = OnceLock::new();
    PAGE_BYTES.get_or_init(|| {
        let mut page = Box::new([0; PAGE as usize]);
        fill(&mut Random::new(0x7e3b_1a7e, TEMPLATES as u64), TEMPLATES, page.as_mut_slice());
        page
    })
}

/// Stretches of 64 bytes, each of one kind; the first templates are uniform, so that string comparisons run long.
fn fill(r: &mut Random, n: usize, memory: &mut [u8]) {
    const KINDS: [Kind; 5] = [Kind::Integer, Kind::Float32, Kind::Float64, Kind::Float80, Kind::Any];
    match n {
        0 => {}
        1 => memory.fill(0xff),
        _ => {
            for stretch in memory.chunks_mut(64) {
                let kind = r.pick(&KINDS);
                stretch.copy_from_slice(&values::bytes(r, stretch.len(), kind));
            }
        }
    }
}
