//! The tables without code: RSDP, XSDT and RSDT, FADT, FACS, MADT, HPET, MCFG and DMAR.
//!
//! Sources: ACPI specification 6.3, "ACPI System Description Tables"; IA-PC HPET specification, "The ACPI 2.0 HPET Description Table";
//! PCI Firmware specification, "MCFG Table Description"; VT-d specification, "BIOS Considerations".

use super::layout::{DmarUnit, Layout};
use super::table::{Table, checksum};

/// Port of the ICH9's Reset Control Register.
const RESET_PORT: u16 = 0xcf9;
/// Full reset: SYS_RST and RST_CPU.
const RESET_VALUE: u8 = 6;
/// Offset of the GPE0 block in the power-management block of the ICH9, and its length.
const GPE0_OFFSET: u16 = 0x20;
const GPE0_LEN: u8 = 16;
/// Index of the century in CMOS RAM.
const CMOS_CENTURY: u8 = 0x32;

/// The root pointer, revision 2. "Root System Description Pointer (RSDP)".
pub(super) fn rsdp(rsdt: u32, xsdt: u64) -> [u8; 36] {
    let mut bytes = [0; 36];
    bytes[..8].copy_from_slice(b"RSD PTR ");
    bytes[9..15].copy_from_slice(b"UNDRCR");
    bytes[15] = 2;
    bytes[16..20].copy_from_slice(&rsdt.to_le_bytes());
    bytes[20..24].copy_from_slice(&36u32.to_le_bytes());
    bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
    bytes[8] = checksum(&bytes[..20]);
    bytes[32] = checksum(&bytes);
    bytes
}

/// "Extended System Description Table (XSDT)".
pub(super) fn xsdt(tables: &[u64]) -> Vec<u8> {
    let mut table = Table::new(b"XSDT", 1);
    for address in tables {
        table.u64(*address);
    }
    table.finish()
}

/// "Root System Description Table (RSDT)"; all tables are below 4 GiB.
pub(super) fn rsdt(tables: &[u64]) -> Vec<u8> {
    let mut table = Table::new(b"RSDT", 1);
    for address in tables {
        table.u32(*address as u32);
    }
    table.finish()
}

/// "Firmware ACPI Control Structure (FACS)": no waking vector, the global lock free.
pub(super) fn facs() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..4].copy_from_slice(b"FACS");
    bytes[4] = 64;
    bytes[32] = 2;
    bytes
}

/// "Fixed ACPI Description Table (FADT)", revision 6. There is no SMI command port: the machine is always in ACPI mode.
pub(super) fn fadt(layout: &Layout, facs: u64, dsdt: u64) -> Vec<u8> {
    /// WBINVD works; C1 on all processors; no sleep button; RTC cannot wake; reset register present.
    const FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 10;
    /// Legacy devices and a keyboard controller are there; no VGA; ASPM must not be enabled.
    const BOOT_ARCHITECTURE: u16 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4;
    let pm = layout.pm_base;
    let (event, control, timer, gpe0) = (pm, pm + 4, pm + 8, pm + GPE0_OFFSET);
    let mut table = Table::new(b"FACP", 6);
    table.u32(facs as u32).u32(dsdt as u32).u8(0).u8(1).u16(layout.sci_irq.into());
    // SMI_CMD, ACPI_ENABLE, ACPI_DISABLE, S4BIOS_REQ, PSTATE_CNT.
    table.u32(0).zeros(4);
    table.u32(event.into()).u32(0).u32(control.into()).u32(0).u32(0).u32(timer.into()).u32(gpe0.into()).u32(0);
    // Lengths of PM1 event, PM1 control, PM2 control, PM timer, GPE0, GPE1; GPE1_BASE, CST_CNT.
    table.u8(4).u8(2).u8(0).u8(4).u8(GPE0_LEN).u8(0).u8(0).u8(0);
    // Latencies that say "C2 and C3 are not there"; flush size and stride; duty offset and width; RTC alarm indices and century.
    table.u16(101).u16(1001).u16(0).u16(0).u8(0).u8(0).u8(0).u8(0).u8(CMOS_CENTURY);
    table.u16(BOOT_ARCHITECTURE).u8(0).u32(FLAGS).io_register(RESET_PORT, 8, 1).u8(RESET_VALUE);
    // ARM_BOOT_ARCH, minor version, X_FIRMWARE_CTRL (the 32-bit field holds it), X_DSDT.
    table.u16(0).u8(3).u64(0).u64(dsdt);
    table.io_register(event, 32, 2).io_register(0, 0, 0).io_register(control, 16, 2).io_register(0, 0, 0);
    table.io_register(0, 0, 0).io_register(timer, 32, 3).io_register(gpe0, GPE0_LEN * 8, 1).io_register(0, 0, 0);
    // Sleep control and status registers; hypervisor vendor identity.
    table.zeros(24).u64(0);
    table.finish()
}

