//! The two kinds of node, and how a lookup steps through one.
//!
//! Both store a run of equal slots once. A **dense** node has 256 slots and a bitmap with a bit for
//! each start of a run; the number of bits up to a slot is the index of its run. A **sparse** node
//! has 2^32 slots and lists its few starts: a lone /56 would cost a chain of four dense nodes, but
//! costs one sparse node. Its runs are counted by a comparison in [`LANES`] lanes, without a
//! branch. Sparse nodes halve the size of an IPv6 tree.
//!
//! All nodes are in one array of words, with the entries beside their node, so that a small node
//! fits in one cache line. A node's words do not depend on its position or depth: equal words are
//! equal subtrees.
//!
//! ```text
//! dense   word 0      runs that start below slots 0, 64, 128, 192: a byte each, the lowest first
//!         words 1..9  256 bits, slot 0 lowest: a run starts at this slot (bit 0 is always set)
//!         words 9..   the entry of each run, in slot order
//! sparse  word 0      n, the number of runs
//!         words 1..n  the slots where runs 1.. start, ascending (run 0 starts at slot 0)
//!         words n..2n the entry of each run, in slot order
//! ```
//!
//! The lowest byte of word 0 is 0 in a dense node and not 0 in a sparse one, so nodes of different
//! kinds are never equal. An address is always consumed from its top bits; where fewer than 32 are
//! left, zeros fill the rest.

use super::MAX_VALUE;

/// Address bits that a dense node consumes.
pub(super) const DENSE_BITS: u32 = 8;
/// Address bits that a sparse node consumes.
pub(super) const SPARSE_BITS: u32 = 32;
/// Maximum number of runs in a sparse node.
pub(super) const SPARSE_RUNS: usize = LANES + 1;
/// Number of starts that are compared at once, even if the node has fewer.
const LANES: usize = 8;
/// Words before a dense node's first entry.
const DENSE_HEADER: usize = 9;

/// Target of a slot: a value, no value, or a node.
///
/// The top bit marks a node, the next one its kind, and the rest is the offset of its first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u32);

impl Entry {
    const NODE: u32 = 1 << 31;
    const SPARSE: u32 = 1 << 30;
    const NONE: u32 = MAX_VALUE + 1;

    pub(super) fn from_value(value: Option<u32>) -> Self {
        Self(value.unwrap_or(Self::NONE))
    }

    /// Returns `None` if `offset` does not fit below the tags.
    pub(super) fn from_node(offset: usize, sparse: bool) -> Option<Self> {
        let offset = u32::try_from(offset)
            .ok()
            .filter(|&offset| offset < Self::SPARSE)?;
        Some(Self(
            Self::NODE | if sparse { Self::SPARSE } else { 0 } | offset,
        ))
    }

    #[inline]
    pub(super) fn is_node(self) -> bool {
        self.0 & Self::NODE != 0
    }

    #[inline]
    pub(super) fn is_sparse(self) -> bool {
        self.0 & Self::SPARSE != 0
    }

    #[inline]
    pub(super) fn offset(self) -> usize {
        (self.0 & (Self::SPARSE - 1)) as usize
    }

    /// Returns the value of an entry that is not a node.
    #[inline]
    pub(super) fn value(self) -> Option<u32> {
        (self.0 != Self::NONE).then_some(self.0)
    }
}

/// Returns the entry for `slot` of the dense node at `offset`.
#[inline]
pub(super) fn dense_entry(words: &[u32], offset: usize, slot: u8) -> Entry {
    let node = &words[offset..];
    let header = node.first_chunk().expect("a node has a header");
    let quarter = usize::from(slot >> 6);
    let bits = quarter_bits(header, quarter) & (u64::MAX >> (63 - (slot & 63)));
    let before = (header[0] >> (8 * quarter)) & 0xff;
    let run = before + bits.count_ones();
    Entry(node[DENSE_HEADER - 1 + run as usize])
}

/// Returns the entry for `slot` of the sparse node at `offset`.
#[inline]
#[allow(clippy::needless_bitwise_bool)] // a lazy `&&` is a branch where lanes are wanted
pub(super) fn sparse_entry(words: &[u32], offset: usize, slot: u32) -> Entry {
    let node = &words[offset..];
    let runs = node[0];
    let starts: &[u32; LANES] = node[1..].first_chunk().expect("the last node is padded");
    let mut run = 0;
    for (lane, &start) in (1..).zip(starts) {
        run += u32::from((lane < runs) & (start <= slot));
    }
    Entry(node[(runs + run) as usize])
}

/// Returns the end of the run of `slot` in the dense node at `offset`: the last 32 bits that belong
/// to it.
pub(super) fn dense_run_end(words: &[u32], offset: usize, slot: u8) -> u32 {
    let starts = |slot: &u32| words[offset + 1 + *slot as usize / 32] >> (slot % 32) & 1 == 1;
    (u32::from(slot) + 1..256)
        .find(starts)
        .map_or(u32::MAX, |next| (next << 24) - 1)
}

/// Returns the end of the run of `slot` in the sparse node at `offset`: its last slot.
pub(super) fn sparse_run_end(words: &[u32], offset: usize, slot: u32) -> u32 {
    let runs = words[offset] as usize;
    words[offset + 1..offset + runs]
        .iter()
        .find(|&&start| start > slot)
        .map_or(u32::MAX, |start| start - 1)
}

#[inline]
fn quarter_bits(header: &[u32; DENSE_HEADER], quarter: usize) -> u64 {
    u64::from(header[1 + 2 * quarter]) | u64::from(header[2 + 2 * quarter]) << 32
}

/// Appends the dense node whose runs start at `runs[i].0` with entry `runs[i].1`.
///
/// Slots ascend from 0, and there are 1 to 256 of them.
pub(super) fn append_dense(words: &mut Vec<u32>, runs: &[(u32, Entry)]) {
    let offset = words.len();
    words.resize(offset + DENSE_HEADER, 0);
    for &(slot, entry) in runs {
        words[offset + 1 + slot as usize / 32] |= 1 << (slot % 32);
        words.push(entry.0);
    }
    let header = words[offset..].first_chunk_mut().expect("just written");
    let mut before = 0;
    for quarter in 0..4 {
        header[0] |= before << (8 * quarter);
        before += quarter_bits(header, quarter).count_ones();
    }
}

/// Appends the sparse node whose runs start at `runs[i].0` with entry `runs[i].1`.
///
/// Slots ascend from 0, and there are 1 to [`SPARSE_RUNS`] of them.
pub(super) fn append_sparse(words: &mut Vec<u32>, runs: &[(u32, Entry)]) {
    words.push(u32::try_from(runs.len()).expect("a sparse node has few runs"));
    words.extend(runs[1..].iter().map(|run| run.0));
    words.extend(runs.iter().map(|run| run.1.0));
}

/// Appends the words that [`sparse_entry`] may read after the last node.
pub(super) fn append_padding(words: &mut Vec<u32>) {
    words.extend([0; LANES]);
}
