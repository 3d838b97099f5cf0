//! The same bodies in both domains: emitted code against plain values, registers, flags, memory and outcome.

mod plain;

use std::collections::BTreeSet;
use undercroft_decode::{CodeSize, Cond, Insn, Kind, Op, Reg, Size, decode};
use undercroft_jit::{Access, Code, Env, FlagRecord, Outcome, PAGE, emit};
use undercroft_semantics::flags::FlagOp;
use undercroft_spec::x86::control::rflags;

/// Linear address of the memory: eight pages, of which the last but one is not writable, and the last not in the TLB.
const WINDOW: u64 = 0x7f_3000;
const PAGES: usize = 8;
const BLOCK_RIP: u64 = 0x40_0000;

/// Reproducible numbers (xorshift64*), with a liking for those that matter.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
    fn value(&mut self) -> u64 {
        const EDGES: [u64; 12] =
            [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, 1 << 63, i64::MAX as u64];
        let edge = EDGES[self.below(12) as usize];
        match self.below(6) {
            0 => edge,
            1 => edge.wrapping_neg(),
            2 => self.below(70),
            3 => self.next() & 0xffff_ffff,
            _ => self.next(),
        }
    }
    /// Where an access goes: mostly well inside a page, at times over an edge.
    fn target(&mut self) -> u64 {
        let page = self.below(PAGES as u64) * PAGE as u64;
        let offset = if self.below(8) == 0 { PAGE as u64 - self.below(9) } else { self.below(PAGE as u64) };
        WINDOW + page + offset
    }
}

fn insn(bytes: &[u8]) -> Insn {
    decode(CodeSize::Bits64, bytes, 0).map(|d| d.insn).expect("an instruction")
}
fn insns(list: &[&[u8]]) -> Vec<Insn> {
    list.iter().map(|bytes| insn(bytes)).collect()
}

fn env() -> Box<Env> {
    let mut env = Env::new(PAGES);
    for page in 0..PAGES {
        let access = if page == PAGES - 2 { Access::Read } else { Access::ReadWrite };
        assert!(page == PAGES - 1 || env.map(WINDOW + (page * PAGE) as u64, page, access));
        for (at, byte) in env.memory_mut()[page].iter_mut().enumerate() {
            *byte = (at * 7 + page * 31 + at / 256) as u8;
        }
    }
    env.regs[Reg::BlockRip as usize] = BLOCK_RIP;
    env
}

/// What software could see of an environment.
#[derive(PartialEq)]
struct Seen {
    regs: [u64; 32],
    rip: u64,
    arithmetic: u64,
    other: u64,
    memory: Vec<[u8; PAGE]>,
}

impl Seen {
    fn of(env: &Env) -> Seen {
        let memory = env.memory().to_vec();
        Seen { regs: env.regs, rip: env.rip, arithmetic: env.flags.arithmetic(), other: env.flags.other, memory }
    }
    fn restore(&self, env: &mut Env, flags: FlagRecord) {
        env.regs = self.regs;
        env.rip = self.rip;
        env.flags = flags;
        env.memory_mut().copy_from_slice(&self.memory);
    }
}

/// Does a block in both domains and compares everything. The environment is left as the block leaves it.
fn both(code: &mut Code, env: &mut Env, block: &[Insn]) -> Outcome {
    let (before, flags) = (Seen::of(env), env.flags);
    let expected = plain::run(env, block);
    let wanted = Seen::of(env);
    if expected == Outcome::Bail(0) {
        assert!(wanted == before, "a body changed something before it failed: {:?}", block[0]);
    }
    before.restore(env, flags);
    code.clear().expect("room");
    let compiled = code.add(block).expect("code");
    let outcome = code.run(compiled, env).expect("run");
    let got = Seen::of(env);
    let about = || format!("{block:x?}\nbefore {:x?}\nflags {flags:x?}", before.regs);
    assert_eq!(outcome, expected, "{}", about());
    assert_eq!(format!("{:x?}", got.regs), format!("{:x?}", wanted.regs), "{}", about());
    assert_eq!(format!("{:x}", got.arithmetic), format!("{:x}", wanted.arithmetic), "{}", about());
    assert!(got == wanted, "memory, RIP or other flags differ: {}", about());
    outcome
}

fn code() -> Code {
    Code::new(1 << 16).expect("executable memory")
}

