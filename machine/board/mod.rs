//! The board: the address map, the wiring and what firmware would have left in memory.
//!
//! | module | what |
//! | --- | --- |
//! | [`address_map`] | which device answers at which fixed address |
//! | `devices` | the devices and the board's choices about them |
//! | `wiring` | interrupt lines |
//! | `dma` | memory as devices see it |
//! | [`firmware_tables`] | ACPI tables, memory map, BIOS data |
//!
//! [`Board`] is the processor's [`Bus`]. After each call into a device it reads that device's outputs (levels, messages, the time of its
//! next event) and passes on what changed, so that an access costs what its device costs. Before each access it lets all devices do what
//! was due earlier: a device never sees time in the wrong order.

pub mod address_map;
mod devices;
mod dma;
pub mod firmware_tables;
#[cfg(test)]
mod tests;
mod wiring;

use address_map::{Device, IO_APIC, IO_APIC_BYTES, PM_PORTS, Place};
use devices::{Choices, Devices};
use dma::RamDma;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use undercroft_cpu::ports::{Bus, Signal};
use undercroft_phys_map::PhysMap;
use undercroft_platform::backend::Disk;
pub use undercroft_platform::backend::DiskMode;
use undercroft_platform::chipset::fw_cfg::Items;
use undercroft_platform::chipset::hpet;
use undercroft_platform::chipset::pm_ich9::PowerRequest;
use undercroft_platform::chipset::uart_ns16550::LineSpeed;
use undercroft_platform::clock::Tick;
use undercroft_platform::device::{Context, Msi, Timed};
use undercroft_platform::pci::{Bdf, FirmwareChoices, PciBus, ResourceError, Target};
use undercroft_platform::virtio::{Block, BlockConfig, Entropy, VirtioFunction, VirtioPci};
use undercroft_ram::Ram;
use undercroft_spec::PhysAddr;
use wiring::{Wiring, irq};

/// Bytes of serial output that wait for the user at most; later ones are lost.
const OUTPUT_LIMIT: usize = 64 << 20;
/// Place of the entropy source; disks follow it.
const ENTROPY_DEVICE: u8 = 1;
/// Most disks: the chipset's own devices begin at 25.
pub const DISKS_MAX: usize = 23;
/// Events after which an [`Bus::advance`] over a long time no longer stops at each.
const EVENTS_MAX: u32 = 1 << 16;

/// What the board is made of.
#[derive(Debug)]
pub struct BoardConfig {
    /// Local identifier of the I/O APIC.
    pub io_apic_id: u8,
    /// What the clock shows at power-on, in seconds after 1970-01-01 00:00:00 UTC.
    pub start_seconds: u64,
    /// Speed of the serial ports.
    pub serial_speed: LineSpeed,
    /// Seed of the entropy source.
    pub seed: u64,
    /// What the firmware configuration device offers.
    pub fw_cfg: Items,
    /// Number of processors, for the battery-backed memory.
    pub cpus: u32,
    /// Disks in the order of their places on the bus, with their identification strings.
    pub disks: Vec<(Disk, BlockConfig)>,
}

/// Why a device stopped the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BoardStop {
    /// Software switched the machine off.
    PowerOff,
    /// Software asked for a reset.
    Reset,
    /// Software wrote this to the debug-exit port.
    DebugExit(u32),
}

/// The state of the board as a snapshot holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BoardState {
    devices: Devices,
    wiring: Wiring,
    serial_input: [VecDeque<u8>; 2],
    messages: Vec<(u64, u32)>,
    stop: Option<BoardStop>,
}

/// Devices to which time matters, as indices into [`Board::due`].
mod timed {
    pub const PIT: usize = 0;
    pub const KEYBOARD: usize = 1;
    pub const RTC: usize = 2;
    pub const UART_0: usize = 3;
    pub const UART_1: usize = 4;
    pub const PM: usize = 5;
    pub const HPET: usize = 6;
    pub const PCI: usize = 7;
    pub const COUNT: usize = 8;
}

