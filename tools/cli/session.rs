//! The one place that knows the machine's own interface: builds a machine from settings and shows it as a `Session`.

use crate::drive::{Session, Stop};
use crate::outcome::Outcome;
use crate::settings::{Serial, Settings};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufReader, Write};
use std::time::Duration;
use undercroft_machine::board::DiskMode;
use undercroft_machine::{
    DiskConfig, Machine, MachineBuilder, MachineConfig, ModuleConfig, RunLimits, SerialInput, WhenIdle,
};

/// RAM when nothing is said.
const MEMORY_DEFAULT: u64 = 1 << 30;

/// A machine.
pub struct MachineSession {
    machine: Machine,
    when_idle: WhenIdle,
}

/// Builds the machine that the settings describe, or restores it.
pub fn build(settings: &Settings) -> Result<MachineSession> {
    let machine = match &settings.restore {
        Some(file) => {
            let open = File::open(file).with_context(|| format!("opening the snapshot {}", file.display()))?;
            Machine::restore(&mut BufReader::new(open), &settings.disk)
                .with_context(|| format!("restoring {}", file.display()))?
        }
        None => MachineBuilder::from_config(config(settings)).build()?,
    };
    Ok(MachineSession { machine, when_idle: WhenIdle::Jump })
}

/// Builds a machine that boots an image that lies in memory.
pub fn build_from_image(image: &[u8], append: &str) -> Result<MachineSession> {
    let machine = Machine::builder().memory(MEMORY_DEFAULT).kernel_image(image.to_vec()).append(append).build()?;
    Ok(MachineSession { machine, when_idle: WhenIdle::Jump })
}

/// The machine's configuration: settings, with defaults where they say nothing.
fn config(settings: &Settings) -> MachineConfig {
    let mut config = MachineConfig {
        memory: settings.memory.map_or(MEMORY_DEFAULT, |size| size.0),
        kernel: settings.kernel.clone(),
        initrd: settings.initrd.clone(),
        append: settings.append.clone().unwrap_or_default(),
        ..MachineConfig::default()
    };
    let modules = settings.module.iter();
    config.modules = modules.map(|m| ModuleConfig { file: m.file.clone(), arguments: m.arguments.clone() }).collect();
    let disks = settings.disk.iter();
    config.disks = disks.map(|file| DiskConfig { file: file.clone(), mode: DiskMode::WriteThrough }).collect();
    config.cpus = settings.cpus.map_or(config.cpus, |cpus| cpus.get());
    config.seed = settings.seed.unwrap_or(config.seed);
    config.quantum = settings.quantum.map_or(config.quantum, |quantum| quantum.get());
    config.serial.input = match settings.serial {
        None | Some(Serial::Stdio) => SerialInput::Possible,
        Some(Serial::File(_) | Serial::None) => SerialInput::None,
    };
    config
}

impl MachineSession {
    /// The machine's own figures, as names and values.
    pub fn stats(&self) -> Vec<(String, String)> {
        let counters = self.machine.counters();
        let (mmu, code) = (counters.mmu, counters.code);
        let figures = [
            ("virtual_nanoseconds", self.machine.now()),
            ("exceptions", counters.exceptions),
            ("page_faults", counters.page_faults),
            ("interrupts", counters.interrupts),
            ("single_steps", counters.single_steps),
            ("block_entries", counters.entries),
            ("tlb_fills", mmu.fills),
            ("tlb_walks", mmu.walks),
            ("tlb_drops", mmu.drops),
            ("tlb_clears", mmu.clears),
            ("address_spaces", mmu.spaces),
            ("code_blocks", code.blocks),
            ("code_instructions", code.instructions),
            ("code_invalidations", code.invalidations),
            ("code_flushes", code.flushes),
            ("code_bytes", self.machine.cpu().code_bytes() as u64),
        ];
        figures.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
    }
}

impl Session for MachineSession {
    fn instructions(&self) -> u64 {
        self.machine.retired()
    }

    fn run(&mut self, until: u64) -> Stop {
        use undercroft_machine::Stop as Why;
        match self.machine.run(RunLimits { when_idle: self.when_idle, ..RunLimits::retired(until) }) {
            Why::Idle { until } if self.when_idle == WhenIdle::Stop => {
                Stop::Idle(Duration::from_nanos(until.saturating_sub(self.machine.now())))
            }
            Why::Limit | Why::Idle { .. } => Stop::Pause,
            Why::WaitingForInput => Stop::WaitingForInput,
            Why::PowerOff => Stop::Ended(Outcome::PowerOff),
            Why::Reset => Stop::Ended(Outcome::Reset),
            Why::DebugExit(value) => Stop::Ended(Outcome::DebugExit(value)),
            Why::TripleFault(report) => Stop::Ended(Outcome::TripleFault(report.to_string())),
            Why::Hang(report) => Stop::Ended(Outcome::Hang(report.to_string())),
        }
    }

    fn pace(&mut self) {
        self.when_idle = WhenIdle::Stop;
    }

    fn pass_idle_time(&mut self, passed: Duration) {
        self.machine.pass_idle_time(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX));
    }

    fn take_serial_output(&mut self) -> Vec<u8> {
        self.machine.take_serial_output()
    }

    fn push_serial_input(&mut self, bytes: &[u8]) {
        self.machine.push_serial_input(bytes);
    }

    fn state_hash(&self) -> String {
        format!("{:032x}", self.machine.state_hash())
    }

    fn save(&self, writer: &mut dyn Write) -> Result<()> {
        Ok(self.machine.save(writer)?)
    }
}
