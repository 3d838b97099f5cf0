//! One instruction at a time, in the mode that matters.

use crate::events::{Exception, Flow};
use crate::state::{LazyFlags, Segment};
use crate::testing::{self as t, STACK, STACK0, TSS, USER_STACK, descriptor, execute, sel};
use crate::vcpu::Cpu;
use undercroft_decode::{Reg, Seg};
use undercroft_spec::x86::control::{cr4, rflags as f};

fn rsp(cpu: &Cpu) -> u64 {
    cpu.s.regs[Reg::Rsp as usize]
}
fn selector(cpu: &Cpu, seg: Seg) -> u16 {
    cpu.s.segment(seg).selector
}
/// Puts values on the stack, the last one highest.
fn stack(cpu: &mut Cpu, size: u64, values: &[u64]) {
    let sp = rsp(cpu) - size * values.len() as u64;
    for (n, v) in values.iter().enumerate() {
        assert!(cpu.ram.store(sp + size * n as u64, size, *v));
    }
    cpu.s.regs[Reg::Rsp as usize] = sp;
}
fn set_descriptor(cpu: &Cpu, selector: u16, raw: u64) {
    assert!(cpu.ram.store(t::GDT + u64::from(selector & !7), 8, raw));
}

#[test]
fn syscall_and_sysretq_go_there_and_back() {
    let mut cpu = t::long(3);
    cpu.s.msr.star = u64::from(sel::CODE64) << 32 | 0x20 << 48;
    cpu.s.msr.lstar = 0xffff_ffff_8000_1000;
    cpu.s.msr.fmask = f::IF | f::TF | f::AC;
    cpu.s.flags = LazyFlags::new(f::FIXED | f::IF | f::AC | f::CF);
    assert_eq!(execute(&mut cpu, &[0x0f, 0x05]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.cpl, cpu.s.rflags()), (0xffff_ffff_8000_1000, 0, f::FIXED | f::CF));
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss)), (sel::CODE64, sel::DATA));
    assert_eq!(cpu.s.regs[Reg::Rcx as usize], t::CODE + 2);
    assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0x07]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.cpl, cpu.s.rflags()), (t::CODE + 2, 3, f::FIXED | f::IF | f::AC | f::CF));
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss)), (sel::USER_CODE64, sel::USER_DATA));
    assert!(cpu.s.is_long());
}

#[test]
fn sysretq_to_noncanonical_address_is_gp() {
    let mut cpu = t::long(0);
    cpu.s.regs[Reg::Rcx as usize] = 1 << 47;
    assert_eq!(execute(&mut cpu, &[0x48, 0x0f, 0x07]), Err(Exception::gp(0)));
    assert_eq!(execute(&mut cpu, &[0x0f, 0x07]), Ok(Flow::Jump));
    assert!(!cpu.s.is_long() && cpu.s.cpl == 3);
}

#[test]
fn sysenter_and_sysexit_use_fixed_segments() {
    let mut cpu = t::protected(3);
    assert_eq!(execute(&mut cpu, &[0x0f, 0x34]), Err(Exception::gp(0)));
    cpu.s.msr.sysenter_cs = 0x18;
    cpu.s.msr.sysenter_esp = 0x1_0000_5000;
    cpu.s.msr.sysenter_eip = 0x6000;
    assert_eq!(execute(&mut cpu, &[0x0f, 0x34]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, rsp(&cpu), cpu.s.cpl), (0x6000, 0x5000, 0));
    cpu.s.regs[Reg::Rcx as usize] = 0x7000;
    cpu.s.regs[Reg::Rdx as usize] = 0x8000;
    assert_eq!(execute(&mut cpu, &[0x0f, 0x35]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, rsp(&cpu), cpu.s.cpl), (0x8000, 0x7000, 3));
    assert_eq!((selector(&cpu, Seg::Cs), selector(&cpu, Seg::Ss)), (0x2b, 0x33));
}

