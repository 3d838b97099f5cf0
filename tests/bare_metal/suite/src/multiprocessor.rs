//! Start-up of processors, interrupts between them, and what memory accesses of several processors may see.
//! Intel SDM volume 3, "Multiple-Processor Management", "Issuing Interprocessor Interrupts", "Memory Ordering".

use bare_metal_runtime::control::{self, cpuid, invlpg, rdmsr, read_cr3};
use bare_metal_runtime::exceptions::set_handler;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::interrupt_controllers::*;
use bare_metal_runtime::paging::{self, P, Size, TEST_BASE, W};
use bare_metal_runtime::processors::{self, post, wait};
use bare_metal_runtime::tests;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

tests! {
    application_processors_have_their_own_identifiers,
    bsp_flag_is_set_on_one_processor_only,
    fixed_ipi_reaches_its_destination,
    ipi_to_all_but_self_reaches_the_others,
    ipi_by_logical_destination_reaches_selected,
    nmi_ipi_reaches_halted_processor,
    init_stops_processor_and_sipi_restarts_it,
    locked_increments_of_processors_add_up,
    message_passing_is_ordered,
    exchange_gives_mutual_exclusion,
    shootdown_makes_new_mapping_visible,
    tsc_of_processors_agree,
    state_of_processors_is_separate,
}

/// The number of processors, if there are at least two; else the test is skipped.
fn others(c: &mut Check) -> Option<usize> {
    let n = processors::start_all();
    if n < 2 {
        c.skip("one processor");
        return None;
    }
    Some(n)
}

static RESULT: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// What a processor has left.
fn result(i: usize) -> u64 {
    RESULT[i].load(Ordering::SeqCst)
}

fn clear() {
    for r in &RESULT {
        r.store(0, Ordering::SeqCst);
    }
}

