//! One peer: how it is reached, what it is doing, how well it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use pingora::Result;
use pingora::protocols::Stream;
use pingora::protocols::tls::SslDigest;
use pingora::upstreams::peer::{HttpPeer, Peer as _};

use super::fitness::Fitness;
use super::kept::{Kept, Key};
use super::pins::Pins;
use super::sticky::PeerCookie;

/// Which connection to a peer a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// A kept one if there is one.
    Any,
    /// A new one.
    Fresh,
}

/// One server of a pool, as it is configured now.
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    pub(super) weight: u32,
    pub(super) is_backup: bool,
    pub(super) is_draining: bool,
    pub(super) max_requests: usize,
    pub(super) cookie: Option<PeerCookie>,
    /// What it keeps when the configuration changes.
    pub(super) state: Arc<State>,
    template: HttpPeer,
    pins: Option<Pins>,
    key: Key,
    kept: Arc<Kept>,
}

/// How a peer is reached and trusted.
pub(super) struct Way {
    pub template: HttpPeer,
    /// The certificates that it may show, if pingora does not verify them.
    pub pins: Option<Pins>,
}

/// What a peer is doing, and how well it is.
#[derive(Debug, Default)]
pub struct State {
    pub(super) under_way: AtomicUsize,
    pub(super) tries: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) fitness: Fitness,
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it is not passed over.
    pub is_well: bool,
    /// Whether health checks say that it is down.
    pub is_down: bool,
    /// How many requests it has now.
    pub under_way: usize,
    /// How often a request was tried on it.
    pub tries: u64,
    /// How often it did not answer one.
    pub failures: u64,
}

/// What stands of a peer in the configuration.
pub(super) struct Settings {
    pub weight: u32,
    pub is_backup: bool,
    pub is_draining: bool,
    pub max_requests: Option<usize>,
}

impl Peer {
    pub(super) fn new(
        address: SocketAddr,
        settings: &Settings,
        Way { template, pins }: Way,
        cookie: Option<PeerCookie>,
        kept: Arc<Kept>,
        state: Arc<State>,
    ) -> Self {
        Peer {
            address,
            weight: settings.weight,
            is_backup: settings.is_backup,
            is_draining: settings.is_draining,
            max_requests: settings.max_requests.unwrap_or(usize::MAX),
            cookie,
            state,
            key: (address, template.reuse_hash()),
            template,
            pins,
            kept,
        }
    }

    /// How to reach it.
    #[must_use]
    pub fn template(&self) -> &HttpPeer {
        &self.template
    }

    /// As [`Peer::template`], for pingora's proxy, which wants one of its own.
    #[must_use]
    pub fn http_peer(&self, connection: ConnectionKind) -> HttpPeer {
        let mut peer = self.template.clone();
        if connection == ConnectionKind::Fresh {
            // pingora keeps connections by group: in a group of its own there is none yet.
            peer.group_key = fastrand::u64(..);
        }
        peer
    }

    /// Checks what it has shown in the handshake of a connection, as far as pingora does not. To be
    /// called before anything is sent.
    ///
    /// # Errors
    /// If its certificate is none that it may show.
    pub fn check(&self, session: Option<&SslDigest>) -> Result<()> {
        self.pins
            .as_ref()
            .map_or(Ok(()), |pins| pins.check(session))
    }

    /// A kept connection to it that is open, as far as can be known.
    #[must_use]
    pub fn kept(&self) -> Option<Stream> {
        self.kept.take(&self.key)
    }

    /// Keeps a connection to it. Must be called within a runtime.
    pub fn keep(&self, stream: Stream) {
        self.kept.put(self.key, stream);
    }

    pub(super) fn has_room(&self) -> bool {
        self.max_requests == usize::MAX || self.state.under_way.load(Relaxed) < self.max_requests
    }

    /// Counts a request, unless it has enough.
    pub(super) fn enter(&self) -> bool {
        if self.state.under_way.fetch_add(1, Relaxed) < self.max_requests {
            return true;
        }
        self.leave();
        false
    }

    pub(super) fn leave(&self) {
        self.state.under_way.fetch_sub(1, Relaxed);
    }

    pub(super) fn status(&self) -> PeerStatus {
        PeerStatus {
            address: self.address,
            is_well: self.state.fitness.is_well(),
            is_down: self.state.fitness.is_down(),
            under_way: self.state.under_way.load(Relaxed),
            tries: self.state.tries.load(Relaxed),
            failures: self.state.failures.load(Relaxed),
        }
    }
}

/// A request's stay with a peer.
pub struct Turn {
    peer: Arc<Peer>,
    /// The requests of the whole pool, if they are counted.
    pool: Option<Arc<AtomicUsize>>,
}

impl Turn {
    /// The peer was entered, and the pool if its requests are counted.
    pub(super) fn new(peer: Arc<Peer>, pool: Option<Arc<AtomicUsize>>) -> Self {
        peer.state.tries.fetch_add(1, Relaxed);
        Turn { peer, pool }
    }

    /// The peer.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.peer.leave();
        if let Some(pool) = &self.pool {
            pool.fetch_sub(1, Relaxed);
        }
    }
}
