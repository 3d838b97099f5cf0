//! What the native oracle found: see `tests/native_oracle`.

use crate::{Code, CodeSize, Op, Seg, Size, Undecodable, decode};

fn long(bytes: &[u8]) -> crate::Insn {
    decode(CodeSize::Bits64, bytes, 0).unwrap_or_else(|e| panic!("{bytes:x?}: {e:?}")).insn
}

#[test]
fn segment_override_of_flat_segments_in_64_bit_mode_is_ignored() {
    // mov eax, ss:[rcx]; mov eax, ds:[rbp+0]
    assert_ne!(long(&[0x36, 0x8b, 0x01]).seg, Seg::Ss);
    assert_eq!(long(&[0x3e, 0x8b, 0x45, 0x00]).seg, Seg::Ss);
    let compatibility = decode(CodeSize::Bits32, &[0x36, 0x8b, 0x01], 0).expect("legal").insn;
    assert_eq!(compatibility.seg, Seg::Ss);
}

#[test]
fn absolute_address_with_address_size_prefix_is_not_sign_extended() {
    // mov [89abcdefH], al; mov eax, [89abcdefH] by SIB
    assert_eq!(long(&[0x67, 0xa2, 0xef, 0xcd, 0xab, 0x89]).addr_size(), Size::B4);
    assert_eq!(long(&[0x67, 0x8b, 0x04, 0x25, 0xef, 0xcd, 0xab, 0x89]).addr_size(), Size::B4);
    assert_eq!(long(&[0x8b, 0x04, 0x25, 0xef, 0xcd, 0xab, 0x89]).addr_size(), Size::B8);
}

#[test]
fn pause_with_rex_b_is_xchg() {
    assert_eq!(long(&[0xf3, 0x90]).code(), Code::Pause);
    assert_eq!(long(&[0xf3, 0x41, 0x90]).code(), Code::Xchg_r32_EAX);
    assert_eq!(long(&[0xf3, 0x49, 0x90]).code(), Code::Xchg_r64_RAX);
}

#[test]
fn lock_where_it_is_not_allowed_is_undefined_however_many_prefixes() {
    // lock gs test [edx+r12*2-62H], word
    let bytes = [0xf0, 0x65, 0x66, 0x67, 0x42, 0xf7, 0x8c, 0x62, 0x9e, 0xff, 0xff, 0xff, 0, 0, 0xff, 0x24];
    assert_eq!(decode(CodeSize::Bits64, &bytes, 0).err(), Some(Undecodable::Invalid));
}

#[test]
fn instruction_of_sixteen_bytes_is_too_long() {
    let mut bytes = vec![0x2e; 5];
    // add dword ptr [rax+disp32], imm32: ten bytes, then eleven.
    bytes.extend([0x81, 0x80, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(long(&bytes).len, 15);
    bytes.insert(0, 0x2e);
    assert_eq!(decode(CodeSize::Bits64, &bytes, 0).err(), Some(Undecodable::TooLong));
}

#[test]
fn prefetch_reserved_forms_do_nothing() {
    for modrm in [0x00, 0x08, 0x20, 0x38] {
        assert_eq!(long(&[0x0f, 0x0d, modrm]).op, Op::Nop);
    }
}
