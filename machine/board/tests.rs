//! The board as the processor sees it: through [`Bus`] alone.

use super::*;
use undercroft_platform::backend::{BlankImage, DiskMode};

const MS: u64 = 1_000_000;
/// Register offsets of virtio's common configuration.
mod common {
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub const DRIVER_FEATURE: u64 = 0x0c;
    pub const STATUS: u64 = 0x14;
    pub const QUEUE_VECTOR: u64 = 0x1a;
    pub const QUEUE_ENABLE: u64 = 0x1c;
    pub const QUEUE_SIZE: u64 = 0x18;
    pub const QUEUE_DESC: u64 = 0x20;
    pub const QUEUE_DRIVER: u64 = 0x28;
    pub const QUEUE_DEVICE: u64 = 0x30;
}

fn board() -> Board {
    let map = PhysMap::new(16 << 20, address_map::LOW_RAM_LIMIT);
    let ram = Ram::new(16 << 20).unwrap();
    let disk = Disk::new(std::sync::Arc::new(BlankImage { bytes: 1 << 20 }), DiskMode::Overlay);
    let config = BoardConfig {
        io_apic_id: 0,
        start_seconds: 0,
        serial_speed: LineSpeed::Fixed { character_ticks: 100 },
        seed: 1,
        fw_cfg: Items::default(),
        cpus: 1,
        disks: vec![(disk, BlockConfig { id: "disk0".into() })],
    };
    Board::new(ram, map, config).unwrap()
}

fn outb(board: &mut Board, now: u64, port: u16, value: u8) {
    board.io_write(now, port, 1, value.into());
}

fn signals(board: &mut Board) -> Vec<Signal> {
    let mut out = Vec::new();
    board.take_signals(&mut out);
    out
}

/// Lets time reach `end`, event by event, and counts acknowledged 8259 interrupts by vector.
fn run(board: &mut Board, end: u64) -> Vec<u8> {
    let mut vectors = Vec::new();
    while let Some(at) = board.next_event().filter(|at| *at <= end) {
        board.advance(at);
        while board.intr() {
            vectors.push(board.acknowledge());
            outb(board, at, 0xa0, 0x20);
            outb(board, at, 0x20, 0x20);
        }
    }
    vectors
}

fn start_pic(board: &mut Board) {
    for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1), (0xa0, 0x11), (0xa1, 0x38), (0xa1, 2)] {
        outb(board, 0, port, value);
    }
    outb(board, 0, 0xa1, 1);
}

fn start_pit_100_hz(board: &mut Board) {
    for (port, value) in [(0x43, 0x34), (0x40, 11_932u16 as u8), (0x40, (11_932u16 >> 8) as u8)] {
        outb(board, 0, port, value);
    }
}

fn io_apic_entry(board: &mut Board, pin: u32, entry: u32) {
    board.write(0, IO_APIC, 4, u64::from(0x10 + 2 * pin));
    board.write(0, PhysAddr(IO_APIC.get() + 0x10), 4, entry.into());
}

#[test]
fn pit_at_100_hz_interrupts_through_8259_and_io_apic_pin_2() {
    let mut board = board();
    start_pic(&mut board);
    outb(&mut board, 0, 0x21, 0xfe);
    outb(&mut board, 0, 0xa1, 0xff);
    io_apic_entry(&mut board, 2, 0x41);
    start_pit_100_hz(&mut board);
    // The mode's own level is an edge too.
    assert_eq!(signals(&mut board).len(), 1);
    let vectors = run(&mut board, 100 * MS + MS / 2);
    assert_eq!(vectors, [0x30; 10]);
    let messages = signals(&mut board);
    assert_eq!(messages.len(), 10);
    assert_eq!(messages[0], Signal::Message { address: 0xfee0_0000, data: 0x4041 });
}

#[test]
fn hpet_in_legacy_replacement_takes_the_pits_place() {
    let mut board = board();
    start_pic(&mut board);
    outb(&mut board, 0, 0x21, 0xfe);
    outb(&mut board, 0, 0xa1, 0xff);
    start_pit_100_hz(&mut board);
    let hpet = |offset: u64| PhysAddr(0xfed0_0000 + offset);
    let periodic_edge = 1 << 6 | 1 << 3 | 1 << 2;
    board.write(0, hpet(0x100), 8, periodic_edge);
    board.write(0, hpet(0x108), 8, 500_000);
    board.write(0, hpet(0x10), 8, 3);
    // 5 ms each: the 8254's 10 ms no longer count.
    assert_eq!(run(&mut board, 20 * MS + MS / 2), [0x30; 4]);
    // The tables describe this very timer.
    let layout = firmware_tables::Layout::default();
    assert_eq!(board.read(21 * MS, hpet(0), 4), u64::from(layout.hpet_id));
}

