//! The LPC interface bridge of the ICH9, device 31 function 0. Intel I/O Controller Hub 9 (ICH9) Family datasheet,
//! "LPC Interface Bridge Registers (D31:F0)" and "Chipset Configuration Registers".

/// Device ID of the LPC interface bridge.
pub const DEVICE_LPC_BRIDGE: u16 = 0x2918;

/// PMBASE, ACPI base address, 4 bytes: I/O base in bits 15:7, bit 0 reads 1.
pub const PMBASE: u16 = 0x40;
/// ACPI_CNTL, ACPI control, 1 byte.
pub const ACPI_CNTL: u16 = 0x44;
/// GPIOBASE, GPIO base address, 4 bytes: I/O base in bits 15:6, bit 0 reads 1.
pub const GPIOBASE: u16 = 0x48;
/// GC, GPIO control, 1 byte.
pub const GC: u16 = 0x4c;
/// PIRQA_ROUT to PIRQD_ROUT, 4 bytes.
pub const PIRQA_ROUT: u16 = 0x60;
/// SIRQ_CNTL, serial IRQ control, 1 byte.
pub const SIRQ_CNTL: u16 = 0x64;
/// PIRQE_ROUT to PIRQH_ROUT, 4 bytes.
pub const PIRQE_ROUT: u16 = 0x68;
/// LPC_I/O_DEC, I/O decode ranges, 2 bytes.
pub const LPC_IO_DEC: u16 = 0x80;
/// LPC_EN, LPC interface enables, 2 bytes.
pub const LPC_EN: u16 = 0x82;
/// GEN1_DEC to GEN4_DEC, generic decode ranges, 4 bytes each.
pub const GEN1_DEC: u16 = 0x84;
/// GEN_PMCON_1, general power management configuration 1, 2 bytes.
pub const GEN_PMCON_1: u16 = 0xa0;
/// BIOS_CNTL, BIOS control, 1 byte.
pub const BIOS_CNTL: u16 = 0xdc;
/// RCBA, root complex base address, 4 bytes: base in bits 31:14, enable in bit 0.
pub const RCBA: u16 = 0xf0;

/// PMBASE: bytes of I/O space.
pub const PMBASE_BYTES: u16 = 128;
/// PMBASE and GPIOBASE: resource type indicator, always 1.
pub const IO_RESOURCE: u32 = 1;
/// PMBASE: the bits that hold a value.
pub const PMBASE_ADDRESS: u32 = 0xff80;
/// GPIOBASE: the bits that hold a value.
pub const GPIOBASE_ADDRESS: u32 = 0xffc0;
/// ACPI_CNTL: SCI IRQ select, bits 2:0: 0 to 2 for IRQ 9 to 11, 4 to 7 for IRQ 20 to 23.
pub const ACPI_CNTL_SCI_IRQ_SEL: u8 = 7;
/// ACPI_CNTL: ACPI enable, PMBASE is decoded.
pub const ACPI_CNTL_ACPI_EN: u8 = 1 << 7;
/// PIRQn_ROUT: the interrupt is not routed to the 8259s.
pub const PIRQ_ROUT_IRQEN: u8 = 1 << 7;
/// PIRQn_ROUT: IRQ of the 8259s, bits 3:0.
pub const PIRQ_ROUT_IRQ: u8 = 0xf;
/// RCBA: enable.
pub const RCBA_ENABLE: u32 = 1;
/// RCBA: base address.
pub const RCBA_ADDRESS: u32 = 0xffff_c000;
/// RCBA: bytes of the range.
pub const RCBA_BYTES: u64 = 0x4000;

/// Chipset configuration: D31IR, device 31 interrupt route, 2 bytes: PIRQ of INTA# in bits 2:0, INTB# 6:4, INTC# 10:8, INTD# 14:12.
pub const D31IR: u64 = 0x3140;
/// Chipset configuration: D30IR.
pub const D30IR: u64 = 0x3142;
/// Chipset configuration: D29IR.
pub const D29IR: u64 = 0x3144;
/// Chipset configuration: D28IR.
pub const D28IR: u64 = 0x3146;
/// Chipset configuration: D27IR.
pub const D27IR: u64 = 0x3148;
/// Chipset configuration: D26IR.
pub const D26IR: u64 = 0x314c;
/// Chipset configuration: D25IR.
pub const D25IR: u64 = 0x3150;
/// Chipset configuration: the bits of a DxxIR that hold a value.
pub const INTERRUPT_ROUTE_WRITABLE: u16 = 0x7777;
/// Chipset configuration: a DxxIR after reset, INTA# to INTD# on PIRQA# to PIRQD#.
pub const INTERRUPT_ROUTE_DEFAULT: u16 = 0x3210;
/// Chipset configuration: OIC, other interrupt control, 1 byte.
pub const OIC: u64 = 0x31ff;
/// Chipset configuration: HPTC, high precision timer configuration, 4 bytes.
pub const HPTC: u64 = 0x3404;
/// Chipset configuration: GCS, general control and status, 4 bytes.
pub const GCS: u64 = 0x3410;

/// OIC: APIC enable, the I/O APIC is decoded.
pub const OIC_APIC_ENABLE: u8 = 1 << 0;
/// HPTC: high precision timer address enable.
pub const HPTC_ADDRESS_ENABLE: u32 = 1 << 7;
/// HPTC: address select, bits 1:0: 0xFED0_0000 plus 0x1000 times this.
pub const HPTC_ADDRESS_SELECT: u32 = 3;
