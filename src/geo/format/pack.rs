//! `.pack`, our own format: one compressed file that loads in a few dozen milliseconds.
//!
//! ```text
//! 8 bytes   magic "geopack\n"
//! u16 LE    version, 1
//! u16 LE    length of the source's name, then the name (UTF-8)
//! u16 LE    length of the date, then the date (YYYY-MM-DD or empty)
//! u64 LE    length of the payload before compression
//! the rest  the payload, one zstd frame
//! u32 LE    CRC-32 of everything before it
//! ```
//!
//! The payload consists of LEB128 integers: the texts (count, lengths, bytes), the columns (count,
//! then each name as a text id), the records (count, then the text ids column by column), and for
//! IPv4 and IPv6 the ranges: count, all gaps to the previous range, all sizes less one, all record
//! numbers. Similar numbers are next to each other, which compresses well.

use super::FormatError;
use super::compressed::limit;
use super::reader::Reader;
use crate::geo::record::Field;
use crate::geo::table::{Provenance, Table};
use crate::tree::{Address, Range, RangeList};

const MAGIC: &[u8; 8] = b"geopack\n";
const VERSION: u16 = 1;

/// Bytes of the checksum at the end.
const CHECKSUM: usize = 4;

/// Returns `true` if the file starts with the magic bytes of a pack.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads a whole pack.
///
/// # Errors
/// If the version is unknown, the checksum differs, or the payload breaks the format's rules.
pub fn read(bytes: &[u8]) -> Result<Table, FormatError> {
    let file = Reader::new("pack", bytes);
    if file.slice(0, MAGIC.len())? != MAGIC {
        return Err(file.corrupt(0, "not a pack"));
    }
    let version = file.u16_le(8)?;
    if version != VERSION {
        return Err(file.corrupt(8, format!("version {version}, this reader knows {VERSION}")));
    }
    let (source, at) = short_text(&file, 10)?;
    let (date, at) = short_text(&file, at)?;
    let length = u64::from(file.u32_le(at)?) | u64::from(file.u32_le(at + 4)?) << 32;
    let frame_at = at + 8;
    let frame = file.slice(frame_at, file.len().saturating_sub(frame_at + CHECKSUM))?;
    if length > limit(frame.len()) as u64 {
        return Err(file.corrupt(at, format!("a payload of {length} bytes is refused")));
    }
    let checksum_at = frame_at + frame.len();
    if crc32fast::hash(&bytes[..checksum_at]) != file.u32_le(checksum_at)? {
        return Err(file.corrupt(checksum_at, "the checksum differs from the content's"));
    }
    let payload = zstd::bulk::decompress(frame, usize::try_from(length).unwrap_or(usize::MAX))
        .map_err(|error| file.corrupt(frame_at, format!("payload: {error}")))?;
    let provenance = Provenance {
        format: "pack",
        source: source.to_owned(),
        date: date.to_owned(),
    };
    Payload::new(&payload).table(provenance)
}

fn short_text<'a>(file: &Reader<'a>, at: usize) -> Result<(&'a str, usize), FormatError> {
    let length = usize::from(file.u16_le(at)?);
    let text = std::str::from_utf8(file.slice(at + 2, length)?)
        .map_err(|_| file.corrupt(at + 2, "text is not UTF-8"))?;
    Ok((text, at + 2 + length))
}

/// Cursor over the decompressed payload. Offsets in its errors are within the payload.
struct Payload<'a> {
    reader: Reader<'a>,
    at: usize,
}

