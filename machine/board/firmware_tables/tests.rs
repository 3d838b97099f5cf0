//! The tables are checked in three ways: by the rules of the format here, by iasl (from Debian's acpica-tools) when it is
//! installed, and by the kernels that boot on the machine.

use super::*;
use std::process::Command;

fn large_layout() -> Layout {
    Layout {
        ram_bytes: 6 << 30,
        apic_ids: (0..300).collect(),
        mmio64: Some((0x80_0000_0000, 0xff_ffff_ffff)),
        dmar: Some(DmarUnit {
            register_base: 0xfed9_0000,
            host_address_width: 46,
            io_apic_bus: 0,
            io_apic_device: 0x1e,
            io_apic_function: 7,
        }),
        ..Layout::default()
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn number(bytes: &[u8], offset: usize, len: usize) -> u64 {
    bytes[offset..offset + len].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn blob<'a>(tables: &'a FirmwareTables, what: &str) -> &'a Blob {
    tables.blobs.iter().find(|blob| blob.what == what).unwrap()
}

/// The table at an address, as an operating system would find it.
fn at(tables: &FirmwareTables, addr: u64) -> &Blob {
    tables.blobs.iter().find(|blob| blob.addr.get() == addr).unwrap()
}

#[test]
fn tables_from_root_pointer_are_reachable_with_valid_checksums() {
    for layout in [Layout::default(), large_layout()] {
        let tables = build(&layout).unwrap();
        assert_eq!(sum(&tables.rsdp[..20]), 0);
        assert_eq!(sum(&tables.rsdp), 0);
        let xsdt = at(&tables, number(&tables.rsdp, 24, 8));
        let rsdt = at(&tables, number(&tables.rsdp, 16, 4));
        let by_xsdt: Vec<u64> = xsdt.bytes[36..].chunks(8).map(|entry| number(entry, 0, 8)).collect();
        let by_rsdt: Vec<u64> = rsdt.bytes[36..].chunks(4).map(|entry| number(entry, 0, 4)).collect();
        assert_eq!(by_xsdt, by_rsdt);
        let names: Vec<&str> = by_xsdt.iter().map(|addr| at(&tables, *addr).what).collect();
        let expected: &[&str] = if layout.dmar.is_some() {
            &["FACP", "APIC", "HPET", "MCFG", "DMAR"]
        } else {
            &["FACP", "APIC", "HPET", "MCFG"]
        };
        assert_eq!(names, expected);
        let fadt = blob(&tables, "FACP");
        assert_eq!(at(&tables, number(&fadt.bytes, 140, 8)).what, "DSDT");
        assert_eq!(at(&tables, number(&fadt.bytes, 36, 4)).what, "FACS");
        for table in by_xsdt.iter().map(|addr| at(&tables, *addr)).chain([xsdt, rsdt, blob(&tables, "DSDT")]) {
            assert_eq!(&table.bytes[..4], table.what.as_bytes());
            assert_eq!(number(&table.bytes, 4, 4), table.bytes.len() as u64);
            assert_eq!(sum(&table.bytes), 0, "{}", table.what);
        }
    }
}

#[test]
fn tables_lie_in_ranges_of_the_memory_map_that_are_not_ram_for_the_kernel() {
    let tables = build(&large_layout()).unwrap();
    for blob in &tables.blobs {
        let (start, end) = (blob.addr.get(), blob.addr.get() + blob.bytes.len() as u64);
        let entry =
            tables.memory_map.iter().find(|entry| entry.start <= start && end <= entry.start + entry.len).unwrap();
        let kind = match blob.what {
            "FACS" => E820Type::AcpiNvs,
            "RSDP" | "extended BIOS data area" | "real-mode services" => E820Type::Reserved,
            "BIOS data area" | "real-mode vectors" => E820Type::Ram,
            _ => E820Type::Acpi,
        };
        assert_eq!(entry.kind, kind, "{}", blob.what);
    }
    assert!(blob(&tables, "FACS").addr.get().is_multiple_of(64));
}

#[test]
fn memory_map_with_6_gib_continues_above_4_gib() {
    let layout = large_layout();
    let map = memory_map(&layout).unwrap();
    assert!(map.windows(2).all(|pair| pair[0].start + pair[0].len <= pair[1].start));
    let ram: u64 = map.iter().filter(|entry| entry.kind == E820Type::Ram).map(|entry| entry.len).sum();
    let tables: u64 = map
        .iter()
        .filter(|entry| matches!(entry.kind, E820Type::Acpi | E820Type::AcpiNvs))
        .map(|entry| entry.len)
        .sum();
    assert_eq!(ram + tables + (HOLE_END - EBDA_START), layout.ram_bytes);
    assert_eq!(map.last().unwrap(), &E820Entry::range(1 << 32, (1 << 32) + (6 << 30) - 0xb000_0000, E820Type::Ram));
    assert!(map.contains(&E820Entry { start: 0xb000_0000, len: 256 << 20, kind: E820Type::Reserved }));
}

#[test]
fn layout_that_contradicts_itself_is_refused() {
    let default = Layout::default;
    let refused = [
        Layout { ram_bytes: 1 << 20, ..default() },
        Layout { ram_bytes: (64 << 20) + 1, ..default() },
        Layout { ram_bytes: !0xfff, ..default() },
        Layout { apic_ids: Vec::new(), ..default() },
        Layout { apic_ids: vec![0; 4097], ..default() },
        Layout { ecam_base: 0x0000_0000, ..default() },
        Layout { ecam_base: 0x9000_0000, ram_bytes: 4 << 30, ..default() },
        Layout { ecam_base: !((1 << 28) - 1), ..default() },
        Layout { ecam_buses: 257, ..default() },
        Layout { mmio32: (0xb800_0000, 0xfebf_ffff), ..default() },
        Layout { mmio32: (0xc000_0000, 0xbfff_ffff), ..default() },
        Layout { mmio64: Some((1 << 32, 1 << 40)), ram_bytes: 4 << 30, ..default() },
        Layout { rsdp_address: 0x1000, ..default() },
        Layout { sci_irq: 16, ..default() },
    ];
    for layout in refused {
        assert!(build(&layout).is_err(), "{layout:?}");
    }
}

#[test]
fn madt_with_300_processors_uses_x2apic_entries_above_254() {
    let tables = build(&large_layout()).unwrap();
    let madt = &blob(&tables, "APIC").bytes;
    let (mut offset, mut local, mut x2) = (44, 0, 0);
    let mut overrides = Vec::new();
    while offset < madt.len() {
        match madt[offset] {
            0 => local += 1,
            2 => overrides.push((madt[offset + 3], number(madt, offset + 4, 4), number(madt, offset + 8, 2))),
            9 => x2 += 1,
            _ => {}
        }
        offset += usize::from(madt[offset + 1]);
    }
    assert_eq!((offset, local, x2), (madt.len(), 255, 45));
    assert_eq!(overrides, [(0, 2, 0), (9, 9, 0xd)]);
}

#[test]
fn pci_gsi_of_any_pin_is_an_io_apic_input_above_15() {
    assert_eq!((pci_gsi(0, 0), pci_gsi(3, 1), pci_gsi(7, 1)), (16, 20, 16));
    assert!((0..=255).all(|slot| (0..=255).all(|pin| (16..24).contains(&pci_gsi(slot, pin)))));
}

#[test]
fn real_mode_vectors_lead_into_the_services() {
    let tables = build(&Layout::default()).unwrap();
    let (vectors, services) = (blob(&tables, "real-mode vectors"), blob(&tables, "real-mode services"));
    assert_eq!((vectors.addr.get(), vectors.bytes.len()), (0, 1024));
    for vector in vectors.bytes.chunks(4) {
        let addr = number(vector, 2, 2) * 16 + number(vector, 0, 2);
        assert!((services.addr.get()..services.addr.get() + 0x100).contains(&addr));
    }
    // The data: E801h and 88h tell of 512 MiB less the tables, and E820h of the whole map.
    let data = &services.bytes[0x100..];
    assert_eq!(number(data, 0, 2), tables.memory_map.len() as u64);
    assert_eq!((number(data, 2, 2), number(data, 6, 2)), (15 << 10, 0xfc00));
    assert_eq!(number(data, 4, 2), (496 << 4) - 1);
    let entries: Vec<u8> = tables.memory_map.iter().flat_map(|entry| entry.to_bytes()).collect();
    assert_eq!(data[8..], entries);
    let ranges: Vec<_> =
        tables.blobs.iter().map(|blob| (blob.addr.get(), blob.addr.get() + blob.bytes.len() as u64)).collect();
    for (index, one) in ranges.iter().enumerate() {
        assert!(ranges[..index].iter().all(|other| one.1 <= other.0 || other.1 <= one.0));
    }
}

/// Writes each table to a file, disassembles it and compiles it again; the result must be the same code.
#[test]
fn tables_through_iasl_disassemble_and_recompile_without_errors() {
    if Command::new("iasl").arg("-v").output().is_err() {
        eprintln!("iasl is not installed (Debian: acpica-tools); skipped");
        return;
    }
    for (label, layout) in [("small", Layout::default()), ("large", large_layout())] {
        let dir = std::env::temp_dir().join(format!("undercroft-iasl-{}-{label}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for blob in build(&layout).unwrap().blobs {
            if blob.what.len() != 4 || blob.what == "RSDP" {
                continue;
            }
            let binary = dir.join(format!("{}.aml", blob.what));
            std::fs::write(&binary, &blob.bytes).unwrap();
            let source = binary.with_extension("dsl");
            run_iasl(&["-d", binary.to_str().unwrap()]);
            let again = dir.join(format!("{}-again", blob.what));
            run_iasl(&["-p", again.to_str().unwrap(), source.to_str().unwrap()]);
            let recompiled = std::fs::read(again.with_extension("aml")).unwrap();
            // The compiler puts its own name and version into a DSDT's header, and its checksum follows.
            assert_eq!(recompiled.len(), blob.bytes.len(), "{}", blob.what);
            assert_eq!(recompiled[36..], blob.bytes[36..], "{}", blob.what);
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

fn run_iasl(arguments: &[&str]) {
    let output = Command::new("iasl").args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "iasl {arguments:?}: {text}");
    assert!(!text.contains("Error") || text.contains("0 Errors"), "iasl {arguments:?}: {text}");
    println!("{text}");
}
