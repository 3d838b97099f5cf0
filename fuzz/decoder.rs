//! Instruction bytes: `undercroft_decode::decode`.

use crate::Seeds;
use undercroft_decode::{CodeSize, Undecodable, decode};

/// The first byte chooses the code size; the others are the instruction and what follows it.
pub fn fuzz_one(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let size = [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64][usize::from(choice % 3)];
    match decode(size, bytes, 0) {
        Ok(found) => {
            let len = usize::from(found.insn.len);
            assert!((1..=15).contains(&len) && len <= bytes.len(), "length {len} of {} bytes", bytes.len());
            assert_eq!(found.instruction.len(), len);
            // What follows an instruction does not matter, and all of it does.
            let alone = decode(size, &bytes[..len], 0).map(|found| found.instruction);
            assert_eq!(alone, Ok(found.instruction), "the instruction's own bytes");
            for shorter in 0..len {
                let part = decode(size, &bytes[..shorter], 0).map(|found| found.instruction);
                assert_eq!(part, Err(Undecodable::NeedMoreBytes), "{shorter} of {len} bytes");
            }
            let elsewhere = decode(size, bytes, 0x0ff0).map(|found| (found.insn.len, found.insn.offset));
            assert_eq!(elsewhere, Ok((found.insn.len, 0x0ff0)), "the offset changes no length");
        }
        Err(Undecodable::NeedMoreBytes) => assert!(bytes.len() < 15, "{} bytes are enough", bytes.len()),
        Err(Undecodable::TooLong) => assert!(bytes.len() >= 15, "{} bytes are not too long", bytes.len()),
        Err(Undecodable::Invalid) => {}
    }
}

/// One instruction of each encoding family.
pub fn seeds() -> Seeds {
    let samples: [&[u8]; 13] = [
        &[2, 0x48, 0x8b, 0x84, 0x8d, 0x78, 0x56, 0x34, 0x12],
        &[2, 0xf0, 0x48, 0x0f, 0xc7, 0x0f],
        &[2, 0x66, 0x0f, 0x3a, 0x63, 0xc1, 0x0c],
        &[2, 0xc4, 0xe2, 0xf9, 0xf7, 0xc1],
        &[2, 0xc5, 0xf8, 0x58, 0xc1],
        &[2, 0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1],
        &[2, 0x0f, 0x01, 0xc1],
        &[2, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[2, 0xf3, 0x48, 0xa5],
        &[1, 0xea, 0, 0, 0, 0, 8, 0],
        &[0, 0x67, 0x66, 0x8b, 0x04, 0x24],
        &[1, 0xd9, 0xc0],
        &[2, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 2, 0, 0],
    ];
    samples.map(<[u8]>::to_vec).to_vec()
}
