//! Load balancing: selection of the upstream peer that serves a request.
//!
//! A [`Pool`] is one upstream at runtime. `endpoints` is the current list of its peers; it is
//! replaced as a whole when a DNS name or the configuration changes. A `selection` algorithm picks
//! one of the peers that `peer_health` (outlier detection and health checks) makes available. The
//! `background` resolves names and runs health checks on a thread of its own, which ends when the pool
//! is retired. The state of peers and their idle connections outlive a pool if the next
//! configuration has an upstream of the same name.

mod affinity;
pub(in crate::gateway) mod attempts;
mod background;
mod balancer;
mod budget;
mod endpoints;
mod idle_pool;
mod peer;
mod peer_health;
mod pins;
mod probe;
pub mod proxy_header;
mod resolver;
mod selection;
mod sticky;
mod transport;
pub(in crate::gateway) mod verdict;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::{HeaderValue, StatusCode};

pub use affinity::Affinity;
pub use peer::{ConnectionKind, Peer, PeerPermit, PeerStatus};
pub use pins::{PinError, Pins};
pub use transport::{Transport, TransportError};

use crate::config::model::{Protocol, ProxyVersion, SocketAddress, Upstream};
use crate::proto::h1::response_head::Limits;
use crate::proto::headers::Headers;
use background::Keeper;
use budget::Budget;
use endpoints::Endpoints;
use peer_health::Change;

/// Reason why no peer was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPeer {
    /// Every available peer was tried, or the limit of tries is reached.
    NoneLeft,
    /// The remaining peers, or the pool, have reached their limit of concurrent requests.
    Full,
}

/// One upstream at runtime.
pub struct Pool {
    endpoints: Arc<Endpoints>,
    budget: Budget,
    /// Requests in flight on all peers. `None` if they are not limited.
    in_flight: Option<Arc<AtomicUsize>>,
    background: Mutex<Option<Keeper>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.name()).finish()
    }
}

impl Pool {
    /// Creates the pool of an upstream and takes over the state of the peers that the previous pool
    /// (`before`) has in common with it. If the upstream has DNS names, this waits up to five
    /// seconds for their addresses.
    #[must_use]
    pub fn new(upstream: &Upstream, transport: Transport, before: Option<&Pool>) -> Self {
        let known = before.map(|before| &*before.endpoints);
        let endpoints = Arc::new(Endpoints::new(upstream, transport, known));
        let in_flight = before.and_then(|before| before.in_flight.clone());
        Pool {
            budget: Budget::new(upstream.retry_budget, before.map(|before| &before.budget)),
            in_flight: upstream.max_requests.map(|_| in_flight.unwrap_or_default()),
            background: Mutex::new(Keeper::start(&endpoints)),
            endpoints,
        }
    }

    /// Stops the background work of a pool that another one replaces. Requests in flight (a
    /// `WebSocket` may last for days) keep their peers. Names are no longer resolved and health
    /// checks stop: the state that both pools share is then updated by the new pool's checks.
    pub fn retire(&self) {
        let mut background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        drop(background.take());
    }

    /// Returns `true` if the pool was made from the same upstream settings and transport.
    #[must_use]
    pub fn is_for(&self, upstream: &Upstream, transport: &Transport) -> bool {
        self.endpoints.upstream == *upstream && self.endpoints.transport.is_same(transport)
    }