#[test]
fn iretq_to_user_drops_kernel_data_segments_but_keeps_null_bases() {
    let mut cpu = t::long(0);
    let null_gs = Segment { base: 0x1234_5678_9abc, ..Segment::null(0) };
    cpu.s.set_segment(Seg::Gs, null_gs);
    let flags = f::FIXED | f::IF | f::ZF | f::RF;
    stack(&mut cpu, 8, &[0x40_0000, sel::USER_CODE64.into(), flags, USER_STACK, sel::USER_DATA.into()]);
    cpu.s.nmi_blocked = true;
    assert_eq!(execute(&mut cpu, &[0x48, 0xcf]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.cpl, rsp(&cpu), cpu.s.rflags()), (0x40_0000, 3, USER_STACK, flags));
    assert!(cpu.s.segment(Seg::Ds).is_unusable());
    assert_eq!(*cpu.s.segment(Seg::Gs), null_gs);
    assert!(!cpu.s.nmi_blocked);
}

#[test]
fn iretq_at_same_level_pops_stack_pointer_and_null_ss() {
    let mut cpu = t::long(0);
    stack(&mut cpu, 8, &[0x9000, sel::CODE64.into(), f::FIXED, 0x1_8001, 0]);
    assert_eq!(execute(&mut cpu, &[0x48, 0xcf]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, rsp(&cpu), selector(&cpu, Seg::Ss)), (0x9000, 0x1_8001, 0));
    assert_eq!(*cpu.s.segment(Seg::Ds), *cpu.s.segment(Seg::Es));
    assert!(!cpu.s.segment(Seg::Ds).is_unusable());
}

#[test]
fn iretq_with_bad_frame_faults_and_changes_nothing() {
    let cases: [(u64, u16, u64, u16, Exception); 5] = [
        (1 << 47, sel::USER_CODE64, 0, sel::USER_DATA, Exception::gp(0)),
        (0, 0, 0, sel::USER_DATA, Exception::gp(0)),
        (0, sel::DATA, 0, sel::USER_DATA, Exception::gp(sel::DATA.into())),
        (0, sel::USER_CODE64, 0, sel::DATA, Exception::gp(sel::DATA.into())),
        (0, 0x1000, 0, sel::USER_DATA, Exception::gp(0x1000)),
    ];
    for (rip, cs, sp, ss, expected) in cases {
        let mut cpu = t::long(0);
        stack(&mut cpu, 8, &[rip, cs.into(), f::FIXED, sp, ss.into()]);
        let before = cpu.s.clone();
        assert_eq!(execute(&mut cpu, &[0x48, 0xcf]), Err(expected));
        cpu.s.regs[Reg::BlockRip as usize] = before.regs[Reg::BlockRip as usize];
        assert_eq!(cpu.s, before);
    }
}

#[test]
fn return_to_absent_stack_segment_is_np_for_iret_and_ss_for_ret() {
    let ss = sel::FREE | 3;
    let absent = |frame: &[u64], code: &[u8]| {
        let mut cpu = t::long(0);
        assert!(cpu.ram.store(t::GDT + u64::from(sel::FREE), 8, t::descriptor(0, 0xfffff, 0xc073)));
        stack(&mut cpu, 8, frame);
        execute(&mut cpu, code)
    };
    let cs = u64::from(sel::USER_CODE64);
    let code = u32::from(sel::FREE);
    assert_eq!(absent(&[0x9000, cs, f::FIXED, 0x4000, ss.into()], &[0x48, 0xcf]), Err(Exception::np(code)));
    assert_eq!(absent(&[0x9000, cs, 0x4000, ss.into()], &[0x48, 0xcb]), Err(Exception::ss(code)));
}

#[test]
fn iretq_with_nested_task_flag_is_gp() {
    let mut cpu = t::long(0);
    cpu.s.flags = LazyFlags::new(f::FIXED | f::NT);
    assert_eq!(execute(&mut cpu, &[0x48, 0xcf]), Err(Exception::gp(0)));
}

