//! Addresses of code that is not laid out yet. They lie behind the branch always, so that every case ends.

use super::{Builder, Slot};
use crate::layout::{CODE, DATA, PAGE};
use iced_x86::{Instruction, OpKind};

impl Builder<'_> {
    fn skip(&mut self) -> usize {
        if self.r.percent(50) { 0 } else { self.r.below(4) as usize }
    }

    /// A relative branch.
    pub(super) fn branch(&mut self, i: &mut Instruction, n: u32, short: bool) {
        i.set_op_kind(n, OpKind::NearBranch64);
        i.set_near_branch64(self.ip + 15);
        let skip = self.skip();
        self.targets.push((Slot::Relative(self.items.len(), if short { 1 } else { 4 }), self.items.len() + 1 + skip));
    }

    /// A register that holds the address of code, mostly of what follows.
    pub(super) fn code_in_register(&mut self, number: usize) {
        if self.pinned[number].is_some() || self.written >> number & 1 != 0 {
            return;
        }
        if let Some(elsewhere) = self.elsewhere() {
            self.pin(number, elsewhere);
            return;
        }
        self.pin(number, 0);
        let skip = self.skip();
        self.targets.push((Slot::Register(number), self.items.len() + 1 + skip));
    }
    /// The same in memory.
    pub(super) fn code_in_memory(&mut self, address: u64) {
        let value = self.elsewhere();
        let skip = self.skip();
        if value.is_none() {
            self.targets.push((Slot::Memory(self.patches.len()), self.items.len() + 1 + skip));
        }
        self.patch(address, value.unwrap_or(0).to_le_bytes().to_vec());
    }
    /// Where no code of the case is: pages that are not executable or not there.
    fn elsewhere(&mut self) -> Option<u64> {
        match self.r.below(40) {
            0 => Some(DATA + PAGE + self.r.below(PAGE)),
            1 => Some(CODE - 1 - self.r.below(PAGE)),
            _ => None,
        }
    }

    pub(super) fn resolve_targets(&mut self) {
        let mut starts = vec![self.registers.rip];
        for item in &self.items {
            starts.push(starts[starts.len() - 1] + item.bytes.len() as u64);
        }
        for (slot, item) in std::mem::take(&mut self.targets) {
            let address = starts[item.min(starts.len() - 1)];
            match slot {
                Slot::Register(n) => self.pinned[n] = Some(address),
                Slot::Memory(n) => self.patches[n].bytes = address.to_le_bytes().to_vec(),
                Slot::Relative(n, len) => {
                    let distance = address.wrapping_sub(starts[n + 1]) as i64;
                    let bytes = &mut self.items[n].bytes;
                    let at = bytes.len() - len;
                    bytes[at..].copy_from_slice(&distance.to_le_bytes()[..len]);
                }
            }
        }
    }
}
