//! Interrupt controllers outside the processor.

pub mod io_apic;
pub mod pic_i8259;

#[cfg(test)]
mod tests {
    use super::io_apic::{Configuration, IoApic};
    use super::pic_i8259::PicPair;
    use crate::chipset::pit_i8254::Pit;
    use crate::device::conformance::Bench;

    /// IRQ0 as the board wires it: the timer's output to the 8259A and to the I/O APIC. Each period must give one interrupt on both ways.
    #[test]
    fn timer_of_100_hz_gives_100_interrupts_a_second_through_both_controllers() {
        for mode in [0x34, 0x36] {
            let (mut pit, mut pic, mut b) = (Pit::new(), PicPair::new(), Bench::new());
            let mut io_apic = IoApic::new(Configuration { id: 0, active_low_wires: 0 });
            for (offset, value) in [(0, 0x11), (1, 0x30), (1, 0x04), (1, 0x01), (1, 0xfe)] {
                b.outb(&mut pic, offset, value);
            }
            b.writel(&mut io_apic, 0x00, 0x14);
            b.writel(&mut io_apic, 0x10, 0x30);
            for (offset, value) in [(3, mode), (0, 11_932u16 as u8), (0, (11_932u16 >> 8) as u8)] {
                b.outb(&mut pit, offset, value);
            }
            pic.set_input(0, pit.irq0());
            io_apic.set_input(2, pit.irq0(), &mut b.msi);
            b.msi.clear();
            let mut vectors = 0;
            if pic.intr() {
                pic.acknowledge();
                b.outb(&mut pic, 0, 0x20);
            }
            let mut messages = Vec::new();
            b.run_until(&mut pit, 1_000_100_000, |_, pit| {
                pic.set_input(0, pit.irq0());
                io_apic.set_input(2, pit.irq0(), &mut messages);
                if pic.intr() {
                    assert_eq!(pic.acknowledge(), 0x30);
                    Bench::new().outb(&mut pic, 0, 0x20);
                    vectors += 1;
                }
            });
            assert_eq!((vectors, messages.len()), (100, 100), "control word {mode:#x}");
        }
    }
}
