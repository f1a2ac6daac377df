//! A whole source: ranges, the records that they point to, and its provenance.

use super::record::Records;
use crate::tree::{BuildError, RangeList, disjoint};

/// Origin of a database, as its file or its maker states it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Name of the format that it was read from, such as `dat` or `mmdb`; `layers` if from several.
    pub format: &'static str,
    /// Maker of the data.
    pub source: String,
    /// Date as `YYYY-MM-DD`; empty if the file has none.
    pub date: String,
}

/// A source that was read and checked, but not yet arranged for lookup.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Origin of the data.
    pub provenance: Provenance,
    /// The locations that the ranges point to.
    pub records: Records,
    /// IPv4 ranges; a value is a record's number.
    pub v4: RangeList<u32>,
    /// IPv6 ranges; a value is a record's number.
    pub v6: RangeList<u128>,
}

impl Table {
    /// Returns `true` if there are no ranges.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Sorts the ranges, resolves overlaps (the most specific wins) and joins neighbours.
    ///
    /// # Errors
    /// If a range ends before it starts. The ranges of its family are lost then.
    pub fn flatten(&mut self) -> Result<(), BuildError> {
        self.v4 = disjoint(std::mem::take(&mut self.v4))?;
        self.v6 = disjoint(std::mem::take(&mut self.v6))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Field;
    use crate::tree::Range;

    #[test]
    fn flattened_ranges_are_in_order_and_do_not_overlap() {
        let mut table = Table::default();
        let a = table.records.intern([(Field::Country, "a")]);
        let b = table.records.intern([(Field::Country, "b")]);
        table.v4 = [(10, 20, a), (0, 9, a), (12, 13, b)]
            .map(|(first, last, value)| Range { first, last, value })
            .into();
        table.flatten().unwrap();
        let ranges: Vec<_> = table
            .v4
            .iter()
            .map(|r| (r.first, r.last, r.value))
            .collect();
        assert_eq!(ranges, [(0, 11, a), (12, 13, b), (14, 20, a)]);
    }
}
