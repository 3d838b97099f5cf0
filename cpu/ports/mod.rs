//! What the processor needs from the outside: the machine implements it, the processor calls it.
//!
//! All times are ticks of the machine's clock (1 ns of virtual time).

use undercroft_spec::PhysAddr;

/// Something that arrives at processors from the outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// A write into the interrupt address range (FEEx_xxxxH): an MSI, or an I/O APIC's message in the same form.
    Message {
        /// Address of the write.
        address: u64,
        /// Data of the write.
        data: u32,
    },
    /// An NMI for every processor's LINT1 line.
    Nmi,
    /// INIT of all processors (keyboard controller, port 92H).
    Init,
}

/// The bus: physical addresses that are not RAM, I/O ports, and the clock of the devices behind them.
///
/// It is `Any`, so that the machine, which gave it to the processor, can find its own type again.
pub trait Bus: std::any::Any {
    /// Reads a device register; addresses that nobody claims read as ones. `size` is 1, 2, 4 or 8.
    fn read(&mut self, now: u64, addr: PhysAddr, size: u8) -> u64;
    /// Writes a device register.
    fn write(&mut self, now: u64, addr: PhysAddr, size: u8, value: u64);
    /// Reads an I/O port. `size` is 1, 2 or 4.
    fn io_read(&mut self, now: u64, port: u16, size: u8) -> u32;
    /// Writes an I/O port.
    fn io_write(&mut self, now: u64, port: u16, size: u8, value: u32);
    /// Lets devices do what is due at `now`.
    fn advance(&mut self, now: u64);
    /// The tick at which a device next has something to do.
    fn next_event(&self) -> Option<u64>;
    /// Takes what arrived for processors since the last call.
    fn take_signals(&mut self, out: &mut Vec<Signal>);
    /// Level of the 8259 pair's INTR output.
    fn intr(&self) -> bool;
    /// Interrupt acknowledge cycle of the 8259 pair.
    fn acknowledge(&mut self) -> u8;
    /// A local APIC's EOI of a level-triggered vector, for the I/O APIC.
    fn eoi(&mut self, now: u64, vector: u8);
    /// FERR#: with CR0.NE = 0 an x87 exception is pending that the machine is to make an interrupt of (IRQ13 of a PC). Called by each
    /// instruction that waits for it. True: IGNNE# is asserted, the processor goes on without regard to the exception; false: it waits for the
    /// interrupt. A machine without these lines ignores the exception.
    fn floating_point_error(&mut self, _now: u64) -> bool {
        true
    }
    /// Has a device asked for the machine to stop (power-off, reset, debug exit)? The run loop then returns to the machine.
    fn stop_requested(&self) -> bool;
}
