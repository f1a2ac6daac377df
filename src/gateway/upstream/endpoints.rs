//! Current peers of a pool.
//!
//! Peers are added and removed as DNS names change, and by a new configuration. Selection reads one
//! list that is never modified, only replaced as a whole. The state of a peer moves from one list
//! to the next if its address stays the same.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use arc_swap::ArcSwap;

use super::idle_pool::IdlePool;
use super::peer::{Peer, Pinned, Settings, State};
use super::peer_health::Policy;
use super::selection::Selection;
use super::sticky::Cookies;
use super::transport::{Transport, without_verification};
use crate::config::model::{PeerAddress, SocketAddress, Upstream};

/// One resolved address of a configured peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Address that the peer listens on.
    pub address: SocketAddress,
    /// Weight from the SRV record; `None` for a plain address.
    pub weight: Option<u32>,
    /// True if the SRV record makes it a backup.
    pub is_backup: bool,
}

impl From<SocketAddress> for Found {
    fn from(address: SocketAddress) -> Self {
        Found {
            address,
            weight: None,
            is_backup: false,
        }
    }
}

/// An upstream and its peers.
pub struct Endpoints {
    pub upstream: Upstream,
    pub transport: Transport,
    pub policy: Policy,
    pub cookies: Option<Cookies>,
    kept: Arc<IdlePool>,
    start: Instant,
    snapshot: ArcSwap<EndpointSnapshot>,
}

/// List of the peers at one time.
pub struct EndpointSnapshot {
    /// All peers, in the order of the configuration.
    pub peers: Box<[Arc<Peer>]>,
    /// Primary peers, then backup peers.
    pub tiers: [Tier; 2],
    /// Addresses of each configured peer.
    found: Vec<Vec<Found>>,
    /// Number of tries on peers that are no longer listed.
    earlier_tries: u64,
}

/// Group of peers that are selected from together.
pub struct Tier {
    pub peers: Box<[Arc<Peer>]>,
    pub selection: Selection,
}

impl Endpoints {
    /// Creates the peers of an upstream. Peers that the previous `before` also has keep their
    /// state.
    pub fn new(upstream: &Upstream, transport: Transport, before: Option<&Endpoints>) -> Self {
        let (limit, idle_timeout) = (upstream.keepalive, upstream.idle_timeout);
        let kept = before.filter(|before| {
            before.transport.is_same(&transport) && before.kept.is_like(limit, idle_timeout)
        });
        let kept = kept.map_or_else(
            || Arc::new(IdlePool::new(limit, idle_timeout)),
            |before| Arc::clone(&before.kept),
        );
        let cookies = upstream.sticky.as_ref().map(|sticky| {
            let like = before.and_then(|before| before.cookies.as_ref());
            Cookies::new(sticky, like)
        });
        let found = upstream.peers.iter().map(|peer| match &peer.address {
            PeerAddress::Socket(address) => vec![Found::from(address.clone())],
            name => before.map_or_else(Vec::new, |before| before.found(name)),
        });
        let found = found.collect();
        let endpoints = Endpoints {
            policy: Policy::new(upstream),
            upstream: upstream.clone(),
            transport,
            cookies,
            kept,
            start: before.map_or_else(Instant::now, |before| before.start),
            snapshot: ArcSwap::from_pointee(EndpointSnapshot::empty(upstream)),
        };
        let known = before.map(Endpoints::snapshot);
        let snapshot = endpoints.list(found, known.as_deref());
        for peer in &snapshot.peers {
            if upstream.health_check.is_none() {
                peer.state.peer_health.forget_checks();
            }
        }
        endpoints.snapshot.store(Arc::new(snapshot));
        endpoints
    }

    /// Pool of idle connections to all peers.
    pub fn kept(&self) -> &IdlePool {
        &self.kept
    }

    /// Returns the current peers.
    pub fn snapshot(&self) -> Arc<EndpointSnapshot> {
        self.snapshot.load_full()
    }

    /// Returns the current peers as [`Endpoints::snapshot`] does, but borrowed, for a short time.
    pub fn current(&self) -> arc_swap::Guard<Arc<EndpointSnapshot>> {
        self.snapshot.load()
    }

