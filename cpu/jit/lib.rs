//! The compiler, as far as it is there: a domain of `Ops` that emits x86-64 code in one pass.
//!
//! It proves that the bodies of `isa/semantics` fit an emitter as they are (docs/design/0002). Registers and flags live in an [`Env`]; a block is
//! compiled whole ([`Code::add`]) and run on one ([`Code::run`]). What it cannot do is refused, and left to the interpreter: at compilation with
//! [`Refused`], at run time with [`Outcome::Bail`]. The processor does not use it yet.

mod assembler;
mod emitter;
mod env;
mod values;

pub use env::{Access, Env, FlagRecord, PAGE, TLB_ENTRIES};

use emitter::{Emitter, REASON_BITS, Reason};
use undercroft_decode::Insn;
use undercroft_jit_memory::{CodeMemory, CodeMemoryError, Entry};
use undercroft_semantics::exec;

/// Why instructions cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not 64-bit code.
    #[error("only 64-bit code is compiled")]
    NotLong,
    /// An instruction that is not written over `Ops`.
    #[error("an instruction that is done by a helper")]
    Helper,
    /// An instruction with more values than there are slots.
    #[error("an instruction with too many intermediate values")]
    TooComplex,
    /// Too many instructions, or bytes, for one block.
    #[error("the block is too long")]
    TooLong,
    /// There is no memory for the code.
    #[error(transparent)]
    Memory(#[from] CodeMemoryError),
}

/// How a block was left. Numbers count its instructions; those before the one named are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// To the instruction behind the block.
    Next,
    /// By a branch, done, to its own target.
    Taken(u32),
    /// By a branch, done, to the address in [`Env::rip`].
    To(u32),
    /// By a repeated string instruction that has another step to do: it is next.
    Again(u32),
    /// The instruction was not done, nothing of it: it needs the interpreter.
    Bail(u32),
}

/// A compiled block.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    entry: Entry,
    /// Bytes of host code.
    pub len: usize,
}

/// Instructions of a block, at most.
const MAX_INSNS: usize = 1 << 12;
/// Bytes of a block, at most.
const MAX_BYTES: usize = 1 << 20;

/// Host code of a block.
pub fn emit(insns: &[Insn]) -> Result<Vec<u8>, Refused> {
    if insns.len() > MAX_INSNS {
        return Err(Refused::TooLong);
    }
    let mut emitter = Emitter::new(MAX_BYTES);
    for (number, i) in insns.iter().enumerate() {
        if !i.is_long() {
            return Err(Refused::NotLong);
        }
        emitter.begin(number as u32, i);
        exec(&mut emitter, i, i.op, i.size(), i.shape())?;
        emitter.end()?;
    }
    emitter.finish()
}

/// Compiled blocks.
pub struct Code {
    memory: CodeMemory,
    gate: Entry,
}

/// Where Rust enters code, as a function of the System V ABI: saves the callee-saved registers, points RBX into the environment (RDI), calls the block (RSI).
/// Six pushes and two return addresses leave the stack aligned for the block's own calls.
const GATE: [u8; 30] = [
    0x53,
    0x55,
    0x41,
    0x54,
    0x41,
    0x55,
    0x41,
    0x56,
    0x41,
    0x57, // push rbx, rbp, r12, r13, r14, r15
    0x48,
    0x8d,
    0x9f,
    env::at::BIAS as u8,
    0,
    0,
    0, // lea rbx, [rdi + BIAS]
    0xff,
    0xd6, // call rsi
    0x41,
    0x5f,
    0x41,
    0x5e,
    0x41,
    0x5d,
    0x41,
    0x5c,
    0x5d,
    0x5b, // pop
    0xc3,
];

impl Code {
    /// With room for so many bytes.
    pub fn new(capacity: usize) -> Result<Code, Refused> {
        let mut memory = CodeMemory::new(capacity)?;
        let gate = memory.add(&GATE)?;
        Ok(Code { memory, gate })
    }
    /// Compiles a block.
    pub fn add(&mut self, insns: &[Insn]) -> Result<Block, Refused> {
        let bytes = emit(insns)?;
        Ok(Block { entry: self.memory.add(&bytes)?, len: bytes.len() })
    }
    /// Forgets all blocks.
    pub fn clear(&mut self) -> Result<(), Refused> {
        self.memory.clear();
        self.gate = self.memory.add(&GATE)?;
        Ok(())
    }
    /// Runs a block once.
    pub fn run(&self, block: Block, env: &mut Env) -> Result<Outcome, Refused> {
        let left = self.memory.run(self.gate, block.entry, env)? as u32;
        let number = left >> REASON_BITS;
        Ok(match left & ((1 << REASON_BITS) - 1) {
            n if n == Reason::Next as u32 => Outcome::Next,
            n if n == Reason::Taken as u32 => Outcome::Taken(number),
            n if n == Reason::To as u32 => Outcome::To(number),
            n if n == Reason::Again as u32 => Outcome::Again(number),
            _ => Outcome::Bail(number),
        })
    }
}