/// Where programmable ranges lie now: a cache of the LPC bridge's registers.
#[derive(Clone, Copy, Default, Debug)]
struct Decode {
    pm_base: Option<u16>,
    hpet_base: Option<u64>,
    io_apic: bool,
    sci_irq: u8,
}

/// The board.
pub struct Board {
    // connections
    ram: Ram,
    map: PhysMap,
    // state
    devices: Devices,
    wiring: Wiring,
    /// Bytes from outside for which the port has no room yet.
    serial_input: [VecDeque<u8>; 2],
    // outputs
    messages: Vec<Msi>,
    stop: Option<BoardStop>,
    serial_output: [Vec<u8>; 2],
    debug_output: Vec<u8>,
    // caches
    decode: Decode,
    due: [u64; timed::COUNT],
    next: u64,
    intr: bool,
}

impl Board {
    /// A board after power-on and after what firmware would have done.
    ///
    /// # Errors
    /// [`ResourceError`] when the PCI functions find no room in the address map.
    ///
    /// # Panics
    /// When there are more than [`DISKS_MAX`] disks: the builder refuses that earlier.
    pub fn new(ram: Ram, map: PhysMap, config: BoardConfig) -> Result<Board, ResourceError> {
        assert!(config.disks.len() <= DISKS_MAX);
        let mut pci = PciBus::new();
        let entropy = VirtioFunction::Entropy(Box::new(VirtioPci::new(Entropy::new(config.seed))));
        let disks = config
            .disks
            .into_iter()
            .map(|(disk, id)| VirtioFunction::Block(Box::new(VirtioPci::new(Block::new(disk, &id)))));
        for (device, function) in (ENTROPY_DEVICE..).zip(std::iter::once(entropy).chain(disks)) {
            // Places are distinct and not those of the bridges.
            let _ = pci.insert(Bdf::new(0, device, 0), function);
        }
        pci.assign_resources(&FirmwareChoices {
            low_memory_end: map.low(),
            high_memory_end: undercroft_phys_map::HIGH_RAM + map.high(),
            ..FirmwareChoices::default()
        })?;
        let choices = Choices {
            io_apic_id: config.io_apic_id,
            start_seconds: config.start_seconds,
            serial_speed: config.serial_speed,
            fw_cfg: config.fw_cfg,
        };
        let mut devices = Devices::new(choices, pci);
        for (index, value) in cmos(&map, config.cpus) {
            devices.rtc.set_memory(index, value);
        }
        Ok(Board::with_state(
            ram,
            map,
            BoardState {
                devices,
                wiring: Wiring::default(),
                serial_input: Default::default(),
                messages: Vec::new(),
                stop: None,
            },
        ))
    }

    /// A board in a given state. Disks have no image until they are attached: see [`Board::disks_mut`].
    pub fn with_state(ram: Ram, map: PhysMap, state: BoardState) -> Board {
        let BoardState { devices, wiring, serial_input, messages, stop } = state;
        let mut board = Board {
            ram,
            map,
            devices,
            wiring,
            serial_input,
            messages: messages.into_iter().map(|(address, data)| Msi { address, data }).collect(),
            stop,
            serial_output: Default::default(),
            debug_output: Vec::new(),
            decode: Decode::default(),
            due: [u64::MAX; timed::COUNT],
            next: u64::MAX,
            intr: false,
        };
        board.settle_all();
        board
    }

    /// The state, for a snapshot or a hash.
    pub fn state(&self) -> BoardState {
        BoardState {
            devices: self.devices.clone(),
            wiring: self.wiring.clone(),
            serial_input: self.serial_input.clone(),
            messages: self.messages.iter().map(|m| (m.address, m.data)).collect(),
            stop: self.stop,
        }
    }

