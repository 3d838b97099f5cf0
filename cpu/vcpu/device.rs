//! Accesses that leave the processor: local APIC, device registers, I/O ports.

use super::Cpu;
use crate::local_apic::Moment;
use undercroft_ram::page_flags;
use undercroft_spec::PhysAddr;

impl Cpu {
    /// This instant, as the current processor's local APIC needs it.
    pub(crate) fn moment(&self) -> Moment {
        Moment { tick: self.now, tsc: self.tsc() }
    }
    /// Is the address in the current processor's local APIC page?
    fn apic_offset(&self, pa: PhysAddr) -> Option<u64> {
        let page = self.apics[self.current].register_page()?;
        if pa.get() & !0xfff == page { Some(pa.page_offset()) } else { None }
    }
    /// Reads a device register.
    pub(crate) fn device_read(&mut self, pa: PhysAddr, len: u64) -> u64 {
        if let Some(offset) = self.apic_offset(pa) {
            let moment = self.moment();
            return self.apics[self.current].read_page(moment, offset, len as u8);
        }
        self.attention = true;
        self.listen = true;
        let value = self.bus.read(self.now, pa, len as u8);
        self.hear_writes();
        value
    }
    /// Writes a device register.
    pub(crate) fn device_write(&mut self, pa: PhysAddr, len: u64, value: u64) {
        self.attention = true;
        self.listen = true;
        if let Some(offset) = self.apic_offset(pa) {
            let moment = self.moment();
            let effects = self.apics[self.current].write_page(moment, offset, len as u8, value);
            self.apply_effects(effects);
            return;
        }
        self.bus.write(self.now, pa, len as u8, value);
        self.hear_writes();
    }
    /// What a device wrote to RAM is seen by the same instruction's next access.
    #[inline]
    fn hear_writes(&mut self) {
        if self.ram.has_touched() {
            self.devices_touched_pages();
        }
    }
    /// Reads an I/O port. Permission was checked.
    pub fn io_read(&mut self, port: u16, len: u8) -> u32 {
        self.attention = true;
        self.listen = true;
        let value = self.bus.io_read(self.now, port, len);
        self.hear_writes();
        value
    }
    /// Writes an I/O port. Permission was checked.
    pub fn io_write(&mut self, port: u16, len: u8, value: u32) {
        self.attention = true;
        self.listen = true;
        self.bus.io_write(self.now, port, len, value);
        self.hear_writes();
    }
    /// Arms MONITOR for the 64 bytes around a physical address.
    pub fn arm_monitor(&mut self, pa: PhysAddr) {
        let line = pa.get() & !63;
        self.s.monitor = Some(line);
        if let Some(offset) = self.map.ram_offset(PhysAddr(line)) {
            let page = offset >> 12;
            self.ram.set_flags(page, page_flags::MONITOR);
            self.mmu.forbid_writes(page);
        }
    }
    /// A store to a page with an armed range: whoever waits for it wakes.
    pub(crate) fn monitored_store(&mut self, offset: u64, len: u64) {
        let page = offset >> 12;
        let base = self.map.address_of(offset).get();
        let touched = |line: u64| line < base + len && base < line + 64;
        let mut armed = false;
        for n in 0..self.config.cpus {
            let current = self.current;
            let s = if n == current { &mut self.s } else { &mut self.parked[n] };
            let Some(line) = s.monitor else { continue };
            if touched(line) {
                s.monitor = None;
                if matches!(s.activity, crate::state::Activity::Mwait { .. }) {
                    s.activity = crate::state::Activity::Active;
                    self.attention = true;
                }
            } else if self.map.ram_offset(PhysAddr(line)).is_some_and(|o| o >> 12 == page) {
                armed = true;
            }
        }
        if !armed {
            self.ram.clear_flags(page, page_flags::MONITOR);
        }
    }
}
