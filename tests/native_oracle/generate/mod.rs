//! From a seed and a number to a case: see [`generate`].

mod branches;
mod codes;
mod implicit;
mod memory;
mod operands;
mod state;

pub use codes::{all, contains};

use crate::case::{Case, Item, Patch, Registers};
use crate::deviations;
use crate::layout::{self, CODE, CODE_LEN, PAGE};
use crate::random::Random;
use iced_x86::{Code, Encoder, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, RflagsBits};

/// Most instructions of a case.
const LONGEST: u64 = 8;

/// Chooses which instructions to make.
#[derive(Clone, Default)]
pub struct Choice {
    /// These forms; all if empty.
    pub codes: Vec<Code>,
    /// Never more than one instruction.
    pub single: bool,
}

impl Choice {
    /// The forms of some mnemonics, named as iced names them, without regard to case.
    pub fn of_mnemonics(names: &[String]) -> Choice {
        let wanted: Vec<String> = names.iter().map(|n| n.to_lowercase()).collect();
        let named = |code: &Code| wanted.contains(&format!("{:?}", code.mnemonic()).to_lowercase());
        Choice { codes: all().iter().copied().filter(named).collect(), single: false }
    }
    fn codes(&self) -> &[Code] {
        if self.codes.is_empty() { all() } else { &self.codes }
    }
}

/// Where a value is an address of code that is not laid out yet.
enum Slot {
    /// A general register.
    Register(usize),
    /// A patch of memory.
    Memory(usize),
    /// The last bytes, so many, of an item: relative to what follows it.
    Relative(usize, usize),
}

/// A case that is being made.
struct Builder<'a> {
    r: Random,
    choice: &'a Choice,
    encoder: Encoder,
    factory: InstructionInfoFactory,
    /// Values that addressing and implicit operands rest on.
    pinned: [Option<u64>; 16],
    registers: Registers,
    template: usize,
    patches: Vec<Patch>,
    items: Vec<Item>,
    ip: u64,
    /// Registers that earlier instructions write.
    written: u16,
    undefined: u64,
    /// Linear address of the last memory operand.
    target: u64,
    /// What is an address of code, and by how many items it goes on from the item named first.
    targets: Vec<(Slot, usize)>,
}

/// Makes case number `index` of a seed: one to eight instructions with registers and memory under which they do something, or fault.
pub fn generate(seed: u64, index: u64, choice: &Choice) -> Case {
    let mut r = Random::new(seed, index);
    let registers = state::registers(&mut r);
    let template = r.below(layout::TEMPLATES as u64) as usize;
    let mut b = Builder {
        r,
        choice,
        encoder: Encoder::new(64),
        factory: InstructionInfoFactory::new(),
        pinned: [None; 16],
        registers,
        template,
        patches: Vec::new(),
        items: Vec::new(),
        ip: 0,
        written: 0,
        undefined: 0,
        target: 0,
        targets: Vec::new(),
    };
    let count = if choice.single || b.r.percent(70) { 1 } else { 2 + b.r.below(LONGEST - 1) };
    b.ip = b.start(count);
    b.registers.rip = b.ip;
    while (b.items.len() as u64) < count && !b.is_closed() {
        b.add_item();
    }
    b.finish(seed, index)
}

