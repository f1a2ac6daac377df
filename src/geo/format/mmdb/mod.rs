//! `.mmdb`, the `MaxMind` DB format, with the shapes of `MaxMind`, DB-IP, `IPinfo` and ip-location-db.
//!
//! Layout: a binary search tree over the bits of an address, 16 zero bytes, records that share parts
//! through pointers, a marker and metadata (<https://maxmind.github.io/MaxMind-DB/>). The crate
//! `maxminddb` checks the metadata and decodes records. The tree is walked here, see `tree`, and
//! what a record means is said in `record`.
//!
//! Many networks lead to one record, so each is decoded once. A file may nevertheless be built to be
//! much larger decoded than it is itself, because records may share their parts: the sums of what is
//! visited and of what is kept are bounded by the size of the file, see `Budget`.

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

/// What stands before the metadata.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// How far from the end of the file the metadata may start.
const METADATA: usize = 128 * 1024;

/// Whether the marker is there; [`read`] checks the rest.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(METADATA)..];
    memchr::memmem::rfind(tail, MARKER).is_some()
}

/// Reads a whole file, names in the best of `languages` that it has.
///
/// A network without a record, or with one that has nothing that [`Field`](crate::geo::Field) knows,
/// is a gap. IPv4 networks of an IPv6 file are IPv4 ranges and nothing else, wherever the file's tree
/// repeats them.
///
/// # Errors
/// If the metadata, the tree or a record breaks the format's rules, if the file is larger decoded than
/// an honest one would be, or if no record has anything that a place has.
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

/// No record's number: there are fewer.
const NOTHING: u32 = u32::MAX;

/// From a leaf of the tree to the number of its record.
struct Decoder<'a> {
    file: Reader<'a>,
    database: &'a maxminddb::Reader<&'a [u8]>,
    languages: &'a Languages,
    budget: Budget,
    /// By what the tree's leaf says; [`NOTHING`] for a record that says nothing of the place.
    known: HashMap<u32, u32>,
}

impl Decoder<'_> {
    /// `address` is any of those that the tree leads to `pointer` from.
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

    /// Where the record stands that the tree calls `pointer`.
    fn database_offset(&self, pointer: u32) -> usize {
        let metadata = self.database.metadata();
        let nodes = metadata.node_count as usize;
        nodes * usize::from(metadata.record_size) / 4 + pointer as usize - nodes
    }
}

/// How much more a file may be when it is decoded.
///
/// An honest file repeats itself: a country's names in eight languages stand there once and belong to
/// thousands of records. What is kept is one row for each distinct record and one of equal texts. For
/// each of its bytes a file of cities takes 0.4 visits and keeps 0.4 bytes; one of providers, whose
/// records are small, keeps 1.2.
struct Budget {
    /// Values and pieces of text that may still be visited.
    visits: usize,
    /// Bytes that may still be kept.
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
