//! virtio over PCI: the function on the bus. VIRTIO 1.2, "Virtio Over PCI Bus".
//!
//! BAR 0 holds the virtio structures, each in pages of its own; BAR 2 holds the MSI-X table. Interrupts go by MSI-X, or by INTA# while
//! MSI-X is not enabled. The device configuration never changes after the function was built, so that its generation stays zero.

use super::chain::{Chain, RingFault};
use super::split_ring::{Notification, SplitRing};
use crate::clock::Tick;
use crate::device::{Context, Dma};
use crate::pci::{BarKind, ConfigSpace, Identity, MsixTable, PciFunction};
use serde::{Deserialize, Serialize};
use undercroft_spec::pci::capability::ID_VENDOR_SPECIFIC;
use undercroft_spec::pci::virtio::{self, capability, common, feature, status};

/// BAR of the virtio structures.
pub const STRUCTURES_BAR: u8 = 0;
/// BAR of the MSI-X table and pending-bit array.
pub const MSIX_BAR: u8 = 2;
/// Bytes of the virtio structures' BAR.
const STRUCTURES_BYTES: u64 = 0x4000;
/// Bytes of the MSI-X BAR, and where the pending-bit array begins in it.
const MSIX_BYTES: u64 = 0x1000;
const MSIX_PENDING_OFFSET: u32 = 0x800;

/// Where in BAR 0 the common configuration lies.
pub const COMMON_OFFSET: u64 = 0x0000;
/// Where in BAR 0 the ISR status lies.
pub const ISR_OFFSET: u64 = 0x1000;
/// Where in BAR 0 the device configuration lies.
pub const DEVICE_OFFSET: u64 = 0x2000;
/// Where in BAR 0 the notification addresses lie.
pub const NOTIFY_OFFSET: u64 = 0x3000;
/// notify_off_multiplier.
pub const NOTIFY_MULTIPLIER: u32 = 4;
/// Bytes between structures.
const STRUCTURE_STRIDE: u64 = 0x1000;

/// Features of the transport and of split rings, which every device offers.
const TRANSPORT_FEATURES: u64 = feature::VERSION_1
    | feature::ACCESS_PLATFORM
    | feature::RING_EVENT_IDX
    | feature::RING_INDIRECT_DESC
    | feature::RING_RESET;

/// Ticks that every request takes, and bytes of its buffers that add one more: 20 microseconds and 2 GBytes a second.
const REQUEST_TICKS: u64 = 20_000;
const BYTES_PER_TICK: u64 = 2;

/// What lies behind the transport.
pub trait VirtioDevice {
    /// Virtio device ID.
    const DEVICE_ID: u16;
    /// PCI class code.
    const CLASS: u32;
    /// Entries that each queue can have at most: powers of two.
    const QUEUE_SIZES: &'static [u16];

    /// The device type's own feature bits.
    fn features(&self) -> u64 {
        0
    }

    /// The device-specific configuration. The driver cannot write it.
    fn device_config(&self) -> Vec<u8> {
        Vec::new()
    }

    /// How long a request takes from when it is taken from the ring: more than zero.
    fn service_ticks(&self, chain: &Chain) -> u64 {
        REQUEST_TICKS + (chain.readable_bytes() + chain.writable_bytes()) / BYTES_PER_TICK
    }

    /// Carries a request out. Gives the bytes that were written into it, counted from the first without a gap.
    fn serve(&mut self, queue: u16, chain: &Chain, dma: &mut dyn Dma) -> Result<u32, RingFault>;

    /// Power-on or platform reset. (A reset by the driver concerns the transport only.)
    fn reset(&mut self);
}

/// A request that the device is busy with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Service {
    chain: Chain,
    due: Tick,
}

/// A queue as the common configuration shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Queue {
    pub ring: SplitRing,
    pub enabled: bool,
    pub vector: u16,
    service: Option<Service>,
}

impl Queue {
    pub fn new(size: u16) -> Self {
        Queue { ring: SplitRing::new(size), enabled: false, vector: common::NO_VECTOR, service: None }
    }
}