/// "Multiple APIC Description Table (MADT)". A processor's ACPI UID is its index.
pub(super) fn madt(layout: &Layout) -> Vec<u8> {
    /// PCAT_COMPAT: the two 8259s are there.
    const FLAGS: u32 = 1;
    /// MPS INTI flags: active high and level-triggered.
    const HIGH_LEVEL: u16 = 0b11_01;
    const ENABLED: u32 = 1;
    /// Identifiers from here on do not fit in the 8-bit structure.
    const FIRST_X2APIC_ID: u32 = 255;
    let mut table = Table::new(b"APIC", 5);
    table.u32(layout.local_apic_address).u32(FLAGS);
    let mut has_x2apic = false;
    for (uid, &apic_id) in layout.apic_ids.iter().enumerate() {
        if apic_id < FIRST_X2APIC_ID && uid < 255 {
            table.u8(0).u8(8).u8(uid as u8).u8(apic_id as u8).u32(ENABLED);
        } else {
            has_x2apic = true;
            table.u8(9).u8(16).u16(0).u32(apic_id).u32(ENABLED).u32(uid as u32);
        }
    }
    table.u8(1).u8(12).u8(layout.io_apic_id).u8(0).u32(layout.io_apic_address).u32(0);
    // Interrupt source overrides: bus 0 (ISA), source, global system interrupt, flags.
    table.u8(2).u8(10).u8(0).u8(0).u32(2).u16(0);
    table.u8(2).u8(10).u8(0).u8(layout.sci_irq).u32(layout.sci_irq.into()).u16(HIGH_LEVEL);
    // NMI at LINT1 of all processors.
    table.u8(4).u8(6).u8(0xff).u16(0).u8(1);
    if has_x2apic {
        table.u8(10).u8(12).u16(0).u32(0xffff_ffff).u8(1).zeros(3);
    }
    table.finish()
}

/// "The ACPI 2.0 HPET Description Table (HPET)".
pub(super) fn hpet(layout: &Layout) -> Vec<u8> {
    let mut table = Table::new(b"HPET", 1);
    table.u32(layout.hpet_id);
    // GAS: system memory, 64 bits wide, at bit 0.
    table.u8(0).u8(64).u8(0).u8(0).u64(layout.hpet_address.into());
    // HPET number, minimum tick in periodic mode, page protection.
    table.u8(0).u16(100).u8(0);
    table.finish()
}

/// "MCFG Table Description": the configuration space of segment group 0.
pub(super) fn mcfg(layout: &Layout) -> Vec<u8> {
    let mut table = Table::new(b"MCFG", 1);
    let last_bus = layout.ecam_buses.clamp(1, 256) - 1;
    table.zeros(8).u64(layout.ecam_base).u16(0).u8(0).u8(last_bus as u8).zeros(4);
    table.finish()
}

/// "DMA Remapping Reporting Structure": one unit for all devices of segment 0, with the I/O APIC in its scope.
pub(super) fn dmar(layout: &Layout, unit: &DmarUnit) -> Vec<u8> {
    /// INTR_REMAP: the platform supports interrupt remapping.
    const INTR_REMAP: u8 = 1;
    /// INCLUDE_PCI_ALL.
    const INCLUDE_PCI_ALL: u8 = 1;
    /// Device scope type: I/O APIC.
    const SCOPE_IO_APIC: u8 = 3;
    let mut table = Table::new(b"DMAR", 1);
    table.u8(unit.host_address_width.saturating_sub(1)).u8(INTR_REMAP).zeros(10);
    table.u16(0).u16(16 + 8).u8(INCLUDE_PCI_ALL).u8(0).u16(0).u64(unit.register_base);
    table.u8(SCOPE_IO_APIC).u8(8).u16(0).u8(layout.io_apic_id).u8(unit.io_apic_bus);
    table.u8(unit.io_apic_device).u8(unit.io_apic_function);
    table.finish()
}
