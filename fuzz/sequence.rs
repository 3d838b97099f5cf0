//! Test data from a seed: the same on every host and at every run.

/// Samples that cases are made from by changing them; for formats that random bytes never hit.
pub type Seeds = Vec<Vec<u8>>;

/// SplitMix64: each case has a generator of its own, so that one case can be run alone.
struct Sequence(u64);

impl Sequence {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound.max(1) as u64) as usize
    }

    /// A byte as formats have them: zero, all ones, one bit, small, or any.
    fn byte(&mut self) -> u8 {
        match self.below(8) {
            0 => 0,
            1 => 0xff,
            2 => 1 << self.below(8),
            3 => self.below(16) as u8,
            _ => self.bits() as u8,
        }
    }
}

/// The data of case number `case`: fresh bytes, or a seed with a few changes.
fn case_data(case: u32, longest: usize, seeds: &Seeds) -> Vec<u8> {
    let mut sequence = Sequence(u64::from(case));
    if seeds.is_empty() || sequence.below(2) == 0 {
        let length = sequence.below(longest + 1);
        return (0..length).map(|_| sequence.byte()).collect();
    }
    let mut data = seeds[sequence.below(seeds.len())].clone();
    for _ in 0..1 + sequence.below(6) {
        let at = sequence.below(data.len());
        match sequence.below(8) {
            0 => data.truncate(at),
            1 => data.insert(at, sequence.byte()),
            // A word of a header: lengths, offsets and addresses are such.
            2 | 3 if at + 4 <= data.len() => {
                let word = match sequence.below(3) {
                    0 => sequence.bits() as u32,
                    1 => u32::MAX - sequence.below(4096) as u32,
                    _ => sequence.below(65536) as u32,
                };
                let at = at & !3;
                data[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            _ if at < data.len() => data[at] = sequence.byte(),
            _ => data.push(sequence.byte()),
        }
    }
    data
}

/// Runs `fuzz_one` over `cases` pieces of data. A panic is preceded by the data that made it, for the fuzzer's corpus.
pub fn run_cases(cases: u32, longest: usize, seeds: &Seeds, fuzz_one: fn(&[u8])) {
    struct OnPanic<'a>(u32, &'a [u8]);
    impl Drop for OnPanic<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let shown = &self.1[..self.1.len().min(256)];
                eprintln!("case {} with {} bytes, which begin {shown:02x?}", self.0, self.1.len());
            }
        }
    }
    for case in 0..cases {
        let data = case_data(case, longest, seeds);
        let guard = OnPanic(case, &data);
        fuzz_one(&data);
        drop(guard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_data_same_case_is_the_same_bytes() {
        let seeds = vec![b"a header".to_vec()];
        let all: Vec<_> = (0..1000).map(|case| case_data(case, 64, &seeds)).collect();
        assert_eq!(all, (0..1000).map(|case| case_data(case, 64, &seeds)).collect::<Vec<_>>());
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert!(different.len() > 900, "only {} different", different.len());
        assert!(all.iter().all(|data| data.len() <= 64));
    }
}
