//! FNSTENV, FLDENV, FNSAVE, FRSTOR in their four formats. SDM volume 1, "Saving the x87 FPU's State with FSTENV/FNSTENV and FSAVE/FNSAVE",
//! figures "Protected Mode x87 FPU State Image in Memory" and "Real Mode x87 FPU State Image in Memory".

use super::Entry;
use super::control::{initialize, set_control};
use super::stack::{EMPTY, EXCEPTIONS};
use crate::events::Exception;
use crate::state::Fpu;
use crate::vcpu::Cpu;
use undercroft_decode::{Code, Insn};
use undercroft_float::F80;

type C = Code;
type Done = Result<(), Exception>;

/// The instruction, if it is one of this file.
pub(super) fn entry(code: Code) -> Option<Entry> {
    Some(match code {
        C::Fnstenv_m14byte => Entry::NoWait(store_environment::<14>),
        C::Fnstenv_m28byte => Entry::NoWait(store_environment::<28>),
        C::Fnsave_m94byte => Entry::NoWait(save::<94>),
        C::Fnsave_m108byte => Entry::NoWait(save::<108>),
        C::Fldenv_m14byte => Entry::Control(load_environment::<14>),
        C::Fldenv_m28byte => Entry::Control(load_environment::<28>),
        C::Frstor_m94byte => Entry::Control(restore::<94>),
        C::Frstor_m108byte => Entry::Control(restore::<108>),
        _ => return None,
    })
}

/// Bytes of the registers behind the environment in FNSAVE's image.
const REGISTERS: usize = 80;

/// Layout of an environment.
#[derive(Clone, Copy)]
struct Layout {
    /// Bytes of each of the seven fields: 2 or 4.
    field: usize,
    /// Real and virtual-8086 mode: linear addresses instead of selectors and offsets.
    linear: bool,
}

impl Layout {
    /// Of an image of this many bytes, with or without registers.
    fn of(cpu: &Cpu, bytes: usize) -> Layout {
        let field = if matches!(bytes, 28 | 108) { 4 } else { 2 };
        Layout { field, linear: cpu.s.is_real() || cpu.s.is_v8086() }
    }
    fn put(self, image: &mut [u8], field: usize, value: u32) {
        let at = field * self.field;
        image[at..at + self.field].copy_from_slice(&value.to_le_bytes()[..self.field]);
    }
    fn get(self, image: &[u8], field: usize) -> u32 {
        let at = field * self.field;
        image[at..at + self.field].iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }
    /// Reserved upper halves of 32-bit fields are written as ones.
    fn put_word(self, image: &mut [u8], field: usize, value: u16) {
        self.put(image, field, 0xffff_0000 | u32::from(value));
    }

    fn write(self, fpu: &Fpu, image: &mut [u8]) {
        self.put_word(image, 0, fpu.control);
        self.put_word(image, 1, fpu.status);
        self.put_word(image, 2, full_tag_word(fpu));
        let opcode = u32::from(fpu.opcode & 0x7ff);
        if self.linear {
            let address = |selector: u16, offset: u64| (u32::from(selector) << 4).wrapping_add(offset as u32);
            let instruction = address(fpu.instruction_selector, fpu.instruction);
            let data = address(fpu.data_selector, fpu.data);
            self.put_word(image, 3, instruction as u16);
            self.put(image, 4, upper_address(instruction) | opcode);
            self.put_word(image, 5, data as u16);
            self.put(image, 6, upper_address(data));
        } else {
            self.put(image, 3, fpu.instruction as u32);
            self.put(image, 4, u32::from(fpu.instruction_selector) | opcode << 16);
            self.put(image, 5, fpu.data as u32);
            self.put_word(image, 6, fpu.data_selector);
        }
    }
    fn read(self, fpu: &mut Fpu, image: &[u8]) {
        let field = |n| self.get(image, n);
        set_control(fpu, field(0) as u16);
        fpu.status = field(1) as u16;
        fpu.tag = field(2) as u16;
        if self.linear {
            let address = |low: u32, high: u32| u64::from(low & 0xffff | (high & 0x0fff_f000) << 4);
            fpu.instruction = address(field(3), field(4));
            fpu.opcode = field(4) as u16 & 0x7ff;
            fpu.data = address(field(5), field(6));
            (fpu.instruction_selector, fpu.data_selector) = (0, 0);
        } else {
            fpu.instruction = field(3).into();
            fpu.instruction_selector = field(4) as u16;
            // The 16-bit format has no opcode.
            fpu.opcode = (field(4) >> 16) as u16 & 0x7ff;
            fpu.data = field(5).into();
            fpu.data_selector = field(6) as u16;
        }
        fpu.summarize();
    }
}

/// Bits 31 to 16 of an address where the real-mode formats keep them: from bit 12 on (the 16-bit format has room for four).
fn upper_address(address: u32) -> u32 {
    address >> 16 << 12
}

/// The tag word, from the registers' contents. SDM volume 1, "x87 FPU Tag Word".
pub(super) fn full_tag_word(fpu: &Fpu) -> u16 {
    (0..8).fold(0, |word, n| {
        let tag = if fpu.tag >> (2 * n) & EMPTY == EMPTY {
            EMPTY
        } else {
            match (fpu.sign_exponent[n] & 0x7fff, fpu.significand[n]) {
                (0, 0) => 1,
                (1..0x7fff, significand) if significand >> 63 != 0 => 0,
                _ => 2,
            }
        };
        word | tag << (2 * n)
    })
}

/// Alignment that is checked: that of the fields.
fn store_environment<const N: usize>(cpu: &mut Cpu, i: &Insn) -> Done {
    let layout = Layout::of(cpu, N);
    let mut image = [0; N];
    layout.write(&cpu.s.fpu, &mut image);
    cpu.x87_store_bytes(i, layout.field as u64, &image)?;
    // What is saved is reported by nobody else.
    cpu.s.fpu.control |= EXCEPTIONS;
    cpu.s.fpu.summarize();
    Ok(())
}
fn load_environment<const N: usize>(cpu: &mut Cpu, i: &Insn) -> Done {
    let layout = Layout::of(cpu, N);
    let image: [u8; N] = cpu.x87_load_bytes(i, layout.field as u64)?;
    layout.read(&mut cpu.s.fpu, &image);
    Ok(())
}
fn save<const N: usize>(cpu: &mut Cpu, i: &Insn) -> Done {
    let layout = Layout::of(cpu, N);
    let mut image = [0; N];
    layout.write(&cpu.s.fpu, &mut image);
    for (n, place) in image[N - REGISTERS..].chunks_exact_mut(10).enumerate() {
        place.copy_from_slice(&cpu.s.fpu.st(n as u8).to_bytes());
    }
    cpu.x87_store_bytes(i, layout.field as u64, &image)?;
    initialize(&mut cpu.s.fpu);
    Ok(())
}
fn restore<const N: usize>(cpu: &mut Cpu, i: &Insn) -> Done {
    let layout = Layout::of(cpu, N);
    let image: [u8; N] = cpu.x87_load_bytes(i, layout.field as u64)?;
    let fpu = &mut cpu.s.fpu;
    layout.read(fpu, &image);
    let tag = fpu.tag;
    for (n, place) in image[N - REGISTERS..].chunks_exact(10).enumerate() {
        let mut bytes = [0; 10];
        bytes.copy_from_slice(place);
        fpu.set_st(n as u8, F80::from_bytes(bytes));
    }
    fpu.tag = tag;
    Ok(())
}