impl<'a> Payload<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Payload {
            reader: Reader::new("pack payload", bytes),
            at: 0,
        }
    }

    fn table(mut self, provenance: Provenance) -> Result<Table, FormatError> {
        let mut table = Table {
            provenance,
            ..Table::default()
        };
        let texts = self.texts()?;
        let columns = self.columns(&texts)?;
        self.records(&texts, &columns, &mut table)?;
        let records = table.records.len();
        table.v4 = self.ranges(records)?;
        table.v6 = self.ranges(records)?;
        if self.at != self.reader.len() {
            return Err(self.corrupt("bytes after the end"));
        }
        Ok(table)
    }

    fn texts(&mut self) -> Result<Vec<&'a str>, FormatError> {
        let count = self.count()?;
        let lengths = (0..count)
            .map(|_| self.index(usize::MAX))
            .collect::<Result<Vec<_>, _>>()?;
        let mut texts = Vec::with_capacity(count);
        for length in lengths {
            let bytes = self.reader.slice(self.at, length)?;
            let text = std::str::from_utf8(bytes).map_err(|_| self.corrupt("text is not UTF-8"))?;
            texts.push(text);
            self.at += length;
        }
        Ok(texts)
    }

    fn columns(&mut self, texts: &[&str]) -> Result<Vec<Field>, FormatError> {
        let mut columns = Vec::new();
        for _ in 0..self.count()? {
            let name = texts[self.index(texts.len())?];
            let field = Field::from_name(name)
                .ok_or_else(|| self.corrupt(format!("no column is called {name:?}")))?;
            if columns.contains(&field) {
                return Err(self.corrupt(format!("column {name:?} stands twice")));
            }
            columns.push(field);
        }
        Ok(columns)
    }

    fn records(
        &mut self,
        texts: &[&str],
        columns: &[Field],
        table: &mut Table,
    ) -> Result<(), FormatError> {
        let count = self.count()?;
        let mut rows = vec![Vec::with_capacity(columns.len()); count];
        for &field in columns {
            for row in &mut rows {
                row.push((field, texts[self.index(texts.len())?]));
            }
        }
        for row in rows {
            let records = table.records.len();
            table.records.intern(row);
            if table.records.len() == records {
                return Err(self.corrupt("two records are equal"));
            }
        }
        Ok(())
    }

    /// Reads ranges of addresses of any width: they are computed in 128 bits, and rejected if they
    /// do not fit `A`.
    ///
    /// The three columns are read in parallel, so that only the ranges take memory.
    fn ranges<A>(&mut self, records: usize) -> Result<RangeList<A>, FormatError>
    where
        A: Address + TryFrom<u128>,
    {
        let count = self.count()?;
        let mut gaps = self.column(count)?;
        let mut sizes = self.column(count)?;
        let mut ranges = RangeList::with_capacity(count);
        let mut next = Some(0_u128);
        for _ in 0..count {
            let (gap, size) = (gaps.integer()?, sizes.integer()?);
            let value = u32::try_from(self.index(records)?).expect("records are numbered by u32");
            let range = next.and_then(|next| {
                let first = next.checked_add(gap)?;
                let last = first.checked_add(size)?;
                let range = Range {
                    first: A::try_from(first).ok()?,
                    last: A::try_from(last).ok()?,
                    value,
                };
                Some((range, last))
            });
            let (range, last) = range.ok_or_else(|| self.corrupt("a range leaves the space"))?;
            ranges.push(range);
            next = last.checked_add(1);
        }
        Ok(ranges)
    }

    /// Returns a cursor at the start of a column of `count` integers, and moves this one past it.
    fn column(&mut self, count: usize) -> Result<Payload<'a>, FormatError> {
        let column = Payload {
            reader: self.reader,
            at: self.at,
        };
        let rest = self.reader.slice(self.at, self.reader.len() - self.at)?;
        let ends = rest
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte & 0x80 == 0);
        self.at += match count.checked_sub(1) {
            None => 0,
            Some(last) => match ends.map(|(index, _)| index + 1).nth(last) {
                Some(length) => length,
                None => return Err(self.corrupt(format!("fewer than {count} integers follow"))),
            },
        };
        Ok(column)
    }

    /// Reads a number of items. Each item takes at least one byte, so a count beyond the payload's
    /// end is rejected before memory is allocated for it.
    fn count(&mut self) -> Result<usize, FormatError> {
        let left = self.reader.len() - self.at;
        self.index(left.saturating_add(1))
    }

    /// Reads an integer below `limit`.
    fn index(&mut self, limit: usize) -> Result<usize, FormatError> {
        let at = self.at;
        let value = self.integer()?;
        match usize::try_from(value) {
            Ok(value) if value < limit => Ok(value),
            _ => Err(self
                .reader
                .corrupt(at, format!("{value} is not below {limit}"))),
        }
    }

    fn integer(&mut self) -> Result<u128, FormatError> {
        let first = self.reader.u8(self.at)?;
        if first & 0x80 == 0 {
            self.at += 1;
            return Ok(u128::from(first));
        }
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.reader.u8(self.at)?;
            self.at += 1;
            let bits = u128::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.corrupt("an integer of more than 128 bits"))
    }

    fn corrupt(&self, reason: impl Into<String>) -> FormatError {
        self.reader.corrupt(self.at, reason)
    }
}

/// Writes a pack.
///
/// The ranges of `table` must be in order and must not overlap.
///
/// # Panics
/// If they are not, or if the source's name or date is longer than 65,535 bytes.
#[must_use]
pub fn write(table: &Table) -> Vec<u8> {
    let payload = payload(table);
    let Provenance { source, date, .. } = &table.provenance;
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&VERSION.to_le_bytes());
    for text in [source, date] {
        let length = u16::try_from(text.len()).expect("a short name");
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(text.as_bytes());
    }
    file.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let frame = zstd::bulk::compress(&payload, 22).expect("zstd compresses any bytes");
    file.extend_from_slice(&frame);
    let checksum = crc32fast::hash(&file);
    file.extend_from_slice(&checksum.to_le_bytes());
    file
}