impl Builder<'_> {
    /// Mostly in the middle of the pages, sometimes across their border, sometimes at the very end.
    fn start(&mut self, count: u64) -> u64 {
        let longest = count * 15 + layout::STOP.len() as u64;
        match self.r.below(20) {
            0 => CODE + PAGE - 1 - self.r.below(30),
            1 if count == 1 => CODE + CODE_LEN - 1 - self.r.below(16),
            _ => CODE + self.r.below(CODE_LEN - longest),
        }
    }

    /// Did the last instruction leave more undefined than flags?
    fn is_closed(&self) -> bool {
        self.items.last().is_some_and(|i| deviations::is_exclusive(i.instruction.code(), self.is_masked()))
    }
    /// No x87 exception can become pending.
    fn is_masked(&self) -> bool {
        use Mnemonic as M;
        let loads = |m| matches!(m, M::Fldcw | M::Fldenv | M::Frstor | M::Fxrstor | M::Fxrstor64);
        self.registers.fx.control() & 0x3f == 0x3f && !self.items.iter().any(|i| loads(i.instruction.mnemonic()))
    }

    fn add_item(&mut self) {
        // What a failed attempt pinned stays: it restricts the next one only a little.
        for _ in 0..200 {
            let before = (self.patches.len(), self.targets.len());
            if let Some(item) = self.try_item() {
                self.accept(item);
                return;
            }
            self.targets.truncate(before.1);
            self.patches.truncate(before.0);
        }
        let nop = Item::new(&[0x90], self.ip);
        self.accept(nop);
    }

    fn try_item(&mut self) -> Option<Item> {
        let code = self.r.pick(self.choice.codes());
        let mut i = Instruction::default();
        i.set_code(code);
        self.operands(&mut i)?;
        self.implicit(&mut i);
        self.encoder.encode(&i, self.ip).ok()?;
        let mut bytes = self.encoder.take_buffer();
        self.add_prefixes(&mut bytes, &i);
        if bytes.len() > 15 {
            return None;
        }
        let item = Item::new(&bytes, self.ip);
        let decoded = &item.instruction;
        if decoded.is_invalid() {
            // LOCK where it is not allowed, or a legacy prefix before VEX: undefined everywhere.
            let refused = bytes[0] == 0xf0 || iced_x86::EncodingKind::VEX == code.op_code().encoding();
            return if refused { Some(item) } else { None };
        }
        if decoded.len() != bytes.len() || !contains(decoded.code()) || self.is_dangerous(decoded) {
            return None;
        }
        // Its conditions are looked up in the registers at the start.
        if !self.items.is_empty() && deviations::is_exclusive(decoded.code(), self.is_masked()) {
            return None;
        }
        let info = decoded.rflags_read();
        if u64::from(flag_bits(info)) & self.undefined != 0 {
            return None;
        }
        Some(item)
    }

    /// Would it do something that cannot be compared, or that the host cannot bear?
    fn is_dangerous(&self, i: &Instruction) -> bool {
        match i.mnemonic() {
            // A system call. INT1 and INT3 have codes of their own.
            Mnemonic::Int => i.immediate8() == 0x80,
            // On AMD's processors the operand-size prefix makes 16-bit branches.
            _ if is_near_branch(i) => {
                let bytes = i.code().op_code().operand_size();
                bytes == 16 || has_prefix_66(i, self.ip)
            }
            _ => false,
        }
    }

    fn accept(&mut self, item: Item) {
        let i = item.instruction;
        if !i.is_invalid() {
            let info = self.factory.info(&i);
            for used in info.used_registers() {
                if is_write(used.access()) && used.register().is_gpr() {
                    self.written |= 1 << used.register().full_register().number();
                }
            }
        }
        self.ip += item.bytes.len() as u64;
        self.items.push(item);
        self.undefined = mark_undefined(&mut self.items);
    }

    fn add_prefixes(&mut self, bytes: &mut Vec<u8>, i: &Instruction) {
        if self.r.percent(88) {
            return;
        }
        for _ in 0..1 + self.r.below(2) {
            let prefix = self.r.pick(&[0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x3e, 0x26, 0x36, 0x64, 0x65]);
            if prefix == 0xf0 && i.has_lock_prefix() {
                continue;
            }
            bytes.insert(0, prefix);
        }
    }

    fn finish(mut self, seed: u64, index: u64) -> Case {
        self.resolve_targets();
        for (n, value) in self.pinned.iter().enumerate() {
            if let Some(value) = value {
                self.registers.gpr[n] = *value;
            }
        }
        if self.pinned[4].is_none() && self.r.percent(80) {
            self.registers.gpr[4] = self.stack_target();
        }
        let mut case = Case {
            seed,
            index,
            items: self.items,
            undefined_after: 0,
            registers: self.registers,
            template: self.template,
            patches: self.patches,
        };
        case.place();
        case
    }
}

/// Notes for each instruction which flags are undefined when it begins; gives those at the end.
pub fn mark_undefined(items: &mut [Item]) -> u64 {
    let mut undefined = 0;
    let mut branches = false;
    for item in items {
        item.undefined_before = undefined;
        let i = &item.instruction;
        if i.is_invalid() {
            continue;
        }
        branches |= i.flow_control() != FlowControl::Next && i.flow_control() != FlowControl::Interrupt;
        if !branches && !is_conditional(i) {
            undefined &= !u64::from(flag_bits(i.rflags_modified()));
        }
        undefined |= u64::from(flag_bits(i.rflags_undefined()));
    }
    undefined
}

/// iced's flag bits as RFLAGS has them.
pub fn flag_bits(iced: u32) -> u32 {
    const PAIRS: [(u32, u32); 9] = [
        (RflagsBits::OF, 1 << 11),
        (RflagsBits::SF, 1 << 7),
        (RflagsBits::ZF, 1 << 6),
        (RflagsBits::AF, 1 << 4),
        (RflagsBits::CF, 1 << 0),
        (RflagsBits::PF, 1 << 2),
        (RflagsBits::DF, 1 << 10),
        (RflagsBits::IF, 1 << 9),
        (RflagsBits::AC, 1 << 18),
    ];
    PAIRS.iter().filter(|(iced_bit, _)| iced & iced_bit != 0).map(|(_, bit)| bit).sum()
}

fn is_write(access: iced_x86::OpAccess) -> bool {
    use iced_x86::OpAccess as A;
    matches!(access, A::Write | A::CondWrite | A::ReadWrite | A::ReadCondWrite)
}

/// May it leave the flags alone that it writes otherwise? Shifts by zero, repetitions of none.
fn is_conditional(i: &Instruction) -> bool {
    use Mnemonic as M;
    let shift = matches!(
        i.mnemonic(),
        M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd
    );
    shift || i.has_rep_prefix() || i.has_repne_prefix()
}

fn is_near_branch(i: &Instruction) -> bool {
    use FlowControl as F;
    matches!(
        i.flow_control(),
        F::UnconditionalBranch | F::IndirectBranch | F::ConditionalBranch | F::Return | F::Call | F::IndirectCall
    )
}

/// iced gives no sign of an operand-size prefix that it ignored: length tells, since prefixes come first.
fn has_prefix_66(i: &Instruction, ip: u64) -> bool {
    let mut encoder = Encoder::new(64);
    let mut plain = *i;
    plain.set_segment_prefix(iced_x86::Register::None);
    match encoder.encode(&plain, ip) {
        Ok(len) => len != i.len(),
        Err(_) => true,
    }
}
