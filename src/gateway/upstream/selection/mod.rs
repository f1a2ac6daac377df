//! Selection of the next peer, one algorithm a file.
//!
//! An algorithm knows only the indexes of peers and their weights. The load and availability of a
//! peer come from the [`Candidates`], so each algorithm can be tested with a few numbers.

mod ketama;
mod least_connections;
mod power_of_two;
mod random;
mod round_robin;
mod weights;

use crate::config::model::{Balance, SocketAddress};

use ketama::Ketama;
use random::Draw;
use round_robin::RoundRobin;

/// Peers to select from, by index from 0.
pub trait Candidates {
    /// Returns `true` if a peer appears to be available.
    fn is_open(&self, index: usize) -> bool;

    /// Returns `true` if a peer may get this request. A peer in slow start gets only a fraction of
    /// them, at random.
    fn is_lucky(&self, index: usize) -> bool;

    /// Load of a peer: requests in flight divided by its weight.
    fn load(&self, index: usize) -> f32;

    /// Takes a peer. Returns `false` if other requests have made it unavailable meanwhile.
    fn take(&mut self, index: usize) -> bool;
}

/// Selection algorithm with its data about the peers.
pub enum Selection {
    /// Round robin, by weight.
    RoundRobin(RoundRobin),
    /// Fewest requests in flight, by weight.
    LeastConnections(Draw),
    /// Less loaded one of two random peers.
    PowerOfTwo(Draw),
    /// Random, by weight.
    Random(Draw),
    /// Consistent hashing of a key.
    Hash(Ketama),
}

impl Selection {
    /// Creates the algorithm for peers at these addresses with these weights.
    pub fn new(balance: &Balance, peers: &[(SocketAddress, u32)]) -> Self {
        let weights: Vec<_> = peers.iter().map(|&(_, weight)| weight).collect();
        match balance {
            Balance::RoundRobin => Selection::RoundRobin(RoundRobin::new(&weights)),
            Balance::LeastConnections => Selection::LeastConnections(Draw::new(&weights)),
            Balance::PowerOfTwo => Selection::PowerOfTwo(Draw::new(&weights)),
            Balance::Random => Selection::Random(Draw::new(&weights)),
            Balance::Hash(_) => Selection::Hash(Ketama::new(peers)),
        }
    }

    /// Takes one of the candidates. Returns `None` if none is available.
    pub fn pick(&self, key: &[u8], candidates: &mut impl Candidates) -> Option<usize> {
        match self {
            Selection::RoundRobin(turns) => turns.pick(candidates),
            Selection::LeastConnections(draw) => least_connections::pick(draw, candidates),
            Selection::PowerOfTwo(draw) => power_of_two::pick(draw, candidates),
            Selection::Random(draw) => draw.pick(candidates),
            Selection::Hash(ring) => ring.pick(key, candidates),
        }
    }
}

