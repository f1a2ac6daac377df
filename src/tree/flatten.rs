//! Conversion of overlapping ranges into the disjoint runs from which a trie is built.
//!
//! The rule "the most specific range wins" is applied here only, by size: files that mix nested
//! prefixes with partly overlapping ranges have no nesting to follow. The result is a list of run
//! starts that covers the whole address space, gaps included, so later steps never need the address
//! after the last one.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::address::Address;
use super::error::BuildError;
use super::{MAX_VALUE, Range};

/// One value from `start` up to the next run's start, or to the end of the space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run<A> {
    pub(super) start: A,
    pub(super) value: Option<u32>,
}

/// Passes the runs of the whole address space to `run`, in address order.
///
/// For each address, the smallest range that covers it gives the value; among ranges of equal size,
/// the later one in the input does. There is at least one run, the first one starts at the lowest
/// address, and no two neighbours have the same value. The time is O(n) if the ranges are sorted
/// and disjoint, and O(n log n) otherwise. Only ranges that are not sorted and disjoint are
/// collected in memory.
///
/// # Errors
/// The first range, in input order, that ends before it starts or whose value is above [`MAX_VALUE`].
pub(super) fn flatten<A, I>(ranges: I, run: impl FnMut(Run<A>)) -> Result<(), BuildError>
where
    A: Address,
    I: Iterator<Item = Range<A>> + Clone,
{
    let mut runs = Runs::new(run);
    if is_disjoint(ranges.clone())? {
        for range in ranges {
            runs.push(range.first, range.last, range.value);
        }
    } else {
        sweep(ranges, &mut runs);
    }
    runs.finish();
    Ok(())
}

/// Returns `true` if `ranges` are in address order and do not overlap.
///
/// # Errors
/// As [`flatten`].
pub(super) fn is_disjoint<A: Address>(
    ranges: impl Iterator<Item = Range<A>>,
) -> Result<bool, BuildError> {
    let mut before: Option<A> = None;
    let mut is_disjoint = true;
    for (index, range) in ranges.enumerate() {
        check(index, &range)?;
        is_disjoint &= before.is_none_or(|before| before < range.first);
        before = Some(range.last);
    }
    Ok(is_disjoint)
}

fn check<A: Address>(index: usize, range: &Range<A>) -> Result<(), BuildError> {
    if range.first > range.last {
        return Err(BuildError::Inverted { index });
    }
    if range.value > MAX_VALUE {
        return Err(BuildError::ValueTooLarge {
            index,
            value: range.value,
        });
    }
    Ok(())
}

/// Walks the address space from start to start. A heap holds the ranges that cover the current
/// address, with the winner on top. A range that has ended is removed only when it reaches the top.
fn sweep<A, F>(ranges: impl Iterator<Item = Range<A>>, runs: &mut Runs<A, F>)
where
    A: Address,
    F: FnMut(Run<A>),
{
    let mut waiting: Vec<Candidate<A>> = ranges
        .enumerate()
        .map(|(index, range)| Candidate { index, range })
        .collect();
    waiting.sort_unstable_by_key(|candidate| Reverse(candidate.range.first));

    let mut covering = BinaryHeap::new();
    let mut place = A::MIN;
    loop {
        while covering
            .peek()
            .is_some_and(|top: &Candidate<A>| top.range.last < place)
        {
            covering.pop();
        }
        if covering.is_empty() {
            let Some(next) = waiting.last() else { return };
            place = next.range.first;
        }
        while let Some(next) = waiting.pop_if(|next| next.range.first == place) {
            covering.push(next);
        }
        let Some(winner) = covering.peek() else {
            return;
        };
        let until = match waiting.last() {
            Some(next) => winner.range.last.min(next.range.first.previous()),
            None => winner.range.last,
        };
        runs.push(place, until, winner.range.value);
        let Some(after) = until.next() else { return };
        place = after;
    }
}

/// A range in the sweep. The greatest one wins: the smallest in size, then the latest in the input.
struct Candidate<A> {
    index: usize,
    range: Range<A>,
}

impl<A: Address> Ord for Candidate<A> {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = |range: &Range<A>| range.first.distance_to(range.last);
        size(&other.range)
            .cmp(&size(&self.range))
            .then(self.index.cmp(&other.index))
    }
}

impl<A: Address> PartialOrd for Candidate<A> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<A: Address> PartialEq for Candidate<A> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<A: Address> Eq for Candidate<A> {}

/// Joins disjoint ranges, pushed in address order, into runs.
struct Runs<A, F> {
    run: F,
    /// True if no run was passed on yet.
    is_empty: bool,
    /// Value of the last run.
    value: Option<u32>,
    /// First address after the ranges so far, or `None` past the end of the space.
    next: Option<A>,
}

impl<A: Address, F: FnMut(Run<A>)> Runs<A, F> {
    fn new(run: F) -> Self {
        Self {
            run,
            is_empty: true,
            value: None,
            next: Some(A::MIN),
        }
    }

    fn push(&mut self, first: A, last: A, value: u32) {
        if let Some(gap) = self.next.filter(|&gap| gap < first) {
            self.start(gap, None);
        }
        self.start(first, Some(value));
        self.next = last.next();
    }

    fn start(&mut self, start: A, value: Option<u32>) {
        if self.is_empty || self.value != value {
            (self.is_empty, self.value) = (false, value);
            (self.run)(Run { start, value });
        }
    }

    fn finish(mut self) {
        if let Some(gap) = self.next {
            self.start(gap, None);
        }
    }
}
