//! The run loop: turns, time, events, blocks.

use super::Cpu;
use crate::events::{self, Exception, Flow, Pending};
use crate::interp::{self, Cursor};
use crate::state::{Activity, State};
use undercroft_decode::{Insn, Reg, Seg};
use undercroft_spec::x86::control::{cr0, rflags};
use undercroft_spec::x86::msr::debugctl;
use undercroft_spec::x86::vector;

/// Why the processors stopped running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The limit was reached.
    Limit,
    /// A device asked for it: see `Bus::stop_requested`.
    StopRequested,
    /// A triple fault put this logical processor into shutdown.
    Shutdown(usize),
    /// No processor executes, and nothing is due now.
    Idle {
        /// When something will happen by itself; never if `None`.
        next: Option<u64>,
    },
}

/// Instructions that are run at most before the loop looks around: handlers count them in an `i64`.
const LONGEST_TURN: u64 = 1 << 40;

const STEPPING: u64 = rflags::TF | rflags::RF;

impl Cpu {
    /// Runs until `retired()` reaches `limit`, or there is a reason to stop before.
    pub fn run(&mut self, limit: u64) -> Exit {
        self.context_forgotten();
        loop {
            self.advance_time();
            if self.bus.stop_requested() {
                return Exit::StopRequested;
            }
            if self.retired >= limit {
                return Exit::Limit;
            }
            if self.turn_left == 0 || !self.can_run(self.current) {
                let Some(next) = self.next_runnable() else {
                    let next = self.next_event();
                    if next.is_some_and(|t| t <= self.clock) {
                        continue;
                    }
                    return Exit::Idle { next };
                };
                self.switch_to(next);
            }
            // A processor that is alone needs no turns.
            let turn = if self.config.cpus > 1 { self.turn_left } else { u64::MAX };
            let budget = turn.min(limit - self.retired).min(LONGEST_TURN);
            if let Some(exit) = self.turn(budget) {
                return exit;
            }
            self.code.make_room(&self.ram);
        }
    }

    /// Would this logical processor do something?
    fn can_run(&self, n: usize) -> bool {
        let s = self.state(n);
        let interrupts = s.flags.other() & rflags::IF != 0;
        let wakes = s.init_pending || s.nmi_pending && !s.nmi_blocked || s.pending_debug != 0;
        let apic = &self.apics[n];
        let interrupted = apic.pending_interrupt().is_some() || apic.ext_int();
        match s.activity {
            Activity::Active => true,
            Activity::Halted => wakes || interrupts && interrupted,
            Activity::Mwait { interrupt_breaks } => wakes || (interrupts || interrupt_breaks) && interrupted,
            Activity::Shutdown => s.init_pending || s.nmi_pending && !s.nmi_blocked,
            Activity::WaitForSipi => s.sipi_pending.is_some(),
        }
    }
    fn next_runnable(&self) -> Option<usize> {
        (1..=self.config.cpus).map(|n| (self.current + n) % self.config.cpus).find(|n| self.can_run(*n))
    }

    /// The current processor's turn, of at most `budget` instructions. Gives an exit only for what ends the run.
    fn turn(&mut self, budget: u64) -> Option<Exit> {
        let end = self.clock.saturating_add(budget);
        self.attention = true;
        let mut until = end;
        while self.clock < until {
            self.now = self.clock;
            if self.attention {
                self.attention = false;
                if std::mem::take(&mut self.listen) {
                    self.listen_to_bus();
                    self.attention = false;
                    if self.bus.stop_requested() {
                        return None;
                    }
                }
                until = self.next_event().map_or(end, |t| t.clamp(self.clock, end));
                if until == self.clock {
                    return None;
                }
            }
            if let Some(event) = events::pending(self) {
                if let Some(own) = events::take(self, event) {
                    self.take_own(own);
                }
                self.counters.interrupts += u64::from(event == Pending::Interrupt);
                self.count(1);
                self.attention = true;
                continue;
            }
            if self.s.activity != Activity::Active {
                if self.s.activity == Activity::Shutdown {
                    return Some(Exit::Shutdown(self.current));
                }
                self.wake_without_event();
                if self.s.activity != Activity::Active {
                    return None;
                }
            }
            self.execute(until);
            if self.config.cpus > 1 && std::mem::take(&mut self.yields) {
                self.turn_left = 0;
                return None;
            }
        }
        None
    }
    /// MWAIT that masked interrupts break too: execution goes on, the interrupt stays pending.
    fn wake_without_event(&mut self) {
        if matches!(self.s.activity, Activity::Mwait { interrupt_breaks: true }) && self.interrupt_pending() {
            self.s.activity = Activity::Active;
        }
    }
    /// Instructions retired, or an event delivered.
    fn count(&mut self, n: u64) {
        self.clock += n;
        self.retired += n;
        self.turn_left = self.turn_left.saturating_sub(n);
        self.now = self.clock;
    }

