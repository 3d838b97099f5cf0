//! Interrupt messages and who accepts them: IPIs, and messages of I/O APICs and devices.
//! SDM volume 3, "Issuing Interprocessor Interrupts", "Determining IPI Destination", "Message Signalled Interrupts".

use super::LocalApic;
use serde::{Deserialize, Serialize};
use undercroft_spec::apic::{DeliveryMode, TriggerMode, icr, msi};

/// How a destination names processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DestinationMode {
    /// By local APIC ID.
    Physical,
    /// By logical APIC ID.
    Logical,
}

/// Width of a destination ID, which decides what broadcast is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DestinationFormat {
    /// 8 bits: xAPIC, I/O APIC and MSI; FFh is broadcast.
    Xapic,
    /// 32 bits: x2APIC and remapped interrupts; FFFFFFFFh is broadcast.
    X2apic,
}

/// To whom a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Destination {
    /// Physical or logical.
    pub mode: DestinationMode,
    /// Width of `id`.
    pub format: DestinationFormat,
    /// Destination ID.
    pub id: u32,
}

/// An interrupt on its way to one or more local APICs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Vector; of a start-up IPI the page number of the start address.
    pub vector: u8,
    /// Delivery mode. [`DeliveryMode::LowestPriority`] goes to one of those that accept the destination.
    pub delivery_mode: DeliveryMode,
    /// Trigger mode.
    pub trigger_mode: TriggerMode,
    /// Destination.
    pub destination: Destination,
}

/// Destination shorthand of an IPI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Shorthand {
    /// None: the destination field counts.
    None,
    /// All including self.
    AllIncludingSelf,
    /// All excluding self.
    AllExcludingSelf,
}

/// An interprocessor interrupt that the machine distributes. One to the sender alone (shorthand *self*, SELF IPI) never becomes an `Ipi`:
/// the local APIC delivers it at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ipi {
    /// What is sent.
    pub message: Message,
    /// To whom, when not to `message.destination`.
    pub shorthand: Shorthand,
}

/// Which local APIC one looks at, seen from the sender of an IPI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// The sender itself.
    Sender,
    /// Another one.
    Other,
}

impl Ipi {
    /// Whether the IPI is addressed to `apic`.
    pub fn reaches(&self, peer: Peer, apic: &LocalApic) -> bool {
        match self.shorthand {
            Shorthand::None => apic.accepts(self.message.destination),
            Shorthand::AllIncludingSelf => true,
            Shorthand::AllExcludingSelf => peer == Peer::Other,
        }
    }

    /// What a write to the ICR means; `None` for reserved encodings and for the INIT level de-assert, which no processor
    /// since the Pentium 4 acts upon. The trigger mode of every other IPI is edge.
    pub(super) fn from_icr(value: u64, format: DestinationFormat) -> Option<(Message, IcrTarget)> {
        let delivery_mode = DeliveryMode::from_bits((value >> 8) as u8 & 7)?;
        if delivery_mode == DeliveryMode::ExtInt {
            return None;
        }
        if delivery_mode == DeliveryMode::Init && value & icr::LEVEL != 0 && value & icr::ASSERT == 0 {
            return None;
        }
        let id = match format {
            DestinationFormat::Xapic => (value >> 56) as u32,
            DestinationFormat::X2apic => (value >> 32) as u32,
        };
        let mode = if value & icr::LOGICAL != 0 { DestinationMode::Logical } else { DestinationMode::Physical };
        let target = match value >> icr::SHORTHAND_SHIFT & 3 {
            0 => IcrTarget::Shorthand(Shorthand::None),
            // "Valid Combinations": only fixed interrupts may include the sender by shorthand.
            1 | 2 if delivery_mode != DeliveryMode::Fixed => return None,
            1 => IcrTarget::Itself,
            2 => IcrTarget::Shorthand(Shorthand::AllIncludingSelf),
            _ => IcrTarget::Shorthand(Shorthand::AllExcludingSelf),
        };
        let destination = Destination { mode, format, id };
        Some((Message { vector: value as u8, delivery_mode, trigger_mode: TriggerMode::Edge, destination }, target))
    }
}

/// Whether an IPI leaves the local APIC.
pub(super) enum IcrTarget {
    Itself,
    Shorthand(Shorthand),
}

impl Message {
    /// A message-signalled interrupt in compatibility format, as devices and I/O APICs write it. `None`: the address is not in the
    /// interrupt range, the format is remappable (VT-d's affair), or the delivery mode is reserved.
    pub fn from_msi(address: u64, data: u32) -> Option<Self> {
        if address & msi::ADDRESS_MASK != msi::ADDRESS_BASE || address & msi::REMAPPABLE != 0 {
            return None;
        }
        let delivery_mode = DeliveryMode::from_bits((data >> msi::DELIVERY_MODE_SHIFT) as u8 & 7)?;
        if delivery_mode == DeliveryMode::StartUp {
            return None;
        }
        let level =
            data & msi::LEVEL != 0 && matches!(delivery_mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        let mode = if address & msi::LOGICAL != 0 { DestinationMode::Logical } else { DestinationMode::Physical };
        Some(Self {
            vector: data as u8,
            delivery_mode,
            trigger_mode: if level { TriggerMode::Level } else { TriggerMode::Edge },
            destination: Destination {
                mode,
                format: DestinationFormat::Xapic,
                id: (address >> msi::DESTINATION_SHIFT) as u32 & 0xff,
            },
        })
    }
}

/// "Logical Destination Mode": flat model, xAPIC.
pub fn accepts_flat(logical_id: u8, destination: u8) -> bool {
    logical_id & destination != 0
}

/// "Logical Destination Mode": cluster model, xAPIC; the upper half names the cluster, Fh all of them.
pub fn accepts_cluster(logical_id: u8, destination: u8) -> bool {
    (destination >> 4 == 0xf || destination >> 4 == logical_id >> 4) && destination & logical_id & 0xf != 0
}

/// "Logical Destination Mode in x2APIC Mode": the upper half names the cluster.
pub fn accepts_x2apic_logical(logical_id: u32, destination: u32) -> bool {
    logical_id >> 16 == destination >> 16 && logical_id & destination & 0xffff != 0
}

/// "Deriving Logical x2APIC ID from the Local x2APIC ID".
pub fn x2apic_logical_id(id: u32) -> u32 {
    id >> 4 << 16 | 1 << (id & 0xf)
}

/// Of those that accept a lowest-priority message, the one to get it: lowest arbitration priority, the first of equals.
/// "Lowest Priority Delivery Mode"; how ties break is left to the processor there.
pub fn lowest_priority<'a>(candidates: impl IntoIterator<Item = (usize, &'a LocalApic)>) -> Option<usize> {
    candidates
        .into_iter()
        .filter(|(_, apic)| apic.is_software_enabled())
        .min_by_key(|(index, apic)| (apic.arbitration_priority(), *index))
        .map(|(index, _)| index)
}
