//! Address -> value: the index behind every answer, and the only hot loop of the project.
//!
//! A database is hundreds of thousands of ranges that rarely change and are queried millions of
//! times. So the ranges are built into a trie once and frozen. The trie has two allocations and
//! offsets instead of pointers; all threads share it without a lock, and a reload replaces it as a
//! whole.
//!
//! A lookup indexes a root of 65,536 slots by the top 16 bits and then steps through nodes, mostly
//! none or one for IPv4 and one to three for IPv6. Equal neighbouring slots are stored once a run
//! (`node` has the layout), and equal subtrees once a tree, so real databases stay within a cache's
//! size. More ranges do not add steps, but more of the steps miss the cache.
//!
//! - `address`: the two widths, as plain integers;
//! - `flatten`: overlapping ranges -> disjoint runs; the most specific range wins;
//! - `build`: runs -> trie, from the leaves up, equal subtrees shared;
//! - `node`: the layout of a node, and the step through it;
//! - `ranges`: the trie read back;
//! - `overlay`: two lists of ranges, walked together;
//! - `list`: a compact list of ranges, the input of a tree.
//!
//! It uses only the standard library, and does not interpret values. A lookup counts bits: on
//! x86-64 a build with `-C target-feature=+popcnt` (every processor since 2008) is about a third
//! faster.

mod address;
mod build;
mod error;
mod flatten;
mod list;
mod node;
mod overlay;
mod ranges;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;

pub use address::Address;
pub use error::BuildError;
pub use list::RangeList;
use node::Entry;
pub use overlay::{Overlay, Piece, overlay};
pub use ranges::Ranges;

/// Highest value that a tree can hold: 2^31 - 2.
pub const MAX_VALUE: u32 = (1 << 31) - 2;

const ROOT_BITS: u32 = 16;
const ROOT_SLOTS: usize = 1 << ROOT_BITS;

/// An [`Entry`] for each value of an address's top 16 bits.
type Root = Box<[u32; ROOT_SLOTS]>;

/// Consecutive addresses with one value; both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<A> {
    /// Lowest address.
    pub first: A,
    /// Highest address.
    pub last: A,
    /// Value, at most [`MAX_VALUE`].
    pub value: u32,
}

/// Returns `ranges` in address order, without overlaps, as long as possible. The most specific
/// range wins, as in [`RangeTree::from_ranges`]; the result builds the same tree as `ranges`.
///
/// # Errors
/// The first range that ends before it starts or whose value is above [`MAX_VALUE`].
pub fn disjoint<A: Address>(ranges: RangeList<A>) -> Result<RangeList<A>, BuildError> {
    let mut list = RangeList::default();
    if flatten::is_disjoint(ranges.iter())? {
        let joins = |before: &Range<A>, next: &Range<A>| {
            before.value == next.value && before.last.next() == Some(next.first)
        };
        let (before, next) = (ranges.iter(), ranges.iter().skip(1));
        if !before.zip(next).any(|(before, next)| joins(&before, &next)) {
            // Most files are in this form already, and then no second list is needed.
            return Ok(ranges);
        }
        ranges.iter().for_each(|range| list.push_joined(range));
        return Ok(list);
    }
    // A run ends where the next one starts.
    let mut open: Option<(A, u32)> = None;
    flatten::flatten(ranges.iter(), |run| {
        if let Some((first, value)) = open {
            let last = run.start.previous();
            list.push(Range { first, last, value });
        }
        open = run.value.map(|value| (run.start, value));
    })?;
    if let Some((first, value)) = open {
        let last = A::MAX;
        list.push(Range { first, last, value });
    }
    Ok(list)
}

/// A frozen index from addresses to values. `A` is `u32` for IPv4 and `u128` for IPv6.
pub struct RangeTree<A> {
    root: Root,
    /// All nodes, one after the other.
    words: Box<[u32]>,
    width: PhantomData<A>,
}

impl<A: Address> RangeTree<A> {
    /// Builds the tree of `ranges`, which may be in any order and may overlap. They are walked
    /// twice.
    ///
    /// The most specific range wins: an address has the value of the smallest range that covers it,
    /// and among ranges of equal size that of the later one in the input. Sorted and disjoint
    /// ranges are fastest, and need no memory besides the tree.
    ///
    /// # Errors
    /// The first range that ends before it starts or whose value is above [`MAX_VALUE`], with its
    /// position in the input; or [`BuildError::TreeTooLarge`].
    pub fn from_ranges<I>(ranges: I) -> Result<Self, BuildError>
    where
        I: IntoIterator<Item = Range<A>>,
        I::IntoIter: Clone,
    {
        let ranges = ranges.into_iter();
        let (least, most) = ranges.size_hint();
        let mut root = build::RootBuilder::new(most.unwrap_or(least));
        flatten::flatten(ranges, |run| root.push(run))?;
        let (root, words) = root.finish()?;
        Ok(Self {
            root,
            words,
            width: PhantomData,
        })
    }

    /// Returns the value of `address`, or `None` if no range covers it.
    #[inline]
    #[must_use]
    pub fn lookup(&self, address: A) -> Option<u32> {
        let mut entry = Entry(self.root[usize::from(address.top_16())]);
        let mut rest = address.drop_16();
        while entry.is_node() {
            if entry.is_sparse() {
                entry = node::sparse_entry(&self.words, entry.offset(), rest.top_32());
                rest = rest.drop_32();
            } else {
                entry = node::dense_entry(&self.words, entry.offset(), rest.top_8());
                rest = rest.drop_8();
            }
        }
        entry.value()
    }

    /// Returns the contents of the tree as ranges in address order. They are disjoint and as long
    /// as possible: two neighbours differ in value or have a gap between them. Addresses without a
    /// value are left out.
    #[must_use]
    pub fn ranges(&self) -> Ranges<'_, A> {
        Ranges::new(self)
    }

    /// Returns the heap memory in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of_val(&*self.root) + size_of_val(&*self.words)
    }
}

impl<A: Address> fmt::Debug for RangeTree<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeTree")
            .field("bits", &A::BITS)
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}
