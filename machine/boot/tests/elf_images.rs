//! PVH and multiboot, with ELF files and flat images that are built here.

use super::*;

/// A segment of a file under construction.
pub(super) struct Part {
    pub kind: u32,
    pub vaddr: u64,
    pub paddr: u64,
    pub data: Vec<u8>,
    pub memsz: u64,
    pub align: u64,
}

impl Part {
    /// A loadable segment at the same virtual and physical address.
    pub(super) fn load(addr: u64, data: &[u8], memsz: u64) -> Self {
        Self { kind: 1, vaddr: addr, paddr: addr, data: data.to_vec(), memsz, align: 0x1000 }
    }
}

/// An ELF file with these segments; with `symbols`, sections for a symbol table and its strings.
pub(super) fn elf(is_64: bool, entry: u64, parts: &[Part], symbols: Option<&[u8]>) -> Vec<u8> {
    let (header_len, entry_len, section_len) = if is_64 { (64, 56, 64) } else { (52, 32, 40) };
    let mut contents_at = (header_len + entry_len * parts.len()).next_multiple_of(16);
    let (mut headers, mut contents) = (Vec::new(), Vec::new());
    for part in parts {
        let (offset, filesz) = (contents_at as u64, part.data.len() as u64);
        if is_64 {
            headers.extend([part.kind, 7].iter().flat_map(|word| word.to_le_bytes()));
            let fields = [offset, part.vaddr, part.paddr, filesz, part.memsz, part.align];
            headers.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        } else {
            let fields = [part.kind.into(), offset, part.vaddr, part.paddr, filesz, part.memsz, 7, part.align];
            headers.extend(fields.iter().flat_map(|field| (*field as u32).to_le_bytes()));
        }
        contents.extend_from_slice(&part.data);
        contents.resize(contents.len().next_multiple_of(16), 0);
        contents_at = (header_len + entry_len * parts.len()).next_multiple_of(16) + contents.len();
    }
    let mut sections = Vec::new();
    let sections_at = contents_at + symbols.map_or(0, <[u8]>::len);
    if let Some(symbols) = symbols {
        let fields = |kind: u64, offset: usize, size: usize| [0, kind, 0, 0, offset as u64, size as u64, 0, 0, 16, 0];
        for fields in [fields(0, 0, 0), fields(2, contents_at, symbols.len())] {
            for (index, field) in fields.into_iter().enumerate() {
                // Name, type, link and info stay 32 bits wide.
                let width = if is_64 && ![0, 1, 6, 7].contains(&index) { 8 } else { 4 };
                sections.extend_from_slice(&field.to_le_bytes()[..width]);
            }
        }
        contents.extend_from_slice(symbols);
    }
    let mut file = b"\x7fELF".to_vec();
    file.extend_from_slice(&[if is_64 { 2 } else { 1 }, 1, 1]);
    file.resize(16, 0);
    file.extend([2u16, if is_64 { 62 } else { 3 }].iter().flat_map(|half| half.to_le_bytes()));
    file.extend_from_slice(&1u32.to_le_bytes());
    let shoff = if symbols.is_some() { sections_at as u64 } else { 0 };
    for field in [entry, header_len as u64, shoff] {
        file.extend_from_slice(&field.to_le_bytes()[..if is_64 { 8 } else { 4 }]);
    }
    file.extend_from_slice(&[0; 4]);
    let shnum = if symbols.is_some() { 2 } else { 0 };
    for half in [header_len, entry_len, parts.len(), section_len, shnum, 0] {
        file.extend_from_slice(&(half as u16).to_le_bytes());
    }
    assert_eq!(file.len(), header_len);
    file.extend(headers);
    file.resize((header_len + entry_len * parts.len()).next_multiple_of(16), 0);
    file.extend(contents);
    file.extend(sections);
    file
}

/// A note that names the PVH entry point, with a descriptor of `width` bytes.
pub(super) fn pvh_note(entry: u64, width: usize, align: u64) -> Part {
    let mut data: Vec<u8> = [4, width as u32, 18].iter().flat_map(|word| word.to_le_bytes()).collect();
    data.extend_from_slice(b"Xen\0");
    data.resize(data.len().next_multiple_of(align as usize), 0);
    data.extend_from_slice(&entry.to_le_bytes()[..width]);
    let memsz = data.len() as u64;
    Part { kind: 4, vaddr: 0, paddr: 0, data, memsz, align }
}

