//! The local APIC's registers and the messages between interrupt controllers.
//! SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".

use serde::{Deserialize, Serialize};

/// Offsets in the register page. In x2APIC mode the MSR is [`msr::X2APIC_FIRST`] + offset / 16. "Local APIC Register Address Map".
pub mod register {
    /// Local APIC ID.
    pub const ID: u32 = 0x020;
    /// Local APIC Version.
    pub const VERSION: u32 = 0x030;
    /// Task Priority (TPR).
    pub const TPR: u32 = 0x080;
    /// Arbitration Priority (APR).
    pub const APR: u32 = 0x090;
    /// Processor Priority (PPR).
    pub const PPR: u32 = 0x0a0;
    /// End Of Interrupt (EOI).
    pub const EOI: u32 = 0x0b0;
    /// Remote Read (RRD).
    pub const RRD: u32 = 0x0c0;
    /// Logical Destination (LDR).
    pub const LDR: u32 = 0x0d0;
    /// Destination Format (DFR).
    pub const DFR: u32 = 0x0e0;
    /// Spurious-Interrupt Vector (SVR).
    pub const SVR: u32 = 0x0f0;
    /// In-Service (ISR), the first of eight.
    pub const ISR: u32 = 0x100;
    /// Trigger Mode (TMR), the first of eight.
    pub const TMR: u32 = 0x180;
    /// Interrupt Request (IRR), the first of eight.
    pub const IRR: u32 = 0x200;
    /// Error Status (ESR).
    pub const ESR: u32 = 0x280;
    /// LVT Corrected Machine Check Interrupt.
    pub const LVT_CMCI: u32 = 0x2f0;
    /// Interrupt Command (ICR), bits 31:0; in x2APIC mode all of it.
    pub const ICR: u32 = 0x300;
    /// Interrupt Command, bits 63:32.
    pub const ICR_HIGH: u32 = 0x310;
    /// LVT Timer.
    pub const LVT_TIMER: u32 = 0x320;
    /// LVT Thermal Sensor.
    pub const LVT_THERMAL: u32 = 0x330;
    /// LVT Performance Monitoring Counters.
    pub const LVT_PERFORMANCE: u32 = 0x340;
    /// LVT LINT0.
    pub const LVT_LINT0: u32 = 0x350;
    /// LVT LINT1.
    pub const LVT_LINT1: u32 = 0x360;
    /// LVT Error.
    pub const LVT_ERROR: u32 = 0x370;
    /// Initial Count (timer).
    pub const INITIAL_COUNT: u32 = 0x380;
    /// Current Count (timer).
    pub const CURRENT_COUNT: u32 = 0x390;
    /// Divide Configuration (timer).
    pub const DIVIDE_CONFIGURATION: u32 = 0x3e0;
    /// SELF IPI, x2APIC mode only.
    pub const SELF_IPI: u32 = 0x3f0;
}

/// Model-specific registers of the local APIC.
pub mod msr {
    /// IA32_APIC_BASE.
    pub const IA32_APIC_BASE: u32 = 0x01b;
    /// IA32_TSC_DEADLINE.
    pub const IA32_TSC_DEADLINE: u32 = 0x6e0;
    /// First MSR of the x2APIC register space.
    pub const X2APIC_FIRST: u32 = 0x800;
    /// Last MSR of the x2APIC register space.
    pub const X2APIC_LAST: u32 = 0x8ff;
}

/// Bits of IA32_APIC_BASE. "Local APIC Status and Location", "x2APIC Mode".
pub mod base {
    /// Bootstrap processor.
    pub const BSP: u64 = 1 << 8;
    /// Enable x2APIC mode.
    pub const EXTD: u64 = 1 << 10;
    /// APIC global enable.
    pub const EN: u64 = 1 << 11;
    /// Bits below the base address.
    pub const FLAGS: u64 = 0xfff;
    /// Base address after reset.
    pub const DEFAULT_ADDRESS: u64 = 0xfee0_0000;
}

/// Bits of the spurious-interrupt vector register.
pub mod svr {
    /// APIC software enable.
    pub const ENABLE: u32 = 1 << 8;
    /// Focus processor checking.
    pub const FOCUS: u32 = 1 << 9;
    /// EOI-broadcast suppression.
    pub const SUPPRESS_EOI_BROADCAST: u32 = 1 << 12;
    /// Bits that can be written.
    pub const WRITABLE: u32 = 0xff | ENABLE | FOCUS | SUPPRESS_EOI_BROADCAST;
}

