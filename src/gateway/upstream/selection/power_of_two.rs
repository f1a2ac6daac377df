//! The less busy one of two that are drawn (Mitzenmacher, "The Power of Two Choices in Randomized
//! Load Balancing"): nearly as even as looking at all of them, at the cost of looking at two, and
//! gateways that do not know of each other do not all rush to the same idle peer.

use super::Candidates;
use super::random::Draw;

/// How often lots are drawn to find two different open peers.
const DRAWS: usize = 16;

/// The less busy one of two.
pub fn pick(draw: &Draw, candidates: &mut impl Candidates) -> Option<usize> {
    let mut first = None;
    for _ in 0..DRAWS {
        let peer = draw.any()?;
        if Some(peer) == first || !candidates.is_open(peer) {
            continue;
        }
        let Some(other) = first else {
            first = Some(peer);
            continue;
        };
        let less = if candidates.load(peer) < candidates.load(other) {
            peer
        } else {
            other
        };
        if candidates.take(less) {
            return Some(less);
        }
        break;
    }
    // One open peer, or one so heavy that it was always drawn.
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
        // Of the six pairs the idlest is in three, the next in two others, the third in one.
        for (share, pairs) in shares.iter().zip([1, 0, 2, 3]) {
            let expected = 10_000 * pairs / 6;
            assert!((share - expected).abs() < 300, "{shares:?}");
        }
    }
}