#[test]
fn iretd_to_outer_level_loads_flags_by_old_level() {
    let mut cpu = t::protected(0);
    let flags = f::FIXED | f::IF | f::IOPL | f::VIF;
    stack(&mut cpu, 4, &[0x40_0000, sel::USER_CODE32.into(), flags, USER_STACK, sel::USER_DATA.into()]);
    assert_eq!(execute(&mut cpu, &[0xcf]), Ok(Flow::Jump));
    assert_eq!((cpu.s.cpl, rsp(&cpu), cpu.s.rflags()), (3, USER_STACK, flags));
    // At level 3 with IOPL 0, IOPL, IF and VIF are not the program's.
    let mut cpu = t::protected(3);
    stack(&mut cpu, 4, &[0x40_0000, sel::USER_CODE32.into(), flags | f::CF]);
    assert_eq!(execute(&mut cpu, &[0xcf]), Ok(Flow::Jump));
    assert_eq!(cpu.s.rflags(), f::FIXED | f::CF);
    assert_eq!(rsp(&cpu), USER_STACK);
}

#[test]
fn iretd_to_v8086_loads_all_segments_in_its_style() {
    let mut cpu = t::protected(0);
    let flags = f::FIXED | f::VM | f::IF;
    stack(&mut cpu, 4, &[0x100, 0x2000, flags, 0xfffe, 0x3000, 1, 2, 3, 4]);
    assert_eq!(execute(&mut cpu, &[0xcf]), Ok(Flow::Jump));
    assert!(cpu.s.is_v8086() && cpu.s.cpl == 3);
    assert_eq!((cpu.s.rip, rsp(&cpu)), (0x100, 0xfffe));
    let bases = Seg::ALL.map(|seg| cpu.s.segment(seg).base);
    assert_eq!(bases, [0x10, 0x2_0000, 0x3_0000, 0x20, 0x30, 0x40]);
    assert_eq!(cpu.s.segment(Seg::Cs).rights, 0xf3);
}

#[test]
fn far_jump_loads_code_segment_and_marks_it_accessed() {
    let mut cpu = t::protected(0);
    set_descriptor(&cpu, sel::FREE, descriptor(0x10_0000, 0xfff, 0x409a));
    // JMP FAR 70H:123H
    assert_eq!(execute(&mut cpu, &[0xea, 0x23, 1, 0, 0, 0x70, 0]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.segment(Seg::Cs).base), (0x123, 0x10_0000));
    assert_eq!(cpu.ram.load(t::GDT + 0x75, 1), Some(0x9b));
    // Beyond the limit.
    assert_eq!(execute(&mut cpu, &[0xea, 0, 0x10, 0, 0, 0x70, 0]), Err(Exception::gp(0)));
    // Data is no code.
    assert_eq!(execute(&mut cpu, &[0xea, 0, 0, 0, 0, 0x10, 0]), Err(Exception::gp(0x10)));
}

#[test]
fn far_call_and_return_balance_the_stack() {
    let mut cpu = t::protected(0);
    assert_eq!(execute(&mut cpu, &[0x9a, 0, 0x90, 0, 0, 0x48, 0]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, rsp(&cpu), selector(&cpu, Seg::Cs)), (0x9000, STACK - 8, 0x48));
    assert_eq!(execute(&mut cpu, &[0xcb]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, rsp(&cpu), selector(&cpu, Seg::Cs)), (t::CODE + 7, STACK, sel::CODE32));
}

#[test]
fn far_return_to_outer_level_releases_parameters_on_both_stacks() {
    let mut cpu = t::protected(0);
    stack(&mut cpu, 4, &[0x40_0000, sel::USER_CODE32.into(), 11, 22, USER_STACK - 8, sel::USER_DATA.into()]);
    assert_eq!(execute(&mut cpu, &[0xca, 8, 0]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.cpl, rsp(&cpu)), (0x40_0000, 3, USER_STACK));
    assert!(cpu.s.segment(Seg::Ds).is_unusable());
}

#[test]
fn call_gate_to_inner_level_copies_parameters() {
    let mut cpu = t::protected(3);
    // 32-bit call gate, DPL 3, two parameters, to CODE32:9000H.
    set_descriptor(&cpu, sel::FREE, 0x0000_ec02_0018_9000);
    stack(&mut cpu, 4, &[0x1111, 0x2222]);
    assert_eq!(execute(&mut cpu, &[0x9a, 0, 0, 0, 0, 0x73, 0]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.cpl, rsp(&cpu)), (0x9000, 0, STACK0 - 24));
    let frame: Vec<u64> = (0..6).map(|n| cpu.ram.load(rsp(&cpu) + 4 * n, 4).expect("RAM")).collect();
    let old = [u64::from(sel::USER_CODE32), 0x1111, 0x2222, USER_STACK - 8, sel::USER_DATA.into()];
    assert_eq!(frame[0], t::CODE + 7);
    assert_eq!(frame[1..], old);
    // A jump through it may not change the level.
    let mut cpu = t::protected(3);
    set_descriptor(&cpu, sel::FREE, 0x0000_ec02_0018_9000);
    assert_eq!(execute(&mut cpu, &[0xea, 0, 0, 0, 0, 0x73, 0]), Err(Exception::gp(sel::CODE32.into())));
}

