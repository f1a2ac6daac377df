//! What is asked: the same addresses in every run, so that two runs can be compared.

use geogate::tree::{Range, RangeTree};

/// How many addresses a benchmark asks for in a row. They take more than a cache, and so do the
/// nodes that they lead to.
pub const COUNT: usize = 1_000_000;

/// `SplitMix64`: a few lines, and random enough to spread addresses.
pub struct Generator(pub u64);

impl Generator {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next_u128(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// A number of 0 to `end`, without `end`.
    fn below(&mut self, end: usize) -> usize {
        let scaled = u128::from(self.next()) * end as u128;
        (scaled >> 64) as usize
    }
}

/// Addresses of the whole IPv4 space: a large range is asked more often than a small one.
pub fn uniform() -> Vec<u32> {
    let mut generator = Generator(1);
    (0..COUNT).map(|_| generator.next() as u32).collect()
}

/// Every range as often as any other, as clients do who sit in many small networks.
pub fn over_v4(ranges: &[Range<u32>]) -> Vec<u32> {
    let mut generator = Generator(2);
    let mut address = || {
        let range = ranges[generator.below(ranges.len())];
        let size = u64::from(range.last - range.first) + 1;
        range.first + (generator.next() % size) as u32
    };
    (0..COUNT).map(|_| address()).collect()
}

/// As [`over_v4`]. There is no uniform one for IPv6, where next to all addresses are nobody's.
pub fn over_v6(ranges: &[Range<u128>]) -> Vec<u128> {
    let mut generator = Generator(3);
    let mut address = || {
        let range = ranges[generator.below(ranges.len())];
        let random = generator.next_u128();
        // The whole space has one address more than fits; no source has that range.
        range.first + random % (range.last - range.first + 1)
    };
    (0..COUNT).map(|_| address()).collect()
}

/// A tree of `count` ranges that begin anywhere and lie end to end.
///
/// The values are as many as a detailed source has places and in no order, so next to nothing can
/// be shared: no real database of that many ranges is as hard.
pub fn random_tree(count: usize) -> RangeTree<u32> {
    let mut generator = Generator(4);
    let mut starts: Vec<u32> = (0..count).map(|_| generator.next() as u32).collect();
    starts.sort_unstable();
    starts.dedup();
    let lasts = starts.iter().skip(1).map(|next| next - 1);
    let ends = starts.iter().zip(lasts.chain([u32::MAX]));
    let ranges = ends.map(|(&first, last)| Range {
        first,
        last,
        value: generator.below(50_000) as u32,
    });
    RangeTree::from_ranges(ranges.collect::<Vec<_>>()).expect("the ranges are in order")
}
