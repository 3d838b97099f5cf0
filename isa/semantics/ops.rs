//! The domain trait, and the one function that knows all bodies.

use crate::flags::FlagOp;
use crate::pure::Pure;
use crate::{arith, bits, branch, moves, muldiv, shift, stack, strings};
use undercroft_decode::{Cond, Insn, Op, Reg, Seg, Shape, Size};

/// A domain: what the primitives of an instruction's effect mean. Values are 64 bits wide; narrower ones are zero-extended.
pub trait Ops {
    /// A value.
    type V: Copy;
    /// A truth value.
    type B: Copy;
    /// Memory that was read and will be written by the same instruction: permission to write is established.
    type Place: Copy;
    /// What a failed access returns: the body passes it on at once.
    type Fault;
    /// The domain runs 64-bit code with flat memory operands only, never sees AH to BH, and may refuse anything with `Fault`.
    const FAST: bool;

    /// A constant.
    fn imm(&mut self, value: u64) -> Self::V;
    /// A slot of the register file, whole.
    fn reg(&mut self, r: Reg) -> Self::V;
    /// Writes a slot of the register file, whole.
    fn set_reg(&mut self, r: Reg, v: Self::V);

    /// `a + b` modulo 2^64.
    fn add(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b` modulo 2^64.
    fn sub(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// Bitwise and.
    fn and(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// Bitwise or.
    fn or(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// Bitwise exclusive or.
    fn xor(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// `a << n`, n below 64.
    fn shl(&mut self, a: Self::V, n: Self::V) -> Self::V;
    /// `a >> n` logically, n below 64.
    fn shr(&mut self, a: Self::V, n: Self::V) -> Self::V;
    /// `a >> n` arithmetically, n below 64.
    fn sar(&mut self, a: Self::V, n: Self::V) -> Self::V;
    /// Low 64 bits of the product.
    fn mul(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// High 64 bits of the unsigned product.
    fn mul_high(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// High 64 bits of the signed product.
    fn mul_high_signed(&mut self, a: Self::V, b: Self::V) -> Self::V;
    /// The low bits, zero-extended.
    fn zext(&mut self, from: Size, a: Self::V) -> Self::V;
    /// The low bits, sign-extended to 64.
    fn sext(&mut self, from: Size, a: Self::V) -> Self::V;
    /// A pure function that no host instruction need exist for.
    fn pure(&mut self, f: Pure, a: Self::V, b: Self::V) -> Self::V;

    /// `a == b`.
    fn eq(&mut self, a: Self::V, b: Self::V) -> Self::B;
    /// `a < b`, unsigned.
    fn lt(&mut self, a: Self::V, b: Self::V) -> Self::B;
    /// `!b`.
    fn not(&mut self, b: Self::B) -> Self::B;
    /// `b ? x : y`.
    fn select(&mut self, b: Self::B, x: Self::V, y: Self::V) -> Self::V;

    /// Effective address of the memory operand: the offset in its segment.
    fn ea(&mut self, i: &Insn) -> Self::V;
    /// Likewise, as if RSP had this value.
    fn ea_with_rsp(&mut self, i: &Insn, rsp: Self::V) -> Self::V;
    /// Reads memory.
    fn load(&mut self, seg: Seg, offset: Self::V, size: Size) -> Result<Self::V, Self::Fault>;
    /// Writes memory.
    fn store(&mut self, seg: Seg, offset: Self::V, size: Size, v: Self::V) -> Result<(), Self::Fault>;
    /// Reads memory that will be written.
    fn load_place(&mut self, seg: Seg, offset: Self::V, size: Size) -> Result<(Self::V, Self::Place), Self::Fault>;
    /// Writes it. Cannot fail.
    fn store_place(&mut self, place: Self::Place, size: Size, v: Self::V);
    /// The low bits that the stack's width has.
    fn stack_address(&mut self, v: Self::V) -> Self::V;
    /// RSP, whole, with the stack pointer of the stack's width replaced.
    fn rsp_with(&mut self, v: Self::V) -> Self::V;

    /// The arithmetic flags become those of an operation.
    fn flags(&mut self, op: FlagOp, size: Size, a: Self::V, r: Self::V);
    /// Likewise if a condition holds.
    fn flags_if(&mut self, b: Self::B, op: FlagOp, size: Size, a: Self::V, r: Self::V);
    /// Likewise, with the operation chosen by a carry of 0 or 1.
    fn flags_by_carry(&mut self, c: Self::V, zero: FlagOp, one: FlagOp, size: Size, a: Self::V, r: Self::V);
    /// Some arithmetic flags (`mask`) are taken from a value in RFLAGS's format.
    fn flags_some(&mut self, mask: u64, v: Self::V);
    /// Likewise if a condition holds.
    fn flags_some_if(&mut self, b: Self::B, mask: u64, v: Self::V);
    /// Writes DF.
    fn set_direction(&mut self, down: bool);
    /// DF.
    fn direction(&mut self) -> Self::B;
    /// CF as 0 or 1.
    fn carry(&mut self) -> Self::V;
    /// The arithmetic flags in RFLAGS's format.
    fn all_flags(&mut self) -> Self::V;
    /// Does a condition hold?
    fn cond(&mut self, cc: Cond) -> Self::B;

    /// Quotient and remainder of `high:low / divisor` of this width; `#DE` when the divisor is 0 or the quotient too wide.
    fn divide(
        &mut self,
        signed: bool,
        size: Size,
        high: Self::V,
        low: Self::V,
        divisor: Self::V,
    ) -> Result<(Self::V, Self::V), Self::Fault>;
    /// Rotation through carry: result and carry. The count is masked to 5 or 6 bits already.
    fn rotate_carry(&mut self, left: bool, size: Size, a: Self::V, count: Self::V, c: Self::V) -> (Self::V, Self::V);

    /// RIP of the instruction at this offset from the block's start, of the operand's width.
    fn rip(&mut self, i: &Insn, offset: i32) -> Self::V;
    /// May RIP become this? `#GP(0)` if not canonical, or beyond the code segment's limit.
    fn check_target(&mut self, v: Self::V) -> Result<(), Self::Fault>;
    /// Goes to the instruction's own target (`imm`). This and the next three decide where control goes when the body has returned: it may
    /// still write registers.
    fn jump(&mut self, i: &Insn) -> Result<(), Self::Fault>;
    /// Goes to the instruction's own target if the condition holds, else on.
    fn branch(&mut self, b: Self::B, i: &Insn) -> Result<(), Self::Fault>;
    /// Goes to a checked address.
    fn jump_to(&mut self, v: Self::V);
    /// The instruction is to be executed once more if the condition holds (a repeated string instruction).
    fn again_if(&mut self, b: Self::B);

    /// An operation that is not written over this trait.
    fn helper(&mut self, i: &Insn) -> Result<(), Self::Fault>;
    /// The instruction does nothing if the condition holds. True: the domain knows that it does, and the body returns at once. False: the domain
    /// knows that it does not, or leaves out by itself what follows. Called before anything has changed.
    fn finish_if(&mut self, b: Self::B) -> bool;
    /// Does several steps of a repeated string instruction at once, if it can; the body then does nothing more. The counter is not zero.
    fn string_bulk(&mut self, i: &Insn) -> Result<bool, Self::Fault>;
}

/// Everything an instruction does. `op`, `size` and `shape` are the instruction's own, passed apart so that a caller to whom they are
/// constants gets just the code of its form.
#[inline(always)]
pub fn exec<O: Ops>(o: &mut O, i: &Insn, op: Op, size: Size, shape: Shape) -> Result<(), O::Fault> {
    match op {
        Op::Helper => o.helper(i),
        Op::Add | Op::Or | Op::Adc | Op::Sbb | Op::And | Op::Sub | Op::Xor => arith::binary(o, i, op, size, shape),
        Op::Cmp | Op::Test => arith::compare(o, i, op, size, shape),
        Op::Inc | Op::Dec | Op::Neg | Op::Not => arith::unary(o, i, op, size, shape),
        Op::Cmpxchg => arith::cmpxchg(o, i, size, shape),
        Op::Xadd => arith::xadd(o, i, size, shape),
        Op::Adcx | Op::Adox => arith::adcx_adox(o, i, op, size, shape),
        Op::Mov => moves::mov(o, i, size, shape),
        Op::Movzx8 | Op::Movzx16 | Op::Movsx8 | Op::Movsx16 | Op::Movsx32 => moves::extend(o, i, op, size, shape),
        Op::Lea => moves::lea(o, i, size),
        Op::Xchg => moves::xchg(o, i, size, shape),
        Op::Bswap => moves::bswap(o, i, size),
        Op::Movbe => moves::movbe(o, i, size, shape),
        Op::Cbw | Op::Cwd => moves::convert(o, op, size),
        Op::Setcc => moves::setcc(o, i, shape),
        Op::Cmovcc => moves::cmov(o, i, size, shape),
        Op::Xlat => moves::xlat(o, i),
        Op::Nop => Ok(()),
        Op::Rol | Op::Ror | Op::Shl | Op::Shr | Op::Sar | Op::Rcl | Op::Rcr => shift::shift(o, i, op, size, shape),
        Op::Shld | Op::Shrd => shift::double(o, i, op, size, shape),
        Op::Rorx | Op::Sarx | Op::Shlx | Op::Shrx => shift::flagless(o, i, op, size, shape),
        Op::Imul2 | Op::Imul3 => muldiv::imul(o, i, op, size, shape),
        Op::Mul1 | Op::Imul1 => muldiv::widening(o, i, op, size, shape),
        Op::Mulx => muldiv::mulx(o, i, size, shape),
        Op::Div | Op::Idiv => muldiv::div(o, i, op, size, shape),
        Op::Push => stack::push(o, i, size, shape),
        Op::Pop => stack::pop(o, i, size, shape),
        Op::Leave => stack::leave(o, size),
        Op::CallRel => branch::call_rel(o, i, size),
        Op::CallInd => branch::call_ind(o, i, size, shape),
        Op::Ret => branch::ret(o, i, size, shape),
        Op::JmpRel => o.jump(i),
        Op::JmpInd => branch::jmp_ind(o, i, size, shape),
        Op::Jcc => {
            let taken = o.cond(i.cond());
            o.branch(taken, i)
        }
        Op::Loop | Op::Loope | Op::Loopne | Op::Jrcxz => branch::counted(o, i, op),
        Op::Bt | Op::Bts | Op::Btr | Op::Btc => bits::bit_test(o, i, op, size, shape),
        Op::Bsf | Op::Bsr | Op::Tzcnt | Op::Lzcnt | Op::Popcnt => bits::scan(o, i, op, size, shape),
        Op::Andn | Op::Bextr | Op::Blsi | Op::Blsmsk | Op::Blsr | Op::Bzhi => bits::bmi(o, i, op, size, shape),
        Op::Pdep | Op::Pext => bits::deposit_extract(o, i, op, size, shape),
        Op::Crc32 => bits::crc32(o, i, size, shape),
        Op::Lahf | Op::Sahf | Op::Clc | Op::Stc | Op::Cmc | Op::Cld | Op::Std => arith::flag_ops(o, op),
        Op::Movs | Op::Stos | Op::Lods | Op::Scas | Op::Cmps => strings::string(o, i, op, size),
    }
}
