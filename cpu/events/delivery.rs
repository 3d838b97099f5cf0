//! Delivery of one event: who takes it, what happens when delivery itself faults, the log for people.
//! SDM volume 3, "Interrupt 8 - Double Fault Exception (#DF)", "Exception and Interrupt Handling".

use super::debug::{debugctl, dr6, dr7};
use super::event::{Event, Kind, Outcome, ResumeFlag};
use super::exception::{Class, Detail, Exception};
use crate::state::Activity;
use crate::vcpu::Cpu;
use undercroft_spec::x86::control::rflags;
use undercroft_spec::x86::vector;

/// Exceptions that the log keeps.
const LOG: usize = 16;

/// Delivers what an instruction raised. RIP is that of the instruction; `next_rip`, that of the one after it, is what traps and software
/// interrupts save. Ends in the handler, in a double fault's handler, or in shutdown.
pub fn deliver_exception(cpu: &mut Cpu, exception: Exception, next_rip: u64) {
    if exception.class == Class::Fault && !matches!(exception.detail, Detail::Debug(_)) {
        // Data breakpoints of an instruction that did nothing are forgotten.
        cpu.s.pending_debug = 0;
    }
    deliver(cpu, Event::from_exception(&exception, cpu.s.rip, next_rip));
}
/// Delivers a maskable interrupt that was acknowledged.
pub fn deliver_interrupt(cpu: &mut Cpu, vector: u8) {
    deliver(cpu, Event::interrupt(vector, Kind::External, cpu.s.rip));
}
/// Delivers an NMI, and blocks further ones until IRET.
pub fn deliver_nmi(cpu: &mut Cpu) {
    let event = Event::interrupt(vector::NMI, Kind::Nmi, cpu.s.rip);
    deliver(cpu, event);
}

/// Who takes an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route {
    /// The handler that the IDT (or the interrupt vector table) names.
    ThroughIdt,
}

/// The one place that decides who takes an event. `during` is the event whose delivery raised it, if any. Nothing of the event has been written yet.
fn route(_cpu: &mut Cpu, _event: &Event, _during: Option<&Event>) -> Route {
    Route::ThroughIdt
}

fn deliver(cpu: &mut Cpu, first: Event) {
    cpu.attention = true;
    let mut event = first;
    let mut during = None;
    // Each round is an event worse than the one before or benign; the bound is for the case of an endless chain of benign ones.
    for _ in 0..8 {
        match route(cpu, &event, during.as_ref()) {
            Route::ThroughIdt => {}
        }
        log(cpu, &event);
        write_detail(cpu, &event);
        let exception = match through_idt(cpu, &event) {
            Ok(()) => {
                if event.kind == Kind::Nmi {
                    cpu.s.nmi_blocked = true;
                }
                cpu.s.activity = Activity::Active;
                cpu.s.sti_shadow = false;
                cpu.s.between_iterations = false;
                cpu.s.mov_ss_shadow = false;
                return;
            }
            Err(exception) => exception,
        };
        let second = Event::from_exception(&exception, cpu.s.rip, cpu.s.rip);
        let outcome = event.then(&second);
        during = Some(event);
        event = match outcome {
            Outcome::Serial => second,
            Outcome::DoubleFault => {
                log(cpu, &second);
                write_detail(cpu, &second);
                Event::double_fault(cpu.s.rip)
            }
            Outcome::Shutdown => {
                log(cpu, &second);
                break;
            }
        };
    }
    cpu.s.activity = Activity::Shutdown;
}

fn through_idt(cpu: &mut Cpu, event: &Event) -> Result<(), Exception> {
    let done = if cpu.s.is_ia32e() {
        super::gate_long::deliver(cpu, event)
    } else if cpu.s.is_protected() {
        super::gate::deliver(cpu, event)
    } else {
        super::real_mode::deliver(cpu, event)
    };
    done.map_err(|e| with_ext(e, event.ext()))
}

/// Error codes that name a selector have the EXT bit when the event was not of the program's making.
fn with_ext(mut e: Exception, ext: u32) -> Exception {
    if (vector::TS..=vector::GP).contains(&e.vector) && e.class == Class::Fault {
        e.error_code = e.error_code.map(|code| code | ext);
    }
    e
}

/// CR2, DR6 and DR7: written when the exception occurs, whether or not the handler can be reached.
fn write_detail(cpu: &mut Cpu, event: &Event) {
    match event.detail {
        Detail::None => {}
        Detail::PageFault(addr) => cpu.s.cr2 = addr.get(),
        Detail::Debug(bits) => {
            cpu.s.dr6 = cpu.s.dr6 & !dr6::B | bits;
            cpu.s.dr7 &= !dr7::GD;
            cpu.s.msr.debugctl &= !(debugctl::LBR | debugctl::BTF);
        }
    }
}

/// The RFLAGS image of the frame.
pub(crate) fn flags_image(cpu: &Cpu, event: &Event) -> u64 {
    let flags = cpu.s.flags.get();
    match event.resume_flag {
        None if cpu.s.between_iterations => flags | rflags::RF,
        None => flags,
        Some(ResumeFlag::Set) => flags | rflags::RF,
        Some(ResumeFlag::Clear) => flags & !rflags::RF,
    }
}

fn log(cpu: &mut Cpu, event: &Event) {
    if event.kind != Kind::Exception {
        return;
    }
    let log = &mut cpu.s.exception_log;
    if log.len() >= LOG {
        log.remove(0);
    }
    log.push((event.vector, event.error_code.unwrap_or(0), event.return_rip));
}
