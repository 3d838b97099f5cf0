//! Segment registers with what they cache. SDM volume 3, "Segment Registers" and "Segment Descriptors".

use serde::{Deserialize, Serialize};

/// Bits of [`Segment::rights`], the access-rights format of the VMCS: SDM volume 3, "Guest Register State".
pub mod access_rights {
    /// Type field, four bits. For code and data: accessed.
    pub const ACCESSED: u32 = 1;
    /// Data: writable. Code: readable.
    pub const WRITABLE_READABLE: u32 = 1 << 1;
    /// Data: expand-down. Code: conforming.
    pub const EXPAND_DOWN_CONFORMING: u32 = 1 << 2;
    /// Code rather than data.
    pub const CODE: u32 = 1 << 3;
    /// S: code or data rather than system.
    pub const S: u32 = 1 << 4;
    /// DPL, two bits.
    pub const DPL_SHIFT: u32 = 5;
    /// P: present.
    pub const P: u32 = 1 << 7;
    /// AVL: for software.
    pub const AVL: u32 = 1 << 12;
    /// L: 64-bit code.
    pub const L: u32 = 1 << 13;
    /// D/B: 32-bit operands, big stack.
    pub const DB: u32 = 1 << 14;
    /// G: limit in pages.
    pub const G: u32 = 1 << 15;
    /// The register holds a null selector or was never loaded: every use but in 64-bit mode faults.
    pub const UNUSABLE: u32 = 1 << 16;
}
use access_rights as ar;

/// A segment register, LDTR or TR: selector and descriptor cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Base, a linear address.
    pub base: u64,
    /// Limit in bytes, granularity applied.
    pub limit: u32,
    /// Access rights: see [`access_rights`].
    pub rights: u32,
}

impl Segment {
    /// As real mode and virtual-8086 mode load it: base 16 times the selector, 64 KBytes, read/write data.
    pub const fn real_mode(selector: u16) -> Segment {
        Segment { selector, base: (selector as u64) << 4, limit: 0xffff, rights: 0x93 }
    }
    /// From an 8-byte descriptor in memory (system descriptors of IA-32e mode have their upper base apart).
    pub const fn from_descriptor(selector: u16, d: u64) -> Segment {
        let base = d >> 16 & 0xff_ffff | d >> 56 << 24;
        let raw = (d & 0xffff | d >> 32 & 0xf_0000) as u32;
        let rights = (d >> 40) as u32 & 0xf0ff;
        let limit = if rights & ar::G != 0 { raw << 12 | 0xfff } else { raw };
        Segment { selector, base, limit, rights }
    }
    /// A null selector's register.
    pub const fn null(selector: u16) -> Segment {
        Segment { selector, base: 0, limit: 0, rights: ar::UNUSABLE }
    }
    /// Cannot be used outside 64-bit mode.
    pub const fn is_unusable(&self) -> bool {
        self.rights & ar::UNUSABLE != 0
    }
    /// Descriptor type, four bits.
    pub const fn kind(&self) -> u8 {
        (self.rights & 15) as u8
    }
    /// Descriptor privilege level.
    pub const fn dpl(&self) -> u8 {
        (self.rights >> ar::DPL_SHIFT & 3) as u8
    }
    /// Present.
    pub const fn is_present(&self) -> bool {
        self.rights & ar::P != 0
    }
    /// S = 1: code or data.
    pub const fn is_code_or_data(&self) -> bool {
        self.rights & ar::S != 0
    }
    /// Code segment.
    pub const fn is_code(&self) -> bool {
        self.rights & (ar::S | ar::CODE) == ar::S | ar::CODE
    }
    /// Data segment.
    pub const fn is_data(&self) -> bool {
        self.rights & (ar::S | ar::CODE) == ar::S
    }
    /// Conforming code segment.
    pub const fn is_conforming(&self) -> bool {
        self.is_code() && self.rights & ar::EXPAND_DOWN_CONFORMING != 0
    }
    /// Expand-down data segment.
    pub const fn is_expand_down(&self) -> bool {
        self.is_data() && self.rights & ar::EXPAND_DOWN_CONFORMING != 0
    }
    /// Data that may be written.
    pub const fn is_writable(&self) -> bool {
        self.is_data() && self.rights & ar::WRITABLE_READABLE != 0
    }
    /// Data, or code that may be read.
    pub const fn is_readable(&self) -> bool {
        self.is_data() || self.rights & ar::WRITABLE_READABLE != 0
    }
    /// D/B flag.
    pub const fn is_big(&self) -> bool {
        self.rights & ar::DB != 0
    }
    /// L flag: 64-bit code.
    pub const fn is_long(&self) -> bool {
        self.rights & ar::L != 0
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TableRegister {
    /// Base, a linear address.
    pub base: u64,
    /// Limit: offset of the last byte.
    pub limit: u16,
}