    /// The disks in the order of their places, to attach their images after a restore.
    pub fn disks_mut(&mut self) -> impl Iterator<Item = &mut Disk> {
        self.devices.pci.slots_mut().filter_map(|(_, slot)| match slot {
            VirtioFunction::Block(function) => Some(&mut function.device.disk),
            VirtioFunction::Entropy(_) => None,
        })
    }

    /// What stopped the machine, once.
    pub fn take_stop(&mut self) -> Option<BoardStop> {
        self.stop.take()
    }

    /// The last value of port 80h.
    pub fn post_code(&self) -> u8 {
        self.devices.post.code
    }

    /// What serial port 0 or 1 has sent since the last call.
    pub fn take_serial_output(&mut self, port: usize) -> Vec<u8> {
        self.serial_output.get_mut(port).map(std::mem::take).unwrap_or_default()
    }

    /// What the debug console has got since the last call.
    pub fn take_debug_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.debug_output)
    }

    /// Gives bytes to serial port 0 or 1; what its receiver has no room for follows as software reads.
    pub fn push_serial_input(&mut self, now: u64, port: usize, bytes: &[u8]) {
        if let Some(queue) = self.serial_input.get_mut(port) {
            queue.extend(bytes);
            self.catch_up(now);
            self.settle(now, Device::Uart(port as u8));
        }
    }

    /// Somebody presses the power button.
    pub fn press_power_button(&mut self, now: u64) {
        self.catch_up(now);
        self.devices.pm.press_power_button();
        self.settle(now, Device::Pm);
    }

    /// Keys for the keyboard, in scan code set 2. False when the keyboard is off or its buffer is full.
    pub fn press_keys(&mut self, now: u64, scan_codes: &[u8]) -> bool {
        self.catch_up(now);
        let taken = self.devices.keyboard.press_keys(Tick(now), scan_codes);
        self.settle(now, Device::Keyboard);
        taken
    }

    /// Calls into a device with what the board lends.
    fn call<T>(&mut self, now: u64, f: impl FnOnce(&mut Devices, &mut Context<'_>) -> T) -> T {
        let mut dma = RamDma { ram: &self.ram, map: self.map };
        f(&mut self.devices, &mut Context { now: Tick(now), dma: &mut dma, msi: &mut self.messages })
    }

    /// What was due before an access.
    fn catch_up(&mut self, now: u64) {
        if self.next <= now {
            self.advance(now);
        }
    }

    /// The register behind an I/O port, fixed or programmable.
    fn io_place(&self, port: u16) -> Option<Place> {
        address_map::port(port).or_else(|| {
            let offset = port.checked_sub(self.decode.pm_base?).filter(|offset| *offset < PM_PORTS)?;
            Some(Place { device: Device::Pm, offset: offset.into(), room: (PM_PORTS - offset).into() })
        })
    }

    /// The register at an address outside the PCI bus's ranges.
    fn memory_place(&self, addr: u64) -> Option<Place> {
        let within = |base: u64, len: u64| addr.checked_sub(base).filter(|offset| *offset < len);
        if self.decode.io_apic
            && let Some(offset) = within(IO_APIC.get(), IO_APIC_BYTES)
        {
            return Some(Place { device: Device::IoApic, offset, room: IO_APIC_BYTES - offset });
        }
        let offset = within(self.decode.hpet_base?, hpet::PAGE_SIZE)?;
        Some(Place { device: Device::Hpet, offset, room: hpet::PAGE_SIZE - offset })
    }

    fn device_read(&mut self, now: u64, place: Place, size: u8) -> u64 {
        let value = self.call(now, |devices, cx| devices.registers(place.device).read(cx, place.offset, size));
        self.settle(now, place.device);
        value
    }

    fn device_write(&mut self, now: u64, place: Place, size: u8, value: u64) {
        self.call(now, |devices, cx| devices.registers(place.device).write(cx, place.offset, size, value));
        self.settle(now, place.device);
    }

    fn pci_read(&mut self, now: u64, target: Target, size: u8) -> u64 {
        let value = self.call(now, |devices, cx| devices.pci.read(cx, target, size));
        self.settle_pci();
        self.wire();
        value
    }

    fn pci_write(&mut self, now: u64, target: Target, size: u8, value: u64) {
        self.call(now, |devices, cx| devices.pci.write(cx, target, size, value));
        if !matches!(target, Target::Bar { .. } | Target::ConfigAddress) {
            self.refresh_decode();
        }
        self.settle_pci();
        self.wire();
    }

    fn refresh_decode(&mut self) {
        let lpc = &self.devices.pci.lpc_bridge;
        self.decode = Decode {
            pm_base: lpc.pm_base(),
            hpet_base: lpc.hpet_base(),
            io_apic: lpc.is_io_apic_enabled(),
            sci_irq: lpc.sci_irq(),
        };
        self.wiring.set_sci(self.devices.pm.sci(), self.decode.sci_irq);
    }

    /// Reads the outputs of the device that was just called, and passes on what changed.
    fn settle(&mut self, now: u64, device: Device) {
        match device {
            Device::Pic => self.intr = self.devices.pic.intr(),
            Device::Pit => {
                self.wiring.set_isa(irq::TIMER, self.devices.pit.irq0());
                self.set_due(timed::PIT, self.devices.pit.next_event());
            }
            Device::Keyboard => self.settle_keyboard(),
            Device::Rtc => {
                self.wiring.set_isa(irq::RTC, self.devices.rtc.interrupt());
                self.set_due(timed::RTC, self.devices.rtc.next_event());
            }
            Device::ResetControl => {
                // A processor that restarts would begin in firmware, which is not there: every reset ends the run.
                if self.devices.reset_control.take_request().is_some() {
                    self.stop.get_or_insert(BoardStop::Reset);
                }
            }
            Device::Uart(port) => self.settle_uart(now, port & 1),
            Device::DebugConsole => {
                if self.devices.debug_console.has_output() {
                    let bytes = self.devices.debug_console.take_output();
                    append(&mut self.debug_output, bytes);
                }
            }
            Device::DebugExit => {
                if let Some(value) = self.devices.debug_exit.take_exit() {
                    self.stop.get_or_insert(BoardStop::DebugExit(value));
                }
            }
            Device::Pm => self.settle_pm(),
            Device::Hpet => {
                self.wiring.set_hpet(self.devices.hpet.outputs());
                self.set_due(timed::HPET, self.devices.hpet.next_event());
            }
            Device::Post | Device::FwCfg | Device::IoApic => {}
        }
        self.wire();
    }

    fn settle_keyboard(&mut self) {
        let Devices { keyboard, reset_control, .. } = &mut self.devices;
        self.wiring.set_isa(irq::KEYBOARD, keyboard.irq1());
        self.wiring.set_isa(irq::MOUSE, keyboard.irq12());
        reset_control.set_keyboard_a20(keyboard.a20());
        if keyboard.take_reset() {
            self.stop.get_or_insert(BoardStop::Reset);
        }
        self.set_due(timed::KEYBOARD, self.devices.keyboard.next_event());
    }

    fn settle_uart(&mut self, now: u64, port: u8) {
        let n = usize::from(port);
        let (uart, input) = (&mut self.devices.uarts[n], &mut self.serial_input[n]);
        if uart.has_output() {
            append(&mut self.serial_output[n], uart.take_output());
        }
        if !input.is_empty() {
            let taken = uart.push_input(Tick(now), input.make_contiguous());
            input.drain(..taken);
        }
        let (irq, index) = [(irq::SERIAL_1, timed::UART_0), (irq::SERIAL_2, timed::UART_1)][n];
        self.wiring.set_isa(irq, self.devices.uarts[n].interrupt());
        self.set_due(index, self.devices.uarts[n].next_event());
    }

    fn settle_pm(&mut self) {
        let pm = &mut self.devices.pm;
        match pm.take_power_request() {
            Some(PowerRequest::SoftOff | PowerRequest::SuspendToDisk) => {
                self.stop.get_or_insert(BoardStop::PowerOff);
            }
            // Sleep states that the tables do not offer: who enters one wakes at once.
            Some(PowerRequest::PowerOnSuspend | PowerRequest::SuspendToRam) => pm.wake(),
            None => {}
        }
        self.wiring.set_sci(self.devices.pm.sci(), self.decode.sci_irq);
        self.set_due(timed::PM, self.devices.pm.next_event());
    }

    fn settle_pci(&mut self) {
        let pci = &self.devices.pci;
        self.wiring.set_pirqs(pci.io_apic_inputs(), pci.i8259_inputs());
        self.set_due(timed::PCI, pci.next_event());
    }

    /// Reads all outputs anew: after power-on and after a restore.
    fn settle_all(&mut self) {
        self.refresh_decode();
        for device in [Device::Pic, Device::Pit, Device::Keyboard, Device::Rtc, Device::Pm, Device::Hpet] {
            self.settle(0, device);
        }
        for port in [0, 1] {
            let (irq, index) = [(irq::SERIAL_1, timed::UART_0), (irq::SERIAL_2, timed::UART_1)][port];
            self.wiring.set_isa(irq, self.devices.uarts[port].interrupt());
            self.set_due(index, self.devices.uarts[port].next_event());
        }
        self.settle_pci();
        self.wire();
        self.intr = self.devices.pic.intr();
    }

    fn set_due(&mut self, index: usize, at: Option<Tick>) {
        let at = at.map_or(u64::MAX, |at| at.0);
        if self.due[index] != at {
            self.due[index] = at;
            self.next = self.due.iter().copied().fold(u64::MAX, u64::min);
        }
    }

    /// Passes on levels that changed.
    fn wire(&mut self) {
        let Devices { pic, io_apic, .. } = &mut self.devices;
        if self.wiring.drive(pic, io_apic, &mut self.messages) {
            self.intr = self.devices.pic.intr();
        }
    }

    /// Lets the devices that are due at `at` do their work.
    fn advance_due(&mut self, at: u64) {
        for index in 0..timed::COUNT {
            if self.due[index] > at {
                continue;
            }
            let device = match index {
                timed::PIT => Device::Pit,
                timed::KEYBOARD => Device::Keyboard,
                timed::RTC => Device::Rtc,
                timed::UART_0 => Device::Uart(0),
                timed::UART_1 => Device::Uart(1),
                timed::PM => Device::Pm,
                timed::HPET => Device::Hpet,
                _ => {
                    self.advance_pci(at);
                    continue;
                }
            };
            self.call(at, |devices, cx| match device {
                Device::Pit => devices.pit.advance(cx),
                Device::Keyboard => devices.keyboard.advance(cx),
                Device::Rtc => devices.rtc.advance(cx),
                Device::Uart(port) => devices.uarts[usize::from(port & 1)].advance(cx),
                Device::Pm => devices.pm.advance(cx),
                Device::Hpet => devices.hpet.advance(cx),
                _ => {}
            });
            self.settle(at, device);
        }
    }

    fn advance_pci(&mut self, at: u64) {
        // A function's next event lies later than `at` once it advanced, so that this ends.
        for _ in 0..=DISKS_MAX {
            let Some(bdf) = self.devices.pci.next_due(Tick(at)) else { break };
            self.call(at, |devices, cx| devices.pci.advance(cx, bdf));
        }
        self.settle_pci();
        self.wire();
    }
}

