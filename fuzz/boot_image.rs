//! Kernel images: `undercroft_machine::boot::load`.

use crate::Seeds;
use crate::input::Input;
use undercroft_machine::board::firmware_tables::{E820Entry, E820Type};
use undercroft_machine::boot::{BootMemory, BootRequest, Module, NoRamHere, Protocol, load};
use undercroft_spec::PhysAddr;

/// RAM of the machine in a case.
const RAM: u64 = 64 << 20;
/// The protocols that a case can insist on.
const PROTOCOLS: [Option<Protocol>; 5] =
    [None, Some(Protocol::Linux), Some(Protocol::Multiboot2), Some(Protocol::Multiboot1), Some(Protocol::Pvh)];

/// Holds no bytes, but knows where they may lie.
struct Bounds {
    map: Vec<E820Entry>,
    written: u64,
}

impl Bounds {
    fn check(&mut self, start: u64, len: u64) -> Result<(), NoRamHere> {
        let end = start.checked_add(len).ok_or(NoRamHere)?;
        let inside =
            |entry: &&E820Entry| entry.kind == E820Type::Ram && entry.start <= start && end <= entry.start + entry.len;
        assert!(self.map.iter().any(|entry| inside(&entry)), "{start:#x}..{end:#x} is not usable RAM");
        // Nothing needs to be written more than a few times: a loop that a header drives would be.
        self.written += len;
        assert!(self.written <= 4 * RAM, "{} bytes were written into {RAM}", self.written);
        Ok(())
    }
}

impl BootMemory for Bounds {
    fn write(&mut self, addr: PhysAddr, data: &[u8]) -> Result<(), NoRamHere> {
        self.check(addr.get(), data.len() as u64)
    }

    fn zero(&mut self, addr: PhysAddr, len: u64) -> Result<(), NoRamHere> {
        self.check(addr.get(), len)
    }
}

/// The first byte chooses protocol and modules; the others are the image.
pub fn fuzz_one(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = usize::from(input.byte());
    let modules = [Module { data: &[0x5a; 5000], command_line: "a module" }, Module { data: b"", command_line: "" }];
    let map = vec![
        E820Entry::range(0, 0x9_fc00, E820Type::Ram),
        E820Entry::range(0x9_fc00, 0xa_0000, E820Type::Reserved),
        E820Entry::range(0xf_0000, 0x10_0000, E820Type::Reserved),
        E820Entry::range(0x10_0000, RAM, E820Type::Ram),
    ];
    let mut bounds = Bounds { map: map.clone(), written: 0 };
    let request = BootRequest {
        image: input.rest(),
        command_line: "console=ttyS0",
        modules: &modules[..choice / 5 % 3],
        memory_map: &map,
        rsdp: Some((PhysAddr(0xf_0000), [0; 36])),
        protocol: PROTOCOLS[choice % 5],
    };
    // A refusal needs no more than its sentence.
    match load(&mut bounds, &request) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(loaded) => {
            let mut claims = loaded.claims;
            claims.sort_by_key(|claim| claim.start);
            for claim in &claims {
                assert!(claim.start <= claim.end && claim.end <= RAM, "{claim:?}");
            }
            for pair in claims.windows(2) {
                assert!(pair[0].end <= pair[1].start, "{pair:?} overlap");
            }
        }
    }
}

/// Puts little-endian numbers of `bytes` bytes at offsets.
fn put(image: &mut Vec<u8>, bytes: usize, fields: &[(usize, u64)]) {
    for (offset, value) in fields {
        if image.len() < offset + bytes {
            image.resize(offset + bytes, 0);
        }
        image[*offset..offset + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    }
}

/// The smallest image of each kind.
pub fn seeds() -> Seeds {
    // One byte of choice goes before each.
    vec![bzimage(0), bzimage(5), multiboot1(), multiboot2(), elf()]
}

fn bzimage(choice: u8) -> Vec<u8> {
    let mut image = vec![0; 0x600];
    put(&mut image, 1, &[(0x1f1, 1), (0x211, 1), (0x234, 1), (0x235, 21)]);
    put(&mut image, 2, &[(0x1fe, 0xaa55), (0x200, 0x6aeb), (0x206, 0x20f), (0x236, 1)]);
    put(&mut image, 4, &[(0x1f4, 0x20), (0x202, 0x5372_6448), (0x22c, 0x7fff_ffff), (0x230, 0x20_0000), (0x238, 2047)]);
    put(&mut image, 4, &[(0x260, 0x10_0000)]);
    put(&mut image, 8, &[(0x258, 0x100_0000)]);
    image.insert(0, choice);
    image
}

fn multiboot1() -> Vec<u8> {
    let mut image = vec![0; 128];
    let (magic, flags) = (0x1bad_b002u32, 0x1_0003u32);
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let header = [magic, flags, checksum, 0x10_0000, 0x10_0000, 0x10_0080, 0x10_1000, 0x10_0040];
    put(&mut image, 4, &header.map(u64::from).iter().enumerate().map(|(i, v)| (4 * i, *v)).collect::<Vec<_>>());
    image.insert(0, 5);
    image
}

fn multiboot2() -> Vec<u8> {
    let mut image = vec![0; 128];
    let (magic, length) = (0xe852_50d6u32, 72u32);
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(length);
    // Header, then tags: addresses (type 2), entry (type 3), end (type 0).
    let words =
        [magic, 0, length, checksum, 2, 24, 0x10_0000, 0x10_0000, 0x10_0080, 0x10_1000, 3, 12, 0x10_0060, 0, 0, 8];
    put(&mut image, 4, &words.map(u64::from).iter().enumerate().map(|(i, v)| (4 * i, *v)).collect::<Vec<_>>());
    image.insert(0, 5);
    image
}

/// A 64-bit ELF image with one segment and a PVH note.
fn elf() -> Vec<u8> {
    let mut image = vec![0; 0x200];
    image[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    put(&mut image, 2, &[(0x10, 2), (0x12, 62), (0x34, 64), (0x36, 56), (0x38, 2)]);
    put(&mut image, 4, &[(0x14, 1)]);
    put(&mut image, 8, &[(0x18, 0x10_0100), (0x20, 64)]);
    // PT_LOAD: the whole file at 1 MiB.
    put(&mut image, 4, &[(0x40, 1), (0x44, 5)]);
    put(
        &mut image,
        8,
        &[(0x48, 0), (0x50, 0x10_0000), (0x58, 0x10_0000), (0x60, 0x200), (0x68, 0x1000), (0x70, 0x1000)],
    );
    // PT_NOTE: XEN_ELFNOTE_PHYS32_ENTRY (18), owner "Xen".
    put(&mut image, 4, &[(0x78, 4), (0x7c, 4)]);
    put(&mut image, 8, &[(0x80, 0x180), (0x88, 0x10_0180), (0x90, 0x10_0180), (0x98, 20), (0xa0, 20), (0xa8, 4)]);
    put(&mut image, 4, &[(0x180, 4), (0x184, 4), (0x188, 18), (0x18c, 0x006e_6558), (0x190, 0x10_0100)]);
    image.insert(0, 0);
    image
}
