//! Compressed kernel images: RFC 1952, "GZIP file format specification".

use super::error::BootError;
use flate2::read::GzDecoder;
use std::borrow::Cow;
use std::io::Read;

/// The most that a compressed image may become.
const LIMIT: u64 = 512 << 20;

/// The image itself, or what it is when decompressed. What follows the compressed data (zero padding, a signature) is ignored.
pub(super) fn decompress(image: &[u8]) -> Result<Cow<'_, [u8]>, BootError> {
    if !image.starts_with(&[0x1f, 0x8b, 8]) {
        return Ok(Cow::Borrowed(image));
    }
    let mut plain = Vec::new();
    match GzDecoder::new(image).take(LIMIT + 1).read_to_end(&mut plain) {
        Ok(_) if plain.len() as u64 > LIMIT => Err(BootError::GzipTooLarge { limit: LIMIT }),
        Ok(_) => Ok(Cow::Owned(plain)),
        Err(error) => Err(BootError::Gzip { reason: error.to_string() }),
    }
}
