//! Peer with the fewest requests in flight, by weight.
//!
//! Among equally loaded peers one is drawn at random, by weight: with every peer idle the first one
//! would otherwise get all requests. A peer in slow start is considered for a fraction of the
//! requests only: while it is idle, its load alone would not limit it.

use std::cmp::Ordering;

use super::random::Draw;
use super::{Candidates, first_from};

/// Takes the least loaded peer.
pub fn pick(draw: &Draw, candidates: &mut impl Candidates) -> Option<usize> {
    let lucky = least(draw, candidates, true);
    let peer = lucky.or_else(|| least(draw, candidates, false))?;
    if candidates.take(peer) {
        return Some(peer);
    }
    // A concurrent request took the last slot of this peer.
    first_from(peer, draw.count(), candidates)
}

/// Returns the least loaded of the available peers, or of the lucky ones among them.
fn least(draw: &Draw, candidates: &impl Candidates, only_lucky: bool) -> Option<usize> {
    // The least loaded peer, its load, and the sum of the weights of all peers with that load.
    let mut least: Option<(usize, f32, u64)> = None;
    for peer in 0..draw.count() {
        if !candidates.is_open(peer) || (only_lucky && !candidates.is_lucky(peer)) {
            continue;
        }
        let (load, weight) = (candidates.load(peer), draw.weight(peer));
        let Some((found, known, sum)) = &mut least else {
            least = Some((peer, load, weight));
            continue;
        };
        match load.total_cmp(known) {
            Ordering::Less => least = Some((peer, load, weight)),
            Ordering::Equal => {
                *sum += weight;
                if fastrand::u64(..*sum) < weight {
                    *found = peer;
                }
            }
            Ordering::Greater => {}
        }
    }
    least.map(|(peer, ..)| peer)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    #[test]
    fn the_least_busy_one_is_chosen() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1000 {
            let count = random.usize(1..9);
            let mut fake = Fake::all_open(count);
            for peer in 0..count {
                fake.load[peer] = random.u8(..4).into();
                fake.open[peer] = random.u8(..4) > 0;
            }
            let open = (0..count).filter(|&peer| fake.open[peer]);
            let least = open.map(|peer| fake.load[peer]).reduce(f32::min);
            let chosen = pick(&Draw::new(&vec![1; count]), &mut fake);
            assert_eq!(chosen.map(|peer| fake.load[peer]), least);
            assert!(chosen.is_none_or(|peer| fake.open[peer]));
        }
    }
}
