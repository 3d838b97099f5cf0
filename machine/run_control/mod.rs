//! Running a machine, and saying why it stopped.

mod report;

pub use report::{ExceptionReport, ProcessorReport, Report};

use crate::Machine;
use crate::board::BoardStop;
use crate::config::SerialInput;
use undercroft_cpu::state::Activity;
use undercroft_cpu::vcpu::Exit;
use undercroft_spec::x86::control::rflags;

/// Jumps of the clock in which nobody woke, after which a run lets its caller look in.
const JUMPS_A_RUN: u32 = 1024;
/// Jumps of the clock, and ticks, in which nobody woke, after which nobody is expected to.
const VAIN_JUMPS: u64 = 1_000_000;
const VAIN_TICKS: u64 = 3_600_000_000_000;

/// How far to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunLimits {
    /// Stop when exactly this many instructions are retired since power-on.
    pub retired: u64,
    /// Stop at this tick since power-on.
    pub tick: u64,
    /// What to do while all processors wait.
    pub when_idle: WhenIdle,
}

/// What to do while all processors wait for an event of which the time is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenIdle {
    /// The clock jumps to it.
    Jump,
    /// The run stops, and its caller lets time pass: see [`Machine::pass_idle_time`].
    Stop,
}

impl RunLimits {
    /// Until the machine ends.
    pub const fn none() -> Self {
        Self { retired: u64::MAX, tick: u64::MAX, when_idle: WhenIdle::Jump }
    }

    /// Until this many instructions are retired since power-on.
    pub const fn retired(count: u64) -> Self {
        Self { retired: count, ..Self::none() }
    }

    /// Until this tick since power-on.
    pub const fn tick(tick: u64) -> Self {
        Self { tick, ..Self::none() }
    }
}

/// Why a run stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A limit was reached.
    Limit,
    /// Software switched the machine off.
    PowerOff,
    /// Software asked for a reset. There is no firmware that would start anything then.
    Reset,
    /// Software wrote this value to the debug-exit port.
    DebugExit(u32),
    /// A fault while a double fault was delivered.
    TripleFault(Report),
    /// No processor can ever run again.
    Hang(Report),
    /// Only input from outside can make a processor run again.
    WaitingForInput,
    /// All processors wait for the next event. Either the limits say to stop then, or many events have woken nobody. Run again to go on.
    Idle {
        /// Tick of the next event.
        until: u64,
    },
}

impl Stop {
    /// Whether the machine has ended: running it again does nothing.
    pub const fn is_end(&self) -> bool {
        match self {
            Stop::PowerOff | Stop::Reset | Stop::DebugExit(_) | Stop::TripleFault(_) | Stop::Hang(_) => true,
            Stop::Limit | Stop::WaitingForInput | Stop::Idle { .. } => false,
        }
    }
}

/// Time in which nobody woke.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vain {
    since: u64,
    jumps: u64,
    retired: u64,
}

impl Machine {
    /// Runs until a limit is reached or the machine stops by itself. A machine that has ended gives the same answer again.
    pub fn run(&mut self, limits: RunLimits) -> Stop {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let stop = self.run_on(limits);
        if stop.is_end() {
            self.ended = Some(stop.clone());
        }
        stop
    }

    fn run_on(&mut self, limits: RunLimits) -> Stop {
        for _ in 0..JUMPS_A_RUN {
            let ticks_left = limits.tick.saturating_sub(self.cpu.clock());
            let limit = limits.retired.min(self.cpu.retired().saturating_add(ticks_left));
            match self.cpu.run(limit) {
                Exit::Limit => return Stop::Limit,
                Exit::StopRequested => {
                    if let Some(stop) = self.board_mut().take_stop() {
                        return match stop {
                            BoardStop::PowerOff => Stop::PowerOff,
                            BoardStop::Reset => Stop::Reset,
                            BoardStop::DebugExit(value) => Stop::DebugExit(value),
                        };
                    }
                }
                Exit::Shutdown(n) => return Stop::TripleFault(self.report(format!("processor {n} is in shutdown"))),
                Exit::Idle { next } => {
                    if let Some(stop) = self.idle(next, limits) {
                        return stop;
                    }
                }
            }
        }
        Stop::Idle { until: self.cpu.next_event().unwrap_or(self.cpu.clock()) }
    }

    /// All processors wait: the clock jumps to what happens next, or there is a reason to stop.
    fn idle(&mut self, next: Option<u64>, limits: RunLimits) -> Option<Stop> {
        let wakeable = (0..self.cpu.cpus()).any(|n| can_wake(&self.cpu, n));
        if !wakeable {
            let why = "all processors wait and none accepts interrupts";
            return Some(Stop::Hang(self.report(why.into())));
        }
        match next {
            Some(until) if limits.when_idle == WhenIdle::Stop && until < limits.tick => Some(Stop::Idle { until }),
            Some(tick) if !self.is_in_vain() => {
                self.cpu.skip_to(tick.min(limits.tick));
                None
            }
            _ if self.config.serial.input == SerialInput::Possible => Some(Stop::WaitingForInput),
            next => {
                let why = match next {
                    None => "all processors wait, no event will ever come, and there is no input",
                    Some(_) => "all processors wait, and for an hour no event has woken one",
                };
                Some(Stop::Hang(self.report(why.into())))
            }
        }
    }

    /// Lets time pass while all processors wait, but not beyond the next event.
    pub fn pass_idle_time(&mut self, ticks: u64) {
        let next = self.cpu.next_event().unwrap_or(u64::MAX);
        self.cpu.skip_to(self.cpu.clock().saturating_add(ticks).min(next));
    }

    /// Notes a jump; true when so many have been in vain that no event can be expected to wake anybody.
    fn is_in_vain(&mut self) -> bool {
        let (now, retired) = (self.cpu.clock(), self.cpu.retired());
        let vain = match self.vain {
            Some(vain) if vain.retired == retired => Vain { jumps: vain.jumps + 1, ..vain },
            _ => Vain { since: now, jumps: 0, retired },
        };
        self.vain = Some(vain);
        vain.jumps > VAIN_JUMPS && now - vain.since > VAIN_TICKS
    }

    /// What people want to know about all processors.
    pub fn report(&self, why: String) -> Report {
        let processors = (0..self.cpu.cpus()).map(|n| ProcessorReport::new(n, self.cpu.state(n))).collect();
        Report { why, tick: self.cpu.clock(), retired: self.cpu.retired(), processors }
    }
}

/// Whether an interrupt could make a waiting processor run.
fn can_wake(cpu: &undercroft_cpu::vcpu::Cpu, n: usize) -> bool {
    let state = cpu.state(n);
    let accepts = state.rflags() & rflags::IF != 0;
    match state.activity {
        Activity::Active => true,
        Activity::Halted => accepts,
        Activity::Mwait { interrupt_breaks } => accepts || interrupt_breaks,
        Activity::Shutdown | Activity::WaitForSipi => false,
    }
}
