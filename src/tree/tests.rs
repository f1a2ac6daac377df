//! The tree against a linear scan that is independent of it.

use proptest::prelude::*;

use super::*;

fn range<A>(first: A, last: A, value: u32) -> Range<A> {
    Range { first, last, value }
}

fn tree<A: Address>(ranges: &[Range<A>]) -> RangeTree<A> {
    RangeTree::from_ranges(ranges.iter().copied()).unwrap()
}

/// The oracle for one address: the smallest range that covers it, the later of equals.
fn scan<A: Address>(ranges: &[Range<A>], address: A) -> Option<u32> {
    let mut best: Option<&Range<A>> = None;
    for range in ranges
        .iter()
        .filter(|range| range.first <= address && address <= range.last)
    {
        let size = |range: &Range<A>| range.first.distance_to(range.last);
        if best.is_none_or(|best| size(range) <= size(best)) {
            best = Some(range);
        }
    }
    best.map(|range| range.value)
}

/// All addresses at which the answer can change, ascending: the lowest one, starts of ranges, and
/// addresses after an end.
fn edges<A: Address>(ranges: &[Range<A>]) -> Vec<A> {
    let starts = ranges.iter().map(|range| range.first);
    let mut edges: Vec<A> = starts
        .chain(ranges.iter().filter_map(|range| range.last.next()))
        .collect();
    edges.push(A::MIN);
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// The oracle for the whole space.
fn scan_all<A: Address>(ranges: &[Range<A>]) -> Vec<Range<A>> {
    let edges = edges(ranges);
    let mut all: Vec<Range<A>> = Vec::new();
    for (index, &first) in edges.iter().enumerate() {
        let last = edges.get(index + 1).map_or(A::MAX, |next| next.previous());
        let Some(value) = scan(ranges, first) else {
            continue;
        };
        match all.last_mut() {
            Some(before) if before.last.next() == Some(first) && before.value == value => {
                before.last = last;
            }
            _ => all.push(Range { first, last, value }),
        }
    }
    all
}

/// Checks that the tree of `ranges` answers as the scan does: around every edge, at both ends of
/// the space, and read back.
#[track_caller]
fn check<A: Address>(ranges: &[Range<A>]) {
    let tree = tree(ranges);
    let mut addresses = vec![A::MAX];
    for edge in edges(ranges) {
        addresses.push(edge);
        addresses.extend(edge.next());
        if edge > A::MIN {
            addresses.push(edge.previous());
        }
    }
    for address in addresses {
        assert_eq!(
            tree.lookup(address),
            scan(ranges, address),
            "at {address:x?} of {ranges:x?}"
        );
    }
    assert_eq!(
        tree.ranges().collect::<Vec<_>>(),
        scan_all(ranges),
        "{ranges:x?}"
    );
    assert_eq!(
        disjoint(ranges.iter().copied().collect()).unwrap(),
        scan_all(ranges).into_iter().collect(),
        "{ranges:x?}"
    );
}

#[track_caller]
fn refused(ranges: &[Range<u32>], expected: BuildError, message: &str) {
    let error = RangeTree::from_ranges(ranges.iter().copied()).unwrap_err();
    assert_eq!(error, expected);
    assert_eq!(error.to_string(), message);
}

#[test]
fn empty_tree_has_no_answer() {
    check::<u32>(&[]);
    check::<u128>(&[]);
    assert_eq!(tree::<u32>(&[]).lookup(0x0808_0808), None);
}

#[test]
fn one_range_answers_between_its_ends_only() {
    let tree = tree(&[range(0x0102_0304_u32, 0x0102_0408, 7)]);
    assert_eq!(tree.lookup(0x0102_0303), None);
    assert_eq!(tree.lookup(0x0102_0304), Some(7));
    assert_eq!(tree.lookup(0x0102_0408), Some(7));
    assert_eq!(tree.lookup(0x0102_0409), None);
}

#[test]
fn whole_space_is_one_range() {
    check(&[range(0, u32::MAX, 0)]);
    check(&[range(0, u128::MAX, MAX_VALUE)]);
    check(&[
        range(0, u32::MAX, 0),
        range(u32::MAX, u32::MAX, 1),
        range(0, 0, 2),
    ]);
    check(&[
        range(0, u128::MAX, 0),
        range(u128::MAX, u128::MAX, 1),
        range(0, 0, 2),
    ]);
}

#[test]
fn single_addresses_at_both_ends_of_the_space() {
    check(&[range(0, 0, 1), range(u32::MAX, u32::MAX, 2)]);
    check(&[range(0, 0, 1), range(u128::MAX, u128::MAX, 2)]);
    check(&[range(0_u32, 0, 1)]);
    check(&[range(u128::MAX, u128::MAX, 2)]);
}

#[test]
fn most_specific_range_wins() {
    let nested = [
        range(0x0a01_0203_u32, 0x0a01_0203, 4),
        range(0x0a00_0000, 0x0aff_ffff, 1),
        range(0x0a01_0200, 0x0a01_02ff, 3),
        range(0x0a01_0000, 0x0a01_ffff, 2),
    ];
    check(&nested);
    let tree = tree(&nested);
    assert_eq!(tree.lookup(0x0a02_0000), Some(1));
    assert_eq!(tree.lookup(0x0a01_0300), Some(2));
    assert_eq!(tree.lookup(0x0a01_0202), Some(3));
    assert_eq!(tree.lookup(0x0a01_0203), Some(4));
    assert_eq!(tree.lookup(0x0a01_0204), Some(3));
}

#[test]
fn smaller_of_two_that_overlap_in_part_wins_whichever_comes_first() {
    let (large, small) = (range(10_u32, 30, 1), range(25, 35, 2));
    for ranges in [[large, small], [small, large]] {
        check(&ranges);
        assert_eq!(tree(&ranges).lookup(24), Some(1));
        assert_eq!(tree(&ranges).lookup(25), Some(2));
    }
}

#[test]
fn sorted_ranges_that_share_one_address_overlap_all_the_same() {
    let touching = [range(10_u32, 15, 1), range(15, 30, 2)];
    check(&touching);
    assert_eq!(tree(&touching).lookup(15), Some(1));
}

#[test]
fn later_of_equal_size_wins() {
    let same = [range(10_u32, 20, 1), range(10, 20, 2)];
    check(&same);
    assert_eq!(tree(&same).lookup(15), Some(2));
    let shifted = [range(15_u32, 25, 1), range(10, 20, 2), range(20, 30, 3)];
    check(&shifted);
    assert_eq!(tree(&shifted).lookup(20), Some(3));
    assert_eq!(tree(&shifted).lookup(19), Some(2));
}

#[test]
fn large_range_goes_on_after_the_small_ones_in_it() {
    check(&[
        range(0_u32, 1000, 1),
        range(10, 20, 2),
        range(15, 18, 3),
        range(21, 21, 4),
        range(990, 2000, 5),
    ]);
}

#[test]
fn ranges_cross_the_edges_of_nodes() {
    check(&[range(0x0101_ff80_u32, 0x0102_007f, 1)]);
    check(&[
        range(0x0101_01f0_u32, 0x0101_020f, 1),
        range(0x00ff_ffff, 0x0100_0000, 2),
    ]);
    check(&[
        range(0x0101_0000_u32, 0x0102_0000, 1),
        range(0x0102_0001, 0x0103_ffff, 2),
    ]);
    let top = 0x2001_0db8_u128 << 96;
    check(&[
        range(top - 1, top, 1),
        range(top + 1, top + (1 << 80), 2),
        range(top + (1 << 32) - 1, top + (1 << 32), 3),
    ]);
}

#[test]
fn neighbours_of_one_value_are_read_back_as_one() {
    let tree = tree(&[
        range(0x01ff_ff00_u32, 0x01ff_ffff, 5),
        range(0x0200_0000, 0x0201_0203, 5),
        range(0x0201_0205, 0x0201_0205, 5),
    ]);
    let expected = [
        range(0x01ff_ff00, 0x0201_0203, 5),
        range(0x0201_0205, 0x0201_0205, 5),
    ];
    assert_eq!(tree.ranges().collect::<Vec<_>>(), expected);
}

#[test]
fn every_address_of_a_16_its_own_value() {
    let base = 0xc0a8_0000;
    let ranges: Vec<_> = (0..0x1_0000)
        .map(|n| range(base + n, base + n, n))
        .collect();
    let tree = tree(&ranges);
    for n in 0..0x1_0000 {
        assert_eq!(tree.lookup(base + n), Some(n));
    }
    assert_eq!(
        (tree.lookup(base - 1), tree.lookup(base + 0x1_0000)),
        (None, None)
    );
    assert_eq!(tree.ranges().collect::<Vec<_>>(), ranges);
}

#[test]
fn every_other_address_of_a_16_and_equal_subtrees_stored_once() {
    let base = 0xc0a8_0000;
    let alternating = |count: u32| {
        (0..count)
            .map(move |n| range(base + n, base + n, n % 2))
            .collect::<Vec<_>>()
    };
    let one = tree(&alternating(0x100));
    let all = tree(&alternating(0x1_0000));
    for n in 0..0x1_0000 {
        assert_eq!(all.lookup(base + n), Some(n % 2));
    }
    assert!(
        all.memory() <= one.memory(),
        "256 equal nodes in {} bytes, one in {}",
        all.memory(),
        one.memory()
    );
}

#[test]
fn equal_subtrees_of_the_root_are_stored_once() {
    let pattern = |n: u128| {
        (0..100).map(move |k| range(n << 112 | k << 104, n << 112 | k << 104 | 0xff, k as u32))
    };
    let one = tree(&pattern(0x2001).collect::<Vec<_>>());
    let many = tree(&(0x2001..0x2101).flat_map(pattern).collect::<Vec<_>>());
    assert_eq!(many.memory(), one.memory());
}

#[test]
fn nodes_of_any_number_of_runs() {
    for count in 1..40 {
        // Single addresses, a /24 apart and a /40 apart: full slots, children, and both with gaps.
        let apart = |shift: u32| {
            (1..=count).map(move |n| range(u128::from(n) << shift, u128::from(n) << shift, n))
        };
        for shift in [0, 1, 8, 80, 88, 104] {
            check(&apart(shift).collect::<Vec<_>>());
        }
        check(
            &(1..=count)
                .map(|n| range(n << 9, n << 9 | 0xff, n))
                .collect::<Vec<_>>(),
        );
        check(
            &(1..=count)
                .map(|n| range(n << 6, n << 6 | 0x3f, n))
                .collect::<Vec<_>>(),
        );
    }
}

#[test]
fn range_that_ends_before_it_starts_is_refused() {
    let ranges = [range(1, 2, 0), range(4, 3, 0)];
    refused(
        &ranges,
        BuildError::Inverted { index: 1 },
        "range[1]: ends before it starts",
    );
}

#[test]
fn value_that_does_not_fit_is_refused() {
    let value = MAX_VALUE + 1;
    let message = "range[2]: value 2147483647 is above 2147483646";
    let ranges = [range(9, 9, MAX_VALUE), range(1, 2, 0), range(3, 3, value)];
    refused(
        &ranges,
        BuildError::ValueTooLarge { index: 2, value },
        message,
    );
}

#[test]
fn tree_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<RangeTree<u32>>();
    shared::<RangeTree<u128>>();
}

