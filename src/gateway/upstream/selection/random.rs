//! Random selection in proportion to weight. Other algorithms that draw at random use it, too.

use super::{Candidates, first_from};

/// Maximum number of draws before the available peers are searched in order.
const DRAWS: usize = 16;

/// Peers to draw from.
pub struct Draw {
    /// Running sum of the weights, up to and including each peer.
    sums: Box<[u64]>,
}

impl Draw {
    /// Creates a draw of peers with these weights.
    pub fn new(weights: &[u32]) -> Self {
        let sums = weights.iter().scan(0, |sum, &weight| {
            *sum += u64::from(weight);
            Some(*sum)
        });
        Draw {
            sums: sums.collect(),
        }
    }

    /// Number of peers.
    pub fn count(&self) -> usize {
        self.sums.len()
    }

    /// Draws any peer, available or not. Returns `None` if there are no peers.
    pub fn any(&self) -> Option<usize> {
        let lot = fastrand::u64(..*self.sums.last()?);
        Some(self.sums.partition_point(|&sum| sum <= lot))
    }

    /// Weight of a peer.
    pub fn weight(&self, index: usize) -> u64 {
        let before = index.checked_sub(1).map_or(0, |before| self.sums[before]);
        self.sums[index] - before
    }

    /// Takes an available peer at random.
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
