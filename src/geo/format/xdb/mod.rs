//! `.xdb`, the ip2region format: version 2 (IPv4) and version 3 (IPv4 or IPv6).
//!
//! Layout: a header of 256 bytes (u16 LE version at 0, u16 LE index policy at 2, u32 LE build time
//! at 4, u32 LE offsets of the first and the last segment at 8 and 12, and from version 3 on u16 LE
//! IP version at 16 and u16 LE bytes of a pointer at 18); a vector index of 256 x 256 x 8 bytes (for
//! each two leading bytes of an address the first segment and the end of the last one); texts;
//! segments, which are first address, inclusive last address, u16 LE text length and u32 LE text
//! offset. An IPv4 address is 4 bytes LE, an IPv6 address 16 bytes BE.
//!
//! The vector index only narrows a search in the file. The segments alone contain all addresses, so
//! only they are read.
//!
//! The module `text` interprets the texts.

mod text;
mod write;

use super::reader::Reader;
use super::{FormatError, unix_date};
use crate::geo::table::{Provenance, Table};
use crate::tree::{Address, Range, RangeList};
use text::Lines;
#[doc(hidden)]
pub use write::write;

const HEADER: usize = 256;
const VECTOR_INDEX: usize = 256 * 256 * 8;

/// Returns `true` if the header is plausible; [`read`] checks the rest.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    Header::read(&Reader::new("xdb", bytes)).is_ok()
}

/// Reads a whole file.
///
/// # Errors
/// If an offset points outside the file, if segments are not in order, or if a text is not UTF-8
/// or has another number of parts.
pub fn read(bytes: &[u8]) -> Result<Table, FormatError> {
    let file = Reader::new("xdb", bytes);
    let header = Header::read(&file)?;
    let mut table = Table {
        provenance: Provenance {
            format: "xdb",
            source: "ip2region".to_owned(),
            date: unix_date(u64::from(file.u32_le(4)?)),
        },
        ..Table::default()
    };
    let mut texts = Lines::default();
    match header.family {
        Family::V4 => table.v4 = segments(&file, &header, Reader::u32_le, &mut texts)?,
        Family::V6 => table.v6 = segments(&file, &header, Reader::u128_be, &mut texts)?,
    }
    let records = texts.records(&file, header.version, &mut table.records)?;
    table.v4 = renamed(&table.v4, &records);
    table.v6 = renamed(&table.v6, &records);
    Ok(table)
}

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// Returns the bytes of an address.
    const fn width(self) -> usize {
        match self {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }

    /// Returns the bytes of a segment: two addresses, a length and an offset.
    const fn segment(self) -> usize {
        2 * self.width() + 2 + 4
    }
}

struct Header {
    version: u16,
    family: Family,
    /// Offset of the first segment.
    start: usize,
    /// Offset of the end of the last segment.
    end: usize,
}

impl Header {
    fn read(file: &Reader) -> Result<Header, FormatError> {
        let version = file.u16_le(0)?;
        let family = match version {
            2 => Family::V4,
            3 => match file.u16_le(16)? {
                4 => Family::V4,
                6 => Family::V6,
                other => return Err(file.corrupt(16, format!("IP version {other}, not 4 or 6"))),
            },
            _ => return Err(file.corrupt(0, format!("version {version}, not 2 or 3"))),
        };
        if version == 3 && file.u16_le(18)? != 4 {
            let width = file.u16_le(18)?;
            return Err(file.corrupt(18, format!("pointers of {width} bytes, not 4")));
        }
        let (first, last) = (file.u32_le(8)? as usize, file.u32_le(12)? as usize);
        let segment = family.segment();
        if first < HEADER + VECTOR_INDEX || last < first || (last - first) % segment != 0 {
            return Err(file.corrupt(8, format!("segments from {first} to {last}")));
        }
        file.slice(last, segment)?;
        Ok(Header {
            version,
            family,
            start: first,
            end: last + segment,
        })
    }
}

/// Reads the segments; a range's value is the number of its text.
fn segments<'a, A: Address>(
    file: &Reader<'a>,
    header: &Header,
    address: impl Fn(&Reader<'a>, usize) -> Result<A, FormatError>,
    texts: &mut Lines,
) -> Result<RangeList<A>, FormatError> {
    let (width, segment) = (header.family.width(), header.family.segment());
    let mut ranges = RangeList::default();
    let mut previous = None;
    for at in (header.start..header.end).step_by(segment) {
        let (first, last) = (address(file, at)?, address(file, at + width)?);
        if last < first || previous.is_some_and(|previous| first <= previous) {
            return Err(file.corrupt(at, "segments are not in order"));
        }
        previous = Some(last);
        let length = file.u16_le(at + 2 * width)?;
        // A segment without text means no data, as a gap does.
        if length > 0 {
            let value = texts.number((file.u32_le(at + 2 * width + 2)?, length));
            ranges.push(Range { first, last, value });
        }
    }
    Ok(ranges)
}

/// Returns the ranges with record numbers in place of text numbers.
fn renamed<A: Address>(ranges: &RangeList<A>, records: &[u32]) -> RangeList<A> {
    let renamed = ranges.iter().map(|range| Range {
        value: records[range.value as usize],
        ..range
    });
    renamed.collect()
}

#[cfg(test)]
mod tests;
