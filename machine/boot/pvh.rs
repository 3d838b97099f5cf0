//! Direct boot of a 32-bit entry point that an ELF note names: Xen's "x86/HVM direct boot ABI" (docs/misc/pvh) and
//! `public/arch-x86/hvm/start_info.h`. Linux (CONFIG_PVH), Xen, FreeBSD and many small kernels offer it.

use super::elf::{Elf, is_elf};
use super::entry::{EntryMode, EntryState, gpr};
use super::error::BootError;
use super::placement::{ABOVE_1_MIB, PAGE};
use super::{Loader, Module};

/// XEN_ELFNOTE_PHYS32_ENTRY.
const PHYS32_ENTRY: u32 = 18;
/// XEN_HVM_START_MAGIC_VALUE: "xEn3" with bit 7 of the E set.
const START_MAGIC: u32 = 0x336e_c578;
/// The version with a memory map.
const START_VERSION: u32 = 1;
/// Size of `hvm_start_info`.
const START_INFO_LEN: u64 = 56;
/// Size of an entry of the module list.
const MODULE_LEN: u64 = 32;

/// The physical entry point that the file's note names, if it is an ELF file and has one.
pub(super) fn entry_of(image: &[u8]) -> Result<Option<u64>, BootError> {
    if !is_elf(image) {
        return Ok(None);
    }
    let Some(desc) = Elf::parse(image)?.note(b"Xen", PHYS32_ENTRY)? else { return Ok(None) };
    // The note has the width of the kernel's addresses: 4 or 8 bytes.
    match *desc {
        [a, b, c, d] => Ok(Some(u32::from_le_bytes([a, b, c, d]).into())),
        [a, b, c, d, 0, 0, 0, 0] => Ok(Some(u32::from_le_bytes([a, b, c, d]).into())),
        _ => Err(BootError::BadField { header: "PVH entry note", field: "descriptor size", value: desc.len() as u64 }),
    }
}

/// Places the kernel, its modules and the start information.
pub(super) fn load(loader: &mut Loader<'_, '_>, image: &[u8], entry: u64) -> Result<EntryState, BootError> {
    let elf = Elf::parse(image)?;
    if !elf.contains_physical(entry) {
        return Err(BootError::EntryOutside { entry });
    }
    elf.load_segments(loader, 0)?;
    let start_info = place_start_info(loader)?;
    let gdt = loader.place_gdt(EntryMode::Protected32)?;
    let mut state = EntryState::protected32(entry, gdt);
    state.gpr[gpr::RBX] = start_info;
    Ok(state)
}

/// `hvm_start_info` with the module list, the memory map behind it, and what they refer to.
fn place_start_info(loader: &mut Loader<'_, '_>) -> Result<u64, BootError> {
    let request = loader.request;
    let command_line = loader.place_string("command line", request.command_line)?;
    let mut list = Vec::new();
    for module in request.modules {
        let (start, string) = place_module(loader, module)?;
        for value in [start, module.data.len() as u64, string, 0] {
            list.extend_from_slice(&value.to_le_bytes());
        }
    }
    let list_len = request.modules.len() as u64 * MODULE_LEN;
    let total = START_INFO_LEN + list_len + request.memory_map.len() as u64 * 24;
    let base = loader.reserve_low("start information", total)?;
    let (list_at, map_at) = (base + START_INFO_LEN, base + START_INFO_LEN + list_len);

    let mut bytes = Vec::new();
    for word in [START_MAGIC, START_VERSION, 0, request.modules.len() as u32] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let list_at = if request.modules.is_empty() { 0 } else { list_at };
    let rsdp = request.rsdp.map_or(0, |(addr, _)| addr.get());
    for value in [list_at, command_line, rsdp, map_at] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    for word in [request.memory_map.len() as u32, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&list);
    for entry in request.memory_map {
        bytes.extend_from_slice(&entry.to_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    loader.write(base, &bytes)?;
    Ok(base)
}

/// A module above 1 MiB at a page, and its string; returns the addresses.
fn place_module(loader: &mut Loader<'_, '_>, module: &Module<'_>) -> Result<(u64, u64), BootError> {
    let len = module.data.len() as u64;
    let start = loader.placement.highest("module", ABOVE_1_MIB, len, PAGE)?;
    loader.write(start, module.data)?;
    let string =
        if module.command_line.is_empty() { 0 } else { loader.place_string("module string", module.command_line)? };
    Ok((start, string))
}
