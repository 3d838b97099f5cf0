//! What emitting costs: host bytes and time for an instruction, and how a block looks. `cargo bench -p undercroft-jit`

use iced_x86::{Decoder, FastFormatter};
use std::time::Instant;
use undercroft_decode::{CodeSize, Insn, decode};
use undercroft_jit::emit;

fn insns(mut bytes: &[u8]) -> Vec<Insn> {
    let mut list = Vec::new();
    while let Ok(d) = decode(CodeSize::Bits64, bytes, 0) {
        bytes = &bytes[usize::from(d.insn.len)..];
        list.push(d.insn);
    }
    list
}

const CASES: &[(&str, &[u8])] = &[
    ("mov rax, rcx", &[0x48, 0x89, 0xc8]),
    ("add eax, ecx", &[0x01, 0xc8]),
    ("add al, cl", &[0x00, 0xc8]),
    ("mov rax, [rcx+8]", &[0x48, 0x8b, 0x41, 0x08]),
    ("mov [rcx+8], rax", &[0x48, 0x89, 0x41, 0x08]),
    ("add [rcx+rdx*4+8], eax", &[0x01, 0x44, 0x91, 0x08]),
    ("push rax", &[0x50]),
    ("pop rax", &[0x58]),
    ("inc eax", &[0xff, 0xc0]),
    ("adc rax, rcx", &[0x48, 0x11, 0xc8]),
    ("shl eax, 3", &[0xc1, 0xe0, 0x03]),
    ("shl eax, cl", &[0xd3, 0xe0]),
    ("bt eax, 3", &[0x0f, 0xba, 0xe0, 0x03]),
    ("imul rax, rcx", &[0x48, 0x0f, 0xaf, 0xc1]),
    ("div ecx", &[0xf7, 0xf1]),
    ("idiv ecx", &[0xf7, 0xf9]),
    ("popcnt eax, ecx", &[0xf3, 0x0f, 0xb8, 0xc1]),
    ("cmpxchg [rcx], rdx", &[0x48, 0x0f, 0xb1, 0x11]),
    ("rcl eax, cl", &[0xd3, 0xd0]),
    ("rep stosq", &[0xf3, 0x48, 0xab]),
    ("cmp eax, ecx; jl", &[0x39, 0xc8, 0x7c, 0x10]),
    ("call", &[0xe8, 0x10, 0, 0, 0]),
    ("ret", &[0xc3]),
];

/// A loop's body as compilers make it: twenty instructions, seven accesses to memory.
const BLOCK: &[u8] = &[
    0x48, 0x8b, 0x07, // mov rax, [rdi]
    0x48, 0x83, 0xc7, 0x08, // add rdi, 8
    0x48, 0x31, 0xd0, // xor rax, rdx
    0x48, 0xc1, 0xc0, 0x05, // rol rax, 5
    0x0f, 0xb6, 0xc8, // movzx ecx, al
    0x8b, 0x0c, 0x8e, // mov ecx, [rsi+rcx*4]
    0x01, 0xcb, // add ebx, ecx
    0x89, 0x5c, 0x24, 0x08, // mov [rsp+8], ebx
    0x48, 0x8d, 0x54, 0x10, 0x07, // lea rdx, [rax+rdx+7]
    0x50, // push rax
    0x55, // push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0x4c, 0x03, 0x45, 0x10, // add r8, [rbp+16]
    0x5d, // pop rbp
    0x58, // pop rax
    0x83, 0xe1, 0x1f, // and ecx, 31
    0x44, 0x0f, 0xaf, 0xc9, // imul r9d, ecx
    0x4c, 0x29, 0xc8, // sub rax, r9
    0x49, 0x39, 0xfa, // cmp r10, rdi
    0x75, 0xc0, // jne
];

/// The best of many short runs: what others do on the host does not count.
fn time_ns(list: &[Insn]) -> f64 {
    const ROUNDS: u32 = 5;
    let best = (0..1000).map(|_| {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(emit(std::hint::black_box(list)).expect("code"));
        }
        began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    });
    best.fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("{:<24}{:>6}{:>6}  ns", "instruction", "bytes", "cold");
    for (name, bytes) in CASES {
        let list = insns(bytes);
        let many: Vec<Insn> = std::iter::repeat_n(list.clone(), 20).flatten().collect();
        let code = emit(&list).expect("code");
        let cold = code.windows(6).rev().position(|w| w[0] == 0xb8 && w[5] == 0xc3 && w[1] & 7 == 0).unwrap_or(0);
        // Without the way out of the block.
        println!("{name:<24}{:>6}{cold:>6}  {:.0}", code.len() - 6 - cold, time_ns(&many) / 20.0);
    }
    let list = insns(BLOCK);
    let code = emit(&list).expect("code");
    println!("block of {}: {} bytes, {:.0} ns", list.len(), code.len(), time_ns(&list));
    let (mut decoder, mut formatter) = (Decoder::new(64, &code, 0), FastFormatter::new());
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        println!("{:4x}  {text}", instruction.ip());
    }
}
