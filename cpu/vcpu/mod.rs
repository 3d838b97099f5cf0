//! The set of logical processors and what they share.

mod device;

use crate::ports::Bus;
use crate::state::State;
use undercroft_decode::Reg;
use undercroft_phys_map::PhysMap;
use undercroft_ram::Ram;
use undercroft_spec::LinearAddr;

/// All logical processors of the machine. One of them is *current*: its state is `s`.
pub struct Cpu {
    /// State of the current logical processor.
    pub s: State,
    /// The machine's clock, in ticks, as of the instruction that executes.
    pub now: u64,
    /// Something changed that the run loop must look at before the next instruction: interrupts, mode, context, code.
    pub attention: bool,
    /// RAM.
    pub ram: Ram,
    /// Where RAM lies.
    pub map: PhysMap,
    /// The bus.
    pub bus: Box<dyn Bus>,
    /// Index of the current logical processor.
    pub current: usize,
    /// States of the others, each at its index; the current one's place is stale.
    pub parked: Vec<State>,
}

impl Cpu {
    /// RIP of the block that executes.
    pub fn block_rip(&self) -> u64 {
        self.s.regs[Reg::BlockRip as usize]
    }
    /// Data breakpoints: notes a match for the debug trap after the instruction.
    pub(crate) fn watch_data(&mut self, _linear: LinearAddr, _len: u64, _write: bool) {}
    /// A store to a page that holds code or paging structures is about to happen.
    pub(crate) fn store_to_tracked(&mut self, _offset: u64, _len: u64) {}
    /// The time-stamp counter.
    pub fn tsc(&self) -> u64 {
        self.now.wrapping_add(self.s.msr.tsc_offset)
    }
}
