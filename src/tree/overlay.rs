//! Overlay of two lists of ranges, cut where either of them changes.
//!
//! A merge or a comparison of databases walks both lists at once, so its cost depends on the number
//! of ranges and not of addresses. The pieces are not collected: a merge of millions of ranges
//! keeps only its result.

use std::iter::FusedIterator;

use super::Range;
use super::address::Address;

/// Consecutive addresses on which neither list changes; at least one of the two has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<A> {
    /// Lowest address.
    pub first: A,
    /// Highest address.
    pub last: A,
    /// Value in the first list.
    pub upper: Option<u32>,
    /// Value in the second list.
    pub lower: Option<u32>,
}

/// Returns the pieces of two lists, in address order. Both lists must be sorted and free of
/// overlaps.
pub fn overlay<A, U, L>(upper: U, lower: L) -> Overlay<A, U::IntoIter, L::IntoIter>
where
    A: Address,
    U: IntoIterator<Item = Range<A>>,
    L: IntoIterator<Item = Range<A>>,
{
    let (mut upper, mut lower) = (upper.into_iter(), lower.into_iter());
    Overlay {
        heads: [upper.next(), lower.next()],
        upper,
        lower,
    }
}

/// See [`overlay`].
#[derive(Clone, Debug)]
pub struct Overlay<A, U, L> {
    upper: U,
    lower: L,
    /// The unread rest of the current range of each list.
    heads: [Option<Range<A>>; 2],
}

impl<A, U, L> Iterator for Overlay<A, U, L>
where
    A: Address,
    U: Iterator<Item = Range<A>>,
    L: Iterator<Item = Range<A>>,
{
    type Item = Piece<A>;

    fn next(&mut self) -> Option<Piece<A>> {
        let first = self.heads.iter().flatten().map(|head| head.first).min()?;
        // The piece ends where the nearest range ends, or just before the other one begins.
        let ends = self.heads.iter().flatten().map(|head| {
            if head.first > first {
                head.first.previous()
            } else {
                head.last
            }
        });
        let last = ends.min()?;
        let [upper, lower] = self
            .heads
            .map(|head| head.filter(|head| head.first == first));
        if upper.is_some() {
            self.heads[0] = rest_after(upper, last).or_else(|| self.upper.next());
        }
        if lower.is_some() {
            self.heads[1] = rest_after(lower, last).or_else(|| self.lower.next());
        }
        Some(Piece {
            first,
            last,
            upper: upper.map(|range| range.value),
            lower: lower.map(|range| range.value),
        })
    }
}

impl<A, U, L> FusedIterator for Overlay<A, U, L>
where
    A: Address,
    U: FusedIterator<Item = Range<A>>,
    L: FusedIterator<Item = Range<A>>,
{
}

fn rest_after<A: Address>(head: Option<Range<A>>, last: A) -> Option<Range<A>> {
    let head = head.filter(|head| head.last > last)?;
    let first = last.next()?;
    Some(Range { first, ..head })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range<A>((first, last, value): (A, A, u32)) -> Range<A> {
        Range { first, last, value }
    }

    #[track_caller]
    fn check(
        upper: &[(u32, u32, u32)],
        lower: &[(u32, u32, u32)],
        expected: &[(u32, u32, Option<u32>, Option<u32>)],
    ) {
        let pieces = overlay(
            upper.iter().copied().map(range),
            lower.iter().copied().map(range),
        );
        let pieces: Vec<_> = pieces
            .map(|p| (p.first, p.last, p.upper, p.lower))
            .collect();
        assert_eq!(pieces, expected);
    }

    #[test]
    fn pieces_end_where_either_list_changes() {
        check(
            &[(10, 20, 1), (21, 30, 2)],
            &[(5, 12, 7), (25, 40, 8)],
            &[
                (5, 9, None, Some(7)),
                (10, 12, Some(1), Some(7)),
                (13, 20, Some(1), None),
                (21, 24, Some(2), None),
                (25, 30, Some(2), Some(8)),
                (31, 40, None, Some(8)),
            ],
        );
    }

    #[test]
    fn the_whole_space_and_nothing() {
        let whole = (0, u32::MAX, 1);
        check(&[whole], &[], &[(0, u32::MAX, Some(1), None)]);
        check(&[whole], &[whole], &[(0, u32::MAX, Some(1), Some(1))]);
        check(
            &[whole],
            &[(u32::MAX, u32::MAX, 2)],
            &[
                (0, u32::MAX - 1, Some(1), None),
                (u32::MAX, u32::MAX, Some(1), Some(2)),
            ],
        );
        check(&[], &[], &[]);
    }

    /// Sorted ranges without overlaps, from a list of gaps and sizes.
    fn ranges() -> impl Strategy<Value = Vec<Range<u32>>> {
        proptest::collection::vec((0_u32..5, 0_u32..5, 0_u32..4), 0..12).prop_map(|steps| {
            let mut next = 0;
            let ranges = steps.into_iter().map(|(gap, size, value)| {
                let first = next + gap;
                next = first + size + 1;
                range((first, first + size, value))
            });
            ranges.collect()
        })
    }

    proptest! {
        #[test]
        fn every_address_has_the_values_of_both(upper in ranges(), lower in ranges()) {
            let value = |list: &[Range<u32>], address| {
                let found = list.iter().find(|r| r.first <= address && address <= r.last);
                found.map(|range| range.value)
            };
            let pieces: Vec<_> = overlay(upper.iter().copied(), lower.iter().copied()).collect();
            for address in 0..130 {
                let found: Vec<_> = pieces
                    .iter()
                    .filter(|piece| piece.first <= address && address <= piece.last)
                    .collect();
                let expected = (value(&upper, address), value(&lower, address));
                match found[..] {
                    [] => prop_assert_eq!(expected, (None, None)),
                    [piece] => prop_assert_eq!((piece.upper, piece.lower), expected),
                    _ => prop_assert!(false, "{} stands twice", address),
                }
            }
        }
    }
}
