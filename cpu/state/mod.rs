//! Architectural state of one logical processor: plain data, what a snapshot holds. SDM volume 3, "System Architecture Overview".

mod flags;
mod segment;

pub use flags::LazyFlags;
pub use segment::{Segment, TableRegister, access_rights};

use serde::{Deserialize, Serialize};
use undercroft_decode::{CodeSize, Reg, Seg};
use undercroft_spec::x86::control::{cr0, efer, rflags};

/// What the processor does between instructions. SDM volume 3, "Guest Non-Register State" gives the names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Activity {
    /// Executes instructions.
    Active,
    /// Waits in HLT.
    Halted,
    /// Waits in MWAIT for a store to the monitored range, or an interrupt (even with IF = 0 when the flag is set).
    Mwait {
        /// ECX bit 0: interrupts break the wait even if masked.
        interrupt_breaks: bool,
    },
    /// After a triple fault.
    Shutdown,
    /// After INIT on an application processor.
    WaitForSipi,
}

/// x87 and SSE state, and what XSAVE manages besides.
///
/// The order of the fields matters to speed: a compiler may read a 16-bit field that lies on a multiple of four as 32 bits, which waits for
/// recent stores to the upper half. So what x87 instructions store lies on odd places, and beside what they read lies what they do not store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(C)]
pub struct Fpu {
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// Physical data registers R0 to R7 (not relative to TOP): significand.
    pub significand: [u64; 8],
    /// Last instruction pointer.
    pub instruction: u64,
    /// Last data pointer.
    pub data: u64,
    /// Physical data registers R0 to R7: sign and exponent.
    pub sign_exponent: [u16; 8],
    /// MXCSR.
    pub mxcsr: u32,
    /// Selector of the last instruction pointer.
    pub instruction_selector: u16,
    /// Status word, TOP included.
    pub status: u16,
    /// Selector of the last data pointer.
    pub data_selector: u16,
    /// Tag word in its 16-bit form (two bits a register): only "empty" (3) counts, the rest is computed where it is stored.
    pub tag: u16,
    /// Control word.
    pub control: u16,
    /// Last opcode (11 bits).
    pub opcode: u16,
}

impl Default for Fpu {
    fn default() -> Self {
        Fpu {
            significand: [0; 8],
            sign_exponent: [0; 8],
            control: 0x40,
            status: 0,
            tag: 0x5555,
            opcode: 0,
            instruction: 0,
            instruction_selector: 0,
            data: 0,
            data_selector: 0,
            xmm: [0; 16],
            mxcsr: 0x1f80,
        }
    }
}

/// Model-specific registers that are plain values. Others are computed from the state they stand for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Msrs {
    /// IA32_EFER.
    pub efer: u64,
    /// IA32_STAR.
    pub star: u64,
    /// IA32_LSTAR.
    pub lstar: u64,
    /// IA32_CSTAR.
    pub cstar: u64,
    /// IA32_FMASK.
    pub fmask: u64,
    /// IA32_KERNEL_GS_BASE.
    pub kernel_gs_base: u64,
    /// IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// Added to the machine's clock to give the TSC (what WRMSR to IA32_TIME_STAMP_COUNTER and IA32_TSC_ADJUST change).
    pub tsc_offset: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// IA32_MISC_ENABLE.
    pub misc_enable: u64,
    /// IA32_DEBUGCTL.
    pub debugctl: u64,
    /// IA32_SPEC_CTRL.
    pub spec_ctrl: u64,
    /// IA32_XSS.
    pub xss: u64,
    /// IA32_FEATURE_CONTROL.
    pub feature_control: u64,
    /// MTRRs: default type, fixed (11), variable base and mask (2 x 10).
    pub mtrr_def_type: u64,
    /// Fixed-range MTRRs in the order of their addresses.
    pub mtrr_fixed: [u64; 11],
    /// Variable-range MTRRs: base, mask.
    pub mtrr_variable: [[u64; 2]; 10],
    /// IA32_MCG_STATUS.
    pub mcg_status: u64,
    /// IA32_MC0..MC9: CTL, STATUS, ADDR, MISC.
    pub mc: [[u64; 4]; 10],
    /// IA32_BIOS_SIGN_ID as last written.
    pub bios_sign_id: u64,
}

