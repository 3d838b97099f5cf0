//! The escape key of the console: what the user types, split into input of the machine and wishes to us.

/// Ctrl-A, which begins a wish.
const ESCAPE: u8 = 0x01;

/// Shown on Ctrl-A H.
pub const HELP: &str = "Ctrl-A X leaves; Ctrl-A Ctrl-A sends Ctrl-A; Ctrl-A H shows this";

/// What a piece of typed bytes amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the machine.
    Bytes(Vec<u8>),
    /// The user wants to leave.
    Leave,
    /// The user wants help.
    Help,
}

/// Remembers whether the last byte was the escape key.
#[derive(Debug, Default)]
pub struct EscapeFilter {
    escaped: bool,
}

impl EscapeFilter {
    /// Takes what was typed, in order. A key without a meaning after Ctrl-A is dropped.
    pub fn filter(&mut self, typed: &[u8]) -> Vec<Typed> {
        let mut found = Vec::new();
        let mut bytes = Vec::new();
        for &byte in typed {
            if !self.escaped {
                self.escaped = byte == ESCAPE;
                if !self.escaped {
                    bytes.push(byte);
                }
                continue;
            }
            self.escaped = false;
            let wish = match byte {
                ESCAPE => {
                    bytes.push(ESCAPE);
                    continue;
                }
                b'x' | b'X' | 0x18 => Typed::Leave,
                b'h' | b'H' | b'?' => Typed::Help,
                _ => continue,
            };
            if !bytes.is_empty() {
                found.push(Typed::Bytes(std::mem::take(&mut bytes)));
            }
            found.push(wish);
        }
        if !bytes.is_empty() {
            found.push(Typed::Bytes(bytes));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_plain_bytes_pass_unchanged() {
        let all: Vec<u8> = (0..=255).filter(|byte| *byte != ESCAPE).collect();
        assert_eq!(EscapeFilter::default().filter(&all), [Typed::Bytes(all.clone())]);
        assert!(EscapeFilter::default().filter(b"").is_empty());
    }

    #[test]
    fn typed_escape_then_x_leaves_in_order() {
        let found = EscapeFilter::default().filter(b"ab\x01xcd");
        assert_eq!(found, [Typed::Bytes(b"ab".to_vec()), Typed::Leave, Typed::Bytes(b"cd".to_vec())]);
        assert_eq!(EscapeFilter::default().filter(b"\x01\x18"), [Typed::Leave]);
    }

    #[test]
    fn typed_escape_twice_sends_one() {
        assert_eq!(EscapeFilter::default().filter(b"a\x01\x01x"), [Typed::Bytes(b"a\x01x".to_vec())]);
    }

    #[test]
    fn typed_escape_split_between_reads_is_remembered() {
        let mut filter = EscapeFilter::default();
        assert!(filter.filter(b"\x01").is_empty());
        assert_eq!(filter.filter(b"h"), [Typed::Help]);
        assert_eq!(filter.filter(b"h"), [Typed::Bytes(b"h".to_vec())]);
    }

    #[test]
    fn typed_escape_then_other_key_drops_both() {
        assert_eq!(EscapeFilter::default().filter(b"\x01qz"), [Typed::Bytes(b"z".to_vec())]);
    }
}
