//! Address -> value: the index behind every answer, and the only hot loop of the house.
//!
//! A database is hundreds of thousands of ranges that almost never change, asked millions of times. So the
//! ranges are worked into a trie once and frozen: two allocations, no pointers to chase but offsets, shared
//! by all threads without a lock, replaced as a whole on reload.
//!
//! A lookup indexes a root of 65,536 slots by the top 16 bits and then steps through nodes, mostly none or
//! one for IPv4 and one to three for IPv6. Slots that are equal are stored once a run (`node` has the
//! layout), and equal subtrees once a tree, so real databases stay within a cache's size. More ranges
//! make no more steps, only more of them miss the cache.
//!
//! - `address`: the two widths, as plain integers;
//! - `flatten`: overlapping ranges -> disjoint runs, where most specific wins;
//! - `build`: runs -> trie, from the leaves up, equal subtrees shared;
//! - `node`: the layout of a node, and the step through it;
//! - `ranges`: the trie read back;
//! - `overlay`: two lists of ranges, walked at once;
//! - `list`: ranges in little memory, on their way to a tree.
//!
//! Only the standard library, and nothing of what a value means. A lookup counts bits: on x86-64 a build
//! with `-C target-feature=+popcnt` (every processor since 2008) is about a third faster.

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

/// The greatest value that a tree can hold: 2^31 - 2.
pub const MAX_VALUE: u32 = (1 << 31) - 2;

const ROOT_BITS: u32 = 16;
const ROOT_SLOTS: usize = 1 << ROOT_BITS;

/// An [`Entry`] for each value of an address's top 16 bits.
type Root = Box<[u32; ROOT_SLOTS]>;

/// Consecutive addresses with one value; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<A> {
    /// The lowest address.
    pub first: A,
    /// The highest address.
    pub last: A,
    /// The value, at most [`MAX_VALUE`].
    pub value: u32,
}

/// `ranges` in address order, without overlaps, as long as they can be. The most specific wins, as in
/// [`RangeTree::from_ranges`], and the tree of the result is the tree of `ranges`.
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
            // Most files are so already, and then nothing is needed beside them.
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
    /// All nodes, end to end.
    words: Box<[u32]>,
    width: PhantomData<A>,
}

impl<A: Address> RangeTree<A> {
    /// Builds the tree of `ranges`, which come in any order and may overlap. They are walked twice.
    ///
    /// The most specific wins: an address has the value of the smallest range that covers it, and among
    /// ranges of one size that of the one later in the input. Fastest, and without memory beside the tree,
    /// if the ranges are sorted and disjoint.
    ///
    /// # Errors
    /// The first range that ends before it starts or whose value is above [`MAX_VALUE`], with its place in
    /// the input; or [`BuildError::TreeTooLarge`].
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

    /// The value of `address`, or `None` if no range covers it.
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

    /// What the tree answers, as ranges in address order: disjoint, as long as they can be (two neighbours
    /// differ in value or have a gap between them), addresses without a value left out.
    #[must_use]
    pub fn ranges(&self) -> Ranges<'_, A> {
        Ranges::new(self)
    }

    /// Bytes held on the heap.
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