impl Bus for Board {
    fn read(&mut self, now: u64, addr: PhysAddr, size: u8) -> u64 {
        self.catch_up(now);
        let value = if let Some(place) = self.memory_place(addr.get()) {
            self.device_read(now, place, size)
        } else if let Some(target) = self.devices.pci.memory_target(addr) {
            self.pci_read(now, target, size)
        } else {
            u64::MAX
        };
        value & ones(size)
    }

    fn write(&mut self, now: u64, addr: PhysAddr, size: u8, value: u64) {
        self.catch_up(now);
        if let Some(place) = self.memory_place(addr.get()) {
            self.device_write(now, place, size, value);
        } else if let Some(target) = self.devices.pci.memory_target(addr) {
            self.pci_write(now, target, size, value);
        }
    }

    fn io_read(&mut self, now: u64, port: u16, size: u8) -> u32 {
        self.catch_up(now);
        let value = match self.io_place(port) {
            Some(place) if u64::from(size) <= place.room => self.device_read(now, place, size),
            None if size == 1 || self.devices.pci.io_target(port, size).is_some() => {
                match self.devices.pci.io_target(port, size) {
                    Some(target) => self.pci_read(now, target, size),
                    None => u64::MAX,
                }
            }
            // Wider than the range: a byte each.
            _ => (0..size.min(4)).fold(0, |value, byte| {
                let read = self.io_read(now, port.wrapping_add(byte.into()), 1);
                value | u64::from(read) << (8 * byte)
            }),
        };
        (value & ones(size)) as u32
    }

