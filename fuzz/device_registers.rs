//! Accesses to device registers, in an order and at times that software chooses.

use crate::Seeds;
use crate::input::Input;
use crate::memory::Memory;
use undercroft_platform::chipset::hpet::{self, Hpet};
use undercroft_platform::chipset::pit_i8254::Pit;
use undercroft_platform::chipset::pm_ich9::{self, InitialMode, Pm, TimerWidth};
use undercroft_platform::chipset::reset_control::ResetControl;
use undercroft_platform::chipset::rtc_mc146818::Rtc;
use undercroft_platform::chipset::uart_ns16550::{LineSpeed, Uart};
use undercroft_platform::clock::Tick;
use undercroft_platform::device::{Context, Msi, Registers, Timed};
use undercroft_platform::irq::io_apic::{self, IoApic};
use undercroft_platform::irq::pic_i8259::PicPair;

/// Accesses of one case at most.
const MOST_ACCESSES: u32 = 200;
/// Interrupt messages that one access may send at most.
const MOST_MESSAGES: usize = 16;
/// Times that a device may ask to be called again for the same moment.
const MOST_ROUNDS: u32 = 16;

/// A device in a case; `Timed` where it is.
trait Subject {
    fn registers(&mut self) -> &mut dyn Registers;
    fn timed(&mut self) -> Option<&mut dyn Timed>;
}

/// A device without a clock of its own.
struct Plain<D>(D);
/// A device with one.
struct Clocked<D>(D);

impl<D: Registers> Subject for Plain<D> {
    fn registers(&mut self) -> &mut dyn Registers {
        &mut self.0
    }
    fn timed(&mut self) -> Option<&mut dyn Timed> {
        None
    }
}

impl<D: Registers + Timed> Subject for Clocked<D> {
    fn registers(&mut self) -> &mut dyn Registers {
        &mut self.0
    }
    fn timed(&mut self) -> Option<&mut dyn Timed> {
        Some(&mut self.0)
    }
}

/// Makes a device after power-on.
type Make = fn() -> Box<dyn Subject>;

/// The devices, each with the bytes of its registers.
const SUBJECTS: &[(Make, u64)] = &[
    (|| Box::new(Plain(PicPair::new())), 4),
    (|| Box::new(Clocked(Pit::new())), 5),
    (|| Box::new(Clocked(Uart::new(LineSpeed::Programmed))), 8),
    (|| Box::new(Clocked(Uart::new(LineSpeed::Fixed { character_ticks: 1 }))), 8),
    (|| Box::new(Plain(IoApic::new(io_apic::Configuration { id: 1, active_low_wires: 0xff_0000 }))), 0x50),
    (|| Box::new(Clocked(Hpet::new(hpet::Configuration::default()))), 0x400),
    (|| Box::new(Plain(ResetControl::new())), 2),
    (|| Box::new(Clocked(Rtc::new(1_800_000_000))), 4),
    (|| Box::new(Clocked(pm(InitialMode::Legacy))), 0x82),
    (|| Box::new(Clocked(pm(InitialMode::Acpi))), 0x82),
];

fn pm(initial_mode: InitialMode) -> Pm {
    Pm::new(pm_ich9::Configuration { timer_width: TimerWidth::Bits32, initial_mode })
}

