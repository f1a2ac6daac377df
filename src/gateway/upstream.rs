//! Which peer of an upstream serves a request.
//!
//! pingora's weighted round robin gives the order; what it lacks is a memory of failures. A peer
//! that failed is passed over for a while, as nginx does by default, so that a dead peer costs one
//! request a try now and then and not every request a connection attempt.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora::lb::selection::RoundRobin;
use pingora::lb::{Backend, Backends, LoadBalancer, discovery};
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::upstreams::peer::HttpPeer;

use crate::config::model::Upstream;

/// How many steps the round robin may take until it has met every peer once. Other threads move it
/// at the same time, so it can meet one twice.
const SELECTION_STEPS: usize = 256;

/// Which connection to a peer a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// A kept one if there is one.
    Any,
    /// A new one.
    Fresh,
}

/// The peers of one upstream, their order and their state.
pub struct Pool {
    name: String,
    balancer: LoadBalancer<RoundRobin>,
    peers: Vec<PeerState>,
    tries: usize,
    fail_timeout: Duration,
    start: Instant,
    /// How many connection groups were made for one request each.
    fresh_groups: AtomicU64,
    config: Upstream,
}

struct PeerState {
    address: SocketAddr,
    /// Ready to be copied for a request: options and all.
    template: HttpPeer,
    /// Milliseconds since the pool's start until which the peer is passed over; 0 if it is well.
    avoid_until: AtomicU64,
    tries: AtomicU64,
    failures: AtomicU64,
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it is not passed over.
    pub is_well: bool,
    /// How often a request was tried on it.
    pub tries: u64,
    /// How often it did not answer one.
    pub failures: u64,
}

impl PeerState {
    fn is_well(&self, now: u64) -> bool {
        self.avoid_until.load(Ordering::Relaxed) <= now
    }
}