    fn io_write(&mut self, now: u64, port: u16, size: u8, value: u32) {
        self.catch_up(now);
        match self.io_place(port) {
            Some(place) if u64::from(size) <= place.room => self.device_write(now, place, size, value.into()),
            None if size == 1 || self.devices.pci.io_target(port, size).is_some() => {
                if let Some(target) = self.devices.pci.io_target(port, size) {
                    self.pci_write(now, target, size, value.into());
                }
            }
            _ => {
                for byte in 0..size.min(4) {
                    self.io_write(now, port.wrapping_add(byte.into()), 1, value >> (8 * byte) & 0xff);
                }
            }
        }
    }

    /// Events happen at their own ticks, in the order of these.
    fn advance(&mut self, now: u64) {
        for _ in 0..EVENTS_MAX {
            if self.next > now {
                return;
            }
            self.advance_due(self.next);
        }
        self.advance_due(now);
    }

    fn next_event(&self) -> Option<u64> {
        (self.next != u64::MAX).then_some(self.next)
    }

    fn take_signals(&mut self, out: &mut Vec<Signal>) {
        out.extend(self.messages.drain(..).map(|Msi { address, data }| Signal::Message { address, data }));
    }

    fn intr(&self) -> bool {
        self.intr
    }

    fn acknowledge(&mut self) -> u8 {
        let vector = self.devices.pic.acknowledge();
        self.intr = self.devices.pic.intr();
        vector
    }

