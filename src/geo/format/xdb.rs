//! `.xdb`, the ip2region format, version 2 (IPv4).
//!
//! Layout: a header of 256 bytes (u16 LE version at 0, u16 LE index policy at 2, u32 LE build time
//! at 4, u32 LE offsets of the first and the last segment at 8 and 12); a vector index of
//! 256 x 256 x 8 bytes; texts; segments of 14 bytes (u32 LE start, u32 LE inclusive end, u16 LE
//! text length, u32 LE text offset). Text is `country|area|province|city|isp`, with `0` for empty.

use super::FormatError;
use super::reader::Reader;
use super::texts::Texts;
use crate::geo::record::Field;
use crate::geo::table::{Provenance, Table};
use crate::tree::Range;

const HEADER: usize = 256;
const VECTOR_INDEX: usize = 256 * 256 * 8;
const SEGMENT: usize = 14;

/// Whether the header is plausible; [`read`] checks the rest.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    segments(&Reader::new("xdb", bytes)).is_ok()
}

/// Reads a whole file.
///
/// # Errors
/// If an offset points outside the file, if segments are not in order, or if a text is not UTF-8
/// or has not five parts.
pub fn read(bytes: &[u8]) -> Result<Table, FormatError> {
    let file = Reader::new("xdb", bytes);
    let (start, end) = segments(&file)?;
    let mut table = Table {
        provenance: Provenance {
            format: "xdb",
            source: "ip2region".to_owned(),
            date: unix_date(file.u32_le(4)?),
        },
        ..Table::default()
    };
    let mut texts = Texts::new(file);
    let mut previous = None;
    for at in (start..end).step_by(SEGMENT) {
        let (first, last) = (file.u32_le(at)?, file.u32_le(at + 4)?);
        if last < first || previous.is_some_and(|previous| first <= previous) {
            return Err(file.corrupt(at, "segments are not in order"));
        }
        previous = Some(last);
        let (text_at, length) = (file.u32_le(at + 10)? as usize, file.u16_le(at + 8)?);
        let value = texts.record(text_at, usize::from(length), |text| {
            record(&file, text_at, text, &mut table)
        })?;
        table.v4.push(Range { first, last, value });
    }
    Ok(table)
}

/// Offsets of the first segment and of the end of the last one.
fn segments(file: &Reader) -> Result<(usize, usize), FormatError> {
    let version = file.u16_le(0)?;
    if version != 2 {
        return Err(file.corrupt(0, format!("version {version}, not 2")));
    }
    let (first, last) = (file.u32_le(8)? as usize, file.u32_le(12)? as usize);
    if first < HEADER + VECTOR_INDEX || last < first || (last - first) % SEGMENT != 0 {
        return Err(file.corrupt(8, format!("segments from {first} to {last}")));
    }
    file.slice(last, SEGMENT)?;
    Ok((first, last + SEGMENT))
}

fn record(file: &Reader, at: usize, text: &[u8], table: &mut Table) -> Result<u32, FormatError> {
    let text = std::str::from_utf8(text)
        .map_err(|error| file.corrupt(at + error.valid_up_to(), "text is not UTF-8"))?;
    let parts: Vec<&str> = text
        .split('|')
        .map(|part| if part == "0" { "" } else { part })
        .collect();
    let [country, _area, province, city, isp] = parts[..] else {
        return Err(file.corrupt(at, format!("text has {} parts, not 5", parts.len())));
    };
    Ok(table.records.intern([
        (Field::Country, country),
        (Field::Province, province),
        (Field::City, city),
        (Field::Isp, isp),
    ]))
}

fn unix_date(seconds: u32) -> String {
    match jiff::Timestamp::from_second(i64::from(seconds)) {
        Ok(time) if seconds != 0 => time.strftime("%Y-%m-%d").to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One file with two segments that share a text.
    fn small() -> Vec<u8> {
        let text = "中国|0|福建省|福州市|电信".as_bytes();
        let mut bytes = vec![0; HEADER + VECTOR_INDEX];
        let text_at = u32::try_from(bytes.len()).unwrap();
        bytes.extend_from_slice(text);
        let first = u32::try_from(bytes.len()).unwrap();
        for (start, end) in [(0_u32, 0x00ff_ffff_u32), (0x0100_0100, 0x0100_01ff)] {
            bytes.extend_from_slice(&start.to_le_bytes());
            bytes.extend_from_slice(&end.to_le_bytes());
            bytes.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(&text_at.to_le_bytes());
        }
        bytes[0] = 2;
        bytes[4..8].copy_from_slice(&1_709_113_545_u32.to_le_bytes());
        bytes[8..12].copy_from_slice(&first.to_le_bytes());
        bytes[12..16].copy_from_slice(&(first + 14).to_le_bytes());
        bytes
    }

    #[test]
    fn segments_and_texts_are_read() {
        let table = read(&small()).unwrap();
        assert_eq!(table.v4.len(), 2);
        assert_eq!(table.records.len(), 1);
        assert_eq!(table.records.text(0, Field::Province), "福建省");
        assert_eq!(table.records.text(0, Field::Isp), "电信");
        assert_eq!(table.provenance.date, "2024-02-28");
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let whole = small();
        for length in (0..whole.len()).rev().take(200).chain([0, 1, 12, 300]) {
            assert!(read(&whole[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[track_caller]
    fn check_damage(damage: impl FnOnce(&mut Vec<u8>, usize), expected: &str) {
        let mut bytes = small();
        let segments = bytes.len() - 2 * SEGMENT;
        damage(&mut bytes, segments);
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn damage_is_named_with_its_offset() {
        check_damage(|b, _| b[0] = 3, "offset 0: version 3");
        check_damage(|b, _| b[12] ^= 1, "offset 8: segments from");
        check_damage(
            |b, s| b[s + 14..s + 18].fill(0),
            "segments are not in order",
        );
        check_damage(|b, s| b[s + 13] = 0xff, "bytes expected, but the file ends");
        check_damage(|b, s| b[s + 8] = 4, "text is not UTF-8");
        check_damage(|b, s| b[s + 8] = 6, "text has 1 parts");
    }
}
