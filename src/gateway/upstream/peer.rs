//! One peer: its address and connection settings, its counters and its health.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use pingora::Result;
use pingora::protocols::Stream;
use pingora::protocols::tls::SslDigest;
use pingora::upstreams::peer::{HttpPeer, Peer as _};

use super::idle_pool::{IdlePool, Key};
use super::peer_health::PeerHealth;
use super::pins::Pins;
use super::sticky::PeerCookie;
use crate::config::model::SocketAddress;

/// Kind of connection that a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// An idle connection if there is one.
    Any,
    /// A new connection.
    Fresh,
}

/// One server of a pool, with its current configuration.
pub struct Peer {
    /// Address that the peer listens on.
    pub address: SocketAddress,
    pub(super) weight: u32,
    pub(super) is_backup: bool,
    pub(super) is_draining: bool,
    pub(super) max_requests: usize,
    pub(super) cookie: Option<PeerCookie>,
    /// State that survives a change of the configuration.
    pub(super) state: Arc<State>,
    template: HttpPeer,
    pinned: Option<Pinned>,
    key: Key,
    kept: Arc<IdlePool>,
}

/// Settings of a peer with a pinned certificate, which geogate verifies and pingora must not.
pub(super) struct Pinned {
    /// Address and settings, with pingora's verification disabled.
    pub template: HttpPeer,
    pub pins: Pins,
}

/// Counters and health of a peer.
#[derive(Debug, Default)]
pub struct State {
    pub(super) in_flight: AtomicUsize,
    pub(super) tries: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) peer_health: PeerHealth,
}

/// Snapshot of a peer's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Address that the peer listens on.
    pub address: SocketAddress,
    /// True if the peer is neither ejected nor marked down.
    pub is_healthy: bool,
    /// True if health checks mark the peer as down.
    pub is_down: bool,
    /// Number of requests in flight.
    pub in_flight: usize,
    /// Number of tries of requests on it.
    pub tries: u64,
    /// Number of failed tries.
    pub failures: u64,
}

/// Settings of a peer from the configuration.
pub(super) struct Settings {
    pub weight: u32,
    pub is_backup: bool,
    pub is_draining: bool,
    pub max_requests: Option<usize>,
}

impl Peer {
    pub(super) fn new(
        address: SocketAddress,
        settings: &Settings,
        template: HttpPeer,
        pinned: Option<Pinned>,
        cookie: Option<PeerCookie>,
        kept: Arc<IdlePool>,
        state: Arc<State>,
    ) -> Self {
        Peer {
            key: (address.clone(), template.reuse_hash()),
            address,
            weight: settings.weight,
            is_backup: settings.is_backup,
            is_draining: settings.is_draining,
            max_requests: settings.max_requests.unwrap_or(usize::MAX),
            cookie,
            state,
            template,
            pinned,
            kept,
        }
    }

    /// Address and settings of a connection that pingora verifies. That verification fails for a
    /// peer with a pinned certificate.
    #[must_use]
    pub fn template(&self) -> &HttpPeer {
        &self.template
    }

    /// Address and settings of a connection on which [`Peer::check`] must be called before anything
    /// is sent.
    #[must_use]
    pub fn template_to_check(&self) -> &HttpPeer {
        let pinned = self.pinned.as_ref().map(|pinned| &pinned.template);
        pinned.unwrap_or(&self.template)
    }

    /// Returns a copy of [`Peer::template`] for this kind of connection.
    #[must_use]
    pub fn http_peer(&self, connection: ConnectionKind) -> HttpPeer {
        own(&self.template, connection)
    }

    /// Returns a copy of [`Peer::template_to_check`] for this kind of connection.
    #[must_use]
    pub fn http_peer_to_check(&self, connection: ConnectionKind) -> HttpPeer {
        own(self.template_to_check(), connection)
    }

    /// Checks the pinned certificate of a new connection, which pingora does not verify. Must be
    /// called before anything is sent.
    ///
    /// # Errors
    /// If the peer presented another certificate, or one that is not valid now.
    pub fn check(&self, session: Option<&SslDigest>) -> Result<()> {
        let pinned = self.pinned.as_ref();
        pinned.map_or(Ok(()), |pinned| pinned.pins.check(session))
    }

    /// Takes an idle connection to the peer that appears to be open.
    #[must_use]
    pub fn kept(&self) -> Option<Stream> {
        self.kept.take(&self.key)
    }

    /// Returns `true` if idle connections are kept at all.
    #[must_use]
    pub fn may_keep(&self) -> bool {
        self.kept.limit() > 0
    }

    /// Puts a connection to the peer back into the idle pool. Must be called within a runtime.
    pub fn keep(&self, stream: Stream) {
        self.kept.put(self.key.clone(), stream);
    }

    pub(super) fn has_room(&self) -> bool {
        self.max_requests == usize::MAX || self.state.in_flight.load(Relaxed) < self.max_requests
    }

    /// Counts a request as in flight. Returns `false` if the peer has reached `max_requests`.
    pub(super) fn enter(&self) -> bool {
        if self.state.in_flight.fetch_add(1, Relaxed) < self.max_requests {
            return true;
        }
        self.leave();
        false
    }

    pub(super) fn leave(&self) {
        self.state.in_flight.fetch_sub(1, Relaxed);
    }

    pub(super) fn status(&self) -> PeerStatus {
        PeerStatus {
            address: self.address.clone(),
            is_healthy: self.state.peer_health.is_healthy(),
            is_down: self.state.peer_health.is_down(),
            in_flight: self.state.in_flight.load(Relaxed),
            tries: self.state.tries.load(Relaxed),
            failures: self.state.failures.load(Relaxed),
        }
    }
}

fn own(template: &HttpPeer, connection: ConnectionKind) -> HttpPeer {
    let mut peer = template.clone();
    if connection == ConnectionKind::Fresh {
        // pingora groups idle connections by this key: a random one finds none.
        peer.group_key = fastrand::u64(..);
    }
    peer
}

/// Assignment of a request to a peer, which counts as in flight until it is dropped.
pub struct PeerPermit {
    peer: Arc<Peer>,
    /// Counter of the requests in flight of the whole pool, if they are limited.
    pool: Option<Arc<AtomicUsize>>,
}

impl PeerPermit {
    /// Creates the permit of a request that is already counted on the peer, and in `pool` if that is
    /// limited.
    pub(super) fn new(peer: Arc<Peer>, pool: Option<Arc<AtomicUsize>>) -> Self {
        peer.state.tries.fetch_add(1, Relaxed);
        PeerPermit { peer, pool }
    }

    /// Returns the peer.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

impl Drop for PeerPermit {
    fn drop(&mut self) {
        self.peer.leave();
        if let Some(pool) = &self.pool {
            pool.fetch_sub(1, Relaxed);
        }
    }
}