/// A virtio function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VirtioPci<D> {
    // Configuration.
    pci_cfg_at: u16,
    // State.
    /// The device behind the transport.
    pub device: D,
    pub(super) config: ConfigSpace,
    pub(super) msix: MsixTable,
    pub(super) device_feature_select: u32,
    pub(super) driver_feature_select: u32,
    pub(super) driver_features: u64,
    pub(super) config_vector: u16,
    pub(super) status: u8,
    pub(super) queue_select: u16,
    pub(super) queues: Vec<Queue>,
    isr: u8,
    fault: Option<RingFault>,
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// A function after power-on.
    pub fn new(device: D) -> Self {
        let mut config = ConfigSpace::new(&Identity {
            vendor: virtio::PCI_VENDOR,
            device: virtio::PCI_DEVICE_MODERN + D::DEVICE_ID,
            subsystem_vendor: virtio::PCI_VENDOR,
            subsystem: virtio::PCI_DEVICE_MODERN + D::DEVICE_ID,
            revision: 1,
            class: D::CLASS,
        });
        config.define_bar(STRUCTURES_BAR, BarKind::Memory64, STRUCTURES_BYTES);
        config.define_bar(MSIX_BAR, BarKind::Memory32, MSIX_BYTES);
        config.define_interrupt_pin(1);
        config.define_express_endpoint();
        let queues: Vec<Queue> = D::QUEUE_SIZES.iter().map(|size| Queue::new(*size)).collect();
        let msix = MsixTable::define(&mut config, queues.len() as u16 + 1, MSIX_BAR, MSIX_PENDING_OFFSET);
        let notify_bytes = queues.len() as u64 * u64::from(NOTIFY_MULTIPLIER);
        define_structure(&mut config, capability::COMMON_CFG, COMMON_OFFSET, common::BYTES, 0);
        define_structure(&mut config, capability::ISR_CFG, ISR_OFFSET, 1, 0);
        let device_bytes = device.device_config().len() as u64;
        if device_bytes != 0 {
            define_structure(&mut config, capability::DEVICE_CFG, DEVICE_OFFSET, device_bytes, 0);
        }
        let notify_at = define_structure(&mut config, capability::NOTIFY_CFG, NOTIFY_OFFSET, notify_bytes, 4);
        config.define_u32(notify_at + capability::NOTIFY_OFF_MULTIPLIER, NOTIFY_MULTIPLIER, 0);
        let pci_cfg_at = define_structure(&mut config, capability::PCI_CFG, 0, 0, 4);
        config.define_u8(pci_cfg_at + capability::BAR, 0, 0xff);
        config.define_u32(pci_cfg_at + capability::OFFSET, 0, !0);
        config.define_u32(pci_cfg_at + capability::LENGTH, 0, !0);
        config.define_u32(pci_cfg_at + capability::PCI_CFG_DATA, 0, !0);
        VirtioPci {
            pci_cfg_at,
            device,
            config,
            msix,
            device_feature_select: 0,
            driver_feature_select: 0,
            driver_features: 0,
            config_vector: common::NO_VECTOR,
            status: 0,
            queue_select: 0,
            queues,
            isr: 0,
            fault: None,
        }
    }

    /// Why the device asked for a reset, if it did since the last one.
    pub fn fault(&self) -> Option<RingFault> {
        self.fault
    }

    /// All features on offer.
    pub(super) fn features(&self) -> u64 {
        TRANSPORT_FEATURES | self.device.features()
    }

    /// The driver wrote the device status. "Device Status Field".
    pub(super) fn write_status(&mut self, cx: &mut Context<'_>, value: u8) {
        if value == 0 {
            return self.reset_by_driver();
        }
        let settable = status::ACKNOWLEDGE | status::DRIVER | status::DRIVER_OK | status::FEATURES_OK | status::FAILED;
        let mut new = self.status | value & settable;
        let is_acceptable =
            self.driver_features & !self.features() == 0 && self.driver_features & feature::VERSION_1 != 0;
        if self.status & status::FEATURES_OK == 0 && !is_acceptable {
            new &= !status::FEATURES_OK;
        }
        self.status = new;
        self.notify_all(cx);
    }

    /// A queue leaves service: what the device was busy with is forgotten. "Queue Reset".
    pub(super) fn reset_queue(&mut self, index: u16) {
        let size = D::QUEUE_SIZES.get(usize::from(index));
        if let (Some(queue), Some(size)) = (self.queues.get_mut(usize::from(index)), size) {
            *queue = Queue::new(*size);
        }
    }

    /// The device is back to where negotiation begins. Configuration space and MSI-X table are not concerned. "Device Reset".
    fn reset_by_driver(&mut self) {
        let Self {
            pci_cfg_at: _,
            device: _,
            config,
            msix: _,
            device_feature_select,
            driver_feature_select,
            driver_features,
            config_vector,
            status,
            queue_select,
            queues,
            isr,
            fault,
        } = self;
        *device_feature_select = 0;
        *driver_feature_select = 0;
        *driver_features = 0;
        *config_vector = common::NO_VECTOR;
        *status = 0;
        *queue_select = 0;
        *queues = D::QUEUE_SIZES.iter().map(|size| Queue::new(*size)).collect();
        *isr = 0;
        *fault = None;
        config.set_interrupt(false);
    }

    fn reset_function(&mut self) {
        self.reset_by_driver();
        self.config.reset();
        self.msix.reset();
    }

    /// Whether queues may be served.
    fn is_live(&self) -> bool {
        let needed = status::FEATURES_OK | status::DRIVER_OK;
        self.status & (needed | status::DEVICE_NEEDS_RESET) == needed && self.config.is_bus_master()
    }

    fn notify_all(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.queues.len() as u16 {
            self.notify(cx, index);
        }
    }

    /// The driver says that a queue has something available: an idle queue takes it.
    fn notify(&mut self, cx: &mut Context<'_>, index: u16) {
        let is_live = self.is_live();
        let features = self.driver_features;
        let Some(queue) = self.queues.get_mut(usize::from(index)) else { return };
        if !is_live || !queue.enabled || queue.service.is_some() {
            return;
        }
        match queue.ring.pop(cx.dma, features) {
            Ok(None) => {}
            Ok(Some(chain)) => {
                let ticks = self.device.service_ticks(&chain).max(1);
                queue.service = Some(Service { chain, due: Tick(cx.now.0.saturating_add(ticks)) });
            }
            Err(fault) => self.give_up(cx, fault),
        }
    }

    /// Finishes the request that a queue is busy with, and takes the next one.
    fn complete(&mut self, cx: &mut Context<'_>, index: u16) {
        let Some(queue) = self.queues.get_mut(usize::from(index)) else { return };
        let Some(service) = queue.service.take() else { return };
        let features = self.driver_features;
        let pushed = self
            .device
            .serve(index, &service.chain, cx.dma)
            .and_then(|written| queue.ring.push(cx.dma, features, service.chain.head, written));
        match pushed {
            Ok(Notification::Wanted) => {
                let vector = queue.vector;
                self.interrupt(cx, vector, virtio::ISR_QUEUE);
            }
            Ok(Notification::Suppressed) => {}
            Err(fault) => return self.give_up(cx, fault),
        }
        self.notify(cx, index);
    }

    /// The driver broke the rules of a ring: the device serves nothing until it is reset.
    fn give_up(&mut self, cx: &mut Context<'_>, fault: RingFault) {
        self.fault = Some(fault);
        self.status |= status::DEVICE_NEEDS_RESET;
        self.queues.iter_mut().for_each(|queue| queue.service = None);
        if self.status & status::DRIVER_OK != 0 {
            self.interrupt(cx, self.config_vector, virtio::ISR_CONFIGURATION);
        }
    }

    /// "Used Buffer Notifications" and "Notification of Device Configuration Changes".
    fn interrupt(&mut self, cx: &mut Context<'_>, vector: u16, isr: u8) {
        if self.msix.is_enabled(&self.config) {
            self.msix.trigger(&self.config, vector, cx.msi);
        } else {
            self.isr |= isr;
            self.config.set_interrupt(true);
        }
    }

    fn structure_read(&mut self, offset: u64, size: u8) -> u64 {
        let within = offset % STRUCTURE_STRIDE;
        match offset - within {
            COMMON_OFFSET => bytes_at(&self.common_config(), within, size),
            DEVICE_OFFSET => bytes_at(&self.device.device_config(), within, size),
            ISR_OFFSET if within == 0 => {
                // Reading acknowledges. "ISR status capability".
                self.config.set_interrupt(false);
                u64::from(std::mem::take(&mut self.isr))
            }
            _ => 0,
        }
    }

    fn structure_write(&mut self, cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        let within = offset % STRUCTURE_STRIDE;
        match offset - within {
            COMMON_OFFSET => self.common_config_write(cx, within, size, value),
            NOTIFY_OFFSET => self.notify(cx, (within / u64::from(NOTIFY_MULTIPLIER)) as u16),
            _ => {}
        }
    }

    /// Where an access through the PCI configuration access capability goes, and of how many bytes it is.
    /// "PCI configuration access capability".
    fn pci_cfg_window(&self) -> Option<(u64, u8)> {
        let read = |field: u16, size: u8| self.config.read(self.pci_cfg_at + field, size);
        let offset = u64::from(read(capability::OFFSET, 4));
        let size = read(capability::LENGTH, 4);
        let is_allowed = read(capability::BAR, 1) == u32::from(STRUCTURES_BAR)
            && matches!(size, 1 | 2 | 4)
            && offset.is_multiple_of(u64::from(size))
            && offset < STRUCTURES_BYTES;
        is_allowed.then_some((offset, size as u8))
    }

    /// Whether an access to configuration space touches the capability's data.
    fn touches_pci_cfg_data(&self, offset: u16, size: u8) -> bool {
        let data = self.pci_cfg_at + capability::PCI_CFG_DATA;
        offset < data + 4 && u32::from(offset) + u32::from(size) > u32::from(data)
    }
}

