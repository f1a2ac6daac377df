//! An IP database: tree, places and prepared answers; immutable once built.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::Answers;
use super::codes::Codes;
use super::place::{Names, resolve};
use super::record::{Field, Records};
use super::table::{Provenance, Table};
use crate::tree::{Address, BuildError, Range, RangeList, RangeTree};

/// Number of the next database.
static SERIALS: AtomicU64 = AtomicU64::new(0);

/// An IP database, ready for lookup.
pub struct Database {
    serial: u64,
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
        // A large source has a million records, and the trees are built without them.
        drop(table.records);
        let place = |record: u32| resolved.place_of_record[record as usize];
        let v4 = RangeTree::from_ranges(with_places(&table.v4, place))?;
        drop(table.v4);
        let v6 = RangeTree::from_ranges(with_places(&table.v6, place))?;
        drop(table.v6);
        Ok(Database {
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
            v4,
            v6,
            answers: Answers::render(&resolved.places),
            places: resolved.places,
            provenance: table.provenance,
        })
    }

    /// Returns a number that no other database of this process has.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Looks up the place of an address; `None` if the database has none. An IPv4-mapped IPv6
    /// address is looked up as its IPv4 address.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<Place<'_>> {
        Some(self.place(self.find(address)?))
    }

    /// Returns the number of an address's place in [`Database::places`].
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<u32> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.lookup(u32::from(address)),
            IpAddr::V6(address) => self.v6.lookup(u128::from(address)),
        }
    }

    /// Returns the place with a number that [`Database::find`] returned.
    #[must_use]
    pub fn place(&self, number: u32) -> Place<'_> {
        Place(Texts::Stored {
            places: &self.places,
            number,
        })
    }

    /// Returns a place as a JSON array of eight strings, see [`FIELDS`](super::answer::FIELDS).
    #[must_use]
    pub fn answer(&self, number: u32) -> &[u8] {
        self.answers.get(number)
    }

    /// Returns the maximal runs of IPv4 addresses that share a place, in order; the value is its
    /// number.
    pub fn v4_ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.v4.ranges()
    }

    /// Returns the maximal runs of IPv6 addresses that share a place, in order; the value is its
    /// number.
    pub fn v6_ranges(&self) -> impl Iterator<Item = Range<u128>> + '_ {
        self.v6.ranges()
    }

    /// Returns the places that the ranges point to.
    #[must_use]
    pub fn places(&self) -> &Records {
        &self.places
    }

    /// Returns the provenance of the data.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Returns the memory of the trees and of the prepared answers.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory {
            v4: self.v4.memory(),
            v6: self.v6.memory(),
            answers: self.answers.memory(),
        }
    }
}

/// Memory of the parts of a database, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The IPv4 tree.
    pub v4: usize,
    /// The IPv6 tree.
    pub v6: usize,
    /// The prepared answers.
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

/// The database's data about an address: a handle from which fields are read when needed.
#[derive(Clone, Copy)]
pub struct Place<'d>(Texts<'d>);

#[derive(Clone, Copy)]
enum Texts<'d> {
    Stored { places: &'d Records, number: u32 },
    Copied(&'d PlaceCopy),
}

impl<'d> Place<'d> {
    /// Returns one field; empty if it is unknown.
    #[must_use]
    pub fn text(&self, field: Field) -> &'d str {
        match self.0 {
            Texts::Stored { places, number } => places.text(number, field),
            Texts::Copied(copy) => copy.text(field),
        }
    }

    /// Returns a copy of the place that does not refer to the database.
    #[must_use]
    pub fn copied(&self) -> PlaceCopy {
        let texts = Field::ALL.map(|field| self.text(field));
        let mut end = 0;
        PlaceCopy {
            ends: texts.map(|text| {
                end += text.len();
                end
            }),
            text: texts.concat().into_boxed_str(),
        }
    }
}

/// A place that outlives its database.
///
/// A request may last for hours. If it referred to the database for its place, a replaced database
/// would stay in memory for as long. The cost is one allocation of some hundred bytes.
pub struct PlaceCopy {
    text: Box<str>,
    /// End offsets of the fields' texts; each starts where the previous one ends.
    ends: [usize; Field::COUNT],
}

impl PlaceCopy {
    /// Returns the handle from which fields are read.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        Place(Texts::Copied(self))
    }

    fn text(&self, field: Field) -> &str {
        let field = field as usize;
        let start = field.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[field]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::format::Languages;
    use crate::geo::{EMBEDDED, format};

    #[test]
    fn a_copy_has_every_field_of_its_place() {
        let table = format::read(EMBEDDED, &Languages::default()).unwrap();
        let database = Database::build(table, &Codes::built_in(), Names::Canonical).unwrap();
        for address in [[114, 114, 114, 114], [8, 8, 8, 8], [127, 0, 0, 1]] {
            let place = database.lookup(address.into()).unwrap();
            let copy = place.copied();
            let again = copy.place().copied();
            for field in Field::ALL {
                assert_eq!(copy.place().text(field), place.text(field));
                assert_eq!(again.place().text(field), place.text(field));
            }
        }
    }
}