#[test]
fn call_gate_in_64_bit_mode_pushes_four_quadwords() {
    let mut cpu = t::long(3);
    set_descriptor(&cpu, sel::FREE, 0x0000_ec00_0008_9000);
    set_descriptor(&cpu, sel::FREE + 8, 0);
    assert!(cpu.ram.store(0x6000, 6, 0x0073_0000_0000));
    // CALL FAR [6000H]
    assert_eq!(execute(&mut cpu, &[0xff, 0x1c, 0x25, 0, 0x60, 0, 0]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.cpl, rsp(&cpu), selector(&cpu, Seg::Ss)), (0x9000, 0, STACK0 - 32, 0));
    assert_eq!(cpu.ram.load(STACK0 - 8, 8), Some(sel::USER_DATA.into()));
    assert_eq!(cpu.ram.load(STACK0 - 32, 8), Some(t::CODE + 7));
}

#[test]
fn mov_to_segment_checks_selector_and_type() {
    let mut cpu = t::protected(0);
    let mov = |cpu: &mut Cpu, reg: u8, value: u16| {
        cpu.s.regs[0] = value.into();
        execute(cpu, &[0x8e, 0xc0 | reg << 3])
    };
    assert_eq!(mov(&mut cpu, 3, 0), Ok(Flow::Next));
    assert!(cpu.s.segment(Seg::Ds).is_unusable());
    assert_eq!(mov(&mut cpu, 0, 0x1000), Err(Exception::gp(0x1000)));
    assert_eq!(mov(&mut cpu, 4, sel::TSS), Err(Exception::gp(sel::TSS.into())));
    assert_eq!(mov(&mut cpu, 2, 0), Err(Exception::gp(0)));
    assert_eq!(mov(&mut cpu, 2, sel::USER_DATA), Err(Exception::gp(0x28)));
    assert_eq!(mov(&mut cpu, 2, sel::CODE32), Err(Exception::gp(0x18)));
    assert!(!cpu.s.mov_ss_shadow);
    assert_eq!(mov(&mut cpu, 2, sel::DATA), Ok(Flow::Next));
    assert!(cpu.s.mov_ss_shadow);
    set_descriptor(&cpu, sel::FREE, descriptor(0, 0xffff, 0x13));
    assert_eq!(mov(&mut cpu, 5, sel::FREE), Err(Exception::np(sel::FREE.into())));
    assert_eq!(mov(&mut cpu, 2, sel::FREE), Err(Exception::ss(sel::FREE.into())));
}

#[test]
fn mov_to_segment_in_real_mode_keeps_the_limit() {
    let mut cpu = t::real();
    let big = Segment { limit: u32::MAX, ..Segment::real_mode(0) };
    cpu.s.set_segment(Seg::Ds, big);
    cpu.s.regs[0] = 0x1234;
    assert_eq!(execute(&mut cpu, &[0x8e, 0xd8]), Ok(Flow::Next));
    assert_eq!(*cpu.s.segment(Seg::Ds), Segment { selector: 0x1234, base: 0x1_2340, ..big });
}