impl Pool {
    /// A pool in which every peer is well.
    ///
    /// # Panics
    /// Never: a static list of peers is always ready.
    #[must_use]
    pub fn new(upstream: &Upstream) -> Self {
        let backend = |address: SocketAddr, weight| Backend {
            addr: PingoraAddr::Inet(address),
            weight,
            ext: http::Extensions::new(),
        };
        let backends: BTreeSet<_> = upstream
            .peers
            .iter()
            .map(|peer| backend(peer.address, peer.weight))
            .collect();
        let balancer = LoadBalancer::from_backends(Backends::new(discovery::Static::new(backends)));
        let ready = futures_util::FutureExt::now_or_never(balancer.update());
        ready
            .expect("static peers need no waiting")
            .expect("static peers are always found");
        let peers = upstream.peers.iter().map(|peer| PeerState {
            address: peer.address,
            template: template(peer.address, upstream),
            avoid_until: AtomicU64::new(0),
            tries: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        Pool {
            name: upstream.name.clone(),
            balancer,
            peers: peers.collect(),
            tries: upstream.tries,
            fail_timeout: upstream.fail_timeout,
            start: Instant::now(),
            fresh_groups: AtomicU64::new(0),
            config: upstream.clone(),
        }
    }

    /// The peer for the next try of a request: one that was not tried, and well if there is one.
    /// `None` if all were tried or the request was tried often enough.
    #[must_use]
    pub fn select(&self, tried: &[SocketAddr]) -> Option<SocketAddr> {
        if tried.len() >= self.tries {
            return None;
        }
        let now = self.now();
        let untried = |backend: &Backend| {
            let address = backend
                .addr
                .as_inet()
                .filter(|address| !tried.contains(address));
            address.and_then(|address| self.peer(*address))
        };
        let select = |accept: &dyn Fn(&PeerState) -> bool| {
            let accept = |backend: &Backend, _| untried(backend).is_some_and(accept);
            self.balancer.select_with(b"", SELECTION_STEPS, accept)
        };
        let well = |peer: &PeerState| peer.is_well(now);
        let backend = select(&well).or_else(|| select(&|_| true))?;
        let address = *backend.addr.as_inet()?;
        self.peer(address)?.tries.fetch_add(1, Ordering::Relaxed);
        Some(address)
    }

    /// Whether this is the pool of such an upstream, with all its settings.
    #[must_use]
    pub fn is_for(&self, upstream: &Upstream) -> bool {
        self.config == *upstream
    }

    /// What is known of every peer, in the order of the configuration.
    pub fn status(&self) -> impl Iterator<Item = PeerStatus> {
        let now = self.now();
        self.peers.iter().map(move |peer| PeerStatus {
            address: peer.address,
            is_well: peer.is_well(now),
            tries: peer.tries.load(Ordering::Relaxed),
            failures: peer.failures.load(Ordering::Relaxed),
        })
    }

    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a request that failed on the last of `tried` can be tried on another peer.
    #[must_use]
    pub fn has_another(&self, tried: &[SocketAddr]) -> bool {
        let untried = |peer: &PeerState| !tried.contains(&peer.address);
        tried.len() < self.tries && self.peers.iter().any(untried)
    }

    /// How to reach a peer that [`Pool::select`] gave.
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    pub fn template(&self, address: SocketAddr) -> &HttpPeer {
        &self.peer(address).expect("a peer of this pool").template
    }

    /// As [`Pool::template`], for pingora's proxy, which wants one of its own.
    ///
    /// # Panics
    /// If [`Pool::select`] did not give the peer.
    #[must_use]
    pub fn http_peer(&self, address: SocketAddr, connection: ConnectionKind) -> HttpPeer {
        let mut peer = self.template(address).clone();
        if connection == ConnectionKind::Fresh {
            // pingora keeps connections by group: in a group of its own there is none yet.
            peer.group_key = self.fresh_groups.fetch_add(1, Ordering::Relaxed) + 1;
        }
        peer
    }

    /// The peer did not answer: pass it over for a while.
    pub fn failed(&self, address: SocketAddr) {
        if let Some(peer) = self.peer(address) {
            peer.failures.fetch_add(1, Ordering::Relaxed);
            let until = self.now() + self.fail_timeout.as_millis() as u64;
            if peer.avoid_until.swap(until, Ordering::Relaxed) == 0 {
                log::warn!(
                    "upstream peer {address} failed, avoided for {:?}",
                    self.fail_timeout
                );
            }
        }
    }

    /// The peer answered: it is well.
    pub fn succeeded(&self, address: SocketAddr) {
        if let Some(peer) = self.peer(address)
            && peer.avoid_until.load(Ordering::Relaxed) != 0
            && peer.avoid_until.swap(0, Ordering::Relaxed) != 0
        {
            log::info!("upstream peer {address} answers again");
        }
    }

    fn peer(&self, address: SocketAddr) -> Option<&PeerState> {
        self.peers.iter().find(|peer| peer.address == address)
    }

    /// Milliseconds since the start, never 0.
    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + 1
    }
}

/// A plain-text peer with every timeout set: pingora sets none.
fn template(address: SocketAddr, upstream: &Upstream) -> HttpPeer {
    let mut peer = HttpPeer::new(address, false, String::new());
    peer.options.connection_timeout = Some(upstream.connect_timeout);
    peer.options.total_connection_timeout = Some(upstream.connect_timeout);
    peer.options.read_timeout = Some(upstream.read_timeout);
    peer.options.write_timeout = Some(upstream.write_timeout);
    peer.options.idle_timeout = Some(upstream.idle_timeout);
    peer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Peer;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn pool(weights: &[usize], tries: usize) -> Pool {
        let second = Duration::from_secs(1);
        let peers = weights.iter().zip(1..).map(|(&weight, port)| Peer {
            address: address(port),
            weight,
        });
        Pool::new(&Upstream {
            name: "test".to_owned(),
            peers: peers.collect(),
            connect_timeout: second,
            read_timeout: second,
            write_timeout: second,
            idle_timeout: second,
            keepalive: 1,
            tries,
            fail_timeout: Duration::from_secs(3600),
        })
    }

    /// How often each peer is chosen in `rounds` requests.
    fn shares(pool: &Pool, rounds: usize) -> Vec<usize> {
        let mut shares = vec![0; pool.peers.len()];
        for _ in 0..rounds {
            shares[usize::from(pool.select(&[]).unwrap().port()) - 1] += 1;
        }
        shares
    }

    #[test]
    fn peers_take_turns_by_weight() {
        assert_eq!(shares(&pool(&[1, 1, 1], 3), 30), [10, 10, 10]);
        assert_eq!(shares(&pool(&[3, 1], 3), 40), [30, 10]);
    }

    #[test]
    fn a_failed_peer_is_passed_over_until_it_answers() {
        let pool = pool(&[1, 1], 3);
        pool.failed(address(1));
        assert_eq!(shares(&pool, 10), [0, 10]);
        pool.succeeded(address(1));
        assert_eq!(shares(&pool, 10), [5, 5]);
    }

    #[test]
    fn a_failed_peer_is_better_than_none() {
        let pool = pool(&[1, 1], 3);
        pool.failed(address(1));
        pool.failed(address(2));
        assert!(pool.select(&[]).is_some());
        assert_eq!(pool.select(&[address(2)]), Some(address(1)));
    }

    #[test]
    fn no_peer_is_tried_twice_and_no_request_too_often() {
        let pool = pool(&[1, 1, 1], 2);
        assert!(pool.has_another(&[address(1)]));
        assert_ne!(pool.select(&[address(1)]), Some(address(1)));
        assert!(!pool.has_another(&[address(1), address(2)]));
        assert_eq!(pool.select(&[address(1), address(2)]), None);
        let single = super::tests::pool(&[1], 3);
        assert!(!single.has_another(&[address(1)]));
    }
}
