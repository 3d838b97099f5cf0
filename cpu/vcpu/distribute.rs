//! Interrupts on their way to processors: from devices, from other processors, from local timers.

use super::Cpu;
use crate::local_apic::{Effects, Ipi, Lint, Message, Moment, Peer, Signal as ApicSignal, TimerEvent, message};
use crate::ports::Signal;
use crate::state::Activity;
use undercroft_spec::apic::DeliveryMode;

impl Cpu {
    /// Is there a maskable interrupt for the current processor? Without side effect.
    pub fn interrupt_pending(&self) -> bool {
        let apic = &self.apics[self.current];
        apic.pending_interrupt().is_some() || apic.ext_int()
    }
    /// Acknowledges that interrupt and gives its vector. The 8259 pair comes first: it has no priority to compare.
    pub fn acknowledge_interrupt(&mut self) -> u8 {
        self.attention = true;
        self.listen = true;
        if self.apics[self.current].ext_int() {
            return self.bus.acknowledge();
        }
        self.apics[self.current].acknowledge()
    }

    /// What a write to a local APIC asks of the machine.
    pub(crate) fn apply_effects(&mut self, effects: Effects) {
        self.attention = true;
        self.listen = true;
        if let Some(vector) = effects.eoi_broadcast {
            self.bus.eoi(self.now, vector);
        }
        if let Some(ipi) = effects.ipi {
            self.distribute_ipi(&ipi);
        }
    }
    fn distribute_ipi(&mut self, ipi: &Ipi) {
        let sender = self.current;
        let reached: Vec<usize> = (0..self.apics.len())
            .filter(|n| ipi.reaches(if *n == sender { Peer::Sender } else { Peer::Other }, &self.apics[*n]))
            .collect();
        self.deliver_to(&reached, &ipi.message);
    }
    fn distribute_message(&mut self, m: &Message) {
        let reached: Vec<usize> = (0..self.apics.len()).filter(|n| self.apics[*n].accepts(m.destination)).collect();
        self.deliver_to(&reached, m);
    }
    fn deliver_to(&mut self, reached: &[usize], m: &Message) {
        if m.delivery_mode == DeliveryMode::LowestPriority {
            let chosen = message::lowest_priority(reached.iter().map(|n| (*n, &self.apics[*n])));
            if let Some(n) = chosen {
                self.deliver_one(n, m);
            }
            return;
        }
        for n in reached {
            self.deliver_one(*n, m);
        }
    }
    fn deliver_one(&mut self, n: usize, m: &Message) {
        let signal = self.apics[n].deliver(m.delivery_mode, m.vector, m.trigger_mode);
        self.apply_signal(n, signal);
    }
    fn apply_signal(&mut self, n: usize, signal: ApicSignal) {
        let s = self.state_mut(n);
        match signal {
            ApicSignal::Nmi => s.nmi_pending = true,
            // A processor that waits for a start-up IPI is as after an INIT already.
            ApicSignal::Init => s.init_pending = s.activity != Activity::WaitForSipi,
            // Without an INIT before it a start-up IPI is ignored.
            ApicSignal::StartUp(vector) if s.activity == Activity::WaitForSipi || s.init_pending => {
                s.sipi_pending = Some(vector)
            }
            // There is no system-management mode: SMIs are ignored. ExtINT is asked for by level.
            ApicSignal::None | ApicSignal::Smi | ApicSignal::ExtInt | ApicSignal::StartUp(_) => {}
        }
    }

    /// Takes in what devices did: signals, the 8259's output, memory that they wrote.
    pub(crate) fn listen_to_bus(&mut self) {
        self.listen = false;
        let mut signals = Vec::new();
        self.bus.take_signals(&mut signals);
        for signal in signals {
            match signal {
                Signal::Message { address, data } => {
                    if let Some(m) = Message::from_msi(address, data) {
                        self.distribute_message(&m);
                    }
                }
                Signal::Nmi => {
                    for n in 0..self.apics.len() {
                        let up = self.apics[n].set_lint(Lint::Lint1, true);
                        let _ = self.apics[n].set_lint(Lint::Lint1, false);
                        self.apply_signal(n, up);
                    }
                }
                Signal::Init => {
                    for n in 0..self.apics.len() {
                        self.apply_signal(n, ApicSignal::Init);
                    }
                }
            }
        }
        let level = self.bus.intr();
        for n in 0..self.apics.len() {
            let signal = self.apics[n].set_lint(Lint::Lint0, level);
            self.apply_signal(n, signal);
        }
        if self.ram.has_touched() {
            self.devices_touched_pages();
        }
    }

    /// Devices and local timers do what is due now.
    pub(crate) fn advance_time(&mut self) {
        self.now = self.clock;
        if self.bus.next_event().is_some_and(|t| t <= self.clock) {
            self.bus.advance(self.clock);
        }
        for n in 0..self.apics.len() {
            let offset = self.state(n).msr.tsc_offset;
            if self.apic_event(n).is_some_and(|t| t <= self.clock) {
                self.apics[n].advance(Moment { tick: self.clock, tsc: self.clock.wrapping_add(offset) });
            }
        }
        self.listen_to_bus();
    }
    /// Tick of a local timer's next event.
    fn apic_event(&self, n: usize) -> Option<u64> {
        Some(match self.apics[n].next_event()? {
            TimerEvent::Tick(tick) => tick,
            TimerEvent::Tsc(tsc) => {
                let now = self.clock.wrapping_add(self.state(n).msr.tsc_offset);
                self.clock.saturating_add(tsc.saturating_sub(now))
            }
        })
    }
    /// Tick of the next thing that happens by itself.
    pub fn next_event(&self) -> Option<u64> {
        let timers = (0..self.apics.len()).filter_map(|n| self.apic_event(n));
        timers.chain(self.bus.next_event()).min()
    }
}
