//! Runs to trie, from the leaves up.
//!
//! A node is written at the end of the array and then looked for among those before it: if its image is
//! there already, the new one is cut off again. Its children went through the same, so equal images are
//! equal subtrees to any depth, and sharing costs one hash of each node.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::address::Address;
use super::flatten::Run;
use super::node::{self, Entry, SPARSE_RUNS};
use super::{MAX_VALUE, ROOT_BITS, ROOT_SLOTS, Root};

/// Why ranges do not make a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A range ends before it starts.
    Inverted {
        /// Its place in the input, from 0.
        index: usize,
    },
    /// A value is above [`MAX_VALUE`].
    ValueTooLarge {
        /// The range's place in the input, from 0.
        index: usize,
        /// The value.
        value: u32,
    },
    /// The nodes need more than 4 GiB.
    TreeTooLarge,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inverted { index } => write!(f, "range[{index}]: ends before it starts"),
            Self::ValueTooLarge { index, value } => {
                write!(f, "range[{index}]: value {value} is above {MAX_VALUE}")
            }
            Self::TreeTooLarge => f.write_str("the ranges make a tree of more than 4 GiB"),
        }
    }
}

impl std::error::Error for BuildError {}

/// The root's slots and the nodes' words for `runs`, which are as [`flatten`](super::flatten::flatten)
/// gives them. O(runs) a level.
///
/// # Errors
/// [`BuildError::TreeTooLarge`].
pub(super) fn build<A: Address>(runs: &[Run<A>]) -> Result<(Root, Box<[u32]>), BuildError> {
    let mut builder = Builder::default();
    builder.split(runs, A::BITS, ROOT_BITS)?;
    let root = spread(&builder.pending);
    node::append_padding(&mut builder.words);
    Ok((root, builder.words.into_boxed_slice()))
}

/// The root's slots one by one: every lookup passes here, so it is not packed.
fn spread(runs: &[(u32, Entry)]) -> Root {
    let mut slots = Vec::with_capacity(ROOT_SLOTS);
    for (index, &(_, entry)) in runs.iter().enumerate() {
        let end = runs
            .get(index + 1)
            .map_or(ROOT_SLOTS, |next| next.0 as usize);
        slots.resize(end, entry.0);
    }
    slots.try_into().expect("runs cover all the root's slots")
}

#[derive(Default)]
struct Builder {
    words: Vec<u32>,
    /// Hash of a node's image -> where it stands. A second image with the same hash is not shared.
    known: HashMap<u64, usize>,
    /// Runs of the nodes under way, (first slot, entry): the innermost node's at the end.
    pending: Vec<(u32, Entry)>,
}

impl Builder {
    /// The entry for a subtree of `2^bits` addresses.
    ///
    /// `runs[0]` holds at the subtree's first address; the others start inside it.
    fn node<A: Address>(&mut self, runs: &[Run<A>], bits: u32) -> Result<Entry, BuildError> {
        let sparse = fits_sparse(runs, bits);
        let stride = if sparse {
            bits.min(node::SPARSE_BITS)
        } else {
            node::DENSE_BITS
        };
        let mark = self.pending.len();
        self.split(runs, bits, stride)?;

        let offset = self.words.len();
        let slots = &mut self.pending[mark..];
        if sparse {
            // Where fewer bits are left than a sparse node's slots have, they are the upper ones.
            for run in &mut *slots {
                run.0 <<= node::SPARSE_BITS - stride;
            }
            node::append_sparse(&mut self.words, slots);
        } else {
            node::append_dense(&mut self.words, slots);
        }
        self.pending.truncate(mark);
        Entry::from_node(self.share(offset), sparse).ok_or(BuildError::TreeTooLarge)
    }

    /// Pushes the runs of slots that `runs` make of `2^bits` addresses cut into `2^stride` slots.
    fn split<A: Address>(
        &mut self,
        runs: &[Run<A>],
        bits: u32,
        stride: u32,
    ) -> Result<(), BuildError> {
        let mark = self.pending.len();
        let below = bits - stride;
        let last_slot = u32::MAX >> (u32::BITS - stride);
        let slot_of = |run: &Run<A>| run.start.low_32_above(below) & last_slot;

        self.place(mark, 0, Entry::from_value(runs[0].value));
        let mut next = 1;
        while next < runs.len() {
            let slot = slot_of(&runs[next]);
            let end = next
                + runs[next..]
                    .iter()
                    .take_while(|run| slot_of(run) == slot)
                    .count();
            // A slot that is entered before its first start begins with the run that was there.
            let first = if runs[next].start.starts_slot(below) {
                next
            } else {
                next - 1
            };
            let value = Entry::from_value(runs[end - 1].value);
            if end - first == 1 {
                self.place(mark, slot, value);
            } else {
                let child = self.node(&runs[first..end], below)?;
                self.place(mark, slot, child);
                if slot < last_slot {
                    self.place(mark, slot + 1, value);
                }
            }
            next = end;
        }
        Ok(())
    }

    /// Starts a run at `slot`, instead of one that starts there, or none if `entry` goes on from before.
    fn place(&mut self, mark: usize, slot: u32, entry: Entry) {
        if self.pending[mark..]
            .last()
            .is_some_and(|last| last.0 == slot)
        {
            self.pending.pop();
        }
        if self.pending[mark..]
            .last()
            .is_none_or(|last| last.1 != entry)
        {
            self.pending.push((slot, entry));
        }
    }

    /// Where the last node, at `offset`, is to be found: there, or where its equal already stands.
    fn share(&mut self, offset: usize) -> usize {
        let mut hasher = DefaultHasher::new();
        self.words[offset..].hash(&mut hasher);
        let known = *self.known.entry(hasher.finish()).or_insert(offset);
        let length = self.words.len() - offset;
        // A node's first words tell how many it has, so an equal start is an equal node.
        if known == offset || self.words[known..known + length] != self.words[offset..] {
            return offset;
        }
        self.words.truncate(offset);
        known
    }
}

/// Whether the runs of a subtree of `2^bits` addresses are few enough for a sparse node.
///
/// A start inside a slot may cost two: the slot's child, and what goes on after it.
fn fits_sparse<A: Address>(runs: &[Run<A>], bits: u32) -> bool {
    let below = bits.saturating_sub(node::SPARSE_BITS);
    let most = |run: &Run<A>| if run.start.starts_slot(below) { 1 } else { 2 };
    runs.len() <= SPARSE_RUNS && runs[1..].iter().map(most).sum::<usize>() < SPARSE_RUNS
}
