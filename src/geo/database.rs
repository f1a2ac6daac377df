//! Tree, places and ready-made answers: everything that a lookup needs, immutable once built.

use std::net::IpAddr;

use super::answer::Answers;
use super::codes::Codes;
use super::place::{Names, resolve};
use super::record::{Field, Records};
use super::table::{Provenance, Table};
use crate::tree::{Address, BuildError, Range, RangeList, RangeTree};

/// An IP database, ready for lookup.
pub struct Database {
    v4: RangeTree<u32>,
    v6: RangeTree<u128>,
    places: Records,
    answers: Answers,
    provenance: Provenance,
}

impl Database {
    /// Arranges a source for lookup.
    ///
    /// # Errors
    /// If a range of the source ends before it starts, or there are more than 2^31 places.
    pub fn build(table: Table, codes: &Codes, names: Names) -> Result<Self, BuildError> {
        let resolved = resolve(&table.records, codes, names);
        // A large source has a million records, which the trees are built without.
        drop(table.records);
        let place = |record: u32| resolved.place_of_record[record as usize];
        let v4 = RangeTree::from_ranges(with_places(&table.v4, place))?;
        drop(table.v4);
        let v6 = RangeTree::from_ranges(with_places(&table.v6, place))?;
        drop(table.v6);
        Ok(Database {
            v4,
            v6,
            answers: Answers::render(&resolved.places),
            places: resolved.places,
            provenance: table.provenance,
        })
    }

    /// The place of an address, if the database has one. An IPv4-mapped IPv6 address is looked up
    /// as the IPv4 address that it is.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<Place<'_>> {
        let number = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.lookup(u32::from(address)),
            IpAddr::V6(address) => self.v6.lookup(u128::from(address)),
        }?;
        Some(self.place(number))
    }

    /// The place with a number that [`Place::number`] gave.
    #[must_use]
    pub fn place(&self, number: u32) -> Place<'_> {
        Place {
            database: self,
            number,
        }
    }

    /// The maximal runs of IPv4 addresses that share a place, in order; the value is its number.
    pub fn v4_ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.v4.ranges()
    }

    /// The maximal runs of IPv6 addresses that share a place, in order; the value is its number.
    pub fn v6_ranges(&self) -> impl Iterator<Item = Range<u128>> + '_ {
        self.v6.ranges()
    }

    /// The places that the ranges point to.
    #[must_use]
    pub fn places(&self) -> &Records {
        &self.places
    }

    /// Where the data comes from.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Bytes held by the trees and by the ready-made answers.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory {
            v4: self.v4.memory(),
            v6: self.v6.memory(),
            answers: self.answers.memory(),
        }
    }
}

/// Bytes held by the parts of a database.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The IPv4 tree.
    pub v4: usize,
    /// The IPv6 tree.
    pub v6: usize,
    /// The ready-made answers.
    pub answers: usize,
}

fn with_places<A: Address>(
    ranges: &RangeList<A>,
    place: impl Fn(u32) -> Option<u32> + Clone,
) -> impl Iterator<Item = Range<A>> + Clone {
    ranges.iter().filter_map(move |range| {
        let value = place(range.value)?;
        Some(Range { value, ..range })
    })
}

/// What a database knows of an address: a handle, from which fields are read when needed.
#[derive(Clone, Copy)]
pub struct Place<'d> {
    database: &'d Database,
    number: u32,
}

impl<'d> Place<'d> {
    /// One field; empty where it is not known.
    #[must_use]
    pub fn text(&self, field: Field) -> &'d str {
        self.database.places.text(self.number, field)
    }

    /// The place as a JSON array of eight strings, see [`FIELDS`](super::answer::FIELDS).
    #[must_use]
    pub fn answer(&self) -> &'d [u8] {
        self.database.answers.get(self.number)
    }

    /// The place's number in [`Database::places`].
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }
}
