//! What firmware would have left in memory: the ACPI tables, the memory map, the BIOS data area and a few real-mode services.
//!
//! Everything is a pure function of the [`Layout`] that the board gives. What the tables say has to agree with the devices:
//! the power-management block (PM1a event 0, control 4, timer 8, GPE0 0x20 with 16 bytes; [`SLP_TYP_S5`] powers the machine off),
//! the reset control register at port 0xCF9, and the wiring of PCI interrupt pins ([`pci_gsi`]).

mod dsdt;
mod fixed;
mod layout;
mod memory_map;
mod real_mode;
mod table;
#[cfg(test)]
mod tests;

pub use layout::{DmarUnit, Layout, SLP_TYP_S5, TablesError, Window, pci_gsi};
#[cfg(test)]
use memory_map::HOLE_END;
pub use memory_map::{E820Entry, E820Type, EBDA_START, memory_map, ram_ranges};

use undercroft_spec::PhysAddr;

/// Bytes that firmware leaves at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What they are: the table's signature, or a name.
    pub what: &'static str,
    /// Where they lie.
    pub addr: PhysAddr,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// All that firmware leaves in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareTables {
    /// Address of the ACPI root pointer.
    pub rsdp_address: PhysAddr,
    /// The root pointer, for boot protocols that pass a copy.
    pub rsdp: [u8; 36],
    /// What to write into RAM.
    pub blobs: Vec<Blob>,
    /// The memory map, in which the blobs have their place.
    pub memory_map: Vec<E820Entry>,
}

/// Builds everything.
///
/// # Errors
/// [`TablesError`], when the layout contradicts itself or the tables do not fit.
pub fn build(layout: &Layout) -> Result<FirmwareTables, TablesError> {
    let memory_map = memory_map(layout)?;
    let facs_start = layout.facs_start()?;
    let mut place = Place { next: layout.tables_start()?, end: facs_start, blobs: Vec::new() };
    place.blobs.push(Blob { what: "FACS", addr: PhysAddr(facs_start), bytes: fixed::facs() });

    let dsdt = place.put("DSDT", dsdt::dsdt(layout))?;
    let mut tables = vec![
        place.put("FACP", fixed::fadt(layout, facs_start, dsdt))?,
        place.put("APIC", fixed::madt(layout))?,
        place.put("HPET", fixed::hpet(layout))?,
        place.put("MCFG", fixed::mcfg(layout))?,
    ];
    if let Some(unit) = &layout.dmar {
        tables.push(place.put("DMAR", fixed::dmar(layout, unit))?);
    }
    let xsdt = place.put("XSDT", fixed::xsdt(&tables))?;
    let rsdt = place.put("RSDT", fixed::rsdt(&tables))?;
    let rsdp = fixed::rsdp(rsdt as u32, xsdt);
    let rsdp_address = PhysAddr(layout.rsdp_address.into());
    place.blobs.push(Blob { what: "RSDP", addr: rsdp_address, bytes: rsdp.to_vec() });
    let services = real_mode::services(&memory_map);
    place.blobs.push(Blob { what: "real-mode vectors", addr: PhysAddr(0), bytes: real_mode::vectors() });
    place.blobs.push(Blob { what: "real-mode services", addr: PhysAddr(real_mode::START), bytes: services });
    place.blobs.push(Blob { what: "BIOS data area", addr: PhysAddr(0x400), bytes: bios_data_area() });
    // The first byte of the extended BIOS data area is its length in KiB.
    place.blobs.push(Blob { what: "extended BIOS data area", addr: PhysAddr(EBDA_START), bytes: vec![1] });
    Ok(FirmwareTables { rsdp_address, rsdp, blobs: place.blobs, memory_map })
}

/// The tables, one after the other.
struct Place {
    next: u64,
    end: u64,
    blobs: Vec<Blob>,
}

impl Place {
    fn put(&mut self, what: &'static str, bytes: Vec<u8>) -> Result<u64, TablesError> {
        let (addr, len) = (self.next, bytes.len() as u64);
        if len > self.end - addr {
            return Err(TablesError::TooLarge { len, room: self.end - addr });
        }
        self.next = (addr + len).next_multiple_of(16).min(self.end);
        self.blobs.push(Blob { what, addr: PhysAddr(addr), bytes });
        Ok(addr)
    }
}

/// The fields of the BIOS data area that kernels read before they know ACPI: serial ports, the extended area's segment, equipment,
/// and the KiB of memory below it.
fn bios_data_area() -> Vec<u8> {
    let mut area = vec![0; 0x100];
    let mut put = |offset: usize, value: u16| area[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
    put(0x00, 0x3f8);
    put(0x02, 0x2f8);
    put(0x0e, (EBDA_START >> 4) as u16);
    // Equipment: an x87, a PS/2 mouse, two serial ports.
    put(0x10, 1 << 1 | 1 << 2 | 2 << 9);
    put(0x13, (EBDA_START >> 10) as u16);
    area
}