impl<D: VirtioDevice> PciFunction for VirtioPci<D> {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_read(&mut self, _cx: &mut Context<'_>, offset: u16, size: u8) -> u32 {
        if self.touches_pci_cfg_data(offset, size)
            && let Some((at, bytes)) = self.pci_cfg_window()
        {
            let value = self.structure_read(at, bytes);
            self.config.set(self.pci_cfg_at + capability::PCI_CFG_DATA, 4, value as u32);
        }
        self.config.read(offset, size)
    }

    fn config_write(&mut self, cx: &mut Context<'_>, offset: u16, size: u8, value: u32) {
        if self.config.asks_function_level_reset(offset, size, value) {
            return self.reset_function();
        }
        let was_bus_master = self.config.is_bus_master();
        self.config.write(offset, size, value);
        if self.touches_pci_cfg_data(offset, size)
            && let Some((at, bytes)) = self.pci_cfg_window()
        {
            let data = self.config.read(self.pci_cfg_at + capability::PCI_CFG_DATA, bytes);
            self.structure_write(cx, at, bytes, u64::from(data));
        }
        // INTA# is not used while MSI-X is enabled.
        self.config.set_interrupt(self.isr != 0 && !self.msix.is_enabled(&self.config));
        self.msix.deliver(&self.config, cx.msi);
        if !was_bus_master && self.config.is_bus_master() {
            // What stood still meanwhile goes on from here.
            for service in self.queues.iter_mut().filter_map(|queue| queue.service.as_mut()) {
                service.due = service.due.max(cx.now);
            }
            self.notify_all(cx);
        }
    }

