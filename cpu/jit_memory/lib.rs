//! Executable memory, and the call into it.
//!
//! A [`CodeMemory`] is one bounded mapping of the host's. It is never writable and executable at once: [`CodeMemory::add`] makes it writable,
//! copies, and makes it executable again; code runs only while the memory is borrowed, so nothing is written meanwhile.
//!
//! # Soundness
//!
//! Bytes that are run can do anything; no type can prove them harmless. Who writes them is therefore part of the trusted code, as if it were written
//! in `unsafe` blocks: one crate, `undercroft-jit`, may use this one. What is checked here is the rest:
//! - an [`Entry`] is made only by `add`, and run only in the memory that it is of, and only until that is cleared; so control enters at the first byte of
//!   something that was added whole;
//! - the environment is lent exclusively for the run, of a type without lifetimes that code could outlive.
//!
//! What an emitter owes: a *gate* is a function of the System V ABI, `fn(environment, target) -> u64`; it and all that it reaches keep the callee-saved
//! registers and the stack, do not unwind, write no host memory but the environment and what the environment says is the machine's, and end.

use memmap2::{Mmap, MmapMut};
use std::sync::atomic::{AtomicU64, Ordering};

/// Why code cannot be added or run.
#[derive(Debug, thiserror::Error)]
pub enum CodeMemoryError {
    /// The host refused a mapping or a change of its protection.
    #[error("the host refused {bytes} bytes of executable memory: {source}")]
    Host {
        /// Size of the mapping.
        bytes: usize,
        /// The host's reason.
        source: std::io::Error,
    },
    /// The code does not fit into what is left.
    #[error("code of {needed} bytes does not fit into the {left} left")]
    Full {
        /// Size of the code.
        needed: usize,
        /// What is left.
        left: usize,
    },
    /// The entry is of another memory, or of code that was cleared since.
    #[error("the entry is not of this memory's present code")]
    Stale,
}

/// Start of a piece of code that was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    offset: usize,
    generation: u64,
}

enum Mapping {
    Writable(MmapMut),
    Executable(Mmap),
    /// A change of protection failed: there is no mapping any more.
    Lost,
}

/// Memory for code. Bounded: what does not fit is refused.
pub struct CodeMemory {
    mapping: Mapping,
    used: usize,
    capacity: usize,
    generation: u64,
}

/// Entries begin at multiples of this.
const ALIGN: usize = 16;

/// No two states of any two memories share a number, so an entry names exactly one.
fn next_generation() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl CodeMemory {
    /// With room for so many bytes.
    pub fn new(capacity: usize) -> Result<CodeMemory, CodeMemoryError> {
        let mapping =
            MmapMut::map_anon(capacity).map_err(|source| CodeMemoryError::Host { bytes: capacity, source })?;
        Ok(CodeMemory { mapping: Mapping::Writable(mapping), used: 0, capacity, generation: next_generation() })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Forgets all code. Entries made so far become stale.
    pub fn clear(&mut self) {
        self.used = 0;
        self.generation = next_generation();
    }

    /// Copies code in and makes it executable. It must be position-independent.
    pub fn add(&mut self, code: &[u8]) -> Result<Entry, CodeMemoryError> {
        let left = self.capacity - self.used;
        // An empty piece would have no first byte to enter at.
        if code.len().max(1) > left {
            return Err(CodeMemoryError::Full { needed: code.len(), left });
        }
        let bytes = self.capacity;
        let host = |source| CodeMemoryError::Host { bytes, source };
        let mut mapping = match std::mem::replace(&mut self.mapping, Mapping::Lost) {
            Mapping::Writable(mapping) => mapping,
            Mapping::Executable(mapping) => mapping.make_mut().map_err(host)?,
            Mapping::Lost => return Err(CodeMemoryError::Stale),
        };
        let offset = self.used;
        mapping[offset..offset + code.len()].copy_from_slice(code);
        self.mapping = Mapping::Executable(mapping.make_exec().map_err(host)?);
        self.used = (offset + code.len()).next_multiple_of(ALIGN).min(self.capacity);
        Ok(Entry { offset, generation: self.generation })
    }

    /// Calls `gate` with the environment and the address of `target`; gives what it returns.
    pub fn run<E: 'static>(&self, gate: Entry, target: Entry, env: &mut E) -> Result<u64, CodeMemoryError> {
        let Mapping::Executable(mapping) = &self.mapping else { return Err(CodeMemoryError::Stale) };
        if gate.generation != self.generation || target.generation != self.generation {
            return Err(CodeMemoryError::Stale);
        }
        let gate = mapping[gate.offset..].as_ptr();
        let target = mapping[target.offset..].as_ptr();
        // SAFETY: `gate` is the first byte of code that was added to this mapping and is executable; it keeps the contract in the header.
        Ok(unsafe {
            let gate: extern "sysv64" fn(*mut E, *const u8) -> u64 = std::mem::transmute(gate);
            gate(env, target)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mov rax, [rdi]; inc qword [rdi]; ret`
    const READ_AND_COUNT: [u8; 7] = [0x48, 0x8b, 0x07, 0x48, 0xff, 0x07, 0xc3];

    #[test]
    fn code_runs_on_the_environment() {
        let mut memory = CodeMemory::new(4096).expect("memory");
        let entry = memory.add(&READ_AND_COUNT).expect("code");
        let mut env = 41u64;
        assert_eq!(memory.run(entry, entry, &mut env).expect("run"), 41);
        let second = memory.add(&READ_AND_COUNT).expect("more code");
        assert_eq!(memory.run(second, entry, &mut env).expect("run"), 42);
        assert_eq!(env, 43);
    }

    #[test]
    fn code_beyond_the_capacity_is_refused() {
        let mut memory = CodeMemory::new(8).expect("memory");
        assert!(matches!(memory.add(&[0xc3; 9]), Err(CodeMemoryError::Full { needed: 9, left: 8 })));
        assert!(memory.add(&[0xc3; 8]).is_ok());
        assert!(memory.add(&[0xc3]).is_err());
    }

    #[test]
    fn entry_of_other_or_cleared_code_is_refused() {
        let mut memory = CodeMemory::new(4096).expect("memory");
        let mut other = CodeMemory::new(4096).expect("memory");
        let entry = memory.add(&READ_AND_COUNT).expect("code");
        let elsewhere = other.add(&READ_AND_COUNT).expect("code");
        assert!(memory.run(elsewhere, elsewhere, &mut 0u64).is_err());
        memory.clear();
        memory.add(&READ_AND_COUNT).expect("code");
        assert!(matches!(memory.run(entry, entry, &mut 0u64), Err(CodeMemoryError::Stale)));
    }
}
