//! virtio over PCI, split virtqueues, block and entropy devices. Virtual I/O Device (VIRTIO) Version 1.2.

/// PCI vendor ID of virtio devices. "PCI Device Discovery".
pub const PCI_VENDOR: u16 = 0x1af4;
/// PCI device ID of a modern device, less its virtio device ID. "PCI Device Discovery".
pub const PCI_DEVICE_MODERN: u16 = 0x1040;
/// Virtio device ID: block. "Device Types".
pub const DEVICE_BLOCK: u16 = 2;
/// Virtio device ID: entropy source.
pub const DEVICE_ENTROPY: u16 = 4;

/// Bits of the device status. "Device Status Field".
pub mod status {
    /// The driver has noticed the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The driver knows how to drive the device.
    pub const DRIVER: u8 = 2;
    /// The driver is ready: queues may be served.
    pub const DRIVER_OK: u8 = 4;
    /// Feature negotiation is complete.
    pub const FEATURES_OK: u8 = 8;
    /// The device met an error that it cannot recover from.
    pub const DEVICE_NEEDS_RESET: u8 = 64;
    /// The driver has given up.
    pub const FAILED: u8 = 128;
}

/// Feature bits that are not of one device type. "Reserved Feature Bits".
pub mod feature {
    /// VIRTIO_F_INDIRECT_DESC: descriptors may name tables of descriptors.
    pub const RING_INDIRECT_DESC: u64 = 1 << 28;
    /// VIRTIO_F_EVENT_IDX: used_event and avail_event suppress notifications.
    pub const RING_EVENT_IDX: u64 = 1 << 29;
    /// VIRTIO_F_VERSION_1: complies with version 1 and later.
    pub const VERSION_1: u64 = 1 << 32;
    /// VIRTIO_F_ACCESS_PLATFORM: DMA goes through the platform's remapping.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    /// VIRTIO_F_RING_PACKED: packed virtqueues.
    pub const RING_PACKED: u64 = 1 << 34;
    /// VIRTIO_F_RING_RESET: a queue can be reset by itself.
    pub const RING_RESET: u64 = 1 << 40;
}

/// The virtio vendor-specific capability. "Virtio Structure PCI Capabilities".
pub mod capability {
    /// Offset: length of the capability, 1 byte.
    pub const CAP_LEN: u16 = 2;
    /// Offset: type of the structure, 1 byte.
    pub const CFG_TYPE: u16 = 3;
    /// Offset: BAR that holds the structure, 1 byte.
    pub const BAR: u16 = 4;
    /// Offset: identifier among structures of the same type, 1 byte.
    pub const ID: u16 = 5;
    /// Offset: where in the BAR the structure begins, 4 bytes.
    pub const OFFSET: u16 = 8;
    /// Offset: bytes of the structure, 4 bytes.
    pub const LENGTH: u16 = 12;
    /// Bytes of the capability.
    pub const BYTES: u16 = 16;
    /// Offset in a notification capability: notify_off_multiplier, 4 bytes.
    pub const NOTIFY_OFF_MULTIPLIER: u16 = 16;
    /// Offset in a PCI configuration access capability: pci_cfg_data, 4 bytes.
    pub const PCI_CFG_DATA: u16 = 16;

    /// Type: common configuration.
    pub const COMMON_CFG: u8 = 1;
    /// Type: notifications.
    pub const NOTIFY_CFG: u8 = 2;
    /// Type: ISR status.
    pub const ISR_CFG: u8 = 3;
    /// Type: device-specific configuration.
    pub const DEVICE_CFG: u8 = 4;
    /// Type: PCI configuration access.
    pub const PCI_CFG: u8 = 5;
}

/// Offsets in the common configuration structure. "Common configuration structure layout".
pub mod common {
    /// Which 32 bits of the device's features, 4 bytes.
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    /// Those bits, 4 bytes, read-only.
    pub const DEVICE_FEATURE: u64 = 0x04;
    /// Which 32 bits of the driver's features, 4 bytes.
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    /// Those bits, 4 bytes.
    pub const DRIVER_FEATURE: u64 = 0x0c;
    /// MSI-X vector for configuration changes, 2 bytes.
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    /// How many queues, 2 bytes, read-only.
    pub const NUM_QUEUES: u64 = 0x12;
    /// Device status, 1 byte; writing zero resets the device.
    pub const DEVICE_STATUS: u64 = 0x14;
    /// Changes when the device configuration has changed, 1 byte, read-only.
    pub const CONFIG_GENERATION: u64 = 0x15;
    /// Which queue the following fields are of, 2 bytes.
    pub const QUEUE_SELECT: u64 = 0x16;
    /// Queue size, 2 bytes: the maximum after reset; zero when there is no such queue.
    pub const QUEUE_SIZE: u64 = 0x18;
    /// MSI-X vector of the queue, 2 bytes.
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    /// Queue is enabled, 2 bytes.
    pub const QUEUE_ENABLE: u64 = 0x1c;
    /// Where the queue is notified, in units of notify_off_multiplier, 2 bytes, read-only.
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    /// Address of the descriptor area, 8 bytes.
    pub const QUEUE_DESC: u64 = 0x20;
    /// Address of the driver area (available ring), 8 bytes.
    pub const QUEUE_DRIVER: u64 = 0x28;
    /// Address of the device area (used ring), 8 bytes.
    pub const QUEUE_DEVICE: u64 = 0x30;
    /// Notification data, 2 bytes, read-only.
    pub const QUEUE_NOTIFY_DATA: u64 = 0x38;
    /// Resets the queue, 2 bytes.
    pub const QUEUE_RESET: u64 = 0x3a;
    /// Bytes of the structure.
    pub const BYTES: u64 = 0x3c;
    /// "No vector" in the vector fields.
    pub const NO_VECTOR: u16 = 0xffff;
}