/// A multiboot 1 header with these flags and further words.
pub(super) fn header1(flags: u32, rest: &[u32]) -> Vec<u8> {
    let checksum = 0u32.wrapping_sub(0x1bad_b002).wrapping_sub(flags);
    [0x1bad_b002, flags, checksum].iter().chain(rest).flat_map(|word| word.to_le_bytes()).collect()
}

/// A tag of a multiboot 2 header.
pub(super) fn tag2(kind: u16, flags: u16, words: &[u32]) -> Vec<u8> {
    let mut tag: Vec<u8> = [kind, flags].iter().flat_map(|half| half.to_le_bytes()).collect();
    tag.extend_from_slice(&(8 + words.len() as u32 * 4).to_le_bytes());
    tag.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    tag.resize(tag.len().next_multiple_of(8), 0);
    tag
}

/// A multiboot 2 header with these tags and the end tag.
pub(super) fn header2(tags: &[Vec<u8>]) -> Vec<u8> {
    let len = 16 + tags.iter().map(Vec::len).sum::<usize>() as u32 + 8;
    let checksum = 0u32.wrapping_sub(0xe852_50d6).wrapping_sub(len);
    let mut header: Vec<u8> = [0xe852_50d6, 0, len, checksum].iter().flat_map(|word| word.to_le_bytes()).collect();
    header.extend(tags.iter().flatten());
    header.extend(tag2(0, 0, &[]));
    header
}

fn string_at(memory: &VecMemory, addr: u64) -> String {
    let bytes = &memory.0[addr as usize..];
    String::from_utf8(bytes[..bytes.iter().position(|byte| *byte == 0).unwrap()].to_vec()).unwrap()
}

fn bytes_at(memory: &VecMemory, start: u64, end: u64) -> &[u8] {
    &memory.0[start as usize..end as usize]
}

