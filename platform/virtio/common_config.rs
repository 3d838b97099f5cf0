//! The common configuration structure. VIRTIO 1.2, "Common configuration structure layout".
//!
//! Reads take any bytes of it. Writes count when they are of a whole field, or of a half of an 8-byte one; others have no effect.
//! A queue's addresses and size cannot change while it is enabled.

use super::transport::{VirtioDevice, VirtioPci};
use crate::device::Context;
use undercroft_spec::pci::virtio::{common, status};

impl<D: VirtioDevice> VirtioPci<D> {
    /// The structure as the driver sees it now.
    pub(super) fn common_config(&self) -> [u8; common::BYTES as usize] {
        let mut image = [0; common::BYTES as usize];
        let mut put = |at: u64, bytes: &[u8]| {
            let at = at as usize;
            image[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(common::DEVICE_FEATURE_SELECT, &self.device_feature_select.to_le_bytes());
        put(common::DEVICE_FEATURE, &half(self.features(), self.device_feature_select).to_le_bytes());
        put(common::DRIVER_FEATURE_SELECT, &self.driver_feature_select.to_le_bytes());
        put(common::DRIVER_FEATURE, &half(self.driver_features, self.driver_feature_select).to_le_bytes());
        put(common::CONFIG_MSIX_VECTOR, &self.config_vector.to_le_bytes());
        put(common::NUM_QUEUES, &(self.queues.len() as u16).to_le_bytes());
        put(common::DEVICE_STATUS, &[self.status]);
        put(common::QUEUE_SELECT, &self.queue_select.to_le_bytes());
        let Some(queue) = self.queues.get(usize::from(self.queue_select)) else {
            // No such queue: a size of zero says so.
            return image;
        };
        put(common::QUEUE_SIZE, &queue.ring.size.to_le_bytes());
        put(common::QUEUE_MSIX_VECTOR, &queue.vector.to_le_bytes());
        put(common::QUEUE_ENABLE, &u16::from(queue.enabled).to_le_bytes());
        put(common::QUEUE_NOTIFY_OFF, &self.queue_select.to_le_bytes());
        put(common::QUEUE_DESC, &queue.ring.desc.to_le_bytes());
        put(common::QUEUE_DRIVER, &queue.ring.driver.to_le_bytes());
        put(common::QUEUE_DEVICE, &queue.ring.device.to_le_bytes());
        put(common::QUEUE_NOTIFY_DATA, &self.queue_select.to_le_bytes());
        image
    }

    /// The driver writes the structure.
    pub(super) fn common_config_write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        match (offset, size) {
            (common::DEVICE_FEATURE_SELECT, 4) => self.device_feature_select = value as u32,
            (common::DRIVER_FEATURE_SELECT, 4) => self.driver_feature_select = value as u32,
            (common::DRIVER_FEATURE, 4) => self.write_driver_feature(value as u32),
            (common::CONFIG_MSIX_VECTOR, 2) => self.config_vector = self.vector(value as u16),
            (common::DEVICE_STATUS, 1) => self.write_status(cx, value as u8),
            (common::QUEUE_SELECT, 2) => self.queue_select = value as u16,
            (common::QUEUE_RESET, 2) if value == 1 => self.reset_queue(self.queue_select),
            (common::QUEUE_SIZE..common::QUEUE_NOTIFY_DATA, _) => self.queue_write(offset, size, value),
            _ => {}
        }
    }

    /// The features are settled once the device has confirmed FEATURES_OK.
    fn write_driver_feature(&mut self, value: u32) {
        let shift = match self.driver_feature_select {
            0 => 0,
            1 => 32,
            // No such features: whoever wants one of them cannot have it, and sees so when reading back.
            _ => return,
        };
        if self.status & status::FEATURES_OK == 0 {
            self.driver_features = self.driver_features & !(0xffff_ffff << shift) | u64::from(value) << shift;
        }
    }

    fn queue_write(&mut self, offset: u64, size: u8, value: u64) {
        let vector = self.vector(value as u16);
        let most = D::QUEUE_SIZES.get(usize::from(self.queue_select)).copied().unwrap_or(0);
        let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else { return };
        if (offset, size) == (common::QUEUE_MSIX_VECTOR, 2) {
            queue.vector = vector;
            return;
        }
        if queue.enabled {
            return;
        }
        let ring = &mut queue.ring;
        match (offset, size) {
            (common::QUEUE_ENABLE, 2) => queue.enabled = value == 1,
            (common::QUEUE_SIZE, 2) => {
                let size = value as u16;
                if size.is_power_of_two() && size <= most {
                    ring.size = size;
                }
            }
            _ => {
                write_address(&mut ring.desc, common::QUEUE_DESC, offset, size, value);
                write_address(&mut ring.driver, common::QUEUE_DRIVER, offset, size, value);
                write_address(&mut ring.device, common::QUEUE_DEVICE, offset, size, value);
            }
        }
    }

    /// A vector as the driver reads it back: "no vector" when the device has no such one. "MSI-X Vector Configuration".
    fn vector(&self, vector: u16) -> u16 {
        if vector < self.msix.vectors() { vector } else { common::NO_VECTOR }
    }
}

/// 32 of the feature bits.
fn half(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

/// A write to an 8-byte field at `field`, whole or one half.
fn write_address(address: &mut u64, field: u64, offset: u64, size: u8, value: u64) {
    const LOW: u64 = 0xffff_ffff;
    match (offset.wrapping_sub(field), size) {
        (0, 8) => *address = value,
        (0, 4) => *address = *address & !LOW | value & LOW,
        (4, 4) => *address = *address & LOW | value << 32,
        _ => {}
    }
}
