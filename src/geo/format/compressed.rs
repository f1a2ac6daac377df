//! gzip and zstd compression around any other format.
//!
//! Publishers compress their files, and a reader that decompresses them itself saves a step that
//! may fail halfway. A few bytes can expand to gigabytes, so the output is limited by the size of
//! the input. Only one level is decompressed, since no publisher compresses twice.

use std::io::Read;

use super::FormatError;

const GZIP: &[u8] = b"\x1f\x8b\x08";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Maximum ratio between a file and its compressed form. Tables of addresses shrink to a fifth or a
/// tenth.
const RATIO: usize = 100;

/// Decompressed size that is always allowed, however small the compressed form is, in bytes.
const ALWAYS: usize = 16 << 20;

/// Decompressed size that is never exceeded, in bytes.
const NEVER: usize = 2 << 30;

/// Returns the maximum decompressed size of `compressed` bytes.
pub(super) fn limit(compressed: usize) -> usize {
    compressed.saturating_mul(RATIO).clamp(ALWAYS, NEVER)
}

/// Returns the decompressed bytes, or `None` if the input is not compressed.
///
/// # Errors
/// If the compressed bytes are damaged, expand beyond [`limit`], or contain compressed bytes again.
pub(super) fn unpack(bytes: &[u8]) -> Result<Option<Vec<u8>>, FormatError> {
    let corrupt = |format, reason| FormatError::Corrupt {
        format,
        offset: 0,
        reason,
    };
    let (format, unpacked) = if bytes.starts_with(GZIP) {
        let decoder = flate2::read::MultiGzDecoder::new(bytes);
        ("gzip", read_bounded(decoder, limit(bytes.len())))
    } else if bytes.starts_with(ZSTD) {
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
        let limit = limit(bytes.len());
        let unpacked = decoder.map_err(|error| error.to_string());
        ("zstd", unpacked.and_then(|d| read_bounded(d, limit)))
    } else {
        return Ok(None);
    };
    let unpacked = unpacked.map_err(|reason| corrupt(format, reason))?;
    if unpacked.starts_with(GZIP) || unpacked.starts_with(ZSTD) {
        return Err(corrupt(format, "compressed twice".to_owned()));
    }
    Ok(Some(unpacked))
}

fn read_bounded(decoder: impl Read, limit: usize) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    decoder
        .take(limit as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| error.to_string())?;
    if unpacked.len() > limit {
        return Err(format!("unpacks to more than {limit} bytes"));
    }
    Ok(unpacked)
}

/// Compresses with gzip, so that tests need no third-party data.
///
/// # Panics
/// Never: it writes to memory.
#[doc(hidden)]
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).expect("memory takes any bytes");
    encoder.finish().expect("memory takes any bytes")
}

/// Compresses with zstd, so that tests need no third-party data.
///
/// # Panics
/// Never: zstd compresses any bytes.
#[doc(hidden)]
#[must_use]
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 19).expect("zstd compresses any bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_compressions_are_unpacked() {
        let text = b"start,end\n".repeat(1000);
        assert_eq!(unpack(&text), Ok(None));
        assert_eq!(unpack(&gzip(&text)).unwrap().unwrap(), text);
        assert_eq!(unpack(&zstd(&text)).unwrap().unwrap(), text);
        // Concatenated compressed files decompress to the concatenated files.
        let (first, second) = text.split_at(100);
        for compress in [gzip, zstd] {
            let joined = [compress(first), compress(second)].concat();
            assert_eq!(unpack(&joined).unwrap().unwrap(), text);
        }
    }

    #[track_caller]
    fn check_error(bytes: &[u8], expected: &str) {
        let error = unpack(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn bombs_are_refused() {
        let zeros = vec![0; ALWAYS + 1];
        check_error(
            &gzip(&zeros),
            "gzip: offset 0: unpacks to more than 16777216",
        );
        check_error(
            &zstd(&zeros),
            "zstd: offset 0: unpacks to more than 16777216",
        );
        assert!(unpack(&zstd(&zeros[1..])).is_ok());
    }

    #[test]
    fn one_level_is_unpacked() {
        check_error(&gzip(&zstd(b"x")), "gzip: offset 0: compressed twice");
        check_error(&zstd(&gzip(b"x")), "zstd: offset 0: compressed twice");
    }

    #[test]
    fn a_file_cut_or_flipped_anywhere_is_an_error() {
        let text = b"start,end\n1.0.0.0,1.0.0.255\n";
        for whole in [gzip(text), zstd(text)] {
            for length in 4..whole.len() {
                assert!(unpack(&whole[..length]).is_err(), "cut to {length} bytes");
            }
        }
        let mut flipped = gzip(text);
        let checksum = flipped.len() - 8;
        flipped[checksum] ^= 1;
        assert!(unpack(&flipped).is_err());
    }
}