const MODULES: [Module<'static>; 2] =
    [Module { data: b"first module", command_line: "one a=1" }, Module { data: &[0x5a; 5000], command_line: "" }];

#[test]
fn pvh_note_of_either_class_width_and_alignment_starts_the_kernel() {
    for (is_64, width, align) in [(false, 4, 4), (true, 4, 4), (true, 8, 4), (true, 8, 8)] {
        let high = Part {
            vaddr: if is_64 { 0xffff_ffff_8020_0000 } else { 0xc020_0000 },
            ..Part::load(0x20_0000, &[0xf4; 32], 0x2000)
        };
        let file = elf(is_64, high.vaddr, &[high, pvh_note(0x20_0010, width, align)], None);
        assert_eq!(recognise(&file), Ok(Protocol::Pvh));
        let mut memory = VecMemory(vec![0xcc; 32 << 20]);
        let tables = build(&layout(32)).unwrap();
        let request = BootRequest {
            image: &file,
            command_line: "hello",
            modules: &MODULES,
            memory_map: &tables.memory_map,
            rsdp: Some((tables.rsdp_address, tables.rsdp)),
            protocol: None,
        };
        let entry = load(&mut memory, &request).unwrap().entry;
        assert_eq!((entry.mode, entry.rip, entry.cr0), (EntryMode::Protected32, 0x20_0010, 0x11));
        // The rest of the segment is cleared.
        assert_eq!(bytes_at(&memory, 0x20_0000, 0x20_0020), [0xf4; 32]);
        assert!(bytes_at(&memory, 0x20_0020, 0x20_2000).iter().all(|byte| *byte == 0));

        let info = entry.gpr[gpr::RBX];
        let word = |offset| memory.number(info + offset, 4);
        let wide = |offset| memory.number(info + offset, 8);
        assert_eq!((word(0), word(4), word(12)), (0x336e_c578, 1, 2));
        assert_eq!(string_at(&memory, wide(24)), "hello");
        assert_eq!(wide(32), 0xf_0000);
        assert_eq!(word(48), tables.memory_map.len() as u64);
        for (index, entry) in tables.memory_map.iter().enumerate() {
            let at = wide(40) + 24 * index as u64;
            assert_eq!((memory.number(at, 8), memory.number(at + 8, 8)), (entry.start, entry.len));
            assert_eq!(memory.number(at + 16, 8), entry.kind as u64);
        }
        let list = wide(16);
        let first = memory.number(list, 8);
        assert_eq!(bytes_at(&memory, first, first + memory.number(list + 8, 8)), MODULES[0].data);
        assert_eq!(string_at(&memory, memory.number(list + 16, 8)), "one a=1");
        assert_eq!((memory.number(list + 40, 8), memory.number(list + 48, 8)), (5000, 0));
    }
}

#[test]
fn pvh_entry_outside_the_image_is_refused() {
    let file = elf(true, 0, &[Part::load(0x20_0000, &[0xf4; 32], 32), pvh_note(0x30_0000, 4, 4)], None);
    assert_eq!(boot(32, &file, "", &[]).loaded.unwrap_err(), BootError::EntryOutside { entry: 0x30_0000 });
}

#[test]
fn elf_without_any_protocol_is_refused_with_what_to_do() {
    let file = elf(true, 0x20_0000, &[Part::load(0x20_0000, &[0xf4; 32], 32)], None);
    assert_eq!(recognise(&file), Err(BootError::NoEntryProtocol));
}

#[test]
fn elf_segments_that_cannot_be_placed_are_refused() {
    let note = || pvh_note(0x20_0000, 4, 4);
    let twice = [Part::load(0x20_0000, &[1; 32], 0x1000), Part::load(0x20_0800, &[2; 32], 0x1000), note()];
    let error = boot(32, &elf(true, 0, &twice, None), "", &[]).loaded.unwrap_err();
    assert!(matches!(error, BootError::Overlap { what: "kernel", .. }), "{error}");
    let hole = [Part::load(0x20_0000, &[1; 32], 32), Part::load(0xa_0000, &[2; 32], 0x1000), note()];
    let error = boot(32, &elf(true, 0, &hole, None), "", &[]).loaded.unwrap_err();
    assert!(matches!(error, BootError::NotRam { what: "kernel", .. }), "{error}");
    let top = [Part::load(0x20_0000, &[1; 32], 32), Part::load(u64::MAX - 8, &[2; 32], 0x1000), note()];
    let error = boot(32, &elf(true, 0, &top, None), "", &[]).loaded.unwrap_err();
    assert!(matches!(error, BootError::NotRam { what: "kernel", end: u64::MAX, .. }), "{error}");
    let short = [Part::load(0x20_0000, &[1; 32], 16), note()];
    let error = boot(32, &elf(true, 0, &short, None), "", &[]).loaded.unwrap_err();
    assert!(matches!(error, BootError::BadField { field: "p_filesz", .. }), "{error}");
}

/// The boot information of multiboot 1, checked.
fn check_info1(memory: &VecMemory, entry: &EntryState) -> u64 {
    assert_eq!((entry.mode, entry.gpr[gpr::RAX]), (EntryMode::Protected32, 0x2bad_b002));
    let info = entry.gpr[gpr::RBX];
    let word = |offset| memory.number(info + offset, 4);
    assert_eq!((word(4), word(8)), (639, (32 << 10) - 1024 - 24));
    assert_eq!(string_at(memory, word(16)), "root=/dev/x");
    assert_eq!(word(20), 2);
    let (first, second) = (word(24), word(24) + 16);
    let field = |at| memory.number(at, 4);
    assert_eq!(bytes_at(memory, field(first), field(first + 4)), MODULES[0].data);
    assert_eq!(string_at(memory, field(first + 8)), "one a=1");
    assert_eq!(bytes_at(memory, field(second), field(second + 4)), MODULES[1].data);
    assert!(field(first).is_multiple_of(4096) && field(second).is_multiple_of(4096));
    assert_eq!((field(word(48)), memory.number(word(48) + 12, 8)), (20, 0x9_fc00));
    assert!(string_at(memory, word(64)).starts_with("Undercroft"));
    word(0)
}

#[test]
fn multiboot1_with_address_fields_loads_a_flat_image() {
    // The header is at 0x40 in the file, and at 0x200040 in memory.
    let mut file = vec![0x90; 0x40];
    file.extend(header1(1 << 16 | 3, &[0x20_0040, 0x20_0000, 0x20_0080, 0x20_3000, 0x20_0070]));
    file.resize(0x90, 0xee);
    let Outcome { memory, loaded } = boot(32, &file, "root=/dev/x", &MODULES);
    let entry = loaded.unwrap().entry;
    assert_eq!(entry.rip, 0x20_0070);
    assert_eq!(bytes_at(&memory, 0x20_0000, 0x20_0080), &file[..0x80]);
    assert_eq!(bytes_at(&memory, 0x20_0080, 0x20_0090), [0; 16]);
    assert_eq!(check_info1(&memory, &entry), 0b10_0100_1101);
}

#[test]
fn multiboot1_elf_of_either_class_is_loaded_with_its_symbols() {
    for is_64 in [false, true] {
        let vaddr = if is_64 { 0xffff_8000_0020_0000 } else { 0xc020_0000 };
        let text = Part { vaddr, ..Part::load(0x20_0000, &header1(3, &[]), 0x1000) };
        let file = elf(is_64, vaddr + 0x10, &[text], Some(b"symbol table"));
        let Outcome { memory, loaded } = boot(32, &file, "root=/dev/x", &MODULES);
        let entry = loaded.unwrap().entry;
        assert_eq!(entry.rip, 0x20_0010);
        assert_eq!(check_info1(&memory, &entry), 0b10_0110_1101);
        let info = entry.gpr[gpr::RBX];
        let (num, size, headers) =
            (memory.number(info + 28, 4), memory.number(info + 32, 4), memory.number(info + 36, 4));
        assert_eq!((num, size), (2, if is_64 { 64 } else { 40 }));
        let table = if is_64 { memory.number(headers + 64 + 16, 8) } else { memory.number(headers + 40 + 12, 4) };
        assert_eq!(bytes_at(&memory, table, table + 12), b"symbol table");
    }
}

#[test]
fn multiboot1_demands_that_cannot_be_met_are_refused() {
    for (flags, word) in [(1 << 2, "video"), (1 << 5, "flag 5")] {
        let file = elf(false, 0x20_0000, &[Part::load(0x20_0000, &header1(flags, &[]), 0x1000)], None);
        let error = boot(32, &file, "", &[]).loaded.unwrap_err();
        assert!(matches!(&error, BootError::Demand { version: 1, what } if what.contains(word)), "{error}");
    }
    let error = boot(32, &header1(0, &[]), "", &[]).loaded.unwrap_err();
    assert!(matches!(&error, BootError::Demand { version: 1, what } if what.contains("ELF")), "{error}");
}

#[test]
fn multiboot_header_with_wrong_checksum_is_named_only_if_nothing_else_is_found() {
    let mut header = header1(0, &[]);
    header[8] ^= 1;
    assert_eq!(recognise(&header), Err(BootError::HeaderChecksum { version: 1, offset: 0 }));
    let parts = [Part::load(0x20_0000, &header, 0x1000), pvh_note(0x20_0000, 4, 4)];
    assert_eq!(recognise(&elf(false, 0, &parts, None)), Ok(Protocol::Pvh));
}

#[test]
fn multiboot_header_behind_the_searched_part_is_not_found() {
    for (version, at, found) in
        [(1, 8192 - 12, true), (1, 8192 - 8, false), (2, 32768 - 24, true), (2, 32768 - 8, false)]
    {
        let mut file = vec![0; at];
        file.extend(if version == 1 { header1(0, &[]) } else { header2(&[]) });
        assert_eq!(recognise(&file).is_ok(), found, "{version} at {at}");
    }
}

/// The tags of the boot information of multiboot 2: type and contents.
fn tags_at(memory: &VecMemory, info: u64) -> Vec<(u64, Vec<u8>)> {
    let end = info + memory.number(info, 4);
    let (mut at, mut tags) = (info + 8, Vec::new());
    while at < end {
        let (kind, size) = (memory.number(at, 4), memory.number(at + 4, 4));
        tags.push((kind, bytes_at(memory, at + 8, at + size).to_vec()));
        at += size.next_multiple_of(8);
    }
    assert_eq!((at, tags.last().unwrap().0), (end, 0));
    tags
}

#[test]
fn multiboot2_with_address_tags_loads_a_flat_image_and_gives_all_information() {
    let mut file = header2(&[
        tag2(1, 0, &[1, 2, 3, 4, 6, 9, 14, 15, 21]),
        tag2(2, 0, &[0x20_0000, 0x20_0000, 0, 0x20_2000]),
        tag2(3, 0, &[0x20_0080]),
        tag2(5, 1, &[0, 0, 32]),
        tag2(6, 0, &[]),
        tag2(9, 1, &[0x20_0000]),
    ]);
    file.resize(0x100, 0xf4);
    let Outcome { memory, loaded } = boot(32, &file, "root=/dev/x", &MODULES);
    let loaded = loaded.unwrap();
    assert_eq!((loaded.protocol, loaded.entry.rip), (Protocol::Multiboot2, 0x20_0080));
    assert_eq!(loaded.entry.gpr[gpr::RAX], 0x36d7_6289);
    assert_eq!(bytes_at(&memory, 0x20_0000, 0x20_0100), file);
    let tags = tags_at(&memory, loaded.entry.gpr[gpr::RBX]);
    let kinds: Vec<u64> = tags.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 2, 3, 3, 4, 6, 14, 15, 0]);
    assert_eq!(tags[0].1, b"root=/dev/x\0");
    let word = |tag: usize, at: usize| u32::from_le_bytes(tags[tag].1[at..at + 4].try_into().unwrap());
    assert_eq!(bytes_at(&memory, word(2, 0).into(), word(2, 4).into()), MODULES[0].data);
    assert_eq!(&tags[2].1[8..], b"one a=1\0");
    assert_eq!(bytes_at(&memory, word(3, 0).into(), word(3, 4).into()), MODULES[1].data);
    assert_eq!((word(4, 0), word(5, 0)), (639, 24));
    assert_eq!(&tags[6].1[..8], b"RSD PTR ");
    assert_eq!((tags[6].1.len(), tags[7].1.len()), (20, 36));
}

