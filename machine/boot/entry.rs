//! The processor's state at the first instruction of the loaded image, as plain data.
//!
//! Source: Intel SDM volume 3, "Processor State After Reset", "Segment Descriptors" and, for the form of the access rights,
//! "Guest Register State" (the VMCS form is used because it also has the bit for an unusable segment).
//! What each protocol demands is in the protocol's own file; the board copies this state into a virtual processor.

use serde::{Deserialize, Serialize};
use undercroft_spec::x86::control::{cr0, cr4, efer, rflags};

/// The operating mode in which the image is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryMode {
    /// 32-bit protected mode without paging.
    Protected32,
    /// 64-bit mode with identity-mapped paging.
    Long64,
}

/// Indices into [`EntryState::gpr`]: the register numbers of the instruction encoding.
pub mod gpr {
    /// RAX.
    pub const RAX: usize = 0;
    /// RCX.
    pub const RCX: usize = 1;
    /// RDX.
    pub const RDX: usize = 2;
    /// RBX.
    pub const RBX: usize = 3;
    /// RSP.
    pub const RSP: usize = 4;
    /// RBP.
    pub const RBP: usize = 5;
    /// RSI.
    pub const RSI: usize = 6;
    /// RDI.
    pub const RDI: usize = 7;
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentState {
    /// The visible selector.
    pub selector: u16,
    /// Base address.
    pub base: u64,
    /// Limit in bytes, after the granularity bit was applied.
    pub limit: u32,
    /// Access rights in the form of the VMCS: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
    pub access_rights: u32,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear base address.
    pub base: u64,
    /// Limit: offset of the last valid byte.
    pub limit: u16,
}

/// Everything that the boot processor needs to start the image. What is not named here has its value after reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryState {
    /// The operating mode, implied by the registers below and named for the reader.
    pub mode: EntryMode,
    /// Instruction pointer (the code segment's base is 0).
    pub rip: u64,
    /// RFLAGS; interrupts are disabled.
    pub rflags: u64,
    /// General registers in the order of the instruction encoding (see [`gpr`]).
    pub gpr: [u64; 16],
    /// Code segment.
    pub cs: SegmentState,
    /// Data segment.
    pub ds: SegmentState,
    /// Extra segment.
    pub es: SegmentState,
    /// FS.
    pub fs: SegmentState,
    /// GS.
    pub gs: SegmentState,
    /// Stack segment.
    pub ss: SegmentState,
    /// Task register.
    pub tr: SegmentState,
    /// Local descriptor table register.
    pub ldtr: SegmentState,
    /// GDTR; its table lies in memory and holds the descriptors of `cs` and `ds`.
    pub gdtr: TableRegister,
    /// IDTR; empty.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
}

/// Selector of the flat code segment: Linux's `__BOOT_CS`.
pub const BOOT_CS: u16 = 0x10;
/// Selector of the flat data segment: Linux's `__BOOT_DS`.
pub const BOOT_DS: u16 = 0x18;
/// Selector of the task state segment, which the PVH protocol asks for.
pub const BOOT_TSS: u16 = 0x20;

/// Execute/read, accessed, code, present, 4-KByte granularity; D=1.
const CODE32_RIGHTS: u32 = 0xc09b;
/// The same with L=1 and D=0.
const CODE64_RIGHTS: u32 = 0xa09b;
/// Read/write, accessed, present, 4-KByte granularity, B=1.
const DATA_RIGHTS: u32 = 0xc093;
/// Busy 32-bit (or 64-bit) TSS, present.
const TSS_RIGHTS: u32 = 0x008b;
/// LDT, present.
const LDT_RIGHTS: u32 = 0x0082;
/// Limit of the smallest 32-bit TSS.
const TSS_LIMIT: u32 = 0x67;

/// The GDT that both modes use: null, null, code (0x10), data (0x18), TSS (0x20; 16 bytes, so that it is valid in 64-bit mode too).
/// The accessed and busy bits are set already, so that loading the selectors again writes nothing.
pub fn gdt(mode: EntryMode) -> [u64; 6] {
    let code = match mode {
        EntryMode::Protected32 => 0x00cf_9b00_0000_ffff,
        EntryMode::Long64 => 0x00af_9b00_0000_ffff,
    };
    // The TSS descriptor is available, not busy, since LTR demands that.
    [0, 0, code, 0x00cf_9300_0000_ffff, 0x0000_8900_0000_0000 | TSS_LIMIT as u64, 0]
}

fn flat(selector: u16, access_rights: u32) -> SegmentState {
    SegmentState { selector, base: 0, limit: 0xffff_ffff, access_rights }
}

impl EntryState {
    /// 32-bit protected mode, flat segments, no paging, interrupts off; all general registers 0.
    pub fn protected32(rip: u64, gdt_base: u64) -> Self {
        let data = flat(BOOT_DS, DATA_RIGHTS);
        Self {
            mode: EntryMode::Protected32,
            rip,
            rflags: rflags::FIXED,
            gpr: [0; 16],
            cs: flat(BOOT_CS, CODE32_RIGHTS),
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            tr: SegmentState { selector: BOOT_TSS, base: 0, limit: TSS_LIMIT, access_rights: TSS_RIGHTS },
            ldtr: SegmentState { selector: 0, base: 0, limit: 0xffff, access_rights: LDT_RIGHTS },
            gdtr: TableRegister { base: gdt_base, limit: (size_of_val(&gdt(EntryMode::Protected32)) - 1) as u16 },
            idtr: TableRegister { base: 0, limit: 0 },
            cr0: cr0::PE | cr0::ET,
            cr3: 0,
            cr4: 0,
            efer: 0,
        }
    }

    /// 64-bit mode with the paging structures at `page_map`, flat segments, interrupts off; all general registers 0.
    pub fn long64(rip: u64, gdt_base: u64, page_map: u64) -> Self {
        Self {
            mode: EntryMode::Long64,
            cs: flat(BOOT_CS, CODE64_RIGHTS),
            cr0: cr0::PE | cr0::MP | cr0::ET | cr0::NE | cr0::PG,
            cr3: page_map,
            cr4: cr4::PAE,
            efer: efer::LME | efer::LMA,
            ..Self::protected32(rip, gdt_base)
        }
    }
}
