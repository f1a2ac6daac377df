//! Construction of the trie from runs, from the leaves up.
//!
//! A node is written at the end of the array. If an equal node exists already, the new one is
//! removed again and the existing one is used. The children of a node were handled the same way, so
//! equal words are equal subtrees to any depth. Sharing costs one hash for each node.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;

use super::address::Address;
use super::error::BuildError;
use super::flatten::Run;
use super::node::{self, Entry, SPARSE_RUNS};
use super::{ROOT_BITS, ROOT_SLOTS, Root};

/// Builds the root's slots and the nodes' words from runs that are pushed one by one, in the order
/// of [`flatten`](super::flatten::flatten). The time is O(runs) for each level. Only the runs of
/// one slot of the root are kept at a time.
pub(super) struct RootBuilder<A> {
    builder: Builder,
    /// The last run before the slot, which continues into it.
    before: Option<Run<A>>,
    /// Runs of the current slot.
    runs: Vec<Run<A>>,
    error: Option<BuildError>,
}

impl<A: Address> RootBuilder<A> {
    /// Creates a builder for about `ranges` ranges. Unused capacity takes no physical memory,
    /// whereas a growing list is copied and exists twice for a moment.
    pub(super) fn new(ranges: usize) -> Self {
        RootBuilder {
            builder: Builder {
                words: Vec::with_capacity(ranges.saturating_mul(TYPICAL)),
                ..Builder::default()
            },
            before: None,
            runs: Vec::new(),
            error: None,
        }
    }

    pub(super) fn push(&mut self, run: Run<A>) {
        let slot = run.start.top_16();
        if self
            .runs
            .first()
            .is_some_and(|first| first.start.top_16() != slot)
        {
            self.end_slot();
        }
        self.runs.push(run);
    }

    /// Ends the last slot and returns the root and the words of all nodes.
    ///
    /// # Errors
    /// [`BuildError::TreeTooLarge`].
    pub(super) fn finish(mut self) -> Result<(Root, Box<[u32]>), BuildError> {
        self.end_slot();
        if let Some(error) = self.error {
            return Err(error);
        }
        let root = spread(&self.builder.pending);
        node::append_padding(&mut self.builder.words);
        Ok((root, self.builder.words.into_boxed_slice()))
    }

    fn end_slot(&mut self) {
        let Some(&last) = self.runs.last() else {
            return;
        };
        if let Some(before) = self.before
            && !self.runs[0].start.starts_slot(A::BITS - ROOT_BITS)
        {
            self.runs.insert(0, before);
        }
        let slots = last.start.top_16().into()..=u16::MAX.into();
        let placed = self
            .builder
            .place_runs(0, slots, &self.runs, A::BITS - ROOT_BITS);
        self.error = self.error.or(placed.err());
        self.before = Some(last);
        self.runs.clear();
    }
}

/// Expands the root's slots. They are not stored as runs, because every lookup reads one.
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

/// Words of the nodes for a range, in typical sources.
const TYPICAL: usize = 2;

#[derive(Default)]
struct Builder {
    words: Vec<u32>,
    /// Map from the hash of a node's words to the node's offset. A different node with the same hash is
    /// not shared, which is so rare that half a hash is enough: this table is most of the memory of a
    /// build.
    known: HashMap<u32, u32>,
    /// Runs of the unfinished nodes, as (first slot, entry), with the innermost node last.
    pending: Vec<(u32, Entry)>,
}

impl Builder {
    /// Returns the entry for a subtree of `2^bits` addresses.
    ///
    /// `runs[0]` applies at the subtree's first address; the others start inside it.
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
            // If fewer bits are left than a sparse node consumes, they are the upper bits of its
            // slots.
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

    /// Pushes the runs of slots that result from `runs` if `2^bits` addresses are cut into
    /// `2^stride` slots.
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
            // If no run starts at the first address of a slot, the previous run continues into it.
            let first = if runs[next].start.starts_slot(below) {
                next
            } else {
                next - 1
            };
            self.place_runs(mark, slot..=last_slot, &runs[first..end], below)?;
            next = end;
        }
        Ok(())
    }

    /// Starts the runs of a slot of `2^below` addresses, in which `runs[0]` applies at the first
    /// address, and the run that continues after the slot. `slots` are this slot and those after
    /// it.
    fn place_runs<A: Address>(
        &mut self,
        mark: usize,
        slots: RangeInclusive<u32>,
        runs: &[Run<A>],
        below: u32,
    ) -> Result<(), BuildError> {
        let value = Entry::from_value(runs[runs.len() - 1].value);
        let (&slot, &last_slot) = (slots.start(), slots.end());
        if runs.len() == 1 {
            self.place(mark, slot, value);
            return Ok(());
        }
        let child = self.node(runs, below)?;
        self.place(mark, slot, child);
        if slot < last_slot {
            self.place(mark, slot + 1, value);
        }
        Ok(())
    }

    /// Starts a run at `slot`, in place of a run that starts there. If `entry` continues the
    /// previous run, no new run starts.
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

    /// Shares the last node, at `offset`, with an equal existing one. Returns the offset of the
    /// node that remains.
    fn share(&mut self, offset: usize) -> usize {
        let mut hasher = DefaultHasher::new();
        self.words[offset..].hash(&mut hasher);
        let hash = (hasher.finish() >> 32) as u32;
        let Ok(place) = u32::try_from(offset) else {
            // Further than any entry leads.
            return offset;
        };
        let known = *self.known.entry(hash).or_insert(place) as usize;
        let length = self.words.len() - offset;
        // The first words of a node determine its length, so two nodes that agree on that length
        // are equal.
        if known == offset || self.words[known..known + length] != self.words[offset..] {
            return offset;
        }
        self.words.truncate(offset);
        known
    }
}

/// Returns `true` if the runs of a subtree of `2^bits` addresses are few enough for a sparse node.
///
/// A start inside a slot may add two runs: the slot's child, and the run that continues after it.
fn fits_sparse<A: Address>(runs: &[Run<A>], bits: u32) -> bool {
    let below = bits.saturating_sub(node::SPARSE_BITS);
    let most = |run: &Run<A>| if run.start.starts_slot(below) { 1 } else { 2 };
    runs.len() <= SPARSE_RUNS && runs[1..].iter().map(most).sum::<usize>() < SPARSE_RUNS
}
