//! `.mmdb`, the `MaxMind` DB format, with the record layouts of `MaxMind`, DB-IP, `IPinfo` and
//! ip-location-db.
//!
//! Layout: a binary search tree over the bits of an address, 16 zero bytes, records that share
//! parts through pointers, a marker and metadata (<https://maxmind.github.io/MaxMind-DB/>). The
//! crate `maxminddb` checks the metadata and decodes records. The tree is walked here, see `tree`,
//! and `record` interprets the records.
//!
//! Many networks lead to one record, so each record is decoded once. A crafted file may still be
//! much larger decoded than encoded, because records may share their parts: the totals of visited
//! values and of stored bytes are limited by the size of the file, see `Budget`.

mod record;
mod tree;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;
use maxminddb::MaxMindDbError;

use super::reader::Reader;
use super::{FormatError, Languages, unix_date};
use crate::geo::record::{Records, Row};
use crate::geo::table::{Provenance, Table};
use crate::tree::{Range, RangeList};
use record::Record;
use tree::Tree;

/// Marker before the metadata.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Maximum distance between the start of the metadata and the end of the file, in bytes.
const METADATA: usize = 128 * 1024;

/// Returns `true` if the marker is there; [`read`] checks the rest.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(METADATA)..];
    memchr::memmem::rfind(tail, MARKER).is_some()
}

/// Reads a whole file, with names in the best of `languages` that it has.
///
/// A network without a record, or with a record that has no data for any
/// [`Field`](crate::geo::Field), is a gap. IPv4 networks of an IPv6 file become IPv4 ranges only,
/// wherever the file's tree repeats them.
///
/// # Errors
/// If the metadata, the tree or a record breaks the format's rules, if the file expands beyond its
/// `Budget`, or if no record has data for a place.
pub fn read(bytes: &[u8], languages: &Languages) -> Result<Table, FormatError> {
    let file = Reader::new("mmdb", bytes);
    let database = maxminddb::Reader::from_source(bytes).map_err(|e| corrupt(&file, &e))?;
    let metadata = database.metadata();
    let tree = Tree::new(file, metadata)?;
    let mut table = Table {
        provenance: Provenance {
            format: "mmdb",
            source: metadata.database_type.clone(),
            date: unix_date(metadata.build_epoch),
        },
        ..Table::default()
    };
    let mut decoder = Decoder {
        file,
        database: &database,
        languages,
        budget: Budget::of(bytes.len()),
        known: HashMap::new(),
    };
    let mut visits = tree.visits();
    table.v4 = RangeList::with_capacity(visits.leaves());
    tree.walk_v4(&mut visits, |first: u32, last, pointer| {
        let address = IpAddr::V4(Ipv4Addr::from(first));
        let value = decoder.record(pointer, address, &mut table.records)?;
        if let Some(value) = value {
            table.v4.push_joined(Range { first, last, value });
        }
        Ok(())
    })?;
    table.v6 = RangeList::with_capacity(visits.leaves());
    tree.walk_v6(&mut visits, |first: u128, last, pointer| {
        let address = IpAddr::V6(Ipv6Addr::from(first));
        let value = decoder.record(pointer, address, &mut table.records)?;
        if let Some(value) = value {
            table.v6.push_joined(Range { first, last, value });
        }
        Ok(())
    })?;
    if !decoder.known.is_empty() && table.records.is_empty() {
        let at = memchr::memmem::rfind(bytes, MARKER).unwrap_or_default();
        let kind = &metadata.database_type;
        return Err(file.corrupt(at, format!("no record of this {kind:?} has a place's data")));
    }
    Ok(table)
}

/// Stands for a missing record; there are fewer records than this number.
const NOTHING: u32 = u32::MAX;

/// Decoder of the records at the leaves of the tree.
struct Decoder<'a> {
    file: Reader<'a>,
    database: &'a maxminddb::Reader<&'a [u8]>,
    languages: &'a Languages,
    budget: Budget,
    /// Record numbers by the pointer in the tree's leaf; [`NOTHING`] for a record without data for
    /// a place.
    known: HashMap<u32, u32>,
}

impl Decoder<'_> {
    /// Returns the number of the record at `pointer`, or `None` if it has no data. `address` is any
    /// address that leads to `pointer`.
    fn record(
        &mut self,
        pointer: u32,
        address: IpAddr,
        records: &mut Records,
    ) -> Result<Option<u32>, FormatError> {
        if let Some(&known) = self.known.get(&pointer) {
            return Ok(Some(known).filter(|&known| known != NOTHING));
        }
        let found = self.database.lookup(address);
        let decoded = found.and_then(|found| found.decode::<Record>());
        let record = decoded.map_err(|error| corrupt(&self.file, &error))?;
        let number = match record {
            Some(record) => {
                let (texts, rows) = (records.texts().bytes(), records.len());
                let number = record.intern(self.languages, records);
                let texts = records.texts().bytes() - texts;
                let rows = (records.len() - rows) * size_of::<Row>();
                self.budget
                    .spend(record.cost(), texts + rows)
                    .map_err(|reason| self.file.corrupt(self.database_offset(pointer), reason))?;
                number
            }
            None => None,
        };
        self.known.insert(pointer, number.unwrap_or(NOTHING));
        Ok(number)
    }

    /// Returns the offset of the record that the tree calls `pointer`.
    fn database_offset(&self, pointer: u32) -> usize {
        let metadata = self.database.metadata();
        let nodes = metadata.node_count as usize;
        nodes * usize::from(metadata.record_size) / 4 + pointer as usize - nodes
    }
}

/// Limits of the expansion of a file.
///
/// A regular file repeats itself: a country's names in eight languages are stored once and belong
/// to thousands of records. The result has one row for each distinct record and each distinct text
/// once. For each of its bytes, a file of cities needs 0.4 visits and 0.4 stored bytes; a file of
/// providers, whose records are small, stores 1.2.
struct Budget {
    /// Values and pieces of text that may still be visited.
    visits: usize,
    /// Bytes that may still be stored.
    bytes: usize,
}

impl Budget {
    fn of(size: usize) -> Self {
        Budget {
            visits: size.saturating_mul(8),
            bytes: size.saturating_mul(6),
        }
    }

    fn spend(&mut self, visits: usize, bytes: usize) -> Result<(), String> {
        match (
            self.visits.checked_sub(visits),
            self.bytes.checked_sub(bytes),
        ) {
            (Some(visits), Some(bytes)) => {
                *self = Budget { visits, bytes };
                Ok(())
            }
            _ => Err("the records up to here are much larger than the file".to_owned()),
        }
    }
}

fn corrupt(file: &Reader, error: &MaxMindDbError) -> FormatError {
    let (offset, reason) = match error {
        MaxMindDbError::InvalidDatabase { message, offset }
        | MaxMindDbError::Decoding {
            message, offset, ..
        }
        | MaxMindDbError::ResourceLimit {
            message, offset, ..
        } => (*offset, message.clone()),
        other => (None, other.to_string()),
    };
    file.corrupt(offset.unwrap_or_default(), reason)
}

#[cfg(test)]
mod tests;
