//! The set of logical processors, what they share, and the loop that runs them.

mod device;
mod distribute;
mod run;
mod snapshot;

pub use run::Exit;
pub use snapshot::CpuSnapshot;

use crate::events::Exception;
use crate::interp::code::Code;
use crate::local_apic::{Configuration, LocalApic};
use crate::mmu::{Context, Mmu, PHYS_BITS, Selected};
use crate::ports::Bus;
use crate::state::State;
use crate::system::FamilyCache;
use crate::system::cpuid::CpuModel;
use undercroft_decode::{CodeSize, Reg};
use undercroft_phys_map::PhysMap;
use undercroft_ram::Ram;
use undercroft_spec::LinearAddr;

/// What the machine decides about its processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuConfig {
    /// Number of logical processors.
    pub cpus: usize,
    /// Instructions that a logical processor executes before the next one's turn.
    pub quantum: u64,
}

/// All logical processors of the machine. One of them is *current*: its state is `s`.
pub struct Cpu {
    /// State of the current logical processor.
    pub s: State,
    /// The machine's clock, in ticks, as of the instruction that executes.
    pub now: u64,
    /// Tick at which the budget that handlers count down reaches zero.
    pub(crate) deadline: u64,
    /// Something changed that the run loop must look at before the next instruction: interrupts, mode, context, code.
    pub attention: bool,
    /// A device or a local APIC was accessed: their outputs may have changed.
    pub(crate) listen: bool,
    /// PAUSE: the current processor waits for another, whose turn may come.
    pub(crate) yields: bool,
    /// What a handler raised, and the RIP of the next instruction.
    pub(crate) raised: Option<(Exception, u64)>,
    /// Names view, code size and epoch: what a RIP means (see `Code::target`).
    pub(crate) fetch_tag: u64,
    /// Contexts and TLB.
    pub(crate) mmu: Mmu,
    /// The context in use.
    pub(crate) selected: Selected,
    /// Decoded code.
    pub(crate) code: Code,
    /// Which file of `system` an instruction is in.
    pub(crate) families: FamilyCache,
    /// RAM.
    pub ram: Ram,
    /// Where RAM lies.
    pub map: PhysMap,
    /// The bus.
    pub bus: Box<dyn Bus>,
    /// Index of the current logical processor.
    pub current: usize,
    /// States of the others, each at its index; the current one's place is stale.
    pub(crate) parked: Vec<State>,
    /// Local APICs.
    pub apics: Vec<LocalApic>,
    /// What processor it is: CPUID, and which features instructions have.
    pub model: CpuModel,
    /// Configuration.
    pub(crate) config: CpuConfig,
    /// The clock at the last instruction boundary.
    pub(crate) clock: u64,
    /// Instructions retired (and events delivered) by all logical processors.
    pub(crate) retired: u64,
    /// Instructions that are left of the current logical processor's turn.
    pub(crate) turn_left: u64,
    /// For `--stats`.
    pub(crate) counters: Counters,
}

/// What the processors did. For people, not part of the machine's state.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counters {
    /// Exceptions delivered.
    pub exceptions: u64,
    /// Page faults among them.
    pub page_faults: u64,
    /// Interrupts delivered.
    pub interrupts: u64,
    /// Instructions executed one at a time.
    pub single_steps: u64,
    /// Times the run loop entered a block.
    pub entries: u64,
    /// Memory management.
    pub mmu: crate::mmu::Counters,
    /// Decoded code.
    pub code: crate::interp::code::Counters,
}