#[test]
fn shl_by_cl_count_zero_keeps_flags() {
    let (mut code, mut env) = (code(), env());
    // cmp eax, 1; shl edx, cl
    let block = insns(&[&[0x83, 0xf8, 0x01], &[0xd3, 0xe2]]);
    env.regs[Reg::Rdx as usize] = 0xffff_ffff_c000_0001;
    env.regs[Reg::Rcx as usize] = 0x1120;
    assert_eq!(both(&mut code, &mut env, &block), Outcome::Next);
    assert_eq!(env.regs[Reg::Rdx as usize], 0xc000_0001, "the upper half is cleared even so");
    assert_eq!(env.flags.arithmetic(), rflags::CF | rflags::SF | rflags::AF | rflags::PF);
    env.regs[Reg::Rcx as usize] = 1;
    assert_eq!(both(&mut code, &mut env, &block), Outcome::Next);
    assert_eq!(env.regs[Reg::Rdx as usize], 0x8000_0002);
    assert_eq!(env.flags.arithmetic(), rflags::CF | rflags::SF);
}

#[test]
fn rep_movs_and_stos_step_then_ask_for_more() {
    let (mut code, mut env) = (code(), env());
    for (bytes, unit) in [([0xf3u8, 0x48, 0xa5], 8u64), ([0xf3, 0x90, 0xa4], 1), ([0xf3, 0x48, 0xab], 8)] {
        let bytes: Vec<u8> = bytes.into_iter().filter(|b| *b != 0x90).collect();
        let block = [insn(&bytes)];
        env.regs[Reg::Rsi as usize] = WINDOW + 0x20;
        env.regs[Reg::Rdi as usize] = WINDOW + 0x1008;
        env.regs[Reg::Rcx as usize] = 2;
        assert_eq!(both(&mut code, &mut env, &block), Outcome::Again(0));
        assert_eq!(both(&mut code, &mut env, &block), Outcome::Next);
        assert_eq!(env.regs[Reg::Rdi as usize], WINDOW + 0x1008 + 2 * unit);
        assert_eq!(env.regs[Reg::Rcx as usize], 0);
        assert_eq!(both(&mut code, &mut env, &block), Outcome::Next, "a counter of zero");
        assert_eq!(env.regs[Reg::Rdi as usize], WINDOW + 0x1008 + 2 * unit);
    }
}

#[test]
fn push_whose_probe_misses_changes_nothing() {
    let (mut code, mut env) = (code(), env());
    // add rax, rcx; push rbx; mov [rdi], rax
    let block = insns(&[&[0x48, 0x01, 0xc8], &[0x53], &[0x48, 0x89, 0x07]]);
    for (rsp, rdi, outcome) in [
        (WINDOW + 0x7008, WINDOW, Outcome::Bail(1)),
        (WINDOW + 0x6008, WINDOW, Outcome::Bail(1)),
        (WINDOW + 0x1004, WINDOW, Outcome::Bail(1)),
        (WINDOW + 0x1008, WINDOW + 0x6000, Outcome::Bail(2)),
        (WINDOW + 0x1008, WINDOW, Outcome::Next),
    ] {
        env.regs[Reg::Rsp as usize] = rsp;
        env.regs[Reg::Rdi as usize] = rdi;
        assert_eq!(both(&mut code, &mut env, &block), outcome);
        let moved = if matches!(outcome, Outcome::Bail(1)) { 0 } else { 8 };
        assert_eq!(env.regs[Reg::Rsp as usize], rsp - moved);
    }
}

#[test]
fn condition_after_its_producer_is_a_direct_compare() {
    // cmp/sub/add/test/and and jcc need no call, and few bytes: the condition is the host's own.
    for producer in [&[0x39, 0xc8][..], &[0x48, 0x29, 0xc8], &[0x00, 0xc8], &[0x66, 0x85, 0xc8], &[0x21, 0xc8]] {
        let alone = emit(&insns(&[producer])).expect("code").len();
        for cc in 0..16 {
            let with_jcc = emit(&insns(&[producer, &[0x70 | cc, 0x10]])).expect("code");
            assert!(with_jcc.len() - alone <= 20, "{producer:x?} j{cc:x}: {}", with_jcc.len() - alone);
            // `call [rbx + disp32]`
            assert!(!with_jcc.windows(2).any(|w| w == [0xff, 0x93]), "{producer:x?} j{cc:x}");
        }
    }
}

