//! Interrupt delivery: the local APIC, the 8259 pair, the I/O APIC, NMI, and the windows in which nothing is delivered.
//! Intel SDM volume 3, "Advanced Programmable Interrupt Controller", "Enabling and Disabling Interrupts"; the 8259A and
//! 82093AA data sheets.

use crate::access::expect_fault;
use bare_metal_runtime::context::reg;
use bare_metal_runtime::control::*;
use bare_metal_runtime::descriptors::Shared;
use bare_metal_runtime::exceptions::{DONE, Frame, set_handler, vector};
use bare_metal_runtime::features;
use bare_metal_runtime::framework::Check;
use bare_metal_runtime::interrupt_controllers::*;
use bare_metal_runtime::timers;
use bare_metal_runtime::{Context, catch, run, snippet, tests};

tests! {
    self_ipi_is_delivered_when_if_is_set,
    self_ipi_with_if_clear_stays_requested,
    pending_interrupts_are_delivered_by_priority,
    higher_class_interrupts_handler_of_lower_class,
    same_class_waits_for_eoi,
    tpr_blocks_its_class_and_below,
    ppr_is_maximum_of_tpr_and_isr,
    cr8_is_tpr_class,
    cr8_with_reserved_bits_is_gp,
    irr_collects_once_while_in_service,
    illegal_vector_sets_esr,
    lvt_with_software_disabled_apic_is_masked,
    local_apic_registers_after_enable_read_as_documented,
    sti_delays_delivery_by_one_instruction,
    sti_cli_delivers_nothing,
    popf_setting_if_delivers_at_once,
    mov_ss_delays_delivery_after_iret_window,
    interrupt_in_rep_movs_reports_progress,
    interrupt_in_rep_movs_pushes_rf,
    hlt_wakes_behind_itself,
    nmi_is_delivered_with_if_clear,
    nmi_within_nmi_waits_for_iret,
    pic_timer_interrupt_goes_through_irr_isr_eoi,
    pic_mask_holds_request,
    pic_priority_and_cascade,
    pic_automatic_eoi_leaves_isr_clear,
    pic_special_fully_programmed_vector_base,
    io_apic_edge_delivers_once,
    io_apic_registers_read_back,
    io_apic_masked_edge_is_lost,
    apic_base_reserved_bits_are_gp,
}

/// Those that disable the local APIC globally: the last to run, since a machine may not bring it back.
pub const MODE_TESTS: &[bare_metal_runtime::framework::Test] = &[
    bare_metal_runtime::framework::Test { name: "x2apic_mode_uses_msrs", run: x2apic_mode_uses_msrs },
    bare_metal_runtime::framework::Test {
        name: "x2apic_illegal_transitions_are_gp",
        run: x2apic_illegal_transitions_are_gp,
    },
    bare_metal_runtime::framework::Test {
        name: "apic_disabled_globally_hides_cpuid_bit",
        run: apic_disabled_globally_hides_cpuid_bit,
    },
];

/// Vectors in the order of delivery, with what the handlers saw.
struct Log {
    count: usize,
    vectors: [u8; 32],
    rips: [u64; 32],
}
static LOG: Shared<Log> = Shared::new(Log { count: 0, vectors: [0; 32], rips: [0; 32] });

fn log() -> &'static mut Log {
    unsafe { &mut *LOG.get() }
}

fn record(frame: &mut Frame) {
    let l = log();
    if l.count < 32 {
        l.vectors[l.count] = frame.vector as u8;
        l.rips[l.count] = frame.rip;
    }
    l.count += 1;
}

fn record_and_eoi(frame: &mut Frame) {
    record(frame);
    lapic_eoi();
}

/// Installs the recording handler for these vectors and clears the log.
fn listen(vectors: &[u8]) {
    log().count = 0;
    for &v in vectors {
        set_handler(v, Some(record_and_eoi));
    }
}

fn delivered() -> &'static [u8] {
    let l = log();
    &l.vectors[..l.count.min(32)]
}

const SELF: u32 = 1 << 18;
const ASSERT: u32 = 1 << 14;

fn self_ipi(vector: u8) {
    lapic_send(0, SELF | ASSERT | vector as u32);
}

