//! Blocks against single steps, and that handlers do not use up the stack.

use crate::testing::{CODE, long};
use crate::vcpu::{Cpu, Exit};
use undercroft_decode::Reg;

/// mov ecx, n; xor eax, eax; loop: add rax, rcx; mov [rsp-8], rax; xor rdx, [rsp-8]; dec... ends in hlt.
fn counting_loop(n: u32) -> Vec<u8> {
    let mut code = vec![0xb9];
    code.extend(n.to_le_bytes());
    code.extend([0x31, 0xc0, 0x31, 0xd2]);
    code.extend([0x48, 0x01, 0xc8]); // loop: add rax, rcx
    code.extend([0x48, 0x89, 0x44, 0x24, 0xf8]); // mov [rsp-8], rax
    code.extend([0x48, 0x33, 0x54, 0x24, 0xf8]); // xor rdx, [rsp-8]
    code.extend([0x48, 0x8d, 0x52, 0x01]); // lea rdx, [rdx+1]
    code.extend([0x83, 0xe9, 0x01]); // sub ecx, 1
    code.extend([0x75, 0xea]); // jnz loop
    code.push(0xf4);
    code
}

fn prepared(code: &[u8]) -> Cpu {
    let mut cpu = long(0);
    assert!(cpu.ram.write(CODE, code));
    cpu.s.rip = CODE;
    cpu
}

#[test]
fn blocks_and_single_steps_agree_at_every_count() {
    let code = counting_loop(20);
    for limit in 0..130 {
        let mut blocks = prepared(&code);
        blocks.run(limit);
        let mut steps = prepared(&code);
        for n in 0..limit {
            steps.run(n + 1);
        }
        assert_eq!(blocks.snapshot().states, steps.snapshot().states, "after {limit} instructions");
        assert_eq!(blocks.retired(), steps.retired());
    }
}

#[test]
fn handlers_run_long_on_a_small_stack() {
    let run = || {
        let mut cpu = prepared(&counting_loop(2_000_000));
        assert_eq!(cpu.run(u64::MAX), Exit::Idle { next: None });
        let began = std::time::Instant::now();
        let mut cpu2 = prepared(&counting_loop(20_000_000));
        cpu2.run(u64::MAX);
        eprintln!("{:.0} MIPS", cpu2.retired() as f64 / began.elapsed().as_secs_f64() / 1e6);
        (cpu.retired(), cpu.s.regs[Reg::Rax as usize])
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run).expect("thread");
    assert_eq!(thread.join().expect("no overflow"), (3 + 6 * 2_000_000 + 1, 2_000_001_000_000));
}

/// The general instance goes on to the next record too: RDTSC is always done by it.
#[test]
fn general_instance_runs_long_on_a_small_stack() {
    let run = || {
        // mov ecx, 300000; loop: rdtsc; fld1; fstp st(0); movaps xmm0, xmm1; sub ecx, 1; jnz loop; hlt
        let mut code = vec![0xb9];
        code.extend(300_000u32.to_le_bytes());
        code.extend([0x0f, 0x31, 0xd9, 0xe8, 0xdd, 0xd8, 0x0f, 0x28, 0xc1, 0x83, 0xe9, 0x01, 0x75, 0xf2, 0xf4]);
        let mut cpu = prepared(&code);
        cpu.s.cr4 |= undercroft_spec::x86::control::cr4::OSFXSR;
        cpu.s.fpu.tag = 0xffff;
        assert_eq!(cpu.run(u64::MAX), Exit::Idle { next: None });
        cpu.retired()
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run).expect("thread");
    assert_eq!(thread.join().expect("no overflow"), 1 + 6 * 300_000 + 1);
}
