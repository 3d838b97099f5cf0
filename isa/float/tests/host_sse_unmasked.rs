//! The flags of packed SSE arithmetic with exceptions unmasked, against the host: its #XM arrives here as SIGFPE, whose handler
//! takes MXCSR from the signal frame.
//!
//! The signal handler and the inline assembly are this file's unsafe code.
#![allow(unsafe_code)]
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "host/operands.rs"]
mod operands;

use std::arch::asm;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use operands::Random;
use undercroft_float::sse;
use undercroft_float::{Env, F32, F64, Flags};

const CASES: u64 = 40_000;

/// MXCSR as the interrupted instruction left it; no signal leaves it at this.
static SEEN: AtomicU32 = AtomicU32::new(NO_SIGNAL);
const NO_SIGNAL: u32 = u32::MAX;
static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// Notes MXCSR, masks everything, and goes on where R11 points.
extern "C" fn on_sigfpe(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes a valid context of this thread, whose floating-point state is present on this architecture.
    unsafe {
        let state = (*context).uc_mcontext.fpregs;
        SIGNALS.fetch_add(1, Ordering::Relaxed);
        SEEN.store((*state).mxcsr, Ordering::Relaxed);
        (*state).mxcsr = 0x1f80;
        let registers = &mut (*context).uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = registers[libc::REG_R11 as usize];
    }
}

fn catch_sigfpe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: installs a handler that only touches its context and an atomic.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigfpe;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGFPE, &action, std::ptr::null_mut()), 0);
        }
    });
}

/// Runs a packed instruction; gives the flags it set.
macro_rules! host {
    ($name:ident, $instruction:literal) => {
        fn $name(mxcsr: u32, a: u128, b: u128) -> Flags {
            let default = 0x1f80u32;
            let mut out = 0u32;
            SEEN.store(NO_SIGNAL, Ordering::Relaxed);
            // SAFETY: reads and writes only the named registers and locals; a signal resumes at label 2.
            unsafe {
                asm!(
                    "movdqu {x}, [{a}]",
                    "movdqu {y}, [{b}]",
                    "lea r11, [rip + 2f]",
                    "ldmxcsr [{m}]",
                    concat!($instruction, " {x}, {y}"),
                    "stmxcsr [{o}]",
                    "2:",
                    "ldmxcsr [{d}]",
                    x = out(xmm_reg) _, y = out(xmm_reg) _, out("r11") _,
                    a = in(reg) &a, b = in(reg) &b,
                    m = in(reg) &mxcsr, o = in(reg) &mut out, d = in(reg) &default,
                );
            }
            let seen = SEEN.load(Ordering::Relaxed);
            Flags::from_bits_truncate((if seen == NO_SIGNAL { out } else { seen }) as u8 & 0x3f)
        }
    };
}

fn f64_pair(random: &mut Random) -> [u64; 2] {
    [random.f64(), random.f64()]
}

fn f32_quad(random: &mut Random) -> [u32; 4] {
    [random.f32(), random.f32(), random.f32(), random.f32()]
}

fn random_mxcsr(random: &mut Random) -> u32 {
    const FTZ: u32 = 0x8000;
    const DAZ: u32 = 0x40;
    let bits = random.next() as u32;
    (bits & 0x1f80) | (bits & 0x6000) | if random.below(3) == 0 { bits & (FTZ | DAZ) } else { 0 }
}

macro_rules! check {
    ($random:ident, $lanes:ident, $instruction:literal, $operation:expr) => {{
        host!(host, $instruction);
        for _ in 0..CASES {
            let mxcsr = random_mxcsr(&mut $random);
            let (a, b) = ($lanes(&mut $random), $lanes(&mut $random));
            let env = Env::from_mxcsr(mxcsr);
            let mut flags = [Flags::empty(); 4];
            for (flag, (&a, &b)) in flags.iter_mut().zip(a.iter().zip(&b)) {
                *flag = $operation(env, a, b).1;
            }
            let pack = |lanes| -> u128 {
                // SAFETY: both are sixteen plain bytes.
                unsafe { std::mem::transmute(lanes) }
            };
            let expected = host(mxcsr, pack(a), pack(b));
            let got = sse::packed_flags(env, &flags);
            assert_eq!(got, expected, "{} {a:x?} {b:x?} mxcsr {mxcsr:x}", $instruction);
        }
    }};
}

#[test]
fn packed_arithmetic_with_random_masks_sets_the_flags_of_the_host() {
    catch_sigfpe();
    let mut random = Random::new(31);
    check!(random, f64_pair, "addpd", sse::add::<F64>);
    check!(random, f64_pair, "subpd", sse::sub::<F64>);
    check!(random, f64_pair, "mulpd", sse::mul::<F64>);
    check!(random, f64_pair, "divpd", sse::div::<F64>);
    check!(random, f64_pair, "minpd", sse::min::<F64>);
    check!(random, f64_pair, "sqrtpd", |env, _, b| sse::sqrt::<F64>(env, b));
    check!(random, f64_pair, "cvtpd2ps", |env, _, b| sse::convert::<F64, F32>(env, b));
    check!(random, f64_pair, "cvtpd2dq", |env, _, b| sse::to_i32::<F64>(env, b));
    check!(random, f32_quad, "addps", sse::add::<F32>);
    check!(random, f32_quad, "mulps", sse::mul::<F32>);
    check!(random, f32_quad, "divps", sse::div::<F32>);
    check!(random, f32_quad, "sqrtps", |env, _, b| sse::sqrt::<F32>(env, b));
    check!(random, f32_quad, "cvttps2dq", |env, _, b| sse::to_i32_truncate::<F32>(env, b));
    check!(random, f32_quad, "maxps", sse::max::<F32>);
    assert!(SIGNALS.load(Ordering::Relaxed) > CASES as u32, "the host raised next to no #XM: nothing was tested");
}