/// A window for interrupts that is long enough for a machine that looks for them at block boundaries.
fn window() {
    for _ in 0..4 {
        unsafe { interrupt_window() };
    }
}

fn self_ipi_is_delivered_when_if_is_set(c: &mut Check) {
    listen(&[0x50]);
    self_ipi(0x50);
    window();
    c.equal("vectors", delivered(), &[0x50][..]);
    c.that("nothing is in service afterwards", !lapic_bit(lapic::ISR, 0x50));
}

fn self_ipi_with_if_clear_stays_requested(c: &mut Check) {
    listen(&[0x51]);
    self_ipi(0x51);
    c.that("IRR", lapic_bit(lapic::IRR, 0x51));
    c.that("not ISR", !lapic_bit(lapic::ISR, 0x51));
    c.equal("vectors", delivered(), &[][..]);
    window();
    c.that("IRR afterwards", !lapic_bit(lapic::IRR, 0x51));
    c.equal("vectors", delivered(), &[0x51][..]);
}

fn pending_interrupts_are_delivered_by_priority(c: &mut Check) {
    let order = [0x45, 0xC1, 0x62, 0x9F, 0x63];
    listen(&order);
    for v in order {
        self_ipi(v);
    }
    for _ in 0..3 {
        window();
    }
    c.equal("vectors", delivered(), &[0xC1, 0x9F, 0x63, 0x62, 0x45][..]);
}

fn higher_class_interrupts_handler_of_lower_class(c: &mut Check) {
    listen(&[0x90]);
    set_handler(
        0x50,
        Some(|frame| {
            record(frame);
            self_ipi(0x90);
            window();
            // Marks the end of the outer handler.
            log().vectors[log().count] = 0;
            log().count += 1;
            lapic_eoi();
        }),
    );
    self_ipi(0x50);
    window();
    c.equal("vectors", delivered(), &[0x50, 0x90, 0][..]);
}

fn same_class_waits_for_eoi(c: &mut Check) {
    listen(&[0x5F]);
    set_handler(
        0x51,
        Some(|frame| {
            record(frame);
            self_ipi(0x5F);
            window();
            log().vectors[log().count] = 0;
            log().count += 1;
            lapic_eoi();
            window();
        }),
    );
    self_ipi(0x51);
    window();
    c.equal("vectors", delivered(), &[0x51, 0, 0x5F][..]);
}

fn tpr_blocks_its_class_and_below(c: &mut Check) {
    listen(&[0x5F, 0x60, 0x4F]);
    lapic_write(lapic::TPR, 0x50);
    for v in [0x4F, 0x5F, 0x60] {
        self_ipi(v);
    }
    window();
    c.equal("with TPR 50H", delivered(), &[0x60][..]);
    lapic_write(lapic::TPR, 0x4F);
    window();
    c.equal("with TPR 4FH", delivered(), &[0x60, 0x5F][..]);
    lapic_write(lapic::TPR, 0);
    window();
    c.equal("with TPR 0", delivered(), &[0x60, 0x5F, 0x4F][..]);
}

fn ppr_is_maximum_of_tpr_and_isr(c: &mut Check) {
    lapic_write(lapic::TPR, 0x35);
    c.equal("TPR above ISR", lapic_read(lapic::PPR), 0x35);
    static SEEN: Shared<u32> = Shared::new(0);
    set_handler(
        0x7A,
        Some(|_| {
            unsafe { *SEEN.get() = lapic_read(lapic::PPR) };
            lapic_eoi();
        }),
    );
    self_ipi(0x7A);
    window();
    lapic_write(lapic::TPR, 0);
    c.equal("ISR above TPR", unsafe { *SEEN.get() }, 0x70);
    c.equal("neither", lapic_read(lapic::PPR), 0);
}

fn cr8_is_tpr_class(c: &mut Check) {
    unsafe { write_cr8(9) };
    c.equal("TPR", lapic_read(lapic::TPR), 0x90);
    lapic_write(lapic::TPR, 0x3C);
    c.equal("CR8", read_cr8(), 3);
    lapic_write(lapic::TPR, 0);
    listen(&[0x55]);
    unsafe { write_cr8(5) };
    self_ipi(0x55);
    window();
    c.equal("blocked", delivered(), &[][..]);
    unsafe { write_cr8(4) };
    window();
    c.equal("unblocked", delivered(), &[0x55][..]);
}