impl Cpu {
    /// Logical processors after power-on, number 0 being the bootstrap processor.
    pub fn new(ram: Ram, map: PhysMap, bus: Box<dyn Bus>, config: CpuConfig) -> Cpu {
        let cpus = config.cpus.max(1);
        let parked: Vec<State> = (0..cpus)
            .map(|n| {
                let mut s = State::reset(n == 0);
                s.seed_random(n as u64);
                s
            })
            .collect();
        let apic = |n: usize| {
            LocalApic::new(Configuration {
                initial_id: n as u32,
                is_bootstrap: n == 0,
                timer_hz: crate::TIMER_HZ,
                physical_address_bits: PHYS_BITS as u8,
            })
        };
        let s = parked[0].clone();
        let mut cpu = Cpu {
            now: 0,
            deadline: 0,
            attention: true,
            listen: true,
            yields: false,
            raised: None,
            fetch_tag: 0,
            mmu: Mmu::new(ram.clone(), map, cpus),
            selected: Selected::none(Context::of(&s)),
            code: Code::new(),
            families: FamilyCache::new(),
            ram,
            map,
            bus,
            current: 0,
            apics: (0..cpus).map(apic).collect(),
            model: CpuModel { processors: cpus as u32, ..CpuModel::default() },
            config: CpuConfig { cpus, quantum: config.quantum.max(1) },
            clock: 0,
            retired: 0,
            turn_left: config.quantum.max(1),
            counters: Counters::default(),
            parked,
            s,
        };
        cpu.context_changed();
        cpu
    }

    /// Makes these processors of another model, as many as they are.
    pub fn set_model(&mut self, model: CpuModel) {
        self.model = CpuModel { processors: self.config.cpus as u32, ..model };
    }

    /// RIP of the block that executes.
    pub fn block_rip(&self) -> u64 {
        self.s.regs[Reg::BlockRip as usize]
    }
    /// The time-stamp counter.
    pub fn tsc(&self) -> u64 {
        self.now.wrapping_add(self.s.msr.tsc_offset)
    }
    /// Data breakpoints: notes a match for the debug trap after the instruction.
    pub(crate) fn watch_data(&mut self, linear: LinearAddr, len: u64, write: bool) {
        if self.s.dr7 & 0xff != 0 {
            let bits = crate::events::data_breakpoints(&self.s, linear, len, write);
            if bits != 0 {
                self.s.pending_debug |= bits;
                self.attention = true;
            }
        }
    }
    /// View, code size or epoch changed: earlier targets mean nothing any more.
    pub(crate) fn fetch_tag_changed(&mut self) {
        let size = self.s.code_size() as u64;
        debug_assert!(size <= CodeSize::Bits64 as u64);
        // The view's number also goes to higher bits of the low half, which choose the place in the table of targets.
        let view = u64::from(self.selected.view().0);
        self.fetch_tag = self.mmu.epoch << 24 | view << 2 | size;
    }

    /// Number of logical processors.
    pub fn cpus(&self) -> usize {
        self.config.cpus
    }
    /// State of a logical processor.
    pub fn state(&self, n: usize) -> &State {
        if n == self.current { &self.s } else { &self.parked[n] }
    }
    /// State of a logical processor, to be changed from outside while it does not run.
    pub fn state_mut(&mut self, n: usize) -> &mut State {
        self.attention = true;
        if n == self.current { &mut self.s } else { &mut self.parked[n] }
    }
    /// The machine's clock in ticks.
    pub fn clock(&self) -> u64 {
        self.clock
    }
    /// Instructions retired so far, delivered events included.
    pub fn retired(&self) -> u64 {
        self.retired
    }
    /// The clock jumps ahead (never back) while no processor executes.
    pub fn skip_to(&mut self, tick: u64) {
        self.clock = self.clock.max(tick);
        self.now = self.clock;
    }
    /// What the processors did.
    pub fn counters(&self) -> Counters {
        Counters { mmu: self.mmu.counters, code: self.code.counters, ..self.counters }
    }
    /// Bytes of decoded code.
    pub fn code_bytes(&self) -> usize {
        self.code.bytes()
    }
    /// Makes another logical processor the current one.
    pub(crate) fn switch_to(&mut self, n: usize) {
        if n != self.current {
            std::mem::swap(&mut self.s, &mut self.parked[n]);
            let (a, b) = (self.current.min(n), self.current.max(n));
            // The state that was swapped out now lies at `n`; it belongs at its own index.
            self.parked.swap(a, b);
            self.current = n;
            self.context_forgotten();
        }
        self.turn_left = self.config.quantum;
    }
}