#[test]
fn multiboot2_relocatable_elf_goes_where_it_prefers() {
    let image = |preference: u32, min: u32, max: u32| {
        let header = header2(&[tag2(10, 0, &[min, max, 0x10_0000, preference])]);
        elf(false, 0x20_0100, &[Part::load(0x20_0000, &header, 0x1800)], None)
    };
    for (preference, min, base) in [(0, 0, 0x20_0000), (0, 0x40_0000, 0x40_0000), (1, 0, 0x10_0000), (2, 0, 0x1f0_0000)]
    {
        let Outcome { memory, loaded } = boot(32, &image(preference, min, u32::MAX), "", &[]);
        let entry = loaded.unwrap().entry;
        assert_eq!(entry.rip, base + 0x100, "{preference} from {min:#x}");
        assert_eq!(memory.number(base, 4), 0xe852_50d6);
        let tags = tags_at(&memory, entry.gpr[gpr::RBX]);
        let load_base = tags.iter().find(|(kind, _)| *kind == 21).unwrap();
        assert_eq!(load_base.1, (base as u32).to_le_bytes());
    }
    let error = boot(32, &image(2, 0x20_0000, 0x20_1000), "", &[]).loaded.unwrap_err();
    assert!(matches!(error, BootError::NoRoom { what: "kernel", .. }), "{error}");
}

