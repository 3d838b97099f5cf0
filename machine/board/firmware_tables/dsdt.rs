//! The Differentiated System Description Table: the devices that cannot be enumerated, in ACPI Machine Language.
//!
//! Sources: ACPI specification, "ACPI Source Language Reference" and "Device Configuration"; PCI Firmware specification, "_OSC".

use super::layout::{Layout, SLP_TYP_S5, pci_gsi};
use super::table::Table;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Else, Equal, IO, If, Interrupt,
    Local, Memory32Fixed, Method, Name, NotEqual, ONE, Or, Package, PackageBuilder, Path, ResourceTemplate, Return,
    Scope, Store, Uuid, ZERO,
};
use acpi_tables::{Aml, AmlSink};

/// Number of device numbers on a PCI bus.
const SLOTS: u8 = 32;
/// Revision 2 makes integers 64 bits wide.
const REVISION: u8 = 2;

/// The table's bytes.
pub(super) fn dsdt(layout: &Layout) -> Vec<u8> {
    let mut code = Vec::new();
    // "\_S5": SLP_TYP of PM1a and PM1b.
    Name::new("_S5_".into(), &Package::new(vec![&SLP_TYP_S5, &ZERO, &ZERO, &ZERO])).to_aml_bytes(&mut code);

    let mut system_bus = Vec::new();
    processors(layout, &mut system_bus);
    motherboard(layout, &mut system_bus);
    timers(layout, &mut system_bus);
    pci_root(layout, &mut system_bus);
    Scope::new("_SB_".into(), vec![&Code(system_bus)]).to_aml_bytes(&mut code);
    Table::new(b"DSDT", REVISION).raw(&code).finish()
}

/// Finished code, to be nested.
struct Code(Vec<u8>);

impl Aml for Code {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

fn name(path: &str, value: &dyn Aml) -> Name {
    Name::new(Path::new(path), value)
}

/// The processors: "Processor Device" (ACPI0007). The UID is that of the MADT.
fn processors(layout: &Layout, code: &mut Vec<u8>) {
    for uid in 0..layout.apic_ids.len().min(super::layout::MAX_PROCESSORS) as u32 {
        let path = format!("C{uid:03X}");
        Device::new(Path::new(&path), vec![&name("_HID", &"ACPI0007"), &name("_UID", &uid)]).to_aml_bytes(code);
    }
}

/// Addresses that belong to the motherboard: the ECAM window (Linux uses it only if it is reserved) and the power-management block.
fn motherboard(layout: &Layout, code: &mut Vec<u8>) {
    let mut resources = Vec::new();
    if let (Ok(base), Ok(len)) = (u32::try_from(layout.ecam_base), u32::try_from(layout.ecam_len())) {
        Memory32Fixed::new(true, base, len).to_aml_bytes(&mut resources);
    } else {
        let last = layout.ecam_base + layout.ecam_len() - 1;
        AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, layout.ecam_base, last, None)
            .to_aml_bytes(&mut resources);
    }
    IO::new(layout.pm_base, layout.pm_base, 1, 0x80).to_aml_bytes(&mut resources);
    // The system control port of the interrupt controller, and its edge/level control registers.
    IO::new(0x4d0, 0x4d0, 1, 2).to_aml_bytes(&mut resources);
    Device::new(
        "MBRD".into(),
        vec![
            &name("_HID", &EISAName::new("PNP0C02")),
            &name("_UID", &ZERO),
            &name("_CRS", &ResourceTemplate::new(vec![&Code(resources)])),
        ],
    )
    .to_aml_bytes(code);
}

/// The HPET.
fn timers(layout: &Layout, code: &mut Vec<u8>) {
    let registers = Memory32Fixed::new(true, layout.hpet_address, 0x400);
    Device::new(
        "HPET".into(),
        vec![
            &name("_HID", &EISAName::new("PNP0103")),
            &name("_UID", &ZERO),
            &name("_CRS", &ResourceTemplate::new(vec![&registers])),
        ],
    )
    .to_aml_bytes(code);
}

/// The PCI Express root bridge of segment 0, with the ISA devices behind it.
fn pci_root(layout: &Layout, code: &mut Vec<u8>) {
    let hid = name("_HID", &EISAName::new("PNP0A08"));
    let cid = name("_CID", &EISAName::new("PNP0A03"));
    let mut isa = Vec::new();
    isa_devices(&mut isa);
    Device::new(
        "PCI0".into(),
        vec![
            &hid,
            &cid,
            &name("_UID", &ZERO),
            &name("_SEG", &ZERO),
            &name("_BBN", &ZERO),
            &name("_CRS", &ResourceTemplate::new(vec![&Code(root_windows(layout))])),
            &name("_PRT", &Code(interrupt_routing())),
            &Code(operating_system_capabilities()),
            &Code(isa),
        ],
    )
    .to_aml_bytes(code);
}