#[test]
fn push_and_pop_of_segments_move_by_the_operand_size() {
    let mut cpu = t::long(0);
    assert_eq!(execute(&mut cpu, &[0x0f, 0xa0]), Ok(Flow::Next));
    assert_eq!((rsp(&cpu), cpu.ram.load(STACK - 8, 8)), (STACK - 8, Some(sel::DATA.into())));
    assert_eq!(execute(&mut cpu, &[0x0f, 0xa9]), Ok(Flow::Next));
    assert_eq!((rsp(&cpu), selector(&cpu, Seg::Gs)), (STACK, sel::DATA));
    let mut cpu = t::protected(0);
    assert!(cpu.ram.store(STACK - 4, 4, 0xaaaa_aaaa));
    assert_eq!(execute(&mut cpu, &[0x1e]), Ok(Flow::Next));
    assert_eq!((rsp(&cpu), cpu.ram.load(STACK - 4, 4)), (STACK - 4, Some(0xaaaa_0010)));
    assert_eq!(execute(&mut cpu, &[0x17]), Ok(Flow::Next));
    assert_eq!((rsp(&cpu), cpu.s.mov_ss_shadow), (STACK, true));
}

#[test]
fn lgdt_and_sgdt_move_ten_bytes_in_64_bit_mode() {
    let mut cpu = t::long(0);
    assert!(cpu.ram.store(0x6000, 2, 0x1ff) && cpu.ram.store(0x6002, 8, 0xffff_8000_1234_5678));
    assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0x14, 0x25, 0, 0x60, 0, 0]), Ok(Flow::Next));
    assert_eq!((cpu.s.gdtr.base, cpu.s.gdtr.limit), (0xffff_8000_1234_5678, 0x1ff));
    assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0x04, 0x25, 0, 0x70, 0, 0]), Ok(Flow::Next));
    assert_eq!(cpu.ram.load(0x7002, 8), Some(0xffff_8000_1234_5678));
    assert!(cpu.ram.store(0x6002, 8, 1 << 56));
    assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0x1c, 0x25, 0, 0x60, 0, 0]), Err(Exception::gp(0)));
    cpu.s.cpl = 3;
    cpu.s.cr4 |= cr4::UMIP;
    assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0x04, 0x25, 0, 0x70, 0, 0]), Err(Exception::gp(0)));
}

#[test]
fn lgdt_with_16_bit_operand_loads_24_bits_of_base() {
    let mut cpu = t::real();
    assert!(cpu.ram.store(0x6000, 2, 0x37) && cpu.ram.store(0x6002, 4, 0x1234_5678));
    assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0x16, 0, 0x60]), Ok(Flow::Next));
    assert_eq!((cpu.s.gdtr.base, cpu.s.gdtr.limit), (0x34_5678, 0x37));
    assert_eq!(execute(&mut cpu, &[0x66, 0x0f, 0x01, 0x16, 0, 0x60]), Ok(Flow::Next));
    assert_eq!(cpu.s.gdtr.base, 0x1234_5678);
}

#[test]
fn ltr_in_ia32e_mode_reads_sixteen_bytes_and_sets_busy() {
    let mut cpu = t::long(0);
    set_descriptor(&cpu, sel::TSS + 8, 0xffff_8000);
    cpu.s.regs[0] = sel::TSS.into();
    assert_eq!(execute(&mut cpu, &[0x0f, 0x00, 0xd8]), Ok(Flow::Next));
    assert_eq!((cpu.s.tr.base, cpu.s.tr.kind(), cpu.s.tr.limit), (0xffff_8000_0000_0000 | TSS, 11, 0x2fff));
    assert_eq!(execute(&mut cpu, &[0x0f, 0x00, 0xd8]), Err(Exception::gp(sel::TSS.into())));
    cpu.s.regs[0] = 0;
    assert_eq!(execute(&mut cpu, &[0x0f, 0x00, 0xd8]), Err(Exception::gp(0)));
    assert_eq!(execute(&mut cpu, &[0x0f, 0x00, 0xd0]), Ok(Flow::Next));
    assert!(cpu.s.ldtr.is_unusable());
}

#[test]
fn lldt_makes_its_selectors_usable() {
    let mut cpu = t::protected(0);
    assert!(cpu.ram.store(0x4008, 8, descriptor(0x5000, 0xff, 0x4092)));
    cpu.s.regs[0] = 0x0c;
    assert_eq!(execute(&mut cpu, &[0x8e, 0xd8]), Err(Exception::gp(0x0c)));
    cpu.s.regs[0] = sel::LDT.into();
    assert_eq!(execute(&mut cpu, &[0x0f, 0x00, 0xd0]), Ok(Flow::Next));
    cpu.s.regs[0] = 0x0c;
    assert_eq!(execute(&mut cpu, &[0x8e, 0xd8]), Ok(Flow::Next));
    assert_eq!(cpu.s.segment(Seg::Ds).base, 0x5000);
    assert_eq!(cpu.ram.load(0x400d, 1), Some(0x93));
}