/// Bits of the local vector table's entries.
pub mod lvt {
    /// Vector.
    pub const VECTOR: u32 = 0xff;
    /// Lowest bit of the delivery mode.
    pub const DELIVERY_MODE_SHIFT: u32 = 8;
    /// Delivery mode.
    pub const DELIVERY_MODE: u32 = 7 << DELIVERY_MODE_SHIFT;
    /// Delivery status, read-only.
    pub const DELIVERY_STATUS: u32 = 1 << 12;
    /// Interrupt input pin polarity: active low.
    pub const ACTIVE_LOW: u32 = 1 << 13;
    /// Remote IRR, read-only.
    pub const REMOTE_IRR: u32 = 1 << 14;
    /// Trigger mode: level.
    pub const LEVEL: u32 = 1 << 15;
    /// Mask.
    pub const MASK: u32 = 1 << 16;
    /// Lowest bit of the timer mode.
    pub const TIMER_MODE_SHIFT: u32 = 17;
    /// Timer mode.
    pub const TIMER_MODE: u32 = 3 << TIMER_MODE_SHIFT;
}

/// Bits of the error status register. "Error Handling".
pub mod esr {
    /// Redirectable IPI.
    pub const REDIRECTABLE_IPI: u32 = 1 << 4;
    /// Send illegal vector.
    pub const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
    /// Received illegal vector.
    pub const RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
    /// Illegal register address.
    pub const ILLEGAL_REGISTER_ADDRESS: u32 = 1 << 7;
}

/// Bits of the interrupt command register. "Interrupt Command Register (ICR)".
pub mod icr {
    /// Destination mode: logical.
    pub const LOGICAL: u64 = 1 << 11;
    /// Delivery status: send pending. Not in x2APIC mode.
    pub const DELIVERY_STATUS: u64 = 1 << 12;
    /// Level: assert.
    pub const ASSERT: u64 = 1 << 14;
    /// Trigger mode: level.
    pub const LEVEL: u64 = 1 << 15;
    /// Lowest bit of the destination shorthand.
    pub const SHORTHAND_SHIFT: u32 = 18;
    /// Bits of the lower half that can be written.
    pub const WRITABLE: u64 = 0x000c_cfff;
}

/// Bits of the version register.
pub mod version {
    /// EOI-broadcast suppression is supported.
    pub const EOI_BROADCAST_SUPPRESSION: u32 = 1 << 24;
    /// Lowest bit of the number of LVT entries less one.
    pub const MAX_LVT_ENTRY_SHIFT: u32 = 16;
}

/// Fields of a message-signalled interrupt. "Message Signalled Interrupts".
pub mod msi {
    /// Bits 31:20 of the address of every interrupt message.
    pub const ADDRESS_BASE: u64 = 0xfee0_0000;
    /// The bits of an address that must equal [`ADDRESS_BASE`].
    pub const ADDRESS_MASK: u64 = 0xffff_ffff_fff0_0000;
    /// Lowest bit of the destination ID in the address.
    pub const DESTINATION_SHIFT: u32 = 12;
    /// Remappable format (VT-d, "Interrupt Requests in Remappable Format").
    pub const REMAPPABLE: u64 = 1 << 4;
    /// Redirection hint indication.
    pub const REDIRECTION_HINT: u64 = 1 << 3;
    /// Destination mode: logical.
    pub const LOGICAL: u64 = 1 << 2;
    /// Lowest bit of the delivery mode in the data.
    pub const DELIVERY_MODE_SHIFT: u32 = 8;
    /// Level: assert, in the data.
    pub const ASSERT: u32 = 1 << 14;
    /// Trigger mode: level, in the data.
    pub const LEVEL: u32 = 1 << 15;
}

/// How an interrupt is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum DeliveryMode {
    /// To the processors named, with the vector given.
    Fixed = 0,
    /// To that of the processors named which executes at the lowest priority.
    LowestPriority = 1,
    /// System-management interrupt.
    Smi = 2,
    /// Non-maskable interrupt.
    Nmi = 4,
    /// INIT request.
    Init = 5,
    /// Start-up IPI.
    StartUp = 6,
    /// The vector comes from an 8259A.
    ExtInt = 7,
}

impl DeliveryMode {
    /// From the three bits of an encoding; 3 is reserved.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::StartUp,
            7 => Self::ExtInt,
            _ => return None,
        })
    }
}

/// How an interrupt is triggered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TriggerMode {
    /// By a rise of the line, or by a message.
    Edge,
    /// By the level of a line; ended by an EOI that reaches the I/O APIC.
    Level,
}
