//! `native-oracle`: random cases on the host and in the machine, until something differs.

use clap::Parser;
use iced_x86::Code;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use undercroft_native_oracle::case::{Outcome, Subject};
use undercroft_native_oracle::compare::compare;
use undercroft_native_oracle::generate::{Choice, all, generate};
use undercroft_native_oracle::machine::{Machine, PASSES, Pass};
use undercroft_native_oracle::native::Native;
use undercroft_native_oracle::report;

/// Compares the machine's processor with the host's, instruction by instruction.
#[derive(Parser)]
struct Args {
    /// How many cases; `200k` and `10M` are understood.
    #[arg(long, default_value = "200k", value_parser = count)]
    cases: u64,
    /// What the cases are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The first case.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only these instructions, as iced-x86 names them.
    #[arg(long, value_delimiter = ',')]
    mnemonic: Vec<String>,
    /// Only cases of one instruction.
    #[arg(long)]
    single: bool,
    /// Compare the host with itself: what comes out must depend on the case alone.
    #[arg(long)]
    self_check: bool,
    /// How many mismatches to print; others are counted by instruction.
    #[arg(long, default_value_t = 20)]
    show: usize,
    /// At most so many of each instruction.
    #[arg(long, default_value_t = 1)]
    each: u64,
    /// How often each form was executed, and how often in a case without an exception.
    #[arg(long)]
    coverage: bool,
    /// Leave mismatches as they are.
    #[arg(long)]
    no_minimise: bool,
    /// Only these ways of the machine to run a case: cold, warm (together with cold), stepped.
    #[arg(long, value_delimiter = ',', value_parser = pass)]
    pass: Vec<Pass>,
}

fn count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.chars().last() {
        Some('k') => (&text[..text.len() - 1], 1_000),
        Some('M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    digits.parse::<u64>().map(|n| n * unit).map_err(|e| e.to_string())
}

fn pass(text: &str) -> Result<Pass, String> {
    PASSES.into_iter().find(|p| format!("{p:?}").to_lowercase() == text).ok_or_else(|| format!("no pass {text}"))
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut choice = Choice::of_mnemonics(&args.mnemonic);
    if !args.mnemonic.is_empty() && choice.codes.is_empty() {
        anyhow::bail!("no instruction of the set is called {}", args.mnemonic.join(", "));
    }
    choice.single = args.single;
    let mut host = Native::new()?;
    let mut room = [Outcome::new(), Outcome::new()];
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let mut endings: BTreeMap<String, u64> = BTreeMap::new();
    let (mut shown, mut mismatches) = (0, 0);
    let (mut made, mut completed) = (vec![0_u64; Code::values().len()], vec![0_u64; Code::values().len()]);
    let begin = Instant::now();
    let mut last = begin;
    let mut machine = Machine::new();
    let passes: &[Pass] = if args.pass.is_empty() { &PASSES } else { &args.pass };
    for index in args.from..args.from + args.cases {
        let case = generate(args.seed, index, &choice);
        host.run(&case, &mut room[0]);
        let mut differences = Vec::new();
        if args.self_check {
            host.run(&case, &mut room[1]);
            differences = compare(&case, &room[0], &room[1]);
        } else {
            for pass in passes {
                machine.pass = *pass;
                // A warm run follows the cold one.
                machine.run_pass(&case, *pass, &mut room[1]);
                differences = compare(&case, &room[0], &room[1]);
                if !differences.is_empty() {
                    break;
                }
            }
        }
        *endings.entry(room[0].fault.map_or("end".into(), |f| format!("vector {}", f.vector))).or_default() += 1;
        for item in &case.items {
            let code = item.instruction.code() as usize;
            made[code] += 1;
            completed[code] += u64::from(room[0].fault.is_none() && case.items.len() == 1);
        }
        if !differences.is_empty() {
            mismatches += 1;
            let mut case = case;
            if !args.no_minimise && !args.self_check {
                case = report::minimise(&case, &mut host, &mut machine);
                differences = report::check(&case, &mut host, &mut machine, &mut room);
            }
            let name = case.items.last().map_or(String::new(), |i| format!("{:?}", i.instruction.code()));
            let seen = found.entry(name).or_default();
            *seen += 1;
            if *seen <= args.each && shown < args.show {
                shown += 1;
                println!("{:?}: {}", machine.pass, report::describe(&case, &differences));
            }
        }
        if last.elapsed() > Duration::from_secs(10) {
            last = Instant::now();
            eprintln!(
                "{} cases, {mismatches} mismatches, {:.0} s",
                index - args.from + 1,
                begin.elapsed().as_secs_f64()
            );
        }
    }
    println!("{} cases in {:.1} s; endings: {endings:?}", args.cases, begin.elapsed().as_secs_f64());
    let codes = if choice.codes.is_empty() { all() } else { &choice.codes };
    let of = |counts: &[u64], wanted: bool| codes.iter().filter(|c| (counts[**c as usize] > 0) == wanted).count();
    println!(
        "{} forms: {} executed, {} of them alone and without an exception",
        codes.len(),
        of(&made, true),
        of(&completed, true)
    );
    if args.coverage {
        for code in codes {
            println!("{:>8} {:>8} {code:?}", made[*code as usize], completed[*code as usize]);
        }
    }
    anyhow::ensure!(mismatches == 0, "{mismatches} mismatches: {found:?}");
    Ok(())
}