fn cr8_with_reserved_bits_is_gp(c: &mut Check) {
    expect_fault(c, "CR8", catch(|| unsafe { write_cr8(16) }), vector::GP, 0);
}

fn irr_collects_once_while_in_service(c: &mut Check) {
    listen(&[0x58]);
    for _ in 0..5 {
        self_ipi(0x58);
    }
    window();
    c.equal("requests merge", delivered(), &[0x58][..]);
    set_handler(
        0x58,
        Some(|frame| {
            record(frame);
            if log().count < 4 {
                self_ipi(0x58);
                self_ipi(0x58);
            }
            lapic_eoi();
        }),
    );
    log().count = 0;
    self_ipi(0x58);
    for _ in 0..8 {
        window();
    }
    c.equal("one in service, one requested", log().count, 4);
}

fn illegal_vector_sets_esr(c: &mut Check) {
    listen(&[3]);
    lapic_write(lapic::ESR, 0);
    lapic_send(0, SELF | ASSERT | 3);
    lapic_write(lapic::ESR, 0);
    let esr = lapic_read(lapic::ESR);
    c.equal("send illegal vector, of both illegal vector bits", esr & 0x60 | 0x40, 0x60);
    lapic_write(lapic::ESR, 0);
    c.equal("cleared by the write", lapic_read(lapic::ESR) & 1 << 5, 0);
    window();
    c.equal("delivered", delivered(), &[][..]);
}

fn lvt_with_software_disabled_apic_is_masked(c: &mut Check) {
    lapic_write(lapic::LVT_TIMER, 0x55);
    lapic_write(lapic::SVR, 0xFF);
    c.equal("LVT timer", lapic_read(lapic::LVT_TIMER) & 1 << 16, 1 << 16);
    lapic_write(lapic::LVT_TIMER, 0x55);
    c.equal("mask can not be cleared", lapic_read(lapic::LVT_TIMER) & 1 << 16, 1 << 16);
    lapic_enable();
}

fn local_apic_registers_after_enable_read_as_documented(c: &mut Check) {
    let version = lapic_read(lapic::VERSION);
    c.that("version is that of an integrated APIC", (0x10..=0x15).contains(&(version & 0xFF)));
    c.that("at least four LVT entries", version >> 16 & 0xFF >= 3);
    lapic_write(lapic::LDR, 0x0400_0000);
    c.equal("LDR", lapic_read(lapic::LDR), 0x0400_0000);
    lapic_write(lapic::LDR, 0);
    c.equal("DFR's lower bits are ones", lapic_read(lapic::DFR) & 0x0FFF_FFFF, 0x0FFF_FFFF);
}

/// Runs code with a self-IPI pending and returns where it was interrupted, as an offset; `None` if it was not.
fn interrupted_at(code: extern "C" fn()) -> (u8, Option<u64>) {
    listen(&[0x5A]);
    self_ipi(0x5A);
    let start = Context::kernel(code).with(reg::RAX, 0x10);
    let f = run(&start);
    unsafe { cli() };
    let at = (log().count > 0).then(|| log().rips[0].wrapping_sub(start.rip));
    // What was not delivered must not disturb the next test.
    window();
    (f.vector, at)
}

fn sti_delays_delivery_by_one_instruction(c: &mut Check) {
    snippet!(code: "nop", "sti", "nop", "nop", "nop", "cli",);
    c.equal("vector, offset", interrupted_at(code), (DONE, Some(3)));
    // With IF set already STI has no shadow: no difference to be seen here, since it would have been delivered before.
    snippet!(twice: "sti", "sti", "nop", "cli",);
    c.equal("a second STI does not extend it", interrupted_at(twice), (DONE, Some(2)));
}

fn sti_cli_delivers_nothing(c: &mut Check) {
    snippet!(code: "sti", "cli", "nop", "nop",);
    c.equal("vector, offset", interrupted_at(code), (DONE, None));
}