    /// Name of the upstream.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.endpoints.upstream.name
    }

    /// Limits of response heads from its peers.
    #[must_use]
    pub fn response_limits(&self) -> Limits {
        let upstream = &self.endpoints.upstream;
        Limits {
            max_size: upstream.max_header_size,
            max_lines: upstream.max_headers,
        }
    }

    /// Protocol spoken with its peers.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.endpoints.upstream.protocol
    }

    /// Version of the PROXY header that connections to its peers begin with.
    #[must_use]
    pub fn proxy_version(&self) -> Option<ProxyVersion> {
        self.endpoints.upstream.send_proxy_protocol
    }

    /// Returns the hash key and the sticky cookie of a request, which bind it to a peer.
    #[must_use]
    pub fn affinity(&self, headers: &impl Headers, client: Option<IpAddr>) -> Affinity {
        Affinity::of(&self.endpoints, headers, client)
    }

    /// Chooses the peer for the next try of a request: one that was not tried yet, and a healthy
    /// one if there is any. The request counts as in flight on that peer until the [`PeerPermit`] is
    /// dropped.
    ///
    /// # Errors
    /// If all peers were tried, the limit of tries is reached, or all remaining peers are at their
    /// limit of requests.
    pub fn choose(
        &self,
        tried: &[SocketAddress],
        affinity: &Affinity,
    ) -> Result<PeerPermit, NoPeer> {
        if tried.len() >= self.endpoints.upstream.tries {
            return Err(NoPeer::NoneLeft);
        }
        if !self.enter() {
            return Err(NoPeer::Full);
        }
        match balancer::choose(&self.endpoints, tried, affinity) {
            Ok(peer) => Ok(PeerPermit::new(peer, self.in_flight.clone())),
            Err(no_peer) => {
                if let Some(in_flight) = &self.in_flight {
                    in_flight.fetch_sub(1, Relaxed);
                }
                Err(no_peer)
            }
        }
    }

    /// Returns `true` if a request that failed on the last of `tried` can be tried on another peer.
    #[must_use]
    pub fn has_another(&self, tried: &[SocketAddress]) -> bool {
        let snapshot = self.endpoints.current();
        let mut peers = snapshot.peers.iter();
        tried.len() < self.endpoints.upstream.tries
            && peers.any(|peer| !peer.is_draining && !tried.contains(&peer.address))
    }

    /// Takes one retry from the retry budget. Returns `false` if the budget is used up.
    #[must_use]
    pub fn spend_retry(&self) -> bool {
        let tries = self.endpoints.current().tries();
        self.budget.spend(tries, Instant::now())
    }

    /// Returns `true` if a response with `X-Accel-Redirect` chooses a route anew.
    #[must_use]
    pub fn may_redirect(&self) -> bool {
        self.endpoints.upstream.x_accel_redirect
    }

    /// Returns `true` if `retry_on` lists the status, so that the request is tried on another peer.
    #[must_use]
    pub fn refuses(&self, status: StatusCode) -> bool {
        let refused = &self.endpoints.upstream.retry_on;
        !refused.is_empty() && refused.contains(&status.as_u16())
    }

    /// Records a failure of the peer. After `max_fails` of them the peer is ejected.
    pub fn failed(&self, peer: &Peer, reason: &str) {
        let (endpoints, state) = (&self.endpoints, &peer.state);
        state.failures.fetch_add(1, Relaxed);
        let change = state.peer_health.failed(&endpoints.policy, endpoints.now());
        endpoints.say(change, &peer.address, reason);
    }

    /// Records a response of the peer, which ends its ejection.
    pub fn succeeded(&self, peer: &Peer) {
        let endpoints = &self.endpoints;
        let change = peer
            .state
            .peer_health
            .succeeded(&endpoints.policy, || endpoints.now());
        endpoints.say(change, &peer.address, "");
    }

    /// Returns the `Set-Cookie` value that binds a client to this peer, or `None` if its cookie
    /// already names the peer.
    #[must_use]
    pub fn cookie<'p>(
        &self,
        peer: &'p Peer,
        affinity: &Affinity,
        is_https: bool,
    ) -> Option<&'p HeaderValue> {
        let cookie = peer.cookie.as_ref();
        let cookie = cookie.filter(|cookie| affinity.peer != Some(cookie.id))?;
        Some(cookie.header(is_https))
    }

    /// Status of every peer, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<PeerStatus> {
        let snapshot = self.endpoints.snapshot();
        snapshot.peers.iter().map(|peer| peer.status()).collect()
    }

    /// Configured peers without a resolved address. Requests are served by the other peers while
    /// resolution is retried.
    #[must_use]
    pub fn unresolved(&self) -> Vec<String> {
        let snapshot = self.endpoints.snapshot();
        snapshot.lost(&self.endpoints.upstream).collect()
    }

    /// Number of idle HTTP/1 connections to its peers.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.endpoints.kept().count()
    }

    /// Closes the idle HTTP/1 connections, to free their file descriptors.
    pub fn close_idle_connections(&self) {
        self.endpoints.kept().clear();
    }

    /// Number of retries that were made.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.budget.retries()
    }

    /// Number of retries that the budget refused.
    #[must_use]
    pub fn retries_refused(&self) -> u64 {
        self.budget.refused()
    }

    /// Counts a request as in flight. Returns `false` if `max_requests` is reached.
    fn enter(&self) -> bool {
        let Some(in_flight) = &self.in_flight else {
            return true;
        };
        let limit = self.endpoints.upstream.max_requests.unwrap_or(usize::MAX);
        if in_flight.fetch_add(1, Relaxed) < limit {
            return true;
        }
        in_flight.fetch_sub(1, Relaxed);
        false
    }
}

impl Endpoints {
    /// Logs once when a peer goes down or recovers.
    fn say(&self, change: Change, peer: &SocketAddress, reason: &str) {
        let name = &self.upstream.name;
        match change {
            Change::None => {}
            Change::Down => log::warn!("upstream {name}: peer {peer} is ejected: {reason}"),
            Change::Up => log::info!("upstream {name}: peer {peer} is back"),
        }
    }
}

#[cfg(test)]
mod tests;
