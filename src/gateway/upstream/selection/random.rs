//! By lot, in proportion to weight. What else draws lots does it with this, too.

use super::{Candidates, first_from};

/// How often a closed peer is drawn before the open ones are looked for.
const DRAWS: usize = 16;

/// Peers to draw from.
pub struct Draw {
    /// The weight of each peer and all before it.
    sums: Box<[u64]>,
}

impl Draw {
    /// Lots for peers with these weights.
    pub fn new(weights: &[u32]) -> Self {
        let sums = weights.iter().scan(0, |sum, &weight| {
            *sum += u64::from(weight);
            Some(*sum)
        });
        Draw {
            sums: sums.collect(),
        }
    }

    /// How many peers there are.
    pub fn count(&self) -> usize {
        self.sums.len()
    }

    /// Any peer, open or not; `None` if there is none at all.
    pub fn any(&self) -> Option<usize> {
        let lot = fastrand::u64(..*self.sums.last()?);
        Some(self.sums.partition_point(|&sum| sum <= lot))
    }

    /// What a peer's chances are.
    pub fn weight(&self, index: usize) -> u64 {
        let before = index.checked_sub(1).map_or(0, |before| self.sums[before]);
        self.sums[index] - before
    }

    /// An open peer that was drawn.
    pub fn pick(&self, candidates: &mut impl Candidates) -> Option<usize> {
        for _ in 0..DRAWS {
            let peer = self.any()?;
            if candidates.is_open(peer) && candidates.is_lucky(peer) && candidates.take(peer) {
                return Some(peer);
            }
        }
        first_from(fastrand::usize(..self.count()), self.count(), candidates)
    }
}