    /// Milliseconds since the start, never 0.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + 1
    }

    /// Sets the addresses of a configured peer. Returns `true` if they changed. Must be called by
    /// one thread only, because updates are not atomic.
    pub fn set_found(&self, index: usize, found: Vec<Found>) -> bool {
        let snapshot = self.snapshot();
        if snapshot.found[index] == found {
            return false;
        }
        let mut all = snapshot.found.clone();
        all[index] = found;
        self.snapshot
            .store(Arc::new(self.list(all, Some(&snapshot))));
        true
    }

    fn found(&self, name: &PeerAddress) -> Vec<Found> {
        let names = self.upstream.peers.iter().map(|peer| &peer.address);
        let snapshot = self.snapshot();
        let mut known = names.zip(&snapshot.found);
        let known = known.find(|(known, _)| *known == name);
        known.map_or_else(Vec::new, |(_, found)| found.clone())
    }

    fn list(&self, found: Vec<Vec<Found>>, before: Option<&EndpointSnapshot>) -> EndpointSnapshot {
        let known = before.map_or(&[][..], |before| &before.peers);
        let mut peers: Vec<Arc<Peer>> = Vec::new();
        for (configured, found) in self.upstream.peers.iter().zip(&found) {
            let host = match &configured.address {
                PeerAddress::Name(host, _) => Some(host.as_str()),
                PeerAddress::Socket(_) | PeerAddress::Service(_) => None,
            };
            for at in found {
                if peers.iter().any(|peer| peer.address == at.address) {
                    // Two names have this address; the first one counts.
                    continue;
                }
                let settings = Settings {
                    weight: at.weight.unwrap_or(configured.weight),
                    is_backup: configured.is_backup || at.is_backup,
                    is_draining: configured.is_draining,
                    max_requests: configured.max_requests,
                };
                let cookies = self.cookies.as_ref();
                let template = self.transport.template(&self.upstream, &at.address, host);
                let pinned = self.transport.pins(host).map(|pins| Pinned {
                    template: without_verification(template.clone()),
                    pins,
                });
                let peer = Peer::new(
                    at.address.clone(),
                    &settings,
                    template,
                    pinned,
                    cookies.map(|cookies| cookies.of(&self.upstream.name, &at.address)),
                    Arc::clone(&self.kept),
                    self.state(&at.address, known),
                );
                peers.push(Arc::new(peer));
            }
        }
        let mut earlier_tries = before.map_or(0, |before| before.earlier_tries);
        for gone in known {
            if !peers.iter().any(|peer| peer.address == gone.address) {
                earlier_tries += gone.state.tries.load(Relaxed);
            }
        }
        EndpointSnapshot::new(&self.upstream, peers, found, earlier_tries)
    }

    fn state(&self, address: &SocketAddress, known: &[Arc<Peer>]) -> Arc<State> {
        if let Some(peer) = known.iter().find(|peer| peer.address == *address) {
            return Arc::clone(&peer.state);
        }
        let state = State::default();
        if !known.is_empty() {
            // The other peers have been serving for a while, so the new one starts slowly.
            state.peer_health.come_back(&self.policy, self.now());
        }
        Arc::new(state)
    }
}

impl EndpointSnapshot {
    fn empty(upstream: &Upstream) -> Self {
        let found = vec![Vec::new(); upstream.peers.len()];
        EndpointSnapshot::new(upstream, Vec::new(), found, 0)
    }

    /// Number of tries on all peers since the upstream exists, including those that are no longer
    /// listed.
    pub fn tries(&self) -> u64 {
        let peers = self.peers.iter();
        let listed: u64 = peers.map(|peer| peer.state.tries.load(Relaxed)).sum();
        self.earlier_tries + listed
    }

    /// Configured peers without any address.
    pub fn lost<'r>(&'r self, upstream: &'r Upstream) -> impl Iterator<Item = String> + 'r {
        let peers = upstream.peers.iter().zip(&self.found);
        let lost = peers.filter(|(_, found)| found.is_empty());
        lost.map(|(peer, _)| peer.address.to_string())
    }

    fn new(
        upstream: &Upstream,
        peers: Vec<Arc<Peer>>,
        found: Vec<Vec<Found>>,
        earlier_tries: u64,
    ) -> Self {
        let tier = |is_backup| {
            let peers = peers.iter().filter(|peer| peer.is_backup == is_backup);
            let peers: Box<[_]> = peers.map(Arc::clone).collect();
            let weights: Vec<_> = peers
                .iter()
                .map(|p| (p.address.clone(), p.weight))
                .collect();
            Tier {
                selection: Selection::new(&upstream.balance, &weights),
                peers,
            }
        };
        EndpointSnapshot {
            tiers: [tier(false), tier(true)],
            peers: peers.into(),
            found,
            earlier_tries,
        }
    }
}
