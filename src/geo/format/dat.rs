//! `.dat`, the 17mon / IPIP format.
//!
//! Layout: u32 BE `offset`; 256 x u32 LE, for each first octet the first entry that ends in it or
//! later; entries of 8 bytes (u32 BE inclusive end of the range, u24 LE text offset, u8 text
//! length); then text, whose base is `offset - 1024`. Entries end at `offset - 1024`: the vendor's
//! own readers run to `offset` and meet 128 entries of garbage, which is text.
//!
//! Text is tab-separated, UTF-8 or GBK. 3 fields (country, province, city), 4 (an empty fourth)
//! or 5 and more (organization, isp, latitude, longitude, time zone, UTC offset, admin code, dial
//! code, ISO 3166 code, continent).

use std::borrow::Cow;
use std::collections::HashMap;

use super::FormatError;
use super::reader::Reader;
use crate::geo::record::Field;
use crate::geo::table::{Provenance, Table};
use crate::tree::Range;

const INDEX: usize = 4;
const ENTRIES: usize = INDEX + 256 * 4;
const ENTRY: usize = 8;

/// The order in which a row's fields stand.
const COLUMNS: [Field; 13] = [
    Field::Country,
    Field::Province,
    Field::City,
    Field::Organization,
    Field::Isp,
    Field::Latitude,
    Field::Longitude,
    Field::TimeZone,
    Field::UtcOffset,
    Field::AdminCode,
    Field::DialCode,
    Field::CountryCode,
    Field::Continent,
];

/// 255.255.255.0/24 holds the file's version where the file has one.
const VERSION_FIRST: u32 = 0xffff_ff00;

/// Whether the header is plausible; [`read`] checks the rest.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    entry_count(&Reader::new("dat", bytes)).is_ok()
}

/// Reads a whole file.
///
/// # Errors
/// If an offset or an index points outside the file or disagrees with the entries, if entries are
/// not in order, or if a text has too many fields.
pub fn read(bytes: &[u8]) -> Result<Table, FormatError> {
    let file = Reader::new("dat", bytes);
    let count = entry_count(&file)?;
    let text_base = ENTRIES + count * ENTRY;
    let mut table = Table {
        provenance: Provenance {
            format: "dat",
            source: String::new(),
            date: String::new(),
        },
        ..Table::default()
    };
    table.v4.reserve(count);
    let mut record_of_text = HashMap::new();
    let mut first = 0_u32;
    for entry in 0..count {
        let at = ENTRIES + entry * ENTRY;
        let last = file.u32_be(at)?;
        if last < first {
            return Err(file.corrupt(at, format!("entry {entry} ends before it starts")));
        }
        let pointer = (file.u24_le(at + 4)?, file.u8(at + 7)?);
        let text_at = text_base + pointer.0 as usize;
        let text = || file.slice(text_at, usize::from(pointer.1)).map(decode);
        if first == VERSION_FIRST
            && last == u32::MAX
            && let Some((source, date)) = version(&text()?)
        {
            table.provenance.source = source;
            table.provenance.date = date;
            break;
        }
        let value = if let Some(&value) = record_of_text.get(&pointer) {
            value
        } else {
            let value = record(&file, text_at, &text()?, &mut table)?;
            record_of_text.insert(pointer, value);
            value
        };
        table.v4.push(Range { first, last, value });
        match last.checked_add(1) {
            Some(next) => first = next,
            None if entry + 1 == count => break,
            None => {
                let reason = format!("entry {entry} of {count} ends at 255.255.255.255");
                return Err(file.corrupt(at, reason));
            }
        }
    }
    check_index(&file, count)?;
    Ok(table)
}

fn entry_count(file: &Reader) -> Result<usize, FormatError> {
    let offset = file.u32_be(0)? as usize;
    let minimum = ENTRIES + ENTRY + 1024;
    if offset < minimum || offset > file.len() + 1024 {
        return Err(file.corrupt(0, format!("offset {offset} lies outside the file")));
    }
    let entries = offset - 1024 - ENTRIES;
    if !entries.is_multiple_of(ENTRY) {
        return Err(file.corrupt(0, format!("offset {offset} leaves a part of an entry")));
    }
    Ok(entries / ENTRY)
}

/// The first-octet index is not needed here, but one that disagrees with the entries means that
/// one of the two is damaged. Octets past the last entry may point to it or behind it.
fn check_index(file: &Reader, count: usize) -> Result<(), FormatError> {
    let mut expected = 0;
    for octet in 0..256_usize {
        while expected < count
            && (file.u32_be(ENTRIES + expected * ENTRY)? as usize) < (octet << 24)
        {
            expected += 1;
        }
        let at = INDEX + octet * 4;
        let found = file.u32_le(at)? as usize;
        let past_the_end = expected == count && found + 1 == count;
        if found != expected && !past_the_end {
            let reason = format!("index of octet {octet} is {found}, the entries say {expected}");
            return Err(file.corrupt(at, reason));
        }
    }
    Ok(())
}

fn decode(text: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::GBK.decode_without_bom_handling(text).0,
    }
}

fn record(file: &Reader, offset: usize, text: &str, table: &mut Table) -> Result<u32, FormatError> {
    let fields = text.split('\t').count();
    if fields > COLUMNS.len() {
        let limit = COLUMNS.len();
        return Err(file.corrupt(
            offset,
            format!("{fields} fields, at most {limit} are known"),
        ));
    }
    Ok(table
        .records
        .intern(COLUMNS.into_iter().zip(text.split('\t'))))
}

