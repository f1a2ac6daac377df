//! Common structure of `.dat` and `.datx`, which differ only in sizes.
//!
//! Layout: u32 BE `offset`; the index, one u32 LE for each value of an address's first bits: the
//! first entry that ends in its block or later; entries (u32 BE inclusive end of the range, u24 LE
//! text offset, text length); then text, whose base is `offset` less the index's size. The entries
//! end there too. The vendor's own reader of `.dat` continues up to `offset` and reads 128 invalid
//! entries from the text.

use std::collections::HashMap;

use super::reader::Reader;
use super::texts::Texts;
use super::{FormatError, rows};
use crate::geo::table::{Provenance, Table};
use crate::tree::Range;

/// Offset of the index.
const INDEX: usize = 4;

/// Start of 255.255.255.0/24, whose text is the file's version if the file has one.
const VERSION_FIRST: u32 = 0xffff_ff00;

/// Sizes of one of the two formats.
pub(super) struct Layout {
    /// Name of the format.
    pub format: &'static str,
    /// Number of an address's first bits that select the index value.
    pub index_bits: u32,
    /// Bytes of a text's length, which is big-endian.
    pub length_bytes: usize,
}

impl Layout {
    const fn slots(&self) -> usize {
        1 << self.index_bits
    }

    /// Offset of the first entry.
    const fn entries(&self) -> usize {
        INDEX + self.slots() * 4
    }

    /// Bytes of an entry.
    const fn entry(&self) -> usize {
        4 + 3 + self.length_bytes
    }

    /// Returns `true` if the header is plausible; [`Layout::read`] checks the rest.
    pub(super) fn looks_like(&self, bytes: &[u8]) -> bool {
        self.entry_count(&Reader::new(self.format, bytes)).is_ok()
    }

    /// Returns `true` if the index agrees with the entries.
    pub(super) fn has_index(&self, bytes: &[u8]) -> bool {
        let file = Reader::new(self.format, bytes);
        self.entry_count(&file)
            .is_ok_and(|count| self.check_index(&file, count).is_ok())
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// If an offset or an index points outside the file or disagrees with the entries, if entries
    /// are not in order, or if a text has too many fields.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<Table, FormatError> {
        let file = Reader::new(self.format, bytes);
        let count = self.entry_count(&file)?;
        let text_base = self.entries() + count * self.entry();
        let mut table = Table {
            provenance: Provenance {
                format: self.format,
                ..Provenance::default()
            },
            ..Table::default()
        };
        let mut texts = Texts::new(file);
        let mut first = 0_u32;
        for entry in 0..count {
            let at = self.entries() + entry * self.entry();
            let last = file.u32_be(at)?;
            if last < first {
                return Err(file.corrupt(at, format!("entry {entry} ends before it starts")));
            }
            let text_at = text_base + file.u24_le(at + 4)? as usize;
            let length = self.text_length(&file, at + 7)?;
            if first == VERSION_FIRST
                && last == u32::MAX
                && let Some((source, date)) =
                    rows::version(&rows::decode(file.slice(text_at, length)?))
            {
                table.provenance.source = source;
                table.provenance.date = date;
                break;
            }
            let value = texts.record(text_at, length, |text| {
                rows::record(&rows::decode(text), &mut table.records)
                    .map_err(|reason| file.corrupt(text_at, reason))
            })?;
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
        self.check_index(&file, count)?;
        Ok(table)
    }

    fn entry_count(&self, file: &Reader) -> Result<usize, FormatError> {
        let offset = file.u32_be(0)? as usize;
        let index = self.slots() * 4;
        let minimum = self.entries() + self.entry() + index;
        if offset < minimum || offset > file.len() + index {
            return Err(file.corrupt(0, format!("offset {offset} lies outside the file")));
        }
        let entries = offset - index - self.entries();
        if !entries.is_multiple_of(self.entry()) {
            return Err(file.corrupt(0, format!("offset {offset} leaves a part of an entry")));
        }
        Ok(entries / self.entry())
    }

    fn text_length(&self, file: &Reader, at: usize) -> Result<usize, FormatError> {
        let bytes = file.slice(at, self.length_bytes)?;
        Ok(bytes
            .iter()
            .fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    /// Checks the index. The reader does not need it, but an index that disagrees with the entries
    /// means that one of the two is damaged, or that the file is of the other size. Blocks after
    /// the last entry may point to that entry or past it.
    fn check_index(&self, file: &Reader, count: usize) -> Result<(), FormatError> {
        let end_of = |entry: usize| {
            if entry < count {
                file.u32_be(self.entries() + entry * self.entry())
            } else {
                Ok(u32::MAX)
            }
        };
        let mut expected = 0;
        let mut end = end_of(expected)?;
        let index = file.slice(INDEX, self.slots() * 4)?;
        let (index, _) = index.as_chunks::<4>();
        for (slot, found) in index.iter().enumerate() {
            let start = (slot as u32) << (u32::BITS - self.index_bits);
            while end < start {
                expected += 1;
                end = end_of(expected)?;
            }
            let found = u32::from_le_bytes(*found) as usize;
            let past_the_end = expected == count && found + 1 == count;
            if found != expected && !past_the_end {
                let reason = format!("index {slot} is {found}, the entries say {expected}");
                return Err(file.corrupt(INDEX + slot * 4, reason));
            }
        }
        Ok(())
    }

    /// Writes a file. `entries` are inclusive ends with their tab-separated text, in order.
    pub(super) fn write(&self, entries: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut texts: Vec<u8> = Vec::new();
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut body = Vec::new();
        for (last, text) in entries {
            let place = *places.entry(text).or_insert_with(|| {
                let place = texts.len();
                texts.extend_from_slice(text);
                place
            });
            let length = u32::try_from(text.len())
                .expect("a short text")
                .to_be_bytes();
            let (over, length) = length.split_at(4 - self.length_bytes);
            assert!(over.iter().all(|&byte| byte == 0), "a short text");
            body.extend_from_slice(&last.to_be_bytes());
            body.extend_from_slice(&place.to_le_bytes()[..3]);
            body.extend_from_slice(length);
        }
        let number = |number: usize| u32::try_from(number).expect("a small file");
        let offset = number(self.entries() + body.len() + self.slots() * 4);
        let mut file = offset.to_be_bytes().to_vec();
        for slot in 0..number(self.slots()) {
            let start = slot << (u32::BITS - self.index_bits);
            let index = entries.partition_point(|(last, _)| *last < start);
            file.extend_from_slice(&number(index).to_le_bytes());
        }
        file.extend_from_slice(&body);
        file.extend_from_slice(&texts);
        file
    }
}

#[cfg(test)]
mod tests;