/// A random instruction that bodies are written for. Bytes are drawn from the maps that have some.
fn draw(n: &mut Numbers) -> Insn {
    loop {
        let mut bytes = Vec::new();
        let opcode = n.next() as u8;
        match n.below(16) {
            // VEX.LZ.{66,F3,F2,none}.0F38 and 0F3A.W{0,1}
            0 => {
                let map = if n.below(5) == 0 { 3 } else { 2 };
                let last = if map == 3 { 0xf0 } else { [0xf2, 0xf3, 0xf5, 0xf6, 0xf7][n.below(5) as usize] };
                bytes.extend([0xc4, (n.next() as u8 & 0xe0) | map, n.next() as u8 & 0xfb, last]);
            }
            kind => {
                bytes.extend([None, None, Some(0x66), Some(0xf2), Some(0xf3), Some(0x65)][n.below(6) as usize]);
                bytes.extend([None, None, None, Some(0x67), Some(0x66)][n.below(5) as usize]);
                if n.below(2) == 0 {
                    bytes.push(0x40 | n.next() as u8 & 15);
                }
                match kind {
                    1..=7 => bytes.push(opcode),
                    8..=13 => bytes.extend([0x0f, opcode]),
                    _ => bytes.extend([0x0f, 0x38, [0xf0, 0xf1, 0xf6][n.below(3) as usize]]),
                }
            }
        }
        for _ in 0..10 {
            bytes.push(n.next() as u8);
        }
        if n.below(2) == 0 {
            // Small displacements and immediates.
            let at = bytes.len() - 8;
            bytes[at..].fill(n.below(8) as u8);
        }
        match decode(CodeSize::Bits64, &bytes, 0) {
            Ok(d) if d.insn.op != Op::Helper => return d.insn,
            _ => {}
        }
    }
}

/// Gives the registers that an instruction addresses memory with such values that it mostly finds some.
fn aim(n: &mut Numbers, env: &mut Env, i: &mut Insn) {
    let regs = &mut env.regs;
    match i.op {
        Op::Push | Op::Pop | Op::CallRel | Op::CallInd | Op::Ret => regs[Reg::Rsp as usize] = n.target(),
        Op::Leave => regs[Reg::Rbp as usize] = n.target(),
        Op::Movs | Op::Stos | Op::Lods | Op::Scas | Op::Cmps => {
            regs[Reg::Rsi as usize] = n.target();
            regs[Reg::Rdi as usize] = n.target();
            regs[Reg::Rcx as usize] = n.below(3);
        }
        Op::Xlat => regs[Reg::Rbx as usize] = n.target() - (regs[Reg::Rax as usize] & 0xff),
        Op::Div | Op::Idiv if n.below(2) == 0 => {
            let sign = (regs[Reg::Rax as usize] as i64 >> 63) as u64;
            regs[Reg::Rdx as usize] = if i.op == Op::Div { n.below(3) } else { sign };
        }
        Op::Bt | Op::Bts | Op::Btr | Op::Btc if i.src != Reg::Zero && n.below(2) == 0 => {
            regs[i.src as usize] = n.below(0x4000)
        }
        _ => {}
    }
    if !i.has_memory() || i.op == Op::Xlat {
        return;
    }
    let target = n.target();
    if i.base != Reg::Zero && i.base != i.index {
        let rest = (regs[i.index as usize] << i.scale()).wrapping_add(i.disp as i64 as u64);
        let popped = if i.op == Op::Pop && i.base == Reg::Rsp { i.size().bytes() } else { 0 };
        regs[i.base as usize] = target.wrapping_sub(rest).wrapping_sub(popped);
    } else {
        i.disp = target as i32;
        if i.index != Reg::Zero {
            regs[i.index as usize] = n.below(3);
        }
    }
}

fn randomize(n: &mut Numbers, env: &mut Env) {
    for r in 0..16 {
        env.regs[r] = n.value();
    }
    env.regs[Reg::FsBase as usize] = n.below(0x1000);
    env.regs[Reg::GsBase as usize] = n.below(0x1000);
    env.regs[Reg::BlockRip as usize] = BLOCK_RIP;
    let size = Size::from_bits(n.next() as u8);
    let (a, r) = (n.value() & size.mask(), n.value() & size.mask());
    env.flags = FlagRecord::new(FlagOp::from_bits(n.below(12) as u8), size, a, r);
    if n.below(4) == 0 {
        env.flags.other |= rflags::DF;
    }
}

fn form(i: &Insn) -> (u8, u8, u8) {
    (i.op as u8, i.size() as u8, i.shape() as u8)
}

