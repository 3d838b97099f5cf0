//! The few ACPI tables the images need: RSDP, RSDT or XSDT, FADT, MADT, HPET, and \_S5 for power-off.
//! ACPI specification, "ACPI Software Programming Model".

unsafe fn read<T: Copy>(address: u64) -> T {
    (address as *const T).read_unaligned()
}

unsafe fn checksum_is_zero(address: u64, length: u64) -> bool {
    (0..length).fold(0u8, |sum, i| sum.wrapping_add(read::<u8>(address + i))) == 0
}

/// Looks for the root pointer where a PC's firmware leaves it: the first KiB of the EBDA, and 0xE0000 to 0xFFFFF.
pub(crate) unsafe fn search_rsdp() -> u64 {
    let ebda = (core::hint::black_box(0x40E as *const u16).read_volatile() as u64) << 4;
    let in_ebda = if (0x400..0xA_0000 - 1024).contains(&ebda) { ebda..ebda + 1024 } else { 0..0 };
    for range in [in_ebda, 0xE_0000..0x10_0000] {
        for at in range.step_by(16) {
            if read::<u64>(at) == u64::from_le_bytes(*b"RSD PTR ") && checksum_is_zero(at, 20) {
                return at;
            }
        }
    }
    0
}

/// A table of the given signature, or `None`.
pub fn table(signature: &[u8; 4]) -> Option<u64> {
    let rsdp = crate::boot_info().rsdp;
    if rsdp == 0 || rsdp >> 32 != 0 {
        return None;
    }
    unsafe {
        let (root, width) = match read::<u8>(rsdp + 15) {
            2.. if read::<u64>(rsdp + 24) != 0 => (read::<u64>(rsdp + 24), 8),
            _ => (read::<u32>(rsdp + 16) as u64, 4),
        };
        if root == 0 || root >> 32 != 0 {
            return None;
        }
        let length = read::<u32>(root + 4).min(0x1_0000) as u64;
        (36..length).step_by(width).find_map(|offset| {
            let at = if width == 8 { read::<u64>(root + offset) } else { read::<u32>(root + offset) as u64 };
            (at != 0 && at >> 32 == 0 && read::<[u8; 4]>(at) == *signature).then_some(at)
        })
    }
}

/// Bytes of a table, from its header.
pub fn table_length(table: u64) -> u64 {
    unsafe { read::<u32>(table + 4) as u64 }
}

/// The OEM identifier of a table.
pub fn table_oem(table: u64) -> [u8; 6] {
    unsafe { read(table + 10) }
}

/// Port of the PM1a control register block, from the FADT.
pub fn pm1a_control() -> Option<u16> {
    let port = unsafe { read::<u32>(table(b"FACP")? + 64) };
    (port != 0 && port <= 0xFFFF).then_some(port as u16)
}

/// Port of the power-management timer (3.579545 MHz), from the FADT.
pub fn pm_timer() -> Option<u16> {
    let port = unsafe { read::<u32>(table(b"FACP")? + 76) };
    (port != 0 && port <= 0xFFFF).then_some(port as u16)
}

/// Physical address of the HPET's registers.
pub fn hpet() -> Option<u64> {
    unsafe { Some(read::<u64>(table(b"HPET")? + 44)) }
}

/// SLP_TYP of S5 for PM1a, read from the `\_S5` package in the DSDT; `None` where it is not found.
/// The package is found by its encoding (NameOp "_S5_" PackageOp), not by interpreting the table.
pub fn s5_sleep_type() -> Option<u8> {
    unsafe {
        let dsdt = read::<u32>(table(b"FACP")? + 40) as u64;
        if dsdt == 0 || read::<[u8; 4]>(dsdt) != *b"DSDT" {
            return None;
        }
        let end = dsdt + table_length(dsdt).min(0x10_0000);
        let at = (dsdt + 36..end.saturating_sub(16))
            .find(|&a| read::<[u8; 4]>(a) == *b"_S5_" && read::<u8>(a + 4) == 0x12)?;
        let package_length_bytes = 1 + (read::<u8>(at + 5) >> 6) as u64;
        let element = at + 5 + package_length_bytes + 1;
        match read::<u8>(element) {
            0x0A => Some(read::<u8>(element + 1)),
            small @ 0..=1 => Some(small),
            _ => None,
        }
    }
}

/// Local APIC identifiers of the enabled processors, from the MADT, into `into`; returns how many there are.
pub fn processors(into: &mut [u32]) -> usize {
    let Some(madt) = table(b"APIC") else { return 0 };
    let (mut offset, mut count) = (44, 0);
    unsafe {
        while offset + 2 <= table_length(madt) {
            let entry = madt + offset;
            let (kind, length) = (read::<u8>(entry), read::<u8>(entry + 1) as u64);
            let processor = match kind {
                0 => Some((read::<u8>(entry + 3) as u32, read::<u32>(entry + 4))),
                9 => Some((read::<u32>(entry + 4), read::<u32>(entry + 8))),
                _ => None,
            };
            if let Some((id, flags)) = processor
                && flags & 1 != 0
                && count < into.len()
            {
                into[count] = id;
                count += 1;
            }
            offset += length.max(2);
        }
    }
    count
}

/// Physical address of the first I/O APIC, from the MADT.
pub fn io_apic() -> Option<u64> {
    let madt = table(b"APIC")?;
    let mut offset = 44;
    unsafe {
        while offset + 2 <= table_length(madt) {
            if read::<u8>(madt + offset) == 1 {
                return Some(read::<u32>(madt + offset + 4) as u64);
            }
            offset += (read::<u8>(madt + offset + 1) as u64).max(2);
        }
    }
    None
}
