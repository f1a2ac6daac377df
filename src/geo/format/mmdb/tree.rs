//! The search tree of a `MaxMind` DB, walked from end to end.
//!
//! A node is two records of 24, 28 or 32 bits, one for each value of the next bit of an address. A
//! record below the number of nodes is a node, the number itself means no data, and a larger one is
//! an offset in the data section.
//!
//! A file may be hostile: its nodes may form a cycle, or lead to one node by 2^96 paths. A tree has
//! one path to each of its nodes, so a walk that visits more nodes than there are is an error. The
//! format has one exception: IPv4 addresses are below `::/96`, and other prefixes whose addresses
//! contain an IPv4 address (`::ffff:0:0/96`, `2002::/16`, `2001::/32`) may lead to the same node.
//! Such an alias is skipped, because it would repeat all of IPv4.

use maxminddb::Metadata;

use super::super::FormatError;
use super::super::reader::Reader;

/// Depth at which IPv4 addresses begin in an IPv6 tree, in bits from the root.
const V4_DEPTH: u32 = 96;

pub(super) struct Tree<'a> {
    file: Reader<'a>,
    nodes: u32,
    /// Bits of a record.
    width: u16,
    /// The record that leads to IPv4.
    v4: u32,
    /// True if the tree has more than IPv4.
    has_v6: bool,
}

/// Number of nodes that may still be visited, in all walks together.
pub(super) struct Visits(u32);

impl Visits {
    /// Returns the maximum number of leaves of those nodes: a tree has one more leaf than nodes.
    pub fn leaves(&self) -> usize {
        self.0 as usize + 1
    }
}

impl<'a> Tree<'a> {
    /// Creates the tree of a file whose metadata the crate has checked.
    pub fn new(file: Reader<'a>, metadata: &Metadata) -> Result<Self, FormatError> {
        let mut tree = Tree {
            file,
            nodes: metadata.node_count,
            width: metadata.record_size,
            v4: 0,
            has_v6: metadata.ip_version == 6,
        };
        if tree.has_v6 {
            for _ in 0..V4_DEPTH {
                if tree.v4 < tree.nodes {
                    tree.v4 = tree.children(tree.v4)?[0];
                }
            }
        }
        Ok(tree)
    }

    /// Returns the limit of visits for the walks of this tree.
    pub fn visits(&self) -> Visits {
        Visits(self.nodes)
    }

    /// Calls `leaf` with the first and the last address of each IPv4 network and its record, in the
    /// order of addresses.
    pub fn walk_v4(
        &self,
        visits: &mut Visits,
        mut leaf: impl FnMut(u32, u32, u32) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let mut step = |first: u128, last: u128, record| leaf(first as u32, last as u32, record);
        self.walk(self.v4, 32, |_, _| false, visits, &mut step)
    }

    /// Same as [`Tree::walk_v4`], for the IPv6 networks without those of IPv4 and its aliases.
    pub fn walk_v6(
        &self,
        visits: &mut Visits,
        mut leaf: impl FnMut(u128, u128, u32) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        if !self.has_v6 {
            return Ok(());
        }
        let is_v4 = |place: &Place, nodes| {
            let is_itself = place.first == 0 && place.depth == V4_DEPTH;
            is_itself || (place.record == self.v4 && place.record < nodes)
        };
        self.walk(0, 128, is_v4, visits, &mut leaf)
    }

    fn walk(
        &self,
        root: u32,
        bits: u32,
        skip: impl Fn(&Place, u32) -> bool,
        visits: &mut Visits,
        leaf: &mut impl FnMut(u128, u128, u32) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let mut stack = vec![Place {
            record: root,
            first: 0,
            depth: 0,
        }];
        while let Some(place) = stack.pop() {
            let Place {
                record,
                first,
                depth,
            } = place;
            if record == self.nodes || skip(&place, self.nodes) {
                continue;
            }
            if record > self.nodes {
                leaf(first, first | rest(bits - depth), record)?;
                continue;
            }
            let left = visits.0.checked_sub(1);
            let reason = "a way to more nodes than the tree has";
            visits.0 = left.ok_or_else(|| self.corrupt(record, reason))?;
            if depth == bits {
                return Err(self.corrupt(record, format!("a node below {bits} bits")));
            }
            let [zero, one] = self.children(record)?;
            let depth = depth + 1;
            stack.push(Place {
                record: one,
                first: first | 1 << (bits - depth),
                depth,
            });
            stack.push(Place {
                record: zero,
                first,
                depth,
            });
        }
        Ok(())
    }

    fn children(&self, node: u32) -> Result<[u32; 2], FormatError> {
        let at = self.offset(node);
        Ok(match self.width {
            24 => [
                self.file.u32_be(at)? >> 8,
                self.file.u32_be(at + 2)? & 0xff_ffff,
            ],
            // The middle byte has the four highest bits of both.
            28 => {
                let middle = u32::from(self.file.u8(at + 3)?);
                [
                    self.file.u32_be(at)? >> 8 | (middle >> 4) << 24,
                    self.file.u32_be(at + 3)? & 0xfff_ffff,
                ]
            }
            _ => [self.file.u32_be(at)?, self.file.u32_be(at + 4)?],
        })
    }

    fn offset(&self, node: u32) -> usize {
        node as usize * usize::from(self.width) / 4
    }

    fn corrupt(&self, node: u32, reason: impl Into<String>) -> FormatError {
        self.file.corrupt(self.offset(node), reason)
    }
}

/// Position of a walk.
struct Place {
    record: u32,
    /// Lowest address below the record.
    first: u128,
    /// Number of bits that lead to the record.
    depth: u32,
}

/// Returns a number whose `bits` lowest bits are 1.
fn rest(bits: u32) -> u128 {
    u128::MAX.checked_shr(128 - bits).unwrap_or(0)
}
