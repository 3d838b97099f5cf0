//! Which device answers at which address. Intel I/O Controller Hub 9 data sheet, "Register and Memory Mapping".
//!
//! The PCI bus decides for itself what lies in its windows; here are the fixed ranges around it.

use undercroft_spec::PhysAddr;

/// Where RAM below 4 GiB ends at most; the memory-mapped configuration space begins there.
pub const LOW_RAM_LIMIT: u64 = 0xb000_0000;
/// The I/O APIC's registers.
pub const IO_APIC: PhysAddr = PhysAddr(0xfec0_0000);
/// Length of the I/O APIC's range in bytes.
pub const IO_APIC_BYTES: u64 = 0x1000;
/// I/O ports of the power-management block, in number.
pub const PM_PORTS: u16 = 0x80;
/// Offset at which the power-management block has the APM ports B2h and B3h.
pub const PM_APM_OFFSET: u64 = 0x80;

/// A device with registers at fixed places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// The 8259 pair.
    Pic,
    /// The 8254.
    Pit,
    /// The keyboard controller.
    Keyboard,
    /// The real-time clock.
    Rtc,
    /// The manufacturer's diagnostic port, 80h.
    Post,
    /// Reset control register and port 92h.
    ResetControl,
    /// A serial port: 0 or 1.
    Uart(u8),
    /// The debug console.
    DebugConsole,
    /// The debug-exit port.
    DebugExit,
    /// The firmware configuration device.
    FwCfg,
    /// Power management.
    Pm,
    /// The I/O APIC.
    IoApic,
    /// The event timer.
    Hpet,
}

/// A register of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Whose.
    pub device: Device,
    /// Offset as the device counts.
    pub offset: u64,
    /// Bytes from there to the end of the range: wider accesses are cut into bytes.
    pub room: u64,
}

/// First port, last port, device, and the offset at which the device has the first.
const PORTS: [(u16, u16, Device, u64); 18] = [
    (0x0020, 0x0021, Device::Pic, 0),
    (0x0040, 0x0043, Device::Pit, 0),
    (0x0060, 0x0060, Device::Keyboard, 0),
    (0x0061, 0x0061, Device::Pit, 4),
    (0x0064, 0x0064, Device::Keyboard, 1),
    (0x0070, 0x0073, Device::Rtc, 0),
    (0x0080, 0x0080, Device::Post, 0),
    (0x0092, 0x0092, Device::ResetControl, 1),
    (0x00a0, 0x00a1, Device::Pic, 2),
    (0x00b2, 0x00b3, Device::Pm, PM_APM_OFFSET),
    (0x00e9, 0x00e9, Device::DebugConsole, 0),
    (0x00f4, 0x00f7, Device::DebugExit, 0),
    (0x02f8, 0x02ff, Device::Uart(1), 0),
    (0x03f8, 0x03ff, Device::Uart(0), 0),
    (0x04d0, 0x04d1, Device::Pic, 4),
    (0x0510, 0x0511, Device::FwCfg, 0),
    (0x0514, 0x051b, Device::FwCfg, 4),
    (0x0cf9, 0x0cf9, Device::ResetControl, 0),
];

/// The register at a fixed port.
pub fn port(port: u16) -> Option<Place> {
    let at = PORTS.partition_point(|(first, ..)| *first <= port);
    let (first, last, device, offset) = *PORTS.get(at.checked_sub(1)?)?;
    if port > last {
        return None;
    }
    Some(Place { device, offset: offset + u64::from(port - first), room: u64::from(last - port) + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_of_each_range_is_found_with_its_offset_and_room() {
        let place = |device, offset, room| Some(Place { device, offset, room });
        assert_eq!(port(0x1f), None);
        assert_eq!(port(0x20), place(Device::Pic, 0, 2));
        assert_eq!(port(0x21), place(Device::Pic, 1, 1));
        assert_eq!(port(0x22), None);
        assert_eq!(port(0x61), place(Device::Pit, 4, 1));
        assert_eq!(port(0x64), place(Device::Keyboard, 1, 1));
        assert_eq!(port(0xb3), place(Device::Pm, 0x81, 1));
        assert_eq!(port(0x3fd), place(Device::Uart(0), 5, 3));
        assert_eq!(port(0xcf8), None);
        assert_eq!(port(0xcf9), place(Device::ResetControl, 0, 1));
        assert_eq!(port(0xffff), None);
    }

    #[test]
    fn ports_are_sorted_and_do_not_overlap() {
        for pair in PORTS.windows(2) {
            assert!(pair[0].1 < pair[1].0, "{pair:x?}");
        }
    }
}
