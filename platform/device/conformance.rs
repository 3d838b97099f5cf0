//! What every device must satisfy, applied by one line in its tests: `conformance!(Device::new(), registers = 8, timed);`
//!
//! - after a reset its state is that of power-on (`battery` exempts devices whose state outlives a reset by design);
//! - its state survives saving and restoring;
//! - hostile accesses, with time moving, never panic; its next event never lies in the past; it settles at any one time.

use super::{Context, Dma, DmaFault, Msi, Registers, Reset, Timed};
use crate::clock::Tick;
use serde::{Serialize, de::DeserializeOwned};
use undercroft_spec::DmaAddr;

/// A generator of test values (xorshift64*); seeded, so that a failure repeats.
pub struct Sequence(u64);

impl Sequence {
    /// A sequence that depends only on `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }
    /// A value such as software writes: small, a single bit, all ones, or anything.
    pub fn value(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(256),
            1 => 1 << self.below(64),
            2 => u64::MAX >> self.below(64),
            _ => self.bits(),
        }
    }
}

/// Memory of a test: `len` bytes at address 0.
pub struct TestMemory(pub Vec<u8>);

impl TestMemory {
    fn range(&self, addr: DmaAddr, len: usize) -> Result<std::ops::Range<usize>, DmaFault> {
        let start = usize::try_from(addr.get()).map_err(|_| DmaFault { addr })?;
        match start.checked_add(len) {
            Some(end) if end <= self.0.len() => Ok(start..end),
            _ => Err(DmaFault { addr }),
        }
    }
}

impl Dma for TestMemory {
    fn read(&mut self, addr: DmaAddr, data: &mut [u8]) -> Result<(), DmaFault> {
        let range = self.range(addr, data.len())?;
        data.copy_from_slice(&self.0[range]);
        Ok(())
    }
    fn write(&mut self, addr: DmaAddr, data: &[u8]) -> Result<(), DmaFault> {
        let range = self.range(addr, data.len())?;
        self.0[range].copy_from_slice(data);
        Ok(())
    }
}

/// What a test lends to a device, at a time that the test moves.
pub struct Bench {
    /// The time of the next call, in ticks.
    pub now: u64,
    /// Memory.
    pub memory: TestMemory,
    /// Interrupt messages sent so far.
    pub msi: Vec<Msi>,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// Time 0, 64 KBytes of zeroed memory.
    pub fn new() -> Self {
        Self { now: 0, memory: TestMemory(vec![0; 0x1_0000]), msi: Vec::new() }
    }
    /// The context of a call now.
    pub fn cx(&mut self) -> Context<'_> {
        Context { now: Tick(self.now), dma: &mut self.memory, msi: &mut self.msi }
    }
    /// A one-byte read.
    pub fn inb(&mut self, device: &mut impl Registers, offset: u64) -> u8 {
        device.read(&mut self.cx(), offset, 1) as u8
    }
    /// A one-byte write.
    pub fn outb(&mut self, device: &mut impl Registers, offset: u64, value: u8) {
        device.write(&mut self.cx(), offset, 1, u64::from(value));
    }
    /// A four-byte read.
    pub fn readl(&mut self, device: &mut impl Registers, offset: u64) -> u32 {
        device.read(&mut self.cx(), offset, 4) as u32
    }
    /// A four-byte write.
    pub fn writel(&mut self, device: &mut impl Registers, offset: u64, value: u32) {
        device.write(&mut self.cx(), offset, 4, u64::from(value));
    }
    /// Lets time reach `tick`, stopping at each event of the device on the way; `each` sees the device after each stop.
    pub fn run_until<D: Timed>(&mut self, device: &mut D, tick: u64, mut each: impl FnMut(u64, &mut D)) {
        while let Some(Tick(event)) = device.next_event().filter(|event| event.0 <= tick) {
            assert!(event >= self.now, "an event in the past");
            self.now = event;
            device.advance(&mut self.cx());
            each(event, device);
        }
        self.now = tick;
        device.advance(&mut self.cx());
    }
}

/// One hostile access.
pub fn access<D: Registers>(device: &mut D, bench: &mut Bench, sequence: &mut Sequence, span: u64) {
    let offset = if sequence.below(10) == 0 { sequence.value() } else { sequence.below(span) };
    let size = 1 << sequence.below(4);
    if sequence.below(2) == 0 {
        device.read(&mut bench.cx(), offset, size);
    } else {
        let value = sequence.value();
        device.write(&mut bench.cx(), offset, size, value);
    }
    bench.msi.clear();
}