/// ISR status: a queue was used. "ISR status capability".
pub const ISR_QUEUE: u8 = 1;
/// ISR status: the device configuration changed.
pub const ISR_CONFIGURATION: u8 = 2;

/// Split virtqueues. "Split Virtqueues".
pub mod split {
    /// Bytes of a descriptor: address 8, length 4, flags 2, next 2.
    pub const DESCRIPTOR_BYTES: u64 = 16;
    /// Descriptor flag: `next` names the next one.
    pub const NEXT: u16 = 1;
    /// Descriptor flag: the device writes the buffer.
    pub const WRITE: u16 = 2;
    /// Descriptor flag: the buffer is a table of descriptors.
    pub const INDIRECT: u16 = 4;
    /// Offset of `idx` in the available and used rings, after `flags`.
    pub const RING_IDX: u64 = 2;
    /// Offset of the entries in both rings.
    pub const RING_ENTRIES: u64 = 4;
    /// Bytes of an available entry.
    pub const AVAIL_ENTRY_BYTES: u64 = 2;
    /// Bytes of a used entry: id 4, length 4.
    pub const USED_ENTRY_BYTES: u64 = 8;
    /// Available flag: the driver asks not to be interrupted.
    pub const AVAIL_NO_INTERRUPT: u16 = 1;
}

/// Block device. "Block Device".
pub mod block {
    /// VIRTIO_BLK_F_SIZE_MAX: size_max holds.
    pub const F_SIZE_MAX: u64 = 1 << 1;
    /// VIRTIO_BLK_F_SEG_MAX: seg_max holds.
    pub const F_SEG_MAX: u64 = 1 << 2;
    /// VIRTIO_BLK_F_RO: the device is read-only.
    pub const F_RO: u64 = 1 << 5;
    /// VIRTIO_BLK_F_BLK_SIZE: blk_size holds.
    pub const F_BLK_SIZE: u64 = 1 << 6;
    /// VIRTIO_BLK_F_FLUSH: the flush command exists.
    pub const F_FLUSH: u64 = 1 << 9;
    /// VIRTIO_BLK_F_DISCARD: the discard command exists.
    pub const F_DISCARD: u64 = 1 << 13;
    /// VIRTIO_BLK_F_WRITE_ZEROES: the write zeroes command exists.
    pub const F_WRITE_ZEROES: u64 = 1 << 14;

    /// Configuration: capacity in sectors of 512 bytes, 8 bytes.
    pub const CAPACITY: usize = 0x00;
    /// Configuration: largest segment in bytes, 4 bytes.
    pub const SIZE_MAX: usize = 0x08;
    /// Configuration: most segments of a request, 4 bytes.
    pub const SEG_MAX: usize = 0x0c;
    /// Configuration: optimal block size in bytes, 4 bytes.
    pub const BLK_SIZE: usize = 0x14;
    /// Configuration: most sectors of a discard segment, 4 bytes.
    pub const MAX_DISCARD_SECTORS: usize = 0x24;
    /// Configuration: most segments of a discard, 4 bytes.
    pub const MAX_DISCARD_SEG: usize = 0x28;
    /// Configuration: alignment of discards in sectors, 4 bytes.
    pub const DISCARD_SECTOR_ALIGNMENT: usize = 0x2c;
    /// Configuration: most sectors of a write zeroes segment, 4 bytes.
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 0x30;
    /// Configuration: most segments of a write zeroes, 4 bytes.
    pub const MAX_WRITE_ZEROES_SEG: usize = 0x34;
    /// Configuration: write zeroes may deallocate, 1 byte.
    pub const WRITE_ZEROES_MAY_UNMAP: usize = 0x38;
    /// Configuration: bytes of the structure up to there.
    pub const CONFIG_BYTES: usize = 0x3c;

    /// Bytes of a sector.
    pub const SECTOR_BYTES: u64 = 512;
    /// Bytes of a request header: type 4, reserved 4, sector 8.
    pub const HEADER_BYTES: usize = 16;
    /// Request: read.
    pub const T_IN: u32 = 0;
    /// Request: write.
    pub const T_OUT: u32 = 1;
    /// Request: flush.
    pub const T_FLUSH: u32 = 4;
    /// Request: identification string.
    pub const T_GET_ID: u32 = 8;
    /// Request: discard.
    pub const T_DISCARD: u32 = 11;
    /// Request: write zeroes.
    pub const T_WRITE_ZEROES: u32 = 13;
    /// Bytes of a discard or write zeroes segment: sector 8, number of sectors 4, flags 4.
    pub const SEGMENT_BYTES: usize = 16;
    /// Segment flag: unmap.
    pub const SEGMENT_UNMAP: u32 = 1;
    /// Bytes of the identification string.
    pub const ID_BYTES: usize = 20;
    /// Status: success.
    pub const S_OK: u8 = 0;
    /// Status: device or driver error.
    pub const S_IOERR: u8 = 1;
    /// Status: the device does not do this.
    pub const S_UNSUPP: u8 = 2;
}