#[test]
fn multiboot2_demands_that_cannot_be_met_are_refused_by_name() {
    let cases: [(Vec<u8>, &str); 6] = [
        (tag2(1, 0, &[7]), "7 (VBE info)"),
        (tag2(1, 0, &[99]), "99 (unknown)"),
        (tag2(4, 0, &[1]), "console"),
        (tag2(5, 0, &[0, 0, 0]), "framebuffer"),
        (tag2(7, 0, &[]), "EFI boot services"),
        (tag2(77, 0, &[]), "unknown header tag 77"),
    ];
    for (tag, word) in cases {
        let mut optional = tag.clone();
        optional[2] = 1;
        for (tag, is_required) in [(tag, true), (optional, false)] {
            let file = elf(false, 0x20_0000, &[Part::load(0x20_0000, &header2(&[tag]), 0x1000)], None);
            match boot(32, &file, "", &[]).loaded {
                Err(BootError::Demand { version: 2, what }) => assert!(is_required && what.contains(word), "{what}"),
                other => assert!(!is_required && other.is_ok(), "{word}: {other:?}"),
            }
        }
    }
}

#[test]
fn protocols_of_a_file_with_all_of_them_are_tried_in_order() {
    let both = [header2(&[tag2(6, 0, &[])]), header1(3, &[])].concat();
    let parts = [Part::load(0x20_0000, &both, 0x1000), pvh_note(0x20_0000, 4, 4)];
    let file = elf(false, 0x20_0000, &parts, None);
    assert_eq!(recognise(&file), Ok(Protocol::Multiboot2));
    let tables = build(&layout(32)).unwrap();
    for protocol in [Protocol::Multiboot2, Protocol::Multiboot1, Protocol::Pvh, Protocol::Linux] {
        let request = BootRequest {
            image: &file,
            command_line: "",
            modules: &[],
            memory_map: &tables.memory_map,
            rsdp: None,
            protocol: Some(protocol),
        };
        match load(&mut VecMemory(vec![0; 32 << 20]), &request) {
            Ok(loaded) => assert_eq!(loaded.protocol, protocol),
            Err(error) => assert_eq!(error, BootError::ProtocolAbsent { wanted: Protocol::Linux }),
        }
    }
}

#[test]
fn xen_from_inputs_is_loaded_by_multiboot2_and_moved_high() {
    let Some(image) = input("xen") else { return };
    let loaded = boot(128, &image, "console=com1", &MODULES).loaded.unwrap();
    assert_eq!(loaded.protocol, Protocol::Multiboot2);
    assert!(loaded.entry.rip > 100 << 20, "{:#x}", loaded.entry.rip);
}