#[test]
fn instructions_of_every_form_emitted_match_plain_values() {
    let (mut code, mut env) = (code(), env());
    let mut n = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut forms, mut done, mut bailed) = (BTreeSet::new(), BTreeSet::new(), 0);
    const CASES: u32 = 60_000;
    for _ in 0..CASES {
        let mut i = draw(&mut n);
        randomize(&mut n, &mut env);
        aim(&mut n, &mut env, &mut i);
        forms.insert(form(&i));
        match both(&mut code, &mut env, &[i]) {
            Outcome::Bail(_) => bailed += 1,
            _ => drop(done.insert(form(&i))),
        }
    }
    let missing: Vec<Op> = Op::ALL[1..].iter().copied().filter(|op| !done.iter().any(|f| f.0 == *op as u8)).collect();
    assert!(missing.is_empty(), "never done: {missing:?}");
    let only_bailed: Vec<_> = forms.difference(&done).map(|f| (Op::ALL[f.0 as usize], f.1, f.2)).collect();
    println!("{} forms, {bailed} of {CASES} gave up; always: {only_bailed:?}", forms.len());
    assert!(done.len() > 640 && bailed < CASES / 2 && bailed > CASES / 100);
}

#[test]
fn blocks_of_instructions_emitted_match_plain_values() {
    let (mut code, mut env) = (code(), env());
    let mut n = Numbers(0x0123_4567_89ab_cdef);
    let (mut readers, mut ended) = (0, [0; 5]);
    for _ in 0..20_000 {
        randomize(&mut n, &mut env);
        let len = 2 + n.below(5);
        let mut block = Vec::new();
        for _ in 0..len {
            let mut i = loop {
                let i = draw(&mut n);
                // What reads flags is wanted, and rarely drawn; what leaves ends the block.
                let reads = matches!(i.op, Op::Jcc | Op::Setcc | Op::Cmovcc | Op::Adc | Op::Sbb | Op::Inc | Op::Dec);
                if reads || i.kind() == Kind::Plain && n.below(3) == 0 {
                    readers += u32::from(reads);
                    break i;
                }
            };
            if i.op != Op::Jcc {
                aim(&mut n, &mut env, &mut i);
            }
            block.push(i);
        }
        ended[match both(&mut code, &mut env, &block) {
            Outcome::Next => 0,
            Outcome::Taken(_) => 1,
            Outcome::To(_) => 2,
            Outcome::Again(_) => 3,
            Outcome::Bail(_) => 4,
        }] += 1;
    }
    println!("{readers} readers of flags; ended {ended:?}");
    assert!(readers > 10_000 && ended[0] > 2_000 && ended[1] > 1_000 && ended[4] > 1_000);
}

#[test]
fn block_beyond_its_bounds_is_refused() {
    let nop = insn(&[0x90]);
    assert!(emit(&[nop; 4097]).is_err());
    // cpuid is a helper; 16- and 32-bit code is not compiled.
    assert!(emit(&[insn(&[0x0f, 0xa2])]).is_err());
    let narrow = decode(CodeSize::Bits32, &[0x40], 0).map(|d| d.insn).expect("inc eax");
    assert!(emit(&[narrow]).is_err());
    let mut small = Code::new(128).expect("memory");
    let block = vec![insn(&[0x48, 0x01, 0xc8]); 20];
    assert!(small.add(&block).is_err());
    assert!(small.add(&block[..1]).is_ok());
}

#[test]
fn every_condition_after_every_comparison_matches_plain_values() {
    let (mut code, mut env) = (code(), env());
    let mut n = Numbers(77);
    for opcode in [0x01u8, 0x29, 0x39, 0x85, 0x21, 0x31, 0x11, 0x19] {
        for prefix in [&[][..], &[0x48], &[0x66]] {
            for width in [0, 1] {
                for cc in Cond::ALL {
                    randomize(&mut n, &mut env);
                    // op rcx, rax of this width; jcc
                    let bytes = [prefix, &[opcode & !width, 0xc1]].concat();
                    both(&mut code, &mut env, &insns(&[&bytes, &[0x70 | cc as u8, 0]]));
                    // With a shift by CL between, whose count may be zero.
                    randomize(&mut n, &mut env);
                    both(&mut code, &mut env, &insns(&[&bytes, &[0x48, 0xd3, 0xea], &[0x70 | cc as u8, 0]]));
                }
            }
        }
    }
}