#[test]
fn uart_output_appears_and_input_interrupts_on_irq_4() {
    let mut board = board();
    start_pic(&mut board);
    outb(&mut board, 0, 0x21, 0xef);
    outb(&mut board, 0, 0xa1, 0xff);
    for (port, value) in [(0x3fb, 3), (0x3fa, 7), (0x3fc, 0x0b), (0x3f9, 1)] {
        outb(&mut board, 0, port, value);
    }
    for byte in *b"hi" {
        outb(&mut board, 10, 0x3f8, byte);
    }
    assert!(run(&mut board, 1000).is_empty());
    assert_eq!(board.take_serial_output(0), b"hi");
    let input: Vec<u8> = (0..40).collect();
    board.push_serial_input(2000, 0, &input);
    assert!(board.intr());
    assert_eq!(board.acknowledge(), 0x34);
    let mut got = Vec::new();
    while board.io_read(2000, 0x3fd, 1) & 1 != 0 {
        got.push(board.io_read(2000, 0x3f8, 1) as u8);
    }
    assert_eq!(got, input, "what did not fit into the FIFO follows");
}

#[test]
fn pci_functions_are_found_by_cf8_and_by_ecam_alike() {
    let mut board = board();
    let mut found = Vec::new();
    for device in 0..32u32 {
        board.io_write(0, 0xcf8, 4, 1 << 31 | device << 11);
        assert_eq!(board.io_read(0, 0xcf8, 4), 1 << 31 | device << 11);
        let id = board.io_read(0, 0xcfc, 4);
        let ecam = board.read(0, PhysAddr(0xb000_0000 | u64::from(device) << 15), 4);
        assert_eq!(ecam, u64::from(id));
        if id != u32::MAX {
            assert_eq!(board.io_read(0, 0xcfe, 2), id >> 16);
            found.push((device, id));
        }
    }
    assert_eq!(found, [(0, 0x29c0_8086), (1, 0x1044_1af4), (2, 0x1042_1af4), (31, 0x2918_8086)]);
}

#[test]
fn virtio_entropy_request_writes_memory_and_sends_its_msi() {
    let mut board = board();
    let config = |register: u64| PhysAddr(0xb000_0000 | 1 << 15 | register);
    let bars = [0x10, 0x18].map(|register| board.read(0, config(register), 4) & !0xf);
    // Bus master; MSI-X on, its only entry unmasked.
    board.write(0, config(4), 2, 6);
    let mut capability = board.read(0, config(0x34), 1);
    while board.read(0, config(capability), 1) != 0x11 {
        capability = board.read(0, config(capability + 1), 1);
    }
    board.write(0, config(capability + 2), 2, 0x8000);
    for (offset, value) in [(0, 0xfee0_0000), (4, 0), (8, 0x55), (12, 0)] {
        board.write(0, PhysAddr(bars[1] + offset), 4, value);
    }
    // One descriptor of 64 bytes at 3000h, to be written by the device.
    assert!(board.ram.fill(0x1000, 8, 0x400, 0));
    for (at, size, value) in
        [(0x1000, 8, 0x3000), (0x1008, 4, 64), (0x100c, 2, 2), (0x2004, 2, 0), (0x2002, 2, 1), (0x2800, 8, 0)]
    {
        assert!(board.ram.store(at, size, value));
    }
    let common_at = |offset: u64| PhysAddr(bars[0] + offset);
    for (offset, size, value) in [
        (common::STATUS, 1, 3),
        (common::DRIVER_FEATURE_SELECT, 4, 1),
        (common::DRIVER_FEATURE, 4, 1),
        (common::STATUS, 1, 0xb),
        (common::QUEUE_SIZE, 2, 8),
        (common::QUEUE_VECTOR, 2, 0),
        (common::QUEUE_DESC, 8, 0x1000),
        (common::QUEUE_DRIVER, 8, 0x2000),
        (common::QUEUE_DEVICE, 8, 0x2800),
        (common::QUEUE_ENABLE, 2, 1),
        (common::STATUS, 1, 0xf),
    ] {
        board.write(0, common_at(offset), size, value);
    }
    board.write(0, common_at(0x3000), 2, 0);
    board.ram.set_flags(3, undercroft_ram::page_flags::CODE);
    assert!(signals(&mut board).is_empty());
    let at = board.next_event().expect("the request takes time");
    board.advance(at);
    assert_eq!(signals(&mut board), [Signal::Message { address: 0xfee0_0000, data: 0x55 }]);
    assert_eq!(board.ram.load(0x2802, 2), Some(1), "used index");
    assert_ne!(board.ram.load(0x3000, 8), Some(0));
    assert_eq!(board.ram.take_touched(), [3], "the processor hears of writes to its code");
}