/// Maker and date from a text such as `IPIP.NET\t2017010105` (date and hour).
fn version(text: &str) -> Option<(String, String)> {
    let date = text
        .split('\t')
        .find(|field| field.len() >= 8 && field.bytes().all(|byte| byte.is_ascii_digit()))?;
    let source = text.split('\t').next().unwrap_or_default();
    let source = if source == date { "" } else { source };
    let date = format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..8]);
    Some((source.to_owned(), date))
}

/// Writes a file of this format, so that tests need nobody's data.
///
/// `entries` are inclusive ends with their tab-separated text, in order.
#[doc(hidden)]
#[must_use]
pub fn write(entries: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut texts: Vec<u8> = Vec::new();
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut body = Vec::new();
    for (last, text) in entries {
        let place = *places.entry(text).or_insert_with(|| {
            let place = texts.len();
            texts.extend_from_slice(text);
            place
        });
        body.extend_from_slice(&last.to_be_bytes());
        body.extend_from_slice(&place.to_le_bytes()[..3]);
        body.push(u8::try_from(text.len()).expect("a text of at most 255 bytes"));
    }
    let offset = u32::try_from(ENTRIES + body.len() + 1024).expect("a small file");
    let mut file = offset.to_be_bytes().to_vec();
    for octet in 0..256_u32 {
        let index = entries.partition_point(|(last, _)| *last < octet << 24);
        file.extend_from_slice(&u32::try_from(index).expect("a small file").to_le_bytes());
    }
    file.extend_from_slice(&body);
    file.extend_from_slice(&texts);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(entries: &[(u32, &str)]) -> Vec<u8> {
        let entries: Vec<_> = entries
            .iter()
            .map(|&(last, text)| (last, text.as_bytes().to_vec()))
            .collect();
        write(&entries)
    }

    fn two_places() -> Vec<u8> {
        file(&[
            (0x00ff_ffff, "保留地址\t保留地址\t\t"),
            (0x0105_0000, "中国\t福建\t福州\t"),
            (u32::MAX, "美国\t美国\t\t"),
        ])
    }

    #[test]
    fn ranges_cross_first_octets_and_reach_the_end() {
        let table = read(&two_places()).unwrap();
        let ranges: Vec<_> = table.v4.iter().map(|r| (r.first, r.last)).collect();
        assert_eq!(
            ranges,
            [
                (0, 0x00ff_ffff),
                (0x0100_0000, 0x0105_0000),
                (0x0105_0001, u32::MAX)
            ]
        );
        assert_eq!(table.records.text(table.v4[1].value, Field::City), "福州");
    }

    #[test]
    fn version_is_read_and_never_a_place() {
        let table = read(&file(&[
            (0xffff_feff, "保留地址\t保留地址\t\t"),
            (u32::MAX, "IPIP.NET\t2017010105\t\t"),
        ]))
        .unwrap();
        assert_eq!(table.provenance.date, "2017-01-01");
        assert_eq!(table.provenance.source, "IPIP.NET");
        assert_eq!(table.v4.last().unwrap().last, 0xffff_feff);
    }

    #[test]
    fn last_slash_24_without_a_version_is_a_place() {
        let table = read(&file(&[(0xffff_feff, "A"), (u32::MAX, "保留地址\t\t")])).unwrap();
        assert_eq!(table.v4.last().unwrap().last, u32::MAX);
    }

    #[test]
    fn every_number_of_fields_is_read() {
        let paid =
            "中国\t广东\t深圳\t腾讯\t电信\t22.5\t114.0\tAsia/Shanghai\tUTC+8\t440300\t86\tCN\tAP";
        for (text, field, expected) in [
            ("中国", Field::Country, "中国"),
            ("中国\t广东\t深圳", Field::City, "深圳"),
            ("中国\t广东\t深圳\t腾讯\t电信", Field::Isp, "电信"),
            (paid, Field::AdminCode, "440300"),
            (paid, Field::CountryCode, "CN"),
        ] {
            let table = read(&file(&[(u32::MAX, text)])).unwrap();
            assert_eq!(table.records.text(0, field), expected, "{text}");
        }
        let error = read(&file(&[(u32::MAX, &format!("{paid}\tmore"))])).unwrap_err();
        assert!(error.to_string().contains("14 fields"), "{error}");
    }

    #[test]
    fn gbk_text_is_understood() {
        let (gbk, _, _) = encoding_rs::GBK.encode("中国\t广东\t深圳");
        let table = read(&write(&[(u32::MAX, gbk.into_owned())])).unwrap();
        assert_eq!(table.records.text(0, Field::Province), "广东");
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let whole = two_places();
        // Cut inside the texts, the reader may notice by a text, inside the rest by an offset.
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn addresses_after_the_last_entry_have_no_record() {
        let table = read(&file(&[(0x0100_0000, "A")])).unwrap();
        assert_eq!((table.v4.len(), table.v4[0].last), (1, 0x0100_0000));
    }

    #[track_caller]
    fn check_damage(damage: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut bytes = two_places();
        damage(&mut bytes);
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn damage_is_named_with_its_offset() {
        check_damage(|b| b[0] = 0xff, "offset 0: offset");
        check_damage(|b| b[3] ^= 1, "offset 0: offset 2077 leaves a part");
        check_damage(
            |b| b[ENTRIES] = 2,
            "offset 1036: entry 1 ends before it starts",
        );
        check_damage(
            |b| b[ENTRIES + 6] = 0xff,
            "bytes expected, but the file ends",
        );
        check_damage(|b| b[INDEX + 4] = 7, "offset 8: index of octet 1 is 7");
        check_damage(
            |b| b[ENTRIES + 8..ENTRIES + 12].fill(0xff),
            "entry 1 of 3 ends at 255.255.255.255",
        );
    }
}
