//! The set of logical processors and what they share.

mod device;

use crate::local_apic::{Effects, Ipi, LocalApic, Moment};
use crate::ports::Bus;
use crate::state::State;
use crate::system::cpuid::CpuModel;
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
    /// What processor it is: CPUID, and which features instructions have.
    pub model: CpuModel,
    /// Local APICs, by index of their processor.
    pub apics: Vec<LocalApic>,
    /// IPIs that local APICs sent, for the run loop to distribute.
    pub ipis: Vec<Ipi>,
    /// States of the others, each at its index; the current one's place is stale.
    pub parked: Vec<State>,
}

impl Cpu {
    /// A machine with one logical processor in this state.
    pub fn new(s: State, ram: Ram, map: PhysMap, bus: Box<dyn Bus>) -> Cpu {
        Cpu {
            s,
            now: 0,
            attention: true,
            ram,
            map,
            bus,
            current: 0,
            model: CpuModel::default(),
            apics: Vec::new(),
            ipis: Vec::new(),
            parked: Vec::new(),
        }
    }
    /// Something changed that translation depends on: CR0, CR3, CR4, EFER, PKRU, CPL or RFLAGS.AC.
    pub(crate) fn context_changed(&mut self) {}
    /// RIP of the block that executes.
    pub fn block_rip(&self) -> u64 {
        self.s.regs[Reg::BlockRip as usize]
    }
    /// Data breakpoints: notes a match for the debug trap after the instruction.
    pub(crate) fn watch_data(&mut self, _linear: LinearAddr, _len: u64, _write: bool) {}
    /// A store to a page that holds code or paging structures is about to happen.
    pub(crate) fn store_to_tracked(&mut self, _offset: u64, _len: u64) {}
    /// The present, as local APICs need it.
    pub fn moment(&self) -> Moment {
        Moment { tick: self.now, tsc: self.tsc() }
    }
    /// Carries out what a write to the current processor's local APIC asks for.
    pub(crate) fn apic_effects(&mut self, effects: Effects) {
        self.attention = true;
        self.ipis.extend(effects.ipi);
        if let Some(vector) = effects.eoi_broadcast {
            self.bus.eoi(self.now, vector);
        }
    }
    /// The time-stamp counter.
    pub fn tsc(&self) -> u64 {
        self.now.wrapping_add(self.s.msr.tsc_offset)
    }
}
