//! A whole source: ranges, the records that they point to, and where both come from.

use super::record::{Field, Records};
use crate::tree::{Address, BuildError, Range, RangeTree};

/// Where a database comes from, as its file or its maker says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Name of the format that it was read from: `dat`, `mmdb`, `pack`, `xdb`, `csv`.
    pub format: &'static str,
    /// Who made the data.
    pub source: String,
    /// `YYYY-MM-DD`, or empty where the file does not say.
    pub date: String,
}

/// A source, read and checked, not yet arranged for lookup.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Where the data comes from.
    pub provenance: Provenance,
    /// The locations that the ranges point to.
    pub records: Records,
    /// IPv4 ranges; a value is a record's number.
    pub v4: Vec<Range<u32>>,
    /// IPv6 ranges; a value is a record's number.
    pub v6: Vec<Range<u128>>,
}

/// Two sources have ranges of one family, and nothing says which one is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("both have {0} ranges")]
pub struct SameFamily(&'static str);

impl Table {
    /// Adds the ranges of another source, which must be of another family.
    ///
    /// # Errors
    /// If both have ranges of one family.
    ///
    /// # Panics
    /// If there are more than 2^32 records.
    pub fn join(&mut self, other: &Table) -> Result<(), SameFamily> {
        if !self.v4.is_empty() && !other.v4.is_empty() {
            return Err(SameFamily("IPv4"));
        }
        if !self.v6.is_empty() && !other.v6.is_empty() {
            return Err(SameFamily("IPv6"));
        }
        let numbers = 0..u32::try_from(other.records.len()).expect("records are numbered by u32");
        let joined: Vec<u32> = numbers
            .map(|record| {
                let text = |field| (field, other.records.text(record, field));
                self.records.intern(Field::ALL.map(text))
            })
            .collect();
        self.v4.extend(renumbered(&other.v4, &joined));
        self.v6.extend(renumbered(&other.v6, &joined));
        Ok(())
    }

    /// Puts the ranges in order, resolves overlaps (the most specific wins) and joins neighbours.
    ///
    /// # Errors
    /// If a range ends before it starts.
    pub fn flatten(&mut self) -> Result<(), BuildError> {
        flatten(&mut self.v4)?;
        flatten(&mut self.v6)
    }
}

fn renumbered<A: Copy>(ranges: &[Range<A>], numbers: &[u32]) -> impl Iterator<Item = Range<A>> {
    ranges.iter().map(|range| Range {
        value: numbers[range.value as usize],
        ..*range
    })
}

fn flatten<A: Address>(ranges: &mut Vec<Range<A>>) -> Result<(), BuildError> {
    let tree = RangeTree::from_ranges(std::mem::take(ranges))?;
    ranges.extend(tree.ranges());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(country: &str, v4: &[(u32, u32)], v6: &[(u128, u128)]) -> Table {
        let mut table = Table::default();
        let value = table.records.intern([(Field::Country, country)]);
        table.v4 = v4
            .iter()
            .map(|&(first, last)| Range { first, last, value })
            .collect();
        table.v6 = v6
            .iter()
            .map(|&(first, last)| Range { first, last, value })
            .collect();
        table
    }

    #[test]
    fn families_of_two_sources_are_joined() {
        let mut both = table("a", &[(1, 2)], &[]);
        both.join(&table("b", &[], &[(3, 4)])).unwrap();
        assert_eq!(both.records.text(both.v4[0].value, Field::Country), "a");
        assert_eq!(both.records.text(both.v6[0].value, Field::Country), "b");
        let error = both.join(&table("c", &[(9, 9)], &[])).unwrap_err();
        assert_eq!(error.to_string(), "both have IPv4 ranges");
    }

    #[test]
    fn flattened_ranges_are_in_order_and_do_not_overlap() {
        let mut table = table("a", &[(10, 20), (0, 9), (12, 13)], &[]);
        let b = table.records.intern([(Field::Country, "b")]);
        table.v4[2].value = b;
        table.flatten().unwrap();
        let ranges: Vec<_> = table
            .v4
            .iter()
            .map(|r| (r.first, r.last, r.value))
            .collect();
        assert_eq!(ranges, [(0, 11, 0), (12, 13, b), (14, 20, 0)]);
    }
}
