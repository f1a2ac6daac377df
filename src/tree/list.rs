//! A compact list of ranges, for sequential reading.
//!
//! A large source has millions of ranges. As plain values of 48 bytes each for IPv6, they would
//! take several times the memory of the tree that is built from them. Here each range is encoded
//! relative to the previous one. Networks mostly follow each other and have a power of two for
//! their size, so most ranges take 3 to 6 bytes:
//!
//! ```text
//! u8        bit 7: there is a gap before it; bits 0-6: the size's trailing zero bits
//! varint    the size without those, halved
//! u8        with a gap: the gap's trailing zero bits
//! varint    with a gap: the gap without those, halved
//! varint    the value
//! ```
//!
//! Varints are LEB128. Sums wrap at the address's width, so ranges in any order, even those that
//! end before they start, are read back unchanged.

use std::fmt;
use std::iter::FusedIterator;

use super::Range;
use super::address::Address;

const GAP: u8 = 0x80;

/// Encoding of the size of the whole IPv6 space, 2^128, which does not fit in 128 bits. No other
/// size has this encoding.
const WHOLE: (u32, u128) = (127, 1);

/// Ranges in the order in which they were added.
#[derive(Clone)]
pub struct RangeList<A> {
    bytes: Vec<u8>,
    /// Number of ranges in `bytes`.
    written: usize,
    /// Start of the range after those in `bytes`, if there is no gap.
    next: A,
    /// The range that was added last; it may still be extended.
    tail: Option<Range<A>>,
}

/// Bytes of a range in typical sources.
const TYPICAL: usize = 6;

impl<A: Address> RangeList<A> {
    /// Creates an empty list with capacity for about `ranges` ranges. Unused capacity takes no
    /// physical memory, whereas a growing list is copied and exists twice for a moment.
    #[must_use]
    pub fn with_capacity(ranges: usize) -> Self {
        RangeList {
            bytes: Vec::with_capacity(ranges.saturating_mul(TYPICAL)),
            ..RangeList::default()
        }
    }

    /// Adds a range at the end.
    pub fn push(&mut self, range: Range<A>) {
        if let Some(before) = self.tail.replace(range) {
            self.write(before);
        }
    }

    /// Adds a range at the end, or extends the last range if that has the same value and ends just
    /// before this one starts.
    pub fn push_joined(&mut self, range: Range<A>) {
        match &mut self.tail {
            Some(before)
                if before.value == range.value && before.last.next() == Some(range.first) =>
            {
                before.last = range.last;
            }
            _ => self.push(range),
        }
    }

    /// Returns the number of ranges.
    #[must_use]
    pub fn len(&self) -> usize {
        self.written + usize::from(self.tail.is_some())
    }

    /// Returns `true` if there is no range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tail.is_none()
    }

    /// Returns the range that was added last.
    #[must_use]
    pub fn last(&self) -> Option<Range<A>> {
        self.tail
    }

    /// Returns all ranges, in the order in which they were added.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, A> {
        Iter {
            bytes: &self.bytes,
            next: A::MIN,
            left: self.written,
            tail: self.tail,
        }
    }

    fn write(&mut self, range: Range<A>) {
        let first = range.first.to_u128();
        let gap = A::from_u128(first.wrapping_sub(self.next.to_u128())).to_u128();
        let above = A::from_u128(range.last.to_u128().wrapping_sub(first)).to_u128();
        let size = above.checked_add(1).map_or(WHOLE, split);
        self.write_number(if gap == 0 { 0 } else { GAP }, size);
        if gap != 0 {
            self.write_number(0, split(gap));
        }
        self.write_varint(range.value.into());
        self.next = after(range.last);
        self.written += 1;
    }

    fn write_number(&mut self, flag: u8, (zeros, rest): (u32, u128)) {
        self.bytes.push(flag | zeros as u8);
        self.write_varint(rest);
    }

    fn write_varint(&mut self, mut number: u128) {
        while number > 0x7f {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}

/// Returns the trailing zero bits of a number above 0, and half of the odd number above them.
fn split(number: u128) -> (u32, u128) {
    let zeros = number.trailing_zeros();
    (zeros, number >> zeros >> 1)
}

/// Returns the next address; after the highest, the lowest.
fn after<A: Address>(address: A) -> A {
    A::from_u128(address.to_u128().wrapping_add(1))
}

/// See [`RangeList::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'l, A> {
    bytes: &'l [u8],
    next: A,
    /// Number of ranges left in `bytes`.
    left: usize,
    tail: Option<Range<A>>,
}

