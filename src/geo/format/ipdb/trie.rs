//! Reading of the trie as ranges.
//!
//! A trie from a regular writer leads to each node once, or a few times where equal subtrees are
//! shared. A hostile trie has too many paths to walk: 128 nodes make 2^128 paths. So the walk
//! visits at most twice as many nodes as there are, which limits its time, and the number of
//! ranges, by the file's size. This also ends a loop, as does an address's last bit.

use super::super::FormatError;
use super::super::reader::Reader;
use crate::tree::{Address, Range, RangeList};

/// Bits before the IPv4 root: 80 of 0, then 16 of 1.
const V4_ZEROS: u32 = 80;
const V4_DEPTH: u32 = 96;

/// First IPv6 address of the IPv4 root: `::ffff:0:0/96`.
const V4_MAPPED: u128 = 0xffff << 32;

/// Bytes of a node.
const NODE: usize = 8;

pub(super) struct Trie<'a> {
    file: Reader<'a>,
    /// Offset of node 0.
    start: usize,
    node_count: u32,
}

/// Target of one half of a node.
enum Half {
    Node(u32),
    Nothing,
    /// Offset of a text.
    Text(usize),
}

/// A part of the trie that is not walked yet: the `2^bits` addresses from `first` on.
struct Subtree {
    half: Half,
    first: u128,
    bits: u32,
}

impl<'a> Trie<'a> {
    /// Creates a reader of the trie. The nodes must lie within the file.
    pub(super) fn new(file: Reader<'a>, start: usize, node_count: u32) -> Self {
        Trie {
            file,
            start,
            node_count,
        }
    }

    /// Returns the IPv4 ranges. `record` returns the number of the record at an offset.
    pub(super) fn v4_ranges(
        &self,
        record: impl FnMut(usize) -> Result<u32, FormatError>,
    ) -> Result<RangeList<u32>, FormatError> {
        let half = self.v4_root()?;
        let (first, bits) = (0, u32::BITS);
        self.walk(Subtree { half, first, bits }, record)
    }

    /// Returns the IPv6 ranges, which are all but those of IPv4.
    pub(super) fn v6_ranges(
        &self,
        record: impl FnMut(usize) -> Result<u32, FormatError>,
    ) -> Result<RangeList<u128>, FormatError> {
        let half = Half::Node(0);
        let (first, bits) = (0, u128::BITS);
        self.walk(Subtree { half, first, bits }, record)
    }

    fn v4_root(&self) -> Result<Half, FormatError> {
        let mut half = Half::Node(0);
        for depth in 0..V4_DEPTH {
            match half {
                Half::Node(node) => half = self.half(node, depth >= V4_ZEROS)?,
                Half::Nothing => break,
                Half::Text(at) => {
                    let reason = format!("the way to IPv4 ends here, at bit {depth}");
                    return Err(self.file.corrupt(at, reason));
                }
            }
        }
        Ok(half)
    }

    fn walk<A: Address + TryFrom<u128>>(
        &self,
        root: Subtree,
        mut record: impl FnMut(usize) -> Result<u32, FormatError>,
    ) -> Result<RangeList<A>, FormatError> {
        let mut ranges = RangeList::default();
        let mut steps = 2 * u64::from(self.node_count);
        // The next one is the last of the list.
        let mut waiting = vec![root];
        while let Some(Subtree { half, first, bits }) = waiting.pop() {
            if (first, bits) == (V4_MAPPED, u32::BITS) {
                continue;
            }
            match half {
                Half::Nothing => {}
                Half::Text(at) => {
                    let last = first | u128::MAX.unbounded_shr(u128::BITS - bits);
                    let value = record(at)?;
                    // The walk stays in the space of its root, so both are addresses of its family.
                    if let (Ok(first), Ok(last)) = (A::try_from(first), A::try_from(last)) {
                        ranges.push_joined(Range { first, last, value });
                    }
                }
                Half::Node(node) => {
                    let corrupt = |reason| Err(self.file.corrupt(self.at(node), reason));
                    let Some(bits) = bits.checked_sub(1) else {
                        return corrupt("the trie is deeper than an address");
                    };
                    steps -= 1;
                    if steps == 0 {
                        return corrupt("the trie leads to its nodes too often");
                    }
                    for side in [true, false] {
                        waiting.push(Subtree {
                            half: self.half(node, side)?,
                            first: first | u128::from(side) << bits,
                            bits,
                        });
                    }
                }
            }
        }
        Ok(ranges)
    }

    fn half(&self, node: u32, side: bool) -> Result<Half, FormatError> {
        let half = self.file.u32_be(self.at(node) + usize::from(side) * 4)?;
        Ok(match half.checked_sub(self.node_count) {
            None => Half::Node(half),
            Some(0) => Half::Nothing,
            Some(text) => Half::Text(self.at(self.node_count) + text as usize),
        })
    }

    fn at(&self, node: u32) -> usize {
        self.start + node as usize * NODE
    }
}
