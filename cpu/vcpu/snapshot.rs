//! All that has to be kept of the processors, as plain data.

use super::Cpu;
use crate::local_apic::LocalApic;
use crate::state::State;
use serde::{Deserialize, Serialize};
use undercroft_decode::Reg;

/// State of all logical processors and of the clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CpuSnapshot {
    /// By index.
    pub states: Vec<State>,
    /// By index.
    pub apics: Vec<LocalApic>,
    /// Ticks.
    pub clock: u64,
    /// Instructions.
    pub retired: u64,
    /// Whose turn it is.
    pub current: usize,
    /// What is left of it.
    pub turn_left: u64,
}

/// The snapshot does not fit these processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongCpuCount {
    /// Logical processors of the snapshot.
    pub found: usize,
    /// Logical processors here.
    pub expected: usize,
}

impl Cpu {
    /// The state of all logical processors, with what is scratch cleared.
    pub fn snapshot(&self) -> CpuSnapshot {
        let states = (0..self.config.cpus)
            .map(|n| {
                let mut s = self.state(n).clone();
                for r in [Reg::BlockRip, Reg::Temp0, Reg::Temp1, Reg::Temp2, Reg::Temp3] {
                    s.regs[r as usize] = 0;
                }
                s
            })
            .collect();
        CpuSnapshot {
            states,
            apics: self.apics.clone(),
            clock: self.clock,
            retired: self.retired,
            current: self.current,
            // Turns mean something only where there is more than one to take them.
            turn_left: if self.config.cpus > 1 { self.turn_left } else { 0 },
        }
    }
    /// Goes back to a snapshot. RAM and devices are the machine's to restore, before this.
    pub fn restore(&mut self, snapshot: CpuSnapshot) -> Result<(), WrongCpuCount> {
        let expected = self.config.cpus;
        let found = snapshot.states.len();
        if found != expected || snapshot.apics.len() != expected || snapshot.current >= expected {
            return Err(WrongCpuCount { found, expected });
        }
        self.parked = snapshot.states;
        for s in &mut self.parked {
            s.sync_bases();
            s.regs[Reg::Zero as usize] = 0;
        }
        self.current = snapshot.current;
        self.s = self.parked[self.current].clone();
        self.apics = snapshot.apics;
        self.clock = snapshot.clock;
        self.now = snapshot.clock;
        self.retired = snapshot.retired;
        self.turn_left = snapshot.turn_left;
        self.forget_caches();
        Ok(())
    }
    /// Forgets everything that is derived from RAM and state: after RAM was changed from outside.
    pub fn forget_caches(&mut self) {
        for page in 0..self.ram.pages() {
            self.ram.clear_flags(page, 0xff);
        }
        self.mmu = crate::mmu::Mmu::new(self.ram.clone(), self.map, self.config.cpus);
        self.code = crate::interp::code::Code::new();
        for n in 0..self.config.cpus {
            if let Some(line) = self.state(n).monitor
                && let Some(offset) = self.map.ram_offset(undercroft_spec::PhysAddr(line))
            {
                self.ram.set_flags(offset >> 12, undercroft_ram::page_flags::MONITOR);
            }
        }
        self.raised = None;
        self.attention = true;
        self.context_forgotten();
    }
}