/// Addresses from a small set, so that ranges touch: few places, edges of prefixes, and one step to
/// either side.
fn address<A: Address>(place: fn(u64, u32) -> A) -> impl Strategy<Value = A> {
    let cut = prop::sample::select(vec![8_u32, 16, 20, 24, 25, 32, 40, 48, 64, 128]);
    let step = prop::sample::select(vec![-1_i8, 0, 0, 0, 1]);
    (0..6_u64, 0..5_u64, 0..300_u64, cut, step).prop_map(move |(high, middle, low, cut, step)| {
        let place = place(high << 24 | middle << 16 | low, cut);
        match step {
            -1 if place > A::MIN => place.previous(),
            1 => place.next().unwrap_or(place),
            _ => place,
        }
    })
}

/// Moves the bits of `seed` to where they matter, then cuts to a prefix of `cut` bits.
fn place_v4(seed: u64, cut: u32) -> u32 {
    let address = (seed as u32).rotate_left(if seed & 1 == 0 { 0 } else { 8 });
    address & u32::MAX.unbounded_shl(32_u32.saturating_sub(cut))
}

fn place_v6(seed: u64, cut: u32) -> u128 {
    let address = u128::from(seed).rotate_left([96, 80, 64, 0][seed as usize % 4]);
    address & u128::MAX.unbounded_shl(128 - cut)
}

