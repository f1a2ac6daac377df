//! Decoding of CSV files, in the encodings that spreadsheets and editors write.
//!
//! UTF-8 and UTF-16 are accepted with a byte order mark or without, and GB 18030 (and so GBK and GB
//! 2312) for text that is not UTF-8. Chinese text in UTF-8 with one damaged byte is often valid but
//! meaningless GBK. So a file that is mostly UTF-8 is not tried as GBK: it is rejected with the
//! line of the damage.

use std::borrow::Cow;

use encoding_rs::{Encoding, GB18030, UTF_16BE, UTF_16LE};

use super::super::FormatError;

const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the text of a whole file, without its byte order mark.
///
/// # Errors
/// If the text is in none of the encodings, with the line of the first invalid byte.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, FormatError> {
    if let Some((encoding, bytes)) = utf_16(bytes) {
        let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
        return text.ok_or_else(|| {
            let (replaced, _) = encoding.decode_without_bom_handling(bytes);
            let valid = replaced.split(char::REPLACEMENT_CHARACTER).next();
            let name = encoding.name();
            bad(
                line_of(valid.unwrap_or_default().as_bytes()),
                format!("not {name}"),
            )
        });
    }
    let (has_mark, bytes) = match bytes.strip_prefix(UTF_8_MARK) {
        Some(bytes) => (true, bytes),
        None => (false, bytes),
    };
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(Cow::Borrowed(text)),
        Err(error) => error,
    };
    let line = line_of(&bytes[..error.valid_up_to()]);
    if has_mark || is_mostly_utf_8(bytes) {
        return Err(bad(line, "a byte that is not UTF-8, in a file that is"));
    }
    let text = GB18030.decode_without_bom_handling_and_without_replacement(bytes);
    text.ok_or_else(|| bad(line, "neither UTF-8 nor UTF-16 nor GBK"))
}

/// Returns the beginning of a file that may be binary; `None` if it cannot be text.
pub(super) fn decode_start(bytes: &[u8]) -> Option<Cow<'_, str>> {
    if let Some((encoding, bytes)) = utf_16(bytes) {
        return Some(encoding.decode_without_bom_handling(bytes).0);
    }
    let bytes = bytes.strip_prefix(UTF_8_MARK).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(Cow::Borrowed(text)),
        // The cut may be within a letter.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()])
                .ok()
                .map(Cow::Borrowed)
        }
        Err(_) => Some(GB18030.decode_without_bom_handling(bytes).0),
    }
}

/// Returns the encoding and the rest of a file in UTF-16. It has a byte order mark, or starts with
/// ASCII letters of two bytes each, as a header does.
fn utf_16(bytes: &[u8]) -> Option<(&'static Encoding, &[u8])> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => Some((UTF_16LE, rest)),
        [0xfe, 0xff, rest @ ..] => Some((UTF_16BE, rest)),
        [first, 0, second, 0, third, 0, ..] if is_text([*first, *second, *third]) => {
            Some((UTF_16LE, bytes))
        }
        [0, first, 0, second, 0, third, ..] if is_text([*first, *second, *third]) => {
            Some((UTF_16BE, bytes))
        }
        _ => None,
    }
}

fn is_text(bytes: [u8; 3]) -> bool {
    bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
}

/// Returns `true` if there are more letters of three or four bytes in UTF-8 than sequences that are
/// not UTF-8. Text in GBK contains few such letters, by chance.
fn is_mostly_utf_8(bytes: &[u8]) -> bool {
    let (mut letters, mut bad) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        letters += chunk.valid().chars().filter(|c| c.len_utf8() > 2).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    letters > bad
}

fn line_of(before: &[u8]) -> u64 {
    1 + memchr::memchr_iter(b'\n', before).count() as u64
}

fn bad(line: u64, reason: impl Into<String>) -> FormatError {
    let reason: String = reason.into();
    FormatError::Line {
        format: "csv",
        line,
        reason: format!("{reason}; save the file as UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cidr,country,city\n1.0.0.0/24,中国,苏州\n";

    #[test]
    fn every_encoding_gives_the_same_text() {
        let utf_16 = |to_bytes: fn(u16) -> [u8; 2], mark: bool| {
            let mark = mark.then_some(0xfeff);
            let units = mark.into_iter().chain(TEXT.encode_utf16());
            units.flat_map(to_bytes).collect::<Vec<u8>>()
        };
        let (gbk, _, _) = encoding_rs::GBK.encode(TEXT);
        for (name, bytes) in [
            ("UTF-8", TEXT.as_bytes().to_vec()),
            ("UTF-8 with a mark", [UTF_8_MARK, TEXT.as_bytes()].concat()),
            ("GBK", gbk.into_owned()),
            ("UTF-16LE", utf_16(u16::to_le_bytes, true)),
            ("UTF-16BE", utf_16(u16::to_be_bytes, true)),
            ("UTF-16LE without a mark", utf_16(u16::to_le_bytes, false)),
            ("UTF-16BE without a mark", utf_16(u16::to_be_bytes, false)),
        ] {
            assert_eq!(decode(&bytes).unwrap(), TEXT, "{name}");
            assert_eq!(decode_start(&bytes).unwrap(), TEXT, "{name}");
        }
    }

    #[track_caller]
    fn check_error(bytes: &[u8], expected: &str) {
        assert_eq!(decode(bytes).unwrap_err().to_string(), expected);
    }

    #[test]
    fn damage_is_named_with_its_line_and_not_taken_for_another_encoding() {
        let mut damaged = TEXT.as_bytes().to_vec();
        damaged.pop();
        damaged.pop();
        check_error(
            &[&damaged[..], b"\n"].concat(),
            "csv: line 2: a byte that is not UTF-8, in a file that is; save the file as UTF-8",
        );
        check_error(
            b"cidr,city\n1.0.0.0/24,\xff\n",
            "csv: line 2: neither UTF-8 nor UTF-16 nor GBK; save the file as UTF-8",
        );
        check_error(
            b"\xff\xfea\0\n\0\0\xd8b\0",
            "csv: line 2: not UTF-16LE; save the file as UTF-8",
        );
    }
}