/// Port, size, value of each write of a case.
type Writes = &'static [(u16, u8, u32)];

#[test]
fn stop_devices_say_why() {
    let cases: [(Writes, BoardStop); 5] = [
        (&[(0xf4, 1, 0x10)], BoardStop::DebugExit(0x10)),
        (&[(0x604, 2, 7 << 10 | 1 << 13)], BoardStop::PowerOff),
        (&[(0xcf9, 1, 2), (0xcf9, 1, 6)], BoardStop::Reset),
        (&[(0x92, 1, 1)], BoardStop::Reset),
        (&[(0x64, 1, 0xfe)], BoardStop::Reset),
    ];
    for (writes, stop) in cases {
        let mut board = board();
        assert!(!board.stop_requested());
        for (port, size, value) in writes {
            board.io_write(0, *port, *size, *value);
        }
        assert!(board.stop_requested(), "{stop:?}");
        assert_eq!(board.take_stop(), Some(stop));
        assert!(!board.stop_requested());
    }
}

#[test]
fn power_button_is_the_system_control_interrupt_on_pin_9() {
    let mut board = board();
    io_apic_entry(&mut board, 9, 0x8071);
    board.io_write(0, 0x602, 2, 1 << 8);
    board.press_power_button(5);
    assert_eq!(signals(&mut board), [Signal::Message { address: 0xfee0_0000, data: 0xc071 }]);
    board.eoi(6, 0x71);
    assert_eq!(signals(&mut board).len(), 1, "the level stands");
    board.io_write(7, 0x600, 2, 1 << 8);
    board.eoi(8, 0x71);
    assert!(signals(&mut board).is_empty());
}

#[test]
fn access_wider_than_its_range_is_cut_and_nobody_reads_as_ones() {
    let mut board = board();
    board.io_write(0, 0x80, 1, 0x5a);
    assert_eq!(board.io_read(0, 0x80, 4), 0xffff_ff5a);
    assert_eq!(board.io_read(0, 0x3c0, 2), 0xffff);
    assert_eq!(board.read(0, PhysAddr(0xa_0000), 8), u64::MAX);
    assert_eq!(board.read(0, PhysAddr(0xfe00_0000), 4), 0xffff_ffff);
    // 21h and 22h: the mask register and nobody, not the slave.
    start_pic(&mut board);
    board.io_write(0, 0x21, 2, 0xeefe);
    assert_eq!((board.io_read(0, 0x21, 1), board.io_read(0, 0xa1, 1)), (0xfe, 0));
}

#[test]
fn state_restored_goes_on_alike() {
    let mut first = board();
    start_pic(&mut first);
    start_pit_100_hz(&mut first);
    run(&mut first, 25 * MS);
    let saved = postcard::to_stdvec(&first.state()).unwrap();
    let state: BoardState = postcard::from_bytes(&saved).unwrap();
    let mut second = Board::with_state(first.ram.clone(), first.map, state);
    assert_eq!(postcard::to_stdvec(&second.state()).unwrap(), saved);
    assert_eq!(second.next_event(), first.next_event());
    assert_eq!(run(&mut second, 60 * MS), run(&mut first, 60 * MS));
    assert_eq!(postcard::to_stdvec(&second.state()).unwrap(), postcard::to_stdvec(&first.state()).unwrap());
}

#[test]
fn hostile_accesses_at_all_addresses_never_panic() {
    let mut board = board();
    let mut seed = 0x1234_5678_9abc_def1u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut now = 0;
    for _ in 0..100_000 {
        let r = random();
        let size = 1 << (r >> 8 & 3);
        let value = if r & 4 == 0 { random() } else { 1 << (random() & 63) };
        let bases =
            [0xfec0_0000, 0xfed0_0000, 0xfed1_c000, 0xb000_0000, 0xb000_8000, 0xb001_0000, 0xc000_0000, 0xc000_4000];
        let addr = PhysAddr(bases[(r >> 16 & 7) as usize] + (random() & 0x1fff));
        let ports = [0x20, 0xa0, 0x40, 0x60, 0x70, 0x90, 0xf0, 0x2f8, 0x3f8, 0x4d0, 0x510, 0x600, 0xcf8, 0xfff8];
        let port = (ports[(r >> 24) as usize % ports.len()] + (random() & 15)) as u16;
        match r & 3 {
            0 => board.write(now, addr, size, value),
            1 => drop(board.read(now, addr, size)),
            2 => board.io_write(now, port, size.min(4), value as u32),
            _ => drop(board.io_read(now, port, size.min(4))),
        }
        if board.intr() {
            board.acknowledge();
        }
        signals(&mut board);
        board.take_stop();
        now += r >> 44;
        assert!(board.next_event().is_none_or(|at| at >= now - (r >> 44)));
    }
}
