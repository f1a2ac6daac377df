//! Weighted round robin.
//!
//! The order of a whole round is computed once, and a counter walks through it, so a choice costs
//! one atomic addition and no lock. A peer with weight 3 of 4 has three turns in a round, spread
//! evenly and not in a row, as in nginx.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Candidates, first_from, weights};

/// Maximum number of turns in a round.
const ROUND: u32 = 1 << 14;

/// Maximum number of skipped turns of unavailable peers, as a multiple of the number of peers.
const PATIENCE: usize = 8;

/// Order of a round, and the current position in it.
pub struct RoundRobin {
    round: Box<[u32]>,
    peers: usize,
    next: AtomicUsize,
}

impl RoundRobin {
    /// Creates the order for peers with these weights.
    pub fn new(weights: &[u32]) -> Self {
        let weights = weights::reduced(weights, ROUND);
        let turns = (0..).zip(&weights).flat_map(|(peer, &weight)| {
            // Each turn is at the middle of one of `weight` equal parts of the round.
            let place = move |turn| (f64::from(turn) + 0.5) / f64::from(weight);
            (0..weight).map(move |turn| (place(turn), peer))
        });
        let mut turns: Vec<(f64, u32)> = turns.collect();
        turns.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        RoundRobin {
            round: turns.into_iter().map(|(_, peer)| peer).collect(),
            peers: weights.len(),
            next: AtomicUsize::new(0),
        }
    }

    /// Takes the peer whose turn is next. An unavailable peer misses its turn, so that its share
    /// goes to all other peers and not to the one after it.
    pub fn pick(&self, candidates: &mut impl Candidates) -> Option<usize> {
        if self.peers == 0 {
            return None;
        }
        for _ in 0..self.peers * PATIENCE {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.round.len();
            let peer = self.round[turn] as usize;
            if candidates.is_open(peer) && candidates.is_lucky(peer) && candidates.take(peer) {
                return Some(peer);
            }
        }
        first_from(fastrand::usize(..self.peers), self.peers, candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    /// nginx's smooth weighted round robin, as described in its source comment.
    fn smooth(weights: &[u32], rounds: usize) -> Vec<usize> {
        let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
        let mut current = vec![0; weights.len()];
        let mut step = || {
            for (current, weight) in current.iter_mut().zip(weights) {
                *current += i64::from(*weight);
            }
            let best = (0..weights.len())
                .rev()
                .max_by_key(|&i| current[i])
                .unwrap();
            current[best] -= sum;
            best
        };
        (0..rounds).map(|_| step()).collect()
    }

    fn order(weights: &[u32], rounds: usize) -> Vec<usize> {
        let turns = RoundRobin::new(weights);
        let mut fake = Fake::all_open(weights.len());
        (0..rounds)
            .map(|_| turns.pick(&mut fake).unwrap())
            .collect()
    }

    #[test]
    fn peers_take_turns() {
        assert_eq!(order(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(order(&[5, 5], 4), [0, 1, 0, 1]);
        assert_eq!(order(&[3, 1], 8), [0, 0, 1, 0, 0, 0, 1, 0]);
    }

    /// Every peer is at most one turn away from the number that nginx would have given it.
    #[test]
    fn turns_are_spread_as_smoothly_as_nginx_spreads_them() {
        for weights in [
            &[5, 1, 1][..],
            &[3, 1],
            &[4, 3, 2, 1],
            &[10, 9, 1],
            &[1, 100],
        ] {
            let rounds = 300;
            let (ours, theirs) = (order(weights, rounds), smooth(weights, rounds));
            for peer in 0..weights.len() {
                let mut apart = 0_i32;
                for (our, their) in ours.iter().zip(&theirs) {
                    apart += i32::from(*our == peer) - i32::from(*their == peer);
                    assert!(apart.abs() <= 1, "peer {peer} of {weights:?}: {ours:?}");
                }
            }
        }
    }
}