/// Takes the first available peer from `start` on, in a circle of `count`.
fn first_from(start: usize, count: usize, candidates: &mut impl Candidates) -> Option<usize> {
    let mut circle = (start..count).chain(0..start);
    circle.find(|&index| candidates.is_open(index) && candidates.take(index))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// Peers with their availability, load, and share of their weight.
    pub struct Fake {
        pub open: Vec<bool>,
        pub load: Vec<f32>,
        pub share: Vec<f32>,
    }

    impl Fake {
        pub fn all_open(count: usize) -> Fake {
            Fake {
                open: vec![true; count],
                load: vec![0.0; count],
                share: vec![1.0; count],
            }
        }
    }

    impl Candidates for Fake {
        fn is_open(&self, index: usize) -> bool {
            self.open[index]
        }

        fn is_lucky(&self, index: usize) -> bool {
            fastrand::f32() < self.share[index]
        }

        fn load(&self, index: usize) -> f32 {
            self.load[index]
        }

        fn take(&mut self, _: usize) -> bool {
            true
        }
    }

    /// Number of times that each peer is selected in `rounds`.
    pub fn shares(selection: &Selection, rounds: usize, fake: &mut Fake) -> Vec<usize> {
        let mut shares = vec![0; fake.open.len()];
        for round in 0..rounds {
            let key = round.to_string();
            shares[selection.pick(key.as_bytes(), fake).unwrap()] += 1;
        }
        shares
    }

    pub fn addresses(weights: &[u32]) -> Vec<(SocketAddress, u32)> {
        let address = |port| SocketAddress::from(SocketAddr::from(([127, 0, 0, 1], port)));
        let ports = 1..;
        ports.map(address).zip(weights.iter().copied()).collect()
    }

    /// Asserts that the shares are proportional to the weights, within 5 percentage points.
    #[track_caller]
    pub fn check_shares(shares: &[usize], weights: &[u32]) {
        let (all, sum) = (shares.iter().sum::<usize>(), weights.iter().sum::<u32>());
        for (share, weight) in shares.iter().zip(weights) {
            let (is, should) = (
                *share as f64 / all as f64,
                f64::from(*weight) / f64::from(sum),
            );
            assert!((is - should).abs() < 0.05, "{shares:?} for {weights:?}");
        }
    }

    fn all_kinds() -> [Balance; 5] {
        [
            Balance::RoundRobin,
            Balance::LeastConnections,
            Balance::PowerOfTwo,
            Balance::Random,
            Balance::Hash(crate::config::model::HashKey::ClientIp),
        ]
    }

    #[test]
    fn idle_peers_get_what_their_weights_say() {
        for balance in all_kinds() {
            for weights in [&[1, 1][..], &[3, 1], &[1, 2, 5], &[7], &[1000, 500, 500]] {
                let selection = Selection::new(&balance, &addresses(weights));
                let shares = shares(&selection, 20_000, &mut Fake::all_open(weights.len()));
                check_shares(&shares, weights);
            }
        }
    }

    #[test]
    fn the_share_of_a_closed_peer_goes_to_all_others() {
        for balance in all_kinds() {
            let selection = Selection::new(&balance, &addresses(&[1, 1, 1, 1]));
            let mut fake = Fake::all_open(4);
            fake.open[1] = false;
            check_shares(&shares(&selection, 20_000, &mut fake), &[1, 0, 1, 1]);
        }
    }

    /// A ring has no slow start: it would send the keys of one peer to another one and back.
    #[test]
    fn an_idle_peer_in_slow_start_gets_a_part_of_its_weight() {
        for balance in all_kinds() {
            let is_hash = matches!(balance, Balance::Hash(_));
            for (count, full) in [(2, 10_000), (5, 4_000)] {
                let selection = Selection::new(&balance, &addresses(&vec![1; count]));
                let mut fake = Fake::all_open(count);
                fake.share[0] = 0.1;
                let share = shares(&selection, 20_000, &mut fake)[0];
                let expected = if is_hash {
                    full * 8 / 10..full * 12 / 10
                } else {
                    full * 3 / 100..full * 30 / 100
                };
                assert!(expected.contains(&share), "{balance:?} of {count}: {share}");
            }
        }
    }

    /// Its load is the least, whatever its share.
    #[test]
    fn an_idle_peer_in_slow_start_gets_a_part_of_the_requests_beside_busy_ones() {
        for balance in [Balance::LeastConnections, Balance::PowerOfTwo] {
            let selection = Selection::new(&balance, &addresses(&[1, 1]));
            let mut fake = Fake::all_open(2);
            (fake.share[0], fake.load[1]) = (0.1, 1.0);
            let share = shares(&selection, 20_000, &mut fake)[0];
            assert!((1_000..5_000).contains(&share), "{balance:?}: {share}");
        }
    }

    #[test]
    fn peers_that_are_all_in_slow_start_share_all_requests() {
        for balance in all_kinds() {
            let selection = Selection::new(&balance, &addresses(&[1, 1]));
            let mut fake = Fake::all_open(2);
            fake.share = vec![0.01, 0.01];
            check_shares(&shares(&selection, 20_000, &mut fake), &[1, 1]);
        }
    }

    #[test]
    fn the_only_open_peer_is_found_and_none_is_none() {
        for balance in all_kinds() {
            let selection = Selection::new(&balance, &addresses(&[1000, 1000, 1]));
            let mut fake = Fake::all_open(3);
            fake.open = vec![false, false, true];
            assert_eq!(shares(&selection, 100, &mut fake), [0, 0, 100]);
            fake.open[2] = false;
            assert_eq!(selection.pick(b"key", &mut fake), None);
            let nobody = Selection::new(&balance, &[]);
            assert_eq!(nobody.pick(b"key", &mut Fake::all_open(0)), None);
        }
    }
}
