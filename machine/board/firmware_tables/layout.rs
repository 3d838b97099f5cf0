//! The addresses and counts which the tables describe. The board fills this in; nothing here is chosen by the tables themselves
//! except what the constants name.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An inclusive range of addresses: first and last.
pub type Window = (u64, u64);

/// What the board looks like to firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The machine's RAM in bytes; a multiple of 4 KiB.
    pub ram_bytes: u64,
    /// Where RAM below 4 GiB ends at most; the rest lies from 4 GiB on. A multiple of 4 KiB.
    pub low_ram_limit: u64,
    /// Local APIC identifiers of the processors, the boot processor first.
    pub apic_ids: Vec<u32>,
    /// Address of the local APICs.
    pub local_apic_address: u32,
    /// Identifier of the I/O APIC, whose global system interrupts begin at 0.
    pub io_apic_id: u8,
    /// Address of the I/O APIC.
    pub io_apic_address: u32,
    /// Address of the HPET.
    pub hpet_address: u32,
    /// Value of the HPET's General Capabilities and ID Register, bits 31:0.
    pub hpet_id: u32,
    /// Base of the memory-mapped configuration space of bus 0.
    pub ecam_base: u64,
    /// Number of buses in it, from 0 on: 1 to 256.
    pub ecam_buses: u16,
    /// I/O port of the power-management block (PMBASE of the ICH9).
    pub pm_base: u16,
    /// Interrupt of the power-management block (level, active high at the I/O APIC).
    pub sci_irq: u8,
    /// Memory below 4 GiB in which PCI base address registers are placed.
    pub mmio32: Window,
    /// The same above 4 GiB, if the board has it.
    pub mmio64: Option<Window>,
    /// Address of the ACPI root pointer, in 0xF0000..0xF8000 (real-mode services lie behind), a multiple of 64.
    pub rsdp_address: u32,
    /// The DMA remapping unit, if the board has one.
    pub dmar: Option<DmarUnit>,
}

/// What the DMAR table says about a remapping unit which has all of PCI segment 0 and the I/O APIC in its scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmarUnit {
    /// Address of its registers, a multiple of 4 KiB.
    pub register_base: u64,
    /// Width of host addresses in bits.
    pub host_address_width: u8,
    /// Bus number of the source identifier of the I/O APIC's interrupts.
    pub io_apic_bus: u8,
    /// Device number of the same.
    pub io_apic_device: u8,
    /// Function number of the same.
    pub io_apic_function: u8,
}

impl Default for Layout {
    /// A Q35-like board with 512 MiB of RAM and one processor.
    fn default() -> Self {
        Self {
            ram_bytes: 512 << 20,
            low_ram_limit: 0xb000_0000,
            apic_ids: vec![0],
            local_apic_address: 0xfee0_0000,
            io_apic_id: 0,
            io_apic_address: 0xfec0_0000,
            hpet_address: 0xfed0_0000,
            // Vendor 8086h, 64-bit counter, legacy replacement, four comparators, revision 1.
            hpet_id: 0x8086_a301,
            ecam_base: 0xb000_0000,
            ecam_buses: 256,
            pm_base: 0x600,
            sci_irq: 9,
            mmio32: (0xc000_0000, 0xfebf_ffff),
            mmio64: None,
            rsdp_address: 0xf_0000,
            dmar: None,
        }
    }
}

/// A layout that the tables cannot describe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TablesError {
    /// Too little RAM below 4 GiB for the tables and a kernel.
    #[error("{low_bytes:#x} bytes of RAM below 4 GiB are too few; give the machine at least 2 MiB")]
    RamTooSmall {
        /// RAM below 4 GiB in bytes.
        low_bytes: u64,
    },
    /// A value that is not a multiple of what it has to be.
    #[error("{what} is {value:#x}, which is not valid here; it must be {must}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// What is valid.
        must: &'static str,
    },
    /// Two ranges overlap.
    #[error("{one} and {other} overlap; move one of them")]
    Overlap {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// The tables do not fit in their place.
    #[error("the ACPI tables take {len:#x} bytes, but {room:#x} are reserved for them; use fewer processors")]
    TooLarge {
        /// Their length in bytes.
        len: u64,
        /// The room in bytes.
        room: u64,
    },
}

/// Most processors that the tables can name.
pub const MAX_PROCESSORS: usize = 4096;
const PAGE: u64 = 0x1000;
/// Room for the tables without the processors, in bytes.
const TABLES_FIXED: u64 = 0x4000;
/// Room for one processor in MADT and DSDT, in bytes.
const TABLES_PER_PROCESSOR: u64 = 64;

fn check(holds: bool, what: &'static str, value: u64, must: &'static str) -> Result<(), TablesError> {
    if holds { Ok(()) } else { Err(TablesError::Invalid { what, value, must }) }
}

impl Layout {
    /// Length of the ECAM window in bytes.
    pub fn ecam_len(&self) -> u64 {
        u64::from(self.ecam_buses) << 20
    }

    /// Where RAM below 4 GiB ends.
    pub(super) fn low_ram_end(&self) -> u64 {
        self.ram_bytes.min(self.low_ram_limit)
    }

    /// Where the FACS is: the last page of the low RAM.
    pub(super) fn facs_start(&self) -> Result<u64, TablesError> {
        self.low_ram_end().checked_sub(PAGE).ok_or(TablesError::RamTooSmall { low_bytes: self.low_ram_end() })
    }

    /// Room for the tables in bytes.
    pub(super) fn tables_room(&self) -> u64 {
        (TABLES_FIXED + self.apic_ids.len() as u64 * TABLES_PER_PROCESSOR).next_multiple_of(PAGE)
    }