#[test]
fn popf_loads_what_the_level_allows() {
    let all = f::FIXED | f::ARITHMETIC | f::TF | f::IF | f::DF | f::IOPL | f::NT | f::AC | f::ID;
    let mut cpu = t::long(0);
    stack(&mut cpu, 8, &[all | f::VIF | f::VIP | f::RF | f::VM]);
    assert_eq!(execute(&mut cpu, &[0x9d]), Ok(Flow::Next));
    assert_eq!((cpu.s.rflags(), rsp(&cpu)), (all, STACK));
    let mut cpu = t::long(3);
    stack(&mut cpu, 8, &[all]);
    assert_eq!(execute(&mut cpu, &[0x9d]), Ok(Flow::Next));
    assert_eq!(cpu.s.rflags(), all & !(f::IF | f::IOPL));
    assert_eq!(execute(&mut cpu, &[0x9c]), Ok(Flow::Next));
    assert_eq!(cpu.ram.load(USER_STACK - 8, 8), Some(all & !(f::IF | f::IOPL)));
}

#[test]
fn pushf_and_popf_in_v8086_show_vif_as_if() {
    let mut cpu = t::protected(3);
    for seg in Seg::ALL {
        cpu.s.set_segment(seg, Segment { rights: 0xf3, ..Segment::real_mode(0) });
    }
    cpu.s.regs[Reg::Rsp as usize] = 0x7000;
    cpu.s.flags = LazyFlags::new(f::FIXED | f::VM | f::VIF);
    assert_eq!(execute(&mut cpu, &[0x9c]), Err(Exception::gp(0)));
    cpu.s.cr4 |= cr4::VME;
    assert_eq!(execute(&mut cpu, &[0x9c]), Ok(Flow::Next));
    assert_eq!(cpu.ram.load(0x6ffe, 2), Some(f::FIXED | f::IF | f::IOPL));
    assert_eq!(execute(&mut cpu, &[0xfa]), Ok(Flow::Next));
    assert_eq!(cpu.s.rflags() & (f::VIF | f::IF), 0);
    assert_eq!(execute(&mut cpu, &[0x9d]), Ok(Flow::Next));
    assert_eq!(cpu.s.rflags(), f::FIXED | f::VM | f::VIF);
    cpu.s.flags.set_other(f::VIP, f::VIP);
    assert_eq!(execute(&mut cpu, &[0xfb]), Err(Exception::gp(0)));
}

#[test]
fn int_in_v8086_follows_the_redirection_bitmap() {
    let mut cpu = t::protected(3);
    for seg in Seg::ALL {
        cpu.s.set_segment(seg, Segment { rights: 0xf3, ..Segment::real_mode(0) });
    }
    cpu.s.regs[Reg::Rsp as usize] = 0x7000;
    cpu.s.flags = LazyFlags::new(f::FIXED | f::VM | f::VIF | f::IF);
    assert_eq!(execute(&mut cpu, &[0xcd, 0x21]), Err(Exception::gp(0)));
    cpu.s.cr4 |= cr4::VME;
    assert!(cpu.ram.store(0x21 * 4, 4, 0x0200_0300));
    assert_eq!(execute(&mut cpu, &[0xcd, 0x21]), Ok(Flow::Jump));
    assert_eq!((cpu.s.rip, cpu.s.segment(Seg::Cs).base), (0x300, 0x2000));
    assert_eq!(cpu.s.rflags(), f::FIXED | f::VM | f::IF);
    assert_eq!(cpu.ram.load(0x6ffe, 2), Some(f::FIXED | f::IF | f::IOPL));
    // Intercepted: bit 21H of the map below 88H.
    assert!(cpu.ram.store(TSS + 0x68 + 4, 1, 2));
    assert_eq!(execute(&mut cpu, &[0xcd, 0x21]), Err(Exception::gp(0)));
    cpu.s.flags.set_other(f::IOPL, f::IOPL);
    assert_eq!(execute(&mut cpu, &[0xcd, 0x21]), Err(Exception::software(0x21)));
}