fn popf_setting_if_delivers_at_once(c: &mut Check) {
    snippet!(code: "push 0x202", "popfq", "nop", "nop", "cli",);
    c.equal("vector, offset", interrupted_at(code), (DONE, Some(6)));
}

fn mov_ss_delays_delivery_after_iret_window(c: &mut Check) {
    // TPR holds the interrupt off until CR8 is written, and MOV SS follows at once: whichever of the two boundaries the
    // processor takes, it may not be the one behind MOV SS.
    snippet!(code: "mov ecx, 15", "mov cr8, rcx", "sti", "nop", "xor ecx, ecx", "mov cr8, rcx", "mov ss, eax", "nop", "nop", "cli",);
    let (v, at) = interrupted_at(code);
    unsafe { write_cr8(0) };
    c.equal("vector", v, DONE);
    // 5 + 4 + 1 + 1 + 2 + 4 = 17: behind the write of CR8; 19 would be behind MOV SS.
    c.that("not in the shadow", at.is_some() && at != Some(19));
}

/// What the timer's interrupts of one long REP MOVS saw.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Interrupts between two iterations.
    inside: u64,
    /// Of these, with registers that do not agree with each other.
    wrong: u64,
    /// Of these, with RF clear in the flags pushed.
    without_rf: u64,
}

