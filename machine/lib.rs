//! The assembled whole: the only crate that names the processor and the platform together.
//!
//! ```no_run
//! use undercroft_machine::{Machine, RunLimits, Stop};
//!
//! let mut machine = Machine::builder().memory(1 << 30).kernel("vmlinuz").append("console=ttyS0").build()?;
//! let stop = machine.run(RunLimits::retired(1_000_000_000));
//! print!("{}", String::from_utf8_lossy(&machine.take_serial_output()));
//! assert_eq!(stop, Stop::Limit);
//! # Ok::<(), undercroft_machine::BuildError>(())
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`config`], [`error`] | what a machine is made of, as plain data; why it cannot be had |
//! | `builder` | from a configuration to the first instruction |
//! | [`board`] | address map, devices, wiring, firmware tables |
//! | [`boot`] | boot protocols |
//! | [`run_control`] | run, and why it stopped |
//! | [`snapshot`] | save, restore, hash of the state |

pub mod board;
pub mod boot;
mod builder;
pub mod config;
pub mod error;
pub mod run_control;
pub mod snapshot;

pub use builder::MachineBuilder;
pub use config::{DiskConfig, MachineConfig, ModuleConfig, SerialConfig, SerialInput};
pub use error::BuildError;
pub use run_control::{ExceptionReport, ProcessorReport, Report, RunLimits, Stop, WhenIdle};
pub use snapshot::SnapshotError;

use board::Board;
use boot::Loaded;
use std::any::Any;
use undercroft_cpu::vcpu::{Counters, Cpu};
use undercroft_ram::Ram;

/// A machine: processors, RAM and board.
pub struct Machine {
    cpu: Cpu,
    config: MachineConfig,
    loaded: Option<Loaded>,
    /// How it ended, if it did.
    ended: Option<Stop>,
    /// How long nobody woke. For [`Machine::run`] alone: no part of the state.
    vain: Option<run_control::Vain>,
}

impl Machine {
    /// Builds a machine.
    pub fn builder() -> MachineBuilder {
        MachineBuilder::default()
    }

    /// Puts the parts together. The processor's bus is a [`Board`].
    pub(crate) fn assemble(cpu: Cpu, config: MachineConfig, loaded: Option<Loaded>) -> Machine {
        Machine { cpu, config, loaded, ended: None, vain: None }
    }

    /// What it is made of.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// The image that was loaded and where; none after a restore.
    pub fn loaded(&self) -> Option<&Loaded> {
        self.loaded.as_ref()
    }

    /// The processors.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// The processors, to be changed from outside: by a debugger, or a test.
    pub fn cpu_mut(&mut self) -> &mut Cpu {
        &mut self.cpu
    }

    /// RAM, by offset.
    pub fn ram(&self) -> &Ram {
        &self.cpu.ram
    }

    /// The board.
    pub fn board(&self) -> &Board {
        let bus: &dyn Any = &*self.cpu.bus;
        bus.downcast_ref().expect("the machine gave the processor a board")
    }

    /// The board.
    pub fn board_mut(&mut self) -> &mut Board {
        let bus: &mut dyn Any = &mut *self.cpu.bus;
        bus.downcast_mut().expect("the machine gave the processor a board")
    }

    /// Instructions retired so far by all processors, delivered events included.
    pub fn retired(&self) -> u64 {
        self.cpu.retired()
    }

    /// Virtual time in ticks (nanoseconds).
    pub fn now(&self) -> u64 {
        self.cpu.clock()
    }

    /// Counters of the processors.
    pub fn counters(&self) -> Counters {
        self.cpu.counters()
    }

    /// What the first serial port has sent since the last call.
    pub fn take_serial_output(&mut self) -> Vec<u8> {
        self.board_mut().take_serial_output(0)
    }

    /// Gives bytes to the first serial port. What its receiver has no room for follows as software reads.
    pub fn push_serial_input(&mut self, bytes: &[u8]) {
        let now = self.cpu.clock();
        self.board_mut().push_serial_input(now, 0, bytes);
    }

    /// What was written to the debug console (port E9h) since the last call.
    pub fn take_debug_output(&mut self) -> Vec<u8> {
        self.board_mut().take_debug_output()
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) {
        let now = self.cpu.clock();
        self.board_mut().press_power_button(now);
    }
}