fn overlapping<A: Address>(place: fn(u64, u32) -> A) -> impl Strategy<Value = Vec<Range<A>>> {
    let one = (address(place), address(place), 0..4_u32);
    let one = one.prop_map(|(a, b, value)| range(a.min(b), a.max(b), value));
    prop::collection::vec(one, 0..48)
}

fn fixed() -> ProptestConfig {
    ProptestConfig {
        cases: 200,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_170_101),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(fixed())]

    #[test]
    fn overlapping_ipv4_ranges_answer_as_a_scan(ranges in overlapping(place_v4)) {
        check(&ranges);
    }

    #[test]
    fn overlapping_ipv6_ranges_answer_as_a_scan(ranges in overlapping(place_v6)) {
        check(&ranges);
    }

    #[test]
    fn any_ipv4_ranges_answer_as_a_scan(ranges in prop::collection::vec((any::<u32>(), any::<u32>(), 0..9_u32), 0..48)) {
        check(&ranges.into_iter().map(|(a, b, value)| range(a.min(b), a.max(b), value)).collect::<Vec<_>>());
    }

    #[test]
    fn any_ipv6_ranges_answer_as_a_scan(ranges in prop::collection::vec((any::<u128>(), any::<u128>(), 0..9_u32), 0..48)) {
        check(&ranges.into_iter().map(|(a, b, value)| range(a.min(b), a.max(b), value)).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_read_back_makes_the_same_tree(ranges in overlapping(place_v4)) {
        let first = tree(&ranges);
        let again = RangeTree::from_ranges(first.ranges()).unwrap();
        prop_assert_eq!(first.ranges().collect::<Vec<_>>(), again.ranges().collect::<Vec<_>>());
        prop_assert_eq!(first.memory(), again.memory());
    }
}