fn payload(table: &Table) -> Vec<u8> {
    let records = &table.records;
    let columns: Vec<Field> = Field::ALL
        .into_iter()
        .filter(|&field| records.rows().iter().any(|row| row[field as usize] != 0))
        .collect();
    let mut out = Vec::new();
    // The columns' names come after the records' texts, so that the ids of the texts stay
    // unchanged.
    let names = columns.iter().map(|field| field.name());
    let texts: Vec<&str> = records.texts().iter().chain(names).collect();
    put(&mut out, texts.len());
    for text in &texts {
        put(&mut out, text.len());
    }
    for text in &texts {
        out.extend_from_slice(text.as_bytes());
    }
    put(&mut out, columns.len());
    for index in 0..columns.len() {
        put(&mut out, records.texts().len() + index);
    }
    put(&mut out, records.len());
    for &field in &columns {
        for row in records.rows() {
            put(&mut out, row[field as usize] as usize);
        }
    }
    put_ranges(&mut out, &table.v4);
    put_ranges(&mut out, &table.v6);
    out
}

fn put_ranges<A: Address + Into<u128>>(out: &mut Vec<u8>, ranges: &RangeList<A>) {
    put(out, ranges.len());
    let mut next = Some(0);
    for range in ranges {
        let (first, last) = (range.first.into(), range.last.into());
        let gap = next
            .filter(|_| first <= last)
            .and_then(|next| first.checked_sub(next));
        put_integer(out, gap.expect("ranges in order, without overlap"));
        next = last.checked_add(1);
    }
    for range in ranges {
        put_integer(out, range.last.into() - range.first.into());
    }
    for range in ranges {
        put(out, range.value as usize);
    }
}

fn put(out: &mut Vec<u8>, value: usize) {
    put_integer(out, value as u128);
}

fn put_integer(out: &mut Vec<u8>, mut value: u128) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table {
            provenance: Provenance {
                format: "pack",
                source: "a test".to_owned(),
                date: "2026-01-02".to_owned(),
            },
            ..Table::default()
        };
        let fields = [(Field::Country, "中国"), (Field::Isp, "电信")];
        let a = table.records.intern(fields);
        let b = table.records.intern([(Field::Country, "美国")]);
        let range = |first, last, value| Range { first, last, value };
        table.v4 = [
            range(0, 255, a),
            range(256, 511, b),
            range(70_000, u32::MAX, a),
        ]
        .into();
        table.v6 = [
            Range {
                first: 1 << 125,
                last: (1 << 125) + 5,
                value: b,
            },
            Range {
                first: u128::MAX - 1,
                last: u128::MAX,
                value: a,
            },
        ]
        .into();
        table
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (written, read) = (table(), read(&write(&table())).unwrap());
        assert_eq!(read.provenance, written.provenance);
        assert_eq!(read.v4, written.v4);
        assert_eq!(read.v6, written.v6);
        for record in 0..2 {
            for field in Field::ALL {
                let (a, b) = (&read.records, &written.records);
                assert_eq!(a.text(record, field), b.text(record, field));
            }
        }
    }

    #[test]
    fn an_empty_table_is_read_back() {
        let table = read(&write(&Table::default())).unwrap();
        assert!(table.records.is_empty() && table.v4.is_empty() && table.v6.is_empty());
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_an_error() {
        let whole = write(&table());
        for at in 0..whole.len() {
            assert!(read(&whole[..at]).is_err(), "cut to {at} bytes");
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            assert!(read(&bytes).is_err(), "byte {at} flipped");
        }
    }

    /// Damage with a valid checksum: the payload's own checks must find it.
    #[test]
    fn a_hostile_payload_never_panics() {
        let whole = payload(&table());
        for at in 0..whole.len() {
            let _ = Payload::new(&whole[..at])
                .table(Provenance::default())
                .unwrap_err();
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                // The result is an error or another table; the test passes if there is no panic.
                let _ = Payload::new(&bytes).table(Provenance::default());
            }
        }
        let mut huge = Vec::new();
        put_integer(&mut huge, u128::from(u64::MAX));
        let error = Payload::new(&huge)
            .table(Provenance::default())
            .unwrap_err();
        assert!(error.to_string().contains("is not below"), "{error}");
    }
}