    fn eoi(&mut self, now: u64, vector: u8) {
        self.catch_up(now);
        self.devices.io_apic.eoi(vector, &mut self.messages);
    }

    fn stop_requested(&self) -> bool {
        self.stop.is_some()
    }
}

/// `size` bytes of ones.
fn ones(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
}

fn append(output: &mut Vec<u8>, bytes: Vec<u8>) {
    if output.len() < OUTPUT_LIMIT {
        output.extend(bytes);
    }
}

/// What firmware keeps in the battery-backed memory about the machine's RAM and processors: index and value.
fn cmos(map: &PhysMap, cpus: u32) -> Vec<(usize, u8)> {
    let low = map.low();
    let mut bytes = Vec::new();
    let mut put = |index: usize, value: u64, len: usize| {
        bytes.extend((0..len).map(|byte| (index + byte, (value >> (8 * byte)) as u8)));
    };
    // KiB below 640 KiB, KiB above 1 MiB (twice), 64 KiB above 16 MiB, 64 KiB above 4 GiB, processors less one.
    put(0x15, 640, 2);
    let extended = (low.saturating_sub(1 << 20) >> 10).min(0xffff);
    put(0x17, extended, 2);
    put(0x30, extended, 2);
    put(0x34, (low.saturating_sub(16 << 20) >> 16).min(0xffff), 2);
    put(0x5b, map.high() >> 16, 3);
    put(0x5f, u64::from(cpus.saturating_sub(1)), 1);
    bytes
}