/// Everything that software on one logical processor can observe of it, caches excluded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct State {
    /// The register file: see [`Reg`]. Slots 18 to 23 mirror the bases in `segments`; slot 16 is zero; the rest are scratch.
    pub regs: [u64; 32],
    /// Instruction pointer, exact between blocks.
    pub rip: u64,
    /// Arithmetic flags, perhaps not yet computed, and all other flags.
    pub flags: LazyFlags,
    /// ES, CS, SS, DS, FS, GS.
    pub segments: [Segment; 6],
    /// LDTR.
    pub ldtr: Segment,
    /// TR.
    pub tr: Segment,
    /// GDTR.
    pub gdtr: TableRegister,
    /// IDTR.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// XCR0.
    pub xcr0: u64,
    /// PKRU.
    pub pkru: u32,
    /// The PAE page-directory-pointer registers, loaded by MOV to CR3.
    pub pdpte: [u64; 4],
    /// DR0 to DR3.
    pub dr: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// Current privilege level.
    pub cpl: u8,
    /// Model-specific registers.
    pub msr: Msrs,
    /// x87, MMX, SSE.
    pub fpu: Fpu,
    /// Activity state.
    pub activity: Activity,
    /// Interrupts are held off until after the next instruction, by STI.
    pub sti_shadow: bool,
    /// RIP is between two iterations of a repeated string instruction: what arrives here pushes RFLAGS.RF = 1, and instruction breakpoints
    /// were looked at before the first one. SDM volume 3, "Instruction-Breakpoint Exception Condition".
    pub between_iterations: bool,
    /// Interrupts and debug traps are held off until after the next instruction, by MOV SS or POP SS.
    pub mov_ss_shadow: bool,
    /// An NMI is being handled: no further one until IRET.
    pub nmi_blocked: bool,
    /// An NMI waits.
    pub nmi_pending: bool,
    /// An INIT waits.
    pub init_pending: bool,
    /// A start-up IPI waits, with its vector.
    pub sipi_pending: Option<u8>,
    /// Debug exceptions that are to be raised after the current instruction, in the format of DR6.
    pub pending_debug: u64,
    /// Armed MONITOR: physical address of the range (64 bytes).
    pub monitor: Option<u64>,
    /// Generator of RDRAND and RDSEED: see `seed_random`.
    pub random: [u64; 4],
    /// The last exceptions, newest last: vector, error code, RIP. For reports to people; no instruction reads it.
    pub exception_log: Vec<(u8, u32, u64)>,
}

/// IA32_MISC_ENABLE after reset: fast strings, MONITOR; neither branch trace storage nor PEBS.
const MISC_ENABLE_RESET: u64 = 1 << 0 | 1 << 18 | 1 << 11 | 1 << 12;

impl State {
    /// After power-on or INIT. SDM volume 3, "Processor State After Reset".
    pub fn reset(bootstrap: bool) -> State {
        let mut segments = [Segment::real_mode(0); 6];
        segments[Seg::Cs as usize] = Segment { selector: 0xf000, base: 0xffff_0000, limit: 0xffff, rights: 0x9b };
        let mut regs = [0; 32];
        regs[Reg::Rdx as usize] = u64::from(crate::system::cpuid::SIGNATURE);
        let mut state = State {
            regs,
            rip: 0xfff0,
            flags: LazyFlags::new(rflags::FIXED),
            segments,
            ldtr: Segment { selector: 0, base: 0, limit: 0xffff, rights: 0x82 },
            tr: Segment { selector: 0, base: 0, limit: 0xffff, rights: 0x8b },
            gdtr: TableRegister { base: 0, limit: 0xffff },
            idtr: TableRegister { base: 0, limit: 0xffff },
            cr0: cr0::CD | cr0::NW | cr0::ET,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            xcr0: 1,
            pkru: 0,
            pdpte: [0; 4],
            dr: [0; 4],
            dr6: 0xffff_0ff0,
            dr7: 0x400,
            cpl: 0,
            msr: Msrs { pat: 0x0007_0406_0007_0406, misc_enable: MISC_ENABLE_RESET, ..Msrs::default() },
            fpu: Fpu::default(),
            activity: if bootstrap { Activity::Active } else { Activity::WaitForSipi },
            sti_shadow: false,
            between_iterations: false,
            mov_ss_shadow: false,
            nmi_blocked: false,
            nmi_pending: false,
            init_pending: false,
            sipi_pending: None,
            pending_debug: 0,
            monitor: None,
            random: [0; 4],
            exception_log: Vec::new(),
        };
        state.sync_bases();
        state.seed_random(0);
        state
    }

