//! The ranges of a tree, read back from it.
//!
//! It keeps no stack of nodes: each step descends from the root to the end of the previous range.
//! The tree is shallow, and the commands that read all of it (verify, convert, diff) are not
//! time-critical.

use std::iter::FusedIterator;

use super::address::Address;
use super::node::{self, Entry};
use super::{ROOT_BITS, Range, RangeTree};

/// The ranges of a tree, in address order. See [`RangeTree::ranges`].
#[derive(Clone, Debug)]
pub struct Ranges<'a, A: Address> {
    tree: &'a RangeTree<A>,
    /// First address that was not read yet, or `None` past the end of the space.
    next: Option<A>,
}

impl<A: Address> Iterator for Ranges<'_, A> {
    type Item = Range<A>;

    fn next(&mut self) -> Option<Range<A>> {
        let mut found: Option<Range<A>> = None;
        while let Some(first) = self.next {
            let (value, last) = self.stretch(first);
            match (&mut found, value) {
                (Some(range), Some(value)) if range.value == value => range.last = last,
                (Some(_), _) => break,
                (None, Some(value)) => found = Some(Range { first, last, value }),
                (None, None) => {}
            }
            self.next = last.next();
        }
        found
    }
}

impl<A: Address> FusedIterator for Ranges<'_, A> {}

impl<'a, A: Address> Ranges<'a, A> {
    pub(super) fn new(tree: &'a RangeTree<A>) -> Self {
        Self {
            tree,
            next: Some(A::MIN),
        }
    }

    /// Returns the value at `address`, and the last address of its run of slots. The same value may
    /// continue in the next node.
    fn stretch(&self, address: A) -> (Option<u32>, A) {
        let words = &self.tree.words;
        let mut entry = Entry(self.tree.root[usize::from(address.top_16())]);
        let mut rest = address.drop_16();
        let mut bits = A::BITS - ROOT_BITS;
        let mut last = address.last_under(bits, u32::MAX);
        while entry.is_node() {
            let offset = entry.offset();
            let (end, stride);
            if entry.is_sparse() {
                end = node::sparse_run_end(words, offset, rest.top_32());
                stride = node::SPARSE_BITS;
                entry = node::sparse_entry(words, offset, rest.top_32());
                rest = rest.drop_32();
            } else {
                end = node::dense_run_end(words, offset, rest.top_8());
                stride = node::DENSE_BITS;
                entry = node::dense_entry(words, offset, rest.top_8());
                rest = rest.drop_8();
            }
            last = address.last_under(bits, end);
            bits = bits.saturating_sub(stride);
        }
        (entry.value(), last)
    }
}