/// Waits, bounded, until something holds.
fn wait_for(f: impl Fn() -> bool) -> bool {
    for _ in 0..20_000_000u64 {
        if f() {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}

fn application_processors_have_their_own_identifiers(c: &mut Check) {
    let Some(n) = others(c) else { return };
    clear();
    for i in 1..n {
        post(i, |i| RESULT[i as usize].store((cpuid(1, 0).ebx >> 24) as u64, Ordering::SeqCst), i as u64);
        c.that("work is done", wait(i));
    }
    for i in 1..n {
        let id = result(i);
        c.equal("CPUID and local APIC agree", id, processors::apic_id(i) as u64);
        for j in 0..i {
            c.that("identifiers differ", processors::apic_id(j) != processors::apic_id(i));
        }
    }
}

fn bsp_flag_is_set_on_one_processor_only(c: &mut Check) {
    let Some(n) = others(c) else { return };
    clear();
    c.equal("boot processor", unsafe { rdmsr(control::IA32_APIC_BASE) } >> 8 & 1, 1);
    for i in 1..n {
        post(i, |i| RESULT[i as usize].store(unsafe { rdmsr(control::IA32_APIC_BASE) }, Ordering::SeqCst), i as u64);
        c.that("work is done", wait(i));
        c.equal("application processor", result(i) >> 8 & 1, 0);
    }
}

static IPIS: [AtomicU32; 16] = [const { AtomicU32::new(0) }; 16];

fn count_ipis(vector: u8) {
    for i in &IPIS {
        i.store(0, Ordering::SeqCst);
    }
    set_handler(
        vector,
        Some(|_| {
            IPIS[bare_metal_runtime::descriptors::this_processor().index as usize].fetch_add(1, Ordering::SeqCst);
            lapic_eoi();
        }),
    );
}

fn ipis(i: usize) -> u32 {
    IPIS[i].load(Ordering::SeqCst)
}

fn fixed_ipi_reaches_its_destination(c: &mut Check) {
    let Some(n) = others(c) else { return };
    count_ipis(0xD0);
    for i in 1..n {
        lapic_send(processors::apic_id(i), 0x4000 | 0xD0);
        c.that("arrives", wait_for(|| ipis(i) == 1));
    }
    for i in 0..n {
        c.equal("times", ipis(i), (i != 0) as u32);
    }
}

fn ipi_to_all_but_self_reaches_the_others(c: &mut Check) {
    let Some(n) = others(c) else { return };
    count_ipis(0xD1);
    lapic_send(0, 3 << 18 | 0x4000 | 0xD1);
    c.that("arrives", wait_for(|| (1..n).all(|i| ipis(i) == 1)));
    unsafe { control::interrupt_window() };
    c.equal("sender", ipis(0), 0);
    count_ipis(0xD1);
    lapic_send(0, 2 << 18 | 0x4000 | 0xD1);
    unsafe { control::interrupt_window() };
    c.that("all including self", wait_for(|| (0..n).all(|i| ipis(i) == 1)));
}

fn ipi_by_logical_destination_reaches_selected(c: &mut Check) {
    let Some(n) = others(c) else { return };
    count_ipis(0xD2);
    for i in 1..n.min(8) {
        post(i, |i| lapic_write(lapic::LDR, 1 << (24 + i)), i as u64);
        c.that("work is done", wait(i));
    }
    lapic_write(lapic::LDR, 1 << 24);
    // Logical mode (bit 11), flat model.
    lapic_send(1 << 1, 0x4000 | 0x800 | 0xD2);
    c.that("arrives", wait_for(|| ipis(1) == 1));
    for i in (0..n).filter(|&i| i != 1) {
        c.equal("not selected", ipis(i), 0);
    }
}

fn nmi_ipi_reaches_halted_processor(c: &mut Check) {
    let Some(_) = others(c) else { return };
    static NMIS: AtomicU32 = AtomicU32::new(0);
    NMIS.store(0, Ordering::SeqCst);
    set_handler(
        2,
        Some(|_| {
            NMIS.fetch_add(1, Ordering::SeqCst);
        }),
    );
    lapic_send(processors::apic_id(1), 0x4400);
    let arrived = wait_for(|| NMIS.load(Ordering::SeqCst) == 1);
    set_handler(2, None);
    c.that("arrives", arrived);
    // And the processor still works.
    clear();
    post(1, |_| RESULT[1].store(7, Ordering::SeqCst), 0);
    c.that("work is done", wait(1));
}

fn init_stops_processor_and_sipi_restarts_it(c: &mut Check) {
    let Some(n) = others(c) else { return };
    // The last one counts in a loop that never ends; INIT ends it.
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let last = n - 1;
    let before = processors::count();
    processors::abandon(last, |_| {
        loop {
            COUNTER.fetch_add(1, Ordering::SeqCst);
            core::hint::spin_loop();
        }
    });
    c.that("counts", wait_for(|| COUNTER.load(Ordering::SeqCst) > 10));
    c.that("comes back", processors::restart(last));
    let then = COUNTER.load(Ordering::SeqCst);
    bare_metal_runtime::timers::wait_us(1000);
    c.equal("counter stands still", COUNTER.load(Ordering::SeqCst), then);
    c.equal("number of processors", processors::count(), before);
    clear();
    post(last, |i| RESULT[i as usize].store(9, Ordering::SeqCst), last as u64);
    c.that("work is done", wait(last));
    c.equal("result", RESULT[last].load(Ordering::SeqCst), 9);
}

fn locked_increments_of_processors_add_up(c: &mut Check) {
    let Some(n) = others(c) else { return };
    static TOTAL: AtomicU64 = AtomicU64::new(0);
    const ROUNDS: u64 = 2000;
    TOTAL.store(0, Ordering::SeqCst);
    fn work(_: u64) {
        for _ in 0..ROUNDS {
            TOTAL.fetch_add(1, Ordering::SeqCst);
        }
    }
    for i in 1..n {
        post(i, work, 0);
    }
    work(0);
    for i in 1..n {
        c.that("work is done", wait(i));
    }
    c.equal("total", TOTAL.load(Ordering::SeqCst), n as u64 * ROUNDS);
}

fn message_passing_is_ordered(c: &mut Check) {
    let Some(_) = others(c) else { return };
    static DATA: AtomicU64 = AtomicU64::new(0);
    static FLAG: AtomicU64 = AtomicU64::new(0);
    DATA.store(0, Ordering::SeqCst);
    FLAG.store(0, Ordering::SeqCst);
    post(
        1,
        |rounds| {
            for i in 1..=rounds {
                // Plain stores: they are seen in order.
                DATA.store(i * 10, Ordering::Relaxed);
                FLAG.store(i, Ordering::Release);
            }
        },
        5000,
    );
    let mut wrong = 0;
    let seen = wait_for(|| FLAG.load(Ordering::Acquire) > 0);
    while !processors::is_done(1) {
        let flag = FLAG.load(Ordering::Acquire);
        wrong += (DATA.load(Ordering::Relaxed) < flag * 10) as u32;
        core::hint::spin_loop();
    }
    c.that("flag is seen", seen);
    c.equal("data behind its flag", wrong, 0);
}

fn exchange_gives_mutual_exclusion(c: &mut Check) {
    let Some(n) = others(c) else { return };
    static LOCK: AtomicU32 = AtomicU32::new(0);
    static PLAIN: AtomicU64 = AtomicU64::new(0);
    PLAIN.store(0, Ordering::SeqCst);
    fn work(_: u64) {
        for _ in 0..500 {
            while LOCK.swap(1, Ordering::Acquire) != 0 {
                core::hint::spin_loop();
            }
            // A load and a store, not one locked addition.
            PLAIN.store(PLAIN.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            LOCK.store(0, Ordering::Release);
        }
    }
    for i in 1..n {
        post(i, work, 0);
    }
    work(0);
    for i in 1..n {
        c.that("work is done", wait(i));
    }
    c.equal("total", PLAIN.load(Ordering::SeqCst), n as u64 * 500);
}

fn shootdown_makes_new_mapping_visible(c: &mut Check) {
    let Some(_) = others(c) else { return };
    let (a, b) = (paging::new_page(), paging::new_page());
    (a.0[0], b.0[0]) = (0xAAAA, 0xBBBB);
    let (a, b) = (paging::physical(a), paging::physical(b));
    paging::map(TEST_BASE, a, P | W, Size::Page4K);
    fn look(_: u64) {
        unsafe {
            invlpg(TEST_BASE);
            RESULT[1].store((TEST_BASE as *const u64).read_volatile(), Ordering::SeqCst);
        }
    }
    for (page, value) in [(a, 0xAAAA), (b, 0xBBBB), (a, 0xAAAA)] {
        *paging::entry(TEST_BASE, 1).expect("mapped") = page | P | W;
        clear();
        post(1, look, 0);
        c.that("work is done", wait(1));
        c.equal("word", RESULT[1].load(Ordering::SeqCst), value);
    }
}

fn tsc_of_processors_agree(c: &mut Check) {
    let Some(_) = others(c) else { return };
    for _ in 0..5 {
        let before = control::rdtsc();
        clear();
        post(1, |_| RESULT[1].store(control::rdtsc(), Ordering::SeqCst), 0);
        c.that("work is done", wait(1));
        let there = RESULT[1].load(Ordering::SeqCst);
        let after = control::rdtsc();
        if there < before || there > after {
            c.fail(format_args!("before {before}, there {there}, after {after}"));
        }
    }
}

fn state_of_processors_is_separate(c: &mut Check) {
    let Some(_) = others(c) else { return };
    clear();
    const FS_BASE: u32 = 0xC000_0100;
    unsafe { control::wrmsr(FS_BASE, 0x1111) };
    post(
        1,
        |_| unsafe {
            control::wrmsr(FS_BASE, 0x2222);
            control::write_cr2(0x3333);
            control::write_dr0(0x4444);
            RESULT[1].store(read_cr3(), Ordering::SeqCst);
        },
        0,
    );
    unsafe {
        control::write_cr2(0x5555);
        control::write_dr0(0x6666);
    }
    c.that("work is done", wait(1));
    c.equal("FS base", unsafe { rdmsr(FS_BASE) }, 0x1111);
    c.equal("CR2", control::read_cr2(), 0x5555);
    c.equal("DR0", control::read_dr0(), 0x6666);
    c.equal("CR3 is the same value", RESULT[1].load(Ordering::SeqCst), read_cr3());
    unsafe { control::wrmsr(FS_BASE, 0) };
}