fn interrupted_rep_movs(c: &mut Check) -> Progress {
    // The timer interrupts a long string instruction; afterwards it must have done all its work exactly once.
    const BYTES: u64 = 4 << 20;
    const FROM: u64 = 48 << 20;
    const TO: u64 = 56 << 20;
    unsafe {
        for i in 0..BYTES / 8 {
            ((FROM + i * 8) as *mut u64).write_volatile(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            ((TO + i * 8) as *mut u64).write_volatile(0);
        }
    }
    static SEEN: Shared<Progress> = Shared::new(Progress { inside: 0, wrong: 0, without_rf: 0 });
    static CODE: Shared<u64> = Shared::new(0);
    snippet!(code: "sti", "nop", "rep movsb", "cli",);
    unsafe {
        *CODE.get() = code as *const () as u64 + 2;
        *SEEN.get() = Progress::default();
    }
    set_handler(
        0x5C,
        Some(|frame| unsafe {
            let seen = &mut *SEEN.get();
            let left = frame.regs[reg::RCX];
            if frame.rip == *CODE.get() && left != 0 && left != BYTES {
                let done = BYTES - left;
                seen.inside += 1;
                seen.wrong += (frame.regs[reg::RSI] != FROM + done || frame.regs[reg::RDI] != TO + done) as u64;
                seen.without_rf += (frame.rflags & 1 << 16 == 0) as u64;
            }
            lapic_eoi();
        }),
    );
    lapic_write(lapic::TIMER_DIVIDE, 0xB);
    lapic_write(lapic::LVT_TIMER, 1 << 17 | 0x5C);
    lapic_write(lapic::TIMER_INITIAL, 20_000);
    let f = run(&Context::kernel(code).with(reg::RCX, BYTES).with(reg::RSI, FROM).with(reg::RDI, TO));
    lapic_write(lapic::TIMER_INITIAL, 0);
    lapic_write(lapic::LVT_TIMER, 1 << 16);
    window();
    c.equal("vector, RCX", (f.vector, f.regs[reg::RCX]), (DONE, 0));
    let equal = unsafe {
        core::slice::from_raw_parts(FROM as *const u64, (BYTES / 8) as usize)
            == core::slice::from_raw_parts(TO as *const u64, (BYTES / 8) as usize)
    };
    c.that("all is copied", equal);
    unsafe { *SEEN.get() }
}

fn interrupt_in_rep_movs_reports_progress(c: &mut Check) {
    let seen = interrupted_rep_movs(c);
    c.equal("interrupts with wrong registers", seen.wrong, 0);
    if seen.inside == 0 {
        c.skip("no interrupt came between two iterations");
    }
}

fn interrupt_in_rep_movs_pushes_rf(c: &mut Check) {
    let seen = interrupted_rep_movs(c);
    c.equal("interrupts without RF", seen.without_rf, 0);
    if seen.inside == 0 {
        c.skip("no interrupt came between two iterations");
    }
}

fn hlt_wakes_behind_itself(c: &mut Check) {
    listen(&[0x5B]);
    lapic_write(lapic::TIMER_DIVIDE, 0xB);
    lapic_write(lapic::LVT_TIMER, 0x5B);
    lapic_write(lapic::TIMER_INITIAL, 100_000);
    snippet!(code: "sti", "hlt", "nop", "cli",);
    let start = Context::kernel(code);
    let f = run(&start);
    c.equal("vector", f.vector, DONE);
    c.equal("offset", log().rips[0].wrapping_sub(start.rip), 2);
    lapic_write(lapic::LVT_TIMER, 1 << 16);
}

/// Sends an NMI to this processor.
fn send_nmi() {
    let id = lapic_id();
    lapic_send(id, ASSERT | 0x400);
    // Delivery needs no window, but a few instructions.
    for _ in 0..50 {
        core::hint::spin_loop();
    }
}

fn nmi_is_delivered_with_if_clear(c: &mut Check) {
    log().count = 0;
    set_handler(vector::NMI, Some(record));
    send_nmi();
    c.equal("vectors", delivered(), &[vector::NMI][..]);
    set_handler(vector::NMI, None);
}

fn nmi_within_nmi_waits_for_iret(c: &mut Check) {
    log().count = 0;
    set_handler(
        vector::NMI,
        Some(|frame| {
            record(frame);
            if log().count == 1 {
                send_nmi();
                send_nmi();
                log().vectors[log().count] = 0;
                log().count += 1;
            }
        }),
    );
    send_nmi();
    for _ in 0..50 {
        core::hint::spin_loop();
    }
    set_handler(vector::NMI, None);
    // The two merge into one that waits.
    c.equal("vectors", delivered(), &[vector::NMI, 0, vector::NMI][..]);
}

/// Lets the 8259s' output through LINT0.
fn pic_through_lint0() {
    lapic_write(lapic::LVT_LINT0, 0x700);
}

fn stop_pic() {
    unsafe {
        pic_mask(0xFFFF);
        lapic_write(lapic::LVT_LINT0, 1 << 16 | 0x700);
        timers::pit_program(0, 0, 1);
        pic_init(0x20);
        // A request latched by the PIT goes away with the initialization.
    }
}

/// Makes the PIT raise IRQ 0 once and waits until the 8259 has seen it.
fn raise_irq0() -> bool {
    unsafe {
        timers::pit_program(0, 0, 100);
        for _ in 0..100_000 {
            if pic_requests() & 1 != 0 {
                return true;
            }
            core::hint::spin_loop();
        }
    }
    false
}

fn pic_timer_interrupt_goes_through_irr_isr_eoi(c: &mut Check) {
    unsafe {
        pic_init(0x20);
        pic_through_lint0();
        pic_mask(!1);
        static ISR: Shared<u16> = Shared::new(0);
        log().count = 0;
        set_handler(
            0x20,
            Some(|frame| {
                record(frame);
                *ISR.get() = pic_in_service();
                pic_eoi(0);
            }),
        );
        c.that("IRR is set", raise_irq0());
        c.equal("nothing with IF clear", delivered(), &[][..]);
        window();
        c.equal("vectors", delivered(), &[0x20][..]);
        c.equal("ISR in the handler", *ISR.get(), 1);
        c.equal("ISR after EOI", pic_in_service(), 0);
        stop_pic();
    }
}

fn pic_mask_holds_request(c: &mut Check) {
    unsafe {
        pic_init(0x20);
        pic_through_lint0();
        log().count = 0;
        set_handler(
            0x20,
            Some(|frame| {
                record(frame);
                pic_eoi(0);
            }),
        );
        c.that("IRR is set though masked", raise_irq0());
        window();
        c.equal("masked", delivered(), &[][..]);
        pic_mask(!1);
        window();
        c.equal("unmasked", delivered(), &[0x20][..]);
        stop_pic();
    }
}

fn pic_priority_and_cascade(c: &mut Check) {
    unsafe {
        pic_init(0x20);
        pic_through_lint0();
        pic_mask(!(1 | 4 | 0x100));
        log().count = 0;
        set_handler(
            0x20,
            Some(|frame| {
                record(frame);
                window(); // IRQ 8 must wait although it is requested
                pic_eoi(0);
            }),
        );
        set_handler(
            0x28,
            Some(|frame| {
                record(frame);
                timers::rtc_read(0x0C);
                pic_eoi(8);
            }),
        );
        // The RTC's periodic interrupt at 1024 Hz for IRQ 8.
        timers::rtc_write(0x0A, 0x26);
        timers::rtc_read(0x0C);
        timers::rtc_write(0x0B, 0x42);
        for _ in 0..2_000_000 {
            if pic_requests() & 0x100 != 0 {
                break;
            }
            core::hint::spin_loop();
        }
        let requested = pic_requests() & 0x100 != 0;
        c.that("IRQ 8 is requested", requested);
        c.that("IRQ 0 is requested", raise_irq0());
        window();
        window();
        // The line must stay up until the acknowledge, so the clock is stopped only now.
        timers::rtc_write(0x0B, 0x02);
        timers::rtc_read(0x0C);
        c.equal("first two vectors", &delivered()[..delivered().len().min(2)], &[0x20, 0x28][..]);
        stop_pic();
    }
}

fn pic_automatic_eoi_leaves_isr_clear(c: &mut Check) {
    use bare_metal_runtime::port::outb;
    unsafe {
        pic_init(0x20);
        outb(0x20, 0x11);
        outb(0x21, 0x20);
        outb(0x21, 0x04);
        outb(0x21, 0x03); // ICW4: automatic EOI
        pic_mask(!1);
        pic_through_lint0();
        static ISR: Shared<u16> = Shared::new(0xFFFF);
        log().count = 0;
        set_handler(
            0x20,
            Some(|frame| {
                record(frame);
                *ISR.get() = pic_in_service();
            }),
        );
        c.that("IRR is set", raise_irq0());
        window();
        c.equal("vectors", delivered(), &[0x20][..]);
        c.equal("ISR in the handler", *ISR.get() & 1, 0);
        stop_pic();
    }
}

fn pic_special_fully_programmed_vector_base(c: &mut Check) {
    unsafe {
        // The three low bits of ICW2 are the line's.
        pic_init(0x7D & 0xF8);
        pic_through_lint0();
        pic_mask(!1);
        log().count = 0;
        set_handler(
            0x78,
            Some(|frame| {
                record(frame);
                pic_eoi(0);
            }),
        );
        c.that("IRR is set", raise_irq0());
        window();
        c.equal("vectors", delivered(), &[0x78][..]);
        stop_pic();
    }
}

/// The pin that the PIT is wired to on machines with an interrupt source override for IRQ 0.
const PIT_PIN: u32 = 2;

fn io_apic_edge_delivers_once(c: &mut Check) {
    let io = IoApic::first();
    listen(&[0x66]);
    io.redirect(PIT_PIN, (lapic_id() as u64) << 56 | 0x66);
    unsafe { timers::pit_program(0, 0, 100) };
    for _ in 0..200 {
        window();
        timers::wait_us(10);
        if log().count > 0 {
            break;
        }
    }
    timers::wait_us(500);
    window();
    io.redirect(PIT_PIN, 1 << 16);
    c.equal("vectors", delivered(), &[0x66][..]);
    c.equal("delivery status and remote IRR", io.read(0x10 + PIT_PIN * 2) & 0x5000, 0);
}

fn io_apic_registers_read_back(c: &mut Check) {
    let io = IoApic::first();
    c.that("24 entries at least", io.entries() >= 24);
    io.write(0x10 + 9 * 2, 0x0001_A3F1);
    io.write(0x11 + 9 * 2, 0x0500_0000);
    // Delivery status (bit 12) and remote IRR (bit 14) are read-only.
    c.equal("low", io.read(0x10 + 9 * 2), 0x0001_A3F1);
    c.equal("high", io.read(0x11 + 9 * 2), 0x0500_0000);
    io.redirect(9, 1 << 16);
}

fn io_apic_masked_edge_is_lost(c: &mut Check) {
    let io = IoApic::first();
    listen(&[0x67]);
    io.redirect(PIT_PIN, 1 << 16 | (lapic_id() as u64) << 56 | 0x67);
    unsafe { timers::pit_program(0, 0, 100) };
    timers::wait_us(500);
    io.write(0x10 + PIT_PIN * 2, 0x67);
    window();
    timers::wait_us(50);
    window();
    io.redirect(PIT_PIN, 1 << 16);
    c.equal("vectors", delivered(), &[][..]);
}

/// Switches to x2APIC mode, runs, and comes back through the disabled state.
fn in_x2apic(f: impl FnOnce()) {
    unsafe {
        let base = rdmsr(IA32_APIC_BASE);
        wrmsr(IA32_APIC_BASE, base | 1 << 10);
        f();
        wrmsr(IA32_APIC_BASE, base & !(3 << 10));
        wrmsr(IA32_APIC_BASE, base & !(1 << 10));
    }
    lapic_enable();
}

fn x2apic_mode_uses_msrs(c: &mut Check) {
    if !c.needs(features::X2APIC) {
        return;
    }
    let id = lapic_id();
    in_x2apic(|| unsafe {
        lapic_enable();
        c.equal("identifier", rdmsr(0x802), id as u64);
        c.equal("LDR", rdmsr(0x80D), ((id as u64 >> 4) << 16) | 1 << (id & 15));
        listen(&[0x5D, 0x5E]);
        wrmsr(0x83F, 0x5D);
        wrmsr(0x830, (id as u64) << 32 | 0x5E);
        window();
        c.equal("vectors", delivered(), &[0x5E, 0x5D][..]);
        for (what, msr, value) in [
            ("EOI not zero", 0x80B, 1),
            ("self IPI, upper bits", 0x83F, 0x100),
            ("TPR, upper bits", 0x808, 0x100),
            ("ESR not zero", 0x828, 1),
            ("identifier is read-only", 0x802, 0),
            ("LDR is read-only", 0x80D, 0),
        ] {
            expect_fault(c, what, catch(|| wrmsr(msr, value)), vector::GP, 0);
        }
        for (what, msr) in [("DFR", 0x80E), ("ICR high", 0x831), ("self IPI", 0x83F), ("EOI", 0x80B)] {
            expect_fault(
                c,
                what,
                catch(|| {
                    rdmsr(msr);
                }),
                vector::GP,
                0,
            );
        }
    });
    expect_fault(
        c,
        "MSR in xAPIC mode",
        catch(|| unsafe {
            rdmsr(0x802);
        }),
        vector::GP,
        0,
    );
}

fn x2apic_illegal_transitions_are_gp(c: &mut Check) {
    if !c.needs(features::X2APIC) {
        return;
    }
    unsafe {
        let base = rdmsr(IA32_APIC_BASE);
        let disabled = base & !(3 << 10);
        in_x2apic(|| {
            expect_fault(c, "x2APIC to xAPIC", catch(|| wrmsr(IA32_APIC_BASE, base)), vector::GP, 0);
            expect_fault(c, "EN clear, EXTD set", catch(|| wrmsr(IA32_APIC_BASE, disabled | 1 << 10)), vector::GP, 0);
        });
        wrmsr(IA32_APIC_BASE, disabled);
        expect_fault(c, "disabled to x2APIC", catch(|| wrmsr(IA32_APIC_BASE, base | 1 << 10)), vector::GP, 0);
        wrmsr(IA32_APIC_BASE, base);
    }
    lapic_enable();
}

fn apic_base_reserved_bits_are_gp(c: &mut Check) {
    let base = unsafe { rdmsr(IA32_APIC_BASE) };
    for bit in (0..8).chain([9]).chain(bare_metal_runtime::paging::physical_address_bits()..64) {
        expect_fault(c, "reserved bit", catch(|| unsafe { wrmsr(IA32_APIC_BASE, base | 1 << bit) }), vector::GP, 0);
    }
}

fn apic_disabled_globally_hides_cpuid_bit(c: &mut Check) {
    unsafe {
        let base = rdmsr(IA32_APIC_BASE);
        c.that("enabled", features::APIC.present());
        wrmsr(IA32_APIC_BASE, base & !(1 << 11));
        let seen = features::APIC.present();
        wrmsr(IA32_APIC_BASE, base);
        lapic_enable();
        c.that("hidden while disabled", !seen);
    }
}
