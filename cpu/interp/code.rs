//! Decoded code, keyed by where it lies: page of RAM, offset, code size. One decoding serves every address space (docs/design/0001).

use super::{Cursor, Handler, Record};
use rustc_hash::FxHashMap as HashMap;
use undercroft_decode::{CodeSize, Insn};
use undercroft_ram::{Ram, page_flags};
use undercroft_records::Arena;

/// Bytes of records after which everything is forgotten.
const ARENA_LIMIT: usize = 192 << 20;
const TARGETS: usize = 8192;
const CROSSINGS: usize = 512;

/// Blocks of one page.
#[derive(Default)]
struct Page {
    /// Offset and code size to block.
    blocks: HashMap<u16, Cursor>,
    /// 64-byte lines that hold decoded bytes, a bit each.
    lines: u64,
}

/// A RIP that was jumped to.
#[derive(Clone, Copy)]
struct Target {
    rip: u64,
    tag: u64,
    block: Option<Cursor>,
}

/// An instruction that lies in two pages. It is right as long as the tag (so the mapping) and its bytes are the same.
#[derive(Clone, Copy)]
pub struct Crossing {
    rip: u64,
    tag: u64,
    /// Where its first byte lies in RAM.
    pub first: u64,
    /// Where the second page's first byte lies in RAM.
    pub second: u64,
    /// Its bytes, and what follows them.
    pub bytes: [u8; 15],
    /// How many of them lie in the first page.
    pub split: u8,
    /// The instruction.
    pub insn: Insn,
}

impl Crossing {
    /// For an instruction whose first `split` bytes are at offset `first` of RAM and the rest from offset `second` on.
    pub fn new(insn: Insn, bytes: [u8; 15], first: u64, second: u64, split: usize) -> Crossing {
        Crossing { rip: 0, tag: 0, first, second, bytes, split: split as u8, insn }
    }
    /// Are its bytes still there?
    pub fn is_current(&self, ram: &Ram) -> bool {
        let mut now = [0; 15];
        let (low, high) = now.split_at_mut(usize::from(self.split));
        ram.read(self.first, low) && ram.read(self.second, high) && now == self.bytes
    }
}

/// All decoded code.
pub struct Code {
    arena: Arena<Handler>,
    pages: HashMap<u64, Page>,
    targets: Box<[Target; TARGETS]>,
    crossings: Box<[Option<Crossing>; CROSSINGS]>,
    /// For `--stats`.
    pub counters: Counters,
}

/// What the code cache did. For people.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counters {
    /// Blocks decoded.
    pub blocks: u64,
    /// Instructions decoded.
    pub instructions: u64,
    /// Pages whose code was forgotten because it was written.
    pub invalidations: u64,
    /// Times everything was forgotten to make room.
    pub flushes: u64,
}

const fn key(offset: u64, size: CodeSize) -> u16 {
    (offset & 0xfff) as u16 | (size as u16) << 12
}
/// Place of a RIP in the table of targets. The tag is in it, so that processes that take turns do not drive each other out.
#[inline(always)]
fn slot(rip: u64, tag: u64) -> usize {
    (rip ^ rip >> 12 ^ tag ^ tag >> 15) as usize & (TARGETS - 1)
}

impl Default for Code {
    fn default() -> Self {
        Self::new()
    }
}

impl Code {
    /// Nothing decoded.
    pub fn new() -> Code {
        let targets = Box::new([Target { rip: 0, tag: 0, block: None }; TARGETS]);
        Code {
            arena: Arena::new(),
            pages: HashMap::default(),
            targets,
            crossings: Box::new([None; CROSSINGS]),
            counters: Counters::default(),
        }
    }
    /// The block at a RIP, if it was jumped to under this tag (which names view, code size and epoch).
    #[inline(always)]
    pub fn target(&self, rip: u64, tag: u64) -> Option<Cursor> {
        let t = &self.targets[slot(rip, tag)];
        if t.rip == rip && t.tag == tag { t.block } else { None }
    }
    /// Remembers the block at a RIP.
    pub fn set_target(&mut self, rip: u64, tag: u64, block: Cursor) {
        self.targets[slot(rip, tag)] = Target { rip, tag, block: Some(block) };
    }
    /// The instruction at a RIP that lies in two pages, if it was met under this tag.
    pub fn crossing(&self, rip: u64, tag: u64) -> Option<&Crossing> {
        self.crossings[(rip >> 12) as usize % CROSSINGS].as_ref().filter(|c| c.rip == rip && c.tag == tag)
    }
    /// Remembers it.
    pub fn set_crossing(&mut self, rip: u64, tag: u64, mut crossing: Crossing) {
        (crossing.rip, crossing.tag) = (rip, tag);
        self.crossings[(rip >> 12) as usize % CROSSINGS] = Some(crossing);
    }
    /// The block that begins at an offset of a page.
    pub fn block(&self, page: u64, offset: u64, size: CodeSize) -> Option<Cursor> {
        self.pages.get(&page)?.blocks.get(&key(offset, size)).copied()
    }
    /// Adds a block that was decoded from `len` bytes. The caller sees to it that stores to the page are noticed from now on.
    pub fn add(
        &mut self,
        page: u64,
        offset: u64,
        size: CodeSize,
        records: &[Record],
        end: Handler,
        len: u64,
    ) -> Option<Cursor> {
        let block = self.arena.push(records, end, (records.last()?.insn.next_offset()) as u16)?;
        self.counters.blocks += 1;
        self.counters.instructions += records.len() as u64;
        let entry = self.pages.entry(page).or_default();
        entry.blocks.insert(key(offset, size), block);
        let (first, last) = ((offset & 0xfff) >> 6, ((offset & 0xfff) + len.max(1) - 1).min(4095) >> 6);
        entry.lines |= (u64::MAX >> (63 - (last - first))) << first;
        Some(block)
    }
    /// Bytes of a page are about to change. True if code was decoded from them: then all code of the page is forgotten.
    pub fn bytes_change(&mut self, ram: &Ram, page: u64, offset: u64, len: u64) -> bool {
        let Some(entry) = self.pages.get(&page) else {
            ram.clear_flags(page, page_flags::CODE);
            return false;
        };
        let (first, last) = (offset >> 6, (offset + len.max(1) - 1).min(4095) >> 6);
        let touched = (u64::MAX >> (63 - (last - first))) << first;
        if entry.lines & touched == 0 {
            return false;
        }
        self.page_changes(ram, page);
        true
    }
    /// Forgets all code of a page.
    pub fn page_changes(&mut self, ram: &Ram, page: u64) {
        ram.clear_flags(page, page_flags::CODE);
        if self.pages.remove(&page).is_some() {
            self.counters.invalidations += 1;
            self.forget_targets();
        }
    }
    fn forget_targets(&mut self) {
        for t in self.targets.iter_mut() {
            t.block = None;
        }
    }
    /// Between blocks: forgets everything if it has grown too large.
    pub fn make_room(&mut self, ram: &Ram) {
        if self.arena.bytes() < ARENA_LIMIT {
            return;
        }
        self.counters.flushes += 1;
        self.forget_targets();
        for page in self.pages.keys() {
            ram.clear_flags(*page, page_flags::CODE);
        }
        self.pages.clear();
        self.arena.clear();
    }
    /// Bytes of records.
    pub fn bytes(&self) -> usize {
        self.arena.bytes()
    }
}