#[test]
fn sti_holds_interrupts_off_only_when_if_was_clear() {
    let mut cpu = t::long(0);
    assert_eq!(execute(&mut cpu, &[0xfb]), Ok(Flow::Next));
    assert!(cpu.s.sti_shadow);
    cpu.s.sti_shadow = false;
    assert_eq!(execute(&mut cpu, &[0xfb]), Ok(Flow::Next));
    assert!(!cpu.s.sti_shadow);
    let mut cpu = t::long(3);
    assert_eq!(execute(&mut cpu, &[0xfb]), Err(Exception::gp(0)));
    assert_eq!(execute(&mut cpu, &[0xfa]), Err(Exception::gp(0)));
    cpu.s.cr4 |= cr4::PVI;
    assert_eq!(execute(&mut cpu, &[0xfb]), Ok(Flow::Next));
    assert_eq!(cpu.s.rflags() & (f::IF | f::VIF), f::VIF);
}

#[test]
fn swapgs_and_base_instructions_move_bases() {
    let mut cpu = t::long(0);
    cpu.s.msr.kernel_gs_base = 0xffff_8880_0000_0000;
    cpu.s.set_segment_base(Seg::Gs, 0x7f00);
    assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xf8]), Ok(Flow::Next));
    assert_eq!((cpu.s.segment(Seg::Gs).base, cpu.s.msr.kernel_gs_base), (0xffff_8880_0000_0000, 0x7f00));
    assert_eq!(execute(&mut cpu, &[0xf3, 0x48, 0x0f, 0xae, 0xd0]), Err(Exception::ud()));
    cpu.s.cr4 |= cr4::FSGSBASE;
    cpu.s.regs[0] = 1 << 56;
    assert_eq!(execute(&mut cpu, &[0xf3, 0x48, 0x0f, 0xae, 0xd0]), Err(Exception::gp(0)));
    cpu.s.regs[0] = 0x1_2345_6789;
    assert_eq!(execute(&mut cpu, &[0xf3, 0x48, 0x0f, 0xae, 0xd0]), Ok(Flow::Next));
    assert_eq!(execute(&mut cpu, &[0xf3, 0x0f, 0xae, 0xc3]), Ok(Flow::Next));
    assert_eq!((cpu.s.segment(Seg::Fs).base, cpu.s.regs[3]), (0x1_2345_6789, 0x2345_6789));
}

#[test]
fn stac_and_clac_are_undefined_outside_level_zero() {
    let mut cpu = t::long(0);
    assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xcb]), Ok(Flow::Next));
    assert_eq!(cpu.s.rflags(), f::FIXED | f::AC);
    assert_eq!(execute(&mut cpu, &[0x0f, 0x01, 0xca]), Ok(Flow::Next));
    assert_eq!(cpu.s.rflags(), f::FIXED);
    assert_eq!(execute(&mut t::long(3), &[0x0f, 0x01, 0xcb]), Err(Exception::ud()));
}

#[test]
fn queries_of_descriptors_set_zero_flag_and_result() {
    let mut cpu = t::protected(3);
    let ask = |cpu: &mut Cpu, op: u8, selector: u16| {
        cpu.s.regs[0] = selector.into();
        cpu.s.regs[3] = 0x5555;
        assert_eq!(execute(cpu, &[0x0f, op, 0xd8]), Ok(Flow::Next));
        (cpu.s.rflags() & f::ZF != 0, cpu.s.regs[3])
    };
    assert_eq!(ask(&mut cpu, 0x02, sel::USER_DATA), (true, 0xc0_f300));
    assert_eq!(ask(&mut cpu, 0x03, sel::USER_DATA), (true, 0xffff_ffff));
    assert_eq!(ask(&mut cpu, 0x02, sel::DATA), (false, 0x5555));
    assert_eq!(ask(&mut cpu, 0x02, 0), (false, 0x5555));
    assert_eq!(ask(&mut cpu, 0x02, 0x1000), (false, 0x5555));
    assert_eq!(ask(&mut cpu, 0x03, sel::CONFORMING32), (true, 0xffff_ffff));
    for (modrm, selector, expected) in [
        (0xe0, sel::USER_CODE32, true),
        (0xe8, sel::USER_CODE32, false),
        (0xe8, sel::USER_DATA, true),
        (0xe0, sel::DATA, false),
    ] {
        cpu.s.regs[0] = selector.into();
        assert_eq!(execute(&mut cpu, &[0x0f, 0x00, modrm]), Ok(Flow::Next));
        assert_eq!(cpu.s.rflags() & f::ZF != 0, expected, "{modrm:x} {selector:x}");
    }
    assert_eq!(execute(&mut t::real(), &[0x0f, 0x02, 0xd8]), Err(Exception::ud()));
}