    /// Executes at least one instruction, and at most up to `until`.
    fn execute(&mut self, until: u64) {
        self.s.between_iterations = false;
        let s = &self.s;
        let alone = s.mov_ss_shadow | (s.flags.other() & STEPPING != 0) | (s.dr7 & 0xff != 0);
        // STI's shadow matters only to an interrupt that waits already.
        if alone || s.sti_shadow && self.interrupt_pending() {
            self.step_one();
            return;
        }
        self.s.sti_shadow = false;
        // RIPs just below a page's end may be those of instructions that cross into the next.
        if self.s.rip & 0xfff > 0xff0
            && let Some(i) = self.known_crossing()
        {
            self.step_insn(&i);
            return;
        }
        match self.find_block() {
            Ok(Some(block)) if u64::from(block.insn().left) <= until - self.clock => {
                let budget = (until - self.clock) as i64;
                self.deadline = until;
                self.counters.entries += 1;
                let left = interp::enter(self, block, budget);
                self.count((budget - left) as u64);
                if let Some((e, next)) = self.raised.take() {
                    self.deliver(e, next);
                }
            }
            Ok(Some(block)) => self.execute_part(block, until),
            Ok(None) => self.step_one(),
            Err(e) => self.deliver(e, self.s.rip),
        }
    }
    /// The beginning of a block that does not fit.
    fn execute_part(&mut self, block: Cursor, until: u64) {
        let base = self.s.rip;
        self.s.regs[Reg::BlockRip as usize] = base;
        let mut at = block;
        while self.clock < until && at.insn().left != 0 {
            let i = *at.insn();
            let rip = base.wrapping_add(u64::from(i.offset));
            self.s.rip = if i.is_long() { rip } else { rip & 0xffff_ffff };
            let next = self.next_rip_of(&i);
            match interp::step(self, &i) {
                Ok(Flow::Next) => {
                    self.s.rip = next;
                    self.count(1);
                    if self.attention {
                        return;
                    }
                }
                Ok(_) => return self.count(1),
                Err(e) => return self.deliver(e, next),
            }
            at = at.next();
        }
    }
    fn deliver(&mut self, e: Exception, next_rip: u64) {
        self.counters.exceptions += 1;
        self.counters.page_faults += u64::from(e.vector == vector::PF);
        events::deliver_exception(self, e, next_rip);
        self.count(1);
        self.attention = true;
    }

    /// One instruction by itself, with single-step, RF and the shadows.
    fn step_one(&mut self) {
        self.counters.single_steps += 1;
        let rip = self.s.rip;
        let i = match self.single() {
            Ok(i) => i,
            Err(e) => {
                self.end_shadows();
                self.deliver(e, rip);
                return;
            }
        };
        self.end_shadows();
        self.step_insn(&i);
    }
    fn step_insn(&mut self, i: &Insn) {
        let trap = self.s.flags.other() & rflags::TF != 0;
        let resume = self.s.flags.other() & rflags::RF;
        // Cleared by every instruction that completes, but for those that load it.
        self.s.flags.set_other(rflags::RF, 0);
        let next = self.next_rip_of(i);
        match interp::step(self, i) {
            Ok(flow) => {
                match flow {
                    Flow::Next => self.s.rip = next,
                    Flow::Jump => {}
                    Flow::Again => self.s.flags.set_other(rflags::RF, resume),
                }
                // "Single-Stepping on Branches".
                let branches_only = self.s.msr.debugctl & debugctl::BTF != 0;
                if trap && (flow == Flow::Jump || !branches_only) {
                    self.s.pending_debug |= events::dr6::BS;
                }
                self.count(1);
            }
            Err(e) => {
                self.s.flags.set_other(rflags::RF, resume);
                self.deliver(e, next);
            }
        }
    }
    fn next_rip_of(&self, i: &Insn) -> u64 {
        let next = self.s.rip.wrapping_add(u64::from(i.len));
        if i.is_long() { next } else { next & 0xffff_ffff }
    }
    fn end_shadows(&mut self) {
        self.s.sti_shadow = false;
        self.s.mov_ss_shadow = false;
    }

    /// INIT and start-up IPIs.
    fn take_own(&mut self, event: Pending) {
        match event {
            Pending::Init => {
                let bootstrap = self.apics[self.current].apic_base() & 1 << 8 != 0;
                self.s = self.s.after_init(bootstrap);
                self.apics[self.current].init();
            }
            Pending::Startup(page) => {
                self.s.sipi_pending = None;
                let mut cs = *self.s.segment(Seg::Cs);
                cs.selector = u16::from(page) << 8;
                cs.base = u64::from(page) << 12;
                self.s.set_segment(Seg::Cs, cs);
                self.s.rip = 0;
                self.s.activity = Activity::Active;
            }
            _ => {}
        }
        self.context_forgotten();
    }
}

impl State {
    /// After INIT: SDM volume 3, "Processor State After Reset", the column for INIT. What it does not name stays.
    fn after_init(&self, bootstrap: bool) -> State {
        let mut new = State::reset(bootstrap);
        new.cr0 |= self.cr0 & (cr0::CD | cr0::NW);
        new.cr0 &= self.cr0 | !(cr0::CD | cr0::NW);
        new.fpu = self.fpu.clone();
        new.xcr0 = self.xcr0;
        new.msr = self.msr.clone();
        new.msr.efer = 0;
        new.nmi_pending = self.nmi_pending;
        new.sipi_pending = if bootstrap { None } else { self.sipi_pending };
        new.random = self.random;
        new.exception_log = self.exception_log.clone();
        new
    }
}
