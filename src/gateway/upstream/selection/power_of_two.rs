//! Less loaded one of two random peers (Mitzenmacher, "The Power of Two Choices in Randomized Load
//! Balancing").
//!
//! This is nearly as even as comparing all peers, at the cost of comparing two. And gateways that
//! do not share state do not all send their requests to the same idle peer. A peer in slow start
//! takes part in a fraction of its draws only: while it is idle, its load alone would not limit it.

use super::Candidates;
use super::random::Draw;

/// Maximum number of draws to find two different available peers.
const DRAWS: usize = 16;

/// Takes the less loaded one of two random peers.
pub fn pick(draw: &Draw, candidates: &mut impl Candidates) -> Option<usize> {
    let mut first = None;
    for _ in 0..DRAWS {
        let peer = draw.any()?;
        if Some(peer) == first || !candidates.is_open(peer) {
            continue;
        }
        // One chance a draw, not one until it succeeds: the second peer would otherwise be lucky
        // sooner or later.
        let is_lucky = candidates.is_lucky(peer);
        let Some(other) = first else {
            first = is_lucky.then_some(peer);
            continue;
        };
        let less = if is_lucky && candidates.load(peer) < candidates.load(other) {
            peer
        } else {
            other
        };
        if candidates.take(less) {
            return Some(less);
        }
        break;
    }
    // Only one peer is available, or it is so heavy that every draw found it.
    match first {
        Some(peer) if candidates.take(peer) => Some(peer),
        _ => draw.pick(candidates),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    #[test]
    fn the_busiest_one_is_never_chosen_and_the_others_are() {
        let draw = Draw::new(&[1, 1, 1, 1]);
        let mut fake = Fake::all_open(4);
        fake.load = vec![3.0, 9.0, 2.0, 1.0];
        let mut shares = [0_i32; 4];
        for _ in 0..10_000 {
            shares[pick(&draw, &mut fake).unwrap()] += 1;
        }
        // Of the six pairs, the least loaded peer wins three, the next one two and the third one
        // one.
        for (share, pairs) in shares.iter().zip([1, 0, 2, 3]) {
            let expected = 10_000 * pairs / 6;
            assert!((share - expected).abs() < 300, "{shares:?}");
        }
    }
}