#[test]
fn arpl_raises_the_requested_level() {
    let mut cpu = t::protected(0);
    cpu.s.regs[0] = 0x10;
    cpu.s.regs[3] = 3;
    assert_eq!(execute(&mut cpu, &[0x63, 0xd8]), Ok(Flow::Next));
    assert_eq!((cpu.s.regs[0], cpu.s.rflags() & f::ZF), (0x13, f::ZF));
    assert_eq!(execute(&mut cpu, &[0x63, 0xd8]), Ok(Flow::Next));
    assert_eq!(cpu.s.rflags() & f::ZF, 0);
}

#[test]
fn pusha_and_popa_skip_the_stack_pointer() {
    let mut cpu = t::protected(0);
    for n in 0..8 {
        if n != 4 {
            cpu.s.regs[n] = 0x100 + n as u64;
        }
    }
    assert_eq!(execute(&mut cpu, &[0x60]), Ok(Flow::Next));
    assert_eq!(rsp(&cpu), STACK - 32);
    assert_eq!(cpu.ram.load(STACK - 20, 4), Some(STACK));
    cpu.s.regs[0] = 0;
    cpu.s.regs[7] = 0;
    assert_eq!(execute(&mut cpu, &[0x61]), Ok(Flow::Next));
    assert_eq!((rsp(&cpu), cpu.s.regs[0], cpu.s.regs[7]), (STACK, 0x100, 0x107));
}

#[test]
fn enter_with_nesting_copies_outer_frame_pointers() {
    let mut cpu = t::protected(0);
    cpu.s.regs[Reg::Rbp as usize] = 0x1_8000;
    assert!(cpu.ram.store(0x1_8000 - 4, 4, 0xabc));
    assert_eq!(execute(&mut cpu, &[0xc8, 0x10, 0, 2]), Ok(Flow::Next));
    assert_eq!(cpu.s.regs[Reg::Rbp as usize], STACK - 4);
    assert_eq!(rsp(&cpu), STACK - 12 - 16);
    let pushed: Vec<u64> = (1..4).map(|n| cpu.ram.load(STACK - 4 * n, 4).expect("RAM")).collect();
    assert_eq!(pushed, [0x1_8000, 0xabc, STACK - 4]);
}

#[test]
fn bound_outside_is_br() {
    let mut cpu = t::protected(0);
    assert!(cpu.ram.store(0x6000, 4, (-5i32 as u32).into()) && cpu.ram.store(0x6004, 4, 5));
    for (value, inside) in [(-5i32, true), (5, true), (6, false), (-6, false)] {
        cpu.s.regs[0] = (value as u32).into();
        let done = execute(&mut cpu, &[0x62, 0x05, 0, 0x60, 0, 0]);
        assert_eq!(done, if inside { Ok(Flow::Next) } else { Err(Exception::br()) });
    }
}

#[test]
fn hlt_outside_level_zero_is_gp() {
    assert_eq!(execute(&mut t::long(3), &[0xf4]), Err(Exception::gp(0)));
    let mut cpu = t::long(0);
    assert_eq!(execute(&mut cpu, &[0xf4]), Ok(Flow::Next));
    assert_eq!(cpu.s.activity, crate::state::Activity::Halted);
}

#[test]
fn pause_gives_the_turn_away() {
    let mut cpu = t::long(3);
    cpu.attention = false;
    assert_eq!(execute(&mut cpu, &[0xf3, 0x90]), Ok(Flow::Next));
    assert!(cpu.attention && cpu.yields);
}