    fn bar_read(&mut self, _cx: &mut Context<'_>, bar: u8, offset: u64, size: u8) -> u64 {
        match bar {
            STRUCTURES_BAR => self.structure_read(offset, size),
            MSIX_BAR => self.msix.read(offset, size),
            _ => u64::MAX,
        }
    }

    fn bar_write(&mut self, cx: &mut Context<'_>, bar: u8, offset: u64, size: u8, value: u64) {
        match bar {
            STRUCTURES_BAR => self.structure_write(cx, offset, size, value),
            MSIX_BAR => self.msix.write(&self.config, offset, size, value, cx.msi),
            _ => {}
        }
    }

    fn next_event(&self) -> Option<Tick> {
        if !self.is_live() {
            return None;
        }
        self.queues.iter().filter_map(|queue| queue.service.as_ref()).map(|service| service.due).min()
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.queues.len() {
            let due = self.queues[index].service.as_ref().is_some_and(|service| service.due <= cx.now);
            if due && self.is_live() {
                self.complete(cx, index as u16);
            }
        }
    }

    fn reset(&mut self) {
        self.reset_function();
        self.device.reset();
    }
}

/// Adds a virtio structure's capability; `more` bytes follow its fixed part.
fn define_structure(config: &mut ConfigSpace, kind: u8, offset: u64, length: u64, more: u16) -> u16 {
    let bytes = capability::BYTES + more;
    let at = config.define_capability(ID_VENDOR_SPECIFIC, bytes);
    config.define_u8(at + capability::CAP_LEN, bytes as u8, 0);
    config.define_u8(at + capability::CFG_TYPE, kind, 0);
    config.define_u8(at + capability::BAR, STRUCTURES_BAR, 0);
    config.define_u32(at + capability::OFFSET, offset as u32, 0);
    config.define_u32(at + capability::LENGTH, length as u32, 0);
    at
}

/// `size` bytes at `offset` of a structure; zero beyond its end.
fn bytes_at(structure: &[u8], offset: u64, size: u8) -> u64 {
    (0..u64::from(size.min(8))).rev().fold(0, |value, byte| {
        let at = usize::try_from(offset.saturating_add(byte)).unwrap_or(usize::MAX);
        value << 8 | u64::from(structure.get(at).copied().unwrap_or(0))
    })
}