    /// Where the other tables are: just below the FACS.
    pub(super) fn tables_start(&self) -> Result<u64, TablesError> {
        self.facs_start()?
            .checked_sub(self.tables_room())
            .filter(|start| *start > 0x10_0000)
            .ok_or(TablesError::RamTooSmall { low_bytes: self.low_ram_end() })
    }

    /// Whether the layout can be described.
    ///
    /// # Errors
    /// [`TablesError`], naming the first field that cannot.
    pub fn check(&self) -> Result<(), TablesError> {
        let processors = self.apic_ids.len();
        check(self.ram_bytes.is_multiple_of(PAGE), "ram_bytes", self.ram_bytes, "a multiple of 4 KiB")?;
        check(self.ram_bytes <= 1 << 46, "ram_bytes", self.ram_bytes, "at most 64 TiB")?;
        check(
            self.low_ram_limit.is_multiple_of(PAGE) && self.low_ram_limit <= 0xfec0_0000,
            "low_ram_limit",
            self.low_ram_limit,
            "a multiple of 4 KiB below the I/O APIC",
        )?;
        check(
            (1..=MAX_PROCESSORS).contains(&processors),
            "the number of processors",
            processors as u64,
            "between 1 and 4096",
        )?;
        check((1..=256).contains(&self.ecam_buses), "ecam_buses", self.ecam_buses.into(), "between 1 and 256")?;
        check(
            self.ecam_base.is_multiple_of(1 << 28) && self.ecam_base <= 1 << 51 && self.ecam_base != 0,
            "ecam_base",
            self.ecam_base,
            "a multiple of 256 MiB",
        )?;
        check(
            (0xf_0000..0xf_8000).contains(&self.rsdp_address) && self.rsdp_address.is_multiple_of(64),
            "rsdp_address",
            self.rsdp_address.into(),
            "a multiple of 64 in 0xF0000..0xF8000",
        )?;
        check(
            self.pm_base.is_multiple_of(0x80) && self.pm_base >= 0x400,
            "pm_base",
            self.pm_base.into(),
            "a multiple of 0x80 from 0x400 on",
        )?;
        check((1..16).contains(&self.sci_irq), "sci_irq", self.sci_irq.into(), "an ISA interrupt other than 0")?;
        let (first, last) = self.mmio32;
        check(first <= last && last < 1 << 32, "the end of mmio32", last, "below 4 GiB and not below its start")?;
        if let Some((first, last)) = self.mmio64 {
            check(
                first >= 1 << 32 && first <= last && last < 1 << 52,
                "the start of mmio64",
                first,
                "from 4 GiB on and not above its end",
            )?;
        }
        if let Some(unit) = self.dmar {
            check(
                unit.register_base.is_multiple_of(PAGE),
                "the DMA remapping unit's base",
                unit.register_base,
                "a multiple of 4 KiB",
            )?;
            check(
                (32..=52).contains(&unit.host_address_width),
                "host_address_width",
                unit.host_address_width.into(),
                "32 to 52",
            )?;
            check(
                unit.io_apic_device < 32 && unit.io_apic_function < 8,
                "the I/O APIC's device and function",
                (u64::from(unit.io_apic_device) << 3) | u64::from(unit.io_apic_function),
                "a device below 32 and a function below 8",
            )?;
        }
        self.check_overlaps()?;
        self.tables_start().map(|_| ())
    }

    /// The ranges of the layout must not overlap.
    fn check_overlaps(&self) -> Result<(), TablesError> {
        let high_end = (1u64 << 32) + self.ram_bytes.saturating_sub(self.low_ram_end());
        let mut ranges = vec![
            ("the RAM below 4 GiB", 0, self.low_ram_end()),
            ("the RAM above 4 GiB", 1 << 32, high_end),
            ("the ECAM window", self.ecam_base, self.ecam_base + self.ecam_len()),
            ("the window mmio32", self.mmio32.0, self.mmio32.1 + 1),
            ("the I/O APIC", self.io_apic_address.into(), u64::from(self.io_apic_address) + PAGE),
            ("the local APICs", self.local_apic_address.into(), u64::from(self.local_apic_address) + PAGE),
            ("the HPET", self.hpet_address.into(), u64::from(self.hpet_address) + 0x400),
        ];
        if let Some((first, last)) = self.mmio64 {
            ranges.push(("the window mmio64", first, last + 1));
        }
        if let Some(unit) = self.dmar {
            ranges.push(("the DMA remapping unit", unit.register_base, unit.register_base.saturating_add(PAGE)));
        }
        ranges.retain(|(_, start, end)| start < end);
        ranges.sort_by_key(|(_, start, _)| *start);
        for pair in ranges.windows(2) {
            if let [(one, _, end), (other, start, _)] = *pair
                && start < end
            {
                return Err(TablesError::Overlap { one, other });
            }
        }
        Ok(())
    }
}

/// SLP_TYP of PM1a_CNT with which, when SLP_EN is written, the machine powers off (ACPI specification, "Sleeping/Wake Control").
/// The power-management block of the chipset has to treat it so.
pub const SLP_TYP_S5: u8 = 7;

/// The global system interrupt to which pin `pin` (0 is INTA#) of device `slot` on bus 0 is wired: 16 to 23, so that the
/// pins of eight consecutive devices are spread over all eight inputs of the I/O APIC. Level-triggered, active low.
pub fn pci_gsi(slot: u8, pin: u8) -> u32 {
    16 + (u32::from(slot) + u32::from(pin)) % 8
}