fn step(sequence: &mut Sequence, now: u64) -> u64 {
    let step = match sequence.below(8) {
        0 => 0,
        1..=4 => sequence.below(1000),
        5 => sequence.below(1_000_000),
        6 => sequence.below(10_000_000_000),
        _ => sequence.bits() >> 12 >> sequence.below(40),
    };
    now.saturating_add(step)
}

/// 10,000 accesses at random offsets; the device ends in some reachable state.
pub fn survives_hostile_accesses<D: Registers>(device: &mut D, span: u64) {
    let (mut bench, mut sequence) = (Bench::new(), Sequence::new(0x5eed));
    for _ in 0..10_000 {
        access(device, &mut bench, &mut sequence, span);
        bench.now = step(&mut sequence, bench.now);
    }
}

/// The same for a device to which time matters.
pub fn keeps_time_under_hostile_accesses<D: Registers + Timed>(device: &mut D, span: u64) {
    let (mut bench, mut sequence) = (Bench::new(), Sequence::new(0xfeed));
    for i in 0..10_000 {
        access(device, &mut bench, &mut sequence, span);
        let next = device.next_event();
        assert!(
            next.is_none_or(|at| at.0 >= bench.now),
            "access {i} at {}: next event {next:?} in the past",
            bench.now
        );
        bench.now = match next {
            Some(at) if sequence.below(2) == 0 && at.0 < u64::MAX >> 1 => at.0,
            _ => step(&mut sequence, bench.now),
        };
        let mut rounds = 0;
        loop {
            device.advance(&mut bench.cx());
            let next = device.next_event();
            assert!(
                next.is_none_or(|at| at.0 >= bench.now),
                "advance {i} to {}: next event {next:?} in the past",
                bench.now
            );
            if next.is_none_or(|at| at.0 > bench.now) || bench.now == u64::MAX {
                break;
            }
            rounds += 1;
            assert!(rounds < 16, "does not settle at {}", bench.now);
        }
        bench.msi.clear();
    }
}

/// Saving, restoring and saving again gives the same bytes.
pub fn survives_saving<D: Serialize + DeserializeOwned>(device: &D) {
    let saved = postcard::to_stdvec(device).expect("saves");
    let restored: D = postcard::from_bytes(&saved).expect("restores");
    assert_eq!(saved, postcard::to_stdvec(&restored).expect("saves again"));
}

/// After use and a reset, the state is that of power-on.
pub fn resets_to_power_on<D: Registers + Reset + Serialize>(fresh: &D, used: &mut D, span: u64) {
    survives_hostile_accesses(used, span);
    used.reset();
    assert_eq!(postcard::to_stdvec(fresh).expect("saves"), postcard::to_stdvec(used).expect("saves"));
}

/// Applies the suite: `conformance!(constructor, registers = span of offsets [, timed] [, battery])`.
macro_rules! conformance {
    ($make:expr, registers = $span:expr) => {
        $crate::device::conformance::conformance!(@common $make, $span);
        $crate::device::conformance::conformance!(@reset $make, $span);
    };
    ($make:expr, registers = $span:expr, timed) => {
        $crate::device::conformance::conformance!(@common $make, $span);
        $crate::device::conformance::conformance!(@reset $make, $span);
        $crate::device::conformance::conformance!(@timed $make, $span);
    };
    ($make:expr, registers = $span:expr, timed, battery) => {
        $crate::device::conformance::conformance!(@common $make, $span);
        $crate::device::conformance::conformance!(@timed $make, $span);
    };
    (@common $make:expr, $span:expr) => {
        #[test]
        fn conformance_hostile_accesses_never_panic_and_state_survives_saving() {
            let mut device = $make;
            $crate::device::conformance::survives_saving(&device);
            $crate::device::conformance::survives_hostile_accesses(&mut device, $span);
            $crate::device::conformance::survives_saving(&device);
        }
    };
    (@reset $make:expr, $span:expr) => {
        #[test]
        fn conformance_reset_gives_power_on_state() {
            $crate::device::conformance::resets_to_power_on(&$make, &mut $make, $span);
        }
    };
    (@timed $make:expr, $span:expr) => {
        #[test]
        fn conformance_events_are_never_in_the_past_and_settle() {
            let mut device = $make;
            $crate::device::conformance::keeps_time_under_hostile_accesses(&mut device, $span);
            $crate::device::conformance::survives_saving(&device);
        }
    };
}
pub(crate) use conformance;
