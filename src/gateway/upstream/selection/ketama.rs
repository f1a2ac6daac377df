//! Consistent hashing: a key always selects the same peer, and when a peer is added or removed only
//! its own keys move.
//!
//! The ring is identical to nginx's `hash ... consistent`, so that a migration from one to the
//! other moves no client. UNIX sockets are the exception: the ring knows IP addresses alone, so a path
//! stands on it as an address that is made of it.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr};

use pingora_ketama::{Bucket, Continuum};
use sha2::{Digest, Sha256};

use super::{Candidates, weights};
use crate::config::model::SocketAddress;

/// Maximum sum of the weights. Each unit is 160 points on the ring.
const WEIGHTS: u32 = 4096;

/// Ring with the points of all peers.
pub struct Ketama {
    ring: Continuum,
    numbers: HashMap<SocketAddr, usize>,
}

impl Ketama {
    /// Creates the ring of peers with these addresses and weights.
    pub fn new(peers: &[(SocketAddress, u32)]) -> Self {
        let given: Vec<_> = peers.iter().map(|(_, weight)| *weight).collect();
        let weights = weights::reduced(&given, WEIGHTS);
        let addresses = peers.iter().map(|(address, _)| on_ring(address));
        let buckets = addresses.clone().zip(weights);
        let buckets: Vec<_> = buckets.map(|(a, weight)| Bucket::new(a, weight)).collect();
        Ketama {
            ring: Continuum::new(&buckets),
            numbers: addresses.zip(0..).collect(),
        }
    }

    /// Picks the peer of a key, or the next available one on the ring.
    pub fn pick(&self, key: &[u8], candidates: &mut impl Candidates) -> Option<usize> {
        let mut refused = Vec::new();
        let mut place = self.ring.node_idx(key);
        while refused.len() < self.numbers.len() {
            let address = self.ring.get_addr(&mut place)?;
            let peer = *self.numbers.get(address)?;
            if refused.contains(&peer) {
                continue;
            }
            if candidates.is_open(peer) && candidates.take(peer) {
                return Some(peer);
            }
            refused.push(peer);
        }
        None
    }
}

/// Address of a peer on the ring. That of a UNIX socket is in the discard prefix (RFC 6666), where no
/// peer is.
fn on_ring(address: &SocketAddress) -> SocketAddr {
    match address {
        SocketAddress::Inet(address) => *address,
        SocketAddress::Unix(path) => {
            let digest = Sha256::digest(path.as_bytes());
            let mut ip = [0; 16];
            ip[0] = 1;
            ip[8..].copy_from_slice(&digest[..8]);
            SocketAddr::from((Ipv6Addr::from(ip), 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fake, addresses};
    use super::*;

    fn owners(peers: &[(SocketAddress, u32)], open: &[bool]) -> Vec<SocketAddress> {
        let ring = Ketama::new(peers);
        let mut fake = Fake::all_open(peers.len());
        fake.open = open.to_vec();
        let owner = |key: u32| ring.pick(key.to_string().as_bytes(), &mut fake);
        (0..10_000)
            .map(owner)
            .map(|peer| peers[peer.unwrap()].0.clone())
            .collect()
    }

    /// Naive definition of a ring as the oracle: a key belongs to the first point at or after its
    /// hash.
    #[test]
    fn a_key_goes_to_the_next_point() {
        let peers = addresses(&[1, 2, 1]);
        let mut points = Vec::new();
        for (address, weight) in &peers {
            let inet = address.inet().unwrap();
            let name = format!("{}\0{}", inet.ip(), inet.port());
            let mut last = 0_u32;
            for _ in 0..weight * 160 {
                last = crc32fast::hash(&[name.as_bytes(), &last.to_le_bytes()].concat());
                points.push((last, address.clone()));
            }
        }
        for (key, owner) in owners(&peers, &[true; 3]).into_iter().enumerate() {
            let hash = crc32fast::hash(key.to_string().as_bytes());
            let least = points.iter().min_by_key(|(point, _)| point).unwrap();
            let next = points.iter().filter(|(point, _)| *point >= hash);
            let next = next.min_by_key(|(point, _)| point).unwrap_or(least);
            assert_eq!(owner, next.1, "{key}");
        }
    }

    #[test]
    fn only_the_keys_of_a_peer_that_goes_move() {
        let mut peers = addresses(&[1; 5]);
        // The ring of UNIX sockets is no other.
        peers[1].0 = SocketAddress::Unix("/run/one.sock".into());
        peers[2].0 = SocketAddress::Unix("/run/two.sock".into());
        let before = owners(&peers, &[true; 5]);
        let gone = peers[2].0.clone();
        let without: Vec<_> = peers
            .iter()
            .filter(|peer| peer.0 != gone)
            .cloned()
            .collect();
        let closed = [true, true, false, true, true];
        for after in [owners(&without, &[true; 4]), owners(&peers, &closed)] {
            for (before, after) in before.iter().zip(&after) {
                assert_ne!(*after, gone);
                assert!(before == after || *before == gone);
            }
        }
    }
}
