//! Rust source with comments and literals blanked, so that words can be looked for without a parser.

/// Where the scanner stands.
enum Inside {
    Code,
    LineComment,
    BlockComment(u32),
    Text,
    RawText(usize),
}

/// Returns `source` with every comment, string and character literal replaced by spaces; line breaks stay.
pub fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut inside = Inside::Code;
    let mut at = 0;
    while at < chars.len() {
        let (step, shown) = match inside {
            Inside::Code => scan_code(&chars, at, &mut inside),
            Inside::LineComment => {
                if chars[at] == '\n' {
                    inside = Inside::Code;
                }
                (1, false)
            }
            Inside::BlockComment(depth) => match (chars[at], chars.get(at + 1)) {
                ('*', Some('/')) => {
                    inside = if depth == 1 { Inside::Code } else { Inside::BlockComment(depth - 1) };
                    (2, false)
                }
                ('/', Some('*')) => {
                    inside = Inside::BlockComment(depth + 1);
                    (2, false)
                }
                _ => (1, false),
            },
            Inside::Text => match chars[at] {
                '\\' => (2, false),
                '"' => {
                    inside = Inside::Code;
                    (1, false)
                }
                _ => (1, false),
            },
            Inside::RawText(hashes) => {
                if chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
                    inside = Inside::Code;
                    (1 + hashes, false)
                } else {
                    (1, false)
                }
            }
        };
        for c in chars.iter().skip(at).take(step) {
            code.push(if shown || *c == '\n' { *c } else { ' ' });
        }
        at += step;
    }
    code
}

/// One step in code: how many characters it takes and whether they are code.
fn scan_code(chars: &[char], at: usize, inside: &mut Inside) -> (usize, bool) {
    let next = chars.get(at + 1).copied();
    let after_word = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '/' if next == Some('/') => *inside = Inside::LineComment,
        '/' if next == Some('*') => {
            *inside = Inside::BlockComment(1);
            return (2, false);
        }
        '"' => *inside = Inside::Text,
        'r' if !after_word || chars[at - 1] == 'b' || chars[at - 1] == 'c' => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if chars.get(at + 1 + hashes) == Some(&'"') {
                *inside = Inside::RawText(hashes);
                return (2 + hashes, false);
            }
            return (1, true);
        }
        // A character literal, told from a lifetime by the quote that closes it.
        '\'' if next == Some('\\') => {
            let close = chars[at + 2..].iter().skip(1).position(|c| *c == '\'');
            return (close.map_or(1, |close| close + 4), false);
        }
        '\'' if chars.get(at + 2) == Some(&'\'') => return (3, false),
        _ => return (1, true),
    }
    (1, false)
}

/// Whether `c` can be part of a name.
pub fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Line number of each place where `word` stands as a whole word in `code`.
pub fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let has = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            !line[..at].chars().next_back().is_some_and(is_word)
                && !line[at + word.len()..].chars().next().is_some_and(is_word)
        })
    };
    code.lines().enumerate().filter(|(_, line)| has(line)).map(|(index, _)| index + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_only_comment_or_literal_is_blanked() {
        let source = "a // unsafe\n/* unsafe /* unsafe */ unsafe */ b \"unsafe \\\" unsafe\" r#\"unsafe \" \"# c 'u' '\\'' '\\u{41}' d<'unsafe>";
        let code = code_only(source);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c", "d<'unsafe>"]);
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn code_only_unclosed_literal_ends_with_the_file() {
        assert_eq!(code_only("x \"abc").trim(), "x");
        assert_eq!(code_only("x r#\"abc").trim(), "x");
        assert_eq!(code_only("x '\\").trim_end(), "x  \\");
    }

    #[test]
    fn lines_with_word_part_of_a_name_is_no_hit() {
        assert_eq!(lines_with_word("unsafe_code\nunsafe {\nan_unsafe\n(unsafe)", "unsafe"), [2, 4]);
    }
}