/// What the root bridge passes on: buses, I/O, memory.
fn root_windows(layout: &Layout) -> Vec<u8> {
    const NOT_CACHED: AddressSpaceCacheable = AddressSpaceCacheable::NotCacheable;
    let mut code = Vec::new();
    let last_bus = layout.ecam_buses.clamp(1, 256) - 1;
    AddressSpace::new_bus_number(0u16, last_bus).to_aml_bytes(&mut code);
    // The configuration ports are consumed, the ports on both sides are passed on.
    IO::new(0xcf8, 0xcf8, 1, 8).to_aml_bytes(&mut code);
    AddressSpace::new_io(0u16, 0xcf7, None).to_aml_bytes(&mut code);
    AddressSpace::new_io(0xd00u16, 0xffff, None).to_aml_bytes(&mut code);
    AddressSpace::new_memory(NOT_CACHED, true, 0xa_0000u32, 0xb_ffff, None).to_aml_bytes(&mut code);
    let (first, last) = layout.mmio32;
    AddressSpace::new_memory(NOT_CACHED, true, first as u32, last as u32, None).to_aml_bytes(&mut code);
    if let Some((first, last)) = layout.mmio64 {
        AddressSpace::new_memory(NOT_CACHED, true, first, last, None).to_aml_bytes(&mut code);
    }
    code
}

/// "_PRT (PCI Routing Table)": the pins are hard-wired to the I/O APIC, there are no link devices.
fn interrupt_routing() -> Vec<u8> {
    let mut table = PackageBuilder::new();
    for slot in 0..SLOTS {
        for pin in 0..4u8 {
            let address = u32::from(slot) << 16 | 0xffff;
            table.add_element(&Package::new(vec![&address, &pin, &ZERO, &pci_gsi(slot, pin)]));
        }
    }
    let mut code = Vec::new();
    table.to_aml_bytes(&mut code);
    code
}

/// "_OSC": control of the PCI Express capability structure is granted, which is what this machine's devices have; hot-plug, power
/// management events and error reporting are not there.
fn operating_system_capabilities() -> Vec<u8> {
    const GRANTED: u32 = 1 << 4;
    const UNRECOGNISED_UUID: u8 = 1 << 2;
    const UNRECOGNISED_REVISION: u8 = 1 << 3;
    const CAPABILITIES_MASKED: u8 = 1 << 4;
    let (status, control) = (Path::new("CDW1"), Path::new("CDW3"));
    let set = |bit: &'static u8| Code(bytes_of(&Or::new(&Path::new("CDW1"), &Path::new("CDW1"), bit)));

    let host_bridge = Uuid::new("33db4d5b-1ff7-401c-9657-7441c03dd766");
    let is_host_bridge = Equal::new(&Arg(0), &host_bridge);
    let third = CreateDWordField::new(&control, &Arg(3), &8u8);
    let granted = And::new(&Local(0), &control, &GRANTED);
    let (bad_revision, masked, bad_uuid) =
        (set(&UNRECOGNISED_REVISION), set(&CAPABILITIES_MASKED), set(&UNRECOGNISED_UUID));
    let (not_revision_1, asked_more) = (NotEqual::new(&Arg(1), &ONE), NotEqual::new(&control, &Local(0)));
    let (check_revision, check_control) =
        (If::new(&not_revision_1, vec![&bad_revision]), If::new(&asked_more, vec![&masked]));
    let answer = Store::new(&control, &Local(0));
    let first = CreateDWordField::new(&status, &Arg(3), &ZERO);
    bytes_of(&Method::new(
        "_OSC".into(),
        4,
        true,
        vec![
            &first,
            &If::new(&is_host_bridge, vec![&third, &granted, &check_revision, &check_control, &answer]),
            &Else::new(vec![&bad_uuid]),
            &Return::new(&Arg(3)),
        ],
    ))
}

fn bytes_of(aml: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    aml.to_aml_bytes(&mut bytes);
    bytes
}

/// The devices of the PC at their fixed ports, behind the ISA bridge.
fn isa_devices(code: &mut Vec<u8>) {
    let edge = |irq: u32| Interrupt::new(true, true, false, false, irq);
    let mut device = |path: &str, hid: &str, uid: u8, ports: &[(u16, u8)], irq: Option<u32>| {
        let mut resources = Vec::new();
        for &(port, len) in ports {
            IO::new(port, port, 1, len).to_aml_bytes(&mut resources);
        }
        if let Some(irq) = irq {
            edge(irq).to_aml_bytes(&mut resources);
        }
        Device::new(
            Path::new(path),
            vec![
                &name("_HID", &EISAName::new(hid)),
                &name("_UID", &uid),
                &name("_CRS", &ResourceTemplate::new(vec![&Code(resources)])),
            ],
        )
        .to_aml_bytes(code);
    };
    device("COM1", "PNP0501", 1, &[(0x3f8, 8)], Some(4));
    device("COM2", "PNP0501", 2, &[(0x2f8, 8)], Some(3));
    device("RTC_", "PNP0B00", 0, &[(0x70, 2)], Some(8));
    device("PIT_", "PNP0100", 0, &[(0x40, 4)], Some(0));
    device("KBD_", "PNP0303", 0, &[(0x60, 1), (0x64, 1)], Some(1));
    device("MOU_", "PNP0F13", 0, &[], Some(12));
}
