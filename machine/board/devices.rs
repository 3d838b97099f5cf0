//! The devices of the board, and what the board decides about each.

use super::address_map::Device;
use super::wiring::IO_APIC_ACTIVE_LOW;
use serde::{Deserialize, Serialize};
use undercroft_platform::chipset::debug_console::DebugConsole;
use undercroft_platform::chipset::debug_exit::DebugExit;
use undercroft_platform::chipset::fw_cfg::{FwCfg, Items};
use undercroft_platform::chipset::hpet::{self, Hpet};
use undercroft_platform::chipset::keyboard_i8042::KeyboardController;
use undercroft_platform::chipset::pit_i8254::Pit;
use undercroft_platform::chipset::pm_ich9::{self, InitialMode, Pm, TimerWidth};
use undercroft_platform::chipset::reset_control::ResetControl;
use undercroft_platform::chipset::rtc_mc146818::Rtc;
use undercroft_platform::chipset::uart_ns16550::{LineSpeed, Uart};
use undercroft_platform::device::{Context, Registers, byte_lanes};
use undercroft_platform::irq::io_apic::{self, IoApic};
use undercroft_platform::irq::pic_i8259::PicPair;
use undercroft_platform::pci::PciBus;
use undercroft_platform::virtio::VirtioFunction;

/// What the devices need to be told when they are made.
pub(super) struct Choices {
    pub io_apic_id: u8,
    pub start_seconds: u64,
    pub serial_speed: LineSpeed,
    pub fw_cfg: Items,
}

/// All devices. Plain data: what a snapshot holds of the board.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Devices {
    pub pic: PicPair,
    pub io_apic: IoApic,
    pub pit: Pit,
    pub keyboard: KeyboardController,
    pub rtc: Rtc,
    pub post: Post,
    pub reset_control: ResetControl,
    pub uarts: [Uart; 2],
    pub debug_console: DebugConsole,
    pub debug_exit: DebugExit,
    pub fw_cfg: FwCfg,
    pub pm: Pm,
    pub hpet: Hpet,
    pub pci: PciBus<VirtioFunction>,
}

impl Devices {
    /// After power-on.
    pub fn new(choices: Choices, pci: PciBus<VirtioFunction>) -> Self {
        Devices {
            pic: PicPair::new(),
            io_apic: IoApic::new(io_apic::Configuration {
                id: choices.io_apic_id,
                active_low_wires: IO_APIC_ACTIVE_LOW,
            }),
            pit: Pit::new(),
            keyboard: KeyboardController::new(),
            rtc: Rtc::new(choices.start_seconds),
            post: Post::default(),
            reset_control: ResetControl::new(),
            uarts: [Uart::new(choices.serial_speed), Uart::new(choices.serial_speed)],
            debug_console: DebugConsole::new(),
            debug_exit: DebugExit::new(),
            fw_cfg: FwCfg::new(choices.fw_cfg),
            // The tables say: 24 bits, and no way to leave ACPI mode.
            pm: Pm::new(pm_ich9::Configuration { timer_width: TimerWidth::Bits24, initial_mode: InitialMode::Acpi }),
            hpet: Hpet::new(hpet::Configuration::default()),
            pci,
        }
    }

    /// The registers of a device at a fixed place.
    pub fn registers(&mut self, device: Device) -> &mut dyn Registers {
        match device {
            Device::Pic => &mut self.pic,
            Device::Pit => &mut self.pit,
            Device::Keyboard => &mut self.keyboard,
            Device::Rtc => &mut self.rtc,
            Device::Post => &mut self.post,
            Device::ResetControl => &mut self.reset_control,
            Device::Uart(n) => &mut self.uarts[usize::from(n & 1)],
            Device::DebugConsole => &mut self.debug_console,
            Device::DebugExit => &mut self.debug_exit,
            Device::FwCfg => &mut self.fw_cfg,
            Device::Pm => &mut self.pm,
            Device::IoApic => &mut self.io_apic,
            Device::Hpet => &mut self.hpet,
        }
    }
}

/// Port 80h: what is written shows progress to people, and reads back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Post {
    /// What was written last.
    pub code: u8,
}

impl Registers for Post {
    fn read(&mut self, _cx: &mut Context<'_>, offset: u64, size: u8) -> u64 {
        byte_lanes::read_bytes(offset, size, |_| self.code)
    }

    fn write(&mut self, _cx: &mut Context<'_>, offset: u64, size: u8, value: u64) {
        byte_lanes::write_bytes(offset, size, value, |_, byte| self.code = byte);
    }
}
