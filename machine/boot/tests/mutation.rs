//! Damaged images: each kind is loaded ten thousand times with random changes. Nothing may panic, and whatever is loaded has an
//! entry point in the image and claims that do not overlap.

use super::elf_images::{Part, elf, header1, header2, pvh_note, tag2};
use super::*;

/// The generator xorshift64*: the same numbers on each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }
}

/// RAM that keeps nothing, so that a case costs little; it still knows where it ends.
struct Discard(u64);

impl BootMemory for Discard {
    fn write(&mut self, addr: PhysAddr, data: &[u8]) -> Result<(), NoRamHere> {
        self.zero(addr, data.len() as u64)
    }

    fn zero(&mut self, addr: PhysAddr, len: u64) -> Result<(), NoRamHere> {
        let end = addr.get().checked_add(len).ok_or(NoRamHere)?;
        if end <= self.0 { Ok(()) } else { Err(NoRamHere) }
    }
}

/// Values that are likely to break arithmetic.
const EXTREMES: [u32; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];

/// Changes one to four places: bytes, or aligned words that become extreme. Sometimes cuts the end off.
fn mutate(image: &[u8], within: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut image = image.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(within.min(image.len()));
        let value = match numbers.below(3) {
            0 => (numbers.next() as u32).to_le_bytes(),
            _ => EXTREMES[numbers.below(EXTREMES.len())].to_le_bytes(),
        };
        match numbers.below(3) {
            0 => image[at] ^= 1 << numbers.below(8),
            _ => {
                let at = at & !3;
                let len = (image.len() - at).min(4);
                image[at..at + len].copy_from_slice(&value[..len]);
            }
        }
    }
    if numbers.below(16) == 0 {
        image.truncate(numbers.below(image.len() + 1));
    }
    image
}

/// Mutates only the first `within` bytes, where the headers are.
fn survive(image: &[u8], within: usize, seed: u64, protocol: Option<Protocol>) {
    let tables = build(&layout(64)).unwrap();
    let modules = [Module { data: &[1; 100], command_line: "m" }];
    let mut numbers = Numbers(seed);
    let (mut loaded, mut refused) = (0, 0);
    for case in 0..10_000 {
        let image = mutate(image, within, &mut numbers);
        let request = BootRequest {
            image: &image,
            command_line: "console=ttyS0",
            modules: &modules,
            memory_map: &tables.memory_map,
            rsdp: Some((tables.rsdp_address, tables.rsdp)),
            protocol,
        };
        match load(&mut Discard(64 << 20), &request) {
            Ok(outcome) => {
                loaded += 1;
                let mut claims = outcome.claims;
                claims.sort_by_key(|claim| claim.start);
                assert!(claims.windows(2).all(|pair| pair[0].end <= pair[1].start), "case {case}: {claims:x?}");
                let rip = outcome.entry.rip;
                let kernel = claims.iter().find(|claim| claim.start <= rip && rip < claim.end);
                assert_eq!(kernel.map(|claim| claim.what), Some("kernel"), "case {case}: {rip:#x}");
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().len() > 20);
            }
        }
    }
    // Both ways were taken often: the mutations are neither harmless nor only destructive.
    assert!(loaded > 100 && refused > 100, "{loaded} loaded, {refused} refused");
}

#[test]
fn bzimage_when_mutated_never_panics() {
    let image = bzimage(&[0x90; 2000]);
    survive(&image, 0x270, 1, None);
    survive(&image, image.len(), 2, Some(Protocol::Linux));
}

#[test]
fn pvh_elf_when_mutated_never_panics() {
    for (is_64, seed) in [(false, 3), (true, 4)] {
        let parts = [
            Part::load(0x20_0000, &[0x90; 64], 0x1000),
            Part::load(0x30_0000, &[1; 64], 64),
            pvh_note(0x20_0000, 4, 4),
        ];
        survive(&elf(is_64, 0x20_0000, &parts, Some(&[3; 40])), 600, seed, None);
    }
}

#[test]
fn multiboot1_elf_when_mutated_never_panics() {
    for (is_64, seed) in [(false, 5), (true, 6)] {
        let file = elf(is_64, 0x20_0000, &[Part::load(0x20_0000, &header1(3, &[]), 0x1000)], Some(&[3; 40]));
        survive(&file, file.len(), seed, None);
    }
}

#[test]
fn multiboot1_address_fields_when_mutated_never_panic() {
    let mut file = header1(1 << 16, &[0x20_0000, 0x20_0000, 0x20_0080, 0x20_3000, 0x20_0070]);
    file.resize(0x100, 0x90);
    survive(&file, 64, 7, None);
}

#[test]
fn multiboot2_tags_when_mutated_never_panic() {
    let header = header2(&[
        tag2(1, 0, &[1, 4, 6]),
        tag2(5, 1, &[0, 0, 0]),
        tag2(10, 0, &[0x10_0000, 0xffff_ffff, 0x1000, 2]),
        tag2(6, 0, &[]),
    ]);
    let file = elf(false, 0x20_0000, &[Part::load(0x20_0000, &header, 0x1000)], Some(&[3; 40]));
    survive(&file, file.len(), 8, None);
    let mut flat = header2(&[tag2(2, 0, &[0x20_0000, 0x20_0000, 0, 0x20_2000]), tag2(3, 0, &[0x20_0040])]);
    flat.resize(0x100, 0x90);
    survive(&flat, 96, 9, None);
}

#[test]
fn gzip_stream_when_mutated_never_panics() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bzimage(&[0x90; 2000])).unwrap();
    let image = encoder.finish().unwrap();
    let mut numbers = Numbers(10);
    let refused = (0..10_000).filter(|_| recognise(&mutate(&image, image.len(), &mut numbers)).is_err()).count();
    assert!(refused > 5000, "{refused}");
}
