//! Values of the instruction that is being emitted, and where they are: constants, host registers, slots of the environment.
//!
//! A value never changes once it is made, so it may be used any number of times. Nobody says when one is dead; they all die with the instruction.
//! When registers run out, the one unused for longest goes to its slot.

use crate::assembler::{Alu, Assembler, Host, RAX, RBX, RDI, RSI, Rm, op};
use crate::env::{SLOTS, at};
use undercroft_decode::{Cond, Size};

/// A value: its number within the instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct V(u8);

/// A comparison that leaves its outcome in the host's flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// As CMP leaves them.
    Cmp,
    /// As TEST.
    Test,
    /// As ADD.
    Add,
}

/// A condition not yet evaluated: evaluated where it is used, so that the host's flags need not be kept.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    pub how: Compare,
    pub size: Size,
    pub a: V,
    pub b: V,
    pub cc: Cond,
}

/// A truth value.
#[derive(Clone, Copy, Debug)]
pub enum B {
    Known(bool),
    Test(Test),
}

#[derive(Clone, Copy, Default)]
struct Value {
    known: Option<u64>,
    host: Option<Host>,
    /// It is in its slot.
    saved: bool,
    /// All bits from this one on are zero.
    bits: u32,
    /// It is the low bits of a sum or difference of these.
    origin: Option<(Compare, V, V)>,
    used: u32,
}

/// Registers that hold values; RAX, RCX and RDX are free for each operation's own use, RBX is the environment.
const HOLDERS: [Host; 11] = [RSI, RDI, 8, 9, 10, 11, 5, 12, 13, 14, 15];
/// Those of them that a call destroys.
const CALLER_SAVED: [Host; 6] = [RSI, RDI, 8, 9, 10, 11];

/// The opposite condition.
pub const fn negated(cc: Cond) -> Cond {
    Cond::from_bits(cc as u8 ^ 1)
}

/// The values of one instruction, and the code so far.
pub struct Values {
    pub asm: Assembler,
    values: Vec<Value>,
    owner: [Option<V>; 16],
    now: u32,
    /// More values than slots: the code is useless.
    pub exhausted: bool,
}

impl Values {
    pub fn new(limit: usize) -> Self {
        Values {
            asm: Assembler::new(limit),
            values: Vec::with_capacity(SLOTS),
            owner: [None; 16],
            now: 0,
            exhausted: false,
        }
    }

    /// Forgets all values but these, if they are constants or in registers; gives their new names.
    pub fn restart<const N: usize>(&mut self, keep: [V; N]) -> [Option<V>; N] {
        let old = keep.map(|v| self.values[v.0 as usize]);
        self.values.clear();
        self.owner = [None; 16];
        let mut kept: [Option<V>; N] = [None; N];
        for n in 0..N {
            let first = keep[..n].iter().position(|v| *v == keep[n]);
            let value = old[n];
            kept[n] = match first {
                Some(first) => kept[first],
                None if value.known.is_none() && value.host.is_none() => None,
                None => {
                    let v = self.add(Value { saved: false, origin: None, ..value });
                    if let Some(host) = value.host {
                        self.owner[host as usize] = Some(v);
                    }
                    Some(v)
                }
            };
        }
        kept
    }

    fn add(&mut self, value: Value) -> V {
        if self.values.len() >= SLOTS {
            self.exhausted = true;
            return V(0);
        }
        self.values.push(Value { used: self.now, ..value });
        V(self.values.len() as u8 - 1)
    }
    /// A constant.
    pub fn constant(&mut self, known: u64) -> V {
        self.add(Value { known: Some(known), bits: 64 - known.leading_zeros(), ..Value::default() })
    }
    /// A new value of at most so many bits, in a register that the caller now writes.
    pub fn define(&mut self, bits: u32) -> (V, Host) {
        let host = self.free_register();
        let v = self.add(Value { host: Some(host), bits, ..Value::default() });
        self.owner[host as usize] = Some(v);
        self.touch(v);
        (v, host)
    }
    fn touch(&mut self, v: V) {
        self.now += 1;
        self.values[v.0 as usize].used = self.now;
    }
    pub fn known(&self, v: V) -> Option<u64> {
        self.values[v.0 as usize].known
    }
    pub fn bits(&self, v: V) -> u32 {
        self.values[v.0 as usize].bits
    }
    pub fn origin(&self, v: V) -> Option<(Compare, V, V)> {
        self.values[v.0 as usize].origin
    }
    pub fn set_origin(&mut self, v: V, origin: Option<(Compare, V, V)>) {
        self.values[v.0 as usize].origin = origin;
    }
    /// Are they surely equal?
    pub fn same(&self, v: V, w: V) -> bool {
        v == w || self.known(v).is_some() && self.known(v) == self.known(w)
    }

