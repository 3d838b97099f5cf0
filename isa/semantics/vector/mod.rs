//! The pure value semantics of MMX, SSE to SSE4.2, AES-NI, PCLMULQDQ and SHA (legacy encodings).
//!
//! [`describe`] turns an instruction code into what a decoder or interpreter has to know: the [`Action`], the operands, the memory
//! access. The action's value comes from [`eval`], [`eval_mmx`], [`eval_xmm0`], [`eval_fp`], [`pcmpistr`] or [`pcmpestr`]. Nothing
//! here touches processor state.
//!
//! Intel SDM volume 1, "Programming with Intel MMX Technology" to "Programming with Intel SSE3, SSSE3, Intel SSE4, and Intel
//! AES-NI"; volume 2, "Instruction Set Reference".
//!
//! Left to the caller: the checks of CR0, CR4 and CPUID (#UD, #NM), pending x87 errors (#MF), the memory access with its alignment
//! (#GP, #AC), x87 tags on entry to MMX state, writing results, raising #XM.

mod aes;
mod arithmetic;
mod describe;
mod fp;
mod fp_approximate;
mod fp_convert;
mod lanes;
mod logic;
mod op;
mod polynomial;
mod sha;
mod shuffle;
mod string_compare;

pub use describe::{Access, Action, Class, MmxState, Operand, StringOutput, VecInsn, describe};
pub use fp::{FpOp, eval_fp};
pub use lanes::{Mm, Xmm};
pub use logic::masked_bytes;
pub use op::{VecOp, Xmm0Op, eval, eval_mmx, eval_xmm0};
pub use polynomial::crc32;
pub use string_compare::{StringLength, StringResult, pcmpestr, pcmpistr};
