//! Records of decoded blocks, and the cursor that runs along them.
//!
//! A block is a run of 32-byte slots in a chunk that never moves: a [`Record`] for each instruction, one *end* record, and one slot with two
//! links. A [`Cursor`] points at a record. From any record the end record lies `insn.left` slots ahead and the links one more.
//!
//! # Soundness
//!
//! A cursor dereferences a raw pointer. What makes that sound:
//!
//! 1. Cursors come from [`Arena::push`] (a block's first record), [`Cursor::next`] and [`Cursor::links`] only, and are neither `Send` nor `Sync`.
//! 2. `next` is called on instruction records only. The one handler that runs an end record (given to [`Arena::push`] as `end`) never calls it.
//!    Nothing checks this at run time: the assertion is off in every profile, since checks put frames into handlers (root `Cargo.toml`). `left` is written by `push` alone, counting down to 0 at the end record.
//! 3. Slots are written once, by `push`, before the first cursor to them exists; the links are `Cell`s.
//! 4. Chunks live as long as the arena. [`Arena::clear`] makes them writable again; its caller has dropped every cursor first: the interpreter
//!    calls it between blocks, after it cleared every table that holds cursors (`cpu/interp/code.rs`), and links live in the chunks themselves.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use undercroft_decode::Insn;

/// A handler and the instruction that it executes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record<H> {
    /// What executes it.
    pub handler: H,
    /// The instruction. In an end record only `offset` (of the instruction that follows the block) and `left` (0) mean something.
    pub insn: Insn,
}

/// Where a block goes on, within its page: nothing yet, or a block's first record.
#[repr(C)]
pub struct Links<H> {
    /// The branch target.
    pub taken: Cell<Option<Cursor<H>>>,
    /// The next instruction.
    pub fall: Cell<Option<Cursor<H>>>,
}

/// Points at a record of a block.
pub struct Cursor<H> {
    at: NonNull<Record<H>>,
    not_send: PhantomData<*mut H>,
}

impl<H> Clone for Cursor<H> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<H> Copy for Cursor<H> {}
impl<H> PartialEq for Cursor<H> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<H: Copy> Cursor<H> {
    /// The instruction.
    #[inline(always)]
    pub fn insn(&self) -> &Insn {
        // SAFETY: points at a live record (1, 3, 4).
        unsafe { &(*self.at.as_ptr()).insn }
    }
    /// Its handler.
    #[inline(always)]
    pub fn handler(&self) -> H {
        // SAFETY: points at a live record (1, 3, 4).
        unsafe { (*self.at.as_ptr()).handler }
    }
    /// The next record of the block.
    #[inline(always)]
    #[must_use]
    pub fn next(self) -> Self {
        debug_assert!(self.insn().left != 0);
        // SAFETY: not an end record (2), so the next slot is a record of the same block.
        Cursor { at: unsafe { self.at.add(1) }, not_send: PhantomData }
    }
    /// The links of the block.
    #[inline(always)]
    pub fn links(&self) -> &Links<H> {
        // SAFETY: `left + 1` slots ahead lies the block's links slot, of the size and alignment of `Links` (see `push`).
        unsafe { &*self.at.as_ptr().add(self.insn().left as usize + 1).cast::<Links<H>>() }
    }
}

const SLOT: usize = 32;
const CHUNK_SLOTS: usize = 1 << 15;

#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Slot([u8; SLOT]);

/// Memory of blocks.
pub struct Arena<H> {
    chunks: Vec<Box<[Slot]>>,
    chunk: usize,
    used: usize,
    slots: usize,
    not_send: PhantomData<*mut H>,
}

impl<H: Copy> Default for Arena<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Copy> Arena<H> {
    /// Empty.
    pub fn new() -> Self {
        const { assert!(size_of::<Record<H>>() == SLOT && size_of::<Links<H>>() <= SLOT && align_of::<Links<H>>() <= SLOT) };
        Arena { chunks: Vec::new(), chunk: 0, used: CHUNK_SLOTS, slots: 0, not_send: PhantomData }
    }
    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.slots * SLOT
    }
    /// Forgets all blocks. No cursor made before may be used any more (4).
    pub fn clear(&mut self) {
        self.chunk = 0;
        self.used = if self.chunks.is_empty() { CHUNK_SLOTS } else { 0 };
        self.slots = 0;
    }
    /// Adds a block of 1 to 255 instructions; `end` handles its end record, whose instruction offset is `end_offset`. Sets `left`.
    pub fn push(&mut self, records: &[Record<H>], end: H, end_offset: u16) -> Option<Cursor<H>> {
        let n = records.len();
        let last = records.last()?;
        if n > 255 {
            return None;
        }
        let first = self.reserve(n + 2);
        for (at, record) in records.iter().enumerate() {
            let mut record = *record;
            record.insn.left = (n - at) as u8;
            // SAFETY: `reserve` gave n + 2 slots of this size that no cursor points at.
            unsafe { first.add(at).write(record) };
        }
        let mut insn = last.insn;
        insn.left = 0;
        insn.len = 0;
        insn.offset = end_offset;
        // SAFETY: slot n of n + 2.
        unsafe { first.add(n).write(Record { handler: end, insn }) };
        // SAFETY: slot n + 1 of n + 2; `Links` fits a slot and needs no more alignment.
        unsafe { first.add(n + 1).cast::<Links<H>>().write(Links { taken: Cell::new(None), fall: Cell::new(None) }) };
        Some(Cursor { at: first, not_send: PhantomData })
    }

    fn reserve(&mut self, slots: usize) -> NonNull<Record<H>> {
        if self.used + slots > CHUNK_SLOTS {
            if self.used != CHUNK_SLOTS || !self.chunks.is_empty() {
                self.chunk += usize::from(self.slots != 0);
            }
            if self.chunk >= self.chunks.len() {
                self.chunks.push(vec![Slot([0; SLOT]); CHUNK_SLOTS].into_boxed_slice());
                self.chunk = self.chunks.len() - 1;
            }
            self.used = 0;
        }
        let at = &mut self.chunks[self.chunk][self.used..self.used + slots];
        self.used += slots;
        self.slots += slots;
        NonNull::from(at).cast::<Record<H>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undercroft_decode::{CodeSize, decode};

    fn record(bytes: &[u8], handler: usize) -> Record<usize> {
        Record { handler, insn: decode(CodeSize::Bits64, bytes, 0).unwrap_or_else(|e| panic!("{e:?}")).insn }
    }

    #[test]
    fn cursor_runs_to_end_record_and_finds_links_from_everywhere() {
        let mut arena: Arena<usize> = Arena::new();
        let nop = record(&[0x90], 7);
        let block = arena.push(&[nop, nop, nop], 9, 3).expect("block");
        let second = block.next();
        let end = second.next().next();
        assert_eq!((block.insn().left, end.insn().left, end.handler(), end.insn().offset), (3, 0, 9, 3));
        block.links().taken.set(Some(second));
        assert!(end.links().taken.get() == Some(second));
    }

    #[test]
    fn arena_clear_reuses_chunks() {
        let mut arena: Arena<usize> = Arena::new();
        let nop = record(&[0x90], 7);
        for round in 0..3 {
            for _ in 0..40_000 {
                let block = arena.push(&[nop, nop], 9, 2).expect("block");
                assert_eq!(block.next().handler(), 7);
            }
            assert_eq!(arena.chunks.len(), 5, "round {round}");
            arena.clear();
        }
    }
}