impl<A: Address> Iterator for Iter<'_, A> {
    type Item = Range<A>;

    fn next(&mut self) -> Option<Range<A>> {
        let Some(left) = self.left.checked_sub(1) else {
            return self.tail.take();
        };
        self.left = left;
        let head = self.byte();
        let (zeros, rest) = (u32::from(head & !GAP), self.varint());
        // 2^128 wraps to 0.
        let size = if (zeros, rest) == WHOLE {
            0
        } else {
            join(zeros, rest)
        };
        let mut first = self.next.to_u128();
        if head & GAP != 0 {
            let (zeros, rest) = (u32::from(self.byte()), self.varint());
            first = first.wrapping_add(join(zeros, rest));
        }
        let last = A::from_u128(first.wrapping_add(size).wrapping_sub(1));
        self.next = after(last);
        Some(Range {
            first: A::from_u128(first),
            last,
            value: self.varint() as u32,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.left + usize::from(self.tail.is_some());
        (left, Some(left))
    }
}

impl<A: Address> ExactSizeIterator for Iter<'_, A> {}

impl<A: Address> FusedIterator for Iter<'_, A> {}

fn join(zeros: u32, rest: u128) -> u128 {
    (rest << 1 | 1) << zeros
}

impl<A> Iter<'_, A> {
    /// Reads one byte. The list wrote all bytes itself, so there is one.
    fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.bytes.split_first().expect("a whole range");
        self.bytes = rest;
        byte
    }

    fn varint(&mut self) -> u128 {
        let first = self.byte();
        if first & 0x80 == 0 {
            return first.into();
        }
        let mut number = u128::from(first & 0x7f);
        for shift in (7..).step_by(7) {
            let byte = self.byte();
            number |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }
}

impl<A: Address> Default for RangeList<A> {
    fn default() -> Self {
        RangeList {
            bytes: Vec::new(),
            written: 0,
            next: A::MIN,
            tail: None,
        }
    }
}

impl<A: Address> FromIterator<Range<A>> for RangeList<A> {
    fn from_iter<I: IntoIterator<Item = Range<A>>>(ranges: I) -> Self {
        let mut list = RangeList::default();
        ranges.into_iter().for_each(|range| list.push(range));
        list
    }
}

impl<A: Address, const N: usize> From<[Range<A>; N]> for RangeList<A> {
    fn from(ranges: [Range<A>; N]) -> Self {
        ranges.into_iter().collect()
    }
}

impl<'l, A: Address> IntoIterator for &'l RangeList<A> {
    type Item = Range<A>;
    type IntoIter = Iter<'l, A>;

    fn into_iter(self) -> Iter<'l, A> {
        self.iter()
    }
}

impl<A: Address> PartialEq for RangeList<A> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<A: Address> fmt::Debug for RangeList<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check<A: Address>(ranges: &[(A, A, u32)]) -> RangeList<A> {
        let ranges = ranges
            .iter()
            .map(|&(first, last, value)| Range { first, last, value });
        let ranges: Vec<_> = ranges.collect();
        let list: RangeList<A> = ranges.iter().copied().collect();
        assert_eq!(
            (list.len(), list.iter().len()),
            (ranges.len(), ranges.len())
        );
        assert_eq!(list.iter().collect::<Vec<_>>(), ranges);
        assert_eq!(list.last(), ranges.last().copied());
        list
    }

    #[test]
    fn ranges_come_back_as_they_were() {
        const TOP: u128 = u128::MAX;
        check::<u32>(&[]);
        check(&[(0, u32::MAX, u32::MAX), (0, u32::MAX, 0), (5, 5, 1)]);
        check(&[
            (0, TOP, 1),
            (0, TOP, 2),
            (TOP, TOP, 3),
            (0, 0, 4),
            (1, TOP, 5),
        ]);
        check(&[
            (1 << 127, TOP, 1),
            (0, TOP >> 1, 2),
            (TOP >> 1, 1 << 127, 3),
        ]);
        // Out of order, overlapping, and reversed.
        check(&[
            (7_u32, 9, 1),
            (3, 8, 2),
            (9, 3, 3),
            (u32::MAX, 0, 4),
            (1, 1, 5),
        ]);
        check(&[(7_u128, 9, 1), (3, 8, 2), (9, 3, 3), (TOP, 0, 4), (1, 1, 5)]);
    }

    #[test]
    fn networks_that_follow_each_other_take_few_bytes() {
        let network = |number: u128| (number << 80, (number << 80) + (1 << 80) - 1, 7);
        let networks: Vec<_> = (0x2001..0x3001).map(network).collect();
        let list = check(&networks);
        assert!(list.bytes.len() < 4096 * 3 + 10, "{}", list.bytes.len());
    }

    #[test]
    fn neighbours_of_one_value_may_be_joined() {
        let mut list = RangeList::default();
        for (first, last, value) in [(0_u32, 4, 1), (5, 9, 1), (11, 12, 1), (13, 13, 2)] {
            list.push_joined(Range { first, last, value });
        }
        let ranges: Vec<_> = list.iter().map(|r| (r.first, r.last, r.value)).collect();
        assert_eq!(ranges, [(0, 9, 1), (11, 12, 1), (13, 13, 2)]);
    }

    proptest! {
        #[test]
        fn any_ranges_come_back(ranges in proptest::collection::vec(any::<(u128, u128, u32)>(), 0..20)) {
            check(&ranges);
            let narrow = ranges.iter().map(|&(first, last, value)| (first as u32, last as u32, value));
            check(&narrow.collect::<Vec<_>>());
        }
    }
}
