//! Images built here, as small as their protocols allow, and the real kernels of `inputs/` when they are there.

mod elf_images;
mod mutation;

use super::*;
use crate::board::firmware_tables::{E820Type, Layout, build, memory_map};

/// RAM from address 0 on.
struct VecMemory(Vec<u8>);

impl BootMemory for VecMemory {
    fn write(&mut self, addr: PhysAddr, data: &[u8]) -> Result<(), NoRamHere> {
        let start = usize::try_from(addr.get()).map_err(|_| NoRamHere)?;
        let end = start.checked_add(data.len()).ok_or(NoRamHere)?;
        self.0.get_mut(start..end).ok_or(NoRamHere)?.copy_from_slice(data);
        Ok(())
    }
}

impl VecMemory {
    fn number(&self, addr: u64, len: usize) -> u64 {
        let addr = addr as usize;
        self.0[addr..addr + len].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

fn layout(mib: u64) -> Layout {
    Layout { ram_bytes: mib << 20, ..Layout::default() }
}

/// A kernel of protocol 2.15 that prefers 16 MiB; its protected-mode part is `payload`.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 1024];
    let mut put = |offset: usize, bytes: &[u8]| image[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x1f4, &(payload.len().div_ceil(16) as u32).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x20fu16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(0x230, &0x20_0000u32.to_le_bytes());
    put(0x234, &[1]);
    put(0x236, &1u16.to_le_bytes());
    put(0x238, &2047u32.to_le_bytes());
    put(0x258, &0x100_0000u64.to_le_bytes());
    put(0x260, &0x40_0000u32.to_le_bytes());
    image.extend_from_slice(payload);
    image
}

struct Outcome {
    memory: VecMemory,
    loaded: Result<Loaded, BootError>,
}

fn boot(mib: u64, image: &[u8], command_line: &str, modules: &[Module<'_>]) -> Outcome {
    let tables = build(&layout(mib)).unwrap();
    let mut memory = VecMemory(vec![0; (mib << 20) as usize]);
    let request = BootRequest {
        image,
        command_line,
        modules,
        memory_map: &tables.memory_map,
        rsdp: Some((tables.rsdp_address, tables.rsdp)),
        protocol: None,
    };
    let loaded = load(&mut memory, &request);
    Outcome { memory, loaded }
}

#[test]
fn bzimage_with_64_bit_entry_is_entered_in_long_mode() {
    let payload: Vec<u8> = (0..0x3000u32).map(|byte| byte as u8).collect();
    let initrd = Module { data: b"a small archive", command_line: "" };
    let Outcome { memory, loaded } = boot(64, &bzimage(&payload), "console=ttyS0", &[initrd]);
    let loaded = loaded.unwrap();
    let entry = &loaded.entry;
    assert_eq!((loaded.protocol, entry.mode, entry.rip), (Protocol::Linux, EntryMode::Long64, 0x100_0200));
    assert_eq!(&memory.0[0x100_0000..0x100_3000], &payload[..]);

    let zero_page = entry.gpr[gpr::RSI];
    assert_eq!(memory.number(zero_page + 0x202, 4), 0x5372_6448);
    assert_eq!(memory.number(zero_page + 0x210, 1), 0xff);
    assert_eq!(memory.number(zero_page + 0x070, 8), 0xf_0000);
    let command_line = memory.number(zero_page + 0x228, 4) as usize;
    assert_eq!(&memory.0[command_line..command_line + 14], b"console=ttyS0\0");
    let (start, len) = (memory.number(zero_page + 0x218, 4) as usize, memory.number(zero_page + 0x21c, 4) as usize);
    assert_eq!(&memory.0[start..start + len], b"a small archive");
    assert!(start.is_multiple_of(4096) && start > 60 << 20);
    let map = memory_map(&layout(64)).unwrap();
    assert_eq!(memory.number(zero_page + 0x1e8, 1), map.len() as u64);
    assert_eq!(memory.number(zero_page + 0x2d0 + 20 * 3, 8), 0x10_0000);
    assert_eq!(memory.number(zero_page + 0x2d0 + 20 * 3 + 16, 4), E820Type::Ram as u64);
}

#[test]
fn long_mode_page_tables_map_the_low_4_gib_to_themselves() {
    let Outcome { memory, loaded } = boot(64, &bzimage(&[0; 64]), "", &[]);
    let entry = loaded.unwrap().entry;
    for addr in [0u64, 0x100_0200, 0x7fff_f123, 0xfee0_0030, 0xffff_ffff] {
        let pml4e = memory.number(entry.cr3, 8);
        let pdpte = memory.number((pml4e & !0xfff) + (addr >> 30) * 8, 8);
        let pde = memory.number((pdpte & !0xfff) + (addr >> 21 & 511) * 8, 8);
        assert_eq!((pml4e & 3, pdpte & 3, pde & 0x83), (3, 3, 0x83));
        assert_eq!((pde & !0x1f_ffff) + (addr & 0x1f_ffff), addr);
    }
    // The hidden parts agree with the descriptors in memory.
    assert_eq!(memory.number(entry.gdtr.base + u64::from(BOOT_CS), 8), 0x00af_9b00_0000_ffff);
    assert_eq!(memory.number(entry.gdtr.base + u64::from(BOOT_DS), 8), 0x00cf_9300_0000_ffff);
    assert_eq!(entry.gdtr.limit, 47);
}

#[test]
fn bzimage_without_64_bit_entry_is_entered_in_protected_mode() {
    let mut image = bzimage(&[0; 64]);
    image[0x236] = 0;
    let entry = boot(64, &image, "", &[]).loaded.unwrap().entry;
    assert_eq!((entry.mode, entry.rip, entry.cr0, entry.efer), (EntryMode::Protected32, 0x100_0000, 0x11, 0));
    assert_ne!(entry.gpr[gpr::RSI], 0);
    assert_eq!((entry.gpr[gpr::RBX], entry.gpr[gpr::RBP], entry.gpr[gpr::RDI]), (0, 0, 0));
}

#[test]
fn bzimage_that_is_not_usable_is_refused_with_a_reason() {
    type Change = fn(&mut Vec<u8>);
    type Check = fn(&BootError) -> bool;
    let cases: [(Change, Check); 7] = [
        (|image| image.truncate(1100), |error| matches!(error, BootError::Truncated { .. })),
        (|image| image[0x206] = 5, |error| matches!(error, BootError::LinuxProtocolTooOld { major: 2, minor: 5 })),
        (|image| image[0x211] = 0, |error| matches!(error, BootError::LinuxZImage)),
        (|image| image[0x201] = 0, |error| matches!(error, BootError::BadField { field: "jump", .. })),
        (|image| image[0x230] = 3, |error| matches!(error, BootError::BadField { field: "kernel_alignment", .. })),
        (|image| image[0x263] = 0x10, |error| matches!(error, BootError::NoRoom { what: "kernel", .. })),
        (
            |image| image[0x238..0x23a].copy_from_slice(&[4, 0]),
            |error| matches!(error, BootError::CommandLineTooLong { len: 5, limit: 4 }),
        ),
    ];
    for (index, (change, is_expected)) in cases.into_iter().enumerate() {
        let mut image = bzimage(&[0; 1024]);
        change(&mut image);
        let error = boot(64, &image, "quiet", &[]).loaded.unwrap_err();
        assert!(is_expected(&error), "case {index}: {error}");
    }
}

/// A file of `inputs/`, or None with a word about it.
fn input(file: &str) -> Option<Vec<u8>> {
    let image = std::fs::read(format!("{}/../inputs/{file}", env!("CARGO_MANIFEST_DIR"))).ok();
    if image.is_none() {
        eprintln!("inputs/{file} is not there; skipped");
    }
    image
}

#[test]
fn debian_kernel_from_inputs_is_placed_where_it_prefers() {
    for image in ["vmlinuz", "vmlinuz-generic"].into_iter().filter_map(input) {
        let loaded = boot(256, &image, "console=ttyS0", &[]).loaded.unwrap();
        assert_eq!((loaded.entry.mode, loaded.entry.rip), (EntryMode::Long64, 0x100_0200));
    }
}

#[test]
fn kernel_too_large_for_memory_is_refused_naming_the_kernel() {
    let error = boot(16, &bzimage(&[0; 64]), "", &[]).loaded.unwrap_err();
    assert!(matches!(error, BootError::NoRoom { what: "kernel", .. }), "{error}");
}

#[test]
fn kernel_where_preferred_place_is_taken_goes_to_next_aligned_place() {
    let map = [
        E820Entry::range(0, 0xa_0000, E820Type::Ram),
        E820Entry::range(0x10_0000, 64 << 20, E820Type::Ram),
        E820Entry::range(0x110_0000, 0x110_1000, E820Type::Reserved),
    ];
    let image = bzimage(&[0x90; 64]);
    let request =
        BootRequest { image: &image, command_line: "", modules: &[], memory_map: &map, rsdp: None, protocol: None };
    let loaded = load(&mut VecMemory(vec![0; 64 << 20]), &request).unwrap();
    assert_eq!(loaded.entry.rip, 0x120_0200);

    // A kernel that cannot be moved is refused there.
    let mut fixed = image.clone();
    fixed[0x234] = 0;
    let error = load(&mut VecMemory(vec![0; 64 << 20]), &BootRequest { image: &fixed, ..request }).unwrap_err();
    assert!(matches!(error, BootError::NotRam { what: "kernel", .. }), "{error}");
}

#[test]
fn gzip_compressed_image_is_decompressed_first() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bzimage(&[7; 4096])).unwrap();
    let mut image = encoder.finish().unwrap();
    assert_eq!(recognise(&image), Ok(Protocol::Linux));
    image.truncate(image.len() / 2);
    assert!(matches!(recognise(&image), Err(BootError::Gzip { .. })));
}

#[test]
fn file_of_no_kind_is_refused() {
    assert_eq!(recognise(b""), Err(BootError::Unrecognised));
    assert_eq!(recognise(&[0xeb; 70000]), Err(BootError::Unrecognised));
    let error = boot(64, &bzimage(&[0; 64]), "a\0b", &[]).loaded.unwrap_err();
    assert_eq!(error, BootError::CommandLineZero);
}

#[test]
fn memory_map_that_lies_about_ram_is_refused() {
    let map = [E820Entry::range(0, 0xa_0000, E820Type::Ram), E820Entry::range(0x10_0000, 64 << 20, E820Type::Ram)];
    let image = bzimage(&[0x90; 64]);
    let request =
        BootRequest { image: &image, command_line: "", modules: &[], memory_map: &map, rsdp: None, protocol: None };
    let error = load(&mut VecMemory(vec![0; 1 << 20]), &request).unwrap_err();
    assert_eq!(error, BootError::Write { start: 0x100_0000, len: 64 });
}
