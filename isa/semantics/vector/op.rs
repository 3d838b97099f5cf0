//! The value operations of MMX and SSE: their names, and their evaluation by table.
//!
//! An operation is a pure function of the first operand, the second operand and the immediate byte, and yields the first operand's
//! new value. Several mnemonics may share one operation (PXOR, XORPS, XORPD), and one mnemonic may be several operations (MOVSS
//! merges from a register and clears from memory).

use super::lanes::{Mm, Xmm, low, low64};
use super::{aes, arithmetic, logic, polynomial, sha, shuffle};

macro_rules! operations {
    (mmx_and_xmm { $($(#[$both_doc:meta])* $both:ident = $both_module:ident::$both_function:ident,)* }
     xmm { $($(#[$xmm_doc:meta])* $xmm:ident = $xmm_module:ident::$xmm_function:ident,)* }) => {
        /// A value operation, named by the manual's mnemonic where one fits. What it does is said at its function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum VecOp {
            $($both,)*
            $($xmm,)*
        }

        impl VecOp {
            /// Every operation, in the order of the discriminants.
            pub const ALL: &[VecOp] = &[$(VecOp::$both,)* $(VecOp::$xmm,)*];
        }

        static XMM: [fn(&Xmm, &Xmm, u8) -> Xmm; VecOp::ALL.len()] = [
            $($both_module::$both_function::<16>,)*
            $($xmm_module::$xmm_function,)*
        ];

        static MMX: [fn(&Mm, &Mm, u8) -> Mm; VecOp::ALL.len()] = [
            $($both_module::$both_function::<8>,)*
            $(|dst, src, imm| narrow(&$xmm_module::$xmm_function(&widen(dst), &widen(src), imm)),)*
        ];
    };
}

operations! {
    mmx_and_xmm {
        Mov = shuffle::mov,
        LowDword = shuffle::low_dword,
        LowQword = shuffle::low_qword,
        Pshufb = shuffle::pshufb,
        Pshuflw = shuffle::pshuflw,
        Palignr = shuffle::palignr,
        Punpcklbw = shuffle::punpcklbw,
        Punpcklwd = shuffle::punpcklwd,
        Punpckldq = shuffle::punpckldq,
        Punpckhbw = shuffle::punpckhbw,
        Punpckhwd = shuffle::punpckhwd,
        Punpckhdq = shuffle::punpckhdq,
        Packsswb = shuffle::packsswb,
        Packuswb = shuffle::packuswb,
        Packssdw = shuffle::packssdw,
        Pextrw = shuffle::pextrw,
        Pinsrw = shuffle::pinsrw,
        Paddb = arithmetic::paddb,
        Paddw = arithmetic::paddw,
        Paddd = arithmetic::paddd,
        Paddq = arithmetic::paddq,
        Psubb = arithmetic::psubb,
        Psubw = arithmetic::psubw,
        Psubd = arithmetic::psubd,
        Psubq = arithmetic::psubq,
        Paddusb = arithmetic::paddusb,
        Paddusw = arithmetic::paddusw,
        Psubusb = arithmetic::psubusb,
        Psubusw = arithmetic::psubusw,
        Paddsb = arithmetic::paddsb,
        Paddsw = arithmetic::paddsw,
        Psubsb = arithmetic::psubsb,
        Psubsw = arithmetic::psubsw,
        Pavgb = arithmetic::pavgb,
        Pavgw = arithmetic::pavgw,
        Pminub = arithmetic::pminub,
        Pminsw = arithmetic::pminsw,
        Pmaxub = arithmetic::pmaxub,
        Pmaxsw = arithmetic::pmaxsw,
        Pmullw = arithmetic::pmullw,
        Pmulhuw = arithmetic::pmulhuw,
        Pmulhw = arithmetic::pmulhw,
        Pmulhrsw = arithmetic::pmulhrsw,
        Pmuludq = arithmetic::pmuludq,
        Pmaddwd = arithmetic::pmaddwd,
        Pmaddubsw = arithmetic::pmaddubsw,
        Psignb = arithmetic::psignb,
        Psignw = arithmetic::psignw,
        Psignd = arithmetic::psignd,
        Pabsb = arithmetic::pabsb,
        Pabsw = arithmetic::pabsw,
        Pabsd = arithmetic::pabsd,
        Psadbw = arithmetic::psadbw,
        Phaddw = arithmetic::phaddw,
        Phaddsw = arithmetic::phaddsw,
        Phaddd = arithmetic::phaddd,
        Phsubw = arithmetic::phsubw,
        Phsubsw = arithmetic::phsubsw,
        Phsubd = arithmetic::phsubd,
        Pand = logic::pand,
        Pandn = logic::pandn,
        Por = logic::por,
        Pxor = logic::pxor,
        Pcmpeqb = logic::pcmpeqb,
        Pcmpeqw = logic::pcmpeqw,
        Pcmpeqd = logic::pcmpeqd,
        Pcmpgtb = logic::pcmpgtb,
        Pcmpgtw = logic::pcmpgtw,
        Pcmpgtd = logic::pcmpgtd,
        Psllw = logic::psllw,
        Pslld = logic::pslld,
        Psllq = logic::psllq,
        Psrlw = logic::psrlw,
        Psrld = logic::psrld,
        Psrlq = logic::psrlq,
        Psraw = logic::psraw,
        Psrad = logic::psrad,
        Pmovmskb = logic::pmovmskb,
    }
    xmm {
        HighQword = shuffle::high_qword,
        MergeDword = shuffle::merge_dword,
        MergeQword = shuffle::merge_qword,
        Movhlps = shuffle::movhlps,
        Movddup = shuffle::movddup,
        Movsldup = shuffle::movsldup,
        Movshdup = shuffle::movshdup,
        Pshufd = shuffle::pshufd,
        Pshufhw = shuffle::pshufhw,
        Shufps = shuffle::shufps,
        Shufpd = shuffle::shufpd,
        Punpcklqdq = shuffle::punpcklqdq,
        Punpckhqdq = shuffle::punpckhqdq,
        Packusdw = shuffle::packusdw,
        Pblendw = shuffle::pblendw,
        Blendps = shuffle::blendps,
        Blendpd = shuffle::blendpd,
        Pextrb = shuffle::pextrb,
        Pextrd = shuffle::pextrd,
        Pextrq = shuffle::pextrq,
        Pinsrb = shuffle::pinsrb,
        Pinsrd = shuffle::pinsrd,
        Pinsrq = shuffle::pinsrq,
        Insertps = shuffle::insertps,
        InsertpsMemory = shuffle::insertps_memory,
        Pmovsxbw = shuffle::pmovsxbw,
        Pmovsxbd = shuffle::pmovsxbd,
        Pmovsxbq = shuffle::pmovsxbq,
        Pmovsxwd = shuffle::pmovsxwd,
        Pmovsxwq = shuffle::pmovsxwq,
        Pmovsxdq = shuffle::pmovsxdq,
        Pmovzxbw = shuffle::pmovzxbw,
        Pmovzxbd = shuffle::pmovzxbd,
        Pmovzxbq = shuffle::pmovzxbq,
        Pmovzxwd = shuffle::pmovzxwd,
        Pmovzxwq = shuffle::pmovzxwq,
        Pmovzxdq = shuffle::pmovzxdq,
        Pminuw = arithmetic::pminuw,
        Pminud = arithmetic::pminud,
        Pminsb = arithmetic::pminsb,
        Pminsd = arithmetic::pminsd,
        Pmaxuw = arithmetic::pmaxuw,
        Pmaxud = arithmetic::pmaxud,
        Pmaxsb = arithmetic::pmaxsb,
        Pmaxsd = arithmetic::pmaxsd,
        Pmulld = arithmetic::pmulld,
        Pmuldq = arithmetic::pmuldq,
        Mpsadbw = arithmetic::mpsadbw,
        Phminposuw = arithmetic::phminposuw,
        Pcmpeqq = logic::pcmpeqq,
        Pcmpgtq = logic::pcmpgtq,
        Pslldq = logic::pslldq,
        Psrldq = logic::psrldq,
        Ptest = logic::ptest,
        Movmskps = logic::movmskps,
        Movmskpd = logic::movmskpd,
        Aesenc = aes::aesenc,
        Aesenclast = aes::aesenclast,
        Aesdec = aes::aesdec,
        Aesdeclast = aes::aesdeclast,
        Aesimc = aes::aesimc,
        Aeskeygenassist = aes::aeskeygenassist,
        Sha1msg1 = sha::sha1msg1,
        Sha1msg2 = sha::sha1msg2,
        Sha1nexte = sha::sha1nexte,
        Sha1rnds4 = sha::sha1rnds4,
        Sha256msg1 = sha::sha256msg1,
        Sha256msg2 = sha::sha256msg2,
        Pclmulqdq = polynomial::pclmulqdq,
    }
}

fn widen(a: &Mm) -> Xmm {
    low(low64(a))
}

fn narrow(a: &Xmm) -> Mm {
    low(low64(a))
}

impl VecOp {
    /// The operation on XMM values, as a function that a decoded instruction may hold. It reads and writes memory, where the
    /// host's vector instructions work best.
    #[inline(always)]
    pub fn function(self) -> fn(&Xmm, &Xmm, u8) -> Xmm {
        XMM[self as usize]
    }

    /// The operation on MMX values. An operation that no MMX instruction has works on the zero-extended operands.
    #[inline(always)]
    pub fn function_mmx(self) -> fn(&Mm, &Mm, u8) -> Mm {
        MMX[self as usize]
    }
}

/// The first operand's new value. Of a memory operand narrower than 16 bytes, `src` holds the bytes zero-extended.
#[inline(always)]
pub fn eval(op: VecOp, dst: u128, src: u128, imm: u8) -> u128 {
    u128::from_le_bytes(op.function()(&dst.to_le_bytes(), &src.to_le_bytes(), imm))
}

/// The same on MMX registers.
#[inline(always)]
pub fn eval_mmx(op: VecOp, dst: u64, src: u64, imm: u8) -> u64 {
    u64::from_le_bytes(op.function_mmx()(&dst.to_le_bytes(), &src.to_le_bytes(), imm))
}

/// The operations that have XMM0 as a third, implicit operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Xmm0Op {
    Pblendvb,
    Blendvps,
    Blendvpd,
    Sha256rnds2,
}

impl Xmm0Op {
    /// The operation as a function of the first operand, the second and XMM0.
    pub fn function(self) -> fn(&Xmm, &Xmm, &Xmm) -> Xmm {
        match self {
            Xmm0Op::Pblendvb => shuffle::pblendvb,
            Xmm0Op::Blendvps => shuffle::blendvps,
            Xmm0Op::Blendvpd => shuffle::blendvpd,
            Xmm0Op::Sha256rnds2 => sha::sha256rnds2,
        }
    }
}

/// The first operand's new value, for the operations that read XMM0.
#[inline]
pub fn eval_xmm0(op: Xmm0Op, dst: u128, src: u128, xmm0: u128) -> u128 {
    u128::from_le_bytes(op.function()(&dst.to_le_bytes(), &src.to_le_bytes(), &xmm0.to_le_bytes()))
}