    fn free_register(&mut self) -> Host {
        if let Some(free) = HOLDERS.into_iter().find(|h| self.owner[*h as usize].is_none()) {
            return free;
        }
        let used = |h: Host| self.owner[h as usize].map_or(0, |v| self.values[v.0 as usize].used);
        let host = HOLDERS.into_iter().min_by_key(|h| used(*h)).unwrap_or(RSI);
        self.evict(host);
        host
    }
    fn evict(&mut self, host: Host) {
        let Some(v) = self.owner[host as usize].take() else { return };
        let value = &mut self.values[v.0 as usize];
        value.host = None;
        if value.known.is_none() && !value.saved {
            value.saved = true;
            self.asm.op(Size::B8, op::MOV_RM_R, host, Rm::At(RBX, at::slot(v.0 as usize)));
        }
    }
    /// The value in a register. It stays there for at least ten more such requests or definitions. Touches no host flags.
    pub fn host(&mut self, v: V) -> Host {
        self.touch(v);
        if let Some(host) = self.values[v.0 as usize].host {
            return host;
        }
        let host = self.free_register();
        self.fetch(host, v);
        self.values[v.0 as usize].host = Some(host);
        self.owner[host as usize] = Some(v);
        host
    }
    /// Copies the value to any register. Touches no host flags, and changes nothing about where values are.
    pub fn fetch(&mut self, to: Host, v: V) {
        let value = self.values[v.0 as usize];
        match (value.known, value.host) {
            (_, Some(host)) if host == to => {}
            (_, Some(host)) => self.asm.mov(to, Rm::Reg(host)),
            (Some(known), None) => self.asm.mov_imm(to, known),
            (None, None) => self.asm.mov(to, Rm::At(RBX, at::slot(v.0 as usize))),
        }
    }
    /// The value as an immediate of this width, if it is a constant that fits.
    pub fn immediate(&self, size: Size, v: V) -> Option<i32> {
        let known = self.known(v)?;
        if size == Size::B8 { i32::try_from(known as i64).ok() } else { Some(known as i32) }
    }
    /// Writes the value to a place in the environment. Touches no host flags, and changes nothing about where values are.
    pub fn store_env(&mut self, offset: i32, size: Size, v: V) {
        if let Some(imm) = self.immediate(size, v) {
            return self.asm.mov_mem_imm(size, Rm::At(RBX, offset), imm);
        }
        let from = match self.values[v.0 as usize].host {
            Some(host) => host,
            None => {
                self.fetch(RAX, v);
                RAX
            }
        };
        self.asm.sized(size, op::MOV_RM_R, from, Rm::At(RBX, offset));
    }
    /// Reads a place in the environment.
    pub fn load_env(&mut self, offset: i32, size: Size) -> V {
        let (v, host) = self.define(size.bits());
        self.asm.load(size, host, Rm::At(RBX, offset));
        v
    }

    /// `host = host op b`
    pub fn alu_with(&mut self, size: Size, alu: Alu, host: Host, b: V) {
        match self.immediate(size, b) {
            Some(imm) => self.asm.alu_imm(size, alu, Rm::Reg(host), imm),
            None => {
                let b = self.host(b);
                self.asm.alu(size, alu, host, Rm::Reg(b));
            }
        }
    }
    /// Brings what a condition needs into registers, so that evaluating it moves nothing.
    pub fn prepare(&mut self, t: Test) {
        self.host(t.a);
        if self.immediate(t.size, t.b).is_none() {
            self.host(t.b);
        }
    }
    /// Evaluates a condition into the host's flags.
    pub fn evaluate(&mut self, t: Test) -> Cond {
        let a = self.host(t.a);
        match t.how {
            Compare::Cmp => self.alu_with(t.size, Alu::Cmp, a, t.b),
            Compare::Test => {
                let b = self.host(t.b);
                self.asm.sized(t.size, op::TEST, b, Rm::Reg(a));
            }
            Compare::Add => {
                self.asm.mov(RAX, Rm::Reg(a));
                self.alu_with(t.size, Alu::Add, RAX, t.b);
            }
        }
        t.cc
    }

    /// Calls a function of the environment's table. A call destroys the registers that values may be in: those go to their slots first.
    pub fn call(&mut self, helper: usize, arguments: &[V], bits: u32) -> V {
        for host in CALLER_SAVED {
            self.evict(host);
        }
        for (to, v) in [RDI, RSI, crate::assembler::RDX, crate::assembler::RCX].into_iter().zip(arguments) {
            self.fetch(to, *v);
        }
        self.asm.op(Size::B8, op::GROUP5, 2, Rm::At(RBX, at::helper(helper)));
        let (v, host) = self.define(bits);
        self.asm.mov(host, Rm::Reg(RAX));
        v
    }
}