/// The first byte chooses the device; then each access is a byte that says what, and the bytes it needs.
pub fn fuzz_one(data: &[u8]) {
    let mut input = Input::new(data);
    let (make, span) = SUBJECTS[usize::from(input.byte()) % SUBJECTS.len()];
    let mut subject = make();
    let mut now = 0;
    let (mut memory, mut messages) = (Memory::default(), Vec::new());
    for _ in 0..MOST_ACCESSES {
        if input.is_empty() {
            return;
        }
        let what = input.byte();
        let size = 1 << (what & 3);
        let offset = match what & 4 {
            0 => input.number(2) % span,
            _ => input.number(8),
        };
        let mut cx = Context { now: Tick(now), dma: &mut memory, msi: &mut messages };
        match what & 8 {
            0 => {
                let value = subject.registers().read(&mut cx, offset, size);
                let unused = 64 - 8 * u32::from(size);
                assert_eq!(value << unused >> unused, value, "{size} bytes read at {offset:#x} are {value:#x}");
            }
            _ => subject.registers().write(&mut cx, offset, size, input.number(u32::from(size))),
        }
        assert!(messages.len() <= MOST_MESSAGES, "{} messages at one access", messages.len());
        messages.clear();
        now = match what >> 4 & 3 {
            0 => now,
            1 => now.saturating_add(input.number(2)),
            2 => now.saturating_add(input.number(8) >> 4),
            _ => subject.timed().and_then(|timed| timed.next_event()).map_or(now, |event| event.0),
        };
        if let Some(timed) = subject.timed() {
            settle(timed, now, &mut memory, &mut messages);
        }
    }
}

/// Time reaches `now`: after a few calls the device asks for none before a later moment.
fn settle(timed: &mut dyn Timed, now: u64, memory: &mut Memory, messages: &mut Vec<Msi>) {
    for _ in 0..MOST_ROUNDS {
        timed.advance(&mut Context { now: Tick(now), dma: memory, msi: messages });
        assert!(messages.len() <= MOST_MESSAGES, "{} messages at one moment", messages.len());
        messages.clear();
        let next = timed.next_event();
        assert!(next.is_none_or(|event| event.0 >= now), "at {now} the next event is {next:?}");
        if next.is_none_or(|event| event.0 > now) || now == u64::MAX {
            return;
        }
    }
    panic!("the device does not settle at {now}");
}

/// A case from steps.
fn case(device: u8, steps: &[&[u8]]) -> Vec<u8> {
    [&[device], steps.concat().as_slice()].concat()
}

/// Programmings that set a device going: `[8, offset, 0, value]` writes a byte, `[0x30, offset, 0]` reads one and goes on to the
/// next event.
pub fn seeds() -> Seeds {
    vec![
        // The 8259A pair's initialization sequence.
        case(0, &[&[8, 0, 0, 0x11], &[8, 1, 0, 0x20], &[8, 1, 0, 4], &[8, 1, 0, 1], &[8, 1, 0, 0], &[0, 0, 0]]),
        // Counter 0 of the 8254 as a rate generator.
        case(1, &[&[8, 3, 0, 0x34], &[8, 0, 0, 0xa9], &[8, 0, 0, 4], &[0x30, 0, 0], &[0x30, 0, 0]]),
        // The 16550A: divisor, line, FIFO, interrupts, a byte.
        case(
            2,
            &[
                &[8, 3, 0, 0x83],
                &[8, 0, 0, 1],
                &[8, 1, 0, 0],
                &[8, 3, 0, 3],
                &[8, 2, 0, 0xc7],
                &[8, 1, 0, 0xf],
                &[8, 0, 0, b'x'],
                &[0x30, 2, 0],
                &[0x30, 5, 0],
            ],
        ),
        // A redirection entry of the I/O APIC.
        case(4, &[&[10, 0, 0, 0x10, 0, 0, 0], &[10, 0x10, 0, 0x30, 0, 0, 0], &[2, 0x10, 0]]),
        // The HPET: timer 0 periodic, then enabled.
        case(
            5,
            &[
                &[11, 0, 1, 0x4c, 0, 0, 0, 0, 0, 0, 0],
                &[11, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0],
                &[11, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 0],
                &[0x33, 0xf0, 0],
                &[0x33, 0xf0, 0],
            ],
        ),
        // The clock's periodic interrupt.
        case(7, &[&[8, 0, 0, 0xb], &[8, 1, 0, 0x42], &[0x30, 1, 0], &[8, 0, 0, 0xc], &[0x30, 1, 0]]),
        // The power-management timer's interrupt.
        case(9, &[&[9, 2, 0, 1, 1], &[0x31, 0, 0], &[0x32, 8, 0]]),
    ]
}
