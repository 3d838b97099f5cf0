//! The transcendental instructions against results computed elsewhere with 420 bits: here they are correctly rounded.

use undercroft_float::x87::{self, Trigonometric};
use undercroft_float::{Env, F80};

fn complete<T>(result: Trigonometric<T>) -> T {
    match result {
        Trigonometric::Complete(value) => value,
        Trigonometric::OutOfRange => panic!("the operand is in range"),
    }
}

#[test]
fn transcendental_golden_operands_give_the_correctly_rounded_result() {
    let env = Env::default();
    let mut lines = 0;
    for line in include_str!("golden/transcendental.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let instruction = words.next().expect("a line begins with an instruction");
        let values: Vec<u64> = words.map(|word| u64::from_str_radix(word, 16).expect("hexadecimal")).collect();
        let f80 = |i: usize| F80 { sign_exponent: values[2 * i] as u16, significand: values[2 * i + 1] };
        let (st0, st1, expected) = (f80(0), f80(1), f80(2));
        let got = match instruction {
            "f2xm1" => x87::exponential(env, st0).value,
            "fyl2x" => x87::log_times(env, st0, st1).value,
            "fyl2xp1" => x87::log_plus_one_times(env, st0, st1).value,
            "fpatan" => x87::angle(env, st0, st1).value,
            "fsin" => complete(x87::sin(env, st0)).value,
            "fcos" => complete(x87::cos(env, st0)).value,
            "fptan" => complete(x87::tan(env, st0)).0.value,
            other => panic!("{other}: no such instruction"),
        };
        assert_eq!(got, expected, "{line}");
        lines += 1;
    }
    assert!(lines >= 160, "only {lines} lines");
}