    /// A general register, whole.
    #[inline(always)]
    pub fn gpr(&self, number: u8) -> u64 {
        self.regs[Reg::gpr(number) as usize]
    }
    /// Writes a general register, whole.
    #[inline(always)]
    pub fn set_gpr(&mut self, number: u8, value: u64) {
        self.regs[Reg::gpr(number) as usize] = value;
    }
    /// A segment register.
    #[inline(always)]
    pub fn segment(&self, seg: Seg) -> &Segment {
        &self.segments[seg as usize]
    }
    /// Loads a segment register with everything that it caches; keeps the register file's copy of the base in step.
    pub fn set_segment(&mut self, seg: Seg, segment: Segment) {
        self.segments[seg as usize] = segment;
        self.regs[Reg::segment_base(seg) as usize] = segment.base;
    }
    /// Writes only the base of a segment register (WRFSBASE, MSRs, SWAPGS).
    pub fn set_segment_base(&mut self, seg: Seg, base: u64) {
        self.segments[seg as usize].base = base;
        self.regs[Reg::segment_base(seg) as usize] = base;
    }
    /// Makes the register file's copies of the segment bases right after `segments` was written directly.
    pub fn sync_bases(&mut self) {
        for seg in Seg::ALL {
            self.regs[Reg::segment_base(seg) as usize] = self.segments[seg as usize].base;
        }
    }
    /// All of RFLAGS, arithmetic flags computed.
    pub fn rflags(&self) -> u64 {
        self.flags.get()
    }
    /// Writes all of RFLAGS.
    pub fn set_rflags(&mut self, value: u64) {
        self.flags.set(value);
    }
    /// Protected mode (CR0.PE), virtual-8086 mode included.
    pub fn is_protected(&self) -> bool {
        self.cr0 & cr0::PE != 0
    }
    /// Virtual-8086 mode.
    pub fn is_v8086(&self) -> bool {
        self.flags.other() & rflags::VM != 0
    }
    /// Real-address mode.
    pub fn is_real(&self) -> bool {
        !self.is_protected()
    }
    /// IA-32e mode: 64-bit or compatibility mode.
    pub fn is_ia32e(&self) -> bool {
        self.msr.efer & efer::LMA != 0
    }
    /// 64-bit mode.
    pub fn is_long(&self) -> bool {
        self.is_ia32e() && self.segments[Seg::Cs as usize].is_long()
    }
    /// How instructions are to be read.
    pub fn code_size(&self) -> CodeSize {
        let cs = &self.segments[Seg::Cs as usize];
        if self.is_long() {
            CodeSize::Bits64
        } else if cs.is_big() {
            CodeSize::Bits32
        } else {
            CodeSize::Bits16
        }
    }
    /// IOPL field of RFLAGS.
    pub fn iopl(&self) -> u8 {
        (self.flags.other() >> 12 & 3) as u8
    }
    /// Short name of the mode, for people.
    pub fn mode_name(&self) -> &'static str {
        match () {
            () if self.is_real() => "real mode",
            () if self.is_v8086() => "virtual-8086 mode",
            () if self.is_long() => "64-bit mode",
            () if self.is_ia32e() => "compatibility mode",
            () if self.segments[Seg::Cs as usize].is_big() => "32-bit protected mode",
            () => "16-bit protected mode",
        }
    }
}
