//! Amounts that people write: sizes in powers of 1024, counts in powers of 1000.

use anyhow::{Context, Result, bail};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use std::str::FromStr;

/// A number of bytes: `4096`, `64K`, `512M`, `1G`; the suffixes are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A number of instructions: `250`, `64K`, `400M`, `2G`; the suffixes are powers of 1000. `_` may group digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

fn parse(text: &str, factor: u64) -> Result<u64> {
    let (digits, power) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1),
        Some((at, 'm' | 'M')) => (&text[..at], 2),
        Some((at, 'g' | 'G')) => (&text[..at], 3),
        _ => (text, 0),
    };
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_digit()) {
        bail!("`{text}` is no number with an optional suffix K, M or G");
    }
    let number: Option<u64> = plain.parse().ok();
    number.and_then(|number| number.checked_mul(factor.pow(power))).with_context(|| format!("`{text}` is too large"))
}

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text, 1024).map(Size)
    }
}

impl FromStr for Count {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text, 1000).map(Count)
    }
}

/// Takes a number as it is, and a text by the type's `FromStr`.
struct NumberOrText<T>(fn(u64) -> T);

impl<T: FromStr<Err = anyhow::Error>> Visitor<'_> for NumberOrText<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number, or a text such as \"64M\"")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        Ok((self.0)(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        u64::try_from(value).map(self.0).map_err(|_| E::custom(format!("{value} is negative")))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        value.parse().map_err(|error| E::custom(format!("{error:#}")))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText(Size))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText(Count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_suffix_multiplies_by_powers_of_1024() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64K", 65536), ("512m", 512 << 20), ("1G", 1 << 30)] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
    }

    #[test]
    fn count_suffix_multiplies_by_powers_of_1000() {
        for (text, count) in [("7", 7), ("64k", 64_000), ("400M", 400_000_000), ("1_000G", 1_000_000_000_000)] {
            assert_eq!(text.parse::<Count>().unwrap(), Count(count), "{text}");
        }
    }

    #[test]
    fn amount_malformed_or_too_large_is_refused_with_its_text() {
        for text in ["", "K", "1.5G", "-1", "1GB", "0x10", "20000000000G", "99999999999999999999", "1ß", "_", "+1"] {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
